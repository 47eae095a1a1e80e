//! The best of many: by score exactly, or by bit distance with room for ties.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A key and how well it fits. The better one is larger; of equal ones the larger key, which is the newer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Cosine with the query.
    pub score: f32,
    /// The row's key.
    pub key: i64,
}

impl Eq for Hit {}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(self.key.cmp(&other.key))
    }
}

/// Keeps the `k` best hits.
#[derive(Debug)]
pub(super) struct Top {
    k: usize,
    worst_first: BinaryHeap<Reverse<Hit>>,
}

impl Top {
    pub(super) fn new(k: usize) -> Self {
        Self {
            k,
            worst_first: BinaryHeap::new(),
        }
    }

    /// A score below this one changes nothing.
    pub(super) fn floor(&self) -> f32 {
        if self.worst_first.len() < self.k {
            return f32::NEG_INFINITY;
        }
        self.worst_first
            .peek()
            .map_or(f32::INFINITY, |worst| worst.0.score)
    }

    /// Takes a hit that is good enough and for which `is_allowed` says so, in this order.
    pub(super) fn offer(&mut self, hit: Hit, is_allowed: impl FnOnce() -> bool) {
        if self.worst_first.len() < self.k {
            if is_allowed() {
                self.worst_first.push(Reverse(hit));
            }
            return;
        }
        if let Some(mut worst) = self.worst_first.peek_mut()
            && hit > worst.0
            && is_allowed()
        {
            *worst = Reverse(hit);
        }
    }

    /// Best first.
    pub(super) fn into_hits(self) -> Vec<Hit> {
        let sorted = self.worst_first.into_sorted_vec();
        sorted.into_iter().map(|Reverse(hit)| hit).collect()
    }
}

/// Keeps at least the `wanted` rows with the least distances, and all that are as near as the last of them.
#[derive(Debug)]
pub(super) struct Nearest {
    wanted: usize,
    limit: u32,
    /// Rows kept by distance, and how many of them are within the limit.
    counts: Vec<usize>,
    within: usize,
    found: Vec<(u32, u32)>,
}

impl Nearest {
    pub(super) fn new(wanted: usize, distance_max: u32) -> Self {
        Self {
            wanted,
            limit: distance_max,
            counts: vec![0; distance_max as usize + 1],
            within: 0,
            found: Vec::with_capacity(4 * wanted),
        }
    }

    /// A distance above this one changes nothing.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn offer(&mut self, distance: u32, row: u32) {
        let Some(count) = self.counts.get_mut(distance as usize) else {
            return;
        };
        if distance > self.limit {
            return;
        }
        *count += 1;
        self.within += 1;
        self.found.push((distance, row));
        while let Some(farthest) = self.counts.get(self.limit as usize)
            && self.limit > 0
            && self.within - farthest >= self.wanted
        {
            self.within -= farthest;
            self.limit -= 1;
        }
    }

    /// The rows kept, in ascending order.
    pub(super) fn into_rows(self) -> Vec<u32> {
        let within = self
            .found
            .into_iter()
            .filter(|(distance, _)| *distance <= self.limit);
        let mut rows: Vec<u32> = within.map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::{Hit, Nearest, Top};

    #[test]
    fn the_best_hits_come_first_and_newer_keys_win_ties() {
        let mut random = fastrand::Rng::with_seed(4);
        for k in [0, 1, 3, 50] {
            let mut all: Vec<Hit> = (0..40)
                .map(|key| Hit {
                    score: f32::from(random.u8(..9)) - 4.0,
                    key,
                })
                .collect();
            let mut top = Top::new(k);
            for hit in &all {
                assert!(hit.score >= top.floor() || top.worst_first.len() == k);
                top.offer(*hit, || hit.key % 2 == 0);
            }
            all.retain(|hit| hit.key % 2 == 0);
            all.sort_by(|one, other| other.cmp(one));
            all.truncate(k);
            assert_eq!(top.into_hits(), all);
        }
    }

    #[test]
    fn the_nearest_rows_are_kept_with_their_ties() {
        let mut random = fastrand::Rng::with_seed(5);
        for wanted in [1, 5, 30, 500] {
            let all: Vec<u32> = (0..200).map(|_| random.u32(..=64)).collect();
            let mut nearest = Nearest::new(wanted, 64);
            for (row, distance) in (0..).zip(&all) {
                nearest.offer(*distance, row);
            }
            let mut sorted = all.clone();
            sorted.sort_unstable();
            let last = sorted[wanted.min(all.len()) - 1];
            let expected: Vec<u32> = (0..)
                .zip(&all)
                .filter(|(_, d)| **d <= last)
                .map(|(row, _)| row)
                .collect();
            assert_eq!(nearest.into_rows(), expected);
        }
    }
}
