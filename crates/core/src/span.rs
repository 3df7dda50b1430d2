//! A stretch of wall-clock time in which a fact counts. What has ended is not removed: it no longer counts.
//!
//! Spec: credentials.md, *Availability*: `until` in the past means that the fact no longer counts, without a timer having
//! fired.

use std::time::{Duration, SystemTime};

/// How far the clock may be set back before a fact of the future is one of a clock that was wrong. Time services step
/// by less; a fact that is further ahead than this would otherwise count until the clock has caught up, which may be years.
pub const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// From when until when something counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from: SystemTime,
    until: SystemTime,
}

impl Span {
    /// A span from `from` until just before `until`.
    pub fn new(from: SystemTime, until: SystemTime) -> Self {
        Self { from, until }
    }

    /// A span of a length. What no clock can hold ends at once.
    pub fn lasting(from: SystemTime, length: Duration) -> Self {
        Self { from, until: from.checked_add(length).unwrap_or(from) }
    }

    /// When it began.
    pub fn from(&self) -> SystemTime {
        self.from
    }

    /// When it ends.
    pub fn until(&self) -> SystemTime {
        self.until
    }

    /// Whether it counts at `now`. It does not where the clock shows a time that is more than [`CLOCK_SLACK`] before it
    /// was made.
    pub fn counts(&self, now: SystemTime) -> bool {
        now < self.until && self.starts() <= now
    }

    /// The next moment after `now` at which it begins or ends to count by itself.
    pub fn next_change(&self, now: SystemTime) -> Option<SystemTime> {
        let starts = self.starts();
        if starts >= self.until {
            None
        } else if now < starts {
            Some(starts)
        } else {
            (now < self.until).then_some(self.until)
        }
    }

    fn starts(&self) -> SystemTime {
        self.from.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The span that ends later, of one that may be there and a new one; the new one where the old one no longer counts.
pub(crate) fn later(old: Option<Span>, new: Span, now: SystemTime) -> Span {
    old.filter(|old| old.counts(now) && old.until > new.until).unwrap_or(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn it_counts_until_its_end_and_not_for_a_clock_that_was_set_back() {
        let span = Span::new(at(1_000), at(2_000));
        for (now, counts, next) in [
            (0, false, Some(940)),
            (939, false, Some(940)),
            (940, true, Some(2_000)),
            (1_999, true, Some(2_000)),
            (2_000, false, None),
            (9_000, false, None),
        ] {
            assert_eq!(span.counts(at(now)), counts, "{now}");
            assert_eq!(span.next_change(at(now)), next.map(at), "{now}");
        }
        let empty = Span::new(at(1_000), at(500));
        assert!(!empty.counts(at(450)) && !empty.counts(at(950)));
        assert_eq!(empty.next_change(at(0)), None);
        assert!(!Span::lasting(at(1), Duration::MAX).counts(at(1)));
    }

    #[test]
    fn the_later_end_wins_while_it_counts() {
        let (short, long) = (Span::new(at(0), at(10)), Span::new(at(0), at(20)));
        assert_eq!(later(Some(long), short, at(5)), long);
        assert_eq!(later(Some(short), long, at(5)), long);
        assert_eq!(later(None, short, at(5)), short);
        let next = Span::new(at(30), at(35));
        assert_eq!(later(Some(long), next, at(30)), next);
    }
}
