//! `BatchQueue`: Python objects in a [`retain_core::queue::Queue`].

use std::collections::HashSet;

use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use retain_core::queue::{Queue, Shed};

use crate::error::to_python;
use crate::guarded::Guarded;

/// Items, and the number of each.
type Numbered = (Vec<Py<PyAny>>, Vec<u64>);

#[pyclass(frozen, weakref, module = "retain._core")]
pub(crate) struct BatchQueue {
    queue: Guarded<Queue<Py<PyAny>>>,
}

#[pymethods]
impl BatchQueue {
    #[new]
    #[pyo3(signature = (capacity=None))]
    fn new(py: Python<'_>, capacity: Option<i64>) -> PyResult<Self> {
        // A negative capacity is as wrong as 0, and the core says so for 0.
        let capacity = capacity.map(|capacity| usize::try_from(capacity).unwrap_or(0));
        let queue = Queue::new(capacity).map_err(|error| to_python(py, &error))?;
        Ok(Self {
            queue: Guarded::new(queue),
        })
    }

    #[pyo3(signature = (item, priority=0, lane="", due_ms=0))]
    fn push(&self, py: Python<'_>, item: Py<PyAny>, priority: i64, lane: &str, due_ms: u64) -> PyResult<()> {
        let outcome = self
            .queue
            .with(py, |queue| queue.push(item, priority, lane, due_ms));
        outcome.map_err(|refused| to_python(py, &refused.error))
    }

    #[pyo3(signature = (items, priorities=None, lane=""))]
    fn push_many(
        &self,
        items: &Bound<'_, PyAny>,
        priorities: Option<&Bound<'_, PyAny>>,
        lane: &str,
    ) -> PyResult<u64> {
        let pairs = match priorities {
            None => items
                .try_iter()?
                .map(|item| Ok((0, item?.unbind())))
                .collect::<PyResult<_>>()?,
            Some(priorities) => paired(items, priorities)?,
        };
        let py = items.py();
        let outcome = self.queue.with(py, |queue| queue.push_many(pairs, lane));
        outcome.map_err(|refused| to_python(py, &refused.error))
    }

    fn pop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let item = self.queue.with(py, Queue::pop);
        item.ok_or_else(|| PyIndexError::new_err("no item is ready"))
    }

    #[pyo3(signature = (n, lane=None))]
    fn pop_batch(&self, py: Python<'_>, n: usize, lane: Option<&str>) -> Vec<Py<PyAny>> {
        let batch = self.queue.with(py, |queue| queue.pop_batch(n, lane));
        batch.into_iter().map(|(_, item)| item).collect()
    }

    #[pyo3(signature = (n, lane=None))]
    fn pop_numbered(&self, py: Python<'_>, n: usize, lane: Option<&str>) -> Numbered {
        let batch = self.queue.with(py, |queue| queue.pop_batch(n, lane));
        batch.into_iter().map(|(number, item)| (item, number)).unzip()
    }

    #[pyo3(signature = (busy=None))]
    fn next_lane(&self, py: Python<'_>, busy: Option<HashSet<String>>) -> Option<String> {
        let is_busy = |name: &str| busy.as_ref().is_some_and(|busy| busy.contains(name));
        self.queue
            .with(py, |queue| queue.next_lane(is_busy).map(ToOwned::to_owned))
    }

    #[pyo3(signature = (n, oldest=false))]
    fn shed(&self, py: Python<'_>, n: usize, oldest: bool) -> Numbered {
        let which = if oldest { Shed::Oldest } else { Shed::Last };
        let gone = self.queue.with(py, |queue| queue.shed(n, which));
        gone.into_iter().map(|(number, item)| (item, number)).unzip()
    }

    #[pyo3(signature = (now_ms, n, lane=None))]
    fn pop_due(&self, py: Python<'_>, now_ms: u64, n: usize, lane: Option<&str>) -> Vec<Py<PyAny>> {
        self.queue.with(py, |queue| queue.pop_due(now_ms, n, lane))
    }

    fn next_due_ms(&self, py: Python<'_>) -> Option<u64> {
        self.queue.with(py, |queue| queue.next_due_ms())
    }

    fn lanes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts: Vec<(String, usize)> = self.queue.with(py, |queue| {
            let counts = queue.lanes().map(|(name, count)| (name.to_owned(), count));
            counts.collect()
        });
        let lanes = PyDict::new(py);
        for (name, count) in counts {
            lanes.set_item(name, count)?;
        }
        Ok(lanes)
    }

    fn clear(&self, py: Python<'_>) {
        let items = self.queue.with(py, Queue::clear);
        drop(items);
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (stats, len, delayed, capacity) = self.queue.with(py, |queue| {
            (queue.stats(), queue.len(), queue.delayed(), queue.capacity())
        });
        let named = PyDict::new(py);
        named.set_item("pushed", stats.pushed)?;
        named.set_item("popped", stats.popped)?;
        named.set_item("shed", stats.shed)?;
        named.set_item("refused", stats.refused)?;
        named.set_item("peak", stats.peak)?;
        named.set_item("items", len)?;
        named.set_item("delayed", delayed)?;
        named.set_item("capacity", capacity)?;
        Ok(named)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.queue.with(py, |queue| queue.len())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self
            .queue
            .try_with(|queue| queue.iter().try_for_each(|item| visit.call(item)));
        // A queue in use shows nothing, which keeps its objects alive until the next collection.
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        let items = self.queue.try_with(Queue::clear);
        drop(items);
    }
}

/// Each item with its priority, as the core takes them.
fn paired(items: &Bound<'_, PyAny>, priorities: &Bound<'_, PyAny>) -> PyResult<Vec<(i64, Py<PyAny>)>> {
    let priorities: Vec<i64> = priorities
        .try_iter()?
        .map(|priority| priority?.extract())
        .collect::<PyResult<_>>()?;
    let mut pairs = Vec::with_capacity(priorities.len());
    let mut items = items.try_iter()?;
    for priority in &priorities {
        let Some(item) = items.next() else { break };
        pairs.push((*priority, item?.unbind()));
    }
    if pairs.len() < priorities.len() || items.next().is_some() {
        return Err(PyValueError::new_err("priorities: must be as many as items"));
    }
    Ok(pairs)
}
