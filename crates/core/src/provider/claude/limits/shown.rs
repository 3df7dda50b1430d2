//! The aggregate in Claude's own shape (limits.md, *Rate-limit headers that a client sees*).

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::limits::provider::push;
use crate::limits::shown::base_of;
use crate::limits::window::BaseWindow;
use crate::limits::{Aggregate, AggregateWindow, Claim, LimitScope, View, number, timestamp};

/// Names of one base window's headers.
struct Names {
    utilization: &'static str,
    reset: &'static str,
    status: &'static str,
    threshold: &'static str,
}

const FIVE_HOUR: Names = Names {
    utilization: "anthropic-ratelimit-unified-5h-utilization",
    reset: "anthropic-ratelimit-unified-5h-reset",
    status: "anthropic-ratelimit-unified-5h-status",
    threshold: "anthropic-ratelimit-unified-5h-surpassed-threshold",
};

const WEEKLY: Names = Names {
    utilization: "anthropic-ratelimit-unified-7d-utilization",
    reset: "anthropic-ratelimit-unified-7d-reset",
    status: "anthropic-ratelimit-unified-7d-status",
    threshold: "anthropic-ratelimit-unified-7d-surpassed-threshold",
};

const STATUS: &str = "anthropic-ratelimit-unified-status";
const CLAIM: &str = "anthropic-ratelimit-unified-representative-claim";
const RESET: &str = "anthropic-ratelimit-unified-reset";

pub(super) fn headers(view: &View<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut out = Vec::with_capacity(12);
    let (claim, claim_reset) = view.claim();
    if view.aggregate.has_only_api_keys {
        // No windows, nothing to show; but a peer accepts no 429 without these.
        if view.is_peer && view.is_429 {
            push(&mut out, CLAIM, spell(&claim, true));
            let which = base_of(&claim);
            push_reset(&mut out, names(which).reset, view.reset(which));
        }
        return out;
    }
    let mut is_warned = false;
    for which in BaseWindow::BOTH {
        let window = view.aggregate.windows.get(which);
        if window.is_absent {
            continue;
        }
        let names = names(which);
        let warning = window.warning(which, view.now).filter(|_| !window.is_full());
        is_warned |= warning.is_some();
        push(&mut out, names.utilization, number::share(window.utilization.percent() / 100.0, 1.0, 6));
        push_reset(&mut out, names.reset, view.reset(which));
        push(&mut out, names.status, status(window.is_full(), warning.is_some()));
        if let Some(threshold) = warning {
            push(&mut out, names.threshold, threshold);
        }
    }
    push(&mut out, STATUS, status(view.is_rejected(), is_warned));
    // A window that is not there does not speak, unless it is what refuses.
    if view.no_candidate.is_none() && view.aggregate.windows.get(base_of(&claim)).is_absent {
        push(&mut out, super::PLAN_WEIGHT, number::shortest(view.aggregate.plan_weight, 6));
        return out;
    }
    push(&mut out, CLAIM, spell(&claim, view.is_peer));
    // A claimed window whose reset is not known is told to a peer all the same.
    let own =
        if view.is_peer && view.is_429 { claim_reset.or(view.reset(base_of(&claim))) } else { claim_reset };
    push_reset(&mut out, RESET, own);
    push(&mut out, super::PLAN_WEIGHT, number::shortest(view.aggregate.plan_weight, 6));
    out
}

fn names(which: BaseWindow) -> &'static Names {
    match which {
        BaseWindow::FiveHour => &FIVE_HOUR,
        BaseWindow::Weekly => &WEEKLY,
    }
}

fn push_reset(
    out: &mut Vec<(HeaderName, HeaderValue)>,
    name: &'static str,
    at: Option<std::time::SystemTime>,
) {
    if let Some(at) = at {
        push(out, name, timestamp::unix_seconds(at).to_string());
    }
}

fn status(is_rejected: bool, is_warned: bool) -> &'static str {
    match (is_rejected, is_warned) {
        (true, _) => "rejected",
        (false, true) => "allowed_warning",
        (false, false) => "allowed",
    }
}

/// The claim's name; sing-box as a client knows `5h` and `7d` only.
fn spell(claim: &Claim, is_peer: bool) -> String {
    let text = match (claim, is_peer) {
        (Claim::Base(BaseWindow::FiveHour), false) => "five_hour",
        (Claim::Base(BaseWindow::FiveHour), true) => "5h",
        (Claim::Base(BaseWindow::Weekly) | Claim::Scope(_), true) => "7d",
        (Claim::Scope(LimitScope::Family(bucket)), false) => {
            let bucket = if bucket.as_ref() == "oi" { "overage_included" } else { bucket };
            return format!("seven_day_{bucket}");
        }
        // The weekly window, and what Claude has no name for.
        (_, false) => "seven_day",
    };
    text.to_owned()
}

/// `GET /api/oauth/usage` (claude.md, *Routes*).
pub(super) fn usage_body(aggregate: &Aggregate) -> Bytes {
    let window = |window: &AggregateWindow| {
        if !window.is_known || aggregate.has_only_api_keys {
            return Value::Null;
        }
        json!({
            "utilization": window.utilization.percent(),
            "resets_at": window.resets_at.map(timestamp::rfc3339),
        })
    };
    let body = json!({
        "five_hour": window(&aggregate.windows.five_hour),
        "seven_day": window(&aggregate.windows.weekly),
        "seven_day_opus": null,
        "seven_day_sonnet": null,
        "extra_usage": null,
    });
    Bytes::from(body.to_string())
}
