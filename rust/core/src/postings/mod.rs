//! bm25 over the pages of an FTS5 index, to the last bit what `bm25()` of FTS5 gives.
//!
//! FTS5 looks the length of each row up in a table, and counts each word's rows once more: two thirds of its time. Here
//! lengths are kept ([`Lengths`]), and words are counted as they are read.

mod lengths;
mod pages;
mod phrase;
#[cfg(test)]
mod tests;

use std::collections::BinaryHeap;

pub use lengths::Lengths;
use pages::{Entries, List};
use phrase::Starts;

/// Saturation, and how much the length counts; as FTS5 has them.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// A word in a row.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: i64,
    often: f64,
    word: u32,
    /// The newest flush of the segment that it was found in.
    newest: u32,
}

/// A segment of the index.
#[derive(Debug)]
struct Segment {
    newest: u32,
    deleted: Vec<i64>,
}

impl Segment {
    fn lost(&self, key: i64) -> bool {
        !self.deleted.is_empty() && self.deleted.binary_search(&key).is_ok()
    }
}

/// The rows of the words of one question, read from the pages of their segments.
#[derive(Debug)]
pub struct Postings {
    weights: Vec<f64>,
    segments: Vec<Segment>,
    lists: Vec<List>,
    /// Of a phrase that is being read: the rows where it may stand, and how many of its stems were read.
    starts: Vec<Starts>,
    parts: u32,
    /// By word, how many rows hold it.
    counts: Vec<u64>,
    entries: Vec<Entry>,
}

