//! Until when a request waits for a credential to become usable. Spec: routing.md, `wait_for_capacity`.

use std::time::{Duration, SystemTime};

use crate::selection::{NoCandidate, WhyNone};

/// The moment at which a request that found no candidate is to select again, if it waits at all: one that is known to
/// become usable within `wait` of `began`, when the request first found none. A credential whose state changes before
/// that is a reason to select again earlier; `None` says that the answer is due now.
pub fn wait_until(
    none: &NoCandidate,
    wait: Duration,
    began: SystemTime,
    now: SystemTime,
) -> Option<SystemTime> {
    let may_wait = matches!(none.why, WhyNone::AllLimited | WhyNone::SomeLimited | WhyNone::AllUnavailable);
    let deadline = began.checked_add(wait)?;
    // A clock that was set back must not make a request wait anew.
    let deadline = deadline.min(now.checked_add(wait)?);
    none.free_at.filter(|free| may_wait && *free > now && *free <= deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::Counts;

    #[test]
    fn only_for_what_comes_in_time() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = |n: u64| Duration::from_secs(n);
        let until = |why, free: Option<u64>, now: u64| {
            let free_at = free.map(|free| began + seconds(free));
            let none = NoCandidate {
                why,
                counts: Counts::default(),
                free_at,
                window: None,
                limited_family: None,
                reasons: Vec::new(),
            };
            wait_until(&none, seconds(45), began, began + seconds(now))
                .map(|at| at.duration_since(began).unwrap().as_secs())
        };
        assert_eq!(until(WhyNone::AllLimited, Some(45), 0), Some(45));
        assert_eq!(until(WhyNone::AllLimited, Some(46), 0), None);
        // The time runs from the beginning.
        assert_eq!(until(WhyNone::SomeLimited, Some(46), 40), None);
        assert_eq!(until(WhyNone::AllUnavailable, Some(44), 40), Some(44));
        assert_eq!(until(WhyNone::AllLimited, None, 0), None);
        assert_eq!(until(WhyNone::AllLimited, Some(3), 4), None);
        // Nobody becomes another user by waiting.
        assert_eq!(until(WhyNone::NotForUser, Some(3), 0), None);
        assert_eq!(until(WhyNone::AllTried, Some(3), 0), None);
    }

    #[test]
    fn a_wait_of_nothing_is_none() {
        let now = SystemTime::UNIX_EPOCH;
        let none = NoCandidate {
            why: WhyNone::AllLimited,
            counts: Counts::default(),
            free_at: Some(now),
            window: None,
            limited_family: None,
            reasons: Vec::new(),
        };
        assert_eq!(wait_until(&none, Duration::ZERO, now, now), None);
        assert_eq!(wait_until(&none, Duration::MAX, now, now), None);
    }
}
