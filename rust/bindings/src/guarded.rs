//! One value, used by one thread at a time.
//!
//! Where the interpreter lock exists, holding it (a `Python` token) already excludes all other
//! threads, and a flag is enough to tell a nested use from a fresh one. A mutex in its place costs
//! 10 ns of the 45 that a cache hit takes. On builds of Python without that lock there is a mutex.

#[cfg(Py_GIL_DISABLED)]
pub(crate) use with_mutex::Guarded;
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) use with_token::Guarded;

#[cfg(not(Py_GIL_DISABLED))]
mod with_token {
    use std::cell::{Cell, UnsafeCell};

    use pyo3::Python;

    pub(crate) struct Guarded<T> {
        busy: Cell<bool>,
        value: UnsafeCell<T>,
    }

    // SAFETY: both fields are only touched while the interpreter lock is held, by one thread at a
    // time: `with` takes its token, and the collector calls `try_with` with all threads stopped.
    unsafe impl<T: Send> Sync for Guarded<T> {}

    impl<T> Guarded<T> {
        pub(crate) fn new(value: T) -> Self {
            Self {
                busy: Cell::new(false),
                value: UnsafeCell::new(value),
            }
        }

        /// Runs `act` alone with the value. `act` must not run Python code nor drop its objects.
        ///
        /// # Panics
        /// If `act` uses the same value again.
        #[inline]
        pub(crate) fn with<R>(&self, _py: Python<'_>, act: impl FnOnce(&mut T) -> R) -> R {
            self.try_with(act)
                .expect("no Python code runs while the value is in use")
        }

        /// As `with`, for the collector, which holds the interpreter lock but no token.
        #[inline]
        pub(crate) fn try_with<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
            if self.busy.replace(true) {
                return None;
            }
            let _reset = Reset(&self.busy);
            // SAFETY: the interpreter lock is held, and the flag was down, so that this is the only
            // reference until `_reset` takes it down again.
            Some(act(unsafe { &mut *self.value.get() }))
        }
    }

    struct Reset<'a>(&'a Cell<bool>);

    impl Drop for Reset<'_> {
        #[inline]
        fn drop(&mut self) {
            self.0.set(false);
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod with_mutex {
    use std::sync::{Mutex, PoisonError};

    use pyo3::Python;

    pub(crate) struct Guarded<T>(Mutex<T>);

    impl<T> Guarded<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        /// Runs `act` alone with the value. `act` must not run Python code nor drop its objects.
        pub(crate) fn with<R>(&self, _py: Python<'_>, act: impl FnOnce(&mut T) -> R) -> R {
            act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        /// As `with`, for the collector, which must not wait.
        pub(crate) fn try_with<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
            self.0.try_lock().ok().map(|mut value| act(&mut value))
        }
    }
}
