//! `VectorMatrix`: buffers in, hits out, over a [`retain_core::vector::Matrix`].
//!
//! A search takes longer than the interpreter lock may be held, so the matrix has a lock of its own, which is
//! taken only while the interpreter's is released and within which nothing of Python is touched.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyMemoryView};
use retain_core::CoreError;
use retain_core::vector::{self, CostLine, Matrix, Way};

use crate::error::to_python;

/// Key and cosine, best first, and the way they were found.
type Hits = (Vec<(i64, f32)>, &'static str);

/// The bytes of any contiguous buffer; those of `bytes` are not copied.
pub(crate) struct Octets(PyBackedBytes);

impl<'py> FromPyObject<'_, 'py> for Octets {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self(bytes.to_owned().into()));
        }
        let copied = PyMemoryView::from(&object)?.call_method0("tobytes")?;
        Ok(Self(copied.cast_into::<PyBytes>()?.into()))
    }
}

impl Octets {
    fn numbers<T, const WIDTH: usize>(
        &self,
        name: &str,
        read: fn([u8; WIDTH]) -> T,
    ) -> Result<Vec<T>, CoreError> {
        let (whole, rest) = self.0.as_chunks::<WIDTH>();
        if !rest.is_empty() {
            return Err(CoreError::invalid(
                name,
                format!("must be whole numbers of {WIDTH} bytes"),
            ));
        }
        Ok(whole.iter().map(|number| read(*number)).collect())
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>, CoreError> {
        self.numbers(name, f32::from_ne_bytes)
    }

    pub(crate) fn keys(&self) -> Result<Vec<i64>, CoreError> {
        self.numbers("keys", i64::from_ne_bytes)
    }

    fn signed(&self) -> Vec<i8> {
        self.0.iter().map(|byte| byte.cast_signed()).collect()
    }
}

#[pyclass(frozen, weakref, module = "retain._core")]
pub(crate) struct VectorMatrix {
    matrix: RwLock<Matrix>,
}

impl VectorMatrix {
    /// Reads the matrix without the interpreter lock.
    fn read<R: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&Matrix) -> Result<R, CoreError> + Send,
    ) -> PyResult<R> {
        let outcome = py.detach(|| act(&self.matrix.read().unwrap_or_else(PoisonError::into_inner)));
        outcome.map_err(|error| to_python(py, &error))
    }

    /// Changes the matrix without the interpreter lock.
    fn write<R: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Matrix) -> Result<R, CoreError> + Send,
    ) -> PyResult<R> {
        let outcome = py.detach(|| act(&mut self.matrix.write().unwrap_or_else(PoisonError::into_inner)));
        outcome.map_err(|error| to_python(py, &error))
    }
}

#[pymethods]
impl VectorMatrix {
    #[new]
    fn new(py: Python<'_>, dim: i64) -> PyResult<Self> {
        // A negative dim is as wrong as 0, and the core says so for 0.
        let matrix = Matrix::new(usize::try_from(dim).unwrap_or(0)).map_err(|error| to_python(py, &error))?;
        Ok(Self {
            matrix: RwLock::new(matrix),
        })
    }

    fn put(&self, py: Python<'_>, keys: Octets, rows: Octets) -> PyResult<usize> {
        self.write(py, |matrix| matrix.put(&keys.keys()?, &rows.signed()))
    }

    fn remove(&self, py: Python<'_>, keys: Octets) -> PyResult<usize> {
        self.write(py, |matrix| Ok(matrix.remove(&keys.keys()?)))
    }

    fn clear(&self, py: Python<'_>) -> PyResult<usize> {
        self.write(py, |matrix| Ok(matrix.clear()))
    }

    #[pyo3(signature = (query, k, keys=None, way=None))]
    fn search(
        &self,
        py: Python<'_>,
        query: Octets,
        k: usize,
        keys: Option<Octets>,
        way: Option<&str>,
    ) -> PyResult<Hits> {
        let found = self.read(py, |matrix| {
            let keys = keys.as_ref().map(Octets::keys).transpose()?;
            let way = way.map(str::parse::<Way>).transpose()?;
            matrix.search(&query.floats("query")?, k, keys.as_deref(), way)
        })?;
        let hits = found.hits.into_iter().map(|hit| (hit.key, hit.score));
        Ok((hits.collect(), found.way.name()))
    }

    #[getter]
    fn dim(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |matrix| Ok(matrix.dim()))
    }

    #[getter]
    fn bytes(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |matrix| Ok(matrix.bytes()))
    }

    #[pyo3(signature = (matching=None, k=10))]
    fn prices<'py>(
        &self,
        py: Python<'py>,
        matching: Option<usize>,
        k: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let prices = self.read(py, |matrix| Ok(matrix.costs().prices(matrix.len(), matching, k)))?;
        let named = PyDict::new(py);
        for (way, us) in prices {
            named.set_item(way.name(), us)?;
        }
        Ok(named)
    }

    fn set_costs(&self, py: Python<'_>, costs: HashMap<String, (f64, f64)>) -> PyResult<()> {
        self.write(py, |matrix| {
            let mut all = matrix.costs();
            for (name, (startup_us, row_us)) in costs {
                all.set(name.parse()?, CostLine { startup_us, row_us })?;
            }
            matrix.set_costs(all);
            Ok(())
        })
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        self.read(py, |matrix| Ok(matrix.len()))
    }
}

/// Unit vectors as rows for [`VectorMatrix::put`].
#[pyfunction]
pub(crate) fn quantise(py: Python<'_>, values: Octets, dim: i64) -> PyResult<Bound<'_, PyBytes>> {
    let Ok(dim) = usize::try_from(dim) else {
        return Err(PyValueError::new_err("dim: must be above 0"));
    };
    let outcome = py.detach(|| vector::quantise(&values.floats("values")?, dim));
    let rows = outcome.map_err(|error| to_python(py, &error))?;
    let bytes: Vec<u8> = rows.into_iter().map(i8::cast_unsigned).collect();
    Ok(PyBytes::new(py, &bytes))
}
