//! Which credential serves which session: the table of bindings.
//!
//! Spec: routing.md, *Sessions*. A session keeps its credential because another one has a cold prompt cache, and a
//! cold cache costs more than an uneven load. A binding ends 24 h after its last use, when the table is full and it is
//! the one used longest ago, or when its credential is taken from it. Every operation takes constant time, except that
//! dropping the bindings of a credential takes time for each of them.
//!
//! The clock is the wall clock, since bindings outlive the process. It may jump: see [`CLOCK_STEP`].

mod changes;
mod key;
mod links;
mod stored;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::ids::CredentialId;

use changes::Pending;
pub use changes::{Change, Changes, MAX_PENDING_CHANGES, SAVE_AFTER};
pub use key::{Binding, PoolScope, SessionKey};
use links::{Ends, GROUP, Links, RECENCY};

/// Most bindings kept. At [`crate::provider::MAX_SESSION_ID`] bytes each this is some 50 MB at the very worst; real session ids make it
/// a third of that.
pub const MAX_BINDINGS: usize = 100_000;

/// How long a binding lasts after its last use.
pub const IDLE_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock that goes back by more than this has been set: bindings then count as used no later than its new time.
/// Less is concurrency or slewing, and time just stands still for the table.
pub const CLOCK_STEP: Duration = Duration::from_secs(60);

/// Most expired bindings removed by one operation, so that no request pays for a night's worth of them.
const EXPIRED_AT_ONCE: usize = 256;

/// The table. See the module.
#[derive(Debug)]
pub struct SessionTable {
    most: usize,
    index: HashMap<SessionKey, u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    recency: Ends,
    groups: HashMap<(CredentialId, PoolScope), Ends>,
    /// The latest time seen; what the table takes for now.
    latest: SystemTime,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Slot {
    key: SessionKey,
    binding: Binding,
    links: [Links; 2],
    /// Whether the key stands among the changes not drained yet.
    is_pending: bool,
    /// The `last_used` that was last put among the changes.
    saved: SystemTime,
}

impl Default for SessionTable {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionTable {
    /// An empty table of [`MAX_BINDINGS`] that nobody stores.
    pub fn new() -> Self {
        Self::with_limit(MAX_BINDINGS)
    }

    /// An empty table of at most `most` bindings, at least one.
    pub fn with_limit(most: usize) -> Self {
        Self {
            most: most.clamp(1, MAX_BINDINGS),
            index: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            recency: Ends::default(),
            groups: HashMap::new(),
            latest: SystemTime::UNIX_EPOCH,
            pending: None,
        }
    }

    /// How many bindings there are, those not yet noticed to have expired included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many sessions are bound to a credential, in either scope.
    pub fn bound_to(&self, credential: CredentialId) -> usize {
        [PoolScope::All, PoolScope::NoExternals]
            .iter()
            .filter_map(|scope| self.groups.get(&(credential, *scope)))
            .map(|group| group.len)
            .sum()
    }

    /// A session's binding at `now`, if it has one that has not expired. Does not count as a use.
    pub fn get(&self, key: &SessionKey, now: SystemTime) -> Option<Binding> {
        let binding = self.slot(*self.index.get(key)?)?.binding;
        let now = now.max(self.latest);
        (!has_expired(&binding, now)).then_some(binding)
    }

    /// Binds a session, and gives the binding that it had.
    pub fn bind(
        &mut self,
        key: SessionKey,
        credential: CredentialId,
        scope: PoolScope,
        now: SystemTime,
    ) -> Option<Binding> {
        self.expire(now);
        let now = self.latest;
        let binding = Binding { credential, scope, last_used: now };
        let before = self.take(&key);
        // Whatever is taken out stands among the changes.
        let is_pending = before.is_some() && self.pending.is_some();
        let before = before.filter(|before| !has_expired(before, now));
        while self.index.len() >= self.most {
            let oldest = self.recency.last;
            if self.remove(oldest).is_none() {
                break;
            }
        }
        if let Some(at) = self.insert(key, binding) {
            if let Some(slot) = self.slot_mut(at) {
                slot.is_pending = is_pending;
            }
            self.note(at);
        }
        before
    }

    /// Notes that a request used a session's binding; whether it has one.
    pub fn touch(&mut self, key: &SessionKey, now: SystemTime) -> bool {
        self.expire(now);
        self.index.get(key).copied().is_some_and(|at| self.use_at(at))
    }

