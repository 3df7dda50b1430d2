//! The report of one run.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::markdown::{self, NONE, spread};
use super::record::{Build, Column, Figure, Kind, Results};
use crate::scale::Scale;
use crate::target::Target;

/// The load of the last minute from which on the report warns: one core was not free.
const BUSY: f64 = 0.5;

/// Renders the results for people.
pub(crate) fn render(results: &Results) -> Result<String, fmt::Error> {
    let mut text = String::new();
    origin(&mut text, results)?;
    text.push('\n');
    text.push_str(&markdown::table(&rows(results, true, |figure| &figure.targets))?);
    let ratios = rows(results, false, |figure| &figure.ratios);
    if ratios.len() > 1 {
        write!(text, "\nAs multiples of {} in the same repetition:\n\n", Target::BASELINE)?;
        text.push_str(&markdown::table(&ratios)?);
    }
    notes(&mut text, results)?;
    Ok(text)
}

/// Where the figures come from.
fn origin(text: &mut String, results: &Results) -> fmt::Result {
    let machine = &results.machine;
    let governor = machine.governor.as_deref().unwrap_or("unknown");
    writeln!(
        text,
        "{}, {} cores, governor {governor}, Linux {}",
        machine.cpu, machine.cores, machine.kernel
    )?;
    writeln!(text, "{}", machine.pinning)?;
    let commit = results.source.commit.as_deref().unwrap_or("unknown");
    let state = match results.source.clean {
        Some(true) => "clean",
        Some(false) => "with changes",
        None => "state unknown",
    };
    writeln!(text, "commit {commit}, {state}")?;
    writeln!(text, "{} repetition(s)", results.reps)?;
    for (name, version) in &results.versions {
        writeln!(text, "{name}: {version}")?;
    }
    Ok(())
}

/// What is missing, what failed, and why the figures are not to be trusted.
fn notes(text: &mut String, results: &Results) -> fmt::Result {
    for left_out in &results.left_out {
        writeln!(text, "\nleft out: {}", left_out.reason)?;
    }
    for failure in &results.failures {
        let (scenario, target, rep) = (&failure.scenario, failure.target, failure.rep + 1);
        writeln!(text, "\nfailed: {scenario} of {target}, repetition {rep}: {}", failure.error)?;
    }
    let mut reasons = Vec::new();
    if results.build == Build::Debug {
        reasons.push("this is a debug build".to_owned());
    }
    if results.scale != Scale::Full {
        reasons.push(format!("measurements were cut short (--scale {})", results.scale));
    }
    if let Some(load) = results.machine.load.filter(|load| *load > BUSY && results.kind == Kind::Run) {
        reasons.push(format!("other programs were running (load {load:.1} before the start)"));
    }
    if !reasons.is_empty() {
        writeln!(text, "\nnot for publishing: {}", reasons.join("; "))?;
    }
    Ok(())
}

/// A row for each figure with a column for each target.
fn rows(
    results: &Results,
    has_unit: bool,
    columns: impl Fn(&Figure) -> &BTreeMap<Target, Column>,
) -> Vec<Vec<String>> {
    let present = |target: &Target| results.figures.iter().any(|figure| columns(figure).contains_key(target));
    let targets: Vec<Target> = Target::ALL.into_iter().filter(present).collect();
    let mut header = vec!["scenario".to_owned(), "metric".to_owned()];
    header.extend(targets.iter().map(Target::to_string));
    let mut rows = vec![header];
    for figure in results.figures.iter().filter(|figure| !columns(figure).is_empty()) {
        let mut row = vec![figure.scenario.clone(), label(figure, has_unit)];
        row.extend(targets.iter().map(|target| cell(columns(figure).get(target))));
        rows.push(row);
    }
    rows
}

/// What a figure says, with its unit unless it has none.
pub(super) fn label(figure: &Figure, has_unit: bool) -> String {
    let name = figure.metric.name();
    if has_unit { format!("{name}, {}", figure.unit) } else { name.to_owned() }
}

fn cell(column: Option<&Column>) -> String {
    column
        .and_then(|column| Some(spread(column.summary?, column.samples.len())))
        .unwrap_or_else(|| NONE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;
    use crate::report::{Failure, snapshot};
    use crate::target::LeftOut;

    #[test]
    fn shows_what_was_measured() {
        snapshot::check("report.txt", &render(&record::tests::results()).unwrap());
    }

    #[test]
    fn shows_what_is_missing_and_what_failed() {
        let mut results = record::tests::empty();
        results.scale = Scale::Tiny;
        results.build = Build::Debug;
        results.machine.load = Some(3.0);
        results.source.clean = Some(false);
        results.left_out.push(LeftOut { target: Target::Haproxy, reason: "haproxy is not installed".into() });
        let (scenario, error) = ("small".to_owned(), "reset".to_owned());
        results.failures.push(Failure { scenario, target: Target::Bare, rep: 1, error });
        results.add("small", Target::Trunkline, 0, &[crate::report::Metric::CpuPerRequest.of(17.0)]);
        results.complete();
        snapshot::check("troubles.txt", &render(&results).unwrap());
    }
}
