//! Instructions per request or per event, counted by valgrind.
//!
//! A proxy runs twice, with different amounts of work. The difference of the two counts holds neither the start nor
//! the end of the program, nor, for events, what a request costs.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::args::{CallgrindArgs, Unit};
use crate::load::{Client, Reply, Upstream, messages_request};
use crate::number::{float, length};
use crate::target::{Launch, Located};

/// Everything takes some fifty times as long under valgrind.
const READY: Duration = Duration::from_mins(2);
const END: Duration = Duration::from_mins(1);
const WORK: Duration = Duration::from_mins(5);

const BODY: usize = 2048;
/// Requests of a run that counts events, and the events of its shorter streams for each request asked for.
const STREAMS: u32 = 20;
const OUTPUT: &str = "callgrind.out";

/// The work of one run.
#[derive(Clone, Copy, Debug)]
struct Work {
    requests: u32,
    reply: Reply,
    /// What the count is divided by, in this run.
    units: u64,
}

/// Counts and reports.
pub(crate) async fn run(args: CallgrindArgs) -> anyhow::Result<ExitCode> {
    let cores = args.supervised.context("not supervised")?;
    let programs = Located::find(&args.programs, &[args.target])?;
    let upstream = Upstream::start().await?;
    let launch = Launch { programs: &programs, cores, upstream: upstream.address() };
    let work = |factor| Work::new(args.per, args.requests * factor);
    let (short, long) = (work(1), work(3));

    let base = instructions(&upstream, launch, &args, short).await?;
    let total = instructions(&upstream, launch, &args, long).await?;
    ensure!(total > base, "more work took fewer instructions ({base}, then {total})");
    let each = float(total - base) / float(long.units - short.units);
    let unit = match args.per {
        Unit::Request => "request",
        Unit::Event => "event",
    };
    println!(
        "{}: {each:.0} instructions per {unit} ({base} for {}, {total} for {})",
        args.target, short.units, long.units
    );
    Ok(ExitCode::SUCCESS)
}

async fn instructions(
    upstream: &Upstream,
    launch: Launch<'_>,
    args: &CallgrindArgs,
    work: Work,
) -> anyhow::Result<u64> {
    eprintln!("counting {} {:?}s of {}", work.units, args.per, args.target);
    upstream.set_reply(Reply::Json);
    let mut proxy = launch.wrapped(args.target, valgrind)?;
    proxy.ready(READY).await?;
    upstream.set_reply(work.reply);
    let request = messages_request(BODY, 0, work.reply != Reply::Json);
    let mut client = Client::new(proxy.address());
    let exchanges = async {
        for _ in 0..work.requests {
            client.exchange(&request, |_| ()).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(WORK, exchanges).await.with_context(|| format!("not done after {WORK:?}"))??;
    drop(client);
    proxy.end(END).await?;
    totals(proxy.directory()).with_context(|| proxy.output())
}

// === impl Work ===

impl Work {
    fn new(unit: Unit, amount: u32) -> Self {
        match unit {
            Unit::Request => Self { requests: amount, reply: Reply::Json, units: amount.into() },
            Unit::Event => {
                let reply = Reply::Burst { events: length(amount.into()), per_write: 16 };
                Self { requests: STREAMS, reply, units: u64::from(amount) * u64::from(STREAMS) }
            }
        }
    }
}

fn valgrind(directory: &Path) -> Vec<OsString> {
    let mut output = OsString::from("--callgrind-out-file=");
    output.push(directory.join(OUTPUT));
    output.push(".%p");
    vec!["valgrind".into(), "--tool=callgrind".into(), output]
}

/// The instructions of all processes together.
fn totals(directory: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(OUTPUT) {
            sum += total(&fs::read_to_string(entry.path())?).context("valgrind wrote no total")?;
        }
    }
    ensure!(sum > 0, "valgrind wrote no counts");
    Ok(sum)
}

fn total(output: &str) -> Option<u64> {
    output.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total() {
        assert_eq!(total("version: 1\nsummary: 1\nfn=(1)\n1 2\n\ntotals: 2345\n"), Some(2345));
        assert_eq!(total("version: 1\n"), None);
    }
}
