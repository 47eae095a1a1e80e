//! How the thread waits: for time to pass, for this process to have worked, or for an alarm.
//!
//! A footprint grows by page faults, and those are work that the kernel accounts to the process. A timer
//! on the processor time of the process therefore wakes the thread while there can be growth, and never
//! while the process is idle. The kernel looks at such timers in its ticks: one is up to a tick late.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// How long to wait at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// As the clock on the wall has it.
    pub elapsed: Duration,
    /// Of processor time, summed over the threads of this process.
    pub worked: Duration,
}

impl Wait {
    /// Where work cannot be seen, the process may be working all the time.
    pub fn by_clock(self) -> Self {
        Self {
            elapsed: self.elapsed.min(self.worked),
            ..self
        }
    }
}

/// The kernel looks at timers on work in its ticks only, which are this long or shorter nearly everywhere.
const TICK: Duration = Duration::from_millis(4);

/// What a thread waits with; belongs to the thread that made it.
pub(crate) struct Pause<'a> {
    timer: Option<WorkTimer>,
    alarm: &'a UnixStream,
}

impl<'a> Pause<'a> {
    /// For this thread; what is written to the other end of `alarm` ends a wait.
    pub(crate) fn new(alarm: &'a UnixStream) -> Self {
        Self {
            timer: WorkTimer::new(),
            alarm,
        }
    }

    /// Whether `Wait::worked` is heeded.
    pub(crate) fn sees_work(&self) -> bool {
        self.timer.is_some()
    }

    /// Returns when the wait is over or there was an alarm; perhaps sooner.
    pub(crate) fn wait(&mut self, wait: Wait) {
        let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(wait.elapsed.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.elapsed.subsec_nanos()),
        };
        // An interrupted wait is one that was over sooner.
        match &mut self.timer {
            Some(timer) => {
                timer.set(wait.worked.saturating_sub(TICK).max(wait.worked / 2));
                let mut waited = [readable(self.alarm.as_fd()), readable(timer.as_fd())];
                let _ = poll(&mut waited, Some(&timeout));
                timer.clear();
            }
            None => {
                let _ = poll(&mut [readable(self.alarm.as_fd())], Some(&timeout));
            }
        }
        while matches!(self.alarm.read(&mut [0; 64]), Ok(1..)) {}
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use by_signal::WorkTimer;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod by_signal {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::time::Duration;

    use nix::sys::signal::{SigEvent, SigSet, SigevNotify, Signal};
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
    use nix::time::ClockId;

    /// Linux sends it nowhere by itself; here it goes to one thread, which blocks it and reads it instead.
    const SIGNAL: Signal = Signal::SIGSTKFLT;

    /// A timer on the processor time of this process, readable when it has run out.
    pub(super) struct WorkTimer {
        timer: Timer,
        signals: SignalFd,
    }

    impl WorkTimer {
        /// For this thread; None where the system refuses one.
        pub(super) fn new() -> Option<Self> {
            let mut mask = SigSet::empty();
            mask.add(SIGNAL);
            mask.thread_block().ok()?;
            let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()?;
            let told = SigevNotify::SigevThreadId {
                signal: SIGNAL,
                thread_id: nix::unistd::gettid().as_raw(),
                si_value: 0,
            };
            let timer = Timer::new(ClockId::CLOCK_PROCESS_CPUTIME_ID, SigEvent::new(told)).ok()?;
            Some(Self { timer, signals })
        }

        pub(super) fn set(&mut self, worked: Duration) {
            // A timer that was accepted when it was made takes any time above 0.
            let once = Expiration::OneShot(worked.max(Duration::from_nanos(1)).into());
            let _ = self.timer.set(once, TimerSetTimeFlags::empty());
        }

        pub(super) fn clear(&mut self) {
            while matches!(self.signals.read_signal(), Ok(Some(_))) {}
        }

        pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
            self.signals.as_fd()
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
use by_nothing::WorkTimer;

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod by_nothing {
    use std::os::fd::BorrowedFd;
    use std::time::Duration;

    /// This system has no timer that tells one thread of the work of all.
    pub(super) enum WorkTimer {}

    impl WorkTimer {
        pub(super) fn new() -> Option<Self> {
            None
        }

        pub(super) fn set(&mut self, _: Duration) {
            match *self {}
        }

        pub(super) fn clear(&mut self) {
            match *self {}
        }

        pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::{Pause, Wait};

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(1);

    fn alarm() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    #[test]
    fn time_that_passes_ends_a_wait() {
        let (near, _far) = alarm();
        let started = Instant::now();
        Pause::new(&near).wait(Wait {
            elapsed: SHORT,
            worked: LONG,
        });
        assert!(started.elapsed() >= SHORT);
    }

    #[test]
    fn work_in_another_thread_ends_a_wait() {
        let (near, _far) = alarm();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let mut pause = Pause::new(&near);
            if pause.sees_work() {
                for _ in 0..3 {
                    pause.wait(Wait {
                        elapsed: LONG,
                        worked: SHORT,
                    });
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn an_alarm_ends_a_wait_even_before_it_began_and_only_once() {
        let (near, mut far) = alarm();
        far.write_all(&[1, 1]).unwrap();
        let mut pause = Pause::new(&near);
        pause.wait(Wait {
            elapsed: LONG,
            worked: LONG,
        });
        let started = Instant::now();
        pause.wait(Wait {
            elapsed: SHORT,
            worked: LONG,
        });
        assert!(started.elapsed() >= SHORT);
    }
}
