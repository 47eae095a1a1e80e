//! Finding a Python key in the cache without running Python code while the cache is in use.
//!
//! Identical objects are equal, as in a dict. Two exact strings, bytes or numbers are compared
//! at once, because that runs no code of anybody's. Any other pair has an `__eq__` that may
//! do anything, so the stored key is taken out by reference, the cache let go, the question asked, and
//! the search repeated with the answer known.

use pyo3::ffi;
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

    /// The slot of this key, if it is stored. Where only Python code can tell, the stored key becomes
    /// the `question`, and the slot means nothing.
    #[expect(
        clippy::inline_always,
        reason = "a fifth of the instructions of a hit, measured"
    )]
    #[inline(always)]
    pub(crate) fn locate(&self, cache: &Objects, question: &mut Option<Py<PyAny>>) -> Option<Slot> {
        cache.locate(self.hash, |stored| self.is_same(stored, question))
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
        let attempt = cache.with(self.object.py(), |cache| {
            let mut question = None;
            let slot = self.locate(cache, &mut question);
            match question {
                None => Ok(act(cache, slot)),
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
                    known.unwrap_or_else(|| self.is_same(stored, &mut next))
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

    /// Whether a stored key with this hash is this one. If only Python code can tell, the stored key
    /// becomes the `question`, and the search ends here as if it was.
    #[expect(
        clippy::inline_always,
        reason = "a fifth of the instructions of a hit, measured"
    )]
    #[inline(always)]
    fn is_same(&self, stored: &Py<PyAny>, question: &mut Option<Py<PyAny>>) -> bool {
        if stored.is(self.object) {
            return true;
        }
        let known = stored.bind(self.object.py());
        if known.is_exact_instance_of::<PyString>() && self.object.is_exact_instance_of::<PyString>() {
            return equal_strings(known, self.object);
        }
        self.equals(known, question)
    }

    #[inline(never)]
    fn equals(&self, known: &Bound<'py, PyAny>, question: &mut Option<Py<PyAny>>) -> bool {
        let (a, b) = (Kind::of(known), Kind::of(self.object));
        if a == Kind::Other || b == Kind::Other {
            *question = Some(known.clone().unbind());
            return true;
        }
        a == b && known.eq(self.object).unwrap_or(false)
    }
}

/// Compares two exact strings.
#[inline]
#[allow(
    unsafe_code,
    reason = "a third of the cost of PyObject_RichCompare and PyObject_IsTrue (callgrind)"
)]
fn equal_strings(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> bool {
    // SAFETY: attached, by the lifetime of both; both are strings, for which this never fails; it returns
    // a new reference to one of two objects that live as long as the interpreter.
    unsafe {
        let answer = ffi::PyUnicode_RichCompare(a.as_ptr(), b.as_ptr(), ffi::Py_EQ);
        ffi::Py_DECREF(answer);
        answer == ffi::Py_True()
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
