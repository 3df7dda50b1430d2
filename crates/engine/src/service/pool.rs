//! A user's pool, as one request sees it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use trunkline_core::ids::CredentialId;
use trunkline_core::limits::BaseWindow;
use trunkline_core::selection::{Candidate, Fact, Ranking, Strategy};

use super::show::Shown;
use crate::changed_members::ChangedMembers;
use crate::credential::{Credential, Current};

/// No credential was picked yet.
const NOTHING: u32 = u32::MAX;

/// From how many members on a pool's order is kept. Fewer are looked at in less time than the order takes.
pub(super) const ORDERED_FROM: usize = 16;

/// The order of a pool's members under `least_used`.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) ranking: Mutex<Ranking>,
    pub(super) changed: Arc<ChangedMembers>,
}

impl Order {
    fn new(members: &[Arc<Credential>]) -> Self {
        let changed = Arc::new(ChangedMembers::new(members.len()));
        for (place, member) in members.iter().enumerate() {
            member.live().mark_changes_in(&changed, place);
        }
        Self { ranking: Mutex::new(Ranking::new(members.len())), changed }
    }
}

/// Credentials that requests go to.
#[derive(Debug)]
pub struct Pool {
    tag: Arc<str>,
    strategy: Strategy,
    rebalance_threshold: f64,
    members: Vec<Arc<Credential>>,
    /// Where each of them is in `members`, in the order of their numbers.
    places: Vec<(CredentialId, usize)>,
    /// Whether some of its members serve some models only.
    restricts_models: bool,
    /// Whether some of its members are for some users only.
    restricts_users: bool,
    /// What the strategy picked last, where the round goes on.
    last_picked: AtomicU32,
    /// The order of its members, where there are so many that it pays.
    pub(super) order: Option<Order>,
    /// What its users were shown last, where all of them are shown the same.
    pub(super) shown: ArcSwapOption<Shown>,
}

impl Pool {
    /// A pool. `members`: in order, at least one.
    pub fn new(
        tag: &str,
        strategy: Strategy,
        rebalance_threshold: f64,
        members: Vec<Arc<Credential>>,
    ) -> Self {
        let mut places: Vec<_> =
            members.iter().enumerate().map(|(place, member)| (member.id(), place)).collect();
        places.sort_unstable();
        let is_ordered = strategy == Strategy::LeastUsed && members.len() >= ORDERED_FROM;
        Self {
            order: is_ordered.then(|| Order::new(&members)),
            places,
            tag: tag.into(),
            strategy,
            rebalance_threshold,
            restricts_models: members.iter().any(|member| !member.settings().models.is_empty()),
            restricts_users: members.iter().any(|member| member.settings().users.is_some()),
            members,
            last_picked: AtomicU32::new(NOTHING),
            shown: ArcSwapOption::empty(),
        }
    }

    /// Its name.
    pub fn tag(&self) -> &Arc<str> {
        &self.tag
    }

    /// The credentials, in order.
    pub fn members(&self) -> &[Arc<Credential>] {
        &self.members
    }

    pub(super) fn strategy(&self) -> Strategy {
        self.strategy
    }

    pub(super) fn rebalance_threshold(&self) -> f64 {
        self.rebalance_threshold
    }

    pub(super) fn restricts_models(&self) -> bool {
        self.restricts_models
    }

    pub(super) fn restricts_users(&self) -> bool {
        self.restricts_users
    }

    pub(super) fn last_picked(&self) -> Option<CredentialId> {
        Some(self.last_picked.load(Ordering::Relaxed)).filter(|id| *id != NOTHING).map(CredentialId)
    }

    pub(super) fn set_last_picked(&self, credential: CredentialId) {
        self.last_picked.store(credential.0, Ordering::Relaxed);
    }

    pub(super) fn find(&self, id: CredentialId) -> Option<&Arc<Credential>> {
        self.members.get(self.place(id)?)
    }

    /// Where a credential is in [`Self::members`].
    pub(super) fn place(&self, id: CredentialId) -> Option<usize> {
        let at = self.places.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        Some(self.places.get(at)?.1)
    }
}

/// A credential with what is known of it at one moment.
pub(super) struct Seen<'a> {
    pub(super) credential: &'a Arc<Credential>,
    pub(super) current: Arc<Current>,
    now: SystemTime,
    anew: Option<Vec<Fact>>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(credential: &'a Arc<Credential>, now: SystemTime) -> Self {
        let current = credential.live().current();
        let anew = current.facts_anew(now);
        Self { credential, current, now, anew }
    }

    pub(super) fn facts(&self) -> &[Fact] {
        self.anew.as_deref().unwrap_or_else(|| self.current.facts_published())
    }

    pub(super) fn candidate(&self) -> Candidate<'_> {
        let settings = self.credential.settings();
        Candidate {
            id: settings.id,
            tag: &settings.tag,
            kind: self.credential.kind(),
            users: settings.users.as_deref(),
            models: &settings.models,
            weight: self.credential.weight_by(&self.current),
            weight_is_set: settings.weight.is_some(),
            weekly: self.current.window_use(BaseWindow::Weekly, self.now),
            five_hour: self.current.window_use(BaseWindow::FiveHour, self.now),
            facts: self.facts(),
            // Whether its provider takes them shows when it is asked.
            carries_websocket: true,
        }
    }
}
