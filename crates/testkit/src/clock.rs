//! Calendar dates of the kinds that providers send.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// As in a `date` header: `Mon, 23 Nov 2026 07:48:48 GMT`.
pub(crate) fn http_date(unix: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil(unix / 86_400);
    let weekday = DAYS.iter().cycle().nth((unix / 86_400 % 7) as usize).copied().unwrap_or_default();
    let month = MONTHS.iter().zip(1..).find(|&(_, number)| number == month).map_or("", |(name, _)| name);
    let (hour, minute, second) = of_day(unix);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// As in the usage answer: `2026-11-23T07:48:48.000000+00:00`.
pub(crate) fn iso(unix: u64) -> String {
    let (year, month, day) = civil(unix / 86_400);
    let (hour, minute, second) = of_day(unix);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000000+00:00")
}

fn of_day(unix: u64) -> (u64, u64, u64) {
    (unix / 3600 % 24, unix / 60 % 60, unix % 60)
}

/// Days since 1970 as year, month and day (Gregorian; the era arithmetic starts its years in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(http_date(1_795_420_128), "Mon, 23 Nov 2026 07:48:48 GMT");
        assert_eq!(iso(1_795_420_128), "2026-11-23T07:48:48.000000+00:00");
        assert_eq!(iso(951_782_400), "2000-02-29T00:00:00.000000+00:00");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
