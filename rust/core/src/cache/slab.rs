//! Where the entries live: one vector, addressed by 32-bit slots that stay valid until removal.
//!
//! An entry is 56 bytes beside what key and value point to. The links of the policy's lists are
//! inside the entries, so neither a hit nor an eviction allocates.

/// The address of an entry. Only valid until that entry is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// Stands for "no entry" in links.
    pub(crate) const NONE: Self = Self(u32::MAX);

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which of a policy's lists an entry is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On probation: newcomers of W-TinyLFU.
    Window,
    /// The main list, and the only one of LRU.
    Main,
}

/// Neighbours in a list: `prev` is nearer the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Links {
    pub(crate) prev: Slot,
    pub(crate) next: Slot,
}

#[derive(Debug)]
pub(crate) struct Entry<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    /// The mixed hash, see [`super::mix`].
    pub(crate) hash: u64,
    /// Nanoseconds on the caller's clock; [`NEVER`] without a time to live.
    pub(crate) expires_at: u64,
    pub(crate) bytes: u64,
    pub(crate) links: Links,
    /// Uses until `epoch`, at most 15 (W-TinyLFU).
    pub(crate) frequency: u8,
    /// The policy's epoch when `frequency` was last counted.
    pub(crate) epoch: u8,
    /// Rounds to go before it may be evicted, at most 3 (W-TinyLFU).
    pub(crate) chances: u8,
    pub(crate) place: Place,
    /// Whether the tag index knows this slot.
    pub(crate) tagged: bool,
}

/// The `expires_at` of an entry without a time to live.
pub(crate) const NEVER: u64 = u64::MAX;

/// The most entries that 32-bit slots can address.
pub const ENTRIES_MAX: usize = u32::MAX as usize - 1;

#[derive(Debug)]
pub(crate) struct Slab<K, V> {
    entries: Vec<Option<Entry<K, V>>>,
    free: Vec<u32>,
}

impl<K, V> Slab<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry<K, V>> {
        self.entries.get(slot.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry<K, V>> {
        self.entries.get_mut(slot.index())?.as_mut()
    }

    /// Stores `entry`; `None` (and the entry dropped) only if [`ENTRIES_MAX`] are stored already.
    pub(crate) fn insert(&mut self, entry: Entry<K, V>) -> Option<Slot> {
        if let Some(index) = self.free.pop() {
            *self.entries.get_mut(index as usize)? = Some(entry);
            return Some(Slot(index));
        }
        let index = u32::try_from(self.entries.len()).ok()?;
        if index == u32::MAX {
            return None;
        }
        self.entries.push(Some(entry));
        Some(Slot(index))
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry<K, V>> {
        let entry = self.entries.get_mut(slot.index())?.take()?;
        self.free.push(slot.0);
        Some(entry)
    }

    /// Every stored entry, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<K, V>> {
        self.entries.iter().flatten()
    }

    /// Gives all entries away and leaves the slab empty, without its allocations.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Entry<K, V>> + use<K, V> {
        self.free = Vec::new();
        std::mem::take(&mut self.entries).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Links, NEVER, Place, Slab, Slot};

    fn entry(key: u32) -> Entry<u32, u32> {
        Entry {
            key,
            value: key,
            hash: u64::from(key),
            expires_at: NEVER,
            bytes: 1,
            links: Links {
                prev: Slot::NONE,
                next: Slot::NONE,
            },
            frequency: 0,
            epoch: 0,
            chances: 0,
            place: Place::Main,
            tagged: false,
        }
    }

    #[test]
    fn a_removed_slot_is_used_again() {
        let mut slab = Slab::new();
        let first = slab.insert(entry(1)).unwrap();
        let second = slab.insert(entry(2)).unwrap();
        assert_ne!(first, second);
        assert_eq!(slab.remove(first).unwrap().key, 1);
        assert!(slab.remove(first).is_none());
        assert!(slab.get(first).is_none());
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.insert(entry(3)), Some(first));
        assert_eq!(slab.iter().map(|e| e.key).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn an_entry_of_pointers_takes_56_bytes() {
        assert_eq!(size_of::<Option<Entry<Box<u8>, Box<u8>>>>(), 56);
    }
}
