//! What the answer of a token endpoint means (the table of credentials.md, *Refreshing*).

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::document::{Document, Edits, text};
use crate::login::Login;
use crate::provider::LoginFormat;
use crate::retry_after::retry_after;
use crate::secret::Secret;

/// Largest answer that is read, in bytes; a real one has a few kilobytes.
pub const MAX_TOKEN_ANSWER: usize = 1024 * 1024;

/// An answer of the token endpoint.
#[derive(Clone, Copy)]
pub struct TokenAnswer<'a> {
    /// Its status.
    pub status: u16,
    /// The value of `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// Its body.
    pub body: &'a [u8],
}

impl std::fmt::Debug for TokenAnswer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Whose login it is, where the answer tells. Kept in memory; emails are for nobody's eyes but the owner's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFacts {
    /// The account.
    pub account_id: Option<String>,
    /// Its email address.
    pub email: Option<Secret>,
    /// Its organization.
    pub organization_id: Option<String>,
}

/// An answer with a token, read.
#[derive(Debug)]
pub struct RefreshAnswer {
    /// The login as it is from now on.
    pub login: Login,
    /// What is to be changed in the login file: nothing but what the answer gave.
    pub edits: Edits,
    /// Whose login it is.
    pub account: AccountFacts,
}

/// Why an answer gives no login. The texts name no content of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not a JSON object.
    #[error("the answer of the token endpoint is not a JSON object")]
    NotAnObject,
    /// No token in it that could be used.
    #[error("the answer of the token endpoint holds no usable token")]
    NoToken,
}

/// Why a 2xx answer of the token endpoint gives no token. Its refresh token may be spent, so what came is kept, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is not in the coding that it names, or that coding is not known.
    #[error("it is compressed in a way that could not be undone")]
    Encoded,
    /// It is longer than [`MAX_TOKEN_ANSWER`], or decodes to more.
    #[error("it is longer than 1 MiB")]
    TooLong,
    /// The connection ended before the answer did.
    #[error("its end is missing")]
    Cut,
    /// It is not a JSON object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// No token in it that could be used.
    #[error("it holds no usable token")]
    NoToken,
}

impl From<AnswerError> for Unread {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::NotAnObject => Self::NotAnObject,
            AnswerError::NoToken => Self::NoToken,
        }
    }
}

/// How a refresh failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshFailure {
    /// 429; how long `Retry-After` asks to wait, if it says so.
    TooManyRequests(Option<Duration>),
    /// The refresh token is refused for good.
    RefusedForGood,
    /// Another 4xx, or a redirect: something is wrong that time alone may not cure.
    Unusable,
    /// A 2xx that no token could be read from. It is kept, since the refresh token may be spent.
    Unread(Unread),
    /// 5xx, or no answer at all.
    Unreachable,
}

impl RefreshFailure {
    /// Its name in logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooManyRequests(_) => "too_many_requests",
            Self::RefusedForGood => "refused",
            Self::Unusable => "unusable",
            Self::Unread(_) => "unread",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What an answer to a refresh of `before` means. `now`: when it came, from which the new token's life is counted.
pub fn judge(
    format: &dyn LoginFormat,
    before: &Login,
    answer: &TokenAnswer<'_>,
    now: SystemTime,
) -> Result<RefreshAnswer, RefreshFailure> {
    match answer.status {
        200..=299 => {
            let read = format.read_refresh_answer(before, answer.body, now);
            read.map_err(|error| RefreshFailure::Unread(error.into()))
        }
        429 => {
            Err(RefreshFailure::TooManyRequests(answer.retry_after.and_then(|value| retry_after(value, now))))
        }
        500..=599 => Err(RefreshFailure::Unreachable),
        status if format.refuses_for_good(status, error_code(answer.body).as_deref()) => {
            Err(RefreshFailure::RefusedForGood)
        }
        _ => Err(RefreshFailure::Unusable),
    }
}

/// The codes with which a refresh token is refused for good, with 400 or 401 (credentials.md, the table).
pub(crate) const REFUSING_CODES: [&str; 4] =
    ["invalid_grant", "refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated"];

/// Whether an answer refuses the scopes that were asked for, and nothing else: a login may be older than one of them.
pub fn refuses_scopes(answer: &TokenAnswer<'_>) -> bool {
    answer.status == 400 && error_code(answer.body).as_deref() == Some("invalid_scope")
}

/// The error code of an answer: `error.code`, `error.type`, `error` as a text, or `code`; the first that refuses for good,
/// else the first there is (fact sheets: Claude section 3, Codex section 6).
fn error_code(body: &[u8]) -> Option<String> {
    let document = Document::parse(body.get(..body.len().min(MAX_TOKEN_ANSWER))?).ok()?;
    let members = document.members();
    let nested = members.get("error").and_then(Value::as_object);
    let of = |members: Option<&Map<String, Value>>, name| {
        members.and_then(|members| text(members, name)).map(str::to_owned)
    };
    let codes =
        [of(nested, "code"), of(nested, "type"), of(Some(members), "error"), of(Some(members), "code")];
    let refuses = |code: &&Option<String>| code.as_deref().is_some_and(|code| REFUSING_CODES.contains(&code));
    codes.iter().find(refuses).or_else(|| codes.iter().find(|code| code.is_some()))?.clone()
}
