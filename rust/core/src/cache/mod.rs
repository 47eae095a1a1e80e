//! A bounded map: limits by entries and by bytes, time to live and idle time, tags, a choice of policies.
//!
//! The cache neither hashes nor compares keys: the caller brings the hash and a closure that says
//! whether a stored key is the one meant. That is what lets the Python side decide when it is safe
//! to run somebody's `__eq__`.
//!
//! A hash table of 32-bit slots ([`hashbrown::HashTable`]) leads to entries in one slab; the policy's
//! lists run through the same entries. Every operation is O(1), or O(log n) with a time to live.
//! What leaves the cache is handed to the caller in [`Removed`] and never dropped here, so that a
//! value's destructor runs after the caller's lock is released.

mod expiry;
mod list;
mod policy;
mod removed;
mod sketch;
mod slab;
mod tags;
mod terms;
mod tinylfu;
mod tuner;

use hashbrown::HashTable;

use crate::CoreError;
use expiry::Expiry;
use policy::Policy;
pub use policy::PolicyName;
pub use removed::Removed;
pub use slab::{ENTRIES_MAX, Slot};
use slab::{Entry, Links, NEVER, Place, Slab};
use tags::Tags;
pub use terms::{CacheStats, EntryOptions, Limits, Read};

/// Ended entries that one [`Cache::insert`] clears away at most, which bounds its latency.
const EXPIRED_PER_INSERT: usize = 32;

/// A bounded map from `K` to `V`; see the [module](self) for how it works.
#[derive(Debug)]
pub struct Cache<K, V> {
    table: HashTable<Slot>,
    slab: Slab<K, V>,
    policy: Policy,
    expiry: Expiry,
    tags: Tags,
    limits: Limits,
    stats: CacheStats,
}

/// Spreads a hash over all 64 bits, one to one.
///
/// Python's integers hash to themselves, and table, sketch and tuner each look at other bits. (The finisher of `SplitMix64`, shortened.)
#[inline]
pub(crate) fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ (hash >> 29)
}

impl<K, V> Cache<K, V> {
    /// An empty cache.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if `max_entries` is above [`ENTRIES_MAX`].
    pub fn new(limits: Limits, policy: PolicyName) -> Result<Self, CoreError> {
        let limits = limits.check()?;
        Ok(Self::with_policy(limits, Policy::new(policy, limits)))
    }

    fn with_policy(limits: Limits, policy: Policy) -> Self {
        Self {
            table: HashTable::new(),
            slab: Slab::new(),
            policy,
            expiry: Expiry::new(None),
            tags: Tags::default(),
            limits,
            stats: CacheStats::default(),
        }
    }

    /// Lets every entry end that is neither read nor written for so many nanoseconds. For an empty
    /// cache.
    #[must_use]
    pub fn with_idle_ttl(mut self, idle_ttl: u64) -> Self {
        self.expiry = Expiry::new(Some(idle_ttl));
        self
    }

