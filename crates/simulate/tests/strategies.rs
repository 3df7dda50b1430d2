//! What the strategies waste, compared. The figures are those of docs/simulation.md.

#![expect(clippy::print_stdout, reason = "the tables are part of what these tests show")]

use trunkline_core::selection::Strategy;
use trunkline_simulate::{Setting, Tally, Workload, run, table};

/// The mean waste over a few seeds, in percent of the work asked for.
fn waste(make: fn(u64) -> Workload, strategy: Strategy, minds_five_hours: bool) -> f64 {
    let seeds = [1, 2];
    let runs: Vec<(&str, Tally)> = seeds
        .iter()
        .map(|seed| {
            let setting = Setting { strategy, rebalance_threshold: 0.0, minds_five_hours, seed: *seed };
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
    let least_used = waste(Workload::agent_fleet, Strategy::LeastUsed, false);
    assert!(least_used < waste(Workload::agent_fleet, Strategy::RoundRobin, false));
    assert!(least_used < waste(Workload::agent_fleet, Strategy::Random, false));
}

#[test]
fn least_used_wastes_least_on_mixed_plans() {
    let least_used = waste(Workload::mixed_plans, Strategy::LeastUsed, false);
    assert!(least_used < waste(Workload::mixed_plans, Strategy::RoundRobin, false));
    assert!(least_used < waste(Workload::mixed_plans, Strategy::Random, false));
}

/// It does not on an office week, where everybody begins at once: the score knows nothing of the 5-hour windows, so one
/// account is filled until its window is used up, and its sessions have to move. Minding the window removes most of it.
#[test]
fn on_an_office_week_it_is_the_short_window_that_costs() {
    let least_used = waste(Workload::office_week, Strategy::LeastUsed, false);
    let minding = waste(Workload::office_week, Strategy::LeastUsed, true);
    assert!(minding < least_used / 2.0, "{minding} and {least_used}");
}
