//! The states of a credential, and how each is named.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Which requests a fact is about. `Family`: how the models of a family are told: by the name that the limits give it
/// (`opus`, or the id of a limit), or, for the selection, as [`ModelFamily`](crate::selection::ModelFamily).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope<Family = Arc<str>> {
    /// Every request.
    All,
    /// Requests of sessions that have no recorded binding to the credential, and requests without a session.
    NewSessions,
    /// Requests for the models of a family, of bound sessions too: limits.md, *Caps*, makes a scoped window bar "requests of
    /// that scope".
    ModelFamily(Family),
}

impl<Family> Scope<Family> {
    /// The same with the family told otherwise.
    pub fn map<Other>(&self, tell: impl FnOnce(&Family) -> Other) -> Scope<Other> {
        match self {
            Self::All => Scope::All,
            Self::NewSessions => Scope::NewSessions,
            Self::ModelFamily(family) => Scope::ModelFamily(tell(family)),
        }
    }
}

/// Why a credential is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockReason {
    /// The instance behind an external credential has nothing to serve us with (federation.md).
    UpstreamRejected,
    /// The access token has expired, and its refresh may not be tried again yet.
    RefreshCooldown,
    /// The upstream could not be connected to, several times in a row.
    Connection,
    /// The usage or status poll failed.
    PollFailed,
    /// Errors of the server, several in a row.
    Overloaded,
    /// A refusal of the moment (429) that names no window.
    Burst,
}

impl BlockReason {
    /// Its name in logs, metrics and answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::UpstreamRejected => "upstream_rejected",
            Self::RefreshCooldown => "refresh_cooldown",
            Self::Connection => "connection",
            Self::PollFailed => "poll_failed",
            Self::Overloaded => "overloaded",
            Self::Burst => "burst",
        }
    }

    /// Which requests it keeps away.
    pub fn scope(self) -> Scope {
        match self {
            Self::UpstreamRejected | Self::RefreshCooldown | Self::Connection | Self::PollFailed => {
                Scope::All
            }
            Self::Overloaded | Self::Burst => Scope::NewSessions,
        }
    }

    /// Whether it keeps away new sessions alone.
    pub fn spares_bound_sessions(self) -> bool {
        self.scope() == Scope::NewSessions
    }
}

/// Why there is nothing to authenticate with. The texts name no path and no account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No tunnel is connected that leads to it.
    NotConnected,
    /// No login could be read: what reading said.
    NoLogin(Arc<str>),
    /// The provider refused the credential as a whole (revoked, disabled, a wrong key): what it is about.
    Refused(Arc<str>),
    /// The access token is used up and no refresh can renew it. What the owner has to do.
    LoginExpired(&'static str),
    /// The access token is used up, and a new one could not be kept: what is in the way.
    CannotKeep(Arc<str>),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => f.write_str("reverse connection not established"),
            Self::NoLogin(why) | Self::Refused(why) => f.write_str(why),
            Self::LoginExpired(hint) => write!(f, "login expired, {hint}"),
            Self::CannotKeep(why) => write!(f, "login expired, and a new one could not be kept: {why}"),
        }
    }
}

/// The state of a credential at one moment; the order of the table in credentials.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// There is nothing to authenticate with.
    Unavailable {
        /// Why not.
        why: Unavailable,
    },
    /// The access token is used up and is being renewed; requests may wait for that.
    Refreshing {
        /// Since when: the start of the refresh, or while it is only due, the end of the token.
        since: SystemTime,
    },
    /// Kept away from for a while, by us.
    Blocked {
        /// Why.
        reason: BlockReason,
        /// From which requests.
        scope: Scope,
        /// Until when, if time alone ends it.
        until: Option<SystemTime>,
    },
    /// Refused by the provider with a reset time that is still ahead.
    RateLimited {
        /// When the window resets.
        until: SystemTime,
        /// Which window.
        window: Arc<str>,
        /// For which requests.
        scope: Scope,
    },
    /// A window is used up to its cap.
    Capped {
        /// Which window.
        window: Arc<str>,
        /// For which requests.
        scope: Scope,
    },
    /// None of these.
    Usable,
}

impl Availability {
    /// The names of all states, in the order of the table in credentials.md.
    pub const LABELS: [&str; 6] =
        ["unavailable", "refreshing", "blocked", "rate_limited", "capped", "usable"];

    /// Its name in logs, metrics and the status.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Refreshing { .. } => "refreshing",
            Self::Blocked { .. } => "blocked",
            Self::RateLimited { .. } => "rate_limited",
            Self::Capped { .. } => "capped",
            Self::Usable => "usable",
        }
    }

    /// Which requests it keeps away; `None` where it keeps none away.
    pub fn scope(&self) -> Option<Scope> {
        match self {
            Self::Unavailable { .. } | Self::Refreshing { .. } => Some(Scope::All),
            Self::Blocked { scope, .. } | Self::RateLimited { scope, .. } | Self::Capped { scope, .. } => {
                Some(scope.clone())
            }
            Self::Usable => None,
        }
    }

    /// When it ends by time alone, where the state itself says so.
    pub fn until(&self) -> Option<SystemTime> {
        match self {
            Self::Blocked { until, .. } => *until,
            Self::RateLimited { until, .. } => Some(*until),
            Self::Unavailable { .. } | Self::Refreshing { .. } | Self::Capped { .. } | Self::Usable => None,
        }
    }

    /// Whether both are the same state for a reader, who is not told again each time an end moves.
    pub fn is_same_state(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unavailable { why }, Self::Unavailable { why: other }) => why == other,
            (
                Self::Blocked { reason, scope, .. },
                Self::Blocked { reason: other_reason, scope: other_scope, .. },
            ) => (reason, scope) == (other_reason, other_scope),
            (
                Self::RateLimited { window, scope, .. } | Self::Capped { window, scope },
                Self::RateLimited { window: other_window, scope: other_scope, .. }
                | Self::Capped { window: other_window, scope: other_scope },
            ) => self.label() == other.label() && (window, scope) == (other_window, other_scope),
            (Self::Refreshing { .. }, Self::Refreshing { .. }) | (Self::Usable, Self::Usable) => true,
            _ => false,
        }
    }
}
