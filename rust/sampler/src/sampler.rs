//! The thread that reads the gauges, and what it shares with those who ask.
//!
//! The thread writes one byte into a socket pair after the level has changed; who reads the byte and
//! then asks for the level has missed nothing (`board.rs`).
//!
//! After a fork the child has the values but no thread, and locks may be taken for ever: in another
//! process than the one that made it, a sampler answers `Unknown` and touches neither.

use std::collections::VecDeque;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::board::{Bell, Board, Poster};
use crate::gauge::{Gauges, Pair, Source, fullest};
use crate::level::{Decider, Level, Thresholds};
use crate::pace::Pace;
use crate::pause::{Pause, Wait};

const REFRESH: Duration = Duration::from_secs(1);
/// Samples of the same level are kept at least this far apart, so that the history spans minutes.
const KEPT_APART: Duration = Duration::from_millis(50);
const STACK_BYTES: usize = 128 * 1024;

/// How to sample.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// A limit beside those of the system; None for those alone.
    pub limit_bytes: Option<u64>,
    /// Where the levels begin and end.
    pub thresholds: Thresholds,
    /// Interval near a threshold, in milliseconds.
    pub interval_ms: f64,
    /// Longest interval, in milliseconds.
    pub interval_max_ms: f64,
    /// How many samples are kept.
    pub history: usize,
}

/// Why a sampler could not be made or started.
#[derive(Debug)]
pub enum SamplerError {
    /// A named option is wrong.
    Invalid(&'static str),
    /// The system refused a thread or a socket.
    System(std::io::Error),
}

impl fmt::Display for SamplerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problem) => f.write_str(problem),
            Self::System(error) => write!(f, "the sampler cannot run: {error}"),
        }
    }
}

impl std::error::Error for SamplerError {}

/// One reading of the fullest gauge.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Seconds since the sampler was made.
    pub at_s: f64,
    /// Bytes in use.
    pub used: u64,
    /// Their limit.
    pub limit: u64,
    /// The level after this reading.
    pub level: Level,
}

/// Counters since the sampler was made, and the last reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Readings, by the thread and by `measure`.
    pub readings: u64,
    /// How often the level changed.
    pub changes: u64,
    /// Resident bytes.
    pub resident: u64,
    /// The fullest gauge; None before the first reading.
    pub fullest: Option<Pair>,
    /// Share of the last second in which some task waited for memory.
    pub stalled: Option<f64>,
    /// Seconds in which a limit of the control group was hit.
    pub hits: u64,
    /// How long the process may work until the next reading at the latest, in milliseconds.
    pub interval_ms: f64,
}

struct State {
    decider: Decider,
    stats: Stats,
    history: VecDeque<(Instant, Sample)>,
}

/// A socket pair of which one end is written to and the other one is waited for.
struct Sockets {
    near: UnixStream,
    far: UnixStream,
}

struct Shared {
    options: Options,
    pace: Pace,
    origin: Instant,
    gauges: Mutex<(Gauges, Vec<Pair>, Instant)>,
    board: Board<State, Sockets>,
    alarm: Sockets,
}

/// A thread that samples the footprint of this process.
pub struct Sampler {
    shared: Arc<Shared>,
    poster: Poster,
    process: u32,
}

impl Sampler {
    /// A sampler that does not run yet.
    ///
    /// # Errors
    /// An option is wrong, or there are no file descriptors left.
    pub fn new(options: Options) -> Result<Self, SamplerError> {
        if !(options.interval_ms >= 0.1 && options.interval_ms <= options.interval_max_ms) {
            return Err(SamplerError::Invalid(
                "interval_ms: must be between 0.1 and interval_max_ms",
            ));
        }
        if options.interval_max_ms > 60_000.0 {
            return Err(SamplerError::Invalid("interval_max_ms: must be at most 60000"));
        }
        if options.history == 0 || options.limit_bytes == Some(0) {
            return Err(SamplerError::Invalid(
                "history and limit_bytes: must be at least 1",
            ));
        }
        let gauges = Gauges::open(Path::new("/"), options.limit_bytes, options.thresholds.first());
        let now = Instant::now();
        let state = State {
            decider: Decider::new(options.thresholds),
            stats: Stats::default(),
            history: VecDeque::with_capacity(options.history),
        };
        let shared = Shared {
            options,
            pace: Pace::new(options.interval_ms, options.interval_max_ms),
            origin: now,
            gauges: Mutex::new((gauges, Vec::with_capacity(16), now)),
            board: Board::new(state, Level::Unknown as i8, Sockets::open()?),
            alarm: Sockets::open()?,
        };
        Ok(Self {
            shared: Arc::new(shared),
            poster: Poster::new(),
            process: std::process::id(),
        })
    }

