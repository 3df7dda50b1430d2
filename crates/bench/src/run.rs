//! The whole measurement: scenario after scenario, the targets taking turns within each.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::args::RunArgs;
use crate::chosen::chosen;
use crate::load::Upstream;
use crate::report::{Failure, Kind, Results, render};
use crate::scenario::{Bench, Scenario};
use crate::target::{Launch, Located, Target};

/// The longest that one measurement may take: far longer than any takes on a machine that is busy with other programs.
const LIMIT: Duration = Duration::from_mins(5);

/// Measures and reports; a measurement that fails does not end the run.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let cores = args.supervised.context("not supervised")?;
    let scenarios = chosen(Scenario::all(args.scale), &args.scenario)?;
    let programs = Located::find(&args.programs, &args.proxy)?;
    for left_out in programs.left_out() {
        eprintln!("left out: {}", left_out.reason);
    }
    let mut targets = programs.targets().to_vec();
    let upstream = Upstream::start().await?;
    let bench = Bench {
        upstream: &upstream,
        launch: Launch { programs: &programs, cores, upstream: upstream.address() },
        scale: args.scale,
    };
    let mut results = Results::new(Kind::Run, args.reps, args.scale, cores, &programs);
    for scenario in scenarios {
        for rep in 0..args.reps {
            eprintln!("{scenario}, repetition {} of {}", rep + 1, args.reps);
            for &target in targets.iter().filter(|target| scenario.applies_to(**target)) {
                measure(bench, scenario, target, rep, &mut results).await;
            }
            // The next repetition begins with another target, so that none is always the first after a pause.
            targets.rotate_left(1);
        }
    }
    conclude(&mut results, args.json.as_deref())
}

/// Prints and writes the results; the exit code says whether every measurement succeeded.
pub(crate) fn conclude(results: &mut Results, json: Option<&std::path::Path>) -> anyhow::Result<ExitCode> {
    results.complete();
    println!("{}", render(results)?);
    if let Some(file) = json {
        results.write(file)?;
    }
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(bench: Bench<'_>, scenario: Scenario, target: Target, rep: u32, results: &mut Results) {
    let measured = tokio::time::timeout(LIMIT, scenario.measure(bench, target)).await;
    match measured.with_context(|| format!("not done after {LIMIT:?}")).flatten() {
        Ok(samples) => results.add(&scenario.to_string(), target, rep, &samples),
        Err(error) => fail(results, &scenario.to_string(), target, rep, &error),
    }
}

/// Notes a measurement that did not succeed.
pub(crate) fn fail(results: &mut Results, scenario: &str, target: Target, rep: u32, error: &anyhow::Error) {
    let error = format!("{error:#}");
    eprintln!("{scenario} of {target} failed: {error}");
    results.failures.push(Failure { scenario: scenario.to_owned(), target, rep, error });
}
