//! The order inside one lane: the least key first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A min-heap of payloads under unique keys.
#[derive(Debug)]
pub(crate) struct Heap<K, T> {
    items: BinaryHeap<Item<K, T>>,
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
            items: BinaryHeap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn push(&mut self, key: K, payload: T) {
        self.items.push(Item { key, payload });
    }

    pub(crate) fn extend(&mut self, pairs: impl Iterator<Item = (K, T)>) {
        self.items
            .extend(pairs.map(|(key, payload)| Item { key, payload }));
    }

    pub(crate) fn least_key(&self) -> Option<K> {
        self.items.peek().map(|item| item.key)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.items.pop().map(|item| item.payload)
    }

    /// Every payload, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().map(|item| &item.payload)
    }

    pub(crate) fn into_payloads(self) -> impl Iterator<Item = T> {
        self.items.into_iter().map(|item| item.payload)
    }
}
