//! What instructions are counted for.

use std::fmt;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum as _;

use super::Function;
use super::output::{totals, valgrind};
use crate::host::command;
use crate::load::{Client, Reply, Upstream, messages_request};
use crate::number::{float, length};
use crate::report::{Metric, Sample};
use crate::target::{Launch, Target};

/// Everything takes some fifty times as long under valgrind.
const READY: Duration = Duration::from_mins(2);
const END: Duration = Duration::from_mins(1);
const WORK: Duration = Duration::from_mins(5);

/// How often a program that is to end is looked at.
const LOOK: Duration = Duration::from_millis(10);

const BODY: usize = 2048;
/// Requests of a run that counts events.
const STREAMS: u32 = 20;
/// How much more work the longer of the two runs of a proxy has.
const FACTOR: u32 = 3;

/// Something to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// A small request and its answer, one after the other on one connection.
    Request,
    /// An event of a stream whose upstream writes so many events at once.
    Event {
        /// How many events the upstream puts into one write.
        per_write: usize,
    },
    /// A call of a function of Trunkline's, alone.
    Function(Function),
}

/// What counting works with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counter<'a> {
    /// The upstream, which a measurement tells how to answer.
    pub(super) upstream: &'a Upstream,
    /// How proxies are started.
    pub(super) launch: Launch<'a>,
    /// Requests, or events of each stream, of the shorter run of a proxy.
    pub(super) work: u32,
}

/// The work of one run of a proxy.
#[derive(Clone, Copy, Debug)]
struct Work {
    requests: u32,
    reply: Reply,
    /// What the count is divided by, in this run.
    units: u64,
}

// === impl Scenario ===

impl Scenario {
    pub(super) fn all() -> Vec<Self> {
        let proxies = [Self::Request, Self::Event { per_write: 16 }, Self::Event { per_write: 1 }];
        let functions = Function::value_variants().iter().copied().map(Self::Function);
        proxies.into_iter().chain(functions).collect()
    }

    /// The functions are Trunkline's alone, and without a proxy there is nothing to count.
    pub(super) fn applies_to(self, target: Target) -> bool {
        match self {
            Self::Function(_) => target == Target::Trunkline,
            Self::Request | Self::Event { .. } => target != Target::Direct,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request"),
            Self::Event { per_write: 1 } => f.write_str("event-single"),
            Self::Event { per_write } => write!(f, "event-{per_write}"),
            Self::Function(function) => write!(f, "fn-{function}"),
        }
    }
}

// === impl Counter ===

impl Counter<'_> {
    /// Counts once.
    pub(super) async fn count(self, scenario: Scenario, target: Target) -> anyhow::Result<Sample> {
        let (metric, work): (_, fn(_, _) -> _) = match scenario {
            Scenario::Function(function) => return self.function(function).await,
            Scenario::Request => (Metric::InstructionsPerRequest, |amount, _| Work::requests(amount)),
            Scenario::Event { .. } => (Metric::InstructionsPerEvent, Work::events),
        };
        let per_write = if let Scenario::Event { per_write } = scenario { per_write } else { 1 };
        let (short, long) = (work(self.work, per_write), work(self.work * FACTOR, per_write));
        let base = self.proxy(target, short).await?;
        let total = self.proxy(target, long).await?;
        Ok(metric.of(each((base, short.units), (total, long.units))?))
    }

    /// The instructions of a proxy from its start to its end.
    async fn proxy(self, target: Target, work: Work) -> anyhow::Result<u64> {
        self.upstream.set_reply(Reply::Json);
        let mut proxy = self.launch.wrapped(target, valgrind)?;
        proxy.ready(READY).await?;
        self.upstream.set_reply(work.reply);
        let request = messages_request(BODY, 0, work.reply != Reply::Json);
        let mut client = Client::new(proxy.address());
        let exchanges = async {
            for _ in 0..work.requests {
                client.exchange(&request, |part| self.upstream.received(part.len())).await?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(WORK, exchanges).await.with_context(|| format!("not done after {WORK:?}"))??;
        drop(client);
        proxy.end(END).await?;
        totals(proxy.directory()).with_context(|| proxy.output())
    }

    /// The instructions of one call: this program calls the function N times and then 2 N times.
    async fn function(self, function: Function) -> anyhow::Result<Sample> {
        let calls = function.calls();
        let base = self.calls(function, calls).await?;
        let total = self.calls(function, 2 * calls).await?;
        let (short, long) = ((base, calls.into()), (total, u64::from(calls) * 2));
        Ok(Metric::InstructionsPerCall.of(each(short, long)?))
    }

    async fn calls(self, function: Function, calls: u32) -> anyhow::Result<u64> {
        let directory = tempfile::Builder::new().prefix("trunkline-bench-").tempdir()?;
        let mut words = self.launch.cores.proxy_prefix();
        words.extend(valgrind(directory.path()));
        words.push(std::env::current_exe().context("failed to find the own program")?.into());
        words.extend(["function".into(), function.to_string().into()]);
        for (option, count) in [("--calls", calls), ("--prepared", 2 * function.calls())] {
            words.extend([option.into(), count.to_string().into()]);
        }
        let file = directory.path().join("output.log");
        let output = File::create(&file)?;
        let child = command(Vec::new(), words)?
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("failed to start valgrind")?;
        let mut running = Running(child);
        let deadline = Instant::now() + WORK;
        let status = loop {
            if let Some(status) = running.0.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "not done after {WORK:?}");
            tokio::time::sleep(LOOK).await;
        };
        if !status.success() {
            bail!("ended with {status}\n{}", fs::read_to_string(file).unwrap_or_default());
        }
        totals(directory.path())
    }
}

/// A program that does not outlive what waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The instructions of one unit, from two runs with their instructions and units.
fn each(short: (u64, u64), long: (u64, u64)) -> anyhow::Result<f64> {
    ensure!(long.0 > short.0, "more work took fewer instructions ({}, then {})", short.0, long.0);
    ensure!(long.1 > short.1, "the longer run had no more work");
    Ok(float(long.0 - short.0) / float(long.1 - short.1))
}

// === impl Work ===

impl Work {
    fn requests(amount: u32) -> Self {
        Self { requests: amount, reply: Reply::Json, units: amount.into() }
    }

    fn events(amount: u32, per_write: usize) -> Self {
        let reply = Reply::Stepped { events: length(amount.into()), per_write };
        Self { requests: STREAMS, reply, units: u64::from(amount) * u64::from(STREAMS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<String> =
            Scenario::all().iter().map(Scenario::to_string).collect();
        assert_eq!(names.len(), Scenario::all().len());
        assert!(names.contains("request") && names.contains("event-16") && names.contains("fn-normal-path"));
    }

    #[test]
    fn the_start_drops_out() {
        assert!((each((1000 + 20, 10), (1000 + 60, 30)).unwrap() - 2.0).abs() < 1e-9);
        assert!(each((20, 10), (20, 30)).is_err());
        assert!(each((20, 10), (30, 10)).is_err());
    }
}
