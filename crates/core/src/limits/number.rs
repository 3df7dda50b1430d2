//! Numbers as they stand on the wire: read without trust, written without noise.

/// Longest text that is read as a number, in bytes; the longest that `f64` needs is far below it.
pub const MAX_NUMBER_TEXT: usize = 64;

/// Reads a finite number. `None` for everything else: words, NaN, infinities, numbers too large for `f64`.
pub fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.len() > MAX_NUMBER_TEXT {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// `number` with at most `decimals` decimals and no zeros at its end: `41`, `41.5`, `0.9`.
pub fn shortest(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A share of something between nothing and all of it, with exactly `decimals` decimals, in units of `whole` (1 or
/// 100). What is not all of it is never rounded up to look like it.
pub fn share(value: f64, whole: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let rounded_up = value < whole && parse(&text).is_some_and(|shown| shown >= whole);
    if !rounded_up {
        return text;
    }
    let step = 10_f64.powi(-i32::try_from(decimals).unwrap_or(0));
    format!("{:.decimals$}", whole - step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_numbers_are_none() {
        for bad in
            ["", " ", "NaN", "nan", "inf", "-inf", "infinity", "1e400", "-1e999", "1,5", "0x1", "1 2", "½"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert_eq!(parse(&"1".repeat(MAX_NUMBER_TEXT + 1)), None);
        assert_eq!(parse(" 0.25 "), Some(0.25));
        assert_eq!(parse("-3"), Some(-3.0));
        assert_eq!(parse("1e3"), Some(1000.0));
    }

    #[test]
    fn numbers_are_short_and_full_only_when_full() {
        assert_eq!(shortest(41.0, 2), "41");
        assert_eq!(shortest(0.99 * 5.0, 6), "4.95");
        assert_eq!(shortest(100.0, 0), "100");
        assert_eq!(share(0.41, 1.0, 6), "0.410000");
        assert_eq!(share(0.999_999_9, 1.0, 6), "0.999999");
        assert_eq!(share(1.0, 1.0, 6), "1.000000");
        assert_eq!(share(99.999, 100.0, 2), "99.99");
        assert_eq!(share(100.0, 100.0, 2), "100.00");
        assert_eq!(share(99.6, 100.0, 0), "99");
        assert_eq!(share(120.0, 100.0, 2), "120.00");
    }
}
