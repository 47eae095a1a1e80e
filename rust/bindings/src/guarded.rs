//! One value of the core, used by one thread at a time: the interpreter lock is its lock.
//!
//! A mutex in its place costs two locked instructions, a third of what a cache read takes. Without an
//! interpreter lock the module refuses to load ([`check_interpreter`]).

#![allow(
    unsafe_code,
    reason = "a cell under the interpreter lock; measured, see above"
)]

use std::cell::{Cell, UnsafeCell};

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

pub(crate) struct Guarded<T> {
    in_use: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: both cells are touched only in `with`, whose caller shows that it holds the interpreter lock,
// and in `try_with`, which the collector calls while holding it; neither lets go of it on the way.
unsafe impl<T: Send> Sync for Guarded<T> {}

/// Ends a use, also when it panics.
struct InUse<'a>(&'a Cell<bool>);

impl Drop for InUse<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            in_use: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `act` alone with the value, also after a panic in an earlier `act`.
    ///
    /// `act` must neither run Python code nor drop Python objects, which may use this value again (and
    /// would panic here), nor release the interpreter lock.
    #[inline]
    pub(crate) fn with<R>(&self, _py: Python<'_>, act: impl FnOnce(&mut T) -> R) -> R {
        self.try_with(act).unwrap_or_else(|| used_twice())
    }

    /// As `with`, for the collector, which has no token and may come in the middle of a use.
    #[expect(
        clippy::inline_always,
        reason = "a tenth of the instructions of a hit, measured"
    )]
    #[inline(always)]
    pub(crate) fn try_with<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.in_use.replace(true) {
            return None;
        }
        let _in_use = InUse(&self.in_use);
        // SAFETY: the flag says that no other reference to the value exists in this thread, and the
        // interpreter lock keeps all other threads out.
        Some(act(unsafe { &mut *self.value.get() }))
    }
}

#[cold]
fn used_twice() -> ! {
    panic!("used while in use")
}

/// Refuses an interpreter that runs without its lock.
///
/// # Errors
/// `ImportError` there.
pub(crate) fn check_interpreter(py: Python<'_>) -> PyResult<()> {
    let Ok(is_enabled) = py.import("sys")?.getattr("_is_gil_enabled") else {
        return Ok(());
    };
    if is_enabled.call0()?.is_truthy()? {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "retain._core needs the interpreter lock; unset PYTHON_GIL=0",
    ))
}
