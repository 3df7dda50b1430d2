//! Refreshing logins: when, how often, and what follows from the answer. Everything but the doing.
//!
//! Spec: credentials.md, *Refreshing, step by step*. The doing (locks, journal, the call, the file) asks here at each
//! step: [`RefreshPolicy`] whether a refresh may begin and when the next one is due, [`settled_by`] whether somebody
//! else did it meanwhile, [`TokenCall`] what to do about a call that did not get an answer, and [`judge`] what an
//! answer means.

mod answer;
mod call;
mod cut;
mod policy;
mod reread;

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::secret::Secret;

pub(crate) use answer::REFUSING_CODES;
pub use answer::{
    AccountFacts, AnswerError, MAX_TOKEN_ANSWER, RefreshAnswer, RefreshFailure, TokenAnswer, Unread, judge,
    refuses_scopes,
};
pub use call::{CALL_LASTS, NextTry, TokenCall};
pub use cut::closed;
pub use policy::{AfterFailure, Denied, RefreshPolicy};
pub use reread::{is_settled_after_failure, settled_by};

/// Room for the body of a refresh request. Tokens are far shorter; a longer one is copied on the way.
const BODY_CAPACITY: usize = 16 * 1024;

/// Why a login is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshKind {
    /// Ahead of the end of its access token, or past it.
    Proactive,
    /// The provider refused its access token.
    Forced,
}

impl RefreshKind {
    /// How long after a refresh of this kind that was answered with a token the next one may begin.
    pub fn spacing(self) -> Duration {
        match self {
            Self::Proactive => Duration::from_secs(60),
            Self::Forced => Duration::from_secs(5 * 60),
        }
    }
}

/// The body of a refresh request, which is posted to the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshRequest {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The body; it carries the refresh token.
    pub body: Secret,
    /// The body to send instead once the server has refused this one's scopes, which spends nothing.
    pub with_own_scopes: Option<Secret>,
}

/// A request with a JSON body, written into one buffer that is wiped with it. `None` is for what cannot be written as JSON.
pub(crate) fn posted_json(body: &impl serde::Serialize) -> Option<RefreshRequest> {
    Some(RefreshRequest { content_type: "application/json", body: json_body(body)?, with_own_scopes: None })
}

/// See [`posted_json`].
pub(crate) fn json_body(body: &impl serde::Serialize) -> Option<Secret> {
    let mut text = Zeroizing::new(Vec::with_capacity(BODY_CAPACITY));
    serde_json::to_writer(&mut *text, body).ok()?;
    Some(Secret::new(String::from_utf8(std::mem::take(&mut *text)).ok()?))
}

/// The later of two moments, of which one may be missing.
fn later_of(one: SystemTime, other: Option<SystemTime>) -> SystemTime {
    other.map_or(one, |other| one.max(other))
}

#[cfg(test)]
mod tests;
