//! What is measured. Every measurement has a fresh proxy, so that none inherits the memory of another.

mod latency;
mod memory;
mod paced;
mod start;
mod throughput;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::load::Upstream;
use crate::report::{Metric, Sample};
use crate::scale::Scale;
use crate::target::{Launch, Proxy, Target};

/// The longest that a proxy may take to start: far longer than on a machine that is busy with other programs.
const READY: Duration = Duration::from_secs(60);

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Small requests in a closed loop.
    Small,
    /// Streams sent as fast as they are taken.
    Burst {
        /// How many at a time.
        streams: usize,
        /// How many events the upstream puts into one write.
        per_write: usize,
    },
    /// Streams with an event every 20 ms.
    Paced {
        /// How many at a time.
        streams: usize,
    },
    /// One request at a time.
    FirstByte,
    /// Requests of 1 MiB.
    Upload {
        /// How many at a time.
        connections: usize,
    },
    /// Streams that are open and silent.
    Memory,
    /// From the start of the program to its first answer.
    Start,
}

/// What a measurement works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench<'a> {
    /// The upstream, which a measurement tells how to answer.
    pub(crate) upstream: &'a Upstream,
    /// How proxies are started.
    pub(crate) launch: Launch<'a>,
    /// How much is measured.
    pub(crate) scale: Scale,
}

// === impl Scenario ===

impl Scenario {
    /// The scenarios of a run at this scale.
    pub(crate) fn all(scale: Scale) -> Vec<Self> {
        let mut all = vec![
            Self::Small,
            Self::Burst { streams: 16, per_write: 16 },
            Self::Burst { streams: 200, per_write: 16 },
            Self::Burst { streams: 16, per_write: 1 },
            Self::Paced { streams: 16 },
            Self::Paced { streams: 200 },
            Self::FirstByte,
            Self::Upload { connections: 1 },
            Self::Upload { connections: 8 },
            Self::Memory,
            Self::Start,
        ];
        if scale != Scale::Full {
            all.retain(|scenario| {
                !matches!(
                    scenario,
                    Self::Burst { streams: 200, .. }
                        | Self::Paced { streams: 200 }
                        | Self::Upload { connections: 1 }
                )
            });
        }
        all
    }

    /// Whether there is anything to measure without a proxy.
    pub(crate) fn applies_to(self, target: Target) -> bool {
        target != Target::Direct || !matches!(self, Self::Memory | Self::Start)
    }

    /// Measures once.
    pub(crate) async fn measure(self, bench: Bench<'_>, target: Target) -> anyhow::Result<Vec<Sample>> {
        match self {
            Self::Small => throughput::small(bench, target).await,
            Self::Burst { streams, per_write } => throughput::burst(bench, target, streams, per_write).await,
            Self::Upload { connections } => throughput::upload(bench, target, connections).await,
            Self::Paced { streams } => paced::measure(bench, target, streams).await,
            Self::FirstByte => latency::measure(bench, target).await,
            Self::Memory => memory::measure(bench, target).await,
            Self::Start => start::measure(bench, target).await,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small => f.write_str("small"),
            Self::Burst { streams, per_write: 1 } => write!(f, "burst-{streams}-single"),
            Self::Burst { streams, .. } => write!(f, "burst-{streams}"),
            Self::Paced { streams } => write!(f, "paced-{streams}"),
            Self::FirstByte => f.write_str("first-byte"),
            Self::Upload { connections } => write!(f, "upload-{connections}"),
            Self::Memory => f.write_str("memory"),
            Self::Start => f.write_str("start"),
        }
    }
}

// === impl Bench ===

impl Bench<'_> {
    /// A duration at the scale of this run.
    fn spend(&self, full: Duration) -> Duration {
        self.scale.time(full)
    }

    /// Starts the target's proxy, if it has one, and waits until it answers.
    async fn prepare(&self, target: Target) -> anyhow::Result<Subject> {
        self.upstream.set_reply(crate::load::Reply::Json);
        if target == Target::Direct {
            return Ok(Subject { address: self.upstream.address(), proxy: None });
        }
        let mut proxy = self.launch.proxy(target)?;
        proxy.ready(READY).await?;
        Ok(Subject { address: proxy.address(), proxy: Some(proxy) })
    }
}

/// What requests are sent to.
struct Subject {
    address: SocketAddr,
    proxy: Option<Proxy>,
}

/// The median and the 99th percentile of durations, in microseconds.
fn percentiles(mut latencies: Vec<Duration>) -> anyhow::Result<Vec<Sample>> {
    anyhow::ensure!(!latencies.is_empty(), "nothing was measured");
    latencies.sort_unstable();
    let at = |percent: usize| {
        let index = (latencies.len() * percent / 100).min(latencies.len() - 1);
        latencies[index].as_secs_f64() * 1e6
    };
    Ok(vec![Metric::LatencyMedian.of(at(50)), Metric::LatencyTail.of(at(99))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<String> =
            Scenario::all(Scale::Full).iter().map(Scenario::to_string).collect();
        assert_eq!(names.len(), Scenario::all(Scale::Full).len());
    }

    #[test]
    fn percentiles_are_taken_from_sorted_values() {
        let samples = percentiles((1..=100).rev().map(Duration::from_micros).collect()).unwrap();
        assert!((samples[0].value - 51.0).abs() < 1e-6);
        assert!((samples[1].value - 100.0).abs() < 1e-6);
        assert!(percentiles(Vec::new()).is_err());
    }
}
