//! A doubly linked list whose links live inside the slab's entries.

use super::slab::{Links, Slab, Slot};

/// Order of a set of slots. Every operation is O(1).
#[derive(Debug)]
pub(crate) struct List {
    front: Slot,
    back: Slot,
    len: usize,
    bytes: u64,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self {
            front: Slot::NONE,
            back: Slot::NONE,
            len: 0,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The sum of the sizes of its entries, as they were when they entered or were resized.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn back(&self) -> Option<Slot> {
        (!self.back.is_none()).then_some(self.back)
    }

    /// The last entry that is not `keep`.
    pub(crate) fn back_beside<K, V>(&self, slab: &Slab<K, V>, keep: Slot) -> Option<Slot> {
        let back = self.back()?;
        if back != keep {
            return Some(back);
        }
        let before = slab.get(back)?.links.prev;
        (!before.is_none()).then_some(before)
    }

    pub(crate) fn push_front<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let Some(entry) = slab.get_mut(slot) else { return };
        entry.links = Links {
            prev: Slot::NONE,
            next: self.front,
        };
        self.bytes += entry.bytes;
        self.len += 1;
        if let Some(old) = slab.get_mut(self.front) {
            old.links.prev = slot;
        } else {
            self.back = slot;
        }
        self.front = slot;
    }

    pub(crate) fn unlink<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let Some(entry) = slab.get(slot) else { return };
        let Links { prev, next } = entry.links;
        self.bytes -= entry.bytes;
        self.len -= 1;
        match slab.get_mut(prev) {
            Some(entry) => entry.links.next = next,
            None => self.front = next,
        }
        match slab.get_mut(next) {
            Some(entry) => entry.links.prev = prev,
            None => self.back = prev,
        }
    }

    pub(crate) fn move_to_front<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        if self.front != slot {
            self.unlink(slab, slot);
            self.push_front(slab, slot);
        }
    }

    /// Tells the list that one of its entries changed its size.
    pub(crate) fn resize_entry(&mut self, old: u64, new: u64) {
        self.bytes = self.bytes - old + new;
    }
}
