//! The words that callers of the cache use: limits, options, findings, counters.

use super::slab::ENTRIES_MAX;
use crate::CoreError;

/// The bounds of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most entries, up to [`ENTRIES_MAX`]; 0 switches the cache off.
    pub max_entries: usize,
    /// The most bytes by the sizes that [`Cache::insert`] is told, or no such bound.
    pub max_bytes: Option<u64>,
}

impl Limits {
    pub(super) fn check(self) -> Result<Self, CoreError> {
        if self.max_entries > ENTRIES_MAX {
            let problem = format!("must be at most {ENTRIES_MAX}");
            return Err(CoreError::invalid("max_entries", problem));
        }
        Ok(self)
    }
}

/// What was counted since the cache was made. [`Cache::clear`] does not reset it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Reads that found a live entry.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Writes, of new keys and of known ones.
    pub insertions: u64,
    /// Entries that left because a limit was reached.
    pub evictions: u64,
    /// Entries that left because their time was over.
    pub expirations: u64,
}

/// What [`Cache::insert`] is told beside key and value.
#[derive(Debug, Clone, Copy, Default)]
pub struct EntryOptions<'a> {
    /// Nanoseconds to live from now on; without it the entry stays until evicted.
    pub ttl: Option<u64>,
    /// What the entry counts against `max_bytes`.
    pub bytes: u64,
    /// Names by which [`Cache::invalidate_tag`] finds the entry.
    pub tags: &'a [String],
}

/// What [`Cache::read`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a, K, V> {
    /// A live entry's value.
    Hit(&'a V),
    /// Nothing.
    Miss,
    /// An entry whose time was over. It is removed; drop it after releasing the lock.
    Ended((K, V)),
}
