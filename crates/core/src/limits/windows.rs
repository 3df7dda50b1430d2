//! The windows of one credential, as far as they are known.

use std::sync::Arc;
use std::time::SystemTime;

use crate::limits::class::Class;
use crate::limits::merge::{is_near, merge};
use crate::limits::readings::{Reading, Readings, ReportedWindow};
use crate::limits::refusal::{REFUSED_FROM, Refusal};
use crate::limits::scope::MAX_MODEL;
use crate::limits::window::{BaseWindow, Window, WindowPair};
use crate::limits::{Caps, LimitScope, Limited, Utilization};

/// Scoped limits that are kept for one credential; beyond it those that say nothing any more make room, and new ones
/// are ignored and counted while none does.
pub const MAX_SCOPED_LIMITS: usize = 16;

/// Models that are remembered as bound by one limit; beyond it the oldest is forgotten, and learnt again when it is
/// refused again.
pub const MAX_BOUND_MODELS: usize = 32;

/// Where an observation came from, which decides how it is merged (limits.md, *Windows*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A poll of the usage endpoint: authoritative, replaces the values, and `null` forgets one.
    Poll,
    /// Response headers or an event: within a window the value only rises.
    InBand,
    /// Anything that an external credential says: replaces, the newest wins, since an aggregate may fall.
    External,
}

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Whether it carried data that was taken or confirmed. Only then it postpones the next poll.
    pub is_fresh: bool,
    /// Values that were ignored, to be counted in `trunkline_ignored_observations_total`.
    pub ignored: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ScopedLimit {
    scope: LimitScope,
    windows: WindowPair<Option<Window>>,
    /// Models that were seen refused under it, oldest first.
    models: Vec<Arc<str>>,
}

impl ScopedLimit {
    fn binds(&self, model: &str) -> bool {
        self.scope.binds_by_name(model) || self.models.iter().any(|bound| bound.as_ref() == model)
    }

    /// Whether it says nothing that could still matter.
    fn is_idle(&self, now: SystemTime) -> bool {
        BaseWindow::BOTH.iter().all(|which| {
            self.windows.get(*which).is_none_or(|window| window.effective(now) == Utilization::ZERO)
        })
    }
}

/// The windows of one credential.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Windows {
    base: WindowPair<Class>,
    scoped: Vec<ScopedLimit>,
}

impl Windows {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A base window, if it is known: of two of a class the fuller one at `now`, since they have one cap.
    pub fn base(&self, which: BaseWindow, now: SystemTime) -> Option<&Window> {
        self.of_class(which).max_by(|a, b| {
            let rank = |window: &Window| (window.effective(now), window.resets_at);
            // The first of equals.
            rank(a).cmp(&rank(b)).then(std::cmp::Ordering::Greater)
        })
    }

    /// Every base window of a class, two at most.
    pub fn of_class(&self, which: BaseWindow) -> impl Iterator<Item = &Window> {
        self.base.get(which).iter()
    }

    /// Whether no base window is known.
    pub fn is_unobserved(&self) -> bool {
        BaseWindow::BOTH.iter().all(|which| self.of_class(*which).next().is_none())
    }

    /// The known windows of scoped limits, for metrics and status: the limit, which window, the window.
    pub fn scoped(&self) -> impl Iterator<Item = (&LimitScope, BaseWindow, &Window)> {
        self.scoped.iter().flat_map(|limit| {
            BaseWindow::BOTH
                .into_iter()
                .filter_map(|which| Some((&limit.scope, which, limit.windows.get(which).as_ref()?)))
        })
    }

    /// Merges what one source said at `now`.
    pub fn observe(&mut self, readings: &Readings, source: Source, now: SystemTime) -> Observed {
        let mut observed = Observed { is_fresh: false, ignored: readings.ignored };
        let says_any = carries_value(&readings.base);
        for which in BaseWindow::BOTH {
            let said = [readings.base.get(which), readings.second.get(which)];
            observed.is_fresh |= self.base.get_mut(which).observe(said, says_any, source, now);
        }
        if readings.lists_all_limits && source == Source::Poll {
            for limit in &mut self.scoped {
                let is_gone = matches!(limit.scope, LimitScope::Limit(_))
                    && !readings.scoped.iter().any(|reading| reading.scope == limit.scope);
                if is_gone {
                    limit.windows = WindowPair::default();
                }
            }
        }
        for reading in &readings.scoped {
            if !carries_value(&reading.windows) && !self.knows(&reading.scope) {
                continue;
            }
            let Some(limit) = self.limit_mut(&reading.scope, now) else {
                observed.ignored = observed.ignored.saturating_add(1);
                continue;
            };
            for which in BaseWindow::BOTH {
                observed.is_fresh |=
                    merge(limit.windows.get_mut(which), reading.windows.get(which), source, now);
            }
        }
        observed
    }

