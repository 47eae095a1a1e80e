//! How the thread waits: for time to pass, for this process to have worked, or for an alarm.
//!
//! A footprint grows by page faults, and those are work that the kernel accounts to the process. A timer
//! on the processor time of the process therefore wakes the thread while there can be much growth, and never
//! while the process is idle. The kernel looks at such timers in its ticks only, so that a burst of work may
//! fall between two: after work, time is watched as well, until the process has rested for a while.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// How long to wait at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// As the clock on the wall has it.
    pub elapsed: Duration,
    /// The same while the process rests.
    pub rested: Duration,
    /// Of processor time, summed over the threads of this process.
    pub worked: Duration,
}

impl Wait {
    /// Where work cannot be seen, the process may be working all the time.
    #[must_use]
    pub fn by_clock(self) -> Self {
        Self {
            elapsed: self.elapsed.min(self.worked),
            rested: self.rested.min(self.worked),
            ..self
        }
    }
}

/// The kernel looks at timers on work in its ticks only, which are this long or shorter nearly everywhere.
const TICK: Duration = Duration::from_millis(4);

/// Work in one wait that is more than housekeeping and this thread.
const WORK: Duration = Duration::from_micros(500);
/// After so long without it the process rests.
const REST: Duration = Duration::from_secs(1);

/// What a thread waits with; belongs to the thread that made it.
pub(crate) struct Pause<'a> {
    timer: Option<WorkTimer>,
    alarm: &'a UnixStream,
    worked: Duration,
    worked_at: Instant,
}

impl<'a> Pause<'a> {
    /// For this thread; what is written to the other end of `alarm` ends a wait.
    pub(crate) fn new(alarm: &'a UnixStream) -> Self {
        Self {
            timer: WorkTimer::new(),
            alarm,
            worked: work_of_process(),
            worked_at: Instant::now(),
        }
    }

    /// Whether `Wait::worked` is heeded.
    pub(crate) fn sees_work(&self) -> bool {
        self.timer.is_some()
    }

    /// Returns when the wait is over or there was an alarm; perhaps sooner.
    pub(crate) fn wait(&mut self, wait: Wait) {
        let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let elapsed = if self.rests() { wait.rested } else { wait.elapsed };
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(elapsed.subsec_nanos()),
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

    fn rests(&mut self) -> bool {
        let (worked, now) = (work_of_process(), Instant::now());
        if worked.saturating_sub(std::mem::replace(&mut self.worked, worked)) >= WORK {
            self.worked_at = now;
        }
        now.duration_since(self.worked_at) >= REST
    }
}

/// Processor time of all threads of this process.
fn work_of_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(time.tv_sec.unsigned_abs(), nanoseconds)
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
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::{Pause, REST, Wait};

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(1);

    fn wait(elapsed: Duration, worked: Duration) -> Wait {
        Wait {
            elapsed,
            rested: elapsed,
            worked,
        }
    }

    fn alarm() -> (UnixStream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (near, far)
    }

    #[test]
    fn time_that_passes_ends_a_wait() {
        let (near, _far) = alarm();
        let started = Instant::now();
        Pause::new(&near).wait(wait(SHORT, LONG));
        assert!(started.elapsed() >= SHORT);
    }

    #[test]
    fn a_process_that_has_not_worked_for_a_second_rests_until_it_works() {
        let (near, _far) = alarm();
        let mut pause = Pause::new(&near);
        assert!(!pause.rests());
        pause.worked_at -= REST;
        pause.worked = LONG; // whatever other tests do meanwhile, it is no more than that
        assert!(pause.rests());
        pause.worked = Duration::ZERO;
        let mut sum = 0_u64;
        while super::work_of_process() < super::WORK {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(!pause.rests());
    }

    #[test]
    fn work_in_another_thread_ends_a_wait() {
        let (near, _far) = alarm();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let mut pause = Pause::new(&near);
            if pause.sees_work() {
                for _ in 0..3 {
                    pause.wait(wait(LONG, SHORT));
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn an_alarm_ends_a_wait_even_before_it_began_and_only_once() {
        let (near, mut far) = alarm();
        far.write_all(&[1, 1]).unwrap();
        let mut pause = Pause::new(&near);
        pause.wait(wait(LONG, LONG));
        let started = Instant::now();
        pause.wait(wait(SHORT, LONG));
        assert!(started.elapsed() >= SHORT);
    }
}
