//! The order inside one lane: the least key first.
//!
//! A binary heap over a million items waits for main memory at every level. So the heap here only
//! holds newcomers, few enough for the processor's first cache. When it is full it is sorted into a
//! run, the least key at its end, and runs of like length are merged, each pass a walk from front to
//! back. A pop takes the least of the heap's top and the runs' ends, which stay in the cache; there
//! are at most log2 n runs. Push and pop are O(log n) amortised; a push may now and then merge all.
//! (P. Sanders, *Fast Priority Queues for Cached Memory*, 2000, in the plain form of Bentley and
//! Saxe's logarithmic method, 1980.)
//!
//! For shedding, an item can also leave by its key or from the far end. In a run it then leaves a gap:
//! its key without its payload. A gap at the near end goes at once, so that a pop never meets one; the
//! others go with the next merge, or when they are as many as the items.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Newcomers that the small heap holds: 24 bytes each, about half of a first-level cache.
const RECENT_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// Payloads under unique keys.
#[derive(Debug)]
pub(crate) struct Heap<K, T> {
    recent: BinaryHeap<Item<K, T>>,
    /// None empty, and when added each at least twice as long as the next.
    runs: Vec<Run<K, T>>,
    len: usize,
    gaps: usize,
}

/// Ascending in the order of [`Item`], thus with the least key at the end, which is no gap.
#[derive(Debug)]
struct Run<K, T> {
    items: Vec<Item<K, T>>,
    /// All before this one are gaps.
    front: usize,
}

impl<K: Ord + Copy, T> Run<K, T> {
    fn last(&self) -> Option<&Item<K, T>> {
        self.items.last()
    }

    /// Drops the gaps at the near end, and says how many.
    fn trim(&mut self) -> usize {
        let before = self.items.len();
        while self.last().is_some_and(|item| item.payload.is_none()) {
            self.items.pop();
        }
        before - self.items.len()
    }

    /// The place of the greatest key.
    fn greatest(&mut self) -> Option<(K, usize)> {
        let mut items = self.items.iter().enumerate().skip(self.front);
        let (index, item) = items.find(|(_, item)| item.payload.is_some())?;
        self.front = index;
        Some((item.key, index))
    }

    fn place_of(&self, key: K) -> Option<usize> {
        self.items.binary_search_by(|item| key.cmp(&item.key)).ok()
    }
}

#[derive(Debug)]
struct Item<K, T> {
    key: K,
    /// None for a gap, of which there are none among the newcomers.
    payload: Option<T>,
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
            gaps: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, key: K, payload: T) {
        self.len += 1;
        self.recent.push(Item {
            key,
            payload: Some(payload),
        });
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
            let items = pairs.map(|(key, payload)| Item {
                key,
                payload: Some(payload),
            });
            self.add_run(items.collect());
        }
    }

    /// Adds a run, and merges until each is at least twice as long as the next.
    fn add_run(&mut self, mut run: Vec<Item<K, T>>) {
        run.sort_unstable();
        while let Some(mut longer) = self.runs.pop() {
            if longer.items.len() >= 2 * run.len() {
                self.runs.push(longer);
                break;
            }
            longer.items.append(&mut run);
            run = longer.items;
            if self.gaps > 0 {
                let before = run.len();
                run.retain(|item| item.payload.is_some());
                self.gaps -= before - run.len();
            }
            // The standard stable sort finds the two runs and merges them.
            run.sort();
        }
        self.runs.push(Run { items: run, front: 0 });
    }

    pub(crate) fn least_key(&self) -> Option<K> {
        let tails = self.runs.iter().filter_map(|run| run.last());
        let least = tails.chain(self.recent.peek()).max();
        least.map(|item| item.key)
    }

    pub(crate) fn pop(&mut self) -> Option<(K, T)> {
        let tails = self.runs.iter().enumerate();
        let least = tails
            .filter_map(|(index, run)| run.last().map(|item| (item, index)))
            .max();
        let popped = match (least, self.recent.peek()) {
            (Some((tail, index)), recent) if recent.is_none_or(|item| item < tail) => {
                let popped = self.runs.get_mut(index)?.items.pop();
                self.settle(index);
                popped
            }
            _ => self.recent.pop(),
        }?;
        self.len -= 1;
        popped.payload.map(|payload| (popped.key, payload))
    }

    /// Removes the greatest key; O(log n) and a look at each newcomer.
    pub(crate) fn pop_greatest(&mut self) -> Option<(K, T)> {
        let key = self.greatest_key()?;
        self.remove(key).map(|payload| (key, payload))
    }

    pub(crate) fn greatest_key(&mut self) -> Option<K> {
        let fronts = self.runs.iter_mut().filter_map(Run::greatest);
        let recent = self.recent.iter().map(|item| item.key);
        fronts.map(|(key, _)| key).chain(recent).max()
    }

    /// Removes one key; O(log² n) and a look at each newcomer, amortised.
    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let payload = self.remove_settled(key).or_else(|| self.remove_recent(key))?;
        self.len -= 1;
        if self.gaps > self.len + RECENT_MAX {
            for run in &mut self.runs {
                run.items.retain(|item| item.payload.is_some());
                run.front = 0;
            }
            self.gaps = 0;
        }
        Some(payload)
    }

    fn remove_settled(&mut self, key: K) -> Option<T> {
        for index in 0..self.runs.len() {
            let run = self.runs.get_mut(index)?;
            if let Some(item) = run.place_of(key).and_then(|place| run.items.get_mut(place)) {
                let payload = item.payload.take()?;
                self.gaps += 1;
                self.settle(index);
                return Some(payload);
            }
        }
        None
    }

    fn remove_recent(&mut self, key: K) -> Option<T> {
        let mut recent = std::mem::take(&mut self.recent).into_vec();
        let place = recent.iter().position(|item| item.key == key);
        let removed = place.map(|place| recent.swap_remove(place));
        self.recent = recent.into();
        removed?.payload
    }

    /// Makes a run end with an item again, or removes it.
    fn settle(&mut self, index: usize) {
        if let Some(run) = self.runs.get_mut(index) {
            self.gaps -= run.trim();
            if run.items.is_empty() {
                self.runs.remove(index);
            }
        }
    }

    /// Every payload, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pairs().map(|(_, payload)| payload)
    }

    /// Every key with its payload, in no particular order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (K, &T)> {
        let settled = self.runs.iter().flat_map(|run| &run.items);
        let items = settled.chain(self.recent.iter());
        items.filter_map(|item| item.payload.as_ref().map(|payload| (item.key, payload)))
    }

    pub(crate) fn into_payloads(self) -> impl Iterator<Item = T> {
        let settled = self.runs.into_iter().flat_map(|run| run.items);
        settled.chain(self.recent).filter_map(|item| item.payload)
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
        for step in 0..1_000_000 {
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
                    assert_eq!(heap.pop(), twin.pop_first());
                }
            }
            if (step / 20_000) % 3 == 1 {
                // A time of shedding: the far end, and keys that are there or are not.
                assert_eq!(heap.greatest_key(), twin.last_key_value().map(|(key, _)| *key));
                assert_eq!(heap.pop_greatest(), twin.pop_last());
                let wanted = (rng.i64(-9..9), number.saturating_sub(rng.u64(0..90)));
                let known = twin.range(wanted..).next().map_or(wanted, |(key, _)| *key);
                assert_eq!(heap.remove(known), twin.remove(&known));
                assert_eq!(heap.remove((wanted.0, u64::MAX)), None);
            }
            assert_eq!(heap.len(), twin.len());
            assert!(heap.gaps <= heap.len() + super::RECENT_MAX);
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