    /// Notes a refusal: what refused goes to at least 100 for its scope where its reset is known, and a model that was
    /// refused under a limit is bound by it. Headers of the same answer are to be observed before.
    pub fn refuse(&mut self, refusal: &Refusal, model: Option<&str>, now: SystemTime) {
        match refusal {
            Refusal::Base { windows, .. } => {
                for which in BaseWindow::BOTH {
                    if let Some(refused) = windows.get(which) {
                        raise(
                            self.base.get_mut(which).refusing(refused.resets_at, now),
                            refused.resets_at,
                            now,
                        );
                    }
                }
            }
            Refusal::Scoped { scope, until } => {
                let Some(limit) = self.limit_mut(scope, now) else { return };
                if let Some(model) = model
                    && model.len() <= MAX_MODEL
                    && !limit.binds(model)
                {
                    if limit.models.len() >= MAX_BOUND_MODELS {
                        limit.models.remove(0);
                    }
                    limit.models.push(model.into());
                }
                let which = refusing(&limit.windows, *until);
                raise(limit.windows.get_mut(which), *until, now);
            }
            Refusal::Burst { .. } | Refusal::Entitlement => {}
        }
    }

    /// What the caps say at `now`: the base windows and, for a request of `model`, the scoped limits that bind it, which
    /// are at or over their cap. `None` if none is: not `capped`. Scoped windows have the weekly cap.
    pub fn capped(&self, caps: Caps, model: Option<&str>, now: SystemTime) -> Option<Limited> {
        let base = BaseWindow::BOTH.into_iter().flat_map(|which| {
            self.of_class(which).map(move |window| (super::Claim::Base(which), window, caps.percent(which)))
        });
        let scoped = self
            .scoped
            .iter()
            .filter(|limit| model.is_some_and(|model| limit.binds(model)))
            .flat_map(|limit| {
                BaseWindow::BOTH.into_iter().filter_map(move |which| {
                    let window = limit.windows.get(which).as_ref()?;
                    Some((super::Claim::Scope(limit.scope.clone()), window, caps.percent(BaseWindow::Weekly)))
                })
            });
        base.chain(scoped)
            .filter(|(_, window, cap)| window.effective(now).percent() >= *cap)
            .map(|(claim, window, _)| Limited { claim: Some(claim), until: window.resets_at })
            .reduce(Limited::and)
    }

    /// Whether a limit binds a model, by name or because the model was refused under it.
    pub fn binds(&self, scope: &LimitScope, model: &str) -> bool {
        scope.binds_by_name(model)
            || self.scoped.iter().any(|limit| limit.scope == *scope && limit.binds(model))
    }

    /// The models that were seen refused under a limit.
    pub fn bound_models(&self, scope: &LimitScope) -> Vec<String> {
        let limit = self.scoped.iter().find(|limit| limit.scope == *scope);
        limit.map(|limit| limit.models.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    /// The latest reset ahead of a scoped limit's windows that are used up.
    pub fn scoped_reset_ahead(&self, scope: &LimitScope, now: SystemTime) -> Option<SystemTime> {
        self.scoped()
            .filter(|(known, _, window)| *known == scope && window.utilization.percent() >= REFUSED_FROM)
            .filter_map(|(_, _, window)| window.reset_ahead(now))
            .max()
    }

    fn knows(&self, scope: &LimitScope) -> bool {
        self.scoped.iter().any(|limit| limit.scope == *scope)
    }

    /// The limit of a scope, made if there is room.
    fn limit_mut(&mut self, scope: &LimitScope, now: SystemTime) -> Option<&mut ScopedLimit> {
        if let Some(index) = self.scoped.iter().position(|limit| limit.scope == *scope) {
            return self.scoped.get_mut(index);
        }
        if self.scoped.len() >= MAX_SCOPED_LIMITS {
            let idle = self.scoped.iter().position(|limit| limit.is_idle(now))?;
            self.scoped.remove(idle);
        }
        self.scoped.push(ScopedLimit {
            scope: scope.clone(),
            windows: WindowPair::default(),
            models: Vec::new(),
        });
        self.scoped.last_mut()
    }
}

fn carries_value(windows: &WindowPair<Reading>) -> bool {
    BaseWindow::BOTH.iter().any(|which| matches!(windows.get(*which), Reading::Value(_)))
}

/// Raises a window to at least 100, if its reset is named or known: without one nothing would ever lower it.
fn raise(window: &mut Option<Window>, resets_at: Option<SystemTime>, now: SystemTime) {
    let ahead = resets_at.filter(|reset| *reset > now);
    if ahead.is_some() || window.is_some_and(|window| window.reset_ahead(now).is_some()) {
        let full = ReportedWindow { utilization: Utilization::FULL, resets_at: ahead, length: None };
        merge(window, &Reading::Value(full), Source::InBand, now);
    }
}

/// Which window of a scoped limit refused: the one with that reset, else the one that is used up, else the weekly.
fn refusing(windows: &WindowPair<Option<Window>>, until: Option<SystemTime>) -> BaseWindow {
    let ends_then =
        |window: &Window| until.zip(window.resets_at).is_some_and(|(until, reset)| is_near(until, reset));
    let find = |holds: &dyn Fn(&Window) -> bool| {
        BaseWindow::BOTH.into_iter().find(|which| windows.get(*which).as_ref().is_some_and(holds))
    };
    find(&ends_then)
        .or_else(|| find(&|window| window.utilization.percent() >= REFUSED_FROM))
        .unwrap_or(BaseWindow::Weekly)
}

#[cfg(test)]
mod tests;
