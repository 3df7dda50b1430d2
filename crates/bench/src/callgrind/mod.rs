//! Instructions per request, per event and per call, counted by valgrind.
//!
//! Everything runs twice, with different amounts of work. The difference of the two counts holds neither the start nor
//! the end of the program, nor, for events, what a request costs.

mod function;
mod output;
mod scenario;

use std::process::ExitCode;

use anyhow::Context as _;

pub(crate) use self::function::Function;
use self::scenario::{Counter, Scenario};
use crate::args::CallgrindArgs;
use crate::chosen::chosen;
use crate::host::first_line;
use crate::load::Upstream;
use crate::report::{Kind, Results};
use crate::run::{conclude, fail};
use crate::scale::Scale;
use crate::target::{Launch, Located};

/// Counts and reports; a count that fails does not end the run.
pub(crate) async fn run(args: CallgrindArgs) -> anyhow::Result<ExitCode> {
    let cores = args.supervised.context("not supervised")?;
    let scenarios = chosen(Scenario::all(), &args.scenario)?;
    let valgrind = first_line("valgrind", &["--version"])
        .context("valgrind is not installed: install the package `valgrind` (apt-get install valgrind)")?;
    let programs = Located::find(&args.programs, &args.proxy)?;
    let upstream = Upstream::start().await?;
    let counter = Counter {
        upstream: &upstream,
        launch: Launch { programs: &programs, cores, upstream: upstream.address() },
        work: args.work,
    };
    let mut results = Results::new(Kind::Callgrind, args.reps, Scale::Full, cores, &programs);
    results.versions.insert("valgrind".to_owned(), valgrind);
    for scenario in scenarios {
        for rep in 0..args.reps {
            eprintln!("{scenario}, repetition {} of {}", rep + 1, args.reps);
            for &target in programs.targets().iter().filter(|target| scenario.applies_to(**target)) {
                match counter.count(scenario, target).await {
                    Ok(sample) => results.add(&scenario.to_string(), target, rep, &[sample]),
                    Err(error) => fail(&mut results, &scenario.to_string(), target, rep, &error),
                }
            }
        }
    }
    conclude(&mut results, args.json.as_deref())
}
