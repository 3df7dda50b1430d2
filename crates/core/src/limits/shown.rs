//! What of a pool's aggregate one answer shows, before a provider's spelling.

use std::time::{Duration, SystemTime};

use crate::limits::window::BaseWindow;
use crate::limits::{Aggregate, Claim, NoCandidate};

/// The reset that a peer is told for a window whose reset is not known: a peer accepts no answer without one.
pub const PEER_RESET: Duration = Duration::from_secs(60);

/// One answer to one user.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The pool as the user sees it.
    pub aggregate: &'a Aggregate,
    /// When it is shown.
    pub now: SystemTime,
    /// Whether another instance stands behind the user (limits.md, *To a peer*).
    pub is_peer: bool,
    /// Whether the answer is a 429, ours or the provider's.
    pub is_429: bool,
    /// The answer itself, if it is ours of *No candidate usable*.
    pub no_candidate: Option<&'a NoCandidate>,
}

impl View<'_> {
    /// The window that speaks for the answer, and its reset if that is ahead.
    pub fn claim(&self) -> (Claim, Option<SystemTime>) {
        if let Some(limited) = self.no_candidate.and_then(|answer| answer.limited.as_ref()) {
            let claim = limited.claim.clone().unwrap_or(Claim::Base(self.aggregate.claim));
            return (claim, limited.until.filter(|until| *until > self.now));
        }
        let claim = self.aggregate.claim;
        let frees = self.aggregate.frees.as_ref().filter(|frees| frees.claim == Some(Claim::Base(claim)));
        let reset = frees.and_then(|frees| frees.until).or(self.aggregate.windows.get(claim).resets_at);
        (Claim::Base(claim), reset.filter(|reset| *reset > self.now))
    }

    /// The reset of a base window, if it is ahead. In our own answer of *No candidate usable* that of the claimed
    /// window is the moment at which it frees, and in a 429 to a peer the claimed window always has one.
    pub fn reset(&self, which: BaseWindow) -> Option<SystemTime> {
        let (claim, claim_reset) = self.claim();
        let known = self.aggregate.windows.get(which).resets_at.filter(|reset| *reset > self.now);
        let is_claimed = claim == Claim::Base(which);
        let is_peers = self.is_peer && self.is_429 && base_of(&claim) == which;
        let known = if is_claimed && self.no_candidate.is_some() { claim_reset.or(known) } else { known };
        if !is_peers {
            return known;
        }
        known.or(claim_reset).or_else(|| self.now.checked_add(PEER_RESET))
    }

    /// Whether the answer says that nothing is to be had: nothing is usable, or nothing for this request.
    pub fn is_rejected(&self) -> bool {
        !self.aggregate.is_usable || self.no_candidate.is_some_and(|answer| !answer.is_throttle())
    }
}

/// The base window that a claim counts as where only those are known. Scoped windows are weekly.
pub fn base_of(claim: &Claim) -> BaseWindow {
    match claim {
        Claim::Base(which) => *which,
        Claim::Scope(_) => BaseWindow::Weekly,
    }
}
