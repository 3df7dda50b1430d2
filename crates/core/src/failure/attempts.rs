//! A request's tries so far, and what they leave open.

use std::time::SystemTime;

use super::rows::{Row, Then};
use super::{Action, Repeat, Verdict};

/// Most tries of a request that may fail otherwise than by a refusal with a reset time.
pub const MAX_TRIES: u32 = 4;

/// A request's tries so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Tries that failed otherwise than by a refusal with a reset time.
    pub failed: u32,
    /// Whether the one hop is used.
    pub has_hopped: bool,
    /// Whether this credential was tried again on a new connection.
    pub has_reconnected: bool,
    /// Whether this credential was tried again with a new token.
    pub has_new_token: bool,
}

impl Attempts {
    /// Notes a failed try and what is done about it.
    pub fn note(&mut self, verdict: &Verdict) {
        if !verdict.has_reset {
            self.failed = self.failed.saturating_add(1);
        }
        self.act(verdict.action);
    }

    /// Notes what is done without a failure of its own: after a recovery or an interrupt.
    pub fn act(&mut self, action: Action) {
        match action {
            Action::Next | Action::Hop => {
                self.has_hopped |= action == Action::Hop;
                self.has_reconnected = false;
                self.has_new_token = false;
            }
            Action::Repeat(Repeat::NewConnection) => self.has_reconnected = true,
            Action::Repeat(Repeat::NewToken) => self.has_new_token = true,
            Action::PassThrough | Action::AuthRecovery | Action::GatewayTimeout | Action::End => {}
        }
    }
}

/// What a verdict depends on besides the failure itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// The request's tries so far, this one not yet noted.
    pub attempts: Attempts,
    /// Whether the session was bound to its credential before this request.
    pub was_bound: bool,
    /// Whether the body can be sent again: nothing of it is gone, or all of it is kept.
    pub is_replayable: bool,
    /// Whether another candidate is usable for this request and has not been tried.
    pub has_others: bool,
    /// Whether the credential is an API key.
    pub is_api_key: bool,
    /// Whether it takes nothing of the credential's windows: what it is refused says nothing of other requests.
    pub is_free: bool,
    /// The time.
    pub now: SystemTime,
}

/// How an auth recovery came out. Spec: credentials.md, *Auth failure*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// There is another token.
    NewToken,
    /// The token is good, or the failure was not confirmed: it is the request's own.
    RequestsOwn,
    /// The token is bad, and no refresh is allowed now, or it was refused.
    NoToken,
}

/// What the request does once the recovery is over.
pub fn after_recovery(recovery: Recovery, situation: &Situation) -> Action {
    match recovery {
        Recovery::NewToken if situation.is_replayable && !situation.attempts.has_new_token => {
            Action::Repeat(Repeat::NewToken)
        }
        Recovery::NewToken | Recovery::RequestsOwn => Action::PassThrough,
        // The try was noted when it failed.
        Recovery::NoToken => next(situation, situation.attempts.failed, true),
    }
}

/// What a request does that was interrupted, since its credential would refuse it too ([`crate::interrupt`]). Nothing
/// failed, so it counts towards nothing.
pub fn after_interrupt(situation: &Situation) -> Action {
    if situation.is_replayable && situation.has_others { Action::Next } else { Action::End }
}

/// What the request does, by what the row says and what is left to try.
pub(super) fn action(row: &Row, has_reset: bool, is_answer: bool, situation: &Situation) -> Action {
    let failed = situation.attempts.failed.saturating_add(u32::from(!has_reset));
    let pass = if is_answer { Action::PassThrough } else { Action::End };
    let may_hop = situation.is_replayable
        && situation.has_others
        && failed < MAX_TRIES
        && !situation.attempts.has_hopped;
    let then = match row.then {
        // One hop in all, whatever the row.
        Then::Next | Then::HopUnlessBound if situation.is_free && !row.is_of_credential() => Then::Hop,
        Then::Reconnect if situation.is_free && situation.attempts.has_reconnected => Then::Hop,
        then => then,
    };
    match then {
        // After a new token, or with nothing left to send or to try, the answer is the request's own.
        Then::Recover
            if situation.attempts.has_new_token || !situation.is_replayable || failed >= MAX_TRIES =>
        {
            pass
        }
        Then::Recover => Action::AuthRecovery,
        Then::Hop if may_hop => Action::Hop,
        Then::HopUnlessBound if may_hop && !situation.was_bound => Action::Hop,
        Then::PassThrough | Then::Hop | Then::HopUnlessBound => pass,
        Then::Reconnect
            if situation.is_replayable && !situation.attempts.has_reconnected && failed < MAX_TRIES =>
        {
            Action::Repeat(Repeat::NewConnection)
        }
        Then::Next | Then::Reconnect => next(situation, failed, is_answer),
        Then::TimeOut => Action::GatewayTimeout,
    }
}

fn next(situation: &Situation, failed: u32, is_answer: bool) -> Action {
    if !situation.is_replayable {
        // Nothing can be tried again, so this answer is the answer.
        return if is_answer { Action::PassThrough } else { Action::End };
    }
    if situation.has_others && failed < MAX_TRIES { Action::Next } else { Action::End }
}
