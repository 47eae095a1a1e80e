//! Which entries carry which tag, both ways, for tagged entries only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::slab::Slot;

#[derive(Debug, Default)]
pub(crate) struct Tags {
    slots_by_tag: BTreeMap<Arc<str>, BTreeSet<Slot>>,
    tags_by_slot: BTreeMap<Slot, Vec<Arc<str>>>,
}

impl Tags {
    /// Gives the entry at `slot`, which has none, these tags. Repeated names count once.
    pub(crate) fn on_insert(&mut self, slot: Slot, names: &[String]) {
        let mut tags = Vec::with_capacity(names.len());
        for name in names {
            let tag = match self.slots_by_tag.get_key_value(name.as_str()) {
                Some((tag, _)) => Arc::clone(tag),
                None => Arc::from(name.as_str()),
            };
            if self
                .slots_by_tag
                .entry(Arc::clone(&tag))
                .or_default()
                .insert(slot)
            {
                tags.push(tag);
            }
        }
        self.tags_by_slot.insert(slot, tags);
    }

    pub(crate) fn on_remove(&mut self, slot: Slot) {
        for tag in self.tags_by_slot.remove(&slot).unwrap_or_default() {
            if let Some(slots) = self.slots_by_tag.get_mut(&tag) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.slots_by_tag.remove(&tag);
                }
            }
        }
    }

    /// The entries that carry `name`.
    pub(crate) fn slots(&self, name: &str) -> Vec<Slot> {
        let slots = self.slots_by_tag.get(name);
        slots.map_or_else(Vec::new, |slots| slots.iter().copied().collect())
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
