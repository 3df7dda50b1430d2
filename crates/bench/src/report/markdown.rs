//! Numbers and tables as text, which is also Markdown.

use std::fmt::{self, Write as _};

use super::statistics::Summary;

/// What stands where there is no figure.
pub(super) const NONE: &str = "–";

/// The median, and the range if there was more than one sample.
pub(super) fn spread(summary: Summary, samples: usize) -> String {
    if samples < 2 {
        return number(summary.median);
    }
    format!("{} ({} to {})", number(summary.median), number(summary.min), number(summary.max))
}

/// Three significant digits, but every digit before the point.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0..100.0 => 1,
        _ => 2,
    };
    group(&format!("{value:.decimals$}"))
}

/// Puts commas between thousands.
fn group(number: &str) -> String {
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// A table whose first row is its head.
pub(super) fn table(rows: &[Vec<String>]) -> Result<String, fmt::Error> {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            write!(text, "| {cell:width$} ")?;
        }
        text.push_str("|\n");
        if index == 0 {
            for &width in &widths {
                write!(text, "|{:-<1$}", "", width + 2)?;
            }
            text.push_str("|\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<_> = [0.0, 0.254, 12.34, -567.8, 1_234_567.8].map(number).into();
        assert_eq!(shown, ["0.00", "0.25", "12.3", "-568", "1,234,568"]);
    }

    #[test]
    fn one_sample_has_no_range() {
        let summary = Summary { median: 2.0, min: 1.0, max: 3.0 };
        assert_eq!(spread(summary, 1), "2.00");
        assert_eq!(spread(summary, 3), "2.00 (1.00 to 3.00)");
    }
}
