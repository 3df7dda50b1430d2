//! A pool as one subscription: what a user is shown (limits.md, *Aggregation*).

use std::time::{Duration, SystemTime};

use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{Caps, Claim, Limited, Utilization, Weight, Windows};

/// What kind of credential a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A login, which has windows. An external credential counts as one: the other side shows its pool as one.
    Login,
    /// An API key, which has none.
    ApiKey,
}

/// Whether something other than a limit keeps a member out of use. `refreshing` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing does.
    Ready,
    /// A block does, for a while; its capacity is still there.
    Blocked {
        /// Its end, if known.
        until: Option<SystemTime>,
    },
    /// `unavailable`, or `blocked upstream_rejected`: its capacity is not there.
    Gone,
}

/// A credential of the pool that the user may use. The caller leaves out externals that the user may not use and the
/// user's own `external_credential`.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its kind.
    pub kind: MemberKind,
    /// Whether a block keeps it out of use.
    pub standing: Standing,
    /// What is known of its windows.
    pub windows: &'a Windows,
    /// What of them is offered.
    pub caps: Caps,
    /// What it weighs.
    pub weight: Weight,
    /// The refusal that makes it `rate_limited` for all, if there is one; it counts while it holds.
    pub refused: Option<Limited>,
}

/// One window of the pool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AggregateWindow {
    /// The part of the offered capacity that is used: 0 to 100.
    pub utilization: Utilization,
    /// The next moment at which capacity comes back; ahead.
    pub resets_at: Option<SystemTime>,
    /// The length stated for the heaviest credential that has one.
    pub length: Option<Duration>,
    /// Whether any credential's window stands behind the number.
    pub is_known: bool,
    /// Whether there is no such window: it is known of every login that it has none, or none that has begun. It is not shown.
    pub is_absent: bool,
}

/// Warning rules (limits.md, *Rate-limit headers that a client sees*): a window is warned of from `used` percent on if
/// `gone` percent of its time are over; `threshold` is the fraction crossed. The strictest first.
struct Warning {
    used: f64,
    gone: f64,
    threshold: &'static str,
}

const FIVE_HOUR_WARNINGS: &[Warning] = &[Warning { used: 90.0, gone: 72.0, threshold: "0.9" }];
const WEEKLY_WARNINGS: &[Warning] = &[
    Warning { used: 75.0, gone: 60.0, threshold: "0.75" },
    Warning { used: 50.0, gone: 35.0, threshold: "0.5" },
    Warning { used: 25.0, gone: 15.0, threshold: "0.25" },
];

impl AggregateWindow {
    const NOTHING: Self = Self {
        utilization: Utilization::FULL,
        resets_at: None,
        length: None,
        is_known: true,
        is_absent: false,
    };

    /// Its length: as stated, else the usual one.
    pub fn length_or_usual(&self, which: BaseWindow) -> Duration {
        self.length.unwrap_or(which.usual_length())
    }

    /// Whether all of it is used.
    pub fn is_full(&self) -> bool {
        self.utilization >= Utilization::FULL
    }

    /// The fraction whose crossing the client is warned of at `now`, if any. Without a reset there is no saying how
    /// much of the window is gone, and no warning.
    pub fn warning(&self, which: BaseWindow, now: SystemTime) -> Option<&'static str> {
        let left = self.resets_at?.duration_since(now).ok()?.as_secs_f64();
        let gone = 100.0 * (1.0 - left / self.length_or_usual(which).as_secs_f64());
        let rules = match which {
            BaseWindow::FiveHour => FIVE_HOUR_WARNINGS,
            BaseWindow::Weekly => WEEKLY_WARNINGS,
        };
        rules
            .iter()
            .find(|rule| self.utilization.percent() >= rule.used && gone >= rule.gone)
            .map(|rule| rule.threshold)
    }
}

/// A pool as one subscription, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// Its windows.
    pub windows: WindowPair<AggregateWindow>,
    /// What it weighs: the offered part of the members' weights.
    pub plan_weight: f64,
    /// Whether any member is usable.
    pub is_usable: bool,
    /// Whether the pool has API keys only, which have no windows to show.
    pub has_only_api_keys: bool,
    /// If nothing is usable: the limit that ends first, as far as ends are known.
    pub frees: Option<Limited>,
    /// The window that speaks for the pool: of what frees first if nothing is usable; else the one warned of, else the
    /// higher one, else the short one.
    pub claim: BaseWindow,
}

