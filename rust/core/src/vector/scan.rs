//! The searches. Rows are taken in chunks that fit the first cache beside the query; a chunk whose best row is
//! below the k-th best so far costs one comparison.

use super::costs::{Way, rescored};
use super::kernel::Line;
use super::quantise::Query;
use super::rows::{Block, Matrix, at};
use super::top::{Hit, Nearest, Top};
use crate::CoreError;

/// Rows of a chunk; a block holds whole chunks.
const CHUNK: usize = 64;
const CHUNK_ROWS: u32 = 64;
/// Scattered rows that are looked up before they are read, so that reads overlap.
const BATCH: usize = 256;

/// The best hits, best first, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// At most `k`.
    pub hits: Vec<Hit>,
    /// The way that was taken.
    pub way: Way,
}

/// The keys to search among, ascending; all where there are none.
#[derive(Debug, Clone, Copy)]
struct Among<'a> {
    keys: Option<&'a [i64]>,
    /// Where the last key that was asked for stands, or would: rows mostly lie in the order of their keys, so
    /// the next one is near.
    place: usize,
}

impl Among<'_> {
    fn has(&mut self, key: i64) -> bool {
        let Some(keys) = self.keys else {
            return true;
        };
        let mut start = self.place;
        if keys.get(start).is_none_or(|here| *here > key) {
            start = 0;
        }
        let mut step = 1;
        while keys.get(start + step).is_some_and(|there| *there < key) {
            start += step;
            step *= 2;
        }
        let end = (start + step + 1).min(keys.len());
        let near = keys.get(start..end).unwrap_or_default();
        self.place = start + near.partition_point(|there| *there < key);
        keys.get(self.place) == Some(&key)
    }
}

