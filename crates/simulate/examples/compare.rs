//! Prints the strategies side by side on every workload: `cargo run -p trunkline-simulate --example compare [SEED [FACTOR]]`.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use trunkline_core::selection::Strategy;
use trunkline_simulate::{Setting, Workload, run, table};

fn main() {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let factor = std::env::args().nth(2).and_then(|factor| factor.parse().ok()).unwrap_or(1.0);
    for workload in Workload::all(seed).map(|workload| workload.scaled(factor)) {
        let runs: Vec<_> = [
            ("least_used", Strategy::LeastUsed, 0.0, false),
            ("least_used, rebalance 20", Strategy::LeastUsed, 20.0, false),
            ("least_used, minding 5h", Strategy::LeastUsed, 0.0, true),
            ("round_robin", Strategy::RoundRobin, 0.0, false),
            ("random", Strategy::Random, 0.0, false),
            ("fallback", Strategy::Fallback, 0.0, false),
        ]
        .into_iter()
        .map(|(name, strategy, rebalance_threshold, minds_five_hours)| {
            let (tally, violations) =
                run(&workload, &Setting { strategy, rebalance_threshold, minds_five_hours, seed });
            for violation in &violations {
                println!("{name}: {violation:?}");
            }
            (name, tally)
        })
        .collect();
        println!("{}", table(workload.name, runs.iter().map(|(name, tally)| (*name, tally))));
    }
}
