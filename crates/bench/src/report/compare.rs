//! What has changed between two runs, and what of it is more than noise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use anyhow::ensure;

use super::markdown::{self, NONE, spread};
use super::metric::{Direction, Metric};
use super::record::{Column, Figure, Results};
use super::statistics::Summary;
use super::table::label;
use crate::target::Target;

/// Repetitions from which on separate ranges mean something: when nothing has changed, the ranges of four and four
/// samples are separate once in 35 comparisons, of five and five once in 126, but of three and three once in 10.
const ENOUGH: usize = 4;

/// The change of an instruction count, as a share, that is still noise. Repeated counts of whole programs are within a
/// fifth of it; the moments at which timers fire move them.
const COUNT_NOISE: f64 = 0.001;

/// Whether a change is more than noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Noise,
    /// The ranges are separate, but of so few samples that they often are.
    TooFew,
    Better,
    Worse,
    /// Outside of noise, of a figure that is neither good nor bad.
    Different,
}

/// Renders the changes from `old` to `new`, of `targets` only unless that is empty.
pub(crate) fn compare(old: &Results, new: &Results, targets: &[Target]) -> anyhow::Result<String> {
    ensure!(
        old.kind == new.kind,
        "one file is of `run` and the other of `callgrind`: they have no figure in common"
    );
    let mut text = String::new();
    circumstances(&mut text, old, new)?;
    let wanted = |target: Target| targets.is_empty() || targets.contains(&target);
    let figures = rows(old, new, wanted, true, |figure| &figure.targets);
    ensure!(figures.len() > 1, "the two files have no figure in common");
    write!(text, "\n{}", markdown::table(&figures)?)?;
    let ratios = rows(old, new, wanted, false, |figure| &figure.ratios);
    if ratios.len() > 1 {
        write!(text, "\nAs multiples of {}:\n\n{}", Target::BASELINE, markdown::table(&ratios)?)?;
    }
    let (before, after) = (measured(old, wanted), measured(new, wanted));
    only(&mut text, "OLD", before.difference(&after))?;
    only(&mut text, "NEW", after.difference(&before))?;
    Ok(text)
}

/// What else differs between the runs.
fn circumstances(text: &mut String, old: &Results, new: &Results) -> fmt::Result {
    let commit = |results: &Results| {
        let commit = results.source.commit.as_deref().unwrap_or("unknown");
        format!("{commit}{}", if results.source.clean == Some(false) { " with changes" } else { "" })
    };
    writeln!(text, "OLD: commit {}, {} repetition(s)", commit(old), old.reps)?;
    writeln!(text, "NEW: commit {}, {} repetition(s)", commit(new), new.reps)?;
    let mut facts = vec![
        ("processor".to_owned(), old.machine.cpu.clone(), new.machine.cpu.clone()),
        ("cores".to_owned(), old.machine.cores.to_string(), new.machine.cores.to_string()),
        ("kernel".to_owned(), old.machine.kernel.clone(), new.machine.kernel.clone()),
        ("governor".to_owned(), name(old.machine.governor.as_ref()), name(new.machine.governor.as_ref())),
        ("pinning".to_owned(), old.machine.pinning.clone(), new.machine.pinning.clone()),
        ("scale".to_owned(), old.scale.to_string(), new.scale.to_string()),
        ("build".to_owned(), format!("{:?}", old.build), format!("{:?}", new.build)),
    ];
    let programs: BTreeSet<&String> = old.versions.keys().chain(new.versions.keys()).collect();
    for program in programs {
        let version = |results: &Results| name(results.versions.get(program));
        facts.push((program.clone(), version(old), version(new)));
    }
    for (fact, before, after) in facts.iter().filter(|(_, before, after)| before != after) {
        writeln!(text, "differs: {fact}: {before}, now {after}")?;
    }
    Ok(())
}

fn name(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "unknown".to_owned())
}

fn rows<'a>(
    old: &'a Results,
    new: &'a Results,
    wanted: impl Fn(Target) -> bool,
    has_unit: bool,
    columns: impl Fn(&'a Figure) -> &'a BTreeMap<Target, Column>,
) -> Vec<Vec<String>> {
    let head = ["scenario", "metric", "of", "OLD", "NEW", "change", "outside of noise"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for before in &old.figures {
        let same = |figure: &&Figure| figure.scenario == before.scenario && figure.metric == before.metric;
        let Some(after) = new.figures.iter().find(same) else { continue };
        for (&target, old_column) in columns(before).iter().filter(|(target, _)| wanted(**target)) {
            let Some(new_column) = columns(after).get(&target) else { continue };
            let Some((earlier, later)) = old_column.summary.zip(new_column.summary) else { continue };
            let (old_count, new_count) = (old_column.samples.len(), new_column.samples.len());
            rows.push(vec![
                before.scenario.clone(),
                label(before, has_unit),
                target.to_string(),
                spread(earlier, old_count),
                spread(later, new_count),
                change(earlier, later),
                judge(before.metric, earlier, later, old_count.min(new_count)).to_string(),
            ]);
        }
    }
    rows
}

fn change(old: Summary, new: Summary) -> String {
    old.change_to(new).map_or_else(|| NONE.to_owned(), |change| format!("{:+.1} %", change * 100.0))
}

/// Whether separate ranges mean that something has changed; `samples` is the smaller number of repetitions.
fn judge(metric: Metric, old: Summary, new: Summary, samples: usize) -> Verdict {
    if old.overlaps(new) {
        return Verdict::Noise;
    }
    if metric.is_count() {
        // Counts repeat so well that even two single ones can be told apart.
        if old.change_to(new).is_some_and(|change| change.abs() <= COUNT_NOISE) {
            return Verdict::Noise;
        }
    } else if samples < ENOUGH {
        return Verdict::TooFew;
    }
    match (metric.direction(), new.median > old.median) {
        (Direction::Neither, _) => Verdict::Different,
        (Direction::Lower, false) | (Direction::Higher, true) => Verdict::Better,
        (Direction::Lower, true) | (Direction::Higher, false) => Verdict::Worse,
    }
}

/// The scenarios and targets that have figures.
fn measured(results: &Results, wanted: impl Fn(Target) -> bool) -> BTreeSet<(String, Target)> {
    let pairs = |figure: &'_ Figure| -> Vec<(String, Target)> {
        figure.targets.keys().map(|target| (figure.scenario.clone(), *target)).collect()
    };
    results.figures.iter().flat_map(pairs).filter(|(_, target)| wanted(*target)).collect()
}

