//! What an open stream holds in memory.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use super::{Bench, Subject};
use crate::load::{Client, Reply, messages_request};
use crate::number::{count, float};
use crate::report::{Metric, Sample};
use crate::target::Target;

const STREAMS: usize = 1000;
/// How many are being opened at a time.
const OPENING: usize = 50;
const BODY: usize = 2048;
/// How long the proxy is left alone before its memory is read.
const SETTLE: Duration = Duration::from_millis(500);

/// Opens the streams, waits for the first event of each and holds them.
pub(super) async fn measure(bench: Bench<'_>, target: Target) -> anyhow::Result<Vec<Sample>> {
    let Subject { address, proxy } = bench.prepare(target).await?;
    let Some(proxy) = proxy else { bail!("no proxy whose memory could be read") };
    tokio::time::sleep(bench.spend(SETTLE)).await;
    let idle = proxy.processes().resident();

    bench.upstream.set_reply(Reply::Held);
    let mut opening = JoinSet::new();
    let streams = bench.scale.count(STREAMS);
    let mut open = Vec::with_capacity(streams);
    for stream in 0..streams {
        if opening.len() == OPENING {
            open.push(opening.join_next().await.context("nothing is opening")???);
        }
        opening.spawn_local(async move {
            let mut client = Client::new(address);
            client.begin(&messages_request(BODY, stream, true), |_| ()).await?;
            anyhow::Ok(client)
        });
    }
    while let Some(client) = opening.join_next().await {
        open.push(client??);
    }
    tokio::time::sleep(bench.spend(SETTLE)).await;
    let loaded = proxy.processes().resident();
    let per_stream = float(loaded.saturating_sub(idle)) / float(count(open.len()));
    Ok(vec![
        Metric::MemoryIdle.of(float(idle) / 1e6),
        Metric::MemoryLoaded.of(float(loaded) / 1e6),
        Metric::MemoryPerStream.of(per_stream / 1e3),
    ])
}
