//! Who works how much, on what accounts. Everything is drawn from the seed before the run, so that every setting is put
//! to the same work.

use std::time::Duration;

use fastrand::Rng;

use crate::account::{Plan, WEEK, WEEKLY_UNITS};
use crate::flight::Turn;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// One session's work.
#[derive(Debug, Clone, Copy)]
pub struct SessionSpec {
    /// When it begins, from the beginning of the run.
    pub begins: Duration,
    /// How many turns it has.
    pub turns: u32,
    /// Whether it asks a model of the family with a bucket of its own.
    pub is_family: bool,
    /// The mean pause between turns.
    pub pause: Duration,
    /// What its turns are drawn from.
    pub seed: u64,
}

/// Spells of trouble.
#[derive(Debug, Clone, Default)]
pub struct Spells {
    /// From when to when the provider has no capacity for every third request.
    pub overloaded: Vec<(Duration, Duration)>,
    /// Accounts that cannot be reached, from when to when.
    pub unreachable: Vec<(usize, Duration, Duration)>,
}

/// A workload.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// The accounts.
    pub plans: Vec<Plan>,
    /// The sessions.
    pub sessions: Vec<SessionSpec>,
    /// Trouble.
    pub spells: Spells,
    /// How long the run lasts.
    pub lasts: Duration,
    /// What a cost is multiplied with, so that the work fills the part of the capacity that it is meant to.
    pub(crate) scale: f64,
}

/// A cold cache is written at 1.25 of the price of input, a warm one read at a tenth.
const READ: f64 = 0.1;
const WRITE: f64 = 1.25;

/// Contexts, in thousands of tokens: at the beginning, what a turn adds, and where the client compacts.
const CONTEXT_BEGINS: f64 = 25.0;
const CONTEXT_GROWS: f64 = 2.5;
const CONTEXT_ENDS: f64 = 150.0;

/// What a turn costs besides its context: output at five times the price of input, and what it adds.
const TURN: f64 = 8.0;

impl SessionSpec {
    /// What a turn takes: the same every time it is asked.
    pub(crate) fn turn(&self, turn: u32) -> Turn {
        let mut rng = Rng::with_seed(self.seed ^ (u64::from(turn) << 32));
        let grown = f64::from(turn) * CONTEXT_GROWS % (CONTEXT_ENDS - CONTEXT_BEGINS);
        let context = CONTEXT_BEGINS + grown;
        let output = TURN * exponential(&mut rng, 1.0);
        Turn {
            warm: context * READ + output,
            rewrite: context * (WRITE - READ),
            head_after: Duration::from_secs_f64(0.5 + exponential(&mut rng, 1.5)),
            ends_after: Duration::from_secs_f64(exponential(&mut rng, 25.0).min(600.0)),
            pause: Duration::from_secs_f64(exponential(&mut rng, self.pause.as_secs_f64())),
        }
    }
}

/// A number with this mean.
pub(crate) fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

impl Workload {
    /// People in an office: five days a week, 9 to 18 o'clock, with a peak before and after lunch; four accounts of one
    /// size whose weeks end on different days. Nearly as much work as the accounts can carry.
    pub fn office_week(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plans = [1.3, 2.9, 4.2, 6.1].map(|days| plan(5.0, days)).to_vec();
        let mut sessions = Vec::new();
        for day in 0..21 {
            if day % 7 >= 5 {
                continue;
            }
            for _ in 0..70 {
                let morning = rng.bool();
                let hour = if morning { 9.0 + 2.5 * rng.f64() } else { 13.0 + 3.5 * rng.f64() };
                sessions.push(SessionSpec {
                    begins: DAY * day + Duration::from_secs_f64(hour * 3_600.0),
                    turns: rng.u32(5..40),
                    is_family: rng.f64() < 0.6,
                    pause: Duration::from_secs(rng.u64(60..300)),
                    seed: rng.u64(..),
                });
            }
        }
        Self::new("an office week", plans, sessions, 0.95, &mut rng)
    }

