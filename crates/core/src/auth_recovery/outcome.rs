//! What a recovery is told, and what it says.

use crate::refresh::Denied;

/// What the credential's owner is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read the login file again.
    ReadFile,
    /// Ask the provider whether it takes the token: one usage poll, or `GET /v1/models` where there is none.
    Check,
    /// Refresh the login, or wait for a refresh that is under way.
    Refresh,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Sent again on the same credential, with the login that it has now.
    Retry {
        /// Whether that login was refreshed for it: another refusal is then the request's own.
        after_refresh: bool,
    },
    /// The answer is passed through: the refusal is the request's own.
    PassThrough,
    /// Tried on the next candidate.
    NextCandidate,
}

impl Outcome {
    /// The outcome for a request that has been retried before: with another token only once.
    #[must_use]
    pub fn for_request(self, tries: Tries) -> Self {
        match self {
            Self::Retry { after_refresh: false } if tries.with_other_token => Self::NextCandidate,
            outcome => outcome,
        }
    }
}

/// How a request was retried on this credential already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tries {
    /// With a token that the file had meanwhile.
    pub with_other_token: bool,
    /// After a refresh.
    pub after_refresh: bool,
}

/// What the check was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckAnswer {
    /// 200: the token is good.
    Accepted,
    /// 401, or 403 revoked.
    Refused,
    /// Anything else, or nothing.
    NoAnswer,
}

/// Whether a forced refresh may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForcedRefresh {
    /// It may, or one is under way that can be waited for.
    Allowed,
    /// Not now: its rate, a cooldown, or a refresh token that was refused for good.
    NotNow,
    /// There is nothing to refresh with: a fixed token, a key.
    Impossible,
}

impl From<Result<(), Denied>> for ForcedRefresh {
    fn from(answer: Result<(), Denied>) -> Self {
        match answer {
            Ok(()) | Err(Denied::UnderWay) => Self::Allowed,
            Err(Denied::NoRefreshToken) => Self::Impossible,
            Err(Denied::Until(_) | Denied::NotDue | Denied::RefusedForGood | Denied::WriteOutstanding) => {
                Self::NotNow
            }
        }
    }
}

/// How the refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshEnd {
    /// There is a new access token.
    NewToken,
    /// There is none.
    Failed,
}

/// What the credential is to be marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Its access token counts as expired.
    TokenRefused,
    /// The credential as a whole is refused: it has nothing that could renew it.
    CredentialRefused,
}

/// What follows for everybody who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The owner is to do this; requests wait.
    Do(Step),
    /// A step is under way; requests wait.
    Wait,
    /// Done: this is the outcome.
    Settled(Outcome),
}

/// What follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// For those who wait.
    pub next: Next,
    /// For the credential.
    pub mark: Option<Mark>,
}

impl From<Next> for Advance {
    fn from(next: Next) -> Self {
        Self { next, mark: None }
    }
}
