//! The footprint of this process, watched by a thread that needs no interpreter.
//!
//! This crate may read files, keep time and start a thread; it knows no Python. What it decides is pure:
//!
//! - [`level`]: fraction of a limit -> level, with hysteresis;
//! - [`pace`]: how long until the next reading;
//! - [`pause`]: waiting for the time, for work of this process, or for an alarm;
//! - [`gauge`]: what the kernel says: statm, resource limits, control groups, stalls (PSI);
//! - [`sampler`]: the thread, the history, and whom it wakes.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::float_cmp, reason = "tests choose numbers that are exact")
)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

mod board;
mod cgroup;
pub mod gauge;
pub mod level;
pub mod pace;
pub mod pause;
pub mod sampler;
mod sync;

pub use gauge::{Gauges, Pair, Source};
pub use level::{Level, Thresholds};
pub use sampler::{Options, Sample, Sampler, SamplerError, Stats};
