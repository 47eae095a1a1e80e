//! Core errors as Python exceptions: one match.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use retain_core::CoreError;

static QUEUE_FULL: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The exception for `error`, as `_core.pyi` promises it.
pub(crate) fn to_python(py: Python<'_>, error: &CoreError) -> PyErr {
    let message = error.to_string();
    match error {
        CoreError::Invalid { .. } => PyValueError::new_err(message),
        CoreError::QueueFull { .. } => match QUEUE_FULL.import(py, "retain.errors", "QueueFull") {
            Ok(class) => PyErr::from_type(class.clone(), message),
            Err(import_failed) => import_failed,
        },
    }
}