/// A page that is none of FTS5's, or of a format that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl Postings {
    /// Without words yet.
    ///
    /// `weights` are those of the columns.
    pub fn new(weights: Vec<f64>) -> Self {
        Self {
            weights,
            segments: Vec::new(),
            lists: Vec::new(),
            starts: Vec::new(),
            parts: 0,
            counts: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Adds a segment: its newest flush, and its pages of deleted rows.
    ///
    /// # Errors
    ///
    /// Such a page cannot be read.
    pub fn segment(&mut self, newest: u32, deleted: &[&[u8]]) -> Result<(), Unreadable> {
        let deleted = pages::deleted(deleted).ok_or(Unreadable)?;
        self.segments.push(Segment { newest, deleted });
        Ok(())
    }

    /// Begins a word with the leaf of each segment that its term would stand in; gives the segments where it goes on.
    ///
    /// # Errors
    ///
    /// A page cannot be read.
    pub fn begin(&mut self, term: &[u8], leaves: &[&[u8]]) -> Result<Vec<usize>, Unreadable> {
        let lists: Option<Vec<List>> = leaves.iter().map(|page| List::begin(page, term)).collect();
        self.lists = lists.ok_or(Unreadable)?;
        let open = self.lists.iter().enumerate().filter(|(_, list)| list.is_open);
        Ok(open.map(|(number, _)| number).collect())
    }

    /// Adds the next page to a list; whether it goes on still.
    ///
    /// # Errors
    ///
    /// The page cannot be read.
    pub fn extend(&mut self, segment: usize, page: &[u8]) -> Result<bool, Unreadable> {
        let list = self.lists.get_mut(segment).ok_or(Unreadable)?;
        list.extend(page).ok_or(Unreadable)?;
        Ok(list.is_open)
    }

    /// Takes the lists as those of a stem of the next word: the one at this place of a phrase, 0 for a word of one stem.
    ///
    /// # Errors
    ///
    /// An entry cannot be read.
    pub fn part(&mut self, place: u32) -> Result<(), Unreadable> {
        let among = std::mem::take(&mut self.starts);
        for (list, segment) in std::mem::take(&mut self.lists).iter().zip(&self.segments) {
            let held = (self.parts > 0).then_some(&among[..]);
            phrase::read(list, segment, place, held, &mut self.starts).ok_or(Unreadable)?;
        }
        self.starts.sort_by_key(|row| row.key);
        self.parts += 1;
        Ok(())
    }

    /// Ends a phrase whose stems were all taken; gives how many rows hold it.
    ///
    /// # Errors
    ///
    /// There are more words than can be.
    pub fn phrase(&mut self) -> Result<u64, Unreadable> {
        self.parts = 0;
        let word = self.word()?;
        let starts = std::mem::take(&mut self.starts);
        let found: Vec<Entry> = starts.iter().map(|row| row.entry(word, &self.weights)).collect();
        Ok(self.take(found))
    }

    /// Takes the lists as those of the next word; gives how many rows hold it.
    ///
    /// # Errors
    ///
    /// An entry cannot be read.
    pub fn end(&mut self) -> Result<u64, Unreadable> {
        let word = self.word()?;
        let mut found = Vec::new();
        for (list, segment) in std::mem::take(&mut self.lists).iter().zip(&self.segments) {
            self.read(list, segment, word, &mut found).ok_or(Unreadable)?;
        }
        Ok(self.take(found))
    }

    fn word(&self) -> Result<u32, Unreadable> {
        u32::try_from(self.counts.len()).map_err(|_| Unreadable)
    }

    /// The entries of a list.
    fn read(&self, list: &List, segment: &Segment, word: u32, found: &mut Vec<Entry>) -> Option<()> {
        let mut entries = Entries::of(list);
        while let Some((key, positions)) = entries.following().ok()? {
            if segment.lost(key) {
                continue;
            }
            let mut often = 0.0;
            pages::each(positions, |column, _| often += weight(&self.weights, column))?;
            found.push(Entry {
                key,
                often,
                word,
                newest: segment.newest,
            });
        }
        Some(())
    }

    /// Puts the entries of a word among those of the words before, by key and word; gives how many they are.
    fn take(&mut self, mut found: Vec<Entry>) -> u64 {
        let count = found.len() as u64;
        self.counts.push(count);
        self.entries.append(&mut found);
        self.entries.sort_by_key(|entry| (entry.key, entry.word));
        count
    }

    /// Leaves only these rows, given ascending.
    pub fn keep(&mut self, keys: &[i64]) {
        let mut keys = keys.iter().peekable();
        self.entries.retain(|entry| {
            while keys.next_if(|key| **key < entry.key).is_some() {}
            keys.peek() == Some(&&entry.key)
        });
    }

    fn by_row(&self) -> impl Iterator<Item = &[Entry]> {
        self.entries.chunk_by(|one, other| one.key == other.key)
    }

    /// The rows whose length is not known, ascending.
    pub fn missing(&self, lengths: &Lengths) -> Vec<i64> {
        let firsts = self.by_row().filter_map(<[Entry]>::first);
        let unknown = firsts.filter(|entry| lengths.get(entry.key, entry.newest).is_none());
        unknown.map(|entry| entry.key).collect()
    }

    /// The best rows with their bm25, larger is better, of equal ones the larger key first.
    ///
    /// `total` are the rows of the index and `tokens` theirs.
    ///
    /// # Errors
    ///
    /// The length of a row is not known.
    pub fn best(
        &self,
        lengths: &Lengths,
        total: u64,
        tokens: u64,
        most: usize,
    ) -> Result<Vec<(i64, f64)>, Unreadable> {
        let mean = tokens as f64 / total as f64;
        let worth: Vec<f64> = self.counts.iter().map(|&count| idf(count, total)).collect();
        let mut top: BinaryHeap<Worst> = BinaryHeap::new();
        for row in self.by_row() {
            let Some(first) = row.first() else { continue };
            let length = lengths.get(first.key, first.newest).ok_or(Unreadable)?;
            let damping = K1 * (1.0 - B + B * f64::from(length) / mean);
            let mut score = 0.0;
            for entry in row {
                let value = worth.get(entry.word as usize).copied().unwrap_or_default();
                score += value * ((entry.often * (K1 + 1.0)) / (entry.often + damping));
            }
            let offered = Worst {
                score,
                key: first.key,
            };
            if top.len() < most {
                top.push(offered);
            } else if top.peek().is_some_and(|worst| offered < *worst) {
                top.pop();
                top.push(offered);
            }
        }
        let best = top.into_sorted_vec().into_iter();
        Ok(best.map(|row| (row.key, row.score)).collect())
    }
}

/// The whole numbers of a JSON list, ascending and each once; `None` where it is something else.
pub fn ascending(list: &str) -> Option<Vec<i64>> {
    let inner = list.strip_prefix('[')?.strip_suffix(']')?;
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let keys: Result<Vec<i64>, _> = inner.split(',').map(str::parse).collect();
    let mut keys = keys.ok()?;
    keys.sort_unstable();
    keys.dedup();
    Some(keys)
}

fn weight(weights: &[f64], column: u32) -> f64 {
    weights.get(column as usize).copied().unwrap_or(1.0)
}

/// The inverse document frequency as FTS5 computes it.
fn idf(count: u64, total: u64) -> f64 {
    let value = ((total as f64 - count as f64 + 0.5) / (count as f64 + 0.5)).ln();
    if value <= 0.0 { 1e-6 } else { value }
}

/// A row with its score; the worse one is larger.
#[derive(Debug, PartialEq)]
struct Worst {
    score: f64,
    key: i64,
}

impl Eq for Worst {}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(other.key.cmp(&self.key))
    }
}
