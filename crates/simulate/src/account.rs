//! An account at the provider: what it has used, and what it answers.

use std::time::{Duration, SystemTime};

use trunkline_core::failure::RefusalKind;

/// The short window.
pub(crate) const FIVE_HOURS: Duration = Duration::from_secs(5 * 60 * 60);

/// The long one.
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What an account of weight 1 may use in a week; the unit of all costs. A share of it is usable in five hours, so that
/// seven windows fully used make a week, about what people report.
pub(crate) const WEEKLY_UNITS: f64 = 1_000.0;
const FIVE_HOUR_UNITS: f64 = WEEKLY_UNITS / 7.0;

/// The part of a week that the model family with a bucket of its own may use.
const FAMILY_SHARE: f64 = 0.8;

/// A plan, and when its week ends.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Its weight: 1, 5 or 10 for Claude.
    pub weight: f64,
    /// When its first week ends, from the beginning of the run.
    pub first_reset: Duration,
}

/// One window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) units: f64,
    pub(crate) capacity: f64,
    pub(crate) resets_at: Option<SystemTime>,
}

impl Used {
    fn is_full(&self) -> bool {
        self.units >= self.capacity
    }

    /// The percentage used, as the headers are read: up to a whole one.
    pub(crate) fn percent(&self) -> f64 {
        (100.0 * self.units / self.capacity).ceil()
    }
}

/// What an answer tells of the windows, or a poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) five_hour: Used,
    pub(crate) weekly: Used,
    pub(crate) family: Used,
}

/// What an account answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answered {
    Accepted,
    Refused(RefusalKind),
}

/// A week that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndedWeek {
    /// What was not used of it.
    pub(crate) unused: f64,
    /// Whether the run saw all of it.
    pub(crate) is_whole: bool,
}

/// An account.
#[derive(Debug)]
pub(crate) struct Account {
    told: Told,
    /// Requests that may still come at once.
    burst: f64,
    burst_most: f64,
    burst_at: SystemTime,
    pub(crate) ended_weeks: Vec<EndedWeek>,
}

/// How many requests of an account of weight 1 may come at once, and how many a second are added.
const BURST: f64 = 20.0;
const BURST_A_SECOND: f64 = 0.5;

impl Account {
    pub(crate) fn new(plan: &Plan, begin: SystemTime) -> Self {
        let used = |units: f64, resets_at| Used { units: 0.0, capacity: units * plan.weight, resets_at };
        let week_ends = Some(begin + plan.first_reset);
        Self {
            told: Told {
                five_hour: used(FIVE_HOUR_UNITS, None),
                weekly: used(WEEKLY_UNITS, week_ends),
                family: used(WEEKLY_UNITS * FAMILY_SHARE, week_ends),
            },
            burst: BURST * plan.weight,
            burst_most: BURST * plan.weight,
            burst_at: begin,
            ended_weeks: Vec::new(),
        }
    }

    /// Its windows at `now`.
    pub(crate) fn told(&mut self, now: SystemTime) -> Told {
        let Told { five_hour, weekly, family } = &mut self.told;
        if five_hour.resets_at.is_some_and(|reset| reset <= now) {
            (five_hour.units, five_hour.resets_at) = (0.0, None);
        }
        while let Some(reset) = weekly.resets_at.filter(|reset| *reset <= now) {
            let unused = (weekly.capacity - weekly.units).max(0.0);
            self.ended_weeks.push(EndedWeek { unused, is_whole: !self.ended_weeks.is_empty() });
            (weekly.units, family.units) = (0.0, 0.0);
            weekly.resets_at = Some(reset + WEEK);
            family.resets_at = weekly.resets_at;
        }
        self.told
    }

    /// Takes or refuses a request. `is_family`: for a model of the family with a bucket of its own.
    pub(crate) fn ask(&mut self, is_family: bool, now: SystemTime) -> Answered {
        let told = self.told(now);
        let full = [told.five_hour, told.weekly].into_iter().filter(Used::is_full);
        if let Some(until) = full.map(|window| window.resets_at).max() {
            return Answered::Refused(RefusalKind::Base { until });
        }
        if is_family && told.family.is_full() {
            return Answered::Refused(RefusalKind::Scoped { until: told.family.resets_at });
        }
        let since = now.duration_since(self.burst_at).unwrap_or_default().as_secs_f64();
        let refill = since * BURST_A_SECOND * self.burst_most / BURST;
        (self.burst, self.burst_at) = ((self.burst + refill).min(self.burst_most), now);
        if self.burst < 1.0 {
            return Answered::Refused(RefusalKind::Burst { retry_after: None });
        }
        self.burst -= 1.0;
        self.told.five_hour.resets_at.get_or_insert(now + FIVE_HOURS);
        Answered::Accepted
    }

    /// Charges a request that has ended.
    pub(crate) fn charge(&mut self, units: f64, is_family: bool, now: SystemTime) {
        self.told(now);
        self.told.five_hour.resets_at.get_or_insert(now + FIVE_HOURS);
        self.told.five_hour.units += units;
        self.told.weekly.units += units;
        if is_family {
            self.told.family.units += units;
        }
    }
}
