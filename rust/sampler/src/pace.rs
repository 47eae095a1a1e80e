//! How long until the next reading: short where a threshold is near, long where none can be reached soon.

use std::time::Duration;

use crate::gauge::Pair;
use crate::level::{Level, Thresholds};

/// A footprint grows no faster than this: what one core can touch for the first time.
const GROWTH_BYTES_PER_MS: f64 = 1_048_576.0;
/// Distance from a threshold, in fractions of the limit, up to which the interval is the shortest.
const NEAR: f64 = 0.05;
/// Distance up to which it is shortened further, so that a reading and the 5 ms for which a busy
/// interpreter keeps its lock fit into one interval and a bit.
const DOOR: f64 = 0.02;
const DOOR_SHARE: f64 = 0.6;
/// While the level is raised, its end is looked for at least this often, in shortest intervals.
const RAISED: f64 = 5.0;

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

    /// The wait after a reading: such that no gauge can cross its next threshold much before its end.
    pub fn after(&self, thresholds: &Thresholds, level: Level, pairs: &[Pair]) -> Duration {
        let mut wait_ms = if level > Level::Normal {
            self.longest_ms.min(self.shortest_ms * RAISED)
        } else {
            self.longest_ms
        };
        if let Some(next) = thresholds.above(level) {
            for pair in pairs {
                wait_ms = wait_ms.min(self.for_pair(next, pair));
            }
        }
        Duration::from_secs_f64(wait_ms / 1000.0)
    }

    fn for_pair(&self, next: f64, pair: &Pair) -> f64 {
        let distance = next - pair.fraction();
        // Beyond its threshold a gauge decides nothing more here: another signal holds the level down
        // for at most a reading.
        if distance <= DOOR {
            self.shortest_ms * DOOR_SHARE
        } else if distance <= NEAR {
            self.shortest_ms
        } else {
            let headroom_ms = distance * pair.limit as f64 / GROWTH_BYTES_PER_MS;
            headroom_ms.max(self.shortest_ms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use crate::gauge::{Pair, Source};
    use crate::level::{Level, Thresholds};

    const GIB: u64 = 1 << 30;

    fn wait_ms(level: Level, used: u64, limit: u64) -> f64 {
        let thresholds = Thresholds::new([0.70, 0.85, 0.95], 0.05).unwrap();
        let pair = Pair {
            source: Source::Limit,
            used,
            limit,
        };
        let wait = Pace::new(10.0, 250.0).after(&thresholds, level, &[pair]);
        (wait.as_secs_f64() * 1e6).round() / 1000.0
    }

    #[test]
    fn far_below_it_is_slow_and_near_a_threshold_fast() {
        assert_eq!(wait_ms(Level::Normal, GIB, 16 * GIB), 250.0);
        assert_eq!(wait_ms(Level::Normal, 66 * GIB / 100, GIB), 10.0);
        assert_eq!(wait_ms(Level::Normal, 69 * GIB / 100, GIB), 6.0);
        assert_eq!(wait_ms(Level::Low, 84 * GIB / 100, GIB), 6.0);
        assert_eq!(wait_ms(Level::Low, 75 * GIB / 100, GIB), 50.0);
        assert_eq!(wait_ms(Level::High, GIB, GIB), 50.0);
    }

    #[test]
    fn a_small_limit_is_watched_closely_from_afar() {
        // 60 MiB below the threshold: 60 ms at a GiB a second.
        assert_eq!(wait_ms(Level::Normal, 10 << 20, 100 << 20), 60.0);
    }

    #[test]
    fn the_wait_is_always_within_its_bounds() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let limit = random.u64(1..64 * GIB);
            let level = [Level::Normal, Level::Low, Level::Medium, Level::High][random.usize(..4)];
            let wait = wait_ms(level, random.u64(0..2 * limit), limit);
            assert!((6.0..=250.0).contains(&wait), "{wait}");
        }
    }
}
