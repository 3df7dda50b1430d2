//! Moments as they stand on the wire: Unix seconds in headers, RFC 3339 in Claude's usage answer.

use std::time::{Duration, SystemTime};

use crate::civil_time;
use crate::limits::number;

/// A reset farther ahead than this is no reset but an error or a joke, and what came with it is ignored (limits.md,
/// *Windows*). The longest window is a week.
pub const MAX_RESET_AHEAD: Duration = crate::retry_after::MAX_RETRY_AFTER;

/// The last second of the year 9999: what RFC 3339 can still write.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// A moment given in seconds since 1970, fractions allowed. `None` before 1970 and after 9999.
pub fn from_unix_seconds(seconds: f64) -> Option<SystemTime> {
    if !(0.0..=LAST_SECOND).contains(&seconds) {
        return None;
    }
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}

/// Whole seconds since 1970, rounded up, so that what is announced for a moment has come when it is reached.
pub fn unix_seconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    seconds_up(since)
}

/// Whole seconds of a duration, rounded up.
pub fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// Reads a moment: Unix seconds, or RFC 3339 with any offset.
pub fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if text.len() > number::MAX_NUMBER_TEXT {
        return None;
    }
    if let Some(seconds) = number::parse(text) {
        return from_unix_seconds(seconds);
    }
    civil_time::from_rfc3339(text).filter(|at| *at >= SystemTime::UNIX_EPOCH)
}

/// A reset that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImplausibleReset;

/// Reads the moment at which a window resets. Empty and `0` mean that none is known (the latter in sing-box's status
/// answers, federation.md).
pub fn reset(text: &str, now: SystemTime) -> Result<Option<SystemTime>, ImplausibleReset> {
    if matches!(text.trim(), "" | "0") {
        return Ok(None);
    }
    plausible_reset(parse(text).ok_or(ImplausibleReset)?, now).map(Some)
}

/// The moment itself, unless it is more than [`MAX_RESET_AHEAD`] ahead.
pub fn plausible_reset(at: SystemTime, now: SystemTime) -> Result<SystemTime, ImplausibleReset> {
    let ahead = at.duration_since(now).unwrap_or_default();
    if ahead > MAX_RESET_AHEAD { Err(ImplausibleReset) } else { Ok(at) }
}

/// `2026-11-23T15:00:00.000000+00:00`, as Claude's usage answer writes moments.
pub fn rfc3339(at: SystemTime) -> String {
    civil_time::utc(at).strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn both_spellings_are_read() {
        let noon = at(1_795_446_000);
        assert_eq!(parse("1795446000"), Some(noon));
        assert_eq!(parse("1795446000.5"), Some(noon + Duration::from_millis(500)));
        assert_eq!(parse("2026-11-23T15:00:00.000000+00:00"), Some(noon));
        assert_eq!(parse("2026-11-23T16:00:00+01:00"), Some(noon));
        assert_eq!(parse("2026-11-23T15:00:00Z"), Some(noon));
        assert_eq!(rfc3339(noon), "2026-11-23T15:00:00.000000+00:00");
        assert_eq!(rfc3339(noon + Duration::from_micros(1)), "2026-11-23T15:00:00.000001+00:00");
        for bad in
            ["", "soon", "-1", "2026-11-23", "1e300", "NaN", "1900-01-01T00:00:00Z", "2026-13-01T00:00:00Z"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn resets_have_a_bound_and_zero_is_none() {
        let now = at(1_795_446_000);
        assert_eq!(reset("0", now), Ok(None));
        assert_eq!(reset("", now), Ok(None));
        assert_eq!(reset("-5", now), Err(ImplausibleReset));
        assert_eq!(reset("x", now), Err(ImplausibleReset));
        let last = unix_seconds(now + MAX_RESET_AHEAD);
        assert_eq!(reset(&last.to_string(), now), Ok(Some(at(last))));
        assert_eq!(reset(&(last + 1).to_string(), now), Err(ImplausibleReset));
        assert_eq!(reset("5", now), Ok(Some(at(5))));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}", seconds: u64) {
            let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH);
            let _ = (parse(&text), reset(&text, now), rfc3339(now), unix_seconds(now));
        }

        #[test]
        fn what_is_written_is_read_back(seconds in 0_u64..253_402_300_799, micros in 0_u64..1_000_000) {
            let moment = at(seconds) + Duration::from_micros(micros);
            prop_assert_eq!(parse(&rfc3339(moment)), Some(moment));
        }
    }
}
