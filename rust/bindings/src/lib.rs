//! The Python module `retain._core`: forwards to `retain-core` and `retain-sampler`, and holds no
//! logic of its own.
//!
//! One rule holds everywhere here: while a value of the core is in use ([`guarded`]), no code of
//! Python's users runs, no `__eq__`, no `__hash__`, no destructor. What leaves a container is dropped
//! afterwards, and the interpreter lock is released only between uses.

#![allow(clippy::needless_pass_by_value, reason = "PyO3 extracts arguments by value")]
#![deny(unsafe_code)]

mod cache;
mod cost;
mod error;
mod guarded;
mod key;
mod queue;
mod sampler;

#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use crate::cache::L1Cache;
    #[pymodule_export]
    use crate::cost::CostEstimator;
    #[pymodule_export]
    use crate::queue::BatchQueue;
    #[pymodule_export]
    use crate::sampler::MemorySampler;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
}
