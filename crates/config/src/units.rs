//! Durations and byte sizes, as people write them.

use std::time::Duration;

/// The units of Go's durations, and days, which sing-box reads too. Longest spelling first where one starts another.
const DURATION_UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// The units of byte sizes, compared without case.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Digits behind the point beyond these are below a nanosecond or a byte, and dropped.
const FRACTION_DIGITS: usize = 15;

/// Reads `1h30m`, `90s`, `1.5h`, `100ms`, `0`. Not negative, and not above Go's 292 years.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|next: char| next.is_ascii_digit() || next == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        nanoseconds = nanoseconds.checked_add(scaled(number, *factor)?)?;
        rest = after;
    }
    (nanoseconds <= i64::MAX.unsigned_abs()).then(|| Duration::from_nanos(nanoseconds))
}

/// Reads `64MiB`, `1.5 GB`, `65536`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    scaled(number, *factor)
}

/// A size as a person would write it.
pub(crate) fn show_size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// The decimal number that `text` starts with, and what follows.
fn split_number(text: &str) -> Option<((&str, &str), &str)> {
    let digits = |text: &str| text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(digits(after)),
        None => ("", rest),
    };
    (!whole.is_empty() || !fraction.is_empty()).then_some(((whole, fraction), rest))
}

/// `whole.fraction × factor`, rounded down, in integers.
fn scaled((whole, fraction): (&str, &str), factor: u64) -> Option<u64> {
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = fraction.get(..FRACTION_DIGITS).unwrap_or(fraction);
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let ones = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let total = whole.checked_mul(factor.into())?.checked_add(part * u128::from(factor) / ones)?;
    u64::try_from(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go_and_days() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("100ms", 100),
            (".5s", 500),
            ("5.s", 5_000),
            ("+2s", 2_000),
            ("1500us", 1),
            ("2000µs", 2),
            ("2000μs", 2),
            ("3000000ns", 3),
            ("90d", 90 * 86_400_000),
            ("0", 0),
            ("0s", 0),
            ("1h0.000000000000000000001s", 3_600_000),
        ] {
            assert_eq!(duration(text).map(|read| read.as_millis()), Some(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "+",
            "90",
            "-1s",
            "s",
            "1x",
            "1h 30m",
            "1..5s",
            ".s",
            "999999h999999999h",
            "1e3s",
            "300000000h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("64 kib", 64 << 10),
            ("1.5KiB", 1_536),
            ("10MB", 10_000_000),
            ("65536", 65_536),
            ("7B", 7),
            ("0", 0),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1 XB", "99999999999999999999", "16777216TiB", "1e3"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        assert_eq!(show_size(64 << 20), "64MiB");
        assert_eq!(show_size(8 << 10), "8KiB");
        assert_eq!(show_size(1_025), "1025");
    }
}
