//! How long until the next reading: such that no gauge can cross its next threshold much before it.

use std::time::Duration;

use crate::gauge::{Pair, Source};
use crate::level::{Level, Thresholds};
use crate::pause::Wait;

/// A footprint grows no faster than this: what a core touches for the first time in huge pages.
const GROWTH_BYTES_PER_MS: f64 = 4_194_304.0;
/// A gauge is at the door of a threshold within this share of the shortest interval.
const DOOR: f64 = 0.25;
/// The interval there, as a share of the shortest: a reading and the handing over of a busy interpreter's lock
/// fit into the shortest together.
const DOOR_SHARE: f64 = 0.6;
/// What needs no haste is looked for every so many intervals: growth while the process rests, what others of
/// the group do, a level that falls.
const SLOW: f64 = 10.0;

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
    /// What this process adds to a gauge costs it work, so that far from a threshold only work is followed.
    /// Time must be watched near one, and for what is done without work of this process: by others of its
    /// control group, and giving back.
    pub fn after(&self, thresholds: &Thresholds, level: Level, pairs: &[Pair]) -> Wait {
        let mut worked_ms = self.longest_ms;
        let mut elapsed_ms = self.longest_ms;
        let slow_ms = self.longest_ms.min(self.shortest_ms * SLOW);
        if level > Level::Normal {
            elapsed_ms = slow_ms;
        }
        if let Some(next) = thresholds.above(level) {
            for pair in pairs {
                let headroom_ms = (next - pair.fraction()) * pair.limit as f64 / GROWTH_BYTES_PER_MS;
                worked_ms = worked_ms.min(headroom_ms.max(self.shortest_ms));
                if headroom_ms <= self.shortest_ms * DOOR {
                    elapsed_ms = self.shortest_ms * DOOR_SHARE;
                } else if headroom_ms <= self.shortest_ms {
                    elapsed_ms = elapsed_ms.min(self.shortest_ms);
                } else if pair.source == Source::Cgroup {
                    elapsed_ms = elapsed_ms.min(headroom_ms.max(slow_ms));
                }
            }
        }
        Wait {
            elapsed: duration(elapsed_ms),
            rested: duration(elapsed_ms.max(slow_ms)),
            worked: duration(worked_ms),
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

    /// Milliseconds of the clock, the same at rest, and of work.
    fn wait_ms(level: Level, source: Source, used: u64, limit: u64) -> (f64, f64, f64) {
        let thresholds = Thresholds::new([0.70, 0.85, 0.95], 0.05).unwrap();
        let pair = Pair { source, used, limit };
        let wait = Pace::new(10.0, 250.0).after(&thresholds, level, &[pair]);
        let rounded = |wait: std::time::Duration| (wait.as_secs_f64() * 1000.0).round();
        (rounded(wait.elapsed), rounded(wait.rested), rounded(wait.worked))
    }

    fn own_ms(level: Level, used: u64, limit: u64) -> (f64, f64, f64) {
        wait_ms(level, Source::Limit, used, limit)
    }

    #[test]
    fn far_below_it_is_slow_and_near_a_threshold_followed_closely() {
        let normal_ms = |used| own_ms(Level::Normal, used, 1000 * MIB);
        assert_eq!(own_ms(Level::Normal, GIB, 16 * GIB), (250.0, 250.0, 250.0));
        assert_eq!(normal_ms(572 * MIB), (250.0, 250.0, 32.0));
        assert_eq!(normal_ms(680 * MIB), (10.0, 100.0, 10.0));
        assert_eq!(normal_ms(695 * MIB), (6.0, 100.0, 10.0));
        assert_eq!(own_ms(Level::Low, 830 * MIB, 1000 * MIB), (10.0, 100.0, 10.0));
        assert_eq!(own_ms(Level::Low, 750 * MIB, 1000 * MIB), (100.0, 100.0, 25.0));
        assert_eq!(own_ms(Level::High, GIB, GIB), (100.0, 100.0, 250.0));
    }

    #[test]
    fn a_group_is_watched_by_the_clock_from_afar_because_others_grow_in_it() {
        let group_ms = |used| wait_ms(Level::Normal, Source::Cgroup, used, 1000 * MIB);
        assert_eq!(group_ms(300 * MIB), (100.0, 100.0, 100.0));
        assert_eq!(group_ms(640 * MIB), (100.0, 100.0, 15.0));
        assert_eq!(group_ms(680 * MIB), (10.0, 100.0, 10.0));
    }

    #[test]
    fn nothing_that_grows_within_the_bound_crosses_before_the_next_reading() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let limit = random.u64(MIB..64 * GIB);
            let used = random.u64(0..limit * 7 / 10);
            let (elapsed, rested, worked) = own_ms(Level::Normal, used, limit);
            assert!((10.0..=250.0).contains(&worked) && (6.0..=rested).contains(&elapsed));
            let grown = (worked - 0.5) * 4.0 * MIB as f64;
            let near = worked <= 10.0 && elapsed <= 10.0;
            assert!(
                near || used as f64 + grown <= 0.7 * limit as f64,
                "{used} {limit}"
            );
        }
    }
}
