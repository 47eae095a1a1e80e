//! The hottest methods of `L1Cache` without `PyO3`'s trampoline.
//!
//! A read that hits takes about 60 instructions of its own; parsing arguments that may come by keyword,
//! counting the attachment and catching panics through `PyO3` took another 160 (callgrind). So these
//! methods are plain C functions, put into the class when the module starts. What they cannot do at once
//! (options, keywords, misses that must be computed) they hand to the methods that `PyO3` made, which they
//! have replaced.
//!
//! `PyO3` does not know here that the thread is attached, and defers the dropping of `Py` objects then;
//! `Bound` ones are dropped at once.

#![allow(
    unsafe_code,
    reason = "methods of C's calling convention; measured, see above"
)]

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{ptr, slice};

use pyo3::exceptions::PyTypeError;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTypeInfo, ffi};

use crate::cache::L1Cache;

static SET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static GET_OR_COMPUTE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Puts the methods into the class.
///
/// # Errors
/// What Python raises where it cannot make a method.
pub(crate) fn add_methods(py: Python<'_>) -> PyResult<()> {
    let class = L1Cache::type_object(py);
    if SET.get(py).is_some() {
        return Ok(());
    }
    let _ = SET.set(py, class.getattr("set")?.unbind());
    let _ = GET_OR_COMPUTE.set(py, class.getattr("get_or_compute")?.unbind());
    let positional = ffi::PyMethodDefPointer { PyCFunctionFast: get };
    let get_doc = c"get($self, key, default=None, /)\n--\n\n";
    add(py, c"get", positional, ffi::METH_FASTCALL, get_doc)?;
    let flags = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    let with_keywords = |function| ffi::PyMethodDefPointer {
        PyCFunctionFastWithKeywords: function,
    };
    let set_doc = c"set($self, key, value, ttl=None, size=None, tags=())\n--\n\n";
    add(py, c"set", with_keywords(set), flags, set_doc)?;
    let compute_doc = c"get_or_compute($self, key, loader, ttl=None)\n--\n\n";
    add(
        py,
        c"get_or_compute",
        with_keywords(get_or_compute),
        flags,
        compute_doc,
    )
}

fn add(
    py: Python<'_>,
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: i32,
    doc: &'static CStr,
) -> PyResult<()> {
    let class = L1Cache::type_object(py);
    // Python keeps a pointer to the definition for as long as the method lives.
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: function,
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }));
    // SAFETY: attached to the interpreter (`py`); the class is a type, the definition is never freed and
    // its function has the convention that its flags name; the call returns a new reference or null.
    let method =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_type_ptr(), definition))? };
    class.setattr(method.getattr("__name__")?.cast_into::<PyString>()?, method)
}

/// The arguments of a call, borrowed from the interpreter for as long as the call lasts.
struct Call<'a, 'py> {
    this: &'a Bound<'py, L1Cache>,
    positional: &'a [Bound<'py, PyAny>],
    /// Their values follow the positional ones.
    names: Option<&'a Bound<'py, PyTuple>>,
    keyword_values: &'a [Bound<'py, PyAny>],
}

impl<'py> Call<'_, 'py> {
    /// Calls the method that `PyO3` made, with the same arguments.
    #[cold]
    fn forward(&self, method: &PyOnceLock<Py<PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let py = self.this.py();
        let this = std::iter::once(self.this.as_any());
        let positional = PyTuple::new(py, this.chain(self.positional).collect::<Vec<_>>())?;
        let keywords = PyDict::new(py);
        for (name, value) in self.names.into_iter().flatten().zip(self.keyword_values) {
            keywords.set_item(name, value)?;
        }
        let Some(method) = method.get(py) else {
            return Err(PyTypeError::new_err("the module has not started"));
        };
        method.bind(py).call(positional, Some(&keywords))
    }
}

/// Runs `act` as `PyO3`'s trampoline would: errors and panics become Python's.
///
/// # Safety
/// To be called by the interpreter, attached, as a method of `L1Cache` with `METH_FASTCALL`.
#[inline]
unsafe fn call(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    act: impl for<'py> FnOnce(&Call<'_, 'py>) -> PyResult<Bound<'py, PyAny>>,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls methods attached.
    let py = unsafe { Python::assume_attached() };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the descriptor has checked that `this` is of its class; all references are valid until
        // the call returns, `names` is a tuple or null, and the values of the names follow the
        // `count` positional arguments. `Bound` is a pointer to an object, by its documentation
        // (`#[repr(transparent)]`).
        let call = unsafe {
            let count = usize::try_from(count).unwrap_or(0);
            let objects = arguments.cast::<Bound<'_, PyAny>>();
            let names = (!names.is_null())
                .then(|| (*ptr::from_ref(&names).cast::<Bound<'_, PyAny>>()).cast_unchecked::<PyTuple>());
            Call {
                this: (*ptr::from_ref(&this).cast::<Bound<'_, PyAny>>()).cast_unchecked(),
                positional: many(objects, count),
                keyword_values: match names {
                    Some(names) => many(objects.add(count), names.len()),
                    None => &[],
                },
                names,
            }
        };
        let _: Python<'_> = py;
        act(&call)
    }));
    let error = match outcome {
        Ok(Ok(value)) => return value.into_ptr(),
        Ok(Err(error)) => error,
        Err(_) => PanicException::new_err("panic from Rust code"),
    };
    error.restore(py);
    ptr::null_mut()
}

/// # Safety
/// As `slice::from_raw_parts`, but `first` may be null where `len` is 0.
#[inline]
unsafe fn many<'a, T>(first: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(first, len) }
}

unsafe extern "C" fn get(
    this: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        call(this, arguments, count, ptr::null_mut(), |call| {
            match call.positional {
                [key] => Ok(call.this.get().read_fast(key)?.unwrap_or_else(|| none(call))),
                [key, default] => Ok(call.this.get().read_fast(key)?.unwrap_or_else(|| default.clone())),
                other => Err(wrong_count(other.len())),
            }
        })
    }
}

unsafe extern "C" fn set(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        call(this, arguments, count, names, |call| {
            match (call.positional, call.names) {
                ([key, value], None) => {
                    call.this.get().write_fast(key, value.clone())?;
                    Ok(none(call))
                }
                _ => call.forward(&SET),
            }
        })
    }
}

unsafe extern "C" fn get_or_compute(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        call(this, arguments, count, names, |call| {
            if let ([key, _] | [key, _, _], None) = (call.positional, call.names)
                && let Some(value) = call.this.get().read_hit(key)?
            {
                return Ok(value);
            }
            call.forward(&GET_OR_COMPUTE)
        })
    }
}

#[inline]
fn none<'py>(call: &Call<'_, 'py>) -> Bound<'py, PyAny> {
    call.this.py().None().into_bound(call.this.py())
}

#[cold]
fn wrong_count(count: usize) -> PyErr {
    PyTypeError::new_err(format!("get expected 1 or 2 arguments, got {count}"))
}
