//! Prints the strategies side by side on every workload: `cargo run -p trunkline-simulate --example compare [SEED [FACTOR]]`.

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use trunkline_core::selection::Strategy;
use trunkline_simulate::{Setting, Workload, run, table};

fn main() {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let factor = std::env::args().nth(2).and_then(|factor| factor.parse().ok()).unwrap_or(1.0);
    for workload in Workload::all(seed).map(|workload| workload.scaled(factor)) {
        let runs: Vec<_> = [
            ("least_used", Strategy::LeastUsed, 0.0),
            ("least_used, rebalance 20", Strategy::LeastUsed, 20.0),
            ("round_robin", Strategy::RoundRobin, 0.0),
            ("random", Strategy::Random, 0.0),
            ("fallback", Strategy::Fallback, 0.0),
        ]
        .into_iter()
        .map(|(name, strategy, rebalance_threshold)| {
            let (tally, violations) = run(&workload, &Setting { strategy, rebalance_threshold, seed });
            for violation in &violations {
                println!("{name}: {violation:?}");
            }
            (name, tally)
        })
        .collect();
        println!("{}", table(workload.name, runs.iter().map(|(name, tally)| (*name, tally))));
    }
}
