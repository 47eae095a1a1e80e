//! `Postings` and `RowLengths`: pages in, ranked rows out, over [`retain_core::postings`].
//!
//! Both have locks of their own, taken only while the interpreter's is released.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;
use retain_core::postings::{self, Lengths, Unreadable};

use crate::vector::Octets;

/// The whole numbers of a JSON list as int64, ascending and each once.
#[pyfunction]
pub(crate) fn ascending_keys(py: Python<'_>, keys: PyBackedStr) -> PyResult<Bound<'_, PyBytes>> {
    let bytes = py.detach(|| {
        let keys = postings::ascending(&keys)?;
        Some(keys.into_iter().flat_map(i64::to_ne_bytes).collect::<Vec<u8>>())
    });
    let bytes = bytes.ok_or_else(|| PyValueError::new_err("keys: not a list of whole numbers"))?;
    Ok(PyBytes::new(py, &bytes))
}

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct RowLengths {
    lengths: Mutex<Lengths>,
}

#[pymethods]
impl RowLengths {
    #[new]
    fn new() -> Self {
        Self {
            lengths: Mutex::default(),
        }
    }

    fn put(&self, py: Python<'_>, rows: PyBackedStr, until: u32) -> PyResult<()> {
        let taken = py.detach(|| locked(&self.lengths).put(&rows, until));
        taken.ok_or_else(|| PyValueError::new_err("rows: not the lengths of rows"))
    }
}

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct Postings {
    postings: Mutex<postings::Postings>,
}

#[pymethods]
impl Postings {
    #[new]
    fn new(weights: Vec<f64>) -> Self {
        Self {
            postings: Mutex::new(postings::Postings::new(weights)),
        }
    }

    fn segment(&self, newest: u32, deleted: Vec<PyBackedBytes>) -> PyResult<()> {
        locked(&self.postings)
            .segment(newest, &slices(&deleted))
            .map_err(unreadable)
    }

    fn begin(&self, py: Python<'_>, term: &[u8], leaves: Vec<PyBackedBytes>) -> PyResult<Vec<usize>> {
        let leaves = slices(&leaves);
        py.detach(|| locked(&self.postings).begin(term, &leaves))
            .map_err(unreadable)
    }

    fn extend(&self, segment: usize, page: &[u8]) -> PyResult<bool> {
        locked(&self.postings).extend(segment, page).map_err(unreadable)
    }

    fn part(&self, py: Python<'_>, place: u32) -> PyResult<()> {
        py.detach(|| locked(&self.postings).part(place))
            .map_err(unreadable)
    }

    fn phrase(&self) -> PyResult<u64> {
        locked(&self.postings).phrase().map_err(unreadable)
    }

    fn end(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| locked(&self.postings).end()).map_err(unreadable)
    }

    fn keep(&self, py: Python<'_>, keys: Octets) -> PyResult<()> {
        let keys = keys.keys().map_err(|error| crate::error::to_python(py, &error))?;
        py.detach(|| locked(&self.postings).keep(&keys));
        Ok(())
    }

    fn missing(&self, py: Python<'_>, lengths: &RowLengths) -> Vec<i64> {
        py.detach(|| locked(&self.postings).missing(&locked(&lengths.lengths)))
    }

    fn best(
        &self,
        py: Python<'_>,
        lengths: &RowLengths,
        total: u64,
        tokens: u64,
        most: usize,
    ) -> PyResult<Vec<(i64, f64)>> {
        let best = py.detach(|| locked(&self.postings).best(&locked(&lengths.lengths), total, tokens, most));
        best.map_err(unreadable)
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slices(pages: &[PyBackedBytes]) -> Vec<&[u8]> {
    pages.iter().map(|page| &**page).collect()
}

fn unreadable(_: Unreadable) -> PyErr {
    PyValueError::new_err("not what a full-text index holds")
}
