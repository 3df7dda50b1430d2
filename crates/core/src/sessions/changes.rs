//! What has changed since it was last stored: bindings survive restarts (routing.md, *Sessions*).
//!
//! Only keys are remembered, and what is to be stored is looked up when the changes are drained, so that a session that
//! changes often is stored once.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Binding, MAX_BINDINGS, SessionKey, SessionTable};

/// Most changes remembered. When nobody drains them in time they are dropped, and everything is to be stored anew.
pub const MAX_PENDING_CHANGES: usize = MAX_BINDINGS;

/// A use is stored when the stored one is older than this. Little beside the 24 h of [`super::IDLE_EXPIRY`], and it
/// spares a write for every request.
pub const SAVE_AFTER: Duration = Duration::from_secs(10 * 60);

/// One change to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The session has this binding now.
    Put(SessionKey, Binding),
    /// The session has none any more.
    Remove(SessionKey),
}

/// What [`SessionTable::drain_changes`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// These, in the order in which they happened first. As many as were asked for: there may be more.
    Listed(Vec<Change>),
    /// More than could be remembered: what is stored is to be replaced by [`SessionTable::iter`].
    Everything,
}

/// Keys whose stored form is out of date.
#[derive(Debug, Default)]
pub(super) struct Pending {
    keys: VecDeque<SessionKey>,
    has_overflowed: bool,
}

impl Pending {
    pub(super) fn push(&mut self, key: SessionKey) {
        if self.has_overflowed {
            return;
        }
        if self.keys.len() >= MAX_PENDING_CHANGES {
            self.keys = VecDeque::new();
            self.has_overflowed = true;
            return;
        }
        self.keys.push_back(key);
    }
}

impl SessionTable {
    /// Remembers changes from here on, for [`Self::drain_changes`]. A table that nobody stores remembers none.
    pub fn remember_changes(&mut self) {
        self.pending.get_or_insert_default();
    }

    /// Gives at most `most` changes and forgets them.
    pub fn drain_changes(&mut self, most: usize) -> Changes {
        let Some(pending) = &mut self.pending else { return Changes::Listed(Vec::new()) };
        if std::mem::take(&mut pending.has_overflowed) {
            for slot in self.slots.iter_mut().flatten() {
                slot.is_pending = false;
                slot.saved = slot.binding.last_used;
            }
            return Changes::Everything;
        }
        let count = pending.keys.len().min(most);
        let keys: Vec<SessionKey> = pending.keys.drain(..count).collect();
        let change = |key: SessionKey| {
            let slot =
                self.index.get(&key).and_then(|at| self.slots.get_mut(*at as usize)).and_then(Option::as_mut);
            match slot {
                Some(slot) => {
                    slot.is_pending = false;
                    slot.saved = slot.binding.last_used;
                    Change::Put(key, slot.binding)
                }
                None => Change::Remove(key),
            }
        };
        Changes::Listed(keys.into_iter().map(change).collect())
    }

    /// Remembers that a slot is to be stored.
    pub(super) fn note(&mut self, at: u32) {
        let Some(pending) = &mut self.pending else { return };
        if let Some(slot) = self.slots.get_mut(at as usize).and_then(Option::as_mut)
            && !std::mem::replace(&mut slot.is_pending, true)
        {
            pending.push(slot.key.clone());
        }
    }
}
