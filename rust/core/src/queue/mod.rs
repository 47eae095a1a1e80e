//! A priority queue with lanes, delayed items and bulk calls.
//!
//! The lowest priority value leaves first, and equals leave in the order they came: each item gets
//! a number when it is pushed, and the key is `(priority, number)`, which no two items share. One
//! heap per lane holds what is ready. An item with a due time waits in a second heap of its lane,
//! ordered by that time; nothing moves between the two, so that time passing costs nothing.
//!
//! Push and pop are O(log n) amortised. Lanes are kinds of work, few: a call that names none looks at the
//! head of each.

mod heap;

use std::collections::VecDeque;

use crate::CoreError;
use heap::Heap;

/// Lanes beyond this many are forgotten when they fall empty.
const IDLE_LANES_MAX: usize = 16;

/// How many of the recorded arrivals may be gone, beside as many as there are items.
const ARRIVALS_GONE_MAX: usize = 1024;

/// The order of ready items: priority, then number.
type ReadyKey = (i64, u64);
/// The order of delayed items: due time in milliseconds, then priority, then number.
type DelayedKey = (u64, i64, u64);

#[derive(Debug)]
struct Lane<T> {
    name: String,
    ready: Heap<ReadyKey, T>,
    delayed: Heap<DelayedKey, T>,
}

impl<T> Lane<T> {
    /// Compares empty names by length alone: comparing no bytes at a dangling address makes the
    /// masked loads of AVX-512 `memcmp` take an assist, a sixth of the time of a push.
    fn is_named(&self, name: &str) -> bool {
        self.name.len() == name.len() && (name.is_empty() || self.name == name)
    }

    fn len(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }
}

/// What was counted since the queue was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Items accepted.
    pub pushed: u64,
    /// Items given out.
    pub popped: u64,
    /// Items that made room for others.
    pub shed: u64,
    /// Items not accepted for want of room.
    pub refused: u64,
    /// The most items there ever were.
    pub peak: usize,
}

/// Which items make room for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// Those that would leave last: of the highest priority value, of these the latest.
    Last,
    /// Those that came first.
    Oldest,
}

/// A refused call, with what it brought, for the caller to drop.
#[derive(Debug)]
pub struct Refused<P> {
    /// Why.
    pub error: CoreError,
    /// What was offered, untouched.
    pub payload: P,
}

/// A bounded priority queue; see the [module](self) for its order.
#[derive(Debug)]
pub struct Queue<T> {
    lanes: Vec<Lane<T>>,
    capacity: Option<usize>,
    len: usize,
    next_number: u64,
    stats: QueueStats,
    /// The keys of ready items in the order they came, some already gone; kept from the first call
    /// that sheds the oldest.
    arrivals: Option<VecDeque<ReadyKey>>,
}

impl<T> Queue<T> {
    /// An empty queue that holds at most `capacity` items.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if `capacity` is 0.
    pub fn new(capacity: Option<usize>) -> Result<Self, CoreError> {
        if capacity == Some(0) {
            return Err(CoreError::invalid("capacity", "must be at least 1, or None"));
        }
        Ok(Self {
            lanes: Vec::new(),
            capacity,
            len: 0,
            next_number: 0,
            stats: QueueStats::default(),
            arrivals: None,
        })
    }

    /// Adds an item; with `due_ms` above 0 it is delayed until that time.
    ///
    /// # Errors
    /// [`CoreError::QueueFull`], with the item.
    pub fn push(&mut self, item: T, priority: i64, lane: &str, due_ms: u64) -> Result<(), Refused<T>> {
        if let Err(error) = self.accept(1) {
            return Err(Refused { error, payload: item });
        }
        let number = self.next_number;
        self.next_number += 1;
        if let (0, Some(arrivals)) = (due_ms, &mut self.arrivals) {
            arrivals.push_back((priority, number));
        }
        let lane = self.lane_mut(lane);
        if due_ms == 0 {
            lane.ready.push((priority, number), item);
        } else {
            lane.delayed.push((due_ms, priority, number), item);
        }
        Ok(())
    }

