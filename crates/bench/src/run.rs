//! The whole measurement: scenario after scenario, the targets taking turns within each.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::args::RunArgs;
use crate::host::{Cores, Machine};
use crate::load::Upstream;
use crate::report::{Failure, Results, render};
use crate::scenario::{Bench, Scenario};
use crate::target::{Launch, Located, Target};

/// The longest that one measurement may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Measures and reports; a measurement that fails does not end the run.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let cores = args.supervised.context("not supervised")?;
    let scenarios = chosen(&args.only, args.quick)?;
    let mut targets = args.targets.clone();
    targets.sort_unstable();
    targets.dedup();
    let programs = Located::find(&args.programs, &targets)?;
    let upstream = Upstream::start().await?;
    let bench = Bench {
        upstream: &upstream,
        launch: Launch { programs: &programs, cores, upstream: upstream.address() },
        quick: args.quick,
    };
    let mut results = Results::new(args.reps, args.quick, describe(cores), programs.versions());
    for scenario in scenarios {
        for rep in 0..args.reps {
            eprintln!("{scenario}, repetition {} of {}", rep + 1, args.reps);
            for &target in targets.iter().filter(|target| scenario.applies_to(**target)) {
                measure(bench, scenario, target, rep, &mut results).await;
            }
            // The next repetition begins with another target, so that none always follows the same one.
            targets.rotate_left(1);
        }
    }
    results.complete();
    println!("{}", render(&results)?);
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&results)?;
        fs::write(file, json + "\n").with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(bench: Bench<'_>, scenario: Scenario, target: Target, rep: u32, results: &mut Results) {
    let measured = tokio::time::timeout(LIMIT, scenario.measure(bench, target)).await;
    match measured.with_context(|| format!("not done after {LIMIT:?}")).flatten() {
        Ok(samples) => results.add(&scenario.to_string(), target, rep, &samples),
        Err(error) => {
            eprintln!("{scenario} of {target} failed: {error:#}");
            let error = format!("{error:#}");
            results.failures.push(Failure { scenario: scenario.to_string(), target, rep, error });
        }
    }
}

fn chosen(only: &[String], quick: bool) -> anyhow::Result<Vec<Scenario>> {
    let all = Scenario::all(quick);
    let names = || all.iter().map(Scenario::to_string).collect::<Vec<_>>();
    if let Some(unknown) = only.iter().find(|prefix| !names().iter().any(|name| name.starts_with(*prefix))) {
        anyhow::bail!("no scenario begins with {unknown}; there are {}", names().join(", "));
    }
    let wanted = |name: String| only.is_empty() || only.iter().any(|prefix| name.starts_with(prefix));
    let scenarios: Vec<Scenario> =
        all.iter().copied().filter(|scenario| wanted(scenario.to_string())).collect();
    ensure!(!scenarios.is_empty(), "nothing to measure");
    Ok(scenarios)
}

fn describe(cores: Cores) -> Machine {
    Machine::describe(cores.describe())
}
