//! How often keys were used before they left: a count-min sketch of 4-bit counters.
//!
//! Each key has four counters, one in each word of a block of 32 bytes, so that a look-up touches one
//! cache line; the least of the four is the estimate (Cormode, Muthukrishnan, *An improved data stream
//! summary: the count-min sketch and its applications*, 2005). Entries that are stored count their
//! uses themselves, so that the sketch is written only when one leaves.

/// The most that a counter holds.
pub(crate) const COUNT_MAX: u8 = 15;
const ROWS: usize = 4;
/// Counters for each entry: 8 bytes.
const COUNTERS_PER_ENTRY: usize = 16;
const COUNTERS_PER_BLOCK: usize = ROWS * 16;
const ENTRIES_MIN: usize = 64;

type Block = [u64; ROWS];

#[derive(Debug)]
pub(crate) struct Sketch {
    blocks: Vec<Block>,
    entries: usize,
}

impl Sketch {
    /// A sketch without counters; everything counts 0.
    pub(crate) const fn new() -> Self {
        Self {
            blocks: Vec::new(),
            entries: 0,
        }
    }

    /// How many entries it was made for.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Makes it large enough for a cache of so many entries; what it knew is forgotten if it must grow.
    pub(crate) fn fit(&mut self, entries: usize) {
        let entries = entries.max(ENTRIES_MIN);
        if entries > self.entries.saturating_mul(2) {
            self.entries = entries;
            let blocks = (entries * COUNTERS_PER_ENTRY).div_ceil(COUNTERS_PER_BLOCK);
            self.blocks = vec![[0; ROWS]; blocks];
        }
    }

    /// At least as often as the key with this mixed hash was used, up to [`COUNT_MAX`].
    pub(crate) fn estimate(&self, hash: u64) -> u8 {
        let Some(block) = self.blocks.get(index(hash, self.blocks.len())) else {
            return 0;
        };
        let counts = block
            .iter()
            .zip(shifts(hash))
            .map(|(word, shift)| word >> shift & 15);
        #[expect(clippy::cast_possible_truncation, reason = "four bits")]
        counts.min().map_or(0, |least| least as u8)
    }

    /// Remembers that the key was used `count` times, if that is more than known.
    pub(crate) fn raise(&mut self, hash: u64, count: u8) {
        let index = index(hash, self.blocks.len());
        let Some(block) = self.blocks.get_mut(index) else {
            return;
        };
        let count = u64::from(count.min(COUNT_MAX));
        for (word, shift) in block.iter_mut().zip(shifts(hash)) {
            // Without a branch, which nothing could predict.
            let known = *word >> shift & 15;
            *word += count.saturating_sub(known) << shift;
        }
    }

    /// Halves every count, so that what was popular long ago is not for ever.
    pub(crate) fn halve(&mut self) {
        for word in self.blocks.iter_mut().flatten() {
            *word = *word >> 1 & 0x7777_7777_7777_7777;
        }
    }
}

/// Spreads the high half of the hash over `len` places.
fn index(hash: u64, len: usize) -> usize {
    (((hash >> 32) * len as u64) >> 32) as usize
}

/// Which of a word's 16 counters is the key's, for each row, by the low half of the hash.
fn shifts(hash: u64) -> impl Iterator<Item = u32> {
    (0..).map(move |row: u32| {
        #[expect(clippy::cast_possible_truncation, reason = "masked to four bits")]
        let counter = (hash >> (8 * row + 3)) as u32 & 15;
        4 * counter
    })
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MAX, Sketch};
    use crate::cache::mix;

    #[test]
    fn an_estimate_is_never_below_the_truth() {
        let mut sketch = Sketch::new();
        assert_eq!(sketch.estimate(mix(1)), 0);
        sketch.fit(100);
        for key in 0..100 {
            sketch.raise(mix(key), (key % 20) as u8);
        }
        for key in 0..100 {
            assert!(sketch.estimate(mix(key)) >= (key % 20).min(15) as u8);
        }
        let strangers = (1000..2000).filter(|&key| sketch.estimate(mix(key)) > 0).count();
        assert!(strangers < 100, "{strangers}");
    }

    #[test]
    fn halving_halves_every_count() {
        let mut sketch = Sketch::new();
        sketch.fit(1);
        sketch.raise(mix(1), 200);
        assert_eq!(sketch.estimate(mix(1)), COUNT_MAX);
        sketch.halve();
        assert_eq!(sketch.estimate(mix(1)), 7);
    }

    #[test]
    fn it_grows_when_twice_as_large_is_asked_for() {
        let mut sketch = Sketch::new();
        sketch.fit(100);
        sketch.raise(mix(1), 3);
        sketch.fit(200);
        assert_eq!((sketch.entries(), sketch.estimate(mix(1))), (100, 3));
        sketch.fit(201);
        assert_eq!((sketch.entries(), sketch.estimate(mix(1))), (201, 0));
    }
}
