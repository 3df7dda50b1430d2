//! When the usage endpoint of a credential is asked (limits.md, *Polling*).
//!
//! A state machine without a clock: it is told what happened and when, and says when the next poll is due. What is due
//! is derived from facts at every question, so a timer that fires late, or never, loses nothing, and a clock that is
//! set back makes a poll early rather than late.

use std::time::{Duration, SystemTime};

use crate::limits::refusal::later;

/// How long fresh data postpones the next poll.
pub const INTERVAL: Duration = Duration::from_secs(3600);

/// By how much of the interval a poll is earlier or later, so that credentials do not poll together.
pub const JITTER: f64 = 0.1;

/// How long one try may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a connection is tried within one poll.
pub const CONNECTION_TRIES: u32 = 3;

/// A poll that has not been reported back after this long is lost, and another may begin. Well over
/// [`TIMEOUT`] × [`CONNECTION_TRIES`].
pub const LOST_AFTER: Duration = Duration::from_secs(60);

/// The wait after a 429 that names none.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The longest wait after a 429, whatever it names. Usage endpoints name up to an hour (fact sheet `claude-code.md`,
/// 3).
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(6 * 3600);

/// The wait after a first failure; doubled for each further one.
pub const FIRST_BACKOFF: Duration = Duration::from_secs(60);

/// The longest wait after a failure.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// How a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollResult {
    /// An answer that could be read.
    Answered {
        /// Whether it carried data.
        is_fresh: bool,
    },
    /// 429: the endpoint itself is limited. Says nothing of the credential.
    RateLimited {
        /// What it asks to wait.
        retry_after: Option<Duration>,
    },
    /// 401, or 403 of a revoked token.
    TokenRefused,
    /// Anything else.
    Failed,
}

/// When the next poll is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// Not before then.
    At(SystemTime),
}

/// What the log says of polls; a line is written when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollState {
    /// They are answered.
    Fine,
    /// They are rate-limited.
    RateLimited,
    /// Their token is refused.
    TokenRefused,
    /// They fail.
    Failing,
}

/// What follows from a poll's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followup {
    /// The state to be logged, if it is another than before.
    pub log: Option<PollState>,
    /// Whether the token is to be recovered (credentials.md, *Auth failure*). Once, until a poll is answered or the
    /// login changes.
    pub recovers_token: bool,
}

/// What a wait is for.
#[derive(Debug, Clone, Copy)]
enum Wait {
    RetryAfter,
    Backoff,
}

/// The polls of one credential.
#[derive(Debug, Clone)]
pub struct PollSchedule {
    interval: Duration,
    in_flight: Option<SystemTime>,
    /// When data was last fresh, or an answer came without any; and for how long that lasts, with jitter.
    quiet: Option<(SystemTime, Duration)>,
    waiting: Option<(Wait, SystemTime, Duration)>,
    out_of_use_until: Option<SystemTime>,
    is_forced: bool,
    is_recovery_spent: bool,
    failures: u32,
    state: PollState,
}

