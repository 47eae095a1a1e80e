//! Lets `guarded.rs` see whether the Python built for has an interpreter lock.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
