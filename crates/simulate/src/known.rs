//! What Trunkline knows of an account: what answers, refusals and polls have told. A small stand-in for the product's own
//! windows and states; the facts that it gives are the same.

use std::time::{Duration, SystemTime};

use trunkline_core::availability::BlockReason;
use trunkline_core::failure::{Counter, Effect, LimitScope};
use trunkline_core::selection::{Fact, ModelFamily, Scope, Window, WindowUse};

use crate::account::{Told, Used};

/// The model family that has a bucket of its own.
const FAMILY: &str = "opus";

/// Up to where a window is used, in percent: the default of the configuration.
pub(crate) const CAP: f64 = 99.0;

/// A window as last told.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    percent: Option<f64>,
    resets_at: Option<SystemTime>,
}

impl Seen {
    /// Within a window utilization only rises; another reset is another window.
    fn observe(&mut self, used: &Used) {
        let percent = match self.percent {
            Some(percent) if self.resets_at == used.resets_at => percent.max(used.percent()),
            _ => used.percent(),
        };
        *self = Self { percent: Some(percent), resets_at: used.resets_at };
    }

    fn is_capped(&self) -> bool {
        self.percent.is_some_and(|percent| percent >= CAP)
    }
}

/// What is known of an account.
#[derive(Debug, Default)]
pub(crate) struct Known {
    five_hour: Seen,
    weekly: Seen,
    family: Seen,
    limit: Option<SystemTime>,
    family_limit: Option<SystemTime>,
    blocks: Vec<(BlockReason, SystemTime)>,
    streak: Vec<SystemTime>,
    streak_of: Option<Counter>,
    /// Everything above that may keep the account from being usable.
    facts: Vec<Fact>,
    /// When something was last told.
    pub(crate) fresh_at: Option<SystemTime>,
}

impl Known {
    /// Takes what an answer or a poll tells.
    pub(crate) fn observe(&mut self, told: &Told, now: SystemTime) {
        self.five_hour.observe(&told.five_hour);
        self.weekly.observe(&told.weekly);
        self.family.observe(&told.family);
        self.fresh_at = Some(now);
        self.facts = self.list();
    }

    /// A good answer ends every row of failures.
    pub(crate) fn succeed(&mut self) {
        self.streak.clear();
        self.streak_of = None;
    }

    /// Takes what a failure makes of the account.
    pub(crate) fn suffer(&mut self, effect: Effect, now: SystemTime) {
        match effect {
            Effect::RateLimited { scope: LimitScope::All, until, .. } => {
                self.limit = self.limit.max(Some(until));
            }
            Effect::RateLimited { until, .. } => self.family_limit = self.family_limit.max(Some(until)),
            Effect::Blocked { reason, until } => self.block(reason, until, now),
            Effect::Counted(counter) => self.count(counter, now),
            Effect::Unchanged | Effect::AuthFailed | Effect::MaybeDisabled => {}
        }
        self.facts = self.list();
    }

    fn block(&mut self, reason: BlockReason, until: SystemTime, now: SystemTime) {
        self.blocks.retain(|(other, end)| *other != reason && *end > now);
        self.blocks.push((reason, until));
    }

    fn count(&mut self, counter: Counter, now: SystemTime) {
        let Some(streak) = counter.blocks_after() else { return };
        if self.streak_of.replace(counter) != Some(counter) {
            self.streak.clear();
        }
        let within = streak.within.unwrap_or(Duration::MAX);
        self.streak.retain(|at| now.duration_since(*at).is_ok_and(|age| age <= within));
        self.streak.push(now);
        if self.streak.len() >= streak.failures as usize {
            self.streak.clear();
            self.block(streak.reason, now + streak.lasts, now);
        }
    }

    /// Everything that may keep the account from being usable; whether it still holds is the selection's to say.
    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    fn list(&self) -> Vec<Fact> {
        let family = || {
            Scope::ModelFamily(ModelFamily { name: FAMILY.to_owned(), models: vec![format!("*{FAMILY}*")] })
        };
        let named = || Window::Named(format!("7d_{FAMILY}"));
        let mut facts: Vec<Fact> = self
            .blocks
            .iter()
            .map(|(reason, until)| match reason {
                // The accounts do not say how long to wait.
                BlockReason::Burst => Fact::Throttled { family: None, until: *until, is_stated: false },
                _ => Fact::Blocked { reason: *reason, until: Some(*until) },
            })
            .collect();
        if self.limit.is_some() {
            facts.push(Fact::RateLimited { window: Window::Weekly, scope: Scope::All, until: self.limit });
        }
        if self.family_limit.is_some() {
            facts.push(Fact::RateLimited { window: named(), scope: family(), until: self.family_limit });
        }
        for (seen, window, scope) in [
            (self.five_hour, Window::FiveHour, Scope::All),
            (self.weekly, Window::Weekly, Scope::All),
            (self.family, named(), family()),
        ] {
            if seen.is_capped() {
                facts.push(Fact::Capped { window, scope, until: seen.resets_at });
            }
        }
        facts
    }

    /// The 5-hour window as the selection wants it.
    pub(crate) fn five_hour(&self) -> WindowUse {
        WindowUse::new(CAP, self.five_hour.percent, self.five_hour.resets_at)
    }

    /// The weekly window as the selection wants it.
    pub(crate) fn weekly(&self) -> WindowUse {
        WindowUse::new(CAP, self.weekly.percent, self.weekly.resets_at)
    }

    /// Whether something told keeps it from being used at `now`, for the family or for all.
    pub(crate) fn is_out(&self, now: SystemTime) -> bool {
        self.facts().iter().any(|fact| fact.until().is_none_or(|until| until > now))
    }
}