impl PollSchedule {
    /// A credential that has not been asked yet, with the provider's interval ([`INTERVAL`]) or another's.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            in_flight: None,
            quiet: None,
            waiting: None,
            out_of_use_until: None,
            is_forced: false,
            is_recovery_spent: false,
            failures: 0,
            state: PollState::Fine,
        }
    }

    /// When the next poll is due. While one is in flight: when that counts as lost.
    pub fn due(&self, now: SystemTime) -> Due {
        let mut due = if self.is_forced { Due::Now } else { self.planned(now) };
        if let Some((wait, since, length)) = self.waiting
            && !(self.is_forced && matches!(wait, Wait::Backoff))
        {
            // While failing, the wait alone decides, so that a poll that failed is repeated in time.
            due = match (wait, remaining(since, length, now)) {
                (_, Some(until)) => Due::At(until),
                (Wait::Backoff, None) => Due::Now,
                (Wait::RetryAfter, None) => due,
            };
        }
        match self.in_flight.and_then(|since| remaining(since, LOST_AFTER, now)) {
            Some(lost) => Due::At(lost),
            None => due,
        }
    }

    /// Begins a poll, unless one is in flight. May be called when none is due: recovering a token needs a poll of its
    /// own.
    pub fn begin(&mut self, now: SystemTime) -> bool {
        if self.in_flight.is_some_and(|since| remaining(since, LOST_AFTER, now).is_some()) {
            return false;
        }
        self.in_flight = Some(now);
        self.is_forced = false;
        self.out_of_use_until = self.out_of_use_until.filter(|until| *until > now);
        true
    }

    /// Ends the poll in flight. `jitter` is a random number from 0 to 1.
    pub fn end(&mut self, result: PollResult, jitter: f64, now: SystemTime) -> Followup {
        self.in_flight = None;
        let mut recovers_token = false;
        let state = match result {
            PollResult::Answered { .. } => {
                self.failures = 0;
                self.is_recovery_spent = false;
                self.waiting = None;
                self.quieten(jitter, now);
                PollState::Fine
            }
            PollResult::RateLimited { retry_after } => {
                let wait = retry_after.unwrap_or(DEFAULT_RETRY_AFTER).min(MAX_RETRY_AFTER);
                // Asked again when the wait is over, unless fresh data has come by then.
                self.quiet = None;
                self.waiting = Some((Wait::RetryAfter, now, wait));
                PollState::RateLimited
            }
            PollResult::TokenRefused if !self.is_recovery_spent => {
                self.is_recovery_spent = true;
                recovers_token = true;
                self.waiting = Some((Wait::Backoff, now, FIRST_BACKOFF));
                PollState::TokenRefused
            }
            PollResult::TokenRefused => {
                self.fail(now);
                PollState::TokenRefused
            }
            PollResult::Failed => {
                self.fail(now);
                PollState::Failing
            }
        };
        let log = (state != self.state).then_some(state);
        self.state = state;
        Followup { log, recovers_token }
    }

    /// Notes that fresh data came from somewhere: the next poll is postponed, except while polls fail or are waited for.
    pub fn on_fresh_data(&mut self, jitter: f64, now: SystemTime) {
        self.quieten(jitter, now);
    }

    /// Notes until when the credential is out of use by a limit; a poll is due then, even if it is in use again by
    /// then, since this is what tells. `None`: it is in use.
    pub fn on_out_of_use(&mut self, until: Option<SystemTime>, now: SystemTime) {
        // A moment that has come and was not polled for yet stays.
        if self.out_of_use_until.is_none_or(|known| known > now) {
            self.out_of_use_until = until;
        }
    }

    /// Notes that the login has changed: its token may be recovered again, and what failed may work now.
    pub fn on_login_change(&mut self) {
        self.is_recovery_spent = false;
        if matches!(self.waiting, Some((Wait::Backoff, ..))) {
            self.waiting = None;
        }
        self.is_forced = true;
    }

    /// Makes a poll due at once, whatever failed before; only a wait that the endpoint asked for is kept.
    pub fn force(&mut self) {
        self.is_forced = true;
    }

    /// How many polls in a row failed.
    pub fn consecutive_failures(&self) -> u32 {
        self.failures
    }

    /// When the poll in flight began.
    pub fn begun_at(&self) -> Option<SystemTime> {
        self.in_flight
    }

    /// By the quiet time and the reset, waits left aside.
    fn planned(&self, now: SystemTime) -> Due {
        let Some(quiet) = self.quiet.and_then(|(since, length)| remaining(since, length, now)) else {
            return Due::Now;
        };
        match self.out_of_use_until {
            Some(until) if until <= now => Due::Now,
            Some(until) => Due::At(quiet.min(until)),
            None => Due::At(quiet),
        }
    }

    fn quieten(&mut self, jitter: f64, now: SystemTime) {
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
        let length = self.interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter);
        self.quiet = Some((now, length));
    }

    fn fail(&mut self, now: SystemTime) {
        let doublings = self.failures.min(8);
        self.failures = self.failures.saturating_add(1);
        let wait = (FIRST_BACKOFF * 2_u32.pow(doublings)).min(MAX_BACKOFF);
        self.waiting = Some((Wait::Backoff, now, wait));
    }
}

/// The end of a time that began at `since`, if it is ahead. A beginning that is ahead itself means that the clock was
/// set back; then the time counts as over.
fn remaining(since: SystemTime, length: Duration, now: SystemTime) -> Option<SystemTime> {
    let end = later(since, length);
    (since <= now && end > now).then_some(end)
}

#[cfg(test)]
mod tests;