    /// Agents that work day and night in long sessions, on six accounts whose weeks end on different days. A
    /// little more work than the accounts can carry.
    pub fn agent_fleet(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plans = [0.7, 1.9, 2.4, 3.8, 5.1, 6.6].map(|days| plan(5.0, days)).to_vec();
        let mut sessions = Vec::new();
        for _ in 0..30 {
            let mut begins = HOUR * rng.u32(0..12);
            while begins < WEEK * 3 {
                let turns = rng.u32(40..160);
                let pause = Duration::from_secs(rng.u64(400..800));
                let is_family = rng.f64() < 0.5;
                sessions.push(SessionSpec { begins, turns, is_family, pause, seed: rng.u64(..) });
                begins += pause * turns + HOUR * rng.u32(1..6);
            }
        }
        Self::new("a fleet of agents", plans, sessions, 1.20, &mut rng)
    }

    /// Plans of all sizes in one pool, used by people all day and by some agents at all hours. As much
    /// work as the accounts can carry.
    pub fn mixed_plans(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plans = [(10.0, 5.5), (5.0, 3.1), (5.0, 0.9), (1.0, 2.2), (1.0, 4.6), (1.0, 6.3)]
            .map(|(weight, days)| plan(weight, days))
            .to_vec();
        let mut sessions = Vec::new();
        for day in 0..21 {
            let (people, agents) = if day % 7 < 5 { (80, 10) } else { (15, 10) };
            for at in 0..people + agents {
                let is_agent = at >= people;
                let hour = if is_agent { 24.0 * rng.f64() } else { 8.0 + 11.0 * rng.f64() };
                sessions.push(SessionSpec {
                    begins: DAY * day + Duration::from_secs_f64(hour * 3_600.0),
                    turns: if is_agent { rng.u32(60..120) } else { rng.u32(4..30) },
                    is_family: rng.f64() < 0.5,
                    pause: Duration::from_secs(rng.u64(30..240)),
                    seed: rng.u64(..),
                });
            }
        }
        Self::new("mixed plan sizes", plans, sessions, 1.00, &mut rng)
    }

    /// The same work with every cost multiplied: more or less of the capacity is asked for.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { scale: self.scale * factor, ..self }
    }

    /// All of them.
    pub fn all(seed: u64) -> [Self; 3] {
        [Self::office_week(seed), Self::agent_fleet(seed), Self::mixed_plans(seed)]
    }

    /// Work over three weeks that would fill `load` of the accounts' capacity if every cache were warm.
    fn new(
        name: &'static str,
        plans: Vec<Plan>,
        sessions: Vec<SessionSpec>,
        load: f64,
        rng: &mut Rng,
    ) -> Self {
        let lasts = WEEK * 3;
        let mut work = 0.0;
        for session in &sessions {
            work += (0..session.turns).map(|turn| session.turn(turn).warm).sum::<f64>();
            // The first turn finds no cache anywhere.
            work += session.turn(0).rewrite;
        }
        let capacity: f64 = plans.iter().map(|plan| plan.weight * WEEKLY_UNITS * 3.0).sum();
        let mut spell = |shortest: u64, longest: u64| {
            let from = DAY * 21 * rng.u32(0..1_000) / 1_000;
            (from, from + Duration::from_secs(rng.u64(shortest..longest)))
        };
        let overloaded = (0..8).map(|_| spell(300, 1_800)).collect();
        let unreachable: Vec<_> = (0..6).map(|_| spell(20, 600)).collect();
        let unreachable =
            unreachable.into_iter().map(|(from, to)| (rng.usize(..plans.len()), from, to)).collect();
        let spells = Spells { overloaded, unreachable };
        Self { name, plans, sessions, spells, lasts, scale: load * capacity / work }
    }
}

fn plan(weight: f64, days: f64) -> Plan {
    Plan { weight, first_reset: Duration::from_secs_f64(days * 86_400.0) }
}
