//! What the client gets when nothing more is tried.
//!
//! Spec: routing.md, end of *Failures before the first response byte*, and *No candidate usable*.

mod words;

use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::limits::{self, BaseWindow, Claim, Limited, credential_state};
use crate::selection::{NoCandidate, WhyNone, Window};

/// What the client gets when the tries have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalAnswer {
    /// The last answer that the provider gave.
    LastUpstream,
    /// The one of [`refuse`].
    NoCandidate,
    /// 502: there was no answer.
    BadGateway,
}

/// Which answer that is. `none`: what the selection found when the next candidate was looked for, if it found none;
/// `has_tried`: whether anything was tried for the request; `has_answer`: whether an answer of the provider's is at hand.
pub fn final_answer(none: Option<&NoCandidate>, has_tried: bool, has_answer: bool) -> FinalAnswer {
    // "Every candidate is limited" includes the line "some unavailable, rest limited": time is all that is missing.
    let is_limited = none.is_some_and(|none| matches!(none.why, WhyNone::AllLimited | WhyNone::SomeLimited));
    match none {
        Some(_) if is_limited || !has_tried => FinalAnswer::NoCandidate,
        _ if has_answer => FinalAnswer::LastUpstream,
        _ => FinalAnswer::BadGateway,
    }
}

/// A client waits this long by itself. A longer `retry-after` makes the real clients give up at once, and
/// `x-should-retry: false` says the same to the others.
const LONGEST_CLIENT_WAIT: u64 = 60;

/// What a refusal of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedFor {
    /// 429 `rate_limit_error`; Codex: `usage_limit_reached`.
    Limit,
    /// 503 `api_error`.
    Unavailable,
    /// 403 `permission_error`.
    Permission,
    /// 400, in the provider's words for a model that may not be used.
    Model,
    /// 400: such a request is for API keys alone.
    NoApiKey,
    /// 426, on which the client takes to HTTP.
    Transport,
}

impl RefusedFor {
    /// The status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Limit => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Permission => StatusCode::FORBIDDEN,
            Self::Model | Self::NoApiKey => StatusCode::BAD_REQUEST,
            Self::Transport => StatusCode::UPGRADE_REQUIRED,
        }
    }
}

/// An answer of ours to a request that no credential can serve. The window whose claim and reset a 429 carries is
/// [`NoCandidate::window`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What it is.
    pub reason: RefusedFor,
    /// What it says: counts, tags and states.
    pub message: String,
    /// `retry-after`, in seconds.
    pub retry_after: Option<u64>,
    /// Whether `x-should-retry: false` is sent.
    pub is_final: bool,
}

impl Refused {
    /// As what renders answers wants it, for a 429 or a 503: with the window that frees first.
    pub fn to_answer(&self, none: &NoCandidate) -> limits::NoCandidate {
        let is_limit = self.reason == RefusedFor::Limit;
        let limited = none.window.as_ref().map(|(window, until)| Limited {
            claim: match window {
                Window::FiveHour => Some(Claim::Base(BaseWindow::FiveHour)),
                Window::Weekly => Some(Claim::Base(BaseWindow::Weekly)),
                // An account as a whole has no window of its own to name.
                Window::Named(name) if name == credential_state::ACCOUNT => None,
                Window::Named(name) => credential_state::scope_of(name).map(Claim::Scope),
            },
            until: Some(*until),
        });
        limits::NoCandidate {
            is_limit,
            message: self.message.clone(),
            retry_after: self.retry_after,
            is_final: self.is_final,
            limited: limited
                .or(Some(Limited { claim: None, until: None }))
                // No window stands behind a refusal of the moment, and none is to be told of.
                .filter(|_| is_limit && !none.counts.is_throttled()),
        }
    }
}

/// The answer to a request of `user` (if there are users) for `model` (if it names one).
pub fn refuse(none: &NoCandidate, user: Option<&str>, model: Option<&str>, now: SystemTime) -> Refused {
    let message = words::message(none, user, model, now);
    let wait = none.free_at.and_then(|free| free.duration_since(now).ok()).map(seconds);
    let plain = |reason| Refused { reason, message: message.clone(), retry_after: None, is_final: true };
    match none.why {
        WhyNone::NotForUser => plain(RefusedFor::Permission),
        WhyNone::NotForModel => plain(RefusedFor::Model),
        WhyNone::NoApiKey => plain(RefusedFor::NoApiKey),
        WhyNone::NotForTransport => plain(RefusedFor::Transport),
        WhyNone::AllLimited | WhyNone::SomeLimited => Refused {
            reason: RefusedFor::Limit,
            message,
            retry_after: wait,
            is_final: wait.is_none_or(|wait| wait > LONGEST_CLIENT_WAIT),
        },
        WhyNone::AllUnavailable | WhyNone::AllTried => {
            let wait = wait.filter(|wait| *wait <= LONGEST_CLIENT_WAIT);
            Refused { reason: RefusedFor::Unavailable, message, retry_after: wait, is_final: wait.is_none() }
        }
    }
}

/// Whole seconds, rounded up, at least one: who comes back must find the credential free.
fn seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests;
