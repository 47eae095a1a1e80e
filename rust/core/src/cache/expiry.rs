//! When entries with a time to live end.
//!
//! A binary heap of `(expires_at, slot)`, written once per timed insertion and never searched: an
//! item counts only if its slot still holds an entry with that very time, so that overwriting and
//! removing need not touch the heap. Stale items are swept when they outnumber the live ones.
//! (A slot used again with the same time makes an old item true again, which is right: that entry
//! ends then too.)

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slab::{NEVER, Slab, Slot};

/// Stale items that are not worth a sweep.
const STALE_ALLOWED: usize = 64;

#[derive(Debug)]
pub(crate) struct Expiry {
    due: BinaryHeap<Reverse<(u64, Slot)>>,
    /// Entries in the slab that have a time to live.
    timed: usize,
}

impl Expiry {
    pub(crate) fn new() -> Self {
        Self {
            due: BinaryHeap::new(),
            timed: 0,
        }
    }

    /// How many entries have a time to live.
    pub(crate) fn timed(&self) -> usize {
        self.timed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Notes that the entry at `slot` ends at `expires_at`; the slab already says so.
    pub(crate) fn on_set<K, V>(&mut self, slab: &Slab<K, V>, slot: Slot, expires_at: u64) {
        if expires_at == NEVER {
            return;
        }
        self.timed += 1;
        self.due.push(Reverse((expires_at, slot)));
        if self.due.len() > 2 * self.timed + STALE_ALLOWED {
            self.due
                .retain(|Reverse((at, slot))| is_current(slab, *slot, *at));
        }
    }

    /// Notes that an entry with this end was removed or is about to get another.
    pub(crate) fn on_unset(&mut self, expires_at: u64) {
        if expires_at != NEVER {
            self.timed -= 1;
        }
    }

    /// A slot whose entry has ended at `now`; it must be removed before the next call.
    pub(crate) fn pop_ended<K, V>(&mut self, slab: &Slab<K, V>, now: u64) -> Option<Slot> {
        while let Some(&Reverse((at, slot))) = self.due.peek() {
            if at > now {
                return None;
            }
            self.due.pop();
            if is_current(slab, slot, at) {
                return Some(slot);
            }
        }
        None
    }
}

fn is_current<K, V>(slab: &Slab<K, V>, slot: Slot, at: u64) -> bool {
    slab.get(slot).is_some_and(|entry| entry.expires_at == at)
}
