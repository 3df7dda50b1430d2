//! How long a proxy takes from its start to its first answer.

use std::time::Instant;

use super::{Bench, READY};
use crate::load::Reply;
use crate::report::{Metric, Sample, median};
use crate::target::Target;

/// Starts per measurement, of which the median counts.
const STARTS: usize = 5;

/// Starts the proxy several times.
pub(super) async fn measure(bench: Bench<'_>, target: Target) -> anyhow::Result<Vec<Sample>> {
    bench.upstream.set_reply(Reply::Json);
    let starts = bench.scale.count(STARTS);
    let mut times = Vec::with_capacity(starts);
    for _ in 0..starts {
        let begun = Instant::now();
        let mut proxy = bench.launch.proxy(target)?;
        proxy.ready(READY).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&times).map(|time| Metric::Start.of(time)).into_iter().collect())
}
