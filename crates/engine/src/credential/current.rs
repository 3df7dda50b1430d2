//! Everything that is known of a credential at one time, as requests read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use trunkline_core::availability::{Availability, BlockReason, Facts};
use trunkline_core::limits::credential_state::{capped_windows, family};
use trunkline_core::limits::{BaseWindow, Caps, Claim, Limited, Standing, Windows};
use trunkline_core::login::{LoginKind, Plan};
use trunkline_core::selection::{Fact, Scope, Window, WindowUse};

use super::live::Held;

/// What stands for "never" where a moment is needed.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known, published whole.
#[derive(Debug)]
pub(crate) struct Current {
    pub(super) facts: Facts,
    held: Option<Arc<Held>>,
    /// Why the last refresh gave no login, where that is worth telling.
    pub(super) refresh_problem: Option<Arc<str>>,
    /// Why its last usage poll failed, while that counts.
    pub(super) poll_problem: Option<Arc<str>>,
    /// Until when the token is good; `None`: it is not.
    token_until: Option<SystemTime>,
    pub(crate) windows: Windows,
    caps: Caps,
    /// The account's plan, where it is known.
    pub(crate) plan: Option<Plan>,
    listed: Vec<Fact>,
    /// As long as this is ahead, `listed` says everything.
    listed_until: SystemTime,
    /// Tells this from every other that was ever published.
    pub(crate) version: u64,
}

impl Current {
    pub(super) fn new(
        facts: Facts,
        held: Option<Arc<Held>>,
        [refresh_problem, poll_problem]: [Option<Arc<str>>; 2],
        (windows, caps): (Windows, Caps),
        plan: Option<Plan>,
        now: SystemTime,
    ) -> Self {
        static VERSION: AtomicU64 = AtomicU64::new(0);
        let far = now + FAR;
        let token_until = (held.is_some() && facts.has_good_token(now))
            .then(|| facts.token_ends_at().map_or(far, |end| end.min(far)));
        let capped = capped_windows(&windows, caps, now);
        let listed = facts.listed(now, &capped, &|name| family(&windows, name));
        let listed_until = facts.next_moment(now, &capped).map_or(far, |at| at.min(far));
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        Self {
            facts,
            held,
            refresh_problem,
            poll_problem,
            token_until,
            windows,
            caps,
            plan,
            listed,
            listed_until,
            version,
        }
    }

    /// Whether what it authenticates with is an API key.
    pub(crate) fn is_api_key(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.kind() == LoginKind::ApiKey)
    }

    /// What to authenticate with, if that is good at `now`.
    pub(crate) fn held(&self, now: SystemTime) -> Option<&Arc<Held>> {
        match self.token_until {
            Some(until) if now < until => self.held.as_ref(),
            // Looked at long ago: nothing has happened since, so the same still holds unless the token has ended.
            _ => self.held.as_ref().filter(|_| self.facts.has_good_token(now)),
        }
    }

    /// The state at `now`.
    pub(super) fn state(&self, now: SystemTime) -> Availability {
        self.facts.state(now, &capped_windows(&self.windows, self.caps, now))
    }

    /// What keeps it from being usable at `now`, if the list that was published does not say it any more.
    pub(crate) fn facts_anew(&self, now: SystemTime) -> Option<Vec<Fact>> {
        if now < self.listed_until {
            return None;
        }
        let capped = capped_windows(&self.windows, self.caps, now);
        Some(self.facts.listed(now, &capped, &|name| family(&self.windows, name)))
    }

    /// What kept it from being usable when this was published.
    pub(crate) fn facts_published(&self) -> &[Fact] {
        &self.listed
    }

    /// One of its windows, for the strategies.
    pub(crate) fn window_use(&self, which: BaseWindow, now: SystemTime) -> WindowUse {
        let window = self.windows.base(which, now);
        WindowUse::new(
            self.caps.percent(which),
            window.map(|window| window.utilization.percent()),
            window.and_then(|window| window.resets_at),
        )
    }

    /// How much of its windows is offered.
    pub(crate) fn caps(&self) -> Caps {
        self.caps
    }
}

/// Whether something other than a limit keeps a credential with these facts out of use, for the aggregate.
pub(crate) fn standing(facts: &[Fact], now: SystemTime) -> Standing {
    let mut standing = Standing::Ready;
    for fact in facts.iter().filter(|fact| fact.until().is_none_or(|until| until > now)) {
        match fact {
            Fact::Unavailable { .. } | Fact::Blocked { reason: BlockReason::UpstreamRejected, .. } => {
                return Standing::Gone;
            }
            // One whose poll failed serves when nothing else does; one that spares bound sessions serves these.
            Fact::Blocked { reason, until }
                if *reason != BlockReason::PollFailed && !reason.spares_bound_sessions() =>
            {
                standing = Standing::Blocked { until: *until };
            }
            _ => {}
        }
    }
    standing
}

/// The refusal for all that holds longest.
pub(crate) fn refused(facts: &[Fact], now: SystemTime) -> Option<Limited> {
    let refusals = facts.iter().filter_map(|fact| match fact {
        Fact::RateLimited { window, scope: Scope::All, until } => {
            let claim = match window {
                Window::FiveHour => Some(Claim::Base(BaseWindow::FiveHour)),
                Window::Weekly => Some(Claim::Base(BaseWindow::Weekly)),
                Window::Named(_) => None,
            };
            Some(Limited { claim, until: *until })
        }
        _ => None,
    });
    refusals.filter(|limited| limited.holds(now)).reduce(Limited::and)
}
