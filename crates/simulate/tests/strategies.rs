//! What the strategies waste, compared. The figures are those of docs/simulation.md.

#![expect(clippy::print_stdout, reason = "the tables are part of what these tests show")]

use trunkline_core::selection::Strategy;
use trunkline_simulate::{Setting, Tally, Workload, run, table};

/// The mean waste over a few seeds, in percent of the work asked for.
fn waste(make: fn(u64) -> Workload, strategy: Strategy) -> f64 {
    let seeds = [1, 2];
    let runs: Vec<(&str, Tally)> = seeds
        .iter()
        .map(|seed| {
            let setting = Setting { strategy, rebalance_threshold: 0.0, seed: *seed };
            let (tally, violations) = run(&make(*seed), &setting);
            assert!(violations.is_empty(), "{violations:#?}");
            (strategy.label(), tally)
        })
        .collect();
    // Shown by `--nocapture`, and when something below does not hold.
    print!("{}", table(make(1).name, runs.iter().map(|(name, tally)| (*name, tally))));
    runs.iter().map(|(_, tally)| tally.waste_percent()).sum::<f64>() / 2.0
}

#[test]
fn least_used_wastes_least_on_a_fleet_of_agents() {
    let least_used = waste(Workload::agent_fleet, Strategy::LeastUsed);
    assert!(least_used < waste(Workload::agent_fleet, Strategy::RoundRobin));
    assert!(least_used < waste(Workload::agent_fleet, Strategy::Random));
}

#[test]
fn least_used_wastes_least_on_mixed_plans() {
    let least_used = waste(Workload::mixed_plans, Strategy::LeastUsed);
    assert!(least_used < waste(Workload::mixed_plans, Strategy::RoundRobin));
    assert!(least_used < waste(Workload::mixed_plans, Strategy::Random));
}

#[test]
fn least_used_wastes_least_on_an_office_week() {
    let least_used = waste(Workload::office_week, Strategy::LeastUsed);
    assert!(least_used < waste(Workload::office_week, Strategy::RoundRobin));
    assert!(least_used < waste(Workload::office_week, Strategy::Random));
}
