//! Which credential serves a request.
//!
//! Spec: routing.md, *From user to pool*, *Sessions* and *Strategies*. [`select`] is a pure function of the candidates'
//! state, the session table, the request, the time and a random number. It changes nothing: what is to be done about the
//! session's binding is part of what it gives. The simulator runs the same code.

mod by_place;
mod candidate;
mod explanation;
mod no_candidate;
mod pick;
mod ranking;
mod state;
mod strategy;

use std::time::SystemTime;

pub use by_place::{LOOKS, by_place, is_usable};
pub use candidate::{Candidate, CredentialKind, Pool, Quota, RequestFacts, Strategy, Transport, WindowUse};
pub use explanation::{Explained, Explanation, MAX_EXPLANATION};
pub use no_candidate::{Counts, MAX_REASONS, NoCandidate, WhyNone};
pub use pick::{BindingChange, Pick, PickReason, moves_binding};
pub use ranking::{MAX_AGE, Ranking};
pub use state::{Fact, ModelFamily, Scope, Window};
pub use strategy::score;

use crate::glob;
use crate::ids::CredentialId;
use crate::sessions::{Binding, PoolScope, SessionTable};

/// How long a request waits for its only candidates to be refreshed. Spec: credentials.md, *Availability*.
pub const REFRESH_WAIT: std::time::Duration = std::time::Duration::from_secs(15);

/// What [`select`] found.
#[derive(Debug, Clone)]
pub struct Selection<'a> {
    /// What comes of it.
    pub outcome: Outcome,
    /// The credential whose bindings in this scope are to be dropped, and whose WebSockets are to end at their next turn
    /// boundary.
    pub rebalanced: Option<(CredentialId, PoolScope)>,
    /// Every credential of the pool, in order, with what was found about it.
    pub assessed: Vec<Assessment<'a>>,
    strategy: Strategy,
}

/// The outcome of a selection.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// This one.
    Picked(Pick),
    /// None is usable, and these are being refreshed: wait for them, [`REFRESH_WAIT`] at most, and select again.
    AwaitRefresh(Vec<CredentialId>),
    /// None.
    None(NoCandidate),
}

/// A credential of the pool, as this request sees it.
#[derive(Debug, Clone, Copy)]
pub struct Assessment<'a> {
    /// Its tag.
    pub tag: &'a str,
    /// Its number.
    pub credential: CredentialId,
    /// Whether it can serve this request.
    pub standing: Standing<'a>,
    /// Its score under `least_used`.
    pub score: f64,
    /// How many sessions are bound to it.
    pub sessions: usize,
    /// Whether it has been tried for this request.
    pub is_tried: bool,
    weekly: WindowUse,
    weight: f64,
}

/// Whether a credential can serve a request, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing<'a> {
    /// This user may not use it.
    NotForUser,
    /// It does not serve this model.
    NotForModel,
    /// It is no API key, and the request is for those alone.
    NoApiKey,
    /// It cannot carry a WebSocket.
    NotForTransport,
    /// It can.
    Usable,
    /// It can, and costs money that others do not.
    UsableAtCost,
    /// It can, as far as anyone knows: its last poll failed.
    PollFailed,
    /// It can, as far as anyone knows: it refused a moment ago without saying for how long.
    Throttled,
    /// In a moment, maybe.
    Refreshing,
    /// It cannot, for this; what else keeps it may be in [`Candidate::facts`].
    Unusable(&'a Fact),
}

impl Standing<'_> {
    fn is_usable(self) -> bool {
        matches!(self, Self::Usable | Self::UsableAtCost)
    }
}

/// Picks a credential of `pool` for `request`, at `now`. `random` decides under [`Strategy::Random`] alone.
pub fn select<'a>(
    pool: &Pool<'a>,
    request: &RequestFacts<'_>,
    sessions: &SessionTable,
    now: SystemTime,
    random: u64,
) -> Selection<'a> {
    let scope = request.pool_scope();
    let binding = request
        .session
        .and_then(|session| sessions.get(session, now))
        .filter(|binding| binding.scope == scope);
    let assessed: Vec<Assessment<'a>> = pool
        .candidates
        .iter()
        .map(|candidate| assess(candidate, pool.strategy, request, binding, sessions, now))
        .collect();
    let mut rebalanced = None;
    let pick = match stays(pool, &assessed, binding, request) {
        Some(Stay::Stays(credential)) => Some((credential, PickReason::Bound)),
        Some(Stay::Rebalances { from, to }) => {
            rebalanced = Some((from, scope));
            Some((to, PickReason::Rebalanced))
        }
        None => strategy::pick(pool, &assessed, random),
    };
    let outcome = match pick {
        Some((credential, reason)) => {
            let was_bound = reason != PickReason::Rebalanced
                && binding.is_some_and(|bound| bound.credential == credential);
            let change = match request.session {
                Some(_) if request.tried.is_empty() && was_bound => BindingChange::Touch,
                Some(_) if request.tried.is_empty() && request.binds() => BindingChange::Bind,
                _ => BindingChange::Leave,
            };
            Outcome::Picked(Pick { credential, reason, binding: change, was_bound })
        }
        None => none(pool, &assessed, request, binding, now),
    };
    Selection { outcome, rebalanced, assessed, strategy: pool.strategy }
}

