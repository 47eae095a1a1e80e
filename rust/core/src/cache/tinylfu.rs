//! W-TinyLFU, made lazy: a hit writes three bytes of the entry and moves nothing.
//!
//! After Einziger, Friedman, Manes, *`TinyLFU`: a highly efficient cache admission policy* (ACM
//! Transactions on Storage 13, 2017). Newcomers enter a window; who leaves its end must have been used
//! more often than the entry that the main part would give up, else it leaves. What is different here:
//! - both parts are second-chance queues (an entry used since it was last looked at goes round again)
//!   where the original has LRU lists, as S3-FIFO showed to do no harm;
//! - a stored entry counts its own uses, aged when looked at, and the [`Sketch`] is written only when
//!   an entry leaves;
//! - the size of the window is found by a [`Tuner`].

use super::Limits;
use super::list::List;
use super::sketch::{COUNT_MAX, Sketch};
use super::slab::{Entry, Place, Slab, Slot};
use super::tuner::{Tuner, WINDOW_AT_FIRST};

/// Rounds that uses can earn an entry in advance.
const CHANCES_MAX: u8 = 3;
/// Counts are halved after this many uses for each entry.
const USES_PER_ENTRY: u64 = 16;
/// Entries that one call looks at before it takes the next, which bounds its latency.
const STEPS_MAX: usize = 64;
/// Entries that one insertion moves out of a window that became too large.
const DEMOTIONS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct TinyLfu {
    window: List,
    main: List,
    sketch: Sketch,
    /// How often counts were halved.
    epoch: u8,
    uses_until_halving: u64,
    window_max: Limits,
    limits: Limits,
    tuner: Option<Tuner>,
    tuned: bool,
}

impl TinyLfu {
    /// A policy that finds the size of its window.
    pub(super) fn tuned(limits: Limits) -> Self {
        Self {
            tuned: true,
            ..Self::untuned(limits, WINDOW_AT_FIRST)
        }
    }

    /// A policy with a window of so many thousandths of the room.
    pub(super) fn untuned(limits: Limits, window: u64) -> Self {
        let mut policy = Self {
            window: List::new(),
            main: List::new(),
            sketch: Sketch::new(),
            epoch: 0,
            uses_until_halving: u64::MAX,
            window_max: limits,
            limits,
            tuner: None,
            tuned: false,
        };
        policy.set_window(window);
        policy
    }

    /// Adapts to new limits; what was learnt about the window begins anew.
    pub(super) fn resize(&mut self, limits: Limits) {
        self.limits = limits;
        self.tuner = None;
        self.sketch = Sketch::new();
        self.set_window(WINDOW_AT_FIRST);
    }

    pub(super) fn clear(&mut self) {
        self.window = List::new();
        self.main = List::new();
    }

    fn set_window(&mut self, thousandths: u64) {
        let part = |whole: u64| whole / 1000 * thousandths + whole % 1000 * thousandths / 1000;
        #[expect(clippy::cast_possible_truncation, reason = "a part of a usize")]
        let max_entries = part(self.limits.max_entries as u64) as usize;
        self.window_max = Limits {
            max_entries: max_entries.max(1),
            max_bytes: self.limits.max_bytes.map(part),
        };
    }

    pub(super) fn bytes(&self) -> u64 {
        self.window.bytes() + self.main.bytes()
    }

    pub(super) fn list_mut(&mut self, place: Place) -> &mut List {
        match place {
            Place::Window => &mut self.window,
            Place::Main => &mut self.main,
        }
    }

    pub(super) fn lists(&self) -> [&List; 2] {
        [&self.main, &self.window]
    }

