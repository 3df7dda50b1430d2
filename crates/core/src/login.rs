//! What a login file gives: a token to send, and until when it is good.

use std::time::{Duration, SystemTime};

use crate::secret::Secret;

/// A login as read from its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The token that requests carry.
    pub access_token: Secret,
    /// When it stops being accepted; `None`: never, as far as the file says.
    pub expires_at: Option<SystemTime>,
}

/// Why a login file gives no login. The texts name no content of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Not JSON, or not of the expected types.
    #[error("the login file is not valid: {0}")]
    Invalid(String),
    /// A file without a login in it: logged out.
    #[error("the login file holds no login (logged out)")]
    LoggedOut,
}

/// A moment given in milliseconds since 1970, as login files have it; 0 and everything before means "never".
pub fn from_unix_millis(millis: i64) -> Option<SystemTime> {
    let millis = u64::try_from(millis).ok().filter(|millis| *millis > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}
