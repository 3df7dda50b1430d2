//! Moments as people and files write them: UTC, RFC 3339.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The date and time in UTC. What no calendar can hold is its end.
pub(crate) fn utc(at: SystemTime) -> DateTime {
    Timestamp::try_from(at).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC).datetime()
}

/// RFC 3339 in UTC with nanoseconds, as the Codex client writes `last_refresh` (fact sheet, section 6).
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::MAX);
    format!("{at:.9}")
}

/// Reads RFC 3339, with whatever offset it names. `None` for anything else.
pub(crate) fn from_rfc3339(text: &str) -> Option<SystemTime> {
    text.trim().parse::<Timestamp>().ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn both_ways() {
        let at = SystemTime::UNIX_EPOCH + Duration::new(1_795_431_037, 123_000_000);
        assert_eq!(rfc3339(at), "2026-11-23T10:50:37.123000000Z");
        assert_eq!(from_rfc3339("2026-11-23T10:50:37.123000000Z"), Some(at));
        assert_eq!(from_rfc3339("2026-11-23T12:50:37.123+02:00"), Some(at));
        for nonsense in ["", "2026-11-23", "10:50", "1795431037", "2026-13-01T00:00:00Z"] {
            assert_eq!(from_rfc3339(nonsense), None, "{nonsense}");
        }
    }
}
