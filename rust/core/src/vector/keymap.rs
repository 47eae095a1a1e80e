//! Which row a key has: keys that are neighbours share a page, for row ids of a table are mostly dense.

use hashbrown::HashTable;

/// Keys of a page.
const PAGE: usize = 16;
const PAGE_KEYS: i64 = 16;
/// Stands for "no row".
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Page {
    number: i64,
    rows: [u32; PAGE],
}

/// About 7 bytes a key where keys are dense, at most about 170 where no two share a page.
#[derive(Debug, Default)]
pub(super) struct KeyMap {
    pages: HashTable<Page>,
}

/// The key's page and its place there.
fn split(key: i64) -> (i64, usize) {
    let place = key.rem_euclid(PAGE_KEYS);
    (
        key.div_euclid(PAGE_KEYS),
        usize::try_from(place).unwrap_or_default(),
    )
}

/// Keys are numbered by the store, not chosen by an adversary: one multiplication spreads them.
fn hash(number: i64) -> u64 {
    let mixed = number.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 32)
}

impl KeyMap {
    pub(super) fn get(&self, key: i64) -> Option<u32> {
        let (number, place) = split(key);
        let page = self.pages.find(hash(number), |page| page.number == number)?;
        page.rows.get(place).copied().filter(|row| *row != NONE)
    }

    pub(super) fn set(&mut self, key: i64, row: u32) {
        let (number, place) = split(key);
        let found = self.pages.entry(
            hash(number),
            |page| page.number == number,
            |page| hash(page.number),
        );
        let mut page = found.or_insert_with(|| Page {
            number,
            rows: [NONE; PAGE],
        });
        if let Some(slot) = page.get_mut().rows.get_mut(place) {
            *slot = row;
        }
    }

    pub(super) fn remove(&mut self, key: i64) -> Option<u32> {
        let (number, place) = split(key);
        let mut found = self
            .pages
            .find_entry(hash(number), |page| page.number == number)
            .ok()?;
        let row = std::mem::replace(found.get_mut().rows.get_mut(place)?, NONE);
        if found.get().rows == [NONE; PAGE] {
            found.remove();
        }
        Some(row).filter(|row| *row != NONE)
    }

    pub(super) fn bytes(&self) -> usize {
        self.pages.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::KeyMap;

    #[test]
    fn it_says_what_a_plain_map_says() {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut ours, mut twin) = (KeyMap::default(), HashMap::new());
        for row in 0..20_000 {
            let key = random.i64(-300..300) * if random.bool() { 1 } else { 1 << 40 };
            match random.u8(..3) {
                0 => assert_eq!(ours.remove(key), twin.remove(&key)),
                1 => assert_eq!(ours.get(key), twin.get(&key).copied()),
                _ => {
                    ours.set(key, row);
                    twin.insert(key, row);
                }
            }
        }
        for key in [i64::MIN, i64::MAX] {
            ours.set(key, 7);
            assert_eq!(
                (ours.get(key), ours.remove(key), ours.get(key)),
                (Some(7), Some(7), None)
            );
        }
        for key in twin.keys() {
            ours.remove(*key);
        }
        assert!(ours.pages.is_empty());
    }
}
