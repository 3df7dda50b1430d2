//! `Retry-After`, in both of its forms (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

/// What is further off than this is no time but a mistake, as with the resets of windows (limits.md, *Windows*).
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(40 * 24 * 60 * 60);

/// How long to wait from `now`, from seconds or an HTTP date. A date that has passed: zero. `None`: no such value, or
/// one over [`MAX_RETRY_AFTER`].
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().ok()?)
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or(Duration::ZERO)
    };
    (wait <= MAX_RETRY_AFTER).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_nonsense_is_not() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text: &str| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sat, 05 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(seconds("3456000"), Some(3_456_000));
        for nonsense in
            ["", "-1", "1.5", "3456001", "99999999999999999999", "soon", "Fri, 31 Dec 9999 23:59:59 GMT"]
        {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }
}
