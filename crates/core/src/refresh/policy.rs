//! When a refresh may begin, and what a failed one leads to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::answer::RefreshFailure;
use super::{RefreshKind, later_of};
use crate::login::{Login, LoginIdentity};
use crate::span::Span;

/// The shortest wait after a failure, whatever `Retry-After` says: with 0, every request would call the endpoint.
const MIN_COOLDOWN: Duration = Duration::from_secs(5);

/// When it is tried again if the locks could not be had (credentials.md, *Locks*).
const LOCKED_OUT: Duration = Duration::from_secs(10);

/// When it is tried again if the answer could not have been kept. Nothing was sent; only the disk is asked again.
const CANNOT_KEEP: Duration = Duration::from_secs(60);

/// After what time a refresh that never ended no longer stands in the way of the next. Far beyond every wait on its way;
/// the locks keep two from calling at once.
const UNDER_WAY_AT_MOST: Duration = Duration::from_secs(10 * 60);

const MINUTE: Duration = Duration::from_secs(60);

/// What a failed refresh leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterFailure {
    /// No further try before this moment.
    Cooldown {
        /// The moment.
        until: SystemTime,
    },
    /// No further try with this login: its owner has to log in again.
    LoginExpired,
    /// The answer could not have been kept, so it was not asked for.
    CannotKeep {
        /// What is in the way.
        why: Arc<str>,
        /// When it is tried again.
        until: SystemTime,
    },
}

/// Why a refresh may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Not before this moment: a cooldown, or the rate.
    Until(SystemTime),
    /// The login has nothing to be refreshed with.
    NoRefreshToken,
    /// The login is not due.
    NotDue,
    /// The provider refused its refresh token for good.
    RefusedForGood,
    /// The answer to the last refresh has not been written to the file yet.
    WriteOutstanding,
    /// One is under way.
    UnderWay,
}

/// When the refreshes of one credential may begin.
#[derive(Debug, Clone, Default)]
pub struct RefreshPolicy {
    login: Option<LoginIdentity>,
    last_proactive: Option<Span>,
    last_forced: Option<Span>,
    cooldown: Option<Span>,
    too_many: u32,
    unusable: u32,
    unreachable: u32,
    is_refused: bool,
    is_write_outstanding: bool,
    under_way: Option<Span>,
}

impl RefreshPolicy {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The login that the credential has now. Another access or refresh token, or another end, clears the cooldown and what
    /// led to it; the rates stay, since they protect the token endpoint.
    pub fn on_login(&mut self, login: LoginIdentity) {
        if self.login != Some(login) {
            self.login = Some(login);
            self.cooldown = None;
            self.is_refused = false;
            (self.too_many, self.unusable, self.unreachable) = (0, 0, 0);
        }
    }

    /// Whether a refresh of `login` may begin at `now`.
    pub fn may_start(&self, kind: RefreshKind, login: &Login, now: SystemTime) -> Result<(), Denied> {
        if login.refresh_token.is_none() {
            return Err(Denied::NoRefreshToken);
        }
        if kind == RefreshKind::Proactive && !login.needs_refresh(now) {
            return Err(Denied::NotDue);
        }
        if self.is_under_way(now) {
            return Err(Denied::UnderWay);
        }
        if self.is_write_outstanding {
            return Err(Denied::WriteOutstanding);
        }
        if self.is_refused {
            return Err(Denied::RefusedForGood);
        }
        match self.not_before(kind, now) {
            Some(until) => Err(Denied::Until(until)),
            None => Ok(()),
        }
    }

    /// Which refresh of `login` is next, and when it is to begin: `now` or later. `is_refused`: whether its access token counts
    /// as expired since the provider refused it; then a forced one. `None`: none before something happens (another
    /// login, the end of a refresh, a write).
    pub fn next_start(
        &self,
        login: &Login,
        is_refused: bool,
        now: SystemTime,
    ) -> Option<(RefreshKind, SystemTime)> {
        login.refresh_token.as_ref()?;
        if self.is_under_way(now) || self.is_write_outstanding || self.is_refused {
            return None;
        }
        let (kind, due) = if is_refused {
            (RefreshKind::Forced, now)
        } else {
            (RefreshKind::Proactive, login.refresh_due?.max(now))
        };
        // Whatever stands in the way now may be over when it is due.
        Some((kind, later_of(due, self.not_before(kind, now))))
    }

