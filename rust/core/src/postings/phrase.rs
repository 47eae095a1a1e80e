//! Where the stems of a phrase stand side by side.

use super::pages::{self, Entries, List};
use super::{Entry, Segment, weight};

/// A row and the places, column and token, where a phrase begins as far as its stems were read.
#[derive(Debug)]
pub(super) struct Starts {
    pub(super) key: i64,
    newest: u32,
    places: Vec<(u32, u32)>,
}

impl Starts {
    /// The phrase as a word of the row.
    pub(super) fn entry(&self, word: u32, weights: &[f64]) -> Entry {
        let mut often = 0.0;
        for &(column, _) in &self.places {
            often += weight(weights, column);
        }
        Entry {
            key: self.key,
            often,
            word,
            newest: self.newest,
        }
    }
}

/// Reads the list of the stem at a place of a phrase: the rows where it may stand, of those `held` from the stems before.
pub(super) fn read(
    list: &List,
    segment: &Segment,
    place: u32,
    held: Option<&[Starts]>,
    found: &mut Vec<Starts>,
) -> Option<()> {
    let mut at = 0;
    let mut entries = Entries::of(list);
    while let Some((key, positions)) = entries.following().ok()? {
        if segment.lost(key) {
            continue;
        }
        let mut before: Option<&[(u32, u32)]> = None;
        if let Some(held) = held {
            while held.get(at).is_some_and(|row| row.key < key) {
                at += 1;
            }
            match held.get(at) {
                Some(row) if row.key == key => before = Some(&row.places),
                _ => continue,
            }
        }
        let mut places = Vec::new();
        pages::each(positions, |column, token| {
            if let Some(start) = token.checked_sub(place)
                && before.is_none_or(|before| before.binary_search(&(column, start)).is_ok())
            {
                places.push((column, start));
            }
        })?;
        if !places.is_empty() {
            found.push(Starts {
                key,
                newest: segment.newest,
                places,
            });
        }
    }
    Some(())
}
