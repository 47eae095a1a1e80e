//! How large the window of W-TinyLFU should be: found by trying, in small.
//!
//! One key in `rate` is also put through three caches of a `rate`-th of the size, without keys or
//! values, each with another window (miniature simulation: Waldspurger, Saemundsson, Ahmad, Park,
//! *Cache modeling and optimization using miniature simulations*, USENIX ATC 2017). The window of the
//! one that hits most often lately becomes the cache's own. (Climbing by the cache's own hit ratio, as
//! Caffeine does, came out lower in a simulation on the traces of `benches/traces.py`.)

use super::policy::Policy;
use super::tinylfu::TinyLfu;
use super::{Cache, EntryOptions, Limits, Read, Removed, mix};

/// The parts of the room that a window may get, in thousandths: for loops, in between, for recency.
const WINDOWS: [u64; 3] = [10, 100, 900];
/// The window to begin with.
pub(super) const WINDOW_AT_FIRST: u64 = 100;
/// Below this many entries a sample says too little, and the first window stays.
const ENTRIES_MIN: usize = 512;
/// The trial caches have this many entries, or up to twice as many.
const TRIAL_ENTRIES: usize = 256;
const RATE_MIN: u64 = 16;
const RATE_MAX: u64 = 1024;
/// Sampled uses between two choices.
const USES_PER_CHOICE: u32 = 100;
/// A window must be better by this share of the uses to be chosen instead of the current one.
const BETTER_BY: f64 = 0.002;
/// What a choice later counts of the uses before it.
const FADING: f64 = 0.985;

#[derive(Debug)]
struct Trial {
    window: u64,
    cache: Cache<(), ()>,
    /// Hits of late, fading.
    hits: f64,
}

#[derive(Debug)]
pub(super) struct Tuner {
    trials: Vec<Trial>,
    chosen: u64,
    /// One less than the rate, which is a power of two.
    mask: u64,
    uses: f64,
    uses_until_choice: u32,
}

impl Tuner {
    /// A tuner for a cache that is full with `entries`, if there are enough of them.
    pub(super) fn new(entries: usize, limits: Limits) -> Option<Self> {
        if entries < ENTRIES_MIN {
            return None;
        }
        let rate = (1 << (entries / TRIAL_ENTRIES).max(1).ilog2()).clamp(RATE_MIN, RATE_MAX);
        let small = Limits {
            max_entries: limits.max_entries / rate as usize,
            max_bytes: limits.max_bytes.map(|bytes| bytes / rate),
        };
        let trials = WINDOWS.map(|window| Trial {
            window,
            cache: Cache::with_policy(small, Policy::TinyLfu(Box::new(TinyLfu::untuned(small, window)))),
            hits: 0.0,
        });
        Some(Self {
            trials: trials.into(),
            chosen: WINDOW_AT_FIRST,
            mask: rate - 1,
            uses: 0.0,
            uses_until_choice: USES_PER_CHOICE,
        })
    }

    /// Whether the key with this mixed hash is in the sample.
    #[inline]
    pub(super) fn samples(&self, hash: u64) -> bool {
        // Bits that decide neither the place in the table nor its tag.
        hash >> 40 & self.mask == 0
    }

    /// Notes a use of a sampled key; the window to have from now on, when it is time to choose.
    #[cold]
    pub(super) fn on_use(&mut self, hash: u64, bytes: u64) -> Option<u64> {
        let hash = mix(hash);
        for trial in &mut self.trials {
            trial.hits += f64::from(u8::from(trial.hit(hash, bytes)));
        }
        self.uses += 1.0;
        self.uses_until_choice -= 1;
        (self.uses_until_choice == 0).then(|| self.choose())
    }

    fn choose(&mut self) -> u64 {
        self.uses_until_choice = USES_PER_CHOICE;
        let current = self.trials.iter().find(|trial| trial.window == self.chosen);
        let to_beat = current.map_or(0.0, |trial| trial.hits) + BETTER_BY * self.uses;
        let best = self.trials.iter().max_by(|a, b| a.hits.total_cmp(&b.hits));
        if let Some(best) = best.filter(|best| best.hits > to_beat) {
            self.chosen = best.window;
        }
        self.uses *= FADING;
        for trial in &mut self.trials {
            trial.hits *= FADING;
        }
        self.chosen
    }
}

impl Trial {
    fn hit(&mut self, hash: u64, bytes: u64) -> bool {
        let slot = self.cache.locate(hash, |()| true);
        if let Read::Hit(()) = self.cache.read(slot, 0) {
            return true;
        }
        let options = EntryOptions {
            bytes,
            ..EntryOptions::default()
        };
        let mut removed = Removed::new();
        self.cache.insert(None, hash, ((), ()), options, 0, &mut removed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Tuner, WINDOW_AT_FIRST};
    use crate::cache::mix;

    fn window_after(keys: impl Iterator<Item = u64>) -> u64 {
        let limits = Limits {
            max_entries: 4096,
            max_bytes: None,
        };
        let mut tuner = Tuner::new(4096, limits).unwrap();
        let mut window = WINDOW_AT_FIRST;
        for hash in keys.map(mix) {
            if tuner.samples(hash) {
                window = tuner.on_use(hash, 1).unwrap_or(window);
            }
        }
        window
    }

    #[test]
    fn a_loop_larger_than_the_cache_wants_a_small_window() {
        assert_eq!(window_after((0..500_000).map(|step| step % 5000)), 10);
    }

    #[test]
    fn what_comes_back_soon_and_then_never_wants_a_large_one() {
        assert_eq!(
            window_after((0..500_000).map(|step| step / 4 + step % 4 * 700)),
            900
        );
    }

    #[test]
    fn a_small_cache_is_not_tuned() {
        let limits = Limits {
            max_entries: 100,
            max_bytes: None,
        };
        assert!(Tuner::new(100, limits).is_none());
    }
}