impl Matrix {
    /// The `k` rows that point most nearly where the query does.
    ///
    /// # Arguments
    /// - `query`: `dim` values of any length;
    /// - `keys`: searched are only these rows; keys without a row are passed over. Ascending ones are quicker;
    /// - `way`: how; `None` for the cheapest. A way over keys, without keys, is the one over all rows.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if the query has another length, or a value is infinite or not a number.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        keys: Option<&[i64]>,
        way: Option<Way>,
    ) -> Result<Found, CoreError> {
        let query = Query::new(query, self.dim())?;
        let k = k.min(self.len());
        let sorted;
        let keys = match keys {
            Some(keys) if !keys.is_sorted_by(|one, next| one < next) => {
                let mut own = keys.to_vec();
                own.sort_unstable();
                own.dedup();
                sorted = own;
                Some(&sorted[..])
            }
            keys => keys,
        };
        let among = Among { keys, place: 0 };
        let way = way.unwrap_or_else(|| self.costs.choose(self.len(), keys.map(<[i64]>::len), k));
        let matching = keys.map_or(self.len(), <[i64]>::len);
        let mut top = Top::new(k);
        let way = match (way, keys) {
            _ if k == 0 => way,
            (Way::Ids, Some(keys)) => {
                self.score(&query, keys.iter().filter_map(|key| self.map.get(*key)), &mut top);
                way
            }
            (Way::BitIds, Some(keys)) => {
                let rows = self.nearest_of(&query, keys, rescored(k, matching));
                self.score(&query, rows.into_iter(), &mut top);
                way
            }
            (Way::Bits | Way::BitIds, _) => {
                let rows = self.nearest(&query, among, rescored(k, matching));
                self.score(&query, rows.into_iter(), &mut top);
                Way::Bits
            }
            (Way::Scan | Way::Ids, _) => {
                self.scan(&query, among, &mut top);
                Way::Scan
            }
        };
        let mut hits = top.into_hits();
        for hit in &mut hits {
            hit.score *= query.inverse_norm;
        }
        Ok(Found { hits, way })
    }

    /// Scores every row in order. Scores lack the query's own length until the end.
    fn scan(&self, query: &Query, mut among: Among<'_>, top: &mut Top) {
        let (mut dots, mut scores) = ([0; CHUNK], [0.0; CHUNK]);
        for block in &self.blocks {
            let keys = block.keys.chunks(CHUNK);
            let norms = block.inverse_norms.chunks(CHUNK);
            for ((keys, norms), lines) in keys.zip(norms).zip(block.lines.chunks(CHUNK * self.width)) {
                self.kernel.dots(&query.lines, lines, &mut dots);
                if scale(&dots, norms, &mut scores) < top.floor() {
                    continue;
                }
                for (key, score) in keys.iter().zip(scores) {
                    top.offer(Hit { score, key: *key }, || among.has(*key));
                }
            }
        }
    }

    /// Scores the rows given.
    fn score(&self, query: &Query, rows: impl Iterator<Item = u32>, top: &mut Top) {
        let mut rows = rows.fuse();
        let mut numbers = Vec::with_capacity(BATCH);
        let mut parts: Vec<&[Line]> = Vec::with_capacity(BATCH);
        let mut norms = Vec::with_capacity(BATCH);
        let (mut dots, mut scores) = ([0; BATCH], [0.0; BATCH]);
        loop {
            numbers.clear();
            numbers.extend(rows.by_ref().take(BATCH));
            if numbers.is_empty() {
                return;
            }
            parts.clear();
            parts.extend(numbers.iter().map(|row| self.lines_of(*row)));
            norms.clear();
            norms.extend(numbers.iter().map(|row| self.inverse_norm_of(*row)));
            self.kernel.dots_of(&query.lines, &parts, &mut dots);
            if scale(&dots, &norms, &mut scores) < top.floor() {
                continue;
            }
            for (row, score) in numbers.iter().zip(scores) {
                if score >= top.floor() {
                    let key = self.key_of(*row);
                    top.offer(Hit { score, key }, || true);
                }
            }
        }
    }

    /// Rows whose signs are nearest to the query's, of all that the filter allows.
    fn nearest(&self, query: &Query, mut among: Among<'_>, wanted: usize) -> Vec<u32> {
        let mut nearest = Nearest::new(wanted, self.distance_max());
        let mut far = [0; CHUNK];
        let mut first = 0;
        for block in &self.blocks {
            for (keys, bits) in block
                .keys
                .chunks(CHUNK)
                .zip(block.bits.chunks(CHUNK * self.width))
            {
                self.kernel.distances(&query.bits, bits, &mut far);
                let least = far
                    .iter()
                    .take(keys.len())
                    .fold(u32::MAX, |least, far| least.min(*far));
                if least <= nearest.limit() {
                    for ((row, key), far) in (first..).zip(keys).zip(far) {
                        if far <= nearest.limit() && among.has(*key) {
                            nearest.offer(far, row);
                        }
                    }
                }
                first += CHUNK_ROWS;
            }
        }
        nearest.into_rows()
    }

    /// Rows whose signs are nearest to the query's, of those with the keys given.
    fn nearest_of(&self, query: &Query, keys: &[i64], wanted: usize) -> Vec<u32> {
        let mut nearest = Nearest::new(wanted, self.distance_max());
        let mut numbers = Vec::with_capacity(BATCH);
        let mut parts: Vec<&[u64]> = Vec::with_capacity(BATCH);
        let mut far = [0; BATCH];
        for keys in keys.chunks(BATCH) {
            numbers.clear();
            numbers.extend(keys.iter().filter_map(|key| self.map.get(*key)));
            parts.clear();
            parts.extend(numbers.iter().map(|row| self.bits_of(*row)));
            self.kernel.distances_of(&query.bits, &parts, &mut far);
            for (row, far) in numbers.iter().zip(far) {
                nearest.offer(far, *row);
            }
        }
        nearest.into_rows()
    }

    fn distance_max(&self) -> u32 {
        u64::BITS * u32::try_from(self.width).unwrap_or_default()
    }

    fn lines_of(&self, row: u32) -> &[Line] {
        let (block, start) = self.start(row);
        block
            .and_then(|block| block.lines.get(start..start + self.width))
            .unwrap_or_default()
    }

    fn bits_of(&self, row: u32) -> &[u64] {
        let (block, start) = self.start(row);
        block
            .and_then(|block| block.bits.get(start..start + self.width))
            .unwrap_or_default()
    }

    fn inverse_norm_of(&self, row: u32) -> f32 {
        let (block, place) = at(row);
        let norm = self
            .blocks
            .get(block)
            .and_then(|block| block.inverse_norms.get(place));
        norm.copied().unwrap_or_default()
    }

    fn key_of(&self, row: u32) -> i64 {
        let (block, place) = at(row);
        let key = self.blocks.get(block).and_then(|block| block.keys.get(place));
        key.copied().unwrap_or_default()
    }

    fn start(&self, row: u32) -> (Option<&Block>, usize) {
        let (block, place) = at(row);
        (self.blocks.get(block), place * self.width)
    }
}

/// Products over the rows' lengths; returns the largest.
fn scale(dots: &[i32], inverse_norms: &[f32], scores: &mut [f32]) -> f32 {
    let mut best = f32::NEG_INFINITY;
    for ((score, dot), norm) in scores.iter_mut().zip(dots).zip(inverse_norms) {
        *score = *dot as f32 * norm;
        best = if *score > best { *score } else { best };
    }
    best
}

#[cfg(test)]
mod tests {
    use super::Among;

    #[test]
    fn a_key_is_found_wherever_the_last_one_was() {
        let mut random = fastrand::Rng::with_seed(7);
        for len in [0, 1, 2, 3, 40, 200] {
            let mut keys: Vec<i64> = (0..len).map(|_| random.i64(-100..100)).collect();
            keys.sort_unstable();
            keys.dedup();
            let mut among = Among {
                keys: Some(&keys),
                place: 0,
            };
            for turn in 0..600 {
                let key = if turn < 220 {
                    turn - 110
                } else {
                    random.i64(-110..110)
                };
                assert_eq!(among.has(key), keys.contains(&key), "{key} in {keys:?}");
            }
        }
        assert!(Among { keys: None, place: 0 }.has(5));
    }
}
