//! Finding a Python key in the cache without running Python code while the cache is in use.
//!
//! Identical objects are equal, as in a dict. Two exact strings, bytes or numbers are compared
//! at once, because that runs no code of anybody's. Any other pair has an `__eq__` that may
//! do anything, so the stored key is taken out by reference, the cache let go, the question asked, and
//! the search repeated with the answer known.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString};
use retain_core::cache::{Cache, Slot};

use crate::guarded::Guarded;

/// A cache of Python objects.
pub(crate) type Objects = Cache<Py<PyAny>, Py<PyAny>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Str,
    Bytes,
    Number,
    Other,
}

impl Kind {
    #[inline]
    fn of(object: &Bound<'_, PyAny>) -> Self {
        if object.is_exact_instance_of::<PyString>() {
            Self::Str
        } else if object.is_exact_instance_of::<PyInt>()
            || object.is_exact_instance_of::<PyFloat>()
            || object.is_exact_instance_of::<PyBool>()
        {
            Self::Number
        } else if object.is_exact_instance_of::<PyBytes>() {
            Self::Bytes
        } else {
            Self::Other
        }
    }
}

/// A key that is looked for.
pub(crate) struct Wanted<'a, 'py> {
    object: &'a Bound<'py, PyAny>,
    hash: u64,
}

impl<'a, 'py> Wanted<'a, 'py> {
    /// Asks the key for its hash.
    ///
    /// # Errors
    /// What `__hash__` raises; `TypeError` for an unhashable key.
    #[inline]
    pub(crate) fn new(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        #[expect(clippy::cast_sign_loss, reason = "a hash is a bit pattern")]
        let hash = object.hash()? as u64;
        Ok(Self { object, hash })
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Runs `act` with the cache and the slot of this key, if it is stored.
    ///
    /// # Errors
    /// What `__eq__` raises; then `act` did not run.
    #[inline]
    pub(crate) fn with_slot<R>(
        &self,
        cache: &Guarded<Objects>,
        act: impl FnOnce(&mut Objects, Option<Slot>) -> R,
    ) -> PyResult<R> {
        match self.attempt(cache, &Answers::default(), act) {
            Ok(outcome) => Ok(outcome),
            Err((act, question)) => self.with_slot_asking(cache, act, question),
        }
    }

    #[cold]
    fn with_slot_asking<R>(
        &self,
        cache: &Guarded<Objects>,
        mut act: impl FnOnce(&mut Objects, Option<Slot>) -> R,
        mut question: Py<PyAny>,
    ) -> PyResult<R> {
        let mut answers = Answers::default();
        loop {
            if question.bind(self.object.py()).eq(self.object)? {
                answers.same = Some(question);
            } else {
                answers.different.push(question);
            }
            match self.attempt(cache, &answers, act) {
                Ok(outcome) => return Ok(outcome),
                Err(next) => (act, question) = next,
            }
        }
    }

    /// Runs `act`, or gives it back with a stored key that must be asked first.
    #[inline]
    fn attempt<R, F: FnOnce(&mut Objects, Option<Slot>) -> R>(
        &self,
        cache: &Guarded<Objects>,
        answers: &Answers,
        act: F,
    ) -> Result<R, (F, Py<PyAny>)> {
        let py = self.object.py();
        cache.with(py, |cache| {
            let mut question = None;
            let found = cache.locate(self.hash, |stored| {
                let answer = self.compare(stored).or_else(|| answers.about(stored));
                answer.unwrap_or_else(|| {
                    question = Some(stored.clone_ref(py));
                    true
                })
            });
            match question {
                None => Ok(act(cache, found)),
                Some(question) => Err((act, question)),
            }
        })
    }

    /// Whether a stored key equals this one, if that can be said without running Python code.
    #[inline]
    fn compare(&self, stored: &Py<PyAny>) -> Option<bool> {
        let stored = stored.bind(self.object.py());
        if stored.is(self.object) {
            return Some(true);
        }
        match (Kind::of(stored), Kind::of(self.object)) {
            (Kind::Other, _) | (_, Kind::Other) => None,
            (a, b) if a == b => stored.eq(self.object).ok(),
            _ => Some(false),
        }
    }
}

/// What `__eq__` has said. Holding the keys keeps their addresses from being used again.
#[derive(Default)]
struct Answers {
    same: Option<Py<PyAny>>,
    different: Vec<Py<PyAny>>,
}

impl Answers {
    fn about(&self, stored: &Py<PyAny>) -> Option<bool> {
        if self.same.as_ref().is_some_and(|known| known.is(stored)) {
            return Some(true);
        }
        let known = self.different.iter().any(|known| known.is(stored));
        known.then_some(false)
    }
}
