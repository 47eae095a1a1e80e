//! The order inside one lane: the least key first.
//!
//! A binary heap over a million items waits for main memory at every level. So the heap here only
//! holds newcomers, few enough for the processor's first cache. When it is full it is sorted into a
//! run, the least key at its end, and runs of like length are merged, each pass a walk from front to
//! back. A pop takes the least of the heap's top and the runs' ends, which stay in the cache; there
//! are at most log2 n runs. Push and pop are O(log n) amortised; a push may now and then merge all.
//! (P. Sanders, *Fast Priority Queues for Cached Memory*, 2000, in the plain form of Bentley and
//! Saxe's logarithmic method, 1980.)

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Newcomers that the small heap holds: 24 bytes each, about half of a first-level cache.
const RECENT_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// Payloads under unique keys.
#[derive(Debug)]
pub(crate) struct Heap<K, T> {
    recent: BinaryHeap<Item<K, T>>,
    /// Each ascending in the order of [`Item`], thus with the least key at the end; none empty, and
    /// when added each at least twice as long as the next.
    runs: Vec<Vec<Item<K, T>>>,
    len: usize,
}

#[derive(Debug)]
struct Item<K, T> {
    key: K,
    payload: T,
}

impl<K: Ord, T> PartialEq for Item<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<K: Ord, T> Eq for Item<K, T> {}

impl<K: Ord, T> PartialOrd for Item<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> Ord for Item<K, T> {
    /// Reversed, because the standard heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

impl<K: Ord + Copy, T> Heap<K, T> {
    pub(crate) fn new() -> Self {
        Self {
            recent: BinaryHeap::new(),
            runs: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, key: K, payload: T) {
        self.len += 1;
        self.recent.push(Item { key, payload });
        if self.recent.len() >= RECENT_MAX {
            let recent = std::mem::take(&mut self.recent).into_vec();
            self.add_run(recent);
        }
    }

    pub(crate) fn extend(&mut self, pairs: impl ExactSizeIterator<Item = (K, T)>) {
        if pairs.len() < RECENT_MAX {
            pairs.for_each(|(key, payload)| self.push(key, payload));
        } else {
            self.len += pairs.len();
            self.add_run(pairs.map(|(key, payload)| Item { key, payload }).collect());
        }
    }

    /// Adds a run, and merges until each is at least twice as long as the next.
    fn add_run(&mut self, mut run: Vec<Item<K, T>>) {
        run.sort_unstable();
        while let Some(mut longer) = self.runs.pop() {
            if longer.len() >= 2 * run.len() {
                self.runs.push(longer);
                break;
            }
            longer.append(&mut run);
            // The standard stable sort finds the two runs and merges them.
            longer.sort();
            run = longer;
        }
        self.runs.push(run);
    }

    pub(crate) fn least_key(&self) -> Option<K> {
        let tails = self.runs.iter().filter_map(|run| run.last());
        let least = tails.chain(self.recent.peek()).max();
        least.map(|item| item.key)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let tails = self.runs.iter().enumerate();
        let least = tails
            .filter_map(|(index, run)| run.last().map(|item| (item, index)))
            .max();
        let popped = match (least, self.recent.peek()) {
            (Some((tail, index)), recent) if recent.is_none_or(|item| item < tail) => {
                let run = self.runs.get_mut(index)?;
                let popped = run.pop();
                if run.is_empty() {
                    self.runs.remove(index);
                }
                popped
            }
            _ => self.recent.pop(),
        };
        let payload = popped?.payload;
        self.len -= 1;
        Some(payload)
    }

    /// Every payload, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let items = self.runs.iter().flatten().chain(self.recent.iter());
        items.map(|item| &item.payload)
    }

    pub(crate) fn into_payloads(self) -> impl Iterator<Item = T> {
        let items = self.runs.into_iter().flatten().chain(self.recent);
        items.map(|item| item.payload)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Heap;

    #[test]
    fn a_heap_behaves_as_a_sorted_map() {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut heap = Heap::new();
        let mut twin = BTreeMap::new();
        let mut number = 0;
        for step in 0..300_000 {
            // Grows for a while, then shrinks for a while.
            let grows = (step / 5_000) % 2 == 0;
            let count = if rng.u32(0..50) == 0 { rng.u64(0..40) } else { 1 };
            if rng.u32(0..10) < if grows { 7 } else { 3 } {
                let keys: Vec<_> = (number..number + count).map(|n| (rng.i64(-9..9), n)).collect();
                number += count;
                twin.extend(keys.iter().map(|key| (*key, key.1)));
                heap.extend(keys.into_iter().map(|key| (key, key.1)));
            } else {
                for _ in 0..count {
                    assert_eq!(heap.least_key(), twin.first_key_value().map(|(key, _)| *key));
                    assert_eq!(heap.pop(), twin.pop_first().map(|(_, payload)| payload));
                }
            }
            assert_eq!(heap.len(), twin.len());
            assert!(heap.runs.len() <= 1 + heap.len().max(1).ilog2() as usize + 8);
        }
        let mut left: Vec<u64> = heap.iter().copied().collect();
        left.sort_unstable();
        let mut payloads: Vec<u64> = heap.into_payloads().collect();
        payloads.sort_unstable();
        assert_eq!(left, payloads);
        assert_eq!(left.len(), twin.len());
    }
}
