//! Whether a credential may serve a request, when that changes by itself, and whom a change interrupts.

use std::fmt;
use std::time::SystemTime;

use super::facts::{CappedWindow, Facts};
use super::state::{Availability, BlockReason, Scope};

/// The request that a credential is wanted for.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// Whether its session has a recorded binding to this credential; such a session is not new.
    pub is_bound: bool,
    /// Whether its model belongs to a family, by name.
    pub in_family: &'a dyn Fn(&str) -> bool,
}

impl fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("is_bound", &self.is_bound).finish_non_exhaustive()
    }
}

impl Asking<'_> {
    /// Whether a fact of this scope is about the request.
    fn is_in(&self, scope: &Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::NewSessions => !self.is_bound,
            Scope::ModelFamily(family) => (self.in_family)(family),
        }
    }
}

/// Whether a credential may be picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pickable {
    /// It may.
    Yes,
    /// Only failed polls speak against it: when nothing else is usable, it may.
    IfNothingElse,
    /// It may not, for this reason.
    No(Availability),
}

impl Facts {
    /// Whether the credential may be picked for a request at `now`. Unlike the state, which names the first row that holds
    /// for any request, this looks at what is about this one.
    pub fn pickable(&self, now: SystemTime, capped: &[CappedWindow], asking: &Asking<'_>) -> Pickable {
        let is_about = |scope: &Scope| asking.is_in(scope);
        match self.first(now, capped, &is_about, true) {
            None => Pickable::Yes,
            Some(Availability::Blocked { reason: BlockReason::PollFailed, .. }) => {
                self.first(now, capped, &is_about, false).map_or(Pickable::IfNothingElse, Pickable::No)
            }
            Some(state) => Pickable::No(state),
        }
    }

    /// Whether sessions that are bound to it stay so: nothing is against it that is about all requests. A request of such
    /// a session for a model family that is limited goes elsewhere nevertheless.
    pub fn keeps_bindings(&self, now: SystemTime, capped: &[CappedWindow]) -> bool {
        let only_all = |scope: &Scope| *scope == Scope::All;
        self.first(now, capped, &only_all, false).is_none()
    }

    /// Whether requests that still wait for a head of the answer are to be cancelled and tried elsewhere
    /// (routing.md, *Interrupts*): unavailable, or refused by the provider for all.
    pub fn interrupts(&self, now: SystemTime) -> bool {
        matches!(self.state(now, &[]), Availability::Unavailable { .. })
            || self.rate_limits(now).any(|limited| limited.scope == Scope::All)
    }

    /// The earliest moment after `now` at which the state changes by itself; `None` if only an event changes it.
    pub fn next_change(&self, now: SystemTime, capped: &[CappedWindow]) -> Option<SystemTime> {
        let state = self.state(now, capped);
        self.moments(now, capped).into_iter().find(|at| self.state(*at, capped) != state)
    }

    /// The earliest moment from `now` on at which the request could be served, by time alone; `None` if it takes an event.
    pub fn free_at(
        &self,
        now: SystemTime,
        capped: &[CappedWindow],
        asking: &Asking<'_>,
    ) -> Option<SystemTime> {
        let is_free = |at: &SystemTime| !matches!(self.pickable(*at, capped, asking), Pickable::No(_));
        std::iter::once(now).chain(self.moments(now, capped)).find(is_free)
    }

    /// The earliest moment after `now` at which any fact begins or ends to count by itself, whether or not that changes the
    /// state: until then [`Facts::listed`] gives the same.
    pub fn next_moment(&self, now: SystemTime, capped: &[CappedWindow]) -> Option<SystemTime> {
        self.moments(now, capped).into_iter().next()
    }

    /// Every moment after `now` at which some fact begins or ends to count, in order.
    fn moments(&self, now: SystemTime, capped: &[CappedWindow]) -> Vec<SystemTime> {
        let mut moments = Vec::new();
        let spans = [self.refresh_cooldown, self.upstream_rejected, self.connection, self.overloaded];
        let refusals = self.rate_limited.iter().map(|limited| limited.span);
        let bursts = self.bursts.iter().map(|burst| burst.span);
        for span in spans.into_iter().flatten().chain(refusals).chain(bursts) {
            if let Some(first) = span.next_change(now) {
                moments.push(first);
                // One that has yet to begin also ends.
                moments.extend(span.next_change(first));
            }
        }
        moments.extend(self.login.as_ref().ok().and_then(|login| login.expires_at).filter(|at| *at > now));
        moments.extend(capped.iter().filter_map(|capped| capped.until).filter(|at| *at > now));
        moments.sort_unstable();
        moments.dedup();
        moments
    }
}
