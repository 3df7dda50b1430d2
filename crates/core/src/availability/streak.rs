//! Failures in a row, and failures that are only counted.
//!
//! Spec: routing.md, *Failures*: three server errors in a row within a minute, three failed connections in a row.

use std::time::{Duration, SystemTime};

/// How many failures in a row block a credential.
pub(super) const FAILURES_IN_A_ROW: usize = 3;

/// Within what time those must have happened that are server errors.
pub(super) const ROW_LASTS: Duration = Duration::from_secs(60);

/// Failures in a row: the times of the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Streak {
    /// Oldest first; at most [`FAILURES_IN_A_ROW`].
    times: Vec<SystemTime>,
}

impl Streak {
    /// Adds one failure. Says whether there are now enough in a row, the first of them at most `within` ago if that
    /// is given. A clock that was set back counts as no time.
    pub(super) fn add(&mut self, now: SystemTime, within: Option<Duration>) -> bool {
        if self.times.len() >= FAILURES_IN_A_ROW {
            self.times.remove(0);
        }
        self.times.push(now);
        self.times.len() == FAILURES_IN_A_ROW
            && self.times.first().is_some_and(|first| {
                within.is_none_or(|within| now.duration_since(*first).unwrap_or_default() <= within)
            })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Something else came in between.
    pub(super) fn end(&mut self) {
        self.times.clear();
    }
}

/// Failures that change no state and are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureCounts {
    /// Answers that say the model or the service is overloaded (529, 503).
    pub overloaded: u64,
    /// Connections lost after the request was sent and before a head came.
    pub lost: u64,
    /// No head within the time for it.
    pub no_head: u64,
    /// Answers cut after their first byte had gone to the client.
    pub cut: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_within_the_time() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut streak = Streak::default();
        let minute = Some(ROW_LASTS);
        assert!(!streak.add(at(0), minute));
        assert!(!streak.add(at(30), minute));
        assert!(!streak.add(at(61), minute), "the first is over a minute ago");
        assert!(streak.add(at(90), minute));
        assert!(streak.add(at(90), minute), "each one after that as well");
        streak.end();
        assert!(!streak.add(at(91), minute));
        assert!(!streak.add(at(5_000), None));
        assert!(streak.add(at(9_000), None));
        assert!(streak.add(at(1), minute), "a clock that was set back");
    }
}
