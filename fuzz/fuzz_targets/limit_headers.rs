//! Any header lines as those of a provider's answer: reading them never panics, what is known stays within its bounds,
//! a refusal ends, and the order of two observations within one window does not matter.

#![no_main]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use trunkline_core::limits::error_body::ErrorBody;
use trunkline_core::limits::{
    Aggregate, BaseWindow, Caps, LimitFacts, Member, MemberKind, RefusedAnswer, Source, Standing, View,
    Weight, Windows,
};
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;

const DAYS_40: Duration = Duration::from_secs(40 * 24 * 3600);

fn headers(data: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value[1..].trim_ascii()))
        {
            map.append(name, value);
        }
    }
    map
}

fn check(provider: &dyn LimitFacts, headers: &HeaderMap, body: &[u8], now: SystemTime) {
    let readings = provider.read_headers(StatusCode::OK, headers, now);
    let mut windows = Windows::new();
    for source in [Source::InBand, Source::Poll, Source::External, Source::InBand] {
        windows.observe(&readings, source, now);
    }
    let error = ErrorBody::parse(body);
    let model = Some("claude-opus-5");
    for is_api_key in [false, true] {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let answer = RefusedAnswer { status, headers, error: &error, model, is_api_key };
        let refusal = provider.refusal(&answer, now).expect("a 429 is a refusal");
        windows.refuse(&refusal, model, now);
        if let Some(until) = refusal.limited_until(&windows, now) {
            assert!(until > now && until <= now + DAYS_40, "{refusal:?}");
        }
        assert!(refusal.burst_wait().is_none_or(|wait| wait <= Duration::from_secs(60)));
    }
    for window in BaseWindow::BOTH.iter().flat_map(|which| windows.of_class(*which)) {
        assert!(window.utilization.percent().is_finite() && window.utilization.percent() >= 0.0);
        assert!(window.resets_at.is_none_or(|reset| reset <= now + DAYS_40));
    }
    if let Some(limited) = windows.capped(Caps::DEFAULT, model, now)
        && let Some(until) = limited.until
    {
        assert!(windows.capped(Caps::DEFAULT, model, until).is_none(), "{limited:?} outlasts itself");
    }
    let member = Member {
        kind: MemberKind::Login,
        standing: Standing::Ready,
        windows: &windows,
        caps: Caps::DEFAULT,
        weight: Weight::ONE,
        refused: None,
    };
    let aggregate = Aggregate::of(&[member], now);
    for (is_peer, is_429) in [(false, false), (true, true)] {
        let view = View { aggregate: &aggregate, now, is_peer, is_429, no_candidate: None };
        let mut shown = HeaderMap::new();
        shown.extend(provider.shown_headers(&view));
        assert_eq!(provider.read_headers(StatusCode::OK, &shown, now).ignored, 0, "we read what we show");
    }
    let body = provider.usage_body(&aggregate, now);
    assert_eq!(provider.read_usage(&body, now).expect("an answer").ignored, 0, "we read what we show");
}

fuzz_target!(|data: &[u8]| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_420_000);
    // Head and body, like an answer.
    let split = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(split);
    let headers = headers(head);
    check(&Claude, &headers, body, now);
    check(&Codex, &headers, body, now);
});
