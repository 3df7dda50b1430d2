//! What the store has to know of a login's content, which only its provider can tell.

use std::time::SystemTime;

use trunkline_core::json_edit::Edit;
use trunkline_core::login::{Login, LoginError, LoginKind};
use trunkline_core::provider::LoginFormat;
use trunkline_core::refresh::{RefreshAnswer, RefreshKind, Unread, settled_by};
use trunkline_core::secret::Secret;

use crate::journal_record::Answer;

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

/// What a login file holds that could be refreshed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A refresh token, not empty.
    RefreshToken(Secret),
    /// None, or an empty one: logged out, as the Claude client leaves a file whose refresh was refused.
    LoggedOut,
    /// A login of a kind that is never refreshed: an API key, or one that cannot be used here.
    OtherKind,
}

/// What an answer of a token endpoint does to a login file.
#[derive(Debug, Clone)]
pub struct AnswerEdits {
    /// The members to set.
    pub edits: Vec<Edit>,
    /// The refresh token that the answer carries; `None`: the old one stays good.
    pub refresh_token: Option<Secret>,
}

/// A text that is not a login file of this provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the login file is not valid; log in again with the client")]
pub struct NotALogin;

/// How login files and token answers are read, as far as the store needs it. Pure: the same arguments give the same result.
///
/// Every [`LoginFormat`] is one through [`ProviderFormat`].
pub trait StoreFormat {
    /// What a login file holds.
    fn stored(&self, login: &[u8]) -> Result<Stored, NotALogin>;

    /// Whether a login file holds an access token that makes this refresh unnecessary at `now`: one that needs no refresh
    /// yet; after a forced refresh's failure, only one other than that which failed.
    fn is_fresh(&self, login: &[u8], reason: &Reason, now: SystemTime) -> bool;

    /// What an answer makes of a login file. It may be encoded or cut: what can be read of it counts.
    fn answer(&self, answer: &Answer) -> Result<AnswerEdits, Unread>;
}

/// A provider's logins as the store sees them, with answers that are not encoded: the store knows no codings. Who gets answers
/// from the network wraps this, and decodes.
#[derive(Debug, Clone, Copy)]
pub struct ProviderFormat(pub &'static dyn LoginFormat);

impl StoreFormat for ProviderFormat {
    fn stored(&self, login: &[u8]) -> Result<Stored, NotALogin> {
        match self.0.read_login(login) {
            Ok(Login { kind: LoginKind::ApiKey, .. }) | Err(LoginError::OtherKind(_)) => {
                Ok(Stored::OtherKind)
            }
            Ok(login) => Ok(login.refresh_token.map_or(Stored::LoggedOut, Stored::RefreshToken)),
            Err(LoginError::LoggedOut) => Ok(Stored::LoggedOut),
            Err(LoginError::Invalid(_)) => Err(NotALogin),
        }
    }

    fn is_fresh(&self, login: &[u8], reason: &Reason, now: SystemTime) -> bool {
        let Ok(login) = self.0.read_login(login) else { return false };
        let is_settled = match reason {
            Reason::Proactive => settled_by(&login, RefreshKind::Proactive, &login, now),
            Reason::Forced { failed } => {
                settled_by(&login, RefreshKind::Forced, &Login::of_token(failed.clone()), now)
            }
        };
        is_settled && login.expires_at.is_none_or(|end| end > now)
    }

    fn answer(&self, answer: &Answer) -> Result<AnswerEdits, Unread> {
        let read = self.0.read_refresh_answer(&no_login(), answer.raw(), answer.received());
        Ok(AnswerEdits::of(&read?))
    }
}

/// A login without any token: what an answer is read beside, so that all that it gives is the answer's own.
pub fn no_login() -> Login {
    Login::of_token(Secret::new(""))
}

impl AnswerEdits {
    /// Those of an answer that was read beside [`no_login`].
    pub fn of(read: &RefreshAnswer) -> Self {
        Self { edits: read.edits.as_slice().to_vec(), refresh_token: read.login.refresh_token.clone() }
    }
}
