//! The Python module `retain._core`: forwards to `retain-core`, `retain-sampler` and `retain-seal`,
//! and holds no logic of its own.
//!
//! One rule holds everywhere here: while a value of the core is in use ([`guarded`]), no code of
//! Python's users runs, no `__eq__`, no `__hash__`, no destructor. What leaves a container is dropped
//! afterwards, and the interpreter lock is released only between uses.
//! Unsafe code is denied but where a measured gain needs it: [`guarded`], [`fast`], one comparison in [`key`].

#![allow(clippy::needless_pass_by_value, reason = "PyO3 extracts arguments by value")]
#![deny(unsafe_code)]

mod cache;
mod cost;
mod error;
mod expressions;
mod fast;
mod filters;
mod guarded;
mod key;
mod postings;
mod queue;
mod redact;
mod sampler;
mod seal;
mod space;
mod vector;

#[pyo3::pymodule(gil_used = true)]
mod _core {
    #[pymodule_export]
    use crate::cache::L1Cache;
    #[pymodule_export]
    use crate::cost::CostEstimator;
    #[pymodule_export]
    use crate::expressions::Expressions;
    #[pymodule_export]
    use crate::postings::{Postings, RowLengths, ascending_keys};
    #[pymodule_export]
    use crate::queue::BatchQueue;
    #[pymodule_export]
    use crate::redact::Redactor;
    #[pymodule_export]
    use crate::sampler::MemorySampler;
    #[pymodule_export]
    use crate::seal::{key_id, open_with_key, open_with_secret, public_key, seal_to_public, seal_with_key};
    #[pymodule_export]
    use crate::space::{Space, SpaceCorpus};
    #[pymodule_export]
    use crate::vector::{VectorMatrix, quantise};

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::guarded::check_interpreter(module.py())?;
        crate::fast::add_methods(module.py())
    }

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
}