    /// Adds ready items in this order, all or none; returns the number of the first, each further
    /// one's being one more.
    ///
    /// # Errors
    /// [`CoreError::QueueFull`], with the items.
    pub fn push_many(&mut self, items: Vec<(i64, T)>, lane: &str) -> Result<u64, Refused<Vec<(i64, T)>>> {
        if let Err(error) = self.accept(items.len()) {
            return Err(Refused {
                error,
                payload: items,
            });
        }
        let first = self.next_number;
        self.next_number += items.len() as u64;
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.extend((first..).zip(&items).map(|(number, item)| (item.0, number)));
        }
        let mut number = first;
        let keyed = items.into_iter().map(|(priority, item)| {
            number += 1;
            ((priority, number - 1), item)
        });
        self.lane_mut(lane).ready.extend(keyed);
        Ok(first)
    }

    fn accept(&mut self, count: usize) -> Result<(), CoreError> {
        match self.capacity {
            Some(capacity) if count > capacity - self.len => {
                self.stats.refused += count as u64;
                Err(CoreError::QueueFull {
                    capacity,
                    offered: count,
                })
            }
            _ => {
                self.len += count;
                self.stats.pushed += count as u64;
                self.stats.peak = self.stats.peak.max(self.len);
                Ok(())
            }
        }
    }

    /// Removes the ready item that comes first over all lanes; O(log n + lanes).
    pub fn pop(&mut self) -> Option<T> {
        self.pop_numbered().map(|(_, item)| item)
    }

    /// As [`Queue::pop`], with the item's number.
    fn pop_numbered(&mut self) -> Option<(u64, T)> {
        // With one lane there is nothing to compare, and the heap is searched once.
        let index = if self.lanes.len() == 1 {
            0
        } else {
            self.first_by(|lane| lane.ready.least_key())?
        };
        let ((_, number), item) = self.lanes.get_mut(index)?.ready.pop()?;
        self.on_popped(index);
        Some((number, item))
    }

    /// Removes up to `limit` ready items, of one lane or of all, in order, each with its number.
    pub fn pop_batch(&mut self, limit: usize, lane: Option<&str>) -> Vec<(u64, T)> {
        let mut batch = Vec::with_capacity(limit.min(self.len));
        match lane {
            None => batch.extend((0..limit).map_while(|_| self.pop_numbered())),
            Some(name) => {
                if let Some(index) = self.lanes.iter().position(|lane| lane.is_named(name)) {
                    if let Some(lane) = self.lanes.get_mut(index) {
                        let popped = (0..limit).map_while(|_| lane.ready.pop());
                        batch.extend(popped.map(|((_, number), item)| (number, item)));
                    }
                    self.on_popped_many(index, batch.len());
                }
            }
        }
        batch
    }

    /// The lane of the ready item that comes first, of the lanes that are not `busy`.
    pub fn next_lane(&self, busy: impl Fn(&str) -> bool) -> Option<&str> {
        let index = self.first_by(|lane| lane.ready.least_key().filter(|_| !busy(&lane.name)))?;
        self.lanes.get(index).map(|lane| lane.name.as_str())
    }

    /// Removes up to `limit` ready items so that others have room, each with its number.
    ///
    /// O(log² n) each, amortised; the first call that sheds the oldest sorts all.
    pub fn shed(&mut self, limit: usize, which: Shed) -> Vec<(u64, T)> {
        let mut gone = Vec::new();
        while gone.len() < limit {
            let Some((index, number, item)) = (match which {
                Shed::Last => self.shed_last(),
                Shed::Oldest => self.shed_oldest(),
            }) else {
                break;
            };
            self.on_popped(index);
            gone.push((number, item));
        }
        self.stats.popped -= gone.len() as u64;
        self.stats.shed += gone.len() as u64;
        gone
    }

    fn shed_last(&mut self) -> Option<(usize, u64, T)> {
        let lanes = self.lanes.iter_mut().enumerate();
        let keys = lanes.filter_map(|(index, lane)| lane.ready.greatest_key().map(|key| (key, index)));
        let (_, index) = keys.max()?;
        let ((_, number), item) = self.lanes.get_mut(index)?.ready.pop_greatest()?;
        Some((index, number, item))
    }

    fn shed_oldest(&mut self) -> Option<(usize, u64, T)> {
        let known = self.arrivals.as_ref().map_or(usize::MAX, VecDeque::len);
        if known > 2 * self.len + ARRIVALS_GONE_MAX {
            let pairs = self.lanes.iter().flat_map(|lane| lane.ready.pairs());
            let mut keys: Vec<ReadyKey> = pairs.map(|(key, _)| key).collect();
            keys.sort_unstable_by_key(|(_, number)| *number);
            self.arrivals = Some(keys.into());
        }
        while let Some(key) = self.arrivals.as_mut()?.pop_front() {
            for (index, lane) in self.lanes.iter_mut().enumerate() {
                if let Some(item) = lane.ready.remove(key) {
                    return Some((index, key.1, item));
                }
            }
        }
        None
    }

    /// Removes up to `limit` delayed items whose due time is `now_ms` or before.
    ///
    /// The earliest due come first, then the lowest priority value, then the first pushed.
    pub fn pop_due(&mut self, now_ms: u64, limit: usize, lane: Option<&str>) -> Vec<T> {
        let mut batch = Vec::new();
        while batch.len() < limit {
            let due = |candidate: &Lane<T>| {
                let wanted = lane.is_none_or(|name| candidate.is_named(name));
                let key = candidate.delayed.least_key().filter(|_| wanted);
                key.filter(|(due_ms, _, _)| *due_ms <= now_ms)
            };
            let Some(index) = self.first_by(due) else { break };
            let popped = self.lanes.get_mut(index).and_then(|lane| lane.delayed.pop());
            batch.extend(popped.map(|(_, item)| item));
            self.on_popped(index);
        }
        batch
    }

    /// The earliest due time of any delayed item.
    pub fn next_due_ms(&self) -> Option<u64> {
        let keys = self.lanes.iter().filter_map(|lane| lane.delayed.least_key());
        keys.min().map(|(due_ms, _, _)| due_ms)
    }

    /// Each lane that holds items, with their count, delayed ones included.
    pub fn lanes(&self) -> impl Iterator<Item = (&str, usize)> {
        let lanes = self.lanes.iter().filter(|lane| lane.len() > 0);
        lanes.map(|lane| (lane.name.as_str(), lane.len()))
    }

    /// Removes everything; the caller drops it.
    pub fn clear(&mut self) -> Vec<T> {
        let mut items = Vec::with_capacity(self.len);
        for lane in self.lanes.drain(..) {
            items.extend(lane.ready.into_payloads());
            items.extend(lane.delayed.into_payloads());
        }
        self.len = 0;
        self.arrivals = None;
        items
    }

    /// How many items there are, delayed ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many items are delayed, due or not.
    pub fn delayed(&self) -> usize {
        self.lanes.iter().map(|lane| lane.delayed.len()).sum()
    }

    /// The bound, if there is one.
    pub fn capacity(&self) -> Option<usize> {
        self.capacity
    }

    /// The counters.
    pub fn stats(&self) -> QueueStats {
        self.stats
    }

    /// Every item, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.lanes
            .iter()
            .flat_map(|lane| lane.ready.iter().chain(lane.delayed.iter()))
    }

    fn lane_mut(&mut self, name: &str) -> &mut Lane<T> {
        let index = self.lanes.iter().position(|lane| lane.is_named(name));
        let index = index.unwrap_or_else(|| {
            self.lanes.push(Lane {
                name: name.to_owned(),
                ready: Heap::new(),
                delayed: Heap::new(),
            });
            self.lanes.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed in the lines above")]
        &mut self.lanes[index]
    }

    /// The lane with the least of what `key` gives.
    fn first_by<K: Ord>(&self, key: impl Fn(&Lane<T>) -> Option<K>) -> Option<usize> {
        let keyed = self.lanes.iter().enumerate();
        let heads = keyed.filter_map(|(index, lane)| key(lane).map(|key| (key, index)));
        heads.min().map(|(_, index)| index)
    }

    fn on_popped(&mut self, index: usize) {
        self.on_popped_many(index, 1);
    }

    fn on_popped_many(&mut self, index: usize, count: usize) {
        self.len -= count;
        self.stats.popped += count as u64;
        let crowded = self.lanes.len() > IDLE_LANES_MAX;
        if crowded && self.lanes.get(index).is_some_and(|lane| lane.len() == 0) {
            self.lanes.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests;
