//! What a 429 of Codex's means (codex.md, *Failures*).

use std::time::{Duration, SystemTime};

use http::{HeaderName, StatusCode};

use super::families;
use crate::limits::provider::field;
use crate::limits::readings::{Field, Reading};
use crate::limits::refusal::{REFUSED_FROM, later};
use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{LimitScope, Refusal, RefusedAnswer, RefusedWindow, RefusedWindows};

/// How long a model counts as refused that the plan does not include, and an API key whose quota is used up.
const LONG_WAIT: Duration = Duration::from_secs(3600);

/// Resets within this of the error's own are of the window that refused.
const SAME_RESET: Duration = Duration::from_secs(60);

pub(super) fn classify(answer: &RefusedAnswer<'_>, now: SystemTime) -> Option<Refusal> {
    if answer.status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let (kind, code) = (answer.error.kind.as_deref(), answer.error.code.as_deref());
    // The type decides; `response.failed` and the backend's `detail` have a code only.
    let is = |name| kind.or(code) == Some(name);
    Some(if is("usage_limit_reached") && !answer.is_api_key {
        usage_limit(answer, now)
    } else if is("usage_not_included") {
        match answer.model.and_then(LimitScope::model) {
            Some(scope) => Refusal::Scoped { scope, until: Some(later(now, LONG_WAIT)) },
            // Nothing that another request could be spared for.
            None => Refusal::Entitlement,
        }
    } else if [kind, code].contains(&Some("insufficient_quota")) && answer.is_api_key {
        let until = Some(later(now, LONG_WAIT));
        Refusal::Base { windows: RefusedWindows::default(), until, out_of_credits: false }
    } else {
        Refusal::Burst { retry_after: answer.error.wait(answer.headers, now) }
    })
}

/// The account's quota, or that of the limit that was active, is used up: until the error's own reset, else the active
/// limit's by its headers, else `Retry-After`.
fn usage_limit(answer: &RefusedAnswer<'_>, now: SystemTime) -> Refusal {
    let active = match field(answer.headers, &HeaderName::from_static("x-codex-active-limit")) {
        Field::Text(id) => families::scope(&id).ok().flatten(),
        _ => None,
    };
    let readings = families::read(answer.headers, now);
    let windows = match &active {
        None => [readings.base, readings.second],
        Some(scope) => {
            let own = readings.scoped.iter().find(|reading| reading.scope == *scope);
            [own.map_or_else(WindowPair::default, |reading| reading.windows), WindowPair::default()]
        }
    };
    let stated = answer.error.reset_ahead(now);
    let refused = refused(&windows, stated, now);
    let resets = [refused.five_hour, refused.weekly];
    let by_headers = resets.into_iter().flatten().filter_map(|window| window.resets_at).max();
    let until = stated
        .or(by_headers)
        .or_else(|| answer.error.wait(answer.headers, now).map(|wait| later(now, wait)))
        .filter(|until| *until > now);
    match active {
        Some(scope) => Refusal::Scoped { scope, until },
        None => Refusal::Base { windows: refused, until, out_of_credits: false },
    }
}

/// The windows that refused: those that are used up; else the one with the stated reset; else, since a short window
/// cannot reset later than its length, the one that the stated reset is possible for.
fn refused(
    windows: &[WindowPair<Reading>; 2],
    stated: Option<SystemTime>,
    now: SystemTime,
) -> RefusedWindows {
    let window = |which: BaseWindow, holds: &dyn Fn(f64, Option<SystemTime>) -> bool| {
        let of_class = windows.iter().filter_map(|windows| match windows.get(which) {
            Reading::Value(value) if holds(value.utilization.percent(), value.resets_at) => {
                Some(RefusedWindow { resets_at: value.resets_at.filter(|reset| *reset > now) })
            }
            _ => None,
        });
        // Of two of a class it refuses until the later reset.
        of_class.max_by_key(|window| window.resets_at)
    };
    let by = |holds: &dyn Fn(f64, Option<SystemTime>) -> bool| {
        let refused = WindowPair::from_fn(|which| window(which, holds));
        (refused != RefusedWindows::default()).then_some(refused)
    };
    let is_stated = |reset: Option<SystemTime>| {
        stated.zip(reset).is_some_and(|(a, b)| {
            a.duration_since(b).or_else(|_| b.duration_since(a)).is_ok_and(|apart| apart <= SAME_RESET)
        })
    };
    by(&|used, _| used >= REFUSED_FROM).or_else(|| by(&|_, reset| is_stated(reset))).unwrap_or_else(|| {
        let Some(stated) = stated else { return RefusedWindows::default() };
        let ahead = stated.duration_since(now).unwrap_or_default();
        let is_short = ahead <= BaseWindow::FiveHour.usual_length();
        let which = if is_short { BaseWindow::FiveHour } else { BaseWindow::Weekly };
        let mut refused = RefusedWindows::default();
        *refused.get_mut(which) = Some(RefusedWindow { resets_at: Some(stated) });
        refused
    })
}
