//! `Expressions`: which of a list is found first in a text, over [`retain_core::expressions`].

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use retain_core::expressions as core;

use crate::error::to_python;

/// Below this many bytes, giving the interpreter away costs more than it lets others do.
const DETACHED_BYTES_MIN: usize = 4096;

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct Expressions {
    list: core::Expressions,
}

#[pymethods]
impl Expressions {
    #[new]
    fn new(py: Python<'_>, expressions: Vec<(Vec<String>, String)>) -> PyResult<Self> {
        let list = core::Expressions::new(expressions).map_err(|error| to_python(py, &error))?;
        Ok(Self { list })
    }

    fn first(&self, py: Python<'_>, text: PyBackedStr, start: usize, stop: usize) -> PyResult<Option<usize>> {
        let found = if text.len() < DETACHED_BYTES_MIN {
            self.list.first(&text, start, stop)
        } else {
            py.detach(|| self.list.first(&text, start, stop))
        };
        found.map_err(|error| to_python(py, &error))
    }
}