    /// The same, unless it is bound to another credential or in another scope.
    pub fn touch_if_bound_to(
        &mut self,
        key: &SessionKey,
        credential: CredentialId,
        scope: PoolScope,
        now: SystemTime,
    ) -> bool {
        self.expire(now);
        let latest = self.latest;
        let is_it = |binding: &Binding| {
            (binding.credential, binding.scope) == (credential, scope) && !has_expired(binding, latest)
        };
        let found = self.index.get(key).copied();
        found.is_some_and(|at| self.slot(at).is_some_and(|slot| is_it(&slot.binding)) && self.use_at(at))
    }

    fn use_at(&mut self, at: u32) -> bool {
        let now = self.latest;
        let Some(slot) = self.slot_mut(at) else { return false };
        slot.binding.last_used = now;
        let is_stale = now.duration_since(slot.saved).is_ok_and(|age| age >= SAVE_AFTER);
        if self.recency.first != at {
            links::unlink(&mut self.slots, &mut self.recency, RECENCY, at);
            links::push_front(&mut self.slots, &mut self.recency, RECENCY, at);
        }
        if is_stale {
            self.note(at);
        }
        true
    }

    /// Removes a session's binding, and gives it.
    pub fn unbind(&mut self, key: &SessionKey) -> Option<Binding> {
        self.take(key)
    }

    /// Drops every binding of a credential in a scope (rebalancing), or in all scopes (the credential is gone); how many
    /// they were.
    pub fn drop_bindings_of(&mut self, credential: CredentialId, scope: Option<PoolScope>) -> usize {
        let mut dropped = 0;
        for of in [PoolScope::All, PoolScope::NoExternals] {
            if scope.is_none_or(|scope| scope == of) {
                while let Some(first) = self.groups.get(&(credential, of)).map(|group| group.first) {
                    if self.remove(first).is_none() {
                        break;
                    }
                    dropped += 1;
                }
            }
        }
        dropped
    }

    /// Moves the table's time on to `now` and removes bindings that have expired, a bounded number at a time; whether
    /// none is left. Every operation that changes something does this first.
    pub fn expire(&mut self, now: SystemTime) -> bool {
        self.advance(now);
        for _ in 0..EXPIRED_AT_ONCE {
            let oldest = self.recency.last;
            match self.slot(oldest) {
                Some(slot) if has_expired(&slot.binding, self.latest) => self.remove(oldest),
                _ => return true,
            };
        }
        false
    }

    fn advance(&mut self, now: SystemTime) {
        match self.latest.duration_since(now) {
            Err(_) => self.latest = now,
            Ok(back) if back > CLOCK_STEP => {
                self.latest = now;
                for slot in self.slots.iter_mut().flatten() {
                    slot.binding.last_used = slot.binding.last_used.min(now);
                    slot.saved = slot.saved.min(now);
                }
            }
            Ok(_) => {}
        }
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    fn take(&mut self, key: &SessionKey) -> Option<Binding> {
        let at = *self.index.get(key)?;
        self.remove(at)
    }

    fn remove(&mut self, at: u32) -> Option<Binding> {
        let slot = self.slot(at)?;
        let group = (slot.binding.credential, slot.binding.scope);
        links::unlink(&mut self.slots, &mut self.recency, RECENCY, at);
        if let Some(ends) = self.groups.get_mut(&group) {
            links::unlink(&mut self.slots, ends, GROUP, at);
            if ends.len == 0 {
                self.groups.remove(&group);
            }
        }
        let slot = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        self.index.remove(&slot.key);
        if let Some(pending) = &mut self.pending
            && !slot.is_pending
        {
            pending.push(slot.key);
        }
        Some(slot.binding)
    }

    fn insert(&mut self, key: SessionKey, binding: Binding) -> Option<u32> {
        let slot = Slot {
            key: key.clone(),
            binding,
            links: [Links::default(); 2],
            is_pending: false,
            saved: binding.last_used,
        };
        let at = if let Some(at) = self.free.pop() {
            at
        } else {
            let at = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(None);
            at
        };
        *self.slots.get_mut(at as usize)? = Some(slot);
        self.index.insert(key, at);
        links::push_front(&mut self.slots, &mut self.recency, RECENCY, at);
        let group = self.groups.entry((binding.credential, binding.scope)).or_default();
        links::push_front(&mut self.slots, group, GROUP, at);
        Some(at)
    }
}

fn has_expired(binding: &Binding, now: SystemTime) -> bool {
    now.duration_since(binding.last_used).is_ok_and(|idle| idle >= IDLE_EXPIRY)
}

#[cfg(test)]
mod tests;
