//! One value of the core, used by one thread at a time.
//!
//! A mutex, uncontended wherever the interpreter lock exists. (A flag under the interpreter lock in
//! its place, which needs `unsafe`, made no difference that could be measured.)

use std::sync::{Mutex, PoisonError};

use pyo3::Python;

pub(crate) struct Guarded<T>(Mutex<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Runs `act` alone with the value, also after a panic in an earlier `act`.
    ///
    /// `act` must neither run Python code nor drop Python objects, which may use this value again,
    /// nor release the interpreter lock, which another thread may hold while it waits here.
    #[inline]
    pub(crate) fn with<R>(&self, _py: Python<'_>, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As `with`, for the collector, which has no token and must not wait.
    pub(crate) fn try_with<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_lock().ok().map(|mut value| act(&mut value))
    }
}
