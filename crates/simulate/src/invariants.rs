//! What must hold at every moment of every run, whatever the setting.

use std::time::{Duration, SystemTime};

use trunkline_core::selection::Fact;

use crate::account::{Told, Used};
use crate::known::CAP;

/// Most violations that are kept; one is too many.
pub const MAX_VIOLATIONS: usize = 20;

/// Something that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, from the beginning of the run.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// The violations of a run.
#[derive(Debug)]
pub(crate) struct Watch {
    begin: SystemTime,
    found: Vec<Violation>,
    over: Vec<[Over; 2]>,
}

/// How far an account went over a cap, and by what that is explained.
#[derive(Debug, Clone, Copy, Default)]
struct Over {
    /// The window, by its reset.
    window: Option<SystemTime>,
    /// What was in flight when the cap was crossed.
    when_crossed: Option<f64>,
    /// What was in flight when Trunkline was told, the cap crossed.
    when_told: f64,
}

impl Watch {
    pub(crate) fn new(begin: SystemTime, accounts: usize) -> Self {
        Self { begin, found: Vec::new(), over: vec![[Over::default(); 2]; accounts] }
    }

    pub(crate) fn violated(&mut self, now: SystemTime, what: impl FnOnce() -> String) {
        if self.found.len() < MAX_VIOLATIONS {
            self.found
                .push(Violation { at: now.duration_since(self.begin).unwrap_or_default(), what: what() });
        }
    }

    pub(crate) fn into_found(self) -> Vec<Violation> {
        self.found
    }

    /// A request was charged, with so much in flight at that account, it included.
    pub(crate) fn charged(&mut self, account: usize, told: &Told, in_flight: f64, now: SystemTime) {
        for (at, used) in [told.five_hour, told.weekly].into_iter().enumerate() {
            let Some(over) = self.over.get_mut(account).and_then(|windows| windows.get_mut(at)) else {
                continue;
            };
            if over.window != used.resets_at {
                *over = Over { window: used.resets_at, ..Over::default() };
            }
            let excess = used.units - used.capacity * CAP / 100.0;
            if excess <= 0.0 {
                continue;
            }
            let crossed = *over.when_crossed.get_or_insert(in_flight);
            // Before it was told, what is in flight now explains it.
            let explained = crossed + if over.when_told > 0.0 { over.when_told } else { in_flight };
            if excess > explained + 1e-6 {
                self.violated(now, || {
                    format!(
                        "account {account} is {excess:.1} units over a cap, and {explained:.1} were in flight"
                    )
                });
            }
        }
    }

    /// Trunkline was told of an account's windows, with so much in flight there.
    pub(crate) fn told(&mut self, account: usize, told: &Told, in_flight: f64) {
        for (at, used) in [told.five_hour, told.weekly].iter().enumerate() {
            if let Some(over) = self.over.get_mut(account).and_then(|windows| windows.get_mut(at))
                && over.window == used.resets_at
                && is_crossed(used)
            {
                over.when_told = over.when_told.max(in_flight);
            }
        }
    }

    /// An account is kept out by these facts: each that is a limit must end by itself, when its time has come.
    pub(crate) fn comes_back(&mut self, account: usize, facts: &[Fact], now: SystemTime) {
        for fact in facts.iter().filter(|fact| fact.is_limit()) {
            if fact.until().is_none() {
                self.violated(now, || format!("account {account} is kept out by {fact} without an end"));
            }
        }
    }
}

fn is_crossed(used: &Used) -> bool {
    used.units > used.capacity * CAP / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(units: f64) -> Told {
        let used = Used { units, capacity: 100.0, resets_at: Some(SystemTime::UNIX_EPOCH) };
        Told { five_hour: Used { units: 0.0, ..used }, weekly: used, family: used }
    }

    #[test]
    fn more_over_a_cap_than_was_in_flight_is_a_violation() {
        let now = SystemTime::UNIX_EPOCH;
        let found = |over: f64, is_told: bool| {
            let mut watch = Watch::new(now, 1);
            watch.charged(0, &told(98.0), 10.0, now);
            watch.charged(0, &told(101.0), 10.0, now);
            if is_told {
                watch.told(0, &told(101.0), 7.0);
            }
            watch.charged(0, &told(CAP + over), 2.0, now);
            watch.into_found().len()
        };
        // 10 were in flight when it was crossed, and 7 when that was told.
        assert_eq!(found(17.0, true), 0);
        assert_eq!(found(17.1, true), 1);
        // Or 2 at the end, as long as it has not been told.
        assert_eq!(found(12.0, false), 0);
        assert_eq!(found(12.1, false), 1);
    }

    #[test]
    fn a_limit_without_an_end_is_a_violation_and_few_are_kept() {
        let mut watch = Watch::new(SystemTime::UNIX_EPOCH, 1);
        let fact = Fact::RateLimited {
            window: trunkline_core::selection::Window::Weekly,
            scope: trunkline_core::selection::Scope::All,
            until: None,
        };
        for _ in 0..MAX_VIOLATIONS + 5 {
            watch.comes_back(0, std::slice::from_ref(&fact), SystemTime::UNIX_EPOCH);
        }
        assert_eq!(watch.into_found().len(), MAX_VIOLATIONS);
    }
}
