//! `MemorySampler`: a [`retain_sampler::Sampler`]; its thread never enters Python.

use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use retain_sampler::sampler::source_of;
use retain_sampler::{Options, Sampler, SamplerError, Thresholds};

/// `threading.TIMEOUT_MAX` is of this order; a longer wait means for ever.
const WAIT_MS_MAX: f64 = 1e12;

#[pyclass(frozen, weakref, module = "retain._core")]
pub(crate) struct MemorySampler {
    sampler: Sampler,
}

#[pymethods]
impl MemorySampler {
    #[new]
    #[pyo3(
        signature = (limit_bytes=None, thresholds=(0.7, 0.85, 0.95), hysteresis=0.05, interval_ms=10.0, interval_max_ms=250.0, history=512),
        text_signature = "(limit_bytes=None, thresholds=(0.7, 0.85, 0.95), hysteresis=0.05, interval_ms=10.0, interval_max_ms=250.0, history=512)"
    )]
    fn new(
        limit_bytes: Option<u64>,
        thresholds: (f64, f64, f64),
        hysteresis: f64,
        interval_ms: f64,
        interval_max_ms: f64,
        history: usize,
    ) -> PyResult<Self> {
        let enter = [thresholds.0, thresholds.1, thresholds.2];
        let options = Options {
            limit_bytes,
            thresholds: Thresholds::new(enter, hysteresis).map_err(PyValueError::new_err)?,
            interval_ms,
            interval_max_ms,
            history,
        };
        let sampler = Sampler::new(options).map_err(|error| to_python(&error))?;
        Ok(Self { sampler })
    }

    fn start(&self) -> PyResult<()> {
        self.sampler.start().map_err(|error| to_python(&error))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.sampler.stop());
    }

    fn fileno(&self) -> i32 {
        self.sampler.descriptor()
    }

    fn take(&self) -> i8 {
        self.sampler.take()
    }

    fn measure(&self) -> i8 {
        self.sampler.measure()
    }

    fn wait(&self, py: Python<'_>, changes: u64, timeout_ms: f64) -> PyResult<u64> {
        if !(0.0..=WAIT_MS_MAX).contains(&timeout_ms) {
            return Err(PyValueError::new_err("timeout_ms: must be between 0 and 1e12"));
        }
        let timeout = Duration::from_secs_f64(timeout_ms / 1000.0);
        Ok(py.detach(|| self.sampler.wait(changes, timeout)))
    }

    fn history(&self) -> Vec<(f64, u64, u64, i8)> {
        let samples = self.sampler.history().into_iter();
        samples
            .map(|sample| (sample.at_s, sample.used, sample.limit, sample.level as i8))
            .collect()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.sampler.stats();
        let named = PyDict::new(py);
        named.set_item("readings", stats.readings)?;
        named.set_item("changes", stats.changes)?;
        named.set_item("resident_bytes", stats.resident)?;
        named.set_item("used_bytes", stats.fullest.map_or(0, |pair| pair.used))?;
        named.set_item("limit_bytes", stats.fullest.map_or(0, |pair| pair.limit))?;
        named.set_item("source", source_of(&stats))?;
        named.set_item("stalled", stats.stalled)?;
        named.set_item("limit_hits", stats.hits)?;
        named.set_item("interval_ms", stats.interval_ms)?;
        Ok(named)
    }

    #[getter]
    fn level(&self) -> i8 {
        self.sampler.level()
    }

    #[getter]
    fn supported(&self) -> bool {
        self.sampler.supported()
    }

    #[getter]
    fn running(&self) -> bool {
        self.sampler.running()
    }
}

fn to_python(error: &SamplerError) -> PyErr {
    match error {
        SamplerError::Invalid(problem) => PyValueError::new_err(*problem),
        SamplerError::System(_) => PyOSError::new_err(error.to_string()),
    }
}
