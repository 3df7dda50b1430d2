//! The aggregate in Codex's own shape (limits.md, *Rate-limit headers that a client sees*; codex.md, *Routes* and
//! *Failures*).

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::limits::provider::push;
use crate::limits::timestamp::{seconds_up, unix_seconds};
use crate::limits::window::BaseWindow;
use crate::limits::{Aggregate, NoCandidate, View, number};
use crate::provider::OwnAnswer;

/// Type and code of a refusal of the moment.
const THROTTLED: &str = "rate_limit_exceeded";

/// Names of one window's headers.
struct Names {
    used: &'static str,
    minutes: &'static str,
    reset: &'static str,
}

const PRIMARY: Names = Names {
    used: "x-codex-primary-used-percent",
    minutes: "x-codex-primary-window-minutes",
    reset: "x-codex-primary-reset-at",
};

const SECONDARY: Names = Names {
    used: "x-codex-secondary-used-percent",
    minutes: "x-codex-secondary-window-minutes",
    reset: "x-codex-secondary-reset-at",
};

fn names(which: BaseWindow) -> &'static Names {
    match which {
        BaseWindow::FiveHour => &PRIMARY,
        BaseWindow::Weekly => &SECONDARY,
    }
}

pub(super) fn headers(view: &View<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut out = Vec::with_capacity(7);
    if view.aggregate.has_only_api_keys {
        return out;
    }
    for which in BaseWindow::BOTH {
        let window = view.aggregate.windows.get(which);
        if window.is_absent {
            continue;
        }
        let names = names(which);
        push(&mut out, names.used, number::share(window.utilization.percent(), 100.0, 2));
        push(&mut out, names.minutes, minutes(view.aggregate, which).to_string());
        if let Some(reset) = view.reset(which) {
            push(&mut out, names.reset, unix_seconds(reset).to_string());
        }
    }
    push(&mut out, super::PLAN_WEIGHT, number::shortest(view.aggregate.plan_weight, 6));
    out
}

fn minutes(aggregate: &Aggregate, which: BaseWindow) -> u64 {
    (aggregate.windows.get(which).length_or_usual(which).as_secs() / 60).max(1)
}

/// A number of JSON without decimals where it has none.
fn plain(text: &str) -> Value {
    text.parse::<u64>()
        .map(Value::from)
        .or_else(|_| text.parse::<f64>().map(Value::from))
        .unwrap_or(Value::Null)
}

/// `codex.rate_limits`: what the client reads on a WebSocket (fact sheet, 5).
pub(super) fn event(view: &View<'_>) -> String {
    let window = |which| {
        let window = view.aggregate.windows.get(which);
        if view.aggregate.has_only_api_keys || window.is_absent {
            return Value::Null;
        }
        let mut object = Map::new();
        let used = number::share(window.utilization.percent(), 100.0, 2);
        let used = if used.contains('.') { used.trim_end_matches('0').trim_end_matches('.') } else { &used };
        object.insert("used_percent".to_owned(), plain(used));
        object.insert("window_minutes".to_owned(), minutes(view.aggregate, which).into());
        if let Some(reset) = view.reset(which) {
            object.insert("reset_after_seconds".to_owned(), after(reset, view.now).into());
            object.insert("reset_at".to_owned(), unix_seconds(reset).into());
        }
        Value::Object(object)
    };
    let mut event = json!({
        "type": "codex.rate_limits",
        "plan_type": "unknown",
        "rate_limits": {
            "allowed": !view.is_rejected(),
            "limit_reached": view.is_rejected(),
            "primary": window(BaseWindow::FiveHour),
            "secondary": window(BaseWindow::Weekly),
        },
        "code_review_rate_limits": null,
        "additional_rate_limits": null,
        "credits": null,
        "promo": null,
    });
    if view.is_peer
        && let Some(object) = event.as_object_mut()
    {
        object.insert("plan_weight".to_owned(), plain(&number::shortest(view.aggregate.plan_weight, 6)));
    }
    event.to_string()
}

/// The answer of the usage endpoint (codex.md, *Routes*). The client reads whole numbers only, and every field of a
/// window is required: one whose reset is not known ends at the latest one length from now.
pub(super) fn usage_body(aggregate: &Aggregate, now: SystemTime) -> Bytes {
    let window = |which: BaseWindow| {
        let window = aggregate.windows.get(which);
        if !window.is_known || aggregate.has_only_api_keys {
            return Value::Null;
        }
        let length = minutes(aggregate, which) * 60;
        let reset = window.resets_at.filter(|reset| *reset > now);
        let after = reset.map_or(length, |reset| after(reset, now));
        json!({
            "used_percent": plain(&number::share(window.utilization.percent(), 100.0, 0)),
            "limit_window_seconds": length,
            "reset_after_seconds": after,
            "reset_at": reset.map_or_else(|| unix_seconds(now).saturating_add(after), unix_seconds),
        })
    };
    let body = json!({
        "plan_type": "unknown",
        "rate_limit": {
            "allowed": aggregate.is_usable,
            "limit_reached": !aggregate.is_usable,
            "primary_window": window(BaseWindow::FiveHour),
            "secondary_window": window(BaseWindow::Weekly),
        },
        "credits": null,
        "additional_rate_limits": null,
    });
    Bytes::from(body.to_string())
}

fn after(reset: SystemTime, now: SystemTime) -> u64 {
    seconds_up(reset.duration_since(now).unwrap_or_default())
}

/// Everything limited: the one error that the client shows as one clean message, with the reset in its own local time
/// (fact sheet, 4).
///
/// A refusal of the moment goes by the name that the provider has for its own.
pub(super) fn no_candidate(answer: &NoCandidate, now: SystemTime) -> OwnAnswer {
    let mut error = Map::new();
    let kind = match (answer.is_limit, answer.is_throttle()) {
        // The client waits and comes back, where it would give up for a limit of the account.
        (_, true) => THROTTLED,
        (true, false) => "usage_limit_reached",
        (false, _) => "server_error",
    };
    error.insert("type".to_owned(), kind.into());
    error.insert("message".to_owned(), answer.message.clone().into());
    if answer.is_throttle() {
        error.insert("code".to_owned(), THROTTLED.into());
    } else if answer.is_limit {
        error.insert("plan_type".to_owned(), "unknown".into());
        if let Some(seconds) = answer.retry_after {
            // The wait was rounded up, so this moment is not.
            let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            error.insert("resets_at".to_owned(), now.saturating_add(seconds).into());
        }
    } else {
        error.insert("code".to_owned(), "no_credential".into());
    }
    let body = json!({ "error": error });
    OwnAnswer {
        status: answer.status(),
        content_type: "application/json",
        body: Bytes::from(body.to_string()),
    }
}
