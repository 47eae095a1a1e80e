//! Which entry goes when the cache is full.
//!
//! **LRU** evicts what was used longest ago; a hit moves the entry to the front of one list.
//!
//! **W-TinyLFU** lets newcomers wait in a window and keeps of them what is used more often than what
//! it would displace; see [`super::tinylfu`].

use super::Limits;
use super::list::List;
use super::slab::{Place, Slab, Slot};
use super::tinylfu::TinyLfu;
use crate::CoreError;

/// The eviction policies, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyName {
    /// `"lru"`: least recently used.
    Lru,
    /// `"wtinylfu"`: keeps what is used often, resists scans and loops, follows recency where that
    /// hits more.
    WTinyLfu,
}

impl std::str::FromStr for PolicyName {
    type Err = CoreError;

    fn from_str(name: &str) -> Result<Self, CoreError> {
        match name {
            "lru" => Ok(Self::Lru),
            "wtinylfu" => Ok(Self::WTinyLfu),
            _ => Err(CoreError::invalid(
                "policy",
                format!("must be \"lru\" or \"wtinylfu\", not {name:?}"),
            )),
        }
    }
}

/// The order of eviction. Its lists hold every entry of the slab exactly once.
#[derive(Debug)]
pub(crate) enum Policy {
    Lru(List),
    TinyLfu(Box<TinyLfu>),
}

impl Policy {
    pub(crate) fn new(name: PolicyName, limits: Limits) -> Self {
        match name {
            PolicyName::Lru => Self::Lru(List::new()),
            PolicyName::WTinyLfu => Self::TinyLfu(Box::new(TinyLfu::tuned(limits))),
        }
    }

    /// Adapts to new limits; entries keep their places.
    pub(crate) fn resize(&mut self, limits: Limits) {
        if let Self::TinyLfu(policy) = self {
            policy.resize(limits);
        }
    }

    /// Forgets all entries, with the slab's being given away by the caller.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Lru(list) => *list = List::new(),
            Self::TinyLfu(policy) => policy.clear(),
        }
    }

    #[inline]
    pub(crate) fn on_hit<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        match self {
            Self::Lru(list) => list.move_to_front(slab, slot),
            Self::TinyLfu(policy) => policy.on_hit(slab, slot),
        }
    }

    pub(crate) fn on_insert<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        match self {
            Self::Lru(list) => list.push_front(slab, slot),
            Self::TinyLfu(policy) => policy.on_insert(slab, slot),
        }
    }

    pub(crate) fn on_remove<K, V>(&mut self, slab: &mut Slab<K, V>, slot: Slot) {
        let Some(entry) = slab.get(slot) else { return };
        let place = entry.place;
        if let Self::TinyLfu(policy) = self {
            policy.on_remove(entry);
        }
        self.list_mut(place).unlink(slab, slot);
    }

    pub(crate) fn on_resize_entry(&mut self, place: Place, old: u64, new: u64) {
        self.list_mut(place).resize_entry(old, new);
    }

    /// The bytes of all entries.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Lru(list) => list.bytes(),
            Self::TinyLfu(policy) => policy.bytes(),
        }
    }

    /// The entry to evict next, still linked; `None` when the cache is empty.
    pub(crate) fn victim<K, V>(&mut self, slab: &mut Slab<K, V>) -> Option<Slot> {
        match self {
            Self::Lru(list) => list.back(),
            Self::TinyLfu(policy) => policy.victim(slab),
        }
    }

    /// The entry to evict next that is not `keep`; `None` when there is no other.
    pub(crate) fn victim_beside<K, V>(&mut self, slab: &mut Slab<K, V>, keep: Slot) -> Option<Slot> {
        let chosen = self.victim(slab).filter(|slot| *slot != keep);
        chosen.or_else(|| match self {
            Self::Lru(list) => list.back_beside(slab, keep),
            Self::TinyLfu(policy) => {
                let mut backs = policy
                    .lists()
                    .into_iter()
                    .map(|list| list.back_beside(slab, keep));
                backs.find_map(|slot| slot)
            }
        })
    }

    fn list_mut(&mut self, place: Place) -> &mut List {
        match self {
            Self::Lru(list) => list,
            Self::TinyLfu(policy) => policy.list_mut(place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PolicyName;

    #[test]
    fn policies_are_chosen_by_name() {
        assert_eq!("lru".parse(), Ok(PolicyName::Lru));
        assert_eq!("wtinylfu".parse(), Ok(PolicyName::WTinyLfu));
        let error = "fifo".parse::<PolicyName>().unwrap_err();
        assert!(error.to_string().starts_with("policy:"), "{error}");
    }
}
