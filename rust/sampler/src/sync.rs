//! The parts of the standard library that `board.rs` is built of. The test of its schedules puts others here.

pub(crate) use std::sync::atomic::AtomicI8;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::JoinHandle;
