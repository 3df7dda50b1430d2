//! What limits mean for a credential's state ([`availability`](crate::availability)): the windows at their caps, and what
//! a refusal makes `rate_limited`.
//!
//! A scoped limit goes by its name there ([`LimitScope`]'s `Display`); whether a request is about it is asked here, by
//! [`is_bound`], since a limit of Codex's does not say which models it binds.

use std::sync::Arc;
use std::time::SystemTime;

use crate::availability::{CappedWindow, Scope};
use crate::limits::window::BaseWindow;
use crate::limits::{Caps, LimitScope, Refusal, Windows};
use crate::selection::ModelFamily;

/// The name of the window where an account as a whole refused, and none of its windows is to blame.
pub const ACCOUNT: &str = "account";

/// One fact for [`Facts::on_rate_limited`](crate::availability::Facts::on_rate_limited).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// The window that refused.
    pub window: Arc<str>,
    /// The requests that it is about.
    pub scope: Scope,
    /// Until when.
    pub until: SystemTime,
}

/// The windows at their caps at `now`, scoped limits among them.
pub fn capped_windows(windows: &Windows, caps: Caps, now: SystemTime) -> Vec<CappedWindow> {
    let base = BaseWindow::BOTH.into_iter().flat_map(|which| {
        let of_class = windows.of_class(which);
        of_class.map(move |window| (which.name().to_owned(), Scope::All, window, caps.percent(which)))
    });
    let scoped = windows.scoped().map(|(scope, _, window)| {
        let name = scope.to_string();
        (name.clone(), Scope::ModelFamily(name.into()), window, caps.percent(BaseWindow::Weekly))
    });
    base.chain(scoped)
        .filter(|(_, _, window, cap)| window.effective(now).percent() >= *cap)
        .map(|(name, scope, window, _)| CappedWindow { window: name.into(), scope, until: window.resets_at })
        .collect()
}

/// What a refusal makes `rate_limited`: the account's windows together until the last of them resets, since it refuses
/// everything until then, or one scoped limit. `windows` are to have been told of the refusal before
/// ([`Windows::refuse`]).
pub fn rate_limit(refusal: &Refusal, windows: &Windows, now: SystemTime) -> Option<RateLimit> {
    let until = refusal.limited_until(windows, now)?;
    let (window, scope) = match refusal {
        Refusal::Base { windows: refused, .. } => {
            let last = BaseWindow::BOTH
                .into_iter()
                .filter_map(|which| Some((refused.get(which).as_ref()?.resets_at, which)))
                .max();
            (last.map_or(ACCOUNT, |(_, which)| which.name()).into(), Scope::All)
        }
        Refusal::Scoped { scope, .. } => {
            let name: Arc<str> = scope.to_string().into();
            (Arc::clone(&name), Scope::ModelFamily(name))
        }
        Refusal::Burst { .. } | Refusal::Entitlement => return None,
    };
    Some(RateLimit { window, scope, until })
}

/// The models that a scoped limit of that name binds, as globs, for
/// [`Facts::listed`](crate::availability::Facts::listed).
pub fn family(windows: &Windows, name: &str) -> ModelFamily {
    let (shown, models) = match scope_of(name) {
        Some(LimitScope::Family(bucket)) => {
            // As `LimitScope::binds_by_name` has it: names of models are in lower case.
            let word = if bucket.as_ref() == "oi" { "fable" } else { bucket.as_ref() };
            (word.to_owned(), vec![format!("*{word}*")])
        }
        Some(LimitScope::Model(model)) => (model.to_string(), vec![model.to_string()]),
        Some(scope @ LimitScope::Limit(_)) => (name.to_owned(), windows.bound_models(&scope)),
        None => (name.to_owned(), Vec::new()),
    };
    ModelFamily { name: shown, models }
}

/// The scoped limit of a name, as [`LimitScope`]'s `Display` writes it.
pub fn scope_of(name: &str) -> Option<LimitScope> {
    match (name.strip_prefix("model "), name.strip_prefix("7d_")) {
        (Some(model), _) => LimitScope::model(model),
        (None, Some(bucket)) => LimitScope::family(bucket),
        (None, None) => LimitScope::limit(name),
    }
}

/// Whether a request of `model` is about the scoped limit of that name, for
/// [`Asking::in_family`](crate::availability::Asking).
pub fn is_bound(windows: &Windows, name: &str, model: &str) -> bool {
    scope_of(name).is_some_and(|scope| windows.binds(&scope, model))
}

