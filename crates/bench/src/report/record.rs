//! Everything that was measured, and the JSON file made of it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::metric::{Metric, Sample};
use super::statistics::Summary;
use crate::host::Machine;
use crate::target::Target;

/// The results of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// When the run began, in seconds since 1970.
    pub(crate) began: u64,
    /// How often each measurement was repeated.
    pub(crate) reps: u32,
    /// Whether measurements were cut short.
    pub(crate) quick: bool,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// What was measured.
    pub(crate) versions: BTreeMap<Target, String>,
    /// The figures, in the order in which they were taken.
    pub(crate) figures: Vec<Figure>,
    /// The measurements that did not succeed.
    pub(crate) failures: Vec<Failure>,
}

/// One metric of one scenario, for every target.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) scenario: String,
    #[serde(serialize_with = "name")]
    pub(crate) metric: Metric,
    pub(crate) unit: &'static str,
    pub(crate) targets: BTreeMap<Target, Column>,
}

/// One metric of one scenario for one target.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Column {
    pub(crate) summary: Option<Summary>,
    /// The figures by repetition.
    pub(crate) samples: BTreeMap<u32, f64>,
}

/// A measurement that did not succeed.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) scenario: String,
    pub(crate) target: Target,
    pub(crate) rep: u32,
    pub(crate) error: String,
}

// === impl Results ===

impl Results {
    /// Nothing measured yet.
    pub(crate) fn new(reps: u32, quick: bool, machine: Machine, versions: BTreeMap<Target, String>) -> Self {
        let began =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { began, reps, quick, machine, versions, figures: Vec::new(), failures: Vec::new() }
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
        for column in self.figures.iter_mut().flat_map(|figure| figure.targets.values_mut()) {
            column.summary = Summary::of(&column.samples.values().copied().collect::<Vec<_>>());
        }
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
            let scenario = scenario.to_owned();
            let figure = Figure { scenario, metric, unit: metric.unit(), targets: BTreeMap::new() };
            self.figures.insert(index, figure);
            index
        });
        &mut self.figures[index]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn name<S: serde::Serializer>(metric: &Metric, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(metric.name())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn results() -> Results {
        let machine =
            Machine { cpu: "a cpu".into(), cores: 2, kernel: "6.1".into(), pinning: "two cores".into() };
        let versions = BTreeMap::from([(Target::Nginx, "nginx/1.22.1".to_owned())]);
        let mut results = Results::new(2, false, machine, versions);
        for (rep, direct, nginx) in [(0, 100.0, 350.0), (1, 200.0, 400.0)] {
            results.add("first-byte", Target::Direct, rep, &[Metric::LatencyMedian.of(direct)]);
            results.add("first-byte", Target::Nginx, rep, &[Metric::LatencyMedian.of(nginx)]);
            results.add("small", Target::Nginx, rep, &[Metric::Requests.of(12_345.6)]);
        }
        results.complete();
        results
    }

    #[test]
    fn added_latency_is_taken_within_a_repetition() {
        let results = results();
        let names: Vec<_> = results.figures.iter().map(|figure| figure.metric).collect();
        assert_eq!(names, [Metric::LatencyMedian, Metric::AddedMedian, Metric::Requests]);
        let added = &results.figures[1].targets[&Target::Nginx];
        assert_eq!(added.samples.values().copied().collect::<Vec<_>>(), [250.0, 200.0]);
        assert_eq!(added.summary, Some(Summary { median: 225.0, min: 200.0, max: 250.0 }));
    }
}
