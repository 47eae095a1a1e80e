//! Which entry goes when the cache is full.
//!
//! **LRU** evicts what was used longest ago; a hit moves the entry to the front of one list.
//!
//! **S3-FIFO** (Yang, Zhang, Qiu, Yue, Vigfusson: *FIFO queues are all you need for cache
//! eviction*, SOSP 2023) keeps newcomers in a small queue of a tenth of the room. One that is hit
//! again before it reaches the end moves to the main queue, the others leave, and only their
//! fingerprints stay for a while ([`super::ghost`]): who returns in that time enters the main
//! queue at once. The main queue gives an entry one more round for each hit, up to three. A scan
//! therefore passes through the small queue and leaves the main one alone, and a hit writes one
//! byte instead of moving links.

use super::ghost::Ghost;
use super::list::List;
use super::slab::{Place, Slab, Slot};
use crate::CoreError;

/// The eviction policies, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyName {
    /// `"lru"`: least recently used.
    Lru,
    /// `"s3fifo"`: scan-resistant, and better than LRU where a few keys get most hits.
    S3Fifo,
}

impl std::str::FromStr for PolicyName {
    type Err = CoreError;

    fn from_str(name: &str) -> Result<Self, CoreError> {
        match name {
            "lru" => Ok(Self::Lru),
            "s3fifo" => Ok(Self::S3Fifo),
            _ => Err(CoreError::invalid(
                "policy",
                format!("must be \"lru\" or \"s3fifo\", not {name:?}"),
            )),
        }
    }
}

/// Hits that S3-FIFO counts at most for one entry.
const FREQUENCY_MAX: u8 = 3;
/// Hits in the small queue that earn a place in the main one.
const PROMOTION_HITS: u8 = 2;
/// The small queue gets one part in this many.
const SMALL_SHARE: usize = 10;

/// The order of eviction. Its lists hold every entry of the slab exactly once.
#[derive(Debug)]
pub(crate) enum Policy {
    Lru(List),
    S3Fifo(S3Fifo),
}

#[derive(Debug)]
pub(crate) struct S3Fifo {
    small: List,
    main: List,
    ghost: Ghost,
    small_entries_max: usize,
    small_bytes_max: u64,
}

impl Policy {
    pub(crate) fn new(name: PolicyName, max_entries: usize, max_bytes: Option<u64>) -> Self {
        match name {
            PolicyName::Lru => Self::Lru(List::new()),
            PolicyName::S3Fifo => Self::S3Fifo(S3Fifo::new(max_entries, max_bytes)),
        }
    }

    /// Adapts to new limits; entries keep their places.
    pub(crate) fn resize(&mut self, max_entries: usize, max_bytes: Option<u64>) {
        if let Self::S3Fifo(policy) = self {
            policy.resize(max_entries, max_bytes);
        }
    }

    /// Forgets all entries, with the slab's being given away by the caller.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Lru(list) => *list = List::new(),
            Self::S3Fifo(policy) => (policy.small, policy.main) = (List::new(), List::new()),
        }
    }

    #[inline]
    pub(crate) fn on_hit<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        match self {
            Self::Lru(list) => list.move_to_front(slab, slot),
            Self::S3Fifo(_) => {
                if let Some(entry) = slab.get_mut(slot) {
                    entry.frequency = (entry.frequency + 1).min(FREQUENCY_MAX);
                }
            }
        }
    }

    pub(crate) fn on_insert<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        match self {
            Self::Lru(list) => list.push_front(slab, slot),
            Self::S3Fifo(policy) => policy.admit(slab, slot),
        }
    }

    pub(crate) fn on_remove<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        if let Some(entry) = slab.get(slot) {
            let place = entry.place;
            self.list_mut(place).unlink(slab, slot);
        }
    }

    pub(crate) fn on_resize_entry(&mut self, place: Place, old: u64, new: u64) {
        self.list_mut(place).resize_entry(old, new);
    }

    /// The bytes of all entries.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Lru(list) => list.bytes(),
            Self::S3Fifo(policy) => policy.small.bytes() + policy.main.bytes(),
        }
    }

    /// The entry to evict next, still linked; `None` when the cache is empty.
    pub(crate) fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        match self {
            Self::Lru(list) => list.back(),
            Self::S3Fifo(policy) => policy.victim(slab),
        }
    }

    fn list_mut(&mut self, place: Place) -> &mut List {
        match (self, place) {
            (Self::Lru(list), _) => list,
            (Self::S3Fifo(policy), Place::Small) => &mut policy.small,
            (Self::S3Fifo(policy), Place::Main) => &mut policy.main,
        }
    }
}

impl S3Fifo {
    fn new(max_entries: usize, max_bytes: Option<u64>) -> Self {
        let mut policy = Self {
            small: List::new(),
            main: List::new(),
            ghost: Ghost::new(0),
            small_entries_max: 0,
            small_bytes_max: 0,
        };
        policy.resize(max_entries, max_bytes);
        policy
    }

    fn resize(&mut self, max_entries: usize, max_bytes: Option<u64>) {
        self.small_entries_max = (max_entries / SMALL_SHARE).max(1);
        self.small_bytes_max = max_bytes.map_or(u64::MAX, |bytes| bytes / SMALL_SHARE as u64);
        self.ghost = Ghost::new(max_entries.saturating_sub(self.small_entries_max));
    }

    fn admit<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let Some(entry) = slab.get_mut(slot) else { return };
        entry.frequency = 0;
        if self.ghost.take(entry.hash) {
            entry.place = Place::Main;
            self.main.push_front(slab, slot);
        } else {
            entry.place = Place::Small;
            self.small.push_front(slab, slot);
        }
    }

    /// Terminates: each step shortens the small queue or lowers a frequency of the main one.
    fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        loop {
            let small_is_over =
                self.small.len() >= self.small_entries_max || self.small.bytes() > self.small_bytes_max;
            let from_small = small_is_over || self.main.len() == 0;
            let list = if from_small {
                &mut self.small
            } else {
                &mut self.main
            };
            let slot = list.back().or(self.main.back())?;
            let entry = slab.get_mut(slot)?;
            match entry.place {
                Place::Small if entry.frequency < PROMOTION_HITS => {
                    self.ghost.record(entry.hash);
                    return Some(slot);
                }
                Place::Small => {
                    self.small.unlink(slab, slot);
                    if let Some(entry) = slab.get_mut(slot) {
                        entry.place = Place::Main;
                        entry.frequency = 0;
                    }
                    self.main.push_front(slab, slot);
                }
                Place::Main if entry.frequency == 0 => return Some(slot),
                Place::Main => {
                    entry.frequency -= 1;
                    self.main.move_to_front(slab, slot);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PolicyName;

    #[test]
    fn policies_are_chosen_by_name() {
        assert_eq!("lru".parse(), Ok(PolicyName::Lru));
        assert_eq!("s3fifo".parse(), Ok(PolicyName::S3Fifo));
        let error = "fifo".parse::<PolicyName>().unwrap_err();
        assert!(error.to_string().starts_with("policy:"), "{error}");
    }
}
