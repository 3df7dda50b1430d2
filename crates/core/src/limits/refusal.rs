//! What a refusal (429) means for the credential that got it.

use std::time::{Duration, SystemTime};

use crate::failure::RefusalKind;
use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{LimitScope, Windows};

/// How long a refused window counts as refused when its reset is not known (routing.md, *Failures*).
pub const NO_RESET_WAIT: Duration = Duration::from_secs(5 * 60);

/// How long an account counts as refused whose paid credits are used up and that names no reset: short waits would
/// only loop.
pub const OUT_OF_CREDITS_WAIT: Duration = Duration::from_secs(3600);

/// How long a throttled credential takes no new sessions when the provider does not say.
pub const BURST_WAIT: Duration = Duration::from_secs(10);

/// How long it does at most, whatever the provider says: a throttle is not a quota.
pub const MAX_BURST_WAIT: Duration = Duration::from_secs(60);

/// A utilization from which on a window is taken to be the one that refused, in percent (routing.md: 0.99).
pub const REFUSED_FROM: f64 = 99.0;

/// A base window that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedWindow {
    /// Its reset, if the refusal named one ahead.
    pub resets_at: Option<SystemTime>,
}

/// Which base windows refused.
pub type RefusedWindows = WindowPair<Option<RefusedWindow>>;

/// What a refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The account's quota is used up: `rate_limited` for all.
    Base {
        /// The windows that refused. Neither, if the account as a whole did and no window is to blame.
        windows: RefusedWindows,
        /// The latest reset of those, if one is known. Ahead of the moment of the refusal.
        until: Option<SystemTime>,
        /// Whether the account's paid credits are used up as well.
        out_of_credits: bool,
    },
    /// The quota of some models is used up: `rate_limited` for these.
    Scoped {
        /// Which.
        scope: LimitScope,
        /// Its reset, if known. Ahead of the moment of the refusal.
        until: Option<SystemTime>,
    },
    /// A throttle: `blocked burst` for new sessions.
    Burst {
        /// What the provider asks to wait.
        retry_after: Option<Duration>,
    },
    /// The request asked for what its account is not entitled to. The credential is unchanged.
    Entitlement,
}

impl Refusal {
    /// Until when the credential is `rate_limited`; `None` if it is not. `windows` may know the reset that the refusal
    /// did not name.
    pub fn limited_until(&self, windows: &Windows, now: SystemTime) -> Option<SystemTime> {
        let (until, wait) = match self {
            Self::Base { windows: refused, until, out_of_credits } => {
                let known = || {
                    BaseWindow::BOTH
                        .into_iter()
                        .filter(|which| refused.get(*which).is_some())
                        .filter_map(|which| windows.base(which, now)?.reset_ahead(now))
                        .max()
                };
                (until.or_else(known), if *out_of_credits { OUT_OF_CREDITS_WAIT } else { NO_RESET_WAIT })
            }
            Self::Scoped { scope, until } => {
                (until.or_else(|| windows.scoped_reset_ahead(scope, now)), NO_RESET_WAIT)
            }
            Self::Burst { .. } | Self::Entitlement => return None,
        };
        Some(until.filter(|until| *until > now).unwrap_or_else(|| later(now, wait)))
    }

    /// The same, with a reset found otherwise where it has none.
    #[must_use]
    pub fn or_until(mut self, stated: impl FnOnce() -> Option<SystemTime>) -> Self {
        if let Self::Base { until: until @ None, .. } | Self::Scoped { until: until @ None, .. } = &mut self {
            *until = stated();
        }
        self
    }

    /// As the table of failures wants it ([`crate::failure::judge`]).
    pub fn kind(&self, now: SystemTime) -> RefusalKind {
        match self {
            Self::Base { until, out_of_credits, .. } => RefusalKind::Base {
                until: until.or_else(|| out_of_credits.then(|| later(now, OUT_OF_CREDITS_WAIT))),
            },
            Self::Scoped { until, .. } => RefusalKind::Scoped { until: *until },
            Self::Burst { retry_after } => RefusalKind::Burst { retry_after: *retry_after },
            Self::Entitlement => RefusalKind::Entitlement,
        }
    }

    /// Whether the usage endpoint should be asked now, since the refusal says too little.
    pub fn wants_poll(&self) -> bool {
        matches!(
            self,
            Self::Base { until: None, out_of_credits: false, .. } | Self::Scoped { until: None, .. }
        )
    }

    /// How long the credential takes no new sessions; `None` if the refusal is no throttle.
    pub fn burst_wait(&self) -> Option<Duration> {
        match self {
            Self::Burst { retry_after } => Some(retry_after.unwrap_or(BURST_WAIT).min(MAX_BURST_WAIT)),
            _ => None,
        }
    }
}

/// `wait` after `now`, or `now` where the clock cannot count that far.
pub(crate) fn later(now: SystemTime, wait: Duration) -> SystemTime {
    now.checked_add(wait).unwrap_or(now)
}
