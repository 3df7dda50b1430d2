//! Everything that was measured, and the JSON file made of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::metric::{Metric, Sample};
use super::statistics::Summary;
use crate::host::{Cores, Machine, Source};
use crate::scale::Scale;
use crate::target::{LeftOut, Located, Target};

/// The version of the file's format; another one is refused.
const FORMAT: u32 = 1;

/// The results of a run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The version of the format.
    format: u32,
    /// What was done.
    pub(crate) kind: Kind,
    /// When the run began, in seconds since 1970.
    pub(crate) began: u64,
    /// How often each measurement was repeated.
    pub(crate) reps: u32,
    /// How much was measured.
    pub(crate) scale: Scale,
    /// How the harness and the bare proxy were compiled.
    pub(crate) build: Build,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// The source tree that it was started in.
    pub(crate) source: Source,
    /// The versions of what was measured and of the tools, by name.
    pub(crate) versions: BTreeMap<String, String>,
    /// What could not be measured.
    pub(crate) left_out: Vec<LeftOut>,
    /// The figures, in the order in which they were taken.
    pub(crate) figures: Vec<Figure>,
    /// The measurements that did not succeed.
    pub(crate) failures: Vec<Failure>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Time and memory.
    Run,
    /// Instructions.
    Callgrind,
}

/// How the harness was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Build {
    Debug,
    Release,
}

/// One metric of one scenario, for every target.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) scenario: String,
    pub(crate) metric: Metric,
    pub(crate) unit: String,
    pub(crate) targets: BTreeMap<Target, Column>,
    /// The figures divided by those of nginx in the same repetition.
    pub(crate) ratios: BTreeMap<Target, Column>,
}

/// One metric of one scenario for one target.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) summary: Option<Summary>,
    /// The figures by repetition, the first of which is 0.
    pub(crate) samples: BTreeMap<u32, f64>,
}

/// A measurement that did not succeed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) scenario: String,
    pub(crate) target: Target,
    pub(crate) rep: u32,
    pub(crate) error: String,
}

// === impl Build ===

impl Build {
    /// How this program was compiled.
    pub(crate) fn own() -> Self {
        if cfg!(debug_assertions) { Self::Debug } else { Self::Release }
    }
}

// === impl Column ===

impl Column {
    /// The figures in the order of the repetitions.
    pub(crate) fn values(&self) -> Vec<f64> {
        self.samples.values().copied().collect()
    }
}

// === impl Results ===

impl Results {
    /// Nothing measured yet.
    pub(crate) fn new(kind: Kind, reps: u32, scale: Scale, cores: Cores, programs: &Located) -> Self {
        let began =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            format: FORMAT,
            kind,
            began,
            reps,
            scale,
            build: Build::own(),
            machine: Machine::describe(cores),
            source: Source::read(),
            versions: programs.versions(),
            left_out: programs.left_out().to_vec(),
            figures: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Takes the figures of one measurement.
    pub(crate) fn add(&mut self, scenario: &str, target: Target, rep: u32, samples: &[Sample]) {
        for &Sample { metric, value } in samples {
            self.figure(scenario, metric).targets.entry(target).or_default().samples.insert(rep, value);
        }
    }

    /// Derives what follows from the figures, once all are there.
    pub(crate) fn complete(&mut self) {
        self.derive_added();
        for figure in &mut self.figures {
            figure.derive_ratios();
            for column in figure.targets.values_mut().chain(figure.ratios.values_mut()) {
                column.summary = Summary::of(&column.values());
            }
        }
    }

    /// Writes the file.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        fs::write(file, json + "\n").with_context(|| format!("failed to write {}", file.display()))
    }

    /// Reads a file that [`Self::write`] has written.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let json = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        Self::parse(&json).with_context(|| format!("{} holds no results of trunkline-bench", file.display()))
    }

    fn parse(json: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // Alone first, since a file of another format may lack anything else.
        let Format { format } = serde_json::from_str(json)?;
        ensure!(
            format == FORMAT,
            "it has format {format}, and this version reads format {FORMAT}: measure again"
        );
        Ok(serde_json::from_str(json)?)
    }

    /// What each proxy adds to a latency, against the same repetition without a proxy.
    fn derive_added(&mut self) {
        let mut added = Vec::new();
        for figure in &self.figures {
            let Some(metric) = figure.metric.added() else { continue };
            let Some(direct) = figure.targets.get(&Target::Direct) else { continue };
            for (&target, column) in figure.targets.iter().filter(|(target, _)| **target != Target::Direct) {
                for (rep, value) in &column.samples {
                    if let Some(base) = direct.samples.get(rep) {
                        added.push((figure.scenario.clone(), target, *rep, metric.of(value - base)));
                    }
                }
            }
        }
        for (scenario, target, rep, sample) in added {
            self.add(&scenario, target, rep, &[sample]);
        }
    }

    /// The figure of a metric; a new one takes its place among those of the same scenario.
    fn figure(&mut self, scenario: &str, metric: Metric) -> &mut Figure {
        let known =
            self.figures.iter().position(|figure| figure.scenario == scenario && figure.metric == metric);
        let index = known.unwrap_or_else(|| {
            let precedes = |figure: &Figure| figure.scenario == scenario && figure.metric < metric;
            let last = self.figures.iter().rposition(precedes);
            let first = self.figures.iter().position(|figure| figure.scenario == scenario);
            let index = last.map(|last| last + 1).or(first).unwrap_or(self.figures.len());
            self.figures.insert(index, Figure::new(scenario, metric));
            index
        });
        &mut self.figures[index]
    }
}

// === impl Figure ===

impl Figure {
    fn new(scenario: &str, metric: Metric) -> Self {
        Self {
            scenario: scenario.to_owned(),
            metric,
            unit: metric.unit().to_owned(),
            targets: BTreeMap::new(),
            ratios: BTreeMap::new(),
        }
    }

    /// Divides by the baseline, repetition by repetition, so that what slows both down does not count.
    fn derive_ratios(&mut self) {
        if self.metric.direction() == super::metric::Direction::Neither {
            return;
        }
        let Some(baseline) = self.targets.get(&Target::BASELINE) else { return };
        for (&target, column) in &self.targets {
            if matches!(target, Target::BASELINE | Target::Direct) {
                continue;
            }
            let ratio = |(rep, value): (&u32, &f64)| {
                let base = baseline.samples.get(rep).copied().filter(|base| *base > 0.0)?;
                Some((*rep, value / base))
            };
            let samples: BTreeMap<u32, f64> = column.samples.iter().filter_map(ratio).collect();
            if !samples.is_empty() {
                self.ratios.insert(target, Column { summary: None, samples });
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