/// Whether the windows, as a poll has just shown them, are below their caps where a refusal of that window and scope was
/// ([`Facts::on_poll_answered`](crate::availability::Facts::on_poll_answered)). What is not known is not below.
pub fn is_below_cap(windows: &Windows, caps: Caps, window: &str, now: SystemTime) -> bool {
    if window == ACCOUNT {
        return !windows.is_unobserved() && windows.capped(caps, None, now).is_none();
    }
    let is_below = |used: &crate::limits::Window, cap| used.effective(now).percent() < cap;
    if let Some(which) = BaseWindow::BOTH.into_iter().find(|which| which.name() == window) {
        // One that is not there, where others are, limits nothing.
        return match windows.base(which, now) {
            Some(used) => is_below(used, caps.percent(which)),
            None => !windows.is_unobserved(),
        };
    }
    let mut scoped = windows.scoped().filter(|(scope, ..)| scope.to_string() == window).peekable();
    scoped.peek().is_some() && scoped.all(|(_, _, used)| is_below(used, caps.percent(BaseWindow::Weekly)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::readings::{Reading, Readings, ReportedWindow, ScopedReading};
    use crate::limits::window::WindowPair;
    use crate::limits::{RefusedWindow, RefusedWindows, Source, Utilization};
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
    }

    fn reading(percent: f64, reset: u64) -> Reading {
        let utilization = Utilization::from_percent(percent).unwrap();
        Reading::Value(ReportedWindow { utilization, resets_at: Some(at(reset)), length: None })
    }

    fn observe(windows: &mut Windows, five_hour: f64, weekly: f64, opus: f64) {
        let scope = LimitScope::family("opus").unwrap();
        let scoped = WindowPair { five_hour: Reading::Absent, weekly: reading(opus, 900) };
        let readings = Readings {
            base: WindowPair { five_hour: reading(five_hour, 100), weekly: reading(weekly, 900) },
            scoped: vec![ScopedReading { scope, windows: scoped }],
            ..Readings::default()
        };
        windows.observe(&readings, Source::Poll, at(0));
    }

    #[test]
    fn caps_by_name_and_scope() {
        let mut windows = Windows::new();
        observe(&mut windows, 99.0, 98.9, 100.0);
        let capped = |second| {
            capped_windows(&windows, Caps::DEFAULT, at(second))
                .into_iter()
                .map(|capped| (capped.window.to_string(), capped.scope, capped.until.unwrap()))
                .collect::<Vec<_>>()
        };
        let opus = ("7d_opus".to_owned(), Scope::ModelFamily("7d_opus".into()), at(900));
        assert_eq!(capped(1), [("5h".to_owned(), Scope::All, at(100)), opus.clone()]);
        assert_eq!(capped(100), [opus]);
        assert_eq!(capped(900), []);
        let below = |window, second| is_below_cap(&windows, Caps::DEFAULT, window, at(second));
        assert!(!below("5h", 1) && below("weekly", 1) && !below("7d_opus", 1) && !below(ACCOUNT, 1));
        assert!(below("5h", 100) && below(ACCOUNT, 100) && below("7d_opus", 900) && !below("other", 1));
    }

    #[test]
    fn refusals_by_name_and_scope() {
        let mut windows = Windows::new();
        let refused = |reset: u64| Some(RefusedWindow { resets_at: Some(at(reset)) });
        let base = |five_hour, weekly, until| Refusal::Base {
            windows: RefusedWindows { five_hour, weekly },
            until,
            out_of_credits: false,
        };
        let limit = |refusal: &Refusal, windows: &Windows| {
            rate_limit(refusal, windows, at(0))
                .map(|limit| (limit.window.to_string(), limit.scope, limit.until))
        };
        let both = base(refused(100), refused(900), Some(at(900)));
        assert_eq!(limit(&both, &windows), Some(("weekly".to_owned(), Scope::All, at(900))));
        let short = base(refused(100), None, Some(at(100)));
        assert_eq!(limit(&short, &windows), Some(("5h".to_owned(), Scope::All, at(100))));
        let account = base(None, None, None);
        assert_eq!(limit(&account, &windows), Some((ACCOUNT.to_owned(), Scope::All, at(300))));
        let scope = LimitScope::limit("codex-x").unwrap();
        let scoped = Refusal::Scoped { scope, until: Some(at(50)) };
        let expected = ("codex_x".to_owned(), Scope::ModelFamily("codex_x".into()), at(50));
        assert_eq!(limit(&scoped, &windows), Some(expected));
        assert_eq!(limit(&Refusal::Entitlement, &windows), None);
        assert_eq!(limit(&Refusal::Burst { retry_after: None }, &windows), None);
        assert!(!is_bound(&windows, "codex_x", "gpt-x"));
        windows.refuse(&scoped, Some("gpt-x"), at(0));
        assert!(is_bound(&windows, "codex_x", "gpt-x") && !is_bound(&windows, "codex_x", "gpt-y"));
        assert!(is_bound(&windows, "7d_opus", "claude-opus-5") && is_bound(&windows, "model m", "m"));
        let models = |name| family(&windows, name).models;
        assert_eq!(models("7d_opus"), ["*opus*"]);
        assert_eq!(models("7d_oi"), ["*fable*"]);
        assert_eq!(models("model m"), ["m"]);
        assert_eq!(models("codex_x"), ["gpt-x"]);
        assert_eq!(models("account").len(), 0);
    }
}