/// Whether a session that is bound to `candidate` stays with it, found out without a look at the others: what [`select`] would
/// find, where that is `true`. Only for a strategy by which [`stays_without_a_look`].
pub fn stays_with(
    candidate: &Candidate<'_>,
    strategy: Strategy,
    request: &RequestFacts<'_>,
    now: SystemTime,
) -> bool {
    !request.tried.contains(&candidate.id) && standing(candidate, strategy, request, true, now).is_usable()
}

/// Whether the others have no part in it while a session's credential is usable.
pub fn stays_without_a_look(strategy: Strategy, rebalance_threshold: f64) -> bool {
    match strategy {
        Strategy::Fallback => false,
        Strategy::LeastUsed => rebalance_threshold <= 0.0,
        Strategy::RoundRobin | Strategy::Random => true,
    }
}

/// Whether the sessions of `own` are to go to `best`, which is the one that `least_used` would pick. A `threshold` of 0: never.
pub fn rebalances(own: &Candidate<'_>, best: &Candidate<'_>, threshold: f64, now: SystemTime) -> bool {
    let (own_use, best_use) = (own.weekly.at(now).effective, best.weekly.at(now).effective);
    own.id != best.id && exceeds(own_use - best_use, own.sound_weight(), threshold)
}

fn exceeds(difference: f64, weight: f64, threshold: f64) -> bool {
    threshold > 0.0 && difference > threshold / weight
}

fn none(
    pool: &Pool<'_>,
    assessed: &[Assessment<'_>],
    request: &RequestFacts<'_>,
    binding: Option<Binding>,
    now: SystemTime,
) -> Outcome {
    let refreshing: Vec<CredentialId> = assessed
        .iter()
        .filter(|one| one.standing == Standing::Refreshing && !one.is_tried)
        .map(|one| one.credential)
        .collect();
    if refreshing.is_empty() || request.has_awaited_refresh {
        Outcome::None(no_candidate::explain_none(pool, assessed, request, binding, now))
    } else {
        Outcome::AwaitRefresh(refreshing)
    }
}

enum Stay {
    Stays(CredentialId),
    Rebalances { from: CredentialId, to: CredentialId },
}

/// Whether the session stays with its credential. `None`: it has none that is usable, or the strategy decides anyway.
fn stays(
    pool: &Pool<'_>,
    assessed: &[Assessment<'_>],
    binding: Option<Binding>,
    request: &RequestFacts<'_>,
) -> Option<Stay> {
    let bound = binding?.credential;
    let own = assessed.iter().find(|one| one.credential == bound)?;
    if pool.strategy == Strategy::Fallback || own.is_tried || !own.standing.is_usable() {
        return None;
    }
    if pool.strategy == Strategy::LeastUsed && pool.rebalance_threshold > 0.0 && request.tried.is_empty() {
        let best = strategy::least_used(assessed, Standing::Usable).filter(|best| best.credential != bound);
        if let Some(best) = best
            && exceeds(own.weekly.effective - best.weekly.effective, own.weight, pool.rebalance_threshold)
        {
            return Some(Stay::Rebalances { from: bound, to: best.credential });
        }
    }
    Some(Stay::Stays(bound))
}

fn assess<'a>(
    candidate: &Candidate<'a>,
    strategy: Strategy,
    request: &RequestFacts<'_>,
    binding: Option<Binding>,
    sessions: &SessionTable,
    now: SystemTime,
) -> Assessment<'a> {
    let is_bound = binding.is_some_and(|bound| bound.credential == candidate.id);
    let weekly = candidate.weekly.at(now);
    let weight = candidate.sound_weight();
    let bound = sessions.bound_to(candidate.id);
    Assessment {
        tag: candidate.tag,
        credential: candidate.id,
        standing: standing(candidate, strategy, request, is_bound, now),
        score: score(&weekly, &candidate.five_hour, weight, bound, now),
        sessions: bound,
        is_tried: request.tried.contains(&candidate.id),
        weekly,
        weight,
    }
}

fn standing<'a>(
    candidate: &Candidate<'a>,
    strategy: Strategy,
    request: &RequestFacts<'_>,
    is_bound: bool,
    now: SystemTime,
) -> Standing<'a> {
    if !candidate.admits_user(request) {
        return Standing::NotForUser;
    }
    if request.model.is_some_and(|model| !glob::admits(candidate.models, model)) {
        return Standing::NotForModel;
    }
    if request.needs_api_key && candidate.kind != CredentialKind::ApiKey {
        return Standing::NoApiKey;
    }
    if request.transport == Transport::WebSocket && !candidate.carries_websocket {
        return Standing::NotForTransport;
    }
    let applying = || state::applying(candidate.facts, request, is_bound, now);
    if applying().any(Fact::is_not_serving) {
        return Standing::NotForModel;
    }
    let first = applying().min_by_key(|fact| fact.rank());
    match first {
        None if candidate.costs_extra() && strategy != Strategy::Fallback => Standing::UsableAtCost,
        None => Standing::Usable,
        Some(Fact::Refreshing) => Standing::Refreshing,
        Some(_) if applying().all(Fact::is_poll_failed) => Standing::PollFailed,
        Some(_) if applying().all(Fact::is_preference) => Standing::Throttled,
        Some(fact) => Standing::Unusable(fact),
    }
}

#[cfg(test)]
mod tests;
