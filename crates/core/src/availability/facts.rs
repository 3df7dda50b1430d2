//! What is known of one credential, and the state that follows.

use std::sync::Arc;
use std::time::SystemTime;

use super::state::Scope;
use super::streak::{FailureCounts, Streak};
use crate::login::{Login, LoginIdentity};
use crate::span::Span;

/// Most refusals remembered at once. The names of windows come from the provider; real ones have a handful.
pub const MAX_RATE_LIMITED: usize = 32;

/// Where a credential's authorization comes from, which decides what brings it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A login file (or keychain entry) that is watched.
    LoginFile,
    /// A long-lived token or an API key in the configuration.
    Fixed,
    /// Another instance, dialled by us.
    External,
    /// Another instance, behind a tunnel that it opens.
    Reverse,
}

/// How an access token is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Ahead of its end, and when it was refused.
    Ahead,
    /// Only when it was refused (Claude: a login without the scope that proactive refreshes need).
    WhenRefused,
    /// Not at all.
    Never,
}

/// What availability needs to know of a login: nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFacts {
    /// What tells it from another login.
    pub identity: LoginIdentity,
    /// When its access token ends; `None`: never, as far as is known.
    pub expires_at: Option<SystemTime>,
    /// How it is renewed.
    pub renewal: Renewal,
    /// Whose it is, where the login says so.
    pub account: Option<Arc<str>>,
}

impl LoginFacts {
    /// The facts of a login.
    pub fn of(login: &Login) -> Self {
        let renewal = match (login.refresh_token.is_some(), login.refresh_due) {
            (true, Some(_)) => Renewal::Ahead,
            (true, None) => Renewal::WhenRefused,
            (false, _) => Renewal::Never,
        };
        Self {
            identity: LoginIdentity::of(login),
            expires_at: login.expires_at,
            renewal,
            account: login.account_id.as_deref().map(Arc::from),
        }
    }
}

/// A refusal with a reset time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimited {
    /// From the refusal to the reset.
    pub span: Span,
    /// The window that refused.
    pub window: Arc<str>,
    /// The requests that it is about.
    pub scope: Scope,
}

/// Most refusals of the moment remembered at once. Keys have one for each family of models.
pub(super) const MAX_BURSTS: usize = 16;

/// A refusal of the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// For how long new sessions are kept away.
    pub span: Span,
    /// The models that it is about, by the name of their family; `None`: all.
    pub family: Option<Arc<str>>,
    /// Whether the provider said how long.
    pub is_stated: bool,
}

/// A window at its cap, as the limits say at the time of the read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CappedWindow {
    /// Its name.
    pub window: Arc<str>,
    /// The requests that it is about.
    pub scope: Scope,
    /// When it resets, if that is known.
    pub until: Option<SystemTime>,
}

/// What is known of one credential.
#[derive(Debug, Clone)]
pub struct Facts {
    pub(super) source: Source,
    /// What the owner has to do for a new login.
    pub(super) hint: &'static str,
    /// The login, or why there is none.
    pub(super) login: Result<LoginFacts, Arc<str>>,
    /// The last login that there was.
    pub(super) known: Option<LoginFacts>,
    /// Since when the access token counts as expired because the provider refused it.
    pub(super) token_refused: Option<SystemTime>,
    pub(super) refresh_refused: bool,
    pub(super) cannot_keep: Option<Arc<str>>,
    /// Refused as a whole: why, and when it was last found to be so.
    pub(super) refused: Option<(Arc<str>, SystemTime)>,
    pub(super) is_connected: bool,
    pub(super) refreshing_since: Option<SystemTime>,
    pub(super) refresh_cooldown: Option<Span>,
    pub(super) upstream_rejected: Option<Span>,
    pub(super) connection: Option<Span>,
    pub(super) overloaded: Option<Span>,
    pub(super) bursts: Vec<Burst>,
    pub(super) poll_failures: u32,
    pub(super) rate_limited: Vec<RateLimited>,
    pub(super) server_errors: Streak,
    pub(super) failed_connections: Streak,
    pub(super) counts: FailureCounts,
}

impl Facts {
    /// A credential of which nothing is known yet. `hint`: what its owner has to do for a new login or key. A login file has
    /// no login before one was read; a tunnel is not connected.
    pub fn new(source: Source, hint: &'static str) -> Self {
        let login = match source {
            Source::LoginFile => Err(Arc::from("the login file has not been read yet")),
            Source::Fixed | Source::External | Source::Reverse => Ok(LoginFacts {
                identity: LoginIdentity::NONE,
                expires_at: None,
                renewal: Renewal::Never,
                account: None,
            }),
        };
        Self {
            source,
            hint,
            login,
            known: None,
            token_refused: None,
            refresh_refused: false,
            cannot_keep: None,
            refused: None,
            is_connected: source != Source::Reverse,
            refreshing_since: None,
            refresh_cooldown: None,
            upstream_rejected: None,
            connection: None,
            overloaded: None,
            bursts: Vec::new(),
            poll_failures: 0,
            rate_limited: Vec::new(),
            server_errors: Streak::default(),
            failed_connections: Streak::default(),
            counts: FailureCounts::default(),
        }
    }

    /// Whether the access token counts as expired because the provider refused it.
    pub fn is_token_refused(&self) -> bool {
        self.token_refused.is_some()
    }

    /// Whether there is an access token that counts as good at `now`. Of a key, or another instance: whether there is one.
    pub fn has_good_token(&self, now: SystemTime) -> bool {
        self.login.is_ok() && self.is_connected && self.used_up_since(now).is_none()
    }

    /// When the access token ends, if it does by time.
    pub fn token_ends_at(&self) -> Option<SystemTime> {
        self.login.as_ref().ok().filter(|_| self.source == Source::LoginFile)?.expires_at
    }

    /// Whether a good answer would change nothing: no failures in a row, and no failed poll, are held against it.
    pub fn is_untroubled(&self) -> bool {
        self.poll_failures == 0 && self.server_errors.is_empty() && self.failed_connections.is_empty()
    }

    /// Failed polls since the last good one.
    pub fn consecutive_poll_failures(&self) -> u32 {
        self.poll_failures
    }

    /// What was counted without changing the state.
    pub fn failure_counts(&self) -> FailureCounts {
        self.counts
    }

    /// The refusals of the moment that count at `now`.
    pub fn bursts(&self, now: SystemTime) -> impl Iterator<Item = &Burst> {
        self.bursts.iter().filter(move |burst| burst.span.counts(now))
    }

    /// The refusals that count at `now`.
    pub fn rate_limits(&self, now: SystemTime) -> impl Iterator<Item = &RateLimited> {
        self.rate_limited.iter().filter(move |limited| limited.span.counts(now))
    }
}
