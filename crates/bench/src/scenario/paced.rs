//! How long an event is under way when streams have the pace of a model that writes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::{Bench, Subject, percentiles};
use crate::load::{Client, EventReader, Reply, messages_request};
use crate::report::Sample;
use crate::target::Target;

const EVERY: Duration = Duration::from_millis(20);
const BODY: usize = 2048;

/// How long streams run before their events count.
const WARM_UP: Duration = Duration::from_millis(500);
const WINDOW: Duration = Duration::from_secs(4);

/// Opens the streams, spread over one interval, and collects the latencies of their events.
pub(super) async fn measure(bench: Bench<'_>, target: Target, streams: usize) -> anyhow::Result<Vec<Sample>> {
    let Subject { address, proxy: _proxy } = bench.prepare(target).await?;
    bench.upstream.set_reply(Reply::Paced { every: EVERY });
    let clock = bench.upstream.clock();
    let latencies = Rc::new(RefCell::new(Vec::new()));
    let counted_from = Instant::now() + bench.spend(WARM_UP);
    let stagger = EVERY / u32::try_from(streams)?;
    let mut open = JoinSet::new();
    for stream in 0..streams {
        let request = messages_request(BODY, stream, true);
        let latencies = Rc::clone(&latencies);
        let delay = stagger * u32::try_from(stream)?;
        open.spawn_local(async move {
            tokio::time::sleep(delay).await;
            let mut reader = EventReader::new(clock);
            let mut unreadable = None;
            let collect = |part: &[u8]| {
                let counts = Instant::now() >= counted_from;
                let read = reader.feed(part, |latency| {
                    if counts {
                        latencies.borrow_mut().push(latency);
                    }
                });
                unreadable = read.err().or(unreadable.take());
            };
            let exchanged = Client::new(address).exchange(&request, collect).await;
            let ended = exchanged.err().unwrap_or_else(|| anyhow::anyhow!("a stream without end has ended"));
            unreadable.unwrap_or(ended)
        });
    }
    let window = async {
        tokio::time::sleep(bench.spend(WARM_UP) + bench.spend(WINDOW)).await;
        // A short window on a slow machine may see nothing.
        while latencies.borrow().is_empty() {
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        failure = open.join_next() => return Err(failure.context("no load")??),
        () = window => {}
    }
    percentiles(latencies.take())
}
