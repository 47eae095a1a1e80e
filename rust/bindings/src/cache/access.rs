//! How `L1Cache` reads, writes and removes: what its methods share, and what [`crate::fast`] calls.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use retain_core::cache::{EntryOptions, Read, Slot};

use super::{L1Cache, Leaving, Pair};
use crate::key::{Objects, Wanted};

/// What an entry takes in the structures of the cache.
const ENTRY_BYTES: u64 = 64;
/// What a string or bytes object takes beside its content.
const HEADER_BYTES: u64 = 48;
/// The guess for any other object.
const OBJECT_BYTES: u64 = 64;

impl L1Cache {
    /// Counts a hit or a miss, and gives the value of a hit.
    #[inline]
    pub(super) fn read<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let mut ended = None;
        let value = Wanted::new(key)?.with_slot(&self.cache, |cache, slot| {
            self.read_slot(py, cache, slot, &mut ended)
        })?;
        Ok(value.map(|value| value.into_bound(py)))
    }

    /// As `read`, for [`crate::fast`].
    #[expect(
        clippy::inline_always,
        reason = "a fifth of the instructions of a hit, measured"
    )]
    #[inline(always)]
    pub(crate) fn read_fast<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let wanted = Wanted::new(key)?;
        let (mut ended, mut question) = (None, None);
        let value = self.cache.with(py, |cache| {
            let slot = wanted.locate(cache, &mut question);
            if question.is_some() {
                return None;
            }
            self.read_slot(py, cache, slot, &mut ended)
        });
        if value.is_none() && (ended.is_some() || question.is_some()) {
            return self.read_rarely(key, ended, question);
        }
        Ok(value.map(|value| value.into_bound(py)))
    }

    /// Drops what ended, or asks what only Python code can tell.
    #[cold]
    fn read_rarely<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        ended: Option<Pair>,
        question: Option<Py<PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Python::attach(|_| {
            drop(ended);
            if question.is_none() {
                return Ok(None);
            }
            drop(question);
            self.read(key)
        })
    }

    /// As `read_fast`, but a miss does not count yet, and what Python code must compare is a miss.
    #[inline]
    pub(crate) fn read_hit<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = key.py();
        let wanted = Wanted::new(key)?;
        let mut question = None;
        let value = self.cache.with(py, |cache| {
            let slot = wanted.locate(cache, &mut question)?;
            let now = self.now_for(cache);
            if question.is_some() || !cache.is_live(slot, now) {
                return None;
            }
            self.read_slot(py, cache, Some(slot), &mut None)
        });
        if let Some(question) = question {
            drop(question.into_bound(py));
        }
        Ok(value.map(|value| value.into_bound(py)))
    }

    #[expect(
        clippy::inline_always,
        reason = "a fifth of the instructions of a hit, measured"
    )]
    #[inline(always)]
    fn read_slot(
        &self,
        py: Python<'_>,
        cache: &mut Objects,
        slot: Option<Slot>,
        ended: &mut Option<Pair>,
    ) -> Option<Py<PyAny>> {
        let now = self.now_for(cache);
        match cache.read(slot, now) {
            Read::Hit(value) => Some(value.clone_ref(py)),
            Read::Miss => None,
            Read::Ended(pair) => {
                *ended = Some(pair);
                None
            }
        }
    }

    /// `set` without options, for [`crate::fast`].
    #[inline]
    pub(crate) fn write_fast<'py>(&self, key: &Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<()> {
        let py = key.py();
        let wanted = Wanted::new(key)?;
        let bytes = ENTRY_BYTES + estimated_bytes(key) + estimated_bytes(&value);
        let options = EntryOptions {
            ttl: self.default_ttl,
            bytes,
            tags: &[],
        };
        let pair = (key.clone().unbind(), value.unbind());
        let mut removed = Leaving::new();
        let mut question = None;
        let refused = self.cache.with(py, |cache| {
            let slot = wanted.locate(cache, &mut question);
            if question.is_some() {
                return Some(pair);
            }
            self.insert(cache, slot, &wanted, pair, options, &mut removed);
            None
        });
        // Bound objects are dropped at once, where PyO3 does not know the thread to be attached.
        let (only, more) = removed.into_only();
        if let Some((key, value)) = only {
            drop((key.into_bound(py), value.into_bound(py)));
        } else if let Some(more) = more {
            Python::attach(|_| drop(more));
        }
        let Some((own_key, value)) = refused else {
            return Ok(());
        };
        Python::attach(|_| {
            drop((own_key, question));
            self.write(key, value, self.default_ttl, Some(bytes), &[])
        })
    }

    #[inline]
    fn insert(
        &self,
        cache: &mut Objects,
        slot: Option<Slot>,
        wanted: &Wanted<'_, '_>,
        pair: Pair,
        options: EntryOptions<'_>,
        removed: &mut Leaving,
    ) {
        let now = if options.ttl.is_some() {
            self.now()
        } else {
            self.now_for(cache)
        };
        cache.insert(slot, wanted.hash(), pair, options, now, removed);
    }

    pub(super) fn write(
        &self,
        key: &Bound<'_, PyAny>,
        value: Py<PyAny>,
        ttl: Option<u64>,
        size: Option<u64>,
        tags: &[String],
    ) -> PyResult<()> {
        let bytes = match size {
            Some(size) => size,
            None => ENTRY_BYTES + estimated_bytes(key) + estimated_bytes(value.bind(key.py())),
        };
        let mut removed = Leaving::new();
        let options = EntryOptions { ttl, bytes, tags };
        let wanted = Wanted::new(key)?;
        let pair = (key.clone().unbind(), value);
        wanted.with_slot(&self.cache, |cache, slot| {
            self.insert(cache, slot, &wanted, pair, options, &mut removed);
        })
    }

    /// Removes a pair and gives its value, if it was stored and had not ended.
    pub(super) fn take<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut removed = Leaving::new();
        let pair = Wanted::new(key)?.with_slot(&self.cache, |cache, slot| {
            let now = self.now_for(cache);
            cache.expire(now, usize::MAX, &mut removed);
            slot.and_then(|slot| cache.take(slot))
        })?;
        Ok(pair.map(|(_, value)| value.into_bound(key.py())))
    }

    /// Runs `act` after ended entries are cleared away, so that what it counts is alive.
    pub(super) fn with_live<R>(&self, py: Python<'_>, act: impl FnOnce(&mut Objects) -> R) -> R {
        let mut removed = Leaving::new();
        self.cache.with(py, |cache| {
            let now = self.now_for(cache);
            cache.expire(now, usize::MAX, &mut removed);
            act(cache)
        })
    }

    /// The time, or 0 if no entry asks for it.
    #[inline]
    pub(super) fn now_for(&self, cache: &Objects) -> u64 {
        if cache.needs_clock() { self.now() } else { 0 }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn estimated_bytes(object: &Bound<'_, PyAny>) -> u64 {
    let length = if object.is_exact_instance_of::<PyString>() || object.is_exact_instance_of::<PyBytes>() {
        object.len().ok()
    } else {
        None
    };
    length.map_or(OBJECT_BYTES, |length| HEADER_BYTES + length as u64)
}
