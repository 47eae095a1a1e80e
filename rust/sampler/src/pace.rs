//! How long until the next reading: such that no gauge can cross its next threshold much before it.

use std::time::Duration;

use crate::gauge::{Pair, Source};
use crate::level::{Level, Thresholds};
use crate::pause::Wait;

/// A footprint grows no faster than this: what a core touches for the first time in huge pages.
const GROWTH_BYTES_PER_MS: f64 = 4_194_304.0;
/// What others of the group, or a falling level, may do is looked for in steps of so many intervals.
const OTHERS: f64 = 5.0;

/// The shortest and the longest interval.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    shortest_ms: f64,
    longest_ms: f64,
}

impl Pace {
    /// Intervals between `shortest_ms` and `longest_ms`, if the first is at most the second.
    pub fn new(shortest_ms: f64, longest_ms: f64) -> Self {
        Self {
            shortest_ms,
            longest_ms: longest_ms.max(shortest_ms),
        }
    }

    /// The wait after a reading.
    ///
    /// What this process adds to a gauge costs it work. Time alone must be watched for what it does not do
    /// itself: others of its control group, and giving back.
    pub fn after(&self, thresholds: &Thresholds, level: Level, pairs: &[Pair]) -> Wait {
        let mut worked_ms = self.longest_ms;
        let mut elapsed_ms = self.longest_ms;
        let others_ms = self.longest_ms.min(self.shortest_ms * OTHERS);
        if level > Level::Normal {
            elapsed_ms = others_ms;
        }
        if let Some(next) = thresholds.above(level) {
            for pair in pairs {
                let headroom_ms = (next - pair.fraction()) * pair.limit as f64 / GROWTH_BYTES_PER_MS;
                worked_ms = worked_ms.min(headroom_ms);
                if pair.source == Source::Cgroup {
                    elapsed_ms = elapsed_ms.min(headroom_ms);
                }
            }
        }
        Wait {
            elapsed: duration(elapsed_ms.max(others_ms)),
            worked: duration(worked_ms.max(self.shortest_ms)),
        }
    }
}

fn duration(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::gauge::{Pair, Source};
    use crate::level::{Level, Thresholds};

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    /// Milliseconds of the clock, and of work.
    fn wait_ms(level: Level, source: Source, used: u64, limit: u64) -> (f64, f64) {
        let thresholds = Thresholds::new([0.70, 0.85, 0.95], 0.05).unwrap();
        let pair = Pair { source, used, limit };
        let wait = Pace::new(10.0, 250.0).after(&thresholds, level, &[pair]);
        let rounded = |wait: std::time::Duration| (wait.as_secs_f64() * 1000.0).round();
        (rounded(wait.elapsed), rounded(wait.worked))
    }

    fn own_ms(level: Level, used: u64, limit: u64) -> (f64, f64) {
        wait_ms(level, Source::Limit, used, limit)
    }

    #[test]
    fn far_below_it_is_slow_and_near_a_threshold_work_is_followed_closely() {
        assert_eq!(own_ms(Level::Normal, GIB, 16 * GIB), (250.0, 250.0));
        assert_eq!(
            own_ms(Level::Normal, 700 * MIB - 128 * MIB, 1000 * MIB),
            (250.0, 32.0)
        );
        assert_eq!(own_ms(Level::Normal, 690 * MIB, 1000 * MIB), (250.0, 10.0));
        assert_eq!(own_ms(Level::Low, 840 * MIB, 1000 * MIB), (50.0, 10.0));
        assert_eq!(own_ms(Level::High, GIB, GIB), (50.0, 250.0));
    }

    #[test]
    fn a_group_is_watched_by_the_clock_too_because_others_grow_in_it() {
        let group_ms = |used| wait_ms(Level::Normal, Source::Cgroup, used, 1000 * MIB);
        assert_eq!(group_ms(300 * MIB), (100.0, 100.0));
        assert_eq!(group_ms(690 * MIB), (50.0, 10.0));
    }

    #[test]
    fn nothing_that_grows_within_the_bound_crosses_before_the_next_reading() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let limit = random.u64(MIB..64 * GIB);
            let used = random.u64(0..limit * 7 / 10);
            let (elapsed, worked) = own_ms(Level::Normal, used, limit);
            assert!((50.0..=250.0).contains(&elapsed) && (10.0..=250.0).contains(&worked));
            let grown = (worked - 0.5) * 4.0 * MIB as f64;
            assert!(
                worked <= 10.0 || used as f64 + grown <= 0.7 * limit as f64,
                "{used} {limit}"
            );
        }
    }
}
