//! `Redactor`: texts in, texts without secrets out, over [`retain_core::redact`].

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use retain_core::redact::{self, Redacted};

use crate::error::to_python;

/// Below this many bytes, giving the interpreter away costs more than it lets others do.
const DETACHED_BYTES_MIN: usize = 4096;

type Clean = (String, Vec<(String, usize)>);

#[pyclass(frozen, module = "retain._core")]
pub(crate) struct Redactor {
    rules: redact::Redactor,
}

#[pymethods]
impl Redactor {
    #[new]
    #[pyo3(signature = (*, pii=false, allowed=Vec::new()))]
    fn new(py: Python<'_>, pii: bool, allowed: Vec<(String, u64)>) -> PyResult<Self> {
        let rules = py.detach(|| redact::Redactor::new(pii, allowed));
        Ok(Self {
            rules: rules.map_err(|error| to_python(py, &error))?,
        })
    }

    fn redact(&self, py: Python<'_>, text: PyBackedStr) -> Option<Clean> {
        if text.len() < DETACHED_BYTES_MIN {
            return self.rules.redact(&text).map(owned);
        }
        py.detach(|| self.rules.redact(&text).map(owned))
    }

    fn redact_many(&self, py: Python<'_>, texts: Vec<PyBackedStr>) -> Vec<Option<Clean>> {
        let all = || {
            texts
                .iter()
                .map(|text| self.rules.redact(text).map(owned))
                .collect()
        };
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        if bytes < DETACHED_BYTES_MIN {
            all()
        } else {
            py.detach(all)
        }
    }

    fn find(&self, py: Python<'_>, text: PyBackedStr) -> Vec<(String, usize, usize)> {
        py.detach(|| {
            let (mut bytes, mut chars) = (0, 0);
            let mut place = |at: usize| {
                chars += text.get(bytes..at).map_or(0, |part| part.chars().count());
                bytes = at;
                chars
            };
            let findings = self.rules.find(&text);
            findings
                .iter()
                .map(|found| (found.rule.to_owned(), place(found.start), place(found.end)))
                .collect()
        })
    }

    #[getter]
    fn names(&self) -> Vec<String> {
        self.rules.names().map(str::to_owned).collect()
    }

    #[staticmethod]
    fn names_secret(key: &str) -> bool {
        redact::names_secret(key)
    }

    #[staticmethod]
    fn is_placeholder(value: &str) -> bool {
        redact::is_placeholder(value)
    }

    #[staticmethod]
    fn fingerprint(value: &str) -> u64 {
        redact::fingerprint(value)
    }

    #[staticmethod]
    fn version() -> u64 {
        redact::rules_version()
    }
}

fn owned(clean: Redacted<'_>) -> Clean {
    let counts = clean.counts.into_iter();
    (
        clean.text,
        counts.map(|(rule, count)| (rule.to_owned(), count)).collect(),
    )
}
