//! `SpaceCorpus` and `Space`: lists of terms in, bytes out, over [`retain_core::space`].

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyType};
use retain_core::space::{self, Corpus, Limits};

use crate::error::to_python;
use crate::guarded::Guarded;

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct SpaceCorpus {
    /// `None` once it was fitted.
    corpus: Guarded<Option<Corpus>>,
}

#[pymethods]
impl SpaceCorpus {
    #[new]
    #[pyo3(signature = (dim=128, terms_max=32_768, text_terms_max=192, pairs_max=4_000_000))]
    fn new(
        py: Python<'_>,
        dim: usize,
        terms_max: usize,
        text_terms_max: usize,
        pairs_max: usize,
    ) -> PyResult<Self> {
        let limits = Limits {
            dim,
            terms: terms_max,
            terms_per_text: text_terms_max,
            pairs: pairs_max,
        };
        let corpus = Corpus::new(limits).map_err(|error| to_python(py, &error))?;
        Ok(Self {
            corpus: Guarded::new(Some(corpus)),
        })
    }

    fn add(&self, py: Python<'_>, texts: Vec<Vec<PyBackedStr>>) -> PyResult<()> {
        let added = self.corpus.with(py, |corpus| {
            let corpus = corpus.as_mut()?;
            for text in &texts {
                corpus.add(text.iter().map(|term| &**term));
            }
            Some(())
        });
        added.ok_or_else(fitted)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.corpus
            .with(py, |corpus| corpus.as_ref().map_or(0, Corpus::len))
    }

    fn fit(&self, py: Python<'_>, seed: u64) -> PyResult<Space> {
        let corpus = self.corpus.with(py, Option::take).ok_or_else(fitted)?;
        Ok(Space {
            space: py.detach(|| corpus.fit(seed)),
        })
    }
}

fn fitted() -> PyErr {
    PyValueError::new_err("the corpus was fitted, which uses it up")
}

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct Space {
    space: space::Space,
}

#[pymethods]
impl Space {
    #[classmethod]
    fn from_bytes(class: &Bound<'_, PyType>, data: &[u8]) -> PyResult<Self> {
        let space = space::Space::from_bytes(data).map_err(|error| to_python(class.py(), &error))?;
        Ok(Self { space })
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.space.to_bytes()))
    }

    fn embed<'py>(&self, py: Python<'py>, terms: Vec<PyBackedStr>) -> Bound<'py, PyBytes> {
        as_bytes(py, &self.vector(&terms))
    }

    fn embed_many<'py>(&self, py: Python<'py>, texts: Vec<Vec<PyBackedStr>>) -> Vec<Bound<'py, PyBytes>> {
        let vectors: Vec<Vec<i8>> = py.detach(|| texts.iter().map(|terms| self.vector(terms)).collect());
        vectors.iter().map(|vector| as_bytes(py, vector)).collect()
    }

    #[getter]
    fn dim(&self) -> usize {
        self.space.dim()
    }

    #[getter]
    fn documents(&self) -> u64 {
        self.space.documents()
    }

    #[getter]
    fn terms(&self) -> usize {
        self.space.terms()
    }

    #[getter]
    fn footprint_bytes(&self) -> usize {
        self.space.footprint_bytes()
    }
}

impl Space {
    fn vector(&self, terms: &[PyBackedStr]) -> Vec<i8> {
        self.space.embed(terms.iter().map(|term| &**term))
    }
}

fn as_bytes<'py>(py: Python<'py>, vector: &[i8]) -> Bound<'py, PyBytes> {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    PyBytes::new(py, &bytes)
}
