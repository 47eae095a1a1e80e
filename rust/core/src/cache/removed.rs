//! What a call took out of the cache, on its way to the caller.

/// What left the cache during a call: drop it after releasing the lock.
///
/// After an overwrite this holds the old value beside the new key, since the old key stayed.
#[derive(Debug)]
#[must_use = "keep it until the lock is released"]
pub struct Removed<K, V> {
    // One pair is the common case and must not allocate.
    first: Option<(K, V)>,
    rest: Vec<(K, V)>,
}

impl<K, V> Removed<K, V> {
    /// An empty collection; it allocates from the second pair on.
    pub fn new() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, pair: (K, V)) {
        if self.first.is_none() {
            self.first = Some(pair);
        } else {
            self.rest.push(pair);
        }
    }

    pub(crate) fn extend(&mut self, pairs: impl Iterator<Item = (K, V)>) {
        self.rest.extend(pairs);
    }

    /// The first removed pair, if it is the only one; else all are in the second place.
    #[inline]
    pub fn into_only(self) -> (Option<(K, V)>, Option<Self>) {
        if self.rest.is_empty() {
            return (self.first, None);
        }
        (None, Some(self))
    }

    /// The removed pairs, in order of removal.
    pub fn into_pairs(self) -> impl Iterator<Item = (K, V)> {
        self.first.into_iter().chain(self.rest)
    }
}

impl<K, V> Default for Removed<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
