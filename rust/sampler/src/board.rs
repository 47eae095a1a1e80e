//! What the sampling thread and those who ask share: the level, who is told of it, and when to end.
//!
//! It knows nothing of gauges, so that `tests/schedules.rs` can run it under a scheduler that tries
//! the orders in which its threads may go.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::sync::{AtomicI8, Condvar, JoinHandle, Mutex, MutexGuard};

/// Something that stays rung until it is silenced: a descriptor that is readable.
pub(crate) trait Bell {
    /// Rings; ringing already, it goes on.
    fn ring(&self);
    /// Makes it silent.
    fn silence(&self);
}

struct Posted<T> {
    value: T,
    changes: u64,
    stopping: bool,
}

/// A value with a level. Locks are held for no longer than a copy, or what `post` is given to do.
pub(crate) struct Board<T, B> {
    posted: Mutex<Posted<T>>,
    changed: Condvar,
    level: AtomicI8,
    bell: B,
}

impl<T, B: Bell> Board<T, B> {
    pub(crate) fn new(value: T, level: i8, bell: B) -> Self {
        let posted = Posted {
            value,
            changes: 0,
            stopping: false,
        };
        Self {
            posted: Mutex::new(posted),
            changed: Condvar::new(),
            level: AtomicI8::new(level),
            bell,
        }
    }

    /// Changes the value; `change` returns its level. If that is another one, who waits is told.
    pub(crate) fn post<R>(&self, change: impl FnOnce(&mut T) -> (i8, R)) -> R {
        let mut posted = lock(&self.posted);
        let (level, answer) = change(&mut posted.value);
        let changed = level != self.level.load(Ordering::Acquire);
        if changed {
            posted.changes += 1;
            self.level.store(level, Ordering::Release);
        }
        drop(posted);
        if changed {
            self.changed.notify_all();
            self.bell.ring();
        }
        answer
    }

    /// Looks at the value and at how often its level changed.
    pub(crate) fn look<R>(&self, at: impl FnOnce(&T, u64) -> R) -> R {
        let posted = lock(&self.posted);
        at(&posted.value, posted.changes)
    }

    pub(crate) fn bell(&self) -> &B {
        &self.bell
    }

    pub(crate) fn level(&self) -> i8 {
        self.level.load(Ordering::Acquire)
    }

    /// Silences the bell, then returns the level: a change after that rings again.
    pub(crate) fn take(&self) -> i8 {
        self.bell.silence();
        self.level()
    }

    /// Waits until the level has changed more often than `changes` times, the time is over, or `stop`.
    pub(crate) fn wait(&self, changes: u64, timeout: Duration) -> u64 {
        let posted = lock(&self.posted);
        let (posted, _) = self
            .changed
            .wait_timeout_while(posted, timeout, |posted| {
                posted.changes <= changes && !posted.stopping
            })
            .unwrap_or_else(PoisonError::into_inner);
        posted.changes
    }

    /// Whether the thread is to end.
    pub(crate) fn stopping(&self) -> bool {
        lock(&self.posted).stopping
    }

    fn set_stopping(&self, stopping: bool) {
        lock(&self.posted).stopping = stopping;
        self.changed.notify_all();
    }
}

/// The thread that posts, if it runs. Its lock is held while one starts or ends.
pub(crate) struct Poster(Mutex<Option<JoinHandle<()>>>);

impl Poster {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn running(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Starts a thread unless one runs.
    pub(crate) fn start<T, B: Bell, E>(
        &self,
        board: &Board<T, B>,
        spawn: impl FnOnce() -> Result<JoinHandle<()>, E>,
    ) -> Result<(), E> {
        let mut thread = lock(&self.0);
        if thread.is_none() {
            board.set_stopping(false);
            *thread = Some(spawn()?);
        }
        Ok(())
    }

    /// Ends the thread, waits for its end, and wakes who waits for a change. `alarm` ends its pause.
    pub(crate) fn stop<T, B: Bell>(&self, board: &Board<T, B>, alarm: &impl Bell) {
        let mut thread = lock(&self.0);
        board.set_stopping(true);
        if let Some(thread) = thread.take() {
            alarm.ring();
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
