//! Closed loops: what a request, an event or an upload costs when the proxy has as much to do as it can.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::{Bench, Subject};
use crate::host::ProcessTree;
use crate::load::{Client, EVENT_LENGTH, Reply, messages_request};
use crate::number::{count, float};
use crate::report::{Metric, Sample};
use crate::target::Target;

const SMALL_CONNECTIONS: usize = 32;
const SMALL_BODY: usize = 2048;
const EVENTS_PER_STREAM: usize = 2000;
const UPLOAD_BODY: usize = 1 << 20;

/// How long the load runs before measuring begins.
const WARM_UP: Duration = Duration::from_millis(400);
const WINDOW: Duration = Duration::from_millis(2500);

/// What happened in the window.
struct Window {
    elapsed: Duration,
    exchanges: f64,
    body_bytes: f64,
    /// Processor time of the proxy, unless there is none.
    proxy: Option<Duration>,
    /// Processor time of client and upstream.
    load: Duration,
}

#[derive(Debug, Default)]
struct Tally {
    exchanges: Cell<u64>,
    body_bytes: Cell<u64>,
}

/// Small requests, small answers.
pub(super) async fn small(bench: Bench<'_>, target: Target) -> anyhow::Result<Vec<Sample>> {
    let window = run(bench, target, Reply::Json, SMALL_CONNECTIONS, SMALL_BODY).await?;
    Ok(window.samples(window.exchanges, (Metric::CpuPerRequest, 1e6), Metric::Requests))
}

/// Streams as fast as they go.
pub(super) async fn burst(
    bench: Bench<'_>,
    target: Target,
    streams: usize,
    per_write: usize,
) -> anyhow::Result<Vec<Sample>> {
    let reply = Reply::Burst { events: EVENTS_PER_STREAM, per_write };
    let window = run(bench, target, reply, streams, SMALL_BODY).await?;
    let events = window.body_bytes / float(count(EVENT_LENGTH));
    Ok(window.samples(events, (Metric::CpuPerEvent, 1e6), Metric::Events))
}

/// Large requests, small answers.
pub(super) async fn upload(
    bench: Bench<'_>,
    target: Target,
    connections: usize,
) -> anyhow::Result<Vec<Sample>> {
    let window = run(bench, target, Reply::Json, connections, UPLOAD_BODY).await?;
    Ok(window.samples(window.exchanges, (Metric::CpuPerUpload, 1e3), Metric::UploadRate))
}

async fn run(
    bench: Bench<'_>,
    target: Target,
    reply: Reply,
    connections: usize,
    body: usize,
) -> anyhow::Result<Window> {
    let Subject { address, proxy } = bench.prepare(target).await?;
    bench.upstream.set_reply(reply);
    let tally = Rc::new(Tally::default());
    let mut loops = JoinSet::new();
    for session in 0..connections {
        let request = messages_request(body, session, matches!(reply, Reply::Burst { .. }));
        let tally = Rc::clone(&tally);
        loops.spawn_local(async move {
            let mut client = Client::new(address);
            loop {
                let counted = |part: &[u8]| tally.body_bytes.set(tally.body_bytes.get() + count(part.len()));
                if let Err(error) = client.exchange(&request, counted).await {
                    break error;
                }
                tally.exchanges.set(tally.exchanges.get() + 1);
            }
        });
    }
    let processes = proxy.as_ref().map(crate::target::Proxy::processes);
    let measured = async {
        tokio::time::sleep(bench.spend(WARM_UP)).await;
        let before = Moment::read(&tally, processes);
        tokio::time::sleep(bench.spend(WINDOW)).await;
        // A short window on a slow machine may see nothing.
        while tally.exchanges.get() == before.exchanges {
            tokio::time::sleep(bench.spend(WARM_UP)).await;
        }
        Moment::read(&tally, processes).since(&before)
    };
    tokio::select! {
        failure = loops.join_next() => Err(failure.context("no load")??),
        window = measured => Ok(window),
    }
}

// === impl Window ===

impl Window {
    /// Processor time per unit, scaled from seconds to the metric's own unit, and units per second.
    fn samples(&self, units: f64, cpu: (Metric, f64), rate: Metric) -> Vec<Sample> {
        let seconds = self.elapsed.as_secs_f64();
        let busy = |time: Duration| 100.0 * time.as_secs_f64() / seconds;
        let mut samples = vec![rate.of(units / seconds), Metric::LoadCore.of(busy(self.load))];
        if let Some(proxy) = self.proxy.filter(|_| units > 0.0) {
            samples.push(cpu.0.of(proxy.as_secs_f64() * cpu.1 / units));
            samples.push(Metric::ProxyCore.of(busy(proxy)));
        }
        samples
    }
}

/// Everything that is read at either end of the window.
struct Moment {
    at: Instant,
    exchanges: u64,
    body_bytes: u64,
    proxy: Option<crate::host::CpuReading>,
    load: crate::host::CpuReading,
}

// === impl Moment ===

impl Moment {
    fn read(tally: &Tally, processes: Option<ProcessTree>) -> Self {
        Self {
            proxy: processes.map(ProcessTree::cpu),
            at: Instant::now(),
            exchanges: tally.exchanges.get(),
            body_bytes: tally.body_bytes.get(),
            load: ProcessTree::own().root_cpu(),
        }
    }

    fn since(&self, earlier: &Self) -> Window {
        Window {
            elapsed: self.at.duration_since(earlier.at),
            exchanges: float(self.exchanges - earlier.exchanges),
            body_bytes: float(self.body_bytes - earlier.body_bytes),
            proxy: self.proxy.as_ref().zip(earlier.proxy.as_ref()).map(|(now, before)| now.since(before)),
            load: self.load.since(&earlier.load),
        }
    }
}