    #[inline]
    pub(super) fn on_hit<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let Some(entry) = slab.get_mut(slot) else { return };
        entry.frequency = (frequency(entry, self.epoch) + 1).min(COUNT_MAX);
        entry.epoch = self.epoch;
        entry.chances = (entry.chances + 1).min(CHANCES_MAX);
        let (hash, bytes) = (entry.hash, entry.bytes);
        self.on_use(hash, bytes);
    }

    #[inline]
    fn on_use(&mut self, hash: u64, bytes: u64) {
        self.uses_until_halving -= 1;
        if self.uses_until_halving == 0 {
            self.halve();
        }
        if let Some(tuner) = self.tuner.as_mut()
            && tuner.samples(hash)
            && let Some(window) = tuner.on_use(hash, bytes)
        {
            self.set_window(window);
        }
    }

    #[cold]
    fn halve(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.sketch.halve();
        self.uses_until_halving = USES_PER_ENTRY * self.sketch.entries().max(1) as u64;
    }

    pub(super) fn on_insert<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let Some(entry) = slab.get_mut(slot) else { return };
        entry.frequency = (self.sketch.estimate(entry.hash) + 1).min(COUNT_MAX);
        entry.epoch = self.epoch;
        entry.chances = 0;
        entry.place = Place::Window;
        let (hash, bytes) = (entry.hash, entry.bytes);
        self.window.push_front(slab, slot);
        for _ in 0..DEMOTIONS_MAX {
            if !self.window_is_over() {
                break;
            }
            if let Some(last) = self.next_of_window(slab) {
                self.promote(slab, last);
            }
        }
        self.on_use(hash, bytes);
    }

    /// What leaves, evicted or not, is remembered by its frequency.
    pub(super) fn on_remove<K, V>(&mut self, entry: &Entry<K, V>) {
        self.sketch.raise(entry.hash, frequency(entry, self.epoch));
    }

    fn window_is_over(&self) -> bool {
        let over_bytes = |max: u64| self.window.bytes() > max;
        self.window.len() > self.window_max.max_entries || self.window_max.max_bytes.is_some_and(over_bytes)
    }

    /// The entry to evict next, still linked; `None` when the cache is empty.
    pub(super) fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        self.prepare(slab.len());
        let window_is_full = self.window.len() >= self.window_max.max_entries || self.window_is_over();
        if !window_is_full && let Some(slot) = self.next_of_main(slab) {
            return Some(slot);
        }
        let Some(candidate) = self.next_of_window(slab) else {
            return self.next_of_main(slab);
        };
        let Some(holder) = self.next_of_main(slab) else {
            return Some(candidate);
        };
        let count = |slot| slab.get(slot).map(|entry| frequency(entry, self.epoch));
        if count(candidate) <= count(holder) {
            return Some(candidate);
        }
        self.promote(slab, candidate);
        Some(holder)
    }

    /// Learns how many entries make the cache full, when it is for the first time.
    fn prepare(&mut self, entries: usize) {
        let before = self.sketch.entries();
        self.sketch.fit(entries);
        if self.sketch.entries() != before {
            self.uses_until_halving = USES_PER_ENTRY * self.sketch.entries() as u64;
            self.tuner = if self.tuned {
                Tuner::new(entries, self.limits)
            } else {
                None
            };
        }
    }

    fn promote<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        self.window.unlink(slab, slot);
        if let Some(entry) = slab.get_mut(slot) {
            entry.place = Place::Main;
            entry.chances = 0;
        }
        self.main.push_front(slab, slot);
    }

    /// The last entry of the window; those used since they were last looked at go to its front.
    fn next_of_window<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        for _ in 0..STEPS_MAX {
            let slot = self.window.back()?;
            match slab.get_mut(slot) {
                Some(entry) if entry.chances > 0 => entry.chances = 0,
                _ => return Some(slot),
            }
            self.window.move_to_front(slab, slot);
        }
        self.window.back()
    }

    /// The last entry of the main part; each use earned an entry another round.
    fn next_of_main<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        for _ in 0..STEPS_MAX {
            let slot = self.main.back()?;
            match slab.get_mut(slot) {
                Some(entry) if entry.chances > 0 => entry.chances -= 1,
                _ => return Some(slot),
            }
            self.main.move_to_front(slab, slot);
        }
        self.main.back()
    }
}

/// How often an entry was used, halved for each epoch since that was counted, and rounded up.
///
/// The sketch rounds down. Were both to, then in a loop the keys that come after a halving would have one
/// use more than the entries that are about to be used, and push out a whole round of them.
#[inline]
fn frequency<K, V>(entry: &Entry<K, V>, epoch: u8) -> u8 {
    if entry.epoch == epoch {
        return entry.frequency;
    }
    // Not above COUNT_MAX, which four halvings bring down to 1.
    let epochs = u32::from(epoch.wrapping_sub(entry.epoch)).min(4);
    entry.frequency.div_ceil(1 << epochs)
}
