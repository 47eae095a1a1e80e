//! The memory of what was evicted lately: keys without values.
//!
//! S3-FIFO keeps a "ghost" FIFO as long as the main queue. As its authors suggest, this one is not
//! a queue but a table of fingerprints with the time (in evictions) at which each was written; an
//! entry older than the length of the queue counts as gone. Eight bytes an entry, one cache line a
//! look-up, nothing to unlink. A fingerprint has 32 bits, so a false "was here" is rarer than 1 in
//! 10^8 look-ups, and costs only a wrong placement.

const WAYS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Mark {
    fingerprint: u32,
    /// The low 32 bits of the eviction count, or 0 in a mark never written.
    written_at: u32,
}

/// Remembers about the last `window` keys that were recorded.
#[derive(Debug)]
pub(crate) struct Ghost {
    marks: Vec<[Mark; WAYS]>,
    window: u32,
    clock: u32,
}

impl Ghost {
    /// A ghost of the last `window` evictions; it takes 8 to 16 bytes for each, as it fills.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            marks: Vec::new(),
            window: u32::try_from(window).unwrap_or(u32::MAX),
            clock: 0,
        }
    }

    /// Whether `hash` was recorded within the window; if so it is forgotten.
    pub(crate) fn take(&mut self, hash: u64) -> bool {
        let (clock, window) = (self.clock, self.window);
        let fingerprint = fingerprint(hash);
        let Some(set) = self.set_mut(hash) else {
            return false;
        };
        for mark in set {
            if mark.written_at != 0 && mark.fingerprint == fingerprint {
                let fresh = clock.wrapping_sub(mark.written_at) < window;
                mark.written_at = 0;
                return fresh;
            }
        }
        false
    }

    /// Remembers `hash`, in place of the oldest of its set.
    pub(crate) fn record(&mut self, hash: u64) {
        if self.window == 0 {
            return;
        }
        if self.marks.is_empty() {
            let sets = (self.window as usize).div_ceil(WAYS).next_power_of_two();
            self.marks = vec![
                [Mark {
                    fingerprint: 0,
                    written_at: 0
                }; WAYS];
                sets
            ];
        }
        self.clock = self.clock.wrapping_add(1).max(1);
        let clock = self.clock;
        let Some(set) = self.set_mut(hash) else { return };
        let age = |mark: &Mark| match mark.written_at {
            0 => u32::MAX,
            at => clock.wrapping_sub(at),
        };
        if let Some(oldest) = set.iter_mut().max_by_key(|mark| age(mark)) {
            *oldest = Mark {
                fingerprint: fingerprint(hash),
                written_at: clock,
            };
        }
    }

    fn set_mut(&mut self, hash: u64) -> Option<&mut [Mark; WAYS]> {
        let mask = self.marks.len().wrapping_sub(1);
        // The high half is the fingerprint, the low half the set: independent bits.
        #[expect(clippy::cast_possible_truncation, reason = "masked to the table right after")]
        let low = hash as usize;
        self.marks.get_mut(low & mask)
    }
}

fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::Ghost;
    use crate::cache::mix;

    #[test]
    fn a_recorded_key_is_found_once() {
        let mut ghost = Ghost::new(10);
        assert!(!ghost.take(mix(1)));
        ghost.record(mix(1));
        assert!(ghost.take(mix(1)));
        assert!(!ghost.take(mix(1)));
    }

    #[test]
    fn a_key_older_than_the_window_is_forgotten() {
        let mut ghost = Ghost::new(8);
        ghost.record(mix(0));
        (1..=8).for_each(|key| ghost.record(mix(key)));
        assert!(!ghost.take(mix(0)));
        assert!(ghost.take(mix(8)));
    }

    #[test]
    fn an_empty_window_remembers_nothing() {
        let mut ghost = Ghost::new(0);
        ghost.record(mix(1));
        assert!(!ghost.take(mix(1)));
    }

    #[test]
    fn most_of_the_window_is_remembered() {
        let mut ghost = Ghost::new(1000);
        (0..1000).for_each(|key| ghost.record(mix(key)));
        let found = (1..1000).filter(|&key| ghost.take(mix(key))).count();
        assert!(found > 850, "{found}");
    }
}
