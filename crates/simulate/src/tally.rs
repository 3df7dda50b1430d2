//! What came of a run.

use std::time::Duration;

/// What came of a run. Units are the costs of requests; an account of weight 1 has 1000 of them a week.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that the client was told were over a limit, each as often as it was told.
    pub refused: u64,
    /// Requests that failed otherwise, each as often.
    pub failed: u64,
    /// Requests that went to another account than the session's last while that one's cache was still warm.
    pub cold_moves: u64,
    /// The units that this cost.
    pub rewritten: f64,
    /// Units charged in all.
    pub charged: f64,
    /// Units of work that were asked for, with warm caches, and not done when the run ended.
    pub undone: f64,
    /// Units that were asked for, with warm caches.
    pub asked: f64,
    /// Weekly capacity that was left when it was reset, in the weeks that the run saw from end to end.
    pub unused: f64,
    /// Weekly capacity of those weeks.
    pub offered: f64,
    /// Units of work that was refused at least once, with warm caches.
    pub refused_units: f64,
    /// Work, in units, times hours that it was kept waiting by refusals.
    pub waited: f64,
    /// The longest time that one request was kept waiting by refusals.
    pub longest_wait: Duration,
    /// Sessions dropped from an account for balance.
    pub rebalanced: u64,
    /// Requests that each account answered.
    pub by_account: Vec<u64>,
}

impl Tally {
    /// The part of the offered capacity that was left when it was reset, in percent.
    pub fn unused_percent(&self) -> f64 {
        percent(self.unused, self.offered)
    }

    /// The part of what was charged that went into warming caches anew, in percent.
    pub fn rewritten_percent(&self) -> f64 {
        percent(self.rewritten, self.charged)
    }

    /// What was wasted, in percent of the work that was asked for: quota that warmed caches anew after a session had been
    /// moved, work that was refused before it was done, and work that was not done at all. Capacity left at a reset is
    /// not counted by itself: where no work was refused nobody missed it, and where some was, that is counted.
    pub fn waste_percent(&self) -> f64 {
        percent(self.rewritten + self.refused_units + self.undone, self.asked)
    }

    /// The mean time that a unit of work was kept waiting by refusals, in hours.
    pub fn mean_wait(&self) -> f64 {
        if self.asked > 0.0 { self.waited / self.asked } else { 0.0 }
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { 100.0 * part / whole } else { 0.0 }
}