    /// Until when no request triggers a refresh, if that is so at `now`.
    pub fn cooldown(&self, now: SystemTime) -> Option<SystemTime> {
        self.cooldown.filter(|span| span.counts(now)).map(|span| span.until())
    }

    /// One has begun.
    pub fn on_started(&mut self, now: SystemTime) {
        self.under_way = Some(Span::lasting(now, UNDER_WAY_AT_MOST));
    }

    /// It ended without a call: the file had a login that needs none, or it was given up before anything was sent.
    pub fn on_needless(&mut self) {
        self.under_way = None;
    }

    /// It was answered with a token: the only end that counts for the rates.
    pub fn on_answered(&mut self, kind: RefreshKind, now: SystemTime) {
        self.under_way = None;
        self.cooldown = None;
        self.is_refused = false;
        (self.too_many, self.unusable, self.unreachable) = (0, 0, 0);
        let span = Some(Span::lasting(now, kind.spacing()));
        match kind {
            RefreshKind::Proactive => self.last_proactive = span,
            RefreshKind::Forced => self.last_forced = span,
        }
    }

    /// It failed, and the file read again shows that nobody else succeeded either.
    pub fn on_failed(&mut self, failure: RefreshFailure, now: SystemTime) -> AfterFailure {
        self.under_way = None;
        let length = match failure {
            RefreshFailure::RefusedForGood => {
                self.is_refused = true;
                return AfterFailure::LoginExpired;
            }
            RefreshFailure::TooManyRequests(Some(wait)) => wait.max(MIN_COOLDOWN),
            RefreshFailure::TooManyRequests(None) => doubled(&mut self.too_many, MINUTE, 60 * MINUTE),
            RefreshFailure::Unusable | RefreshFailure::Unread(_) => {
                doubled(&mut self.unusable, 5 * MINUTE, 60 * MINUTE)
            }
            RefreshFailure::Unreachable => doubled(&mut self.unreachable, MIN_COOLDOWN, 5 * MINUTE),
        };
        AfterFailure::Cooldown { until: self.cool_down(length, now) }
    }

    /// The locks could not be had; nothing was sent.
    pub fn on_locked_out(&mut self, now: SystemTime) -> AfterFailure {
        self.under_way = None;
        AfterFailure::Cooldown { until: self.cool_down(LOCKED_OUT, now) }
    }

    /// The answer could not have been kept; nothing was sent. `why` names no path.
    pub fn on_cannot_keep(&mut self, why: impl Into<Arc<str>>, now: SystemTime) -> AfterFailure {
        self.under_way = None;
        AfterFailure::CannotKeep { why: why.into(), until: self.cool_down(CANNOT_KEEP, now) }
    }

    /// Whether an answer waits to be written to the file.
    pub fn set_write_outstanding(&mut self, is_outstanding: bool) {
        self.is_write_outstanding = is_outstanding;
    }

    fn is_under_way(&self, now: SystemTime) -> bool {
        self.under_way.is_some_and(|span| span.counts(now))
    }

    fn not_before(&self, kind: RefreshKind, now: SystemTime) -> Option<SystemTime> {
        let last = match kind {
            RefreshKind::Proactive => self.last_proactive,
            RefreshKind::Forced => self.last_forced,
        };
        [self.cooldown, last]
            .into_iter()
            .flatten()
            .filter(|span| span.counts(now))
            .map(|span| span.until())
            .max()
    }

    fn cool_down(&mut self, length: Duration, now: SystemTime) -> SystemTime {
        let span = Span::lasting(now, length);
        self.cooldown = Some(span);
        span.until()
    }
}

/// The wait after one more failure of a kind: `first`, doubling up to `most`.
fn doubled(failures: &mut u32, first: Duration, most: Duration) -> Duration {
    let factor = 2_u32.saturating_pow((*failures).min(16));
    *failures = failures.saturating_add(1);
    first.saturating_mul(factor).min(most)
}