    /// Whether this system can say how large the process is; if not, the level stays unknown.
    pub fn supported(&self) -> bool {
        self.is_ours() && self.shared.gauges().0.supported()
    }

    /// Takes a first reading and starts the thread. Running already, or unsupported: does nothing.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(&self) -> Result<(), SamplerError> {
        if !self.supported() {
            return Ok(());
        }
        self.poster.start(&self.shared.board, || {
            self.shared.measure();
            let shared = Arc::clone(&self.shared);
            std::thread::Builder::new()
                .name("retain-sampler".into())
                .stack_size(STACK_BYTES)
                .spawn(move || shared.run())
                .map_err(SamplerError::System)
        })
    }

    /// Ends the thread and waits for it, which takes no longer than a reading; wakes who waits.
    pub fn stop(&self) {
        if self.is_ours() {
            self.poster.stop(&self.shared.board, &self.shared.alarm);
        }
    }

    /// Whether the thread runs.
    pub fn running(&self) -> bool {
        self.is_ours() && self.poster.running()
    }

    /// The file descriptor that becomes readable when the level changes.
    pub fn descriptor(&self) -> RawFd {
        self.shared.board.bell().near.as_raw_fd()
    }

    /// The level of the last reading.
    pub fn level(&self) -> i8 {
        if self.is_ours() {
            self.shared.board.level()
        } else {
            Level::Unknown as i8
        }
    }

    /// Makes the descriptor unreadable until the next change, then returns the level.
    pub fn take(&self) -> i8 {
        if self.is_ours() {
            self.shared.board.take()
        } else {
            Level::Unknown as i8
        }
    }

    /// Waits until the level has changed more often than `changes` times, the time is over, or `stop`.
    pub fn wait(&self, changes: u64, timeout: Duration) -> u64 {
        if self.is_ours() {
            self.shared.board.wait(changes, timeout)
        } else {
            changes
        }
    }

    /// Reads now, in the caller's thread, and returns the level.
    pub fn measure(&self) -> i8 {
        if self.is_ours() {
            self.shared.measure();
        }
        self.level()
    }

    /// The kept samples, oldest first.
    pub fn history(&self) -> Vec<Sample> {
        if !self.is_ours() {
            return Vec::new();
        }
        let board = &self.shared.board;
        board.look(|state, _| state.history.iter().map(|(_, sample)| *sample).collect())
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        if self.is_ours() {
            self.shared.board.look(|state, changes| Stats {
                changes,
                ..state.stats
            })
        } else {
            Stats::default()
        }
    }

    fn is_ours(&self) -> bool {
        std::process::id() == self.process
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop();
        // In a child the lock may be taken and the handle names no thread: both are left alone.
        if !self.is_ours() {
            std::mem::forget(std::mem::replace(&mut self.poster, Poster::new()));
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut pause = Pause::new(&self.alarm.near);
        while !self.board.stopping() {
            let wait = self.measure();
            pause.wait(if pause.sees_work() { wait } else { wait.by_clock() });
        }
    }

    fn gauges(&self) -> MutexGuard<'_, (Gauges, Vec<Pair>, Instant)> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One reading, what follows from it, and the wait until the next.
    fn measure(&self) -> Wait {
        let mut kept = self.gauges();
        let (gauges, pairs, refreshed) = &mut *kept;
        let now = Instant::now();
        let slow = (now.duration_since(*refreshed) >= REFRESH).then(|| {
            *refreshed = now;
            gauges.refresh(now)
        });
        let resident = gauges.read(pairs);
        self.board.post(|state| {
            if let Some(slow) = slow {
                state.decider.second(slow.stalled, slow.hit);
                state.stats.stalled = slow.stalled;
                state.stats.hits += u64::from(slow.hit);
            }
            let fullest = fullest(pairs);
            if let (Some(resident), Some(pair)) = (resident, fullest) {
                state.decider.observe(pair.fraction());
                state.stats.resident = resident;
                state.stats.fullest = fullest;
                self.keep(state, now, &pair);
            }
            let level = state.decider.level();
            let wait = self.pace.after(&self.options.thresholds, level, pairs);
            state.stats.readings += 1;
            state.stats.interval_ms = wait.worked.as_secs_f64() * 1000.0;
            (level as i8, wait)
        })
    }

    /// Adds a sample to the history, unless the last one is as good.
    fn keep(&self, state: &mut State, now: Instant, pair: &Pair) {
        let level = state.decider.level();
        if let Some((at, last)) = state.history.back()
            && last.level == level
            && now.duration_since(*at) < KEPT_APART
        {
            return;
        }
        if state.history.len() == self.options.history {
            state.history.pop_front();
        }
        let sample = Sample {
            at_s: now.duration_since(self.origin).as_secs_f64(),
            used: pair.used,
            limit: pair.limit,
            level,
        };
        state.history.push_back((now, sample));
    }
}

