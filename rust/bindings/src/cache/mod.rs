//! `L1Cache`: Python objects in a [`retain_core::cache::Cache`].

mod access;

use std::time::Instant;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyMapping, PyString};
use pyo3::{PyTraverseError, PyVisit};
use retain_core::cache::{Cache, Limits, Removed};

use crate::error::to_python;
use crate::guarded::Guarded;
use crate::key::{Objects, Wanted};

#[pyclass(frozen, weakref, module = "retain._core")]
pub(crate) struct L1Cache {
    cache: Guarded<Objects>,
    /// What is being computed for missing keys, kept by `retain.cache.flights`.
    flights: Py<PyDict>,
    default_ttl: Option<u64>,
    origin: Instant,
}

/// A key and its value.
type Pair = (Py<PyAny>, Py<PyAny>);
type Leaving = Removed<Py<PyAny>, Py<PyAny>>;

static COMPUTE_ONCE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

#[pymethods]
impl L1Cache {
    #[new]
    #[pyo3(signature = (max_entries=10_000, max_bytes=None, policy="lru", ttl=None, idle_ttl=None))]
    fn new(
        py: Python<'_>,
        max_entries: i64,
        max_bytes: Option<i64>,
        policy: &str,
        ttl: Option<f64>,
        idle_ttl: Option<f64>,
    ) -> PyResult<Self> {
        let limits = Limits {
            max_entries: not_negative("max_entries", max_entries)?,
            max_bytes: max_bytes
                .map(|bytes| not_negative("max_bytes", bytes))
                .transpose()?,
        };
        let cache = policy.parse().and_then(|policy| Cache::new(limits, policy));
        let mut cache = cache.map_err(|error| to_python(py, &error))?;
        if let Some(idle_ttl) = nanoseconds("idle_ttl", idle_ttl)? {
            cache = cache.with_idle_ttl(idle_ttl);
        }
        Ok(Self {
            cache: Guarded::new(cache),
            flights: PyDict::new(py).unbind(),
            default_ttl: nanoseconds("ttl", ttl)?,
            origin: Instant::now(),
        })
    }

    #[pyo3(
        signature = (key, value, ttl=None, size=None, tags=None),
        text_signature = "($self, key, value, ttl=None, size=None, tags=())"
    )]
    fn set(
        &self,
        key: &Bound<'_, PyAny>,
        value: Bound<'_, PyAny>,
        ttl: Option<f64>,
        size: Option<i64>,
        tags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let tags = tags.map_or_else(|| Ok(Vec::new()), names)?;
        let ttl = nanoseconds("ttl", ttl)?.or(self.default_ttl);
        let size = size.map(|size| not_negative("size", size)).transpose()?;
        self.write(key, value.unbind(), ttl, size, &tags)
    }

    #[pyo3(signature = (key, loader, ttl=None))]
    fn get_or_compute<'py>(
        this: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        loader: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(value) = this.get().read(key)? {
            return Ok(value);
        }
        let compute = COMPUTE_ONCE.import(this.py(), "retain.cache.flights", "compute_once")?;
        compute.call1((this, &this.get().flights, key, loader, ttl))
    }

    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.take(key)?.is_some())
    }

    #[pyo3(signature = (key, default=None))]
    fn pop<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.take(key)?.or(default))
    }

    fn get_many<'py>(&self, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(keys.py());
        for key in keys.try_iter()? {
            let key = key?;
            if let Some(value) = self.read(&key)? {
                found.set_item(key, value)?;
            }
        }
        Ok(found)
    }

    #[pyo3(signature = (items, ttl=None))]
    fn set_many(&self, items: &Bound<'_, PyAny>, ttl: Option<f64>) -> PyResult<()> {
        let ttl = nanoseconds("ttl", ttl)?.or(self.default_ttl);
        let pairs = match items.cast::<PyMapping>() {
            Ok(mapping) => mapping.items()?.try_iter()?,
            Err(_) => items.try_iter()?,
        };
        for pair in pairs {
            let (key, value): (Bound<'_, PyAny>, Py<PyAny>) = pair?.extract()?;
            self.write(&key, value, ttl, None, &[])?;
        }
        Ok(())
    }

    fn clear(&self, py: Python<'_>) {
        let mut removed = Leaving::new();
        self.cache.with(py, |cache| cache.clear(&mut removed));
    }

    #[pyo3(signature = (max_entries=None, max_bytes=None))]
    fn resize(&self, py: Python<'_>, max_entries: Option<i64>, max_bytes: Option<i64>) -> PyResult<()> {
        let max_entries = max_entries
            .map(|entries| not_negative("max_entries", entries))
            .transpose()?;
        let max_bytes = max_bytes
            .map(|bytes| not_negative("max_bytes", bytes))
            .transpose()?;
        let mut removed = Leaving::new();
        let outcome = self.cache.with(py, |cache| {
            let limits = Limits {
                max_entries: max_entries.unwrap_or(cache.limits().max_entries),
                max_bytes: max_bytes.or(cache.limits().max_bytes),
            };
            cache.resize(limits, &mut removed)
        });
        outcome.map_err(|error| to_python(py, &error))
    }

    fn invalidate_tag(&self, py: Python<'_>, tag: &str) -> usize {
        let mut removed = Leaving::new();
        self.cache
            .with(py, |cache| cache.invalidate_tag(tag, &mut removed))
    }

    fn keys(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.with_live(py, |cache| {
            cache.iter().map(|(key, _)| key.clone_ref(py)).collect()
        })
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, entries, bytes) = self.with_live(py, |cache| (cache.stats(), cache.len(), cache.bytes()));
        let named = PyDict::new(py);
        named.set_item("hits", stats.hits)?;
        named.set_item("misses", stats.misses)?;
        named.set_item("insertions", stats.insertions)?;
        named.set_item("evictions", stats.evictions)?;
        named.set_item("expirations", stats.expirations)?;
        named.set_item("entries", entries)?;
        named.set_item("bytes", bytes)?;
        Ok(named)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.with_live(py, |cache| cache.len())
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Wanted::new(key)?.with_slot(&self.cache, |cache, slot| {
            let now = self.now_for(cache);
            slot.is_some_and(|slot| cache.is_live(slot, now))
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.flights)?;
        let visited = self.cache.try_with(|cache| {
            cache
                .iter()
                .try_for_each(|(key, value)| visit.call(key).and_then(|()| visit.call(value)))
        });
        // A cache in use shows nothing, which keeps its objects alive until the next collection.
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let mut removed = Leaving::new();
        self.cache.try_with(|cache| cache.clear(&mut removed));
    }
}

fn not_negative<T: TryFrom<i64>>(field: &str, value: i64) -> PyResult<T> {
    let problem = || PyValueError::new_err(format!("{field}: must be at least 0, not {value}"));
    T::try_from(value).map_err(|_| problem())
}

/// Seconds as nanoseconds; infinity is a life as long as the clock's range.
fn nanoseconds(field: &str, ttl: Option<f64>) -> PyResult<Option<u64>> {
    let Some(seconds) = ttl else { return Ok(None) };
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(PyValueError::new_err(format!(
            "{field}: must be above 0 seconds, not {seconds}"
        )));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, above 0"
    )]
    Ok(Some((seconds * 1e9).ceil() as u64))
}

fn names(tags: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if tags.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "tags: must be an iterable of str, not a str",
        ));
    }
    tags.try_iter()?.map(|tag| tag?.extract()).collect()
}
