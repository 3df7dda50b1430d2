//! The table as a whole, to be stored and to come back: bindings survive restarts.

use std::time::SystemTime;

use super::links::RECENCY;
use super::{Binding, SessionKey, SessionTable, has_expired};

impl SessionTable {
    /// Every binding, the one used longest ago first.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionKey, &Binding)> {
        let mut at = self.recency.last;
        std::iter::from_fn(move || {
            let slot = self.slot(at)?;
            at = slot.links[RECENCY].before;
            Some((&slot.key, &slot.binding))
        })
    }

    /// Takes over stored bindings into an empty table, the latest given first: no more than the table holds are read.
    /// Those that have expired are not taken, and are reported as removed; a last use in the future counts as now.
    /// How many were taken.
    pub fn restore(
        &mut self,
        stored: impl IntoIterator<Item = (SessionKey, Binding)>,
        now: SystemTime,
    ) -> usize {
        self.advance(now);
        let mut stored: Vec<_> = stored.into_iter().take(self.most).collect();
        stored.sort_by_key(|(_, binding)| binding.last_used);
        for (key, mut binding) in stored {
            binding.last_used = binding.last_used.min(self.latest);
            if has_expired(&binding, self.latest) {
                if let Some(pending) = &mut self.pending {
                    pending.push(key);
                }
            } else {
                self.take(&key);
                self.insert(key, binding);
            }
        }
        self.len()
    }
}
