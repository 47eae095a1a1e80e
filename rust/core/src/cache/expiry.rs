//! When entries end: after their time to live, or after a time without use.
//!
//! A binary heap of `(time, slot)`, written once per timed insertion and never searched: an item counts
//! only if its slot still holds an entry noted for that very time, so that overwriting and removing
//! need not touch the heap. Stale items are swept when they outnumber the live ones. (A slot used
//! again with the same time makes an old item true again, which is right: that entry is due then too.)
//!
//! A use does not touch the heap either: it writes down the time, and when the item is due, an entry
//! that was used since is noted again for its new end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::slab::{NEVER, Slab, Slot};

/// Stale items that are not worth a sweep.
const STALE_ALLOWED: usize = 64;

#[derive(Debug)]
pub(crate) struct Expiry {
    due: BinaryHeap<Reverse<(u64, Slot)>>,
    /// Entries in the slab that end some time.
    timed: usize,
    idle: Option<Idle>,
}

#[derive(Debug)]
struct Idle {
    ttl: u64,
    /// By slot.
    uses: Vec<Use>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    last_at: u64,
    /// The time of the item in the heap.
    noted_for: u64,
}

impl Expiry {
    /// With `idle_ttl`, every entry ends after so long without use.
    pub(crate) fn new(idle_ttl: Option<u64>) -> Self {
        Self {
            due: BinaryHeap::new(),
            timed: 0,
            idle: idle_ttl.map(|ttl| Idle {
                ttl,
                uses: Vec::new(),
            }),
        }
    }

    /// Whether anything can end.
    #[inline]
    pub(crate) fn needs_clock(&self) -> bool {
        self.timed > 0 || self.idle.is_some()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.idle.as_ref().map(|idle| idle.ttl));
    }

    /// Notes that the entry at `slot` ends at `expires_at` at the latest; the slab already says so.
    pub(crate) fn on_set<K, V>(&mut self, slab: &Slab<K, V>, slot: Slot, expires_at: u64, now: u64) {
        if expires_at == NEVER && self.idle.is_none() {
            return;
        }
        self.timed += 1;
        self.on_use(slot, now);
        let end = self.end(slot, expires_at);
        self.note(slot, end);
        if self.due.len() > 2 * self.timed + STALE_ALLOWED {
            let (idle, slab) = (&self.idle, &slab);
            self.due
                .retain(|Reverse((at, slot))| is_current(idle.as_ref(), slab, *slot, *at));
        }
    }

    /// Notes that an entry with this end was removed or is about to get another.
    pub(crate) fn on_unset(&mut self, expires_at: u64) {
        if expires_at != NEVER || self.idle.is_some() {
            self.timed -= 1;
        }
    }

    /// Notes a use of the entry at `slot`.
    #[inline]
    pub(crate) fn on_use(&mut self, slot: Slot, now: u64) {
        let Some(idle) = &mut self.idle else { return };
        let index = slot.index();
        if index >= idle.uses.len() {
            idle.uses.resize(index + 1, Use::default());
        }
        if let Some(uses) = idle.uses.get_mut(index) {
            uses.last_at = now;
        }
    }

    /// When an entry ends that lives until `expires_at` and is not used any more.
    #[inline]
    pub(crate) fn end(&self, slot: Slot, expires_at: u64) -> u64 {
        let Some(idle) = &self.idle else { return expires_at };
        let last_at = idle.uses.get(slot.index()).map_or(0, |uses| uses.last_at);
        expires_at.min(last_at.saturating_add(idle.ttl))
    }

    /// A slot whose entry has ended at `now`; it must be removed before the next call.
    pub(crate) fn pop_ended<K, V>(&mut self, slab: &Slab<K, V>, now: u64) -> Option<Slot> {
        while let Some(&Reverse((at, slot))) = self.due.peek() {
            if at > now {
                return None;
            }
            self.due.pop();
            if !is_current(self.idle.as_ref(), slab, slot, at) {
                continue;
            }
            let expires_at = slab.get(slot).map_or(NEVER, |entry| entry.expires_at);
            let end = self.end(slot, expires_at);
            if end <= now {
                return Some(slot);
            }
            self.note(slot, end);
        }
        None
    }

    fn note(&mut self, slot: Slot, end: u64) {
        if let Some(idle) = &mut self.idle
            && let Some(uses) = idle.uses.get_mut(slot.index())
        {
            uses.noted_for = end;
        }
        self.due.push(Reverse((end, slot)));
    }
}

fn is_current<K, V>(idle: Option<&Idle>, slab: &Slab<K, V>, slot: Slot, at: u64) -> bool {
    slab.get(slot).is_some_and(|entry| match idle {
        None => entry.expires_at == at,
        Some(idle) => idle
            .uses
            .get(slot.index())
            .is_some_and(|uses| uses.noted_for == at),
    })
}
