//! Every workload under every setting: what must hold holds, and the same seed gives the same run.

use std::time::Duration;

use trunkline_core::selection::Strategy;
use trunkline_simulate::{Setting, Tally, Workload, run};

const STRATEGIES: [Strategy; 4] =
    [Strategy::LeastUsed, Strategy::RoundRobin, Strategy::Random, Strategy::Fallback];

fn checked(workload: &Workload, setting: &Setting) -> Tally {
    let (tally, violations) = run(workload, setting);
    assert!(violations.is_empty(), "{} under {setting:?}: {violations:#?}", workload.name);
    tally
}

fn setting(strategy: Strategy, seed: u64) -> Setting {
    Setting { strategy, rebalance_threshold: 0.0, seed }
}

/// No request may be kept waiting for longer than the longest window lasts, and a little.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 60 * 60 + 60 * 60);

fn nobody_starves(workload: &Workload, strategy: Strategy, seed: u64) {
    let tally = checked(workload, &setting(strategy, seed));
    assert!(tally.answered > 5_000, "{}: {tally:?}", workload.name);
    assert!(tally.longest_wait <= LONGEST_WAIT, "{}: {tally:?}", workload.name);
    // Where work was refused, no account was left out of it.
    if tally.refused > 0 {
        assert!(tally.by_account.iter().all(|answered| *answered > 0), "{}: {tally:?}", workload.name);
    }
}

#[test]
fn an_office_week() {
    for strategy in STRATEGIES {
        nobody_starves(&Workload::office_week(11), strategy, 1);
    }
}

#[test]
fn a_fleet_of_agents() {
    for strategy in STRATEGIES {
        nobody_starves(&Workload::agent_fleet(12), strategy, 2);
    }
}

#[test]
fn mixed_plans() {
    for strategy in STRATEGIES {
        nobody_starves(&Workload::mixed_plans(13), strategy, 3);
    }
}

#[test]
fn with_rebalancing() {
    for workload in [Workload::office_week(14), Workload::mixed_plans(14)] {
        let tally =
            checked(&workload, &Setting { rebalance_threshold: 60.0, ..setting(Strategy::LeastUsed, 4) });
        assert!(tally.rebalanced > 0, "{}: {tally:?}", workload.name);
    }
}

#[test]
fn twice_as_much_work_as_there_is_capacity() {
    let workload = Workload::mixed_plans(15).scaled(2.0);
    let tally = checked(&workload, &setting(Strategy::LeastUsed, 5));
    assert!(tally.refused > 1_000 && tally.undone > 0.0, "{tally:?}");
    // Everything that the accounts had was used.
    assert!(tally.unused_percent() < 5.0, "{tally:?}");
}

#[test]
fn little_work_is_never_refused_and_never_moved_by_limits() {
    for strategy in [Strategy::RoundRobin, Strategy::Random] {
        let tally = checked(&Workload::office_week(16).scaled(0.3), &setting(strategy, 6));
        assert_eq!((tally.refused, tally.undone.to_bits()), (0, 0.0_f64.to_bits()), "{tally:?}");
        assert!(tally.cold_moves < 20, "{tally:?}");
    }
}

#[test]
fn a_run_is_what_its_seed_makes_it() {
    let workload = Workload::office_week(17);
    let tally = |seed| format!("{:?}", checked(&workload, &setting(Strategy::Random, seed)));
    assert_eq!(tally(7), tally(7));
    assert_ne!(tally(7), tally(8));
    let other = Workload::office_week(18);
    assert_ne!(tally(7), format!("{:?}", checked(&other, &setting(Strategy::Random, 7))));
}

#[test]
fn the_sessions_are_thousands() {
    let sessions: usize = Workload::all(1).iter().map(|workload| workload.sessions.len()).sum();
    assert!(sessions > 2_500, "{sessions}");
    let first = Workload::all(1).into_iter().next().expect("workloads");
    assert_eq!(first.lasts, Duration::from_secs(21 * 24 * 60 * 60));
}
