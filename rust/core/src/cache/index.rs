//! From hashes to slots: open addressing in one flat table of 8-byte places.
//!
//! A place holds half of the hash and the slot, so that a search touches one cache line and the
//! entry itself, and nothing else has to be read to move a place. Linear probing; a removal
//! closes its gap (Knuth, *The Art of Computer Programming* 6.4, algorithm R), so there are no tombstones.
//! (hashbrown, which keeps tags and slots apart, took 90 instructions for a search and 100 for a removal
//! and an insertion, this 40 and 50; it is a third smaller.)

use super::slab::Slot;

#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u32,
    slot: Slot,
}

const EMPTY: Place = Place {
    hash: 0,
    slot: Slot::NONE,
};
const PLACES_MIN: usize = 8;

#[derive(Debug)]
pub(super) struct Index {
    /// A power of two, or none before the first insertion.
    places: Vec<Place>,
    len: usize,
}

impl Index {
    pub(super) const fn new() -> Self {
        Self {
            places: Vec::new(),
            len: 0,
        }
    }

    /// The first slot under this hash that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let half = half(hash);
        let mut at = half as usize;
        loop {
            let place = self.places.get(at & self.mask())?;
            if place.slot.is_none() {
                return None;
            }
            if place.hash == half && is_it(place.slot) {
                return Some(place.slot);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Adds a slot, which must not be there.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, slot: Slot) {
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.grow();
        }
        self.len += 1;
        self.put(Place {
            hash: half(hash),
            slot,
        });
    }

    #[inline]
    fn put(&mut self, place: Place) {
        let mask = self.mask();
        let mut at = place.hash as usize;
        while let Some(there) = self.places.get_mut(at & mask) {
            if there.slot.is_none() {
                *there = place;
                return;
            }
            at = at.wrapping_add(1);
        }
    }

    /// Takes a slot out, if it is there.
    #[inline]
    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        let mask = self.mask();
        let mut gap = half(hash) as usize & mask;
        loop {
            match self.places.get(gap) {
                Some(place) if place.slot == slot => break,
                Some(place) if !place.slot.is_none() => gap = (gap + 1) & mask,
                _ => return,
            }
        }
        self.len -= 1;
        let mut next = gap;
        loop {
            next = (next + 1) & mask;
            let moving = match self.places.get(next) {
                Some(place) if !place.slot.is_none() => *place,
                _ => break,
            };
            // It may move back to the gap unless its search begins after the gap.
            let from_home = next.wrapping_sub(moving.hash as usize) & mask;
            if from_home >= next.wrapping_sub(gap) & mask {
                self.write(gap, moving);
                gap = next;
            }
        }
        self.write(gap, EMPTY);
    }

    #[inline]
    fn write(&mut self, at: usize, place: Place) {
        if let Some(there) = self.places.get_mut(at) {
            *there = place;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let places = (self.places.len() * 2).max(PLACES_MIN);
        for place in std::mem::replace(&mut self.places, vec![EMPTY; places]) {
            if !place.slot.is_none() {
                self.put(place);
            }
        }
    }

    #[inline]
    fn mask(&self) -> usize {
        self.places.len().wrapping_sub(1)
    }
}

#[inline]
fn half(hash: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the low half")]
    let half = hash as u32;
    half
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Index, Slot};

    #[test]
    fn it_finds_what_a_map_finds() {
        let mut rng = fastrand::Rng::with_seed(3);
        for spread in [3, 40, u64::MAX] {
            let (mut index, mut map) = (Index::new(), BTreeMap::new());
            for _ in 0..300_000 {
                let slot = rng.u32(0..200);
                let hash = u64::from(slot).wrapping_mul(0x9E37_79B9_7F4A_7C15) % spread;
                if map.remove(&slot).is_some() {
                    index.remove(hash, Slot::at(slot));
                } else {
                    map.insert(slot, hash);
                    index.insert(hash, Slot::at(slot));
                }
                assert_eq!(index.len, map.len());
                let asked = rng.u32(0..200);
                let hash = u64::from(asked).wrapping_mul(0x9E37_79B9_7F4A_7C15) % spread;
                let found = index.find(hash, |slot| slot == Slot::at(asked));
                assert_eq!(found.is_some(), map.contains_key(&asked));
            }
        }
    }
}
