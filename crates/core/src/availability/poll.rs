//! Polls, and the rechecks of credentials that have no file to watch.

use std::time::{Duration, SystemTime};

use super::facts::{Facts, RateLimited};

/// How often a refused credential is tried again, by `GET /v1/models` or a poll (credentials.md, *Availability*).
pub const RECHECK_EVERY: Duration = Duration::from_secs(5 * 60);

/// How long after a refusal a poll must have begun to speak against it (limits.md, *Windows*).
const POLL_AFTER_REFUSAL: Duration = Duration::from_secs(60);

impl Facts {
    /// A poll begun at `begun_at` was answered with data. `is_below_cap`: whether it shows the window of a refusal below
    /// its cap; such refusals are cleared if the poll began at least a minute after them. The credential is taken back if
    /// it was refused as a whole and the poll began late enough to be a retry of it.
    pub fn on_poll_answered(&mut self, begun_at: SystemTime, is_below_cap: &dyn Fn(&RateLimited) -> bool) {
        self.poll_failures = 0;
        self.upstream_rejected = None;
        self.rate_limited.retain(|limited| {
            !(is_since(limited.span.from(), POLL_AFTER_REFUSAL, begun_at) && is_below_cap(limited))
        });
        if self.refused.as_ref().is_some_and(|(_, at)| is_since(*at, RECHECK_EVERY, begun_at)) {
            self.refused = None;
        }
    }

    /// A poll failed. 429 is not a failure, and 401 is a matter of auth recovery.
    pub fn on_poll_failed(&mut self) {
        self.poll_failures = self.poll_failures.saturating_add(1);
    }

    /// When a credential that was refused is to be tried again: at once if that moment has passed. With a login file as
    /// well, since the provider may take back what it said without the login having changed.
    pub fn next_recheck(&self, now: SystemTime) -> Option<SystemTime> {
        let (_, at) = self.refused.as_ref()?;
        // A clock that was set back must not keep it away for longer.
        let due = at.checked_add(RECHECK_EVERY).unwrap_or(now);
        Some(due.min(now.checked_add(RECHECK_EVERY).unwrap_or(due)))
    }

    /// The answer to a recheck begun at `begun_at`: the provider took the credential, or refused it again. Anything else
    /// leaves things as they are, to be tried again after the same time.
    pub fn on_rechecked(&mut self, is_accepted: Option<bool>, begun_at: SystemTime) {
        match (is_accepted, &mut self.refused) {
            (Some(true), refused) => *refused = None,
            (_, Some((_, at))) => *at = begun_at,
            (_, None) => {}
        }
    }
}

/// Whether `later` is at least `wait` after `at`, or so far before it that the clock was set back.
fn is_since(at: SystemTime, wait: Duration, later: SystemTime) -> bool {
    match later.duration_since(at) {
        Ok(passed) => passed >= wait,
        Err(back) => back.duration() > crate::span::CLOCK_SLACK,
    }
}
