//! The table, which is also Markdown.

use std::fmt::{self, Write as _};

use super::record::{Column, Figure, Results};
use crate::target::Target;

/// Renders the results for people.
pub(crate) fn render(results: &Results) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let machine = &results.machine;
    write!(
        text,
        "{}, {} cores, Linux {}\n{}\n{} repetition(s){}\n",
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.pinning,
        results.reps,
        if results.quick { ", cut short: not for publishing" } else { "" },
    )?;
    for (target, version) in &results.versions {
        writeln!(text, "{target}: {version}")?;
    }
    text.push('\n');
    text.push_str(&align(&rows(results))?);
    for failure in &results.failures {
        write!(
            text,
            "\nfailed: {} of {}, repetition {}: {}\n",
            failure.scenario,
            failure.target,
            failure.rep + 1,
            failure.error
        )?;
    }
    Ok(text)
}

fn rows(results: &Results) -> Vec<Vec<String>> {
    let measured = |target: &Target| results.figures.iter().any(|figure| figure.targets.contains_key(target));
    let targets: Vec<Target> = Target::ALL.into_iter().filter(measured).collect();
    let compares = targets.contains(&Target::Nginx) && targets.contains(&Target::Trunkline);
    let mut header = vec!["scenario".to_owned(), "metric".to_owned()];
    header.extend(targets.iter().map(Target::to_string));
    header.extend(compares.then(|| "trunkline / nginx".to_owned()));
    let mut rows = vec![header];
    for figure in &results.figures {
        let mut row = vec![figure.scenario.clone(), format!("{}, {}", figure.metric.name(), figure.unit)];
        row.extend(targets.iter().map(|target| cell(figure.targets.get(target))));
        row.extend(compares.then(|| ratio(figure)));
        rows.push(row);
    }
    rows
}

fn cell(column: Option<&Column>) -> String {
    match column.and_then(|column| Some((column.summary?, column.samples.len()))) {
        None => "–".to_owned(),
        Some((summary, 1)) => number(summary.median),
        Some((summary, _)) => {
            format!("{} ({} to {})", number(summary.median), number(summary.min), number(summary.max))
        }
    }
}

fn ratio(figure: &Figure) -> String {
    let median = |target| Some(figure.targets.get(&target)?.summary?.median);
    match (median(Target::Trunkline), median(Target::Nginx)) {
        (Some(trunkline), Some(nginx)) if nginx > 0.0 => format!("{:.2}", trunkline / nginx),
        _ => "–".to_owned(),
    }
}

/// Three significant digits, but every digit before the point.
fn number(value: f64) -> String {
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

fn align(rows: &[Vec<String>]) -> Result<String, fmt::Error> {
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
    use super::super::record;
    use super::*;

    #[test]
    fn renders_what_was_measured() {
        let expected = "\
a cpu, 2 cores, Linux 6.1
two cores
2 repetition(s)
nginx: nginx/1.22.1

| scenario   | metric        | direct           | nginx                     |
|------------|---------------|------------------|---------------------------|
| first-byte | p50, µs       | 150 (100 to 200) | 375 (350 to 400)          |
| first-byte | p50 added, µs | –                | 225 (200 to 250)          |
| small      | requests, /s  | –                | 12,346 (12,346 to 12,346) |
";
        assert_eq!(render(&record::tests::results()).unwrap(), expected);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<_> = [0.0, 0.254, 12.34, -567.8, 1_234_567.8].map(number).into();
        assert_eq!(shown, ["0.00", "0.25", "12.3", "-568", "1,234,568"]);
    }
}
