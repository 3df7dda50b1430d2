//! What the store has to know of a login's content, which only its provider can tell.

use std::time::SystemTime;

use trunkline_core::json_edit::Edit;
use trunkline_core::secret::Secret;

/// Why a login is to be refreshed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its access token expires soon.
    Proactive,
    /// The provider refused this access token.
    Forced {
        /// The token that failed.
        failed: Secret,
    },
}

/// What an answer of a token endpoint does to a login file.
#[derive(Debug, Clone)]
pub struct TokenAnswer {
    /// The members to set.
    pub edits: Vec<Edit>,
    /// The refresh token that the answer carries; `None`: the old one stays good.
    pub refresh_token: Option<Secret>,
}

/// A text that is not a login file of this provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the login file is not valid; log in again with the client")]
pub struct NotALogin;

/// An answer without a token that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer holds no usable token")]
pub struct NotAToken;

/// How a provider's login files and token answers are read. Pure: the same arguments give the same result.
pub trait LoginFormat {
    /// The refresh token in a login file; `None` if there is none or an empty one.
    fn refresh_token(&self, login: &[u8]) -> Result<Option<Secret>, NotALogin>;

    /// Whether a login file holds an access token that makes this refresh unnecessary at `now`: one that needs no refresh
    /// yet; after a forced refresh's failure, only one other than that which failed.
    fn is_fresh(&self, login: &[u8], reason: &Reason, now: SystemTime) -> bool;

    /// What an answer, received at `received`, makes of this login file.
    fn answer(&self, answer: &[u8], login: &[u8], received: SystemTime) -> Result<TokenAnswer, NotAToken>;
}