impl Sockets {
    fn open() -> Result<Self, SamplerError> {
        let (near, far) = UnixStream::pair().map_err(SamplerError::System)?;
        for end in [&near, &far] {
            end.set_nonblocking(true).map_err(SamplerError::System)?;
        }
        Ok(Self { near, far })
    }
}

impl Bell for Sockets {
    fn ring(&self) {
        // A full socket is readable already.
        if let Err(error) = (&self.far).write(&[1]) {
            debug_assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
    }

    fn silence(&self) {
        while matches!((&self.near).read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// The name of the gauge that decided last.
pub fn source_of(stats: &Stats) -> &'static str {
    stats
        .fullest
        .map_or("unsupported", |pair| Source::name(pair.source))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Options, Sampler};
    use crate::level::{Level, Thresholds};

    const PATIENCE: Duration = Duration::from_secs(60);
    const MIB: usize = 1 << 20;

    fn options(limit_bytes: Option<u64>) -> Options {
        Options {
            limit_bytes,
            thresholds: Thresholds::new([0.70, 0.85, 0.95], 0.05).unwrap(),
            interval_ms: 1.0,
            interval_max_ms: 5.0,
            history: 8,
        }
    }

    fn resident() -> u64 {
        let sampler = Sampler::new(options(None)).unwrap();
        sampler.measure();
        sampler.stats().resident
    }

    #[test]
    fn a_footprint_beyond_its_limit_is_found_and_told_once() {
        let sampler = Sampler::new(options(Some(1))).unwrap();
        assert_eq!(sampler.level(), Level::Unknown as i8);
        sampler.start().unwrap();
        assert_eq!(sampler.wait(0, PATIENCE), 1);
        assert_eq!(sampler.take(), Level::High as i8);
        sampler.stop();
        assert!(!sampler.running());
        assert_eq!(sampler.stats().changes, 1);
        assert!(sampler.history().len() <= 8);
    }

    #[test]
    fn growth_across_a_threshold_wakes_a_waiting_thread() {
        let limit = (resident() + 64 * MIB as u64) * 10 / 7;
        let sampler = Sampler::new(options(Some(limit))).unwrap();
        sampler.start().unwrap();
        let before = sampler.stats().changes;
        let grown = vec![1_u8; 96 * MIB];
        assert!(sampler.wait(before, PATIENCE) > before);
        assert!(sampler.level() >= Level::Low as i8);
        assert!(std::hint::black_box(&grown).len() == 96 * MIB);
    }

    #[test]
    fn stop_wakes_who_waits_and_may_be_called_again() {
        let sampler = Sampler::new(options(None)).unwrap();
        sampler.start().unwrap();
        let changes = sampler.stats().changes;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sampler.wait(changes, PATIENCE));
            sampler.stop();
            assert!(waiting.join().unwrap() >= changes);
        });
        sampler.stop();
        sampler.start().unwrap();
        assert!(sampler.running());
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let refused = |change: fn(&mut Options)| {
            let mut wrong = options(None);
            change(&mut wrong);
            Sampler::new(wrong).is_err()
        };
        assert!(refused(|options| options.interval_ms = 0.0));
        assert!(refused(|options| options.interval_ms = f64::NAN));
        assert!(refused(|options| options.interval_max_ms = 1e9));
        assert!(refused(|options| options.history = 0));
        assert!(refused(|options| options.limit_bytes = Some(0)));
    }
}
