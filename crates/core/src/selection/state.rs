//! What keeps a credential from being usable. Spec: credentials.md, *Availability*.

use std::fmt;
use std::time::SystemTime;

use super::{Quota, RequestFacts};
use crate::availability::{self, BlockReason};
use crate::glob;
use crate::limits::LimitScope;
use crate::limits::credential_state::scope_of;

/// A rate-limit window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// The base window of up to 24 h.
    FiveHour,
    /// The longer base window.
    Weekly,
    /// A scoped window by its name (`7d_opus`), or the window of a `limits` entry.
    Named(String),
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FiveHour => f.write_str("5h"),
            Self::Weekly => f.write_str("weekly"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// Models that share a scoped window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFamily {
    /// What a person calls it (`opus`).
    pub name: String,
    /// Globs that its models match (`*opus*`).
    pub models: Vec<String>,
}

impl ModelFamily {
    /// Whether the model is one of them; of a request that names none, none is.
    fn has(&self, model: Option<&str>) -> bool {
        model.is_some_and(|model| self.models.iter().any(|glob| glob::matches(glob, model)))
    }
}

/// What a fact concerns.
pub type Scope = availability::Scope<ModelFamily>;

/// Something that keeps a credential from being usable, for as long as it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It has no login that works, or no tunnel. `why` is for people: no path, no address.
    Unavailable {
        /// Why.
        why: String,
    },
    /// Its access token no longer works, and a new one is being fetched.
    Refreshing,
    /// It is left alone for a while.
    Blocked {
        /// Why; the scope follows from it.
        reason: BlockReason,
        /// Until when, if that is known.
        until: Option<SystemTime>,
    },
    /// The provider refused a moment ago, by no window.
    Throttled {
        /// The models that it is about; `None`: all.
        family: Option<ModelFamily>,
        /// Until when.
        until: SystemTime,
        /// Whether the provider said so. A guess of ours is a preference: where nothing else is usable, it is tried.
        is_stated: bool,
    },
    /// The provider refused.
    RateLimited {
        /// The window that refused.
        window: Window,
        /// What it concerns; never [`Scope::NewSessions`].
        scope: Scope,
        /// Until when; `None` only if nothing is known.
        until: Option<SystemTime>,
    },
    /// As much of a window is used as may be.
    Capped {
        /// The window.
        window: Window,
        /// What it concerns; never [`Scope::NewSessions`].
        scope: Scope,
        /// When the window resets, if known.
        until: Option<SystemTime>,
    },
}

impl Fact {
    /// Until when it holds; `None`: until something happens.
    pub fn until(&self) -> Option<SystemTime> {
        match self {
            Self::Unavailable { .. } | Self::Refreshing => None,
            Self::Throttled { until, .. } => Some(*until),
            Self::Blocked { until, .. } | Self::RateLimited { until, .. } | Self::Capped { until, .. } => {
                *until
            }
        }
    }

    /// Whether it concerns a request for `model`, of a session that is bound to the credential or not.
    pub fn concerns(&self, model: Option<&str>, is_bound: bool) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Refreshing => true,
            Self::Blocked { reason, .. } => !(is_bound && reason.spares_bound_sessions()),
            Self::Throttled { family, .. } => {
                !is_bound && family.as_ref().is_none_or(|family| family.has(model))
            }
            Self::RateLimited { scope, .. } | Self::Capped { scope, .. } => match scope {
                Scope::All => true,
                Scope::NewSessions => !is_bound,
                Scope::ModelFamily(family) => family.has(model),
            },
        }
    }

    /// Whether what a request takes lets it pass by this.
    pub fn spares(&self, quota: Quota) -> bool {
        match quota {
            Quota::Usual => false,
            Quota::Slow => matches!(
                self,
                Self::RateLimited { window: Window::FiveHour, .. }
                    | Self::Capped { window: Window::FiveHour, .. }
            ),
            Quota::Nothing => self.is_limit() || matches!(self, Self::Throttled { .. }),
        }
    }

    /// Whether the credential is at a limit, rather than out of order.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Capped { .. })
    }

    /// Whether it keeps nobody away when nothing else is usable.
    pub(super) fn is_preference(&self) -> bool {
        self.is_poll_failed() || matches!(self, Self::Throttled { is_stated: false, .. })
    }

    /// Whether it is a refusal of the moment for which the provider said how long it lasts.
    pub(super) fn is_stated_throttle(&self) -> bool {
        matches!(self, Self::Throttled { is_stated: true, .. })
    }

    /// Whether the account does not serve a model at all: neither is capacity missing, nor does time bring it back. It is
    /// looked at again after a while, since plans change.
    pub(super) fn is_not_serving(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { window: Window::Named(name), scope: Scope::ModelFamily(_), .. }
                if matches!(scope_of(name), Some(LimitScope::Model(_)))
        )
    }

    pub(super) fn is_poll_failed(&self) -> bool {
        matches!(self, Self::Blocked { reason: BlockReason::PollFailed, .. })
    }

    /// Its place in the table of states: of several, the first counts.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Unavailable { .. } => 0,
            Self::Refreshing => 1,
            Self::Blocked { .. } | Self::Throttled { .. } => 2,
            Self::RateLimited { .. } => 3,
            Self::Capped { .. } => 4,
        }
    }

    /// The window that it is about, if it is a limit.
    pub(super) fn window(&self) -> Option<&Window> {
        match self {
            Self::RateLimited { window, .. } | Self::Capped { window, .. } => Some(window),
            Self::Unavailable { .. } | Self::Refreshing | Self::Blocked { .. } | Self::Throttled { .. } => {
                None
            }
        }
    }

    /// The models that it is about, if it is about some alone.
    pub(super) fn family(&self) -> Option<&ModelFamily> {
        match self {
            Self::RateLimited { scope: Scope::ModelFamily(family), .. }
            | Self::Capped { scope: Scope::ModelFamily(family), .. }
            | Self::Throttled { family: Some(family), .. } => Some(family),
            _ => None,
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { why } => write!(f, "unavailable: {why}"),
            Self::Refreshing => f.write_str("refreshing"),
            Self::Blocked { reason, .. } => write!(f, "blocked: {}", reason.label()),
            Self::Throttled { .. } => write!(f, "blocked: {}", BlockReason::Burst.label()),
            Self::RateLimited { window, .. } => write!(f, "rate_limited: {window}"),
            Self::Capped { window, .. } => write!(f, "capped: {window}"),
        }
    }
}

/// The facts that hold at `now` and concern such a request.
pub(super) fn applying<'a>(
    facts: &'a [Fact],
    request: &RequestFacts<'_>,
    is_bound: bool,
    now: SystemTime,
) -> impl Iterator<Item = &'a Fact> {
    let (model, quota) = (request.model, request.quota);
    facts.iter().filter(move |fact| {
        fact.until().is_none_or(|until| until > now) && fact.concerns(model, is_bound) && !fact.spares(quota)
    })
}
