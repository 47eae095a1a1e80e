//! The hot, CPU-bound parts of `retain`, each with an invariant that a model test checks.
//!
//! Nothing here knows Python, reads a clock, opens a file or starts a thread: time and hashes are
//! arguments, and whoever shares a value between threads brings the lock.
//!
//! - [`cache`]: a bounded map with expiry, tags and a choice of eviction policies;
//! - [`queue`]: a priority queue with lanes and delayed items;
//! - [`cost`]: how many rows a filter yields, and what a plan costs;
//! - [`postings`]: bm25 over the pages of an FTS5 index;
//! - [`expressions`]: which expression of a list is found in a text, by keywords first;
//! - [`redact`]: secrets in texts, found and replaced in linear time;
//! - [`space`]: vectors of texts, from a space fitted to the texts themselves.
//! - [`vector`]: exact search over int8 vectors, filters inside.
//!
//! Unsafe code is denied but in the inner loops of [`vector`], which say why.

#![deny(unsafe_code)]
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

pub mod cache;
pub mod cost;
mod error;
pub mod expressions;
pub mod postings;
pub mod queue;
pub mod redact;
pub mod space;
pub mod vector;

pub use error::CoreError;
