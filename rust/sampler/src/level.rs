//! From a fraction of a limit to a level. Pure: equal readings in equal order give equal levels.

/// How much the footprint presses on its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(i8)]
pub enum Level {
    /// Nothing was read yet, or nothing can be read here.
    #[default]
    Unknown = -1,
    /// Below every threshold.
    Normal = 0,
    /// At the first threshold.
    Low = 1,
    /// At the second threshold.
    Medium = 2,
    /// At the third threshold.
    High = 3,
}

/// Where the levels begin and how far below that they end, as fractions of a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    enter: [f64; 3],
    hysteresis: f64,
}

/// Share of time in which some task waited for memory: levels `Low` and `Medium`, never `High`.
///
/// A stall says that the machine, or the group, is short of memory, not that this process is why.
pub const STALL: Thresholds = Thresholds {
    enter: [0.10, 0.40, f64::INFINITY],
    hysteresis: 0.05,
};

/// For how many seconds a limit that was hit keeps the level up.
const HIT_HOLD_S: u32 = 5;

impl Thresholds {
    /// Thresholds that rise strictly in 0..=1, or what is wrong with them.
    ///
    /// # Errors
    /// A sentence that names the wrong value.
    pub fn new(enter: [f64; 3], hysteresis: f64) -> Result<Self, &'static str> {
        let [low, medium, high] = enter;
        if !(0.0 < low && low < medium && medium < high && high <= 1.0) {
            return Err("thresholds: must rise strictly within 0..1");
        }
        if !(0.0..low).contains(&hysteresis) {
            return Err("hysteresis: must be at least 0 and below the first threshold");
        }
        Ok(Self { enter, hysteresis })
    }

    /// The level that follows `current` at this fraction: up at a threshold, down only well below it.
    pub fn next(&self, current: Level, fraction: f64) -> Level {
        let entered = self.reached(fraction);
        let held = self.reached(fraction + self.hysteresis);
        entered.max(held.min(current))
    }

    /// Where the first level above `level` begins; None above the last one.
    pub fn above(&self, level: Level) -> Option<f64> {
        let [low, medium, high] = self.enter;
        match level {
            Level::Unknown | Level::Normal => Some(low),
            Level::Low => Some(medium),
            Level::Medium => Some(high),
            Level::High => None,
        }
    }

    /// Where the first level begins.
    pub fn first(&self) -> f64 {
        let [low, _, _] = self.enter;
        low
    }

    fn reached(&self, fraction: f64) -> Level {
        let [low, medium, high] = self.enter;
        if fraction >= high {
            Level::High
        } else if fraction >= medium {
            Level::Medium
        } else if fraction >= low {
            Level::Low
        } else {
            Level::Normal
        }
    }
}

/// Joins the signals: the footprint decides; stalls and hits of a group's limit may raise what it says.
#[derive(Debug, Clone)]
pub struct Decider {
    thresholds: Thresholds,
    footprint: Level,
    stalled: Level,
    hit_left_s: u32,
}

impl Decider {
    /// A decider that has seen nothing.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            footprint: Level::Unknown,
            stalled: Level::Unknown,
            hit_left_s: 0,
        }
    }

    /// The footprint is this fraction of its limit.
    pub fn observe(&mut self, fraction: f64) {
        self.footprint = self.thresholds.next(self.footprint, fraction);
    }

    /// Called once a second: share of that second stalled, and whether a limit of the group was hit in it.
    pub fn second(&mut self, stalled: Option<f64>, hit: bool) {
        self.stalled = stalled.map_or(Level::Unknown, |share| STALL.next(self.stalled, share));
        self.hit_left_s = if hit && self.footprint >= Level::Low {
            HIT_HOLD_S
        } else {
            self.hit_left_s.saturating_sub(1)
        };
    }

    /// What holds now.
    pub fn level(&self) -> Level {
        let hit = if self.hit_left_s > 0 {
            Level::Medium
        } else {
            Level::Unknown
        };
        self.footprint.max(self.stalled).max(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::{Decider, Level, Thresholds};

    const LEVELS: [Level; 5] = [
        Level::Unknown,
        Level::Normal,
        Level::Low,
        Level::Medium,
        Level::High,
    ];

    fn thresholds() -> Thresholds {
        Thresholds::new([0.70, 0.85, 0.95], 0.05).unwrap()
    }

    #[test]
    fn a_level_begins_at_its_threshold_and_ends_below_the_gap() {
        let t = thresholds();
        assert_eq!(t.next(Level::Normal, 0.699), Level::Normal);
        assert_eq!(t.next(Level::Normal, 0.70), Level::Low);
        assert_eq!(t.next(Level::Low, 0.66), Level::Low);
        assert_eq!(t.next(Level::Low, 0.64), Level::Normal);
        assert_eq!(t.next(Level::High, 0.82), Level::Medium);
        assert_eq!(t.next(Level::Normal, 2.0), Level::High);
        assert_eq!(t.next(Level::High, 0.1), Level::Normal);
        assert_eq!(t.next(Level::Normal, f64::NAN), Level::Normal);
    }

    #[test]
    fn a_constant_fraction_never_flaps_and_levels_rise_with_it() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000_000 {
            let first = 0.1 + random.f64() * 0.5;
            let t = Thresholds::new(
                [first, first + 0.1, first + 0.3],
                random.f64() * first.min(0.2) * 0.99,
            )
            .unwrap();
            let current = LEVELS[random.usize(..LEVELS.len())];
            let (a, b) = (random.f64() * 1.2, random.f64() * 1.2);
            let settled = t.next(current, a);
            assert_eq!(t.next(settled, a), settled);
            let (low, high) = (a.min(b), a.max(b));
            assert!(t.next(current, low) <= t.next(current, high));
        }
    }

    #[test]
    fn thresholds_that_do_not_rise_are_refused() {
        assert!(Thresholds::new([0.7, 0.7, 0.9], 0.05).is_err());
        assert!(Thresholds::new([0.0, 0.5, 0.9], 0.0).is_err());
        assert!(Thresholds::new([0.5, 0.7, 1.1], 0.05).is_err());
        assert!(Thresholds::new([0.5, f64::NAN, 0.9], 0.05).is_err());
        assert!(Thresholds::new([0.5, 0.7, 0.9], 0.5).is_err());
        assert!(Thresholds::new([0.5, 0.7, 0.9], -0.1).is_err());
    }

    #[test]
    fn stalls_raise_the_level_but_never_to_high() {
        let mut decider = Decider::new(thresholds());
        decider.observe(0.2);
        assert_eq!(decider.level(), Level::Normal);
        decider.second(Some(0.11), false);
        assert_eq!(decider.level(), Level::Low);
        decider.second(Some(0.06), false);
        assert_eq!(decider.level(), Level::Low);
        decider.second(Some(1.0), false);
        assert_eq!(decider.level(), Level::Medium);
        decider.second(None, false);
        assert_eq!(decider.level(), Level::Normal);
    }

    #[test]
    fn a_hit_limit_counts_where_the_footprint_is_near_it_and_is_held_for_seconds() {
        let mut decider = Decider::new(thresholds());
        decider.observe(0.2);
        decider.second(None, true);
        assert_eq!(decider.level(), Level::Normal);
        decider.observe(0.75);
        decider.second(None, true);
        for _ in 0..5 {
            assert_eq!(decider.level(), Level::Medium);
            decider.second(None, false);
        }
        assert_eq!(decider.level(), Level::Low);
    }
}
