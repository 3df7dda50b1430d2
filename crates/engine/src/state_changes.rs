//! Changes of credentials' states: counted for the metrics, and told to whoever follows them.
//!
//! Spec: credentials.md, *Availability*: each change is one log line, one metric and one event.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::broadcast;
use trunkline_core::availability::{Availability, Change};

/// Changes that a follower may be behind. One that is further behind misses the oldest, and is told how many.
pub const MAX_BEHIND: usize = 256;

/// A change of the state of one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The service's tag.
    pub service: Arc<str>,
    /// The credential's tag.
    pub credential: Arc<str>,
    /// From what to what, and when.
    pub change: Change,
}

/// Where changes are told. Clones are the same one.
#[derive(Debug, Clone)]
pub struct StateChanges(broadcast::Sender<Arc<StateChange>>);

impl Default for StateChanges {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_BEHIND))
    }
}

impl StateChanges {
    /// Tells one to everybody who follows, and waits for nobody.
    pub(crate) fn tell(&self, change: StateChange) {
        // Nobody follows: nobody is to be told.
        let _ = self.0.send(Arc::new(change));
    }

    /// Follows them from now on.
    pub fn follow(&self) -> Following {
        Following(self.0.subscribe())
    }
}

/// One who follows.
#[derive(Debug)]
pub struct Following(broadcast::Receiver<Arc<StateChange>>);

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A change.
    Change(Arc<StateChange>),
    /// So many were missed.
    Missed(u64),
}

impl Following {
    /// Waits for the next; `None` when there can be no more.
    pub async fn next(&mut self) -> Option<Followed> {
        match self.0.recv().await {
            Ok(change) => Some(Followed::Change(change)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Followed::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// How often a credential came into each state, and since when it is in the one that it is in.
#[derive(Debug)]
pub struct StateCounts {
    counts: [AtomicU64; Availability::LABELS.len()],
    since: Mutex<SystemTime>,
}

impl StateCounts {
    /// Nothing has changed since `now`.
    pub(crate) fn new(now: SystemTime) -> Self {
        Self { counts: Default::default(), since: Mutex::new(now) }
    }

    pub(crate) fn count(&self, change: &Change) {
        let label = change.to.label();
        for (count, _) in self.counts.iter().zip(Availability::LABELS).filter(|(_, known)| *known == label) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = change.at;
    }

    /// Since when the state is what it is.
    pub fn since(&self) -> SystemTime {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of each state, with how often it was come into since the start.
    pub fn entered(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Availability::LABELS.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn change(nth: u64) -> StateChange {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(nth);
        let change = Change { from: Availability::Usable, to: Availability::Refreshing { since: at }, at };
        StateChange { service: "s".into(), credential: "c".into(), change }
    }

    #[tokio::test]
    async fn followers_see_each_change_or_how_many_they_missed() {
        let changes = StateChanges::default();
        changes.tell(change(0));
        let mut following = changes.follow();
        changes.tell(change(1));
        assert_eq!(following.next().await, Some(Followed::Change(Arc::new(change(1)))));
        for nth in 0..MAX_BEHIND as u64 + 3 {
            changes.tell(change(nth));
        }
        assert_eq!(following.next().await, Some(Followed::Missed(3)));
        assert_eq!(following.next().await, Some(Followed::Change(Arc::new(change(3)))));
        drop(changes);
        for _ in 1..MAX_BEHIND {
            assert!(matches!(following.next().await, Some(Followed::Change(_))));
        }
        assert_eq!(following.next().await, None);
    }

    #[test]
    fn every_state_has_a_count() {
        let counts = StateCounts::new(SystemTime::UNIX_EPOCH);
        counts.count(&change(7).change);
        counts.count(&change(8).change);
        assert_eq!(counts.since(), SystemTime::UNIX_EPOCH + Duration::from_secs(8));
        let entered: Vec<_> = counts.entered().filter(|(_, count)| *count > 0).collect();
        assert_eq!(entered, [("refreshing", 2)]);
    }
}