    /// The entry with this hash whose key `is_key` accepts, ended or not.
    #[expect(
        clippy::inline_always,
        reason = "a fifth of the instructions of a hit, measured"
    )]
    #[inline(always)]
    pub fn locate(&self, hash: u64, mut is_key: impl FnMut(&K) -> bool) -> Option<Slot> {
        let hash = mix(hash);
        let is_it = |slot: &&Slot| {
            let entry = self.slab.get(**slot);
            entry.is_some_and(|entry| entry.hash == hash && is_key(&entry.key))
        };
        // `HashTable::find` calls its closure through a pointer; this loop is inlined.
        self.table.iter_hash(hash).find(is_it).copied()
    }

    /// The value at `slot`, counted as a hit if it has not ended at `now`, else as a miss.
    #[expect(
        clippy::inline_always,
        reason = "a fifth of the instructions of a hit, measured"
    )]
    #[inline(always)]
    pub fn read(&mut self, slot: Option<Slot>, now: u64) -> Read<'_, K, V> {
        let Some(slot) = slot else {
            self.stats.misses += 1;
            return Read::Miss;
        };
        if !self.is_live(slot, now) {
            self.stats.misses += 1;
            return self.end(slot).map_or(Read::Miss, Read::Ended);
        }
        self.stats.hits += 1;
        self.expiry.on_use(slot, now);
        self.policy.on_hit(&mut self.slab, slot);
        self.slab
            .get(slot)
            .map_or(Read::Miss, |entry| Read::Hit(&entry.value))
    }

    /// Whether the entry at `slot` has not ended at `now`. Counts nothing.
    #[inline]
    pub fn is_live(&self, slot: Slot, now: u64) -> bool {
        let entry = self.slab.get(slot);
        entry.is_some_and(|entry| self.expiry.end(slot, entry.expires_at) > now)
    }

    #[cold]
    fn end(&mut self, slot: Slot) -> Option<(K, V)> {
        self.stats.expirations += 1;
        self.take(slot)
    }

    /// Stores a pair: over the entry at `known`, else as a new one, evicting what no longer fits.
    ///
    /// An entry that alone exceeds a limit is not stored (and its old value is removed). Overwriting
    /// keeps the old key, counts as a use for the policy, and replaces time to live, size and tags.
    /// Whatever leaves, the refused pair included, is in `removed`.
    pub fn insert(
        &mut self,
        known: Option<Slot>,
        hash: u64,
        pair: (K, V),
        options: EntryOptions<'_>,
        now: u64,
        removed: &mut Removed<K, V>,
    ) {
        let too_large = self.limits.max_bytes.is_some_and(|max| options.bytes > max);
        if self.limits.max_entries == 0 || too_large {
            if let Some(pair) = known.and_then(|slot| self.take(slot)) {
                removed.push(pair);
            }
            removed.push(pair);
            return;
        }
        self.stats.insertions += 1;
        let expires_at = options
            .ttl
            .map_or(NEVER, |ttl| now.saturating_add(ttl).min(NEVER - 1));
        let slot = match known {
            Some(slot) => self.overwrite(slot, pair, expires_at, options, removed),
            None => self.add(mix(hash), pair, expires_at, options, now, removed),
        };
        if let Some(slot) = slot {
            self.expiry.on_set(&self.slab, slot, expires_at, now);
            if !options.tags.is_empty() {
                self.tags.on_insert(slot, options.tags);
            }
        }
    }

    fn overwrite(
        &mut self,
        slot: Slot,
        (key, value): (K, V),
        expires_at: u64,
        options: EntryOptions<'_>,
        removed: &mut Removed<K, V>,
    ) -> Option<Slot> {
        let entry = self.slab.get_mut(slot)?;
        removed.push((key, std::mem::replace(&mut entry.value, value)));
        let old_end = std::mem::replace(&mut entry.expires_at, expires_at);
        let old_bytes = std::mem::replace(&mut entry.bytes, options.bytes);
        let had_tags = std::mem::replace(&mut entry.tagged, !options.tags.is_empty());
        let place = entry.place;
        self.expiry.on_unset(old_end);
        self.policy.on_resize_entry(place, old_bytes, options.bytes);
        self.policy.on_hit(&mut self.slab, slot);
        if had_tags {
            self.tags.on_remove(slot);
        }
        while self.is_over(0, 0) && self.evict_other(slot, removed) {}
        Some(slot)
    }

    fn add(
        &mut self,
        hash: u64,
        (key, value): (K, V),
        expires_at: u64,
        options: EntryOptions<'_>,
        now: u64,
        removed: &mut Removed<K, V>,
    ) -> Option<Slot> {
        if self.expiry.needs_clock() {
            self.expire(now, EXPIRED_PER_INSERT, removed);
        }
        while self.is_over(1, options.bytes) && self.evict(removed) {}
        let slot = self.slab.insert(Entry {
            key,
            value,
            hash,
            expires_at,
            bytes: options.bytes,
            links: Links {
                prev: Slot::NONE,
                next: Slot::NONE,
            },
            frequency: 0,
            epoch: 0,
            chances: 0,
            place: Place::Main,
            tagged: !options.tags.is_empty(),
        })?;
        let slab = &self.slab;
        self.table
            .insert_unique(hash, slot, |&slot| slab.get(slot).map_or(0, |entry| entry.hash));
        self.policy.on_insert(&mut self.slab, slot);
        Some(slot)
    }

    /// Removes the entry at `slot` and gives it away.
    #[inline]
    pub fn take(&mut self, slot: Slot) -> Option<(K, V)> {
        self.policy.on_remove(&mut self.slab, slot);
        let entry = self.slab.remove(slot)?;
        if let Ok(found) = self.table.find_entry(entry.hash, |&other| other == slot) {
            found.remove();
        }
        self.expiry.on_unset(entry.expires_at);
        if entry.tagged {
            self.tags.on_remove(slot);
        }
        Some((entry.key, entry.value))
    }

    /// Removes up to `limit` entries that have ended at `now`, the earliest first.
    pub fn expire(&mut self, now: u64, limit: usize, removed: &mut Removed<K, V>) {
        for _ in 0..limit {
            let Some(slot) = self.expiry.pop_ended(&self.slab, now) else {
                return;
            };
            if let Some(pair) = self.take(slot) {
                self.stats.expirations += 1;
                removed.push(pair);
            }
        }
    }

    /// Removes every entry with this tag and says how many there were.
    pub fn invalidate_tag(&mut self, tag: &str, removed: &mut Removed<K, V>) -> usize {
        let slots = self.tags.slots(tag);
        let pairs = slots.iter().filter_map(|&slot| self.take(slot));
        pairs.map(|pair| removed.push(pair)).count()
    }

    /// Sets new limits and evicts what they no longer allow.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if `max_entries` is above [`ENTRIES_MAX`].
    pub fn resize(&mut self, limits: Limits, removed: &mut Removed<K, V>) -> Result<(), CoreError> {
        self.limits = limits.check()?;
        self.policy.resize(limits);
        while self.is_over(0, 0) && self.evict(removed) {}
        Ok(())
    }

    /// Removes everything and gives the memory of the structures back.
    pub fn clear(&mut self, removed: &mut Removed<K, V>) {
        self.table = HashTable::new();
        self.policy.clear();
        self.expiry.clear();
        self.tags.clear();
        removed.extend(self.slab.take().map(|entry| (entry.key, entry.value)));
    }

    fn is_over(&self, more_entries: usize, more_bytes: u64) -> bool {
        let bytes = || self.policy.bytes().saturating_add(more_bytes);
        self.slab.len() + more_entries > self.limits.max_entries
            || self.limits.max_bytes.is_some_and(|max| bytes() > max)
    }

    fn evict(&mut self, removed: &mut Removed<K, V>) -> bool {
        let victim = self.policy.victim(&mut self.slab);
        victim.is_some_and(|slot| self.evict_slot(slot, removed))
    }

    fn evict_slot(&mut self, slot: Slot, removed: &mut Removed<K, V>) -> bool {
        let pair = self.take(slot);
        self.stats.evictions += u64::from(pair.is_some());
        pair.map(|pair| removed.push(pair)).is_some()
    }

    /// Evicts, but not `keep`, which was just written.
    fn evict_other(&mut self, keep: Slot, removed: &mut Removed<K, V>) -> bool {
        let victim = self.policy.victim_beside(&mut self.slab, keep);
        victim.is_some_and(|slot| self.evict_slot(slot, removed))
    }

    /// How many entries there are, ended ones included until they are cleared away.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of the sizes of all entries.
    pub fn bytes(&self) -> u64 {
        self.policy.bytes()
    }

    /// Whether any entry can end by time; if not, `now` is never looked at.
    #[inline]
    pub fn needs_clock(&self) -> bool {
        self.expiry.needs_clock()
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The counters.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    /// Every pair, in no particular order, ended ones included.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slab.iter().map(|entry| (&entry.key, &entry.value))
    }
}

#[cfg(test)]
mod tests;
