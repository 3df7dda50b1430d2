//! What a login file gives: tokens, until when they are good, and what is known of the account.
//!
//! Spec: credentials.md, *Login file*. How each provider writes it: `provider/*/login.rs`.

use std::time::{Duration, SystemTime};

use crate::secret::{Secret, TokenDigest};

/// How long before its end an access token is renewed (credentials.md; both clients do the same).
pub const REFRESH_AHEAD: Duration = Duration::from_secs(5 * 60);

/// What kind of access a login file gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginKind {
    /// An OAuth login.
    #[default]
    OAuth,
    /// An API key that stands in the login file (Codex).
    ApiKey,
}

/// The plan of an account, in the provider's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The subscription: Claude `pro`, `max`, `team`, `enterprise`; Codex `plus`, `pro`, …
    pub subscription: Option<String>,
    /// The rate limit tier (Claude only).
    pub tier: Option<String>,
}

/// A login as read from its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What kind of access it is.
    pub kind: LoginKind,
    /// The token (or key) that requests carry; never empty.
    pub access_token: Secret,
    /// When it stops being accepted; `None`: never, as far as the file says.
    pub expires_at: Option<SystemTime>,
    /// What renews it; never empty.
    pub refresh_token: Option<Secret>,
    /// The id token beside it (Codex).
    pub id_token: Option<Secret>,
    /// From when on it is to be renewed without having been refused; `None`: it is not.
    pub refresh_due: Option<SystemTime>,
    /// What it may be used for (Claude).
    pub scopes: Vec<String>,
    /// The plan, as far as the file tells.
    pub plan: Plan,
    /// The account it belongs to, where the file tells.
    pub account_id: Option<String>,
}

impl Login {
    /// A login of nothing but a token, which never ends as far as is known.
    pub fn of_token(access_token: Secret) -> Self {
        Self {
            kind: LoginKind::OAuth,
            access_token,
            expires_at: None,
            refresh_token: None,
            id_token: None,
            refresh_due: None,
            scopes: Vec::new(),
            plan: Plan::default(),
            account_id: None,
        }
    }

    /// Whether it is to be renewed at `now`, ahead of its end.
    pub fn needs_refresh(&self, now: SystemTime) -> bool {
        self.refresh_token.is_some() && self.refresh_due.is_some_and(|due| due <= now)
    }
}

/// What tells a login from another, without holding anything of it: a change of the access token, the refresh token or
/// the end is a change of the login (credentials.md, *Refreshing*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginIdentity {
    access: Option<TokenDigest>,
    refresh: Option<TokenDigest>,
    expires_at: Option<SystemTime>,
}

impl LoginIdentity {
    /// That of no login.
    pub const NONE: Self = Self { access: None, refresh: None, expires_at: None };

    /// That of a login.
    pub fn of(login: &Login) -> Self {
        let digest = |secret: &Secret| TokenDigest::of(secret.expose().as_bytes());
        Self {
            access: Some(digest(&login.access_token)),
            refresh: login.refresh_token.as_ref().map(digest),
            expires_at: login.expires_at,
        }
    }

    /// Whether both have the same access token. No login has none.
    pub fn same_access_token(&self, other: &Self) -> bool {
        self.access.zip(other.access).is_some_and(|(one, other)| one.same(&other))
    }
}

/// Why a login file gives no login. The texts name no content of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Not JSON, or not of the expected types.
    #[error("the login file is not valid: {0}")]
    Invalid(String),
    /// A login of a kind that cannot be shared: what it is, with its article.
    #[error("the login file holds {0}, which cannot be used here")]
    OtherKind(&'static str),
    /// A file without a login in it: logged out.
    #[error("the login file holds no login (logged out)")]
    LoggedOut,
}

/// A moment given in milliseconds since 1970, as login files have it; 0 and everything before means "never".
pub fn from_unix_millis(millis: i64) -> Option<SystemTime> {
    let millis = u64::try_from(millis).ok().filter(|millis| *millis > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// A moment given in seconds since 1970; `None` for 0, for what is before and for what no clock can hold.
pub fn from_unix_seconds(seconds: f64) -> Option<SystemTime> {
    let since = Duration::try_from_secs_f64(seconds).ok().filter(|since| !since.is_zero())?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// The moment in milliseconds since 1970, as login files have it.
pub(crate) fn to_unix_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
