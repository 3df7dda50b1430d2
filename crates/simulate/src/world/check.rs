//! Checking a selection by its result.

use trunkline_core::ids::CredentialId;
use trunkline_core::selection::{Outcome, PickReason, Strategy};
use trunkline_core::sessions::IDLE_EXPIRY;

use super::{World, id_of};

impl World<'_> {
    /// The selection, checked by its result: a usable one if there is one, and the session's own unless there is a reason.
    /// What is wrong with it, if anything.
    pub(super) fn check(
        &self,
        session: usize,
        tried: &[CredentialId],
        outcome: &Outcome,
        is_rebalanced: bool,
    ) -> Option<String> {
        let state = &self.sessions[session];
        let model = self.request(session, tried).model;
        let bound = self.table.get(&state.key, self.now).map(|binding| binding.credential);
        let is_usable = |account: usize| {
            let is_bound = bound == Some(id_of(account));
            !tried.contains(&id_of(account))
                && !self.known[account].facts().iter().any(|fact| {
                    fact.until().is_none_or(|until| until > self.now) && fact.concerns(model, is_bound)
                })
        };
        let usable: Vec<usize> = (0..self.known.len()).filter(|account| is_usable(*account)).collect();
        let may_be_unbound = state
            .last
            .is_none_or(|(_, at)| self.now.duration_since(at).is_ok_and(|idle| idle >= IDLE_EXPIRY));
        match outcome {
            // Tried all the same where nothing else is usable.
            Outcome::Picked(pick) if usable.is_empty() && pick.reason == PickReason::Throttled => None,
            Outcome::Picked(pick) if !usable.contains(&(pick.credential.0 as usize)) => {
                Some(format!("picked {pick:?}, and {usable:?} were usable"))
            }
            Outcome::Picked(pick) => match bound {
                Some(bound)
                    if bound != pick.credential
                        && usable.contains(&(bound.0 as usize))
                        && !is_rebalanced
                        && self.setting.strategy != Strategy::Fallback =>
                {
                    Some(format!("session {session} left {bound:?} for {pick:?} without a reason"))
                }
                None if !may_be_unbound && self.tally.rebalanced == 0 => {
                    Some(format!("session {session} has lost its binding"))
                }
                _ => None,
            },
            _ if !usable.is_empty() => Some(format!("{outcome:?}, and {usable:?} were usable")),
            _ => None,
        }
    }
}
