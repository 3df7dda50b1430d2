//! Any bytes as an answer of a usage endpoint, an event or an error: reading them never panics, numbers are finite,
//! resets are within their bound, and replacing the limits of an event leaves an event.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use trunkline_core::limits::error_body::{ErrorBody, MAX_MESSAGE};
use trunkline_core::limits::json::Object;
use trunkline_core::limits::{
    Aggregate, BaseWindow, LimitFacts, Member, MemberKind, Reading, Readings, Source, Standing, View, Weight,
    Windows,
};
use trunkline_core::plan::MAX_REPORTED_WEIGHT;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_core::provider::codex::limits::{event_headers, replace_event_headers};

const DAYS_40: Duration = Duration::from_secs(40 * 24 * 3600);

fn check(readings: &Readings, now: SystemTime) -> Windows {
    let pairs = std::iter::once(&readings.base).chain(readings.scoped.iter().map(|scoped| &scoped.windows));
    for pair in pairs {
        for which in BaseWindow::BOTH {
            if let Reading::Value(window) = pair.get(which) {
                assert!(window.utilization.percent().is_finite() && window.utilization.percent() >= 0.0);
                assert!(window.resets_at.is_none_or(|reset| reset <= now + DAYS_40));
            }
        }
    }
    assert!(readings.plan_weight.is_none_or(|weight| weight > 0.0 && weight <= MAX_REPORTED_WEIGHT));
    let mut windows = Windows::new();
    let observed = windows.observe(readings, Source::Poll, now);
    assert!(!observed.is_fresh || readings.carries_data());
    windows
}

fuzz_target!(|data: &[u8]| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_420_000);
    if let Some(readings) = Claude.read_usage(data, now) {
        check(&readings, now);
    }
    if let Some(readings) = Codex.read_usage(data, now) {
        check(&readings, now);
    }
    let windows = check(&Codex.read_event(data, now), now);
    let error = ErrorBody::parse(data);
    assert!(error.message.is_none_or(|message| message.len() <= MAX_MESSAGE));
    let _ = event_headers(data);
    let member = Member {
        kind: MemberKind::Login,
        standing: Standing::Ready,
        windows: &windows,
        caps: trunkline_core::limits::Caps::DEFAULT,
        weight: Weight::ONE,
        refused: None,
    };
    let aggregate = Aggregate::of(&[member], now);
    let view = View { aggregate: &aggregate, now, is_peer: false, is_429: false, no_candidate: None };
    if let Some(replaced) = replace_event_headers(data, &view) {
        // Not as values: numbers that no `f64` holds go through as they came.
        let event = Object::parse(replaced.as_bytes()).expect("an event");
        assert!(event.object("headers").is_some());
        let again = replace_event_headers(replaced.as_bytes(), &view).expect("our own limits are limits");
        assert_eq!(again, replaced, "replacing twice changes nothing");
    }
});
