//! What a proxy adds before the first byte, when it has nothing else to do.

use std::time::{Duration, Instant};

use super::{Bench, Subject, percentiles};
use crate::load::{Client, Reply, messages_request};
use crate::report::Sample;
use crate::target::Target;

const BODY: usize = 2048;
/// The events of each answer, sent in one go.
const EVENTS: usize = 4;
/// Requests before measuring begins.
const WARM_UP: usize = 100;
const WINDOW: Duration = Duration::from_secs(2);

/// Sends one request after the other, each until its answer is complete.
pub(super) async fn measure(bench: Bench<'_>, target: Target) -> anyhow::Result<Vec<Sample>> {
    let Subject { address, proxy: _proxy } = bench.prepare(target).await?;
    bench.upstream.set_reply(Reply::Burst { events: EVENTS, per_write: EVENTS });
    let request = messages_request(BODY, 0, true);
    let mut client = Client::new(address);
    let mut latencies = Vec::new();
    for _ in 0..WARM_UP {
        client.exchange(&request, |_| ()).await?;
    }
    let end = Instant::now() + bench.spend(WINDOW);
    while Instant::now() < end {
        let sent = Instant::now();
        client.begin(&request, |_| ()).await?;
        latencies.push(sent.elapsed());
        client.finish(|_| ()).await?;
    }
    percentiles(latencies)
}
