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
        let py = self.object.py();
        let attempt = cache.with(py, |cache| {
            let mut question = None;
            let found = cache.locate(self.hash, |stored| {
                stored.is(self.object) || self.equals(stored, &mut question)
            });
            match question {
                None => Ok(act(cache, found)),
                Some(question) => Err((act, question)),
            }
        });
        match attempt {
            Ok(outcome) => Ok(outcome),
            Err((act, question)) => self.with_slot_asking(cache, act, question),
        }
    }

    /// The same after a stored key raised a question.
    #[cold]
    fn with_slot_asking<R>(
        &self,
        cache: &Guarded<Objects>,
        mut act: impl FnOnce(&mut Objects, Option<Slot>) -> R,
        mut question: Py<PyAny>,
    ) -> PyResult<R> {
        let py = self.object.py();
        let mut answers = Answers::default();
        loop {
            if question.bind(py).eq(self.object)? {
                answers.same = Some(question);
            } else {
                answers.different.push(question);
            }
            let attempt = cache.with(py, |cache| {
                let mut next = None;
                let found = cache.locate(self.hash, |stored| {
                    let known = answers.about(stored);
                    known.unwrap_or_else(|| stored.is(self.object) || self.equals(stored, &mut next))
                });
                match next {
                    None => Ok(act(cache, found)),
                    Some(next) => Err((act, next)),
                }
            });
            match attempt {
                Ok(outcome) => return Ok(outcome),
                Err(next) => (act, question) = next,
            }
        }
    }

    /// Whether a stored key with this hash equals this one. If only Python code can tell, the stored
    /// key becomes the `question`, and the search ends here as if it did.
    #[inline(never)]
    fn equals(&self, stored: &Py<PyAny>, question: &mut Option<Py<PyAny>>) -> bool {
        let py = self.object.py();
        let known = stored.bind(py);
        let (a, b) = (Kind::of(known), Kind::of(self.object));
        if a == Kind::Other || b == Kind::Other {
            *question = Some(stored.clone_ref(py));
            return true;
        }
        a == b && known.eq(self.object).unwrap_or(false)
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