fn only<'a>(text: &mut String, file: &str, pairs: impl Iterator<Item = &'a (String, Target)>) -> fmt::Result {
    let pairs: Vec<String> = pairs.map(|(scenario, target)| format!("{scenario} of {target}")).collect();
    if !pairs.is_empty() {
        writeln!(text, "\nonly in {file}: {}", pairs.join(", "))?;
    }
    Ok(())
}

// === impl Verdict ===

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Noise => "",
            Self::TooFew => "too few repetitions",
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Different => "different",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{self, Kind};
    use super::super::snapshot;
    use super::*;

    fn range(min: f64, max: f64) -> Summary {
        Summary { median: f64::midpoint(min, max), min, max }
    }

    #[test]
    fn only_separate_ranges_of_enough_samples_count() {
        let cpu = |old, new, samples| judge(Metric::CpuPerRequest, old, new, samples);
        assert_eq!(cpu(range(10.0, 12.0), range(11.0, 14.0), 5), Verdict::Noise);
        assert_eq!(cpu(range(10.0, 12.0), range(13.0, 14.0), 5), Verdict::Worse);
        assert_eq!(cpu(range(13.0, 14.0), range(10.0, 12.0), 4), Verdict::Better);
        assert_eq!(cpu(range(13.0, 14.0), range(10.0, 12.0), 3), Verdict::TooFew);
    }

    #[test]
    fn more_is_better_or_worse_by_metric() {
        let (low, high) = (range(1.0, 2.0), range(3.0, 4.0));
        assert_eq!(judge(Metric::Events, low, high, 5), Verdict::Better);
        assert_eq!(judge(Metric::Events, high, low, 5), Verdict::Worse);
        assert_eq!(judge(Metric::LatencyTail, low, high, 5), Verdict::Worse);
        assert_eq!(judge(Metric::LoadCore, low, high, 5), Verdict::Different);
    }

    #[test]
    fn counts_need_no_repetitions_but_have_a_floor() {
        let count = |old, new| judge(Metric::InstructionsPerCall, range(old, old), range(new, new), 1);
        assert_eq!(count(10_000.0, 10_009.0), Verdict::Noise);
        assert_eq!(count(1000.0, 1010.0), Verdict::Worse);
        assert_eq!(count(1000.0, 900.0), Verdict::Better);
        assert_eq!(count(1000.0, 1000.0), Verdict::Noise);
    }

    fn run(reps: u32, cpu: f64, p50: f64) -> Results {
        let mut results = record::tests::empty();
        results.reps = reps;
        for rep in 0..reps {
            let jitter = f64::from(rep) / 10.0;
            results.add("small", Target::Nginx, rep, &[Metric::CpuPerRequest.of(10.0)]);
            results.add("small", Target::Trunkline, rep, &[Metric::CpuPerRequest.of(cpu + jitter)]);
            results.add("first-byte", Target::Trunkline, rep, &[Metric::LatencyMedian.of(p50 + jitter)]);
        }
        results.complete();
        results
    }

    #[test]
    fn shows_changes_and_what_else_differs() {
        let old = run(5, 20.0, 100.0);
        let mut new = run(5, 22.0, 100.2);
        new.machine.kernel = "6.6".into();
        new.source.clean = Some(false);
        new.versions.insert("haproxy".into(), "2.6".into());
        new.add("burst-16", Target::Bare, 0, &[Metric::Events.of(1.0)]);
        new.complete();
        snapshot::check("compare.txt", &compare(&old, &new, &[]).unwrap());
        let filtered = compare(&old, &new, &[Target::Trunkline]).unwrap();
        assert!(filtered.contains("trunkline") && !filtered.contains("of bare"), "{filtered}");
    }

    #[test]
    fn files_with_nothing_in_common_are_refused() {
        let old = run(1, 20.0, 100.0);
        assert!(compare(&old, &record::tests::empty(), &[]).is_err());
        assert!(compare(&old, &old, &[Target::Haproxy]).is_err());
        let mut counts = run(1, 20.0, 100.0);
        counts.kind = Kind::Callgrind;
        assert!(compare(&old, &counts, &[]).unwrap_err().to_string().contains("callgrind"));
    }
}
