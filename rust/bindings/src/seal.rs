//! Sealing of bytes at rest: forwards to [`retain_seal`], without the interpreter lock.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use retain_seal::{ID_BYTES, KeyBytes, Nonce};

type Found<'py> = Option<Bound<'py, PyBytes>>;

#[pyfunction]
pub(crate) fn seal_with_key(
    py: Python<'_>,
    key: KeyBytes,
    nonce: Nonce,
    data: PyBackedBytes,
) -> PyResult<Bound<'_, PyBytes>> {
    let sealed = py.detach(|| retain_seal::seal(&key, &nonce, &data));
    sealed.map(|found| PyBytes::new(py, &found)).ok_or_else(too_long)
}

#[pyfunction]
pub(crate) fn open_with_key(py: Python<'_>, key: KeyBytes, nonce: Nonce, sealed: PyBackedBytes) -> Found<'_> {
    let opened = py.detach(|| retain_seal::open(&key, &nonce, &sealed));
    opened.map(|found| PyBytes::new(py, &found))
}

#[pyfunction]
pub(crate) fn public_key(secret: KeyBytes) -> KeyBytes {
    retain_seal::public_of(&secret)
}

#[pyfunction]
pub(crate) fn key_id(public: KeyBytes) -> [u8; ID_BYTES] {
    retain_seal::id_of(&public)
}

#[pyfunction]
pub(crate) fn seal_to_public(
    py: Python<'_>,
    public: KeyBytes,
    ephemeral: KeyBytes,
    data: PyBackedBytes,
) -> PyResult<Bound<'_, PyBytes>> {
    let sealed = py.detach(|| retain_seal::seal_to(&public, &ephemeral, &data));
    sealed.map(|found| PyBytes::new(py, &found)).ok_or_else(too_long)
}

#[pyfunction]
pub(crate) fn open_with_secret(py: Python<'_>, secret: KeyBytes, sealed: PyBackedBytes) -> Found<'_> {
    let opened = py.detach(|| retain_seal::open_with(&secret, &sealed));
    opened.map(|found| PyBytes::new(py, &found))
}

fn too_long() -> PyErr {
    PyValueError::new_err("too long to be sealed")
}