impl Aggregate {
    /// Sums up the members at `now`.
    pub fn of(members: &[Member<'_>], now: SystemTime) -> Self {
        let seen: Vec<Seen<'_, '_>> = members
            .iter()
            .filter(|member| member.standing != Standing::Gone)
            .map(|member| Seen { member, limited: member.limited(now) })
            .collect();
        let is_usable = seen.iter().any(Seen::is_usable);
        let counted: Vec<&Seen<'_, '_>> = seen.iter().filter(|seen| seen.counts()).collect();
        let windows = if counted.is_empty() {
            WindowPair::from_fn(|_| AggregateWindow::NOTHING)
        } else {
            WindowPair::from_fn(|which| sum(&counted, which, now))
        };
        let plan_weight = counted
            .iter()
            .map(|seen| seen.member.weight.get() * seen.member.cap(BaseWindow::Weekly) / 100.0)
            .sum();
        let frees = if is_usable { None } else { Limited::first(seen.iter().filter_map(Seen::frees)) };
        let mut aggregate = Self {
            windows,
            plan_weight,
            is_usable,
            has_only_api_keys: !members.is_empty()
                && members.iter().all(|member| member.kind == MemberKind::ApiKey),
            frees,
            claim: BaseWindow::FiveHour,
        };
        aggregate.claim = aggregate.speaks(now);
        if !is_usable {
            let window = aggregate.windows.get_mut(aggregate.claim);
            window.utilization = Utilization::FULL;
            window.is_known = true;
            window.is_absent = false;
        }
        aggregate
    }

    fn speaks(&self, now: SystemTime) -> BaseWindow {
        if let Some(Limited { claim: Some(Claim::Base(which)), .. }) = self.frees {
            return which;
        }
        let rank = |which: BaseWindow| {
            let window = self.windows.get(which);
            (!window.is_absent, window.warning(which, now).is_some(), window.utilization)
        };
        if rank(BaseWindow::Weekly) > rank(BaseWindow::FiveHour) {
            BaseWindow::Weekly
        } else {
            BaseWindow::FiveHour
        }
    }
}

impl Member<'_> {
    fn cap(&self, which: BaseWindow) -> f64 {
        match self.kind {
            MemberKind::Login => self.caps.percent(which),
            MemberKind::ApiKey => 100.0,
        }
    }

    /// The limits in force: caps and refusal. Scoped limits keep no member out of use as a whole.
    fn limited(&self, now: SystemTime) -> Option<Limited> {
        let capped = match self.kind {
            MemberKind::Login => self.windows.capped(self.caps, None, now),
            MemberKind::ApiKey => None,
        };
        let refused = self.refused.clone().filter(|refused| refused.holds(now));
        [capped, refused].into_iter().flatten().reduce(Limited::and)
    }

    fn is_refused_by(&self, which: BaseWindow, now: SystemTime) -> bool {
        self.refused
            .as_ref()
            .is_some_and(|refused| refused.holds(now) && refused.claim == Some(Claim::Base(which)))
    }
}

/// A member whose capacity is there.
struct Seen<'a, 'm> {
    member: &'a Member<'m>,
    limited: Option<Limited>,
}

impl Seen<'_, '_> {
    fn is_usable(&self) -> bool {
        self.member.standing == Standing::Ready && self.limited.is_none()
    }

    /// API keys, and logins never observed, count while they are usable.
    fn counts(&self) -> bool {
        let has_windows = self.member.kind == MemberKind::Login && !self.member.windows.is_unobserved();
        has_windows || self.is_usable()
    }

    /// When it becomes usable, and by which window it is not.
    fn frees(&self) -> Option<Limited> {
        let blocked = match self.member.standing {
            Standing::Blocked { until } => Some(Limited { claim: None, until }),
            Standing::Ready | Standing::Gone => None,
        };
        [self.limited.clone(), blocked].into_iter().flatten().reduce(Limited::and)
    }
}

/// One window over the members that count. A login that has no such window is left out; one of which nothing is known offers its
/// whole cap, as does one whose window has not begun.
fn sum(counted: &[&Seen<'_, '_>], which: BaseWindow, now: SystemTime) -> AggregateWindow {
    let (mut remaining, mut offered) = (0.0, 0.0);
    let mut resets_at: Option<SystemTime> = None;
    let mut length: Option<(f64, Duration)> = None;
    let (mut is_known, mut is_possible) = (false, false);
    for Seen { member, .. } in counted {
        let (cap, weight) = (member.cap(which), member.weight.get());
        let is_login = member.kind == MemberKind::Login;
        let window = if is_login { member.windows.base(which, now) } else { None };
        let is_refused = member.is_refused_by(which, now);
        let is_unobserved = is_login && member.windows.is_unobserved();
        is_possible |= is_unobserved || is_refused;
        if is_login && window.is_none() && !is_unobserved && !is_refused {
            continue;
        }
        offered += cap * weight;
        let left = window.map_or(cap, |window| cap - window.effective(now).percent());
        // Capped: nothing is left. Refused: nothing is left, whatever the number says.
        if !is_refused {
            remaining += left.max(0.0) * weight;
        }
        let Some(window) = window else { continue };
        is_known |= window.has_begun();
        if window.effective(now) > Utilization::ZERO
            && let Some(reset) = window.reset_ahead(now)
        {
            resets_at = Some(resets_at.map_or(reset, |earliest| earliest.min(reset)));
        }
        if let Some(stated) = window.length
            && length.is_none_or(|(heaviest, _)| weight > heaviest)
        {
            length = Some((weight, stated));
        }
    }
    let part_left = if offered > 0.0 { remaining / offered } else { 1.0 };
    let used = (100.0 * (1.0 - part_left)).clamp(0.0, 100.0);
    AggregateWindow {
        utilization: Utilization::from_percent(used).unwrap_or(Utilization::FULL),
        resets_at,
        length: length.map(|(_, length)| length),
        is_known,
        is_absent: !is_known && !is_possible,
    }
}

#[cfg(test)]
mod tests;
