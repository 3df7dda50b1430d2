//! Moments and waits as a person reads them.

use std::time::{Duration, SystemTime};

use crate::civil_time;
use crate::limits::timestamp::{self, seconds_up};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `15:40 UTC (in 1 h 12 m)`; a day or more ahead with the date: `27 Nov, 15:40 UTC (in 2 d 3 h)`; under a minute ahead
/// with seconds. Rounded up, so that whoever comes at that time is not too early.
pub fn announce(at: SystemTime, now: SystemTime) -> String {
    let wait = at.duration_since(now).unwrap_or_default();
    let seconds = timestamp::unix_seconds(at);
    let shown = if seconds_up(wait) < MINUTE { seconds } else { seconds.div_ceil(MINUTE) * MINUTE };
    let shown = civil_time::utc(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(shown)).unwrap_or(at));
    let date = if wait.as_secs() >= DAY {
        let month = usize::try_from(shown.month()).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
        format!("{} {}, ", shown.day(), month.unwrap_or(&"?"))
    } else {
        String::new()
    };
    let second = if seconds_up(wait) < MINUTE { format!(":{:02}", shown.second()) } else { String::new() };
    format!("{date}{:02}:{:02}{second} UTC (in {})", shown.hour(), shown.minute(), wait_text(wait))
}

/// `45 s`, `12 m`, `1 h 12 m`, `2 d 3 h`: the two largest units, rounded up.
pub fn wait_text(wait: Duration) -> String {
    let seconds = seconds_up(wait);
    if seconds < MINUTE {
        return format!("{seconds} s");
    }
    let minutes = seconds.div_ceil(MINUTE) * MINUTE;
    if minutes < HOUR {
        return format!("{} m", minutes / MINUTE);
    }
    if minutes < DAY {
        return two(minutes / HOUR, "h", minutes % HOUR / MINUTE, "m");
    }
    let hours = seconds.div_ceil(HOUR) * HOUR;
    two(hours / DAY, "d", hours % DAY / HOUR, "h")
}

fn two(large: u64, unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {small_unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_and_waits() {
        let now = timestamp::parse("2026-11-24T14:28:00Z").unwrap();
        let after = |seconds: u64| announce(now + Duration::from_secs(seconds), now);
        assert_eq!(after(72 * 60), "15:40 UTC (in 1 h 12 m)");
        assert_eq!(after(71 * 60 + 1), "15:40 UTC (in 1 h 12 m)");
        assert_eq!(after(45), "14:28:45 UTC (in 45 s)");
        assert_eq!(after(60), "14:29 UTC (in 1 m)");
        assert_eq!(after(3600), "15:28 UTC (in 1 h)");
        assert_eq!(after(2 * DAY + 3 * HOUR), "26 Nov, 17:28 UTC (in 2 d 3 h)");
        assert_eq!(after(DAY), "25 Nov, 14:28 UTC (in 1 d)");
        assert_eq!(announce(now - Duration::from_secs(5), now), "14:27:55 UTC (in 0 s)");
        assert_eq!(wait_text(Duration::from_millis(59_500)), "1 m");
        assert_eq!(wait_text(Duration::from_secs(HOUR - 1)), "1 h");
        assert_eq!(wait_text(Duration::from_secs(DAY - 1)), "1 d");
    }

    proptest! {
        #[test]
        fn any_moments(at in 0_u64..1 << 40, now in 0_u64..1 << 40) {
            let moment = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            prop_assert!(announce(moment(at), moment(now)).contains(" UTC (in "));
        }
    }
}
