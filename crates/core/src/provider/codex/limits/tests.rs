use super::*;
use crate::limits::error_body::ErrorBody;
use crate::limits::readings::{Reading, ReportedWindow};
use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{LimitScope, RefusedWindow, RefusedWindows, Source, Utilization, Windows};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

mod shown;

fn at(unix: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix)
}

/// When the exchanges were recorded, or shortly before.
const NOW: u64 = 1_795_420_000;

const FIVE_HOURS: u64 = 300;
const WEEK: u64 = 10_080;

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn value(percent: f64, minutes: Option<u64>, resets_at: Option<u64>) -> Reading {
    Reading::Value(ReportedWindow {
        utilization: Utilization::from_percent(percent).unwrap(),
        resets_at: resets_at.map(at),
        length: minutes.map(|minutes| Duration::from_secs(minutes * 60)),
    })
}

fn read(headers: &HeaderMap) -> Readings {
    Codex.read_headers(StatusCode::OK, headers, at(NOW))
}

fn read_event(event: &Value) -> Readings {
    Codex.read_event(event.to_string().as_bytes(), at(NOW))
}

fn read_usage(body: &Value) -> Readings {
    Codex.read_usage(body.to_string().as_bytes(), at(NOW)).unwrap()
}

fn limit(id: &str) -> LimitScope {
    LimitScope::limit(id).unwrap()
}

/// The first recorded exchange that satisfies `holds`.
fn recorded(set: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let lines = set.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.into_iter().find(holds).expect("such an exchange")
}

fn headers_of(exchange: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for pair in exchange["response"]["headers"].as_array().unwrap() {
        let name = HeaderName::from_bytes(pair[0].as_str().unwrap().as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(pair[1].as_str().unwrap()).unwrap());
    }
    headers
}

const USAGE_429: &str = include_str!("../../../../../testkit/fixtures/codex/h_429_usage.jsonl");
const HTTP_EVENT: &str = include_str!("../../../../../testkit/fixtures/codex/rl_http_middle_hdr.jsonl");
const SOCKET_EVENT: &str =
    include_str!("../../../../../testkit/fixtures/codex/rl_ws_before_completed_nohdr.jsonl");
const SOCKET_429: &str = include_str!("../../../../../testkit/fixtures/codex/w_429_ev.jsonl");

#[test]
fn recorded_families_are_read() {
    let exchange = recorded(HTTP_EVENT, |exchange| exchange["response"]["status"] == 200);
    let readings = read(&headers_of(&exchange));
    let (short, long) = (Some(1_795_431_290), Some(1_795_766_090));
    let expected =
        WindowPair { five_hour: value(31.0, Some(FIVE_HOURS), short), weekly: value(62.0, Some(WEEK), long) };
    assert_eq!(readings.base, expected);
    assert_eq!(readings.scoped.len(), 1);
    assert_eq!(readings.scoped[0].scope, limit("codex_bengalfox"));
    assert_eq!(readings.scoped[0].windows.five_hour, value(7.0, Some(FIVE_HOURS), short));
    assert_eq!((readings.plan_type.as_deref(), readings.ignored), (Some("pro"), 0));
    let upgrade = Codex.read_headers(StatusCode::SWITCHING_PROTOCOLS, &headers_of(&exchange), at(NOW));
    assert_eq!(upgrade, Readings::default());
}

#[test]
fn recorded_events_are_read() {
    let exchange = recorded(SOCKET_EVENT, |exchange| exchange["frames"].is_array());
    let frames = exchange["frames"].as_array().unwrap();
    let event = frames.iter().find(|frame| frame["json"]["type"] == "codex.rate_limits").unwrap();
    let readings = read_event(&event["json"]);
    let expected = WindowPair {
        five_hour: value(45.0, Some(FIVE_HOURS), Some(1_795_431_292)),
        weekly: value(75.0, Some(WEEK), Some(1_795_766_092)),
    };
    assert_eq!((readings.base, readings.ignored), (expected, 0));
    let exchange = recorded(SOCKET_429, |exchange| exchange["frames"].is_array());
    let frames = exchange["frames"].as_array().unwrap();
    let event = &frames.iter().find(|frame| frame["json"]["type"] == "error").unwrap()["json"];
    let readings = read_event(event);
    assert_eq!(readings.base.five_hour, value(100.0, Some(FIVE_HOURS), Some(1_795_427_634)));
    let text = event.to_string();
    let refusal = refusal_of(&event_headers(text.as_bytes()), &text, None, false);
    let windows = RefusedWindows {
        five_hour: Some(RefusedWindow { resets_at: Some(at(1_795_427_634)) }),
        weekly: None,
    };
    assert_eq!(refusal, Refusal::Base { windows, until: Some(at(1_795_427_634)), out_of_credits: false });
}

#[test]
fn windows_are_told_apart_by_length_then_position() {
    let family = |pairs: &[(&str, &str)]| {
        let long: Vec<(String, &str)> =
            pairs.iter().map(|(name, value)| (format!("x-codex-{name}"), *value)).collect();
        read(&map(&long.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())).base
    };
    let weekly_only = family(&[("primary-used-percent", "5"), ("primary-window-minutes", "10080")]);
    assert_eq!(weekly_only, WindowPair { five_hour: Reading::Absent, weekly: value(5.0, Some(WEEK), None) });
    let swapped = family(&[
        ("primary-used-percent", "5"),
        ("primary-window-minutes", "10080"),
        ("secondary-used-percent", "6"),
        ("secondary-window-minutes", "1440"),
    ]);
    assert_eq!(
        swapped,
        WindowPair { five_hour: value(6.0, Some(1440), None), weekly: value(5.0, Some(WEEK), None) }
    );
    let positional = family(&[("primary-used-percent", "5"), ("secondary-used-percent", "6")]);
    assert_eq!(positional, WindowPair { five_hour: value(5.0, None, None), weekly: value(6.0, None, None) });
    // Two of one kind are two.
    let twins = [
        ("x-codex-primary-used-percent", "8"),
        ("x-codex-primary-window-minutes", "43200"),
        ("x-codex-secondary-used-percent", "6"),
        ("x-codex-secondary-window-minutes", "10080"),
    ];
    let readings = read(&map(&twins));
    let long = |weekly| WindowPair { five_hour: Reading::Absent, weekly };
    assert_eq!(readings.base, long(value(8.0, Some(43_200), None)));
    assert_eq!(readings.second, long(value(6.0, Some(WEEK), None)));
    // Of an additional limit the fuller one binds.
    let other = twins.map(|(name, value)| (name.replace("x-codex", "x-codex-other"), value));
    let other = other.each_ref().map(|(name, value)| (name.as_str(), *value));
    assert_eq!(read(&map(&other)).scoped[0].windows, long(value(8.0, Some(43_200), None)));
    // Nothing used, no length, no reset: no window. And a reset may be told as a wait.
    let none = family(&[("primary-used-percent", "0"), ("primary-window-minutes", "0")]);
    assert_eq!(none, WindowPair::default());
    let wait = family(&[("primary-used-percent", "1"), ("primary-reset-after-seconds", "60")]);
    assert_eq!(wait.five_hour, value(1.0, None, Some(NOW + 60)));
    assert_eq!(family(&[("primary-over-secondary-limit-percent", "9")]), WindowPair::default());
}

#[test]
fn the_usage_answer_is_read() {
    // As the client was given it, with an additional limit (fact sheet, 6).
    let body = json!({
        "plan_type": "pro",
        "rate_limit": {
            "allowed": true,
            "primary_window": {"used_percent": 51, "limit_window_seconds": 18000, "reset_after_seconds": 10799, "reset_at": 1_795_431_548_u64},
            "secondary_window": {"used_percent": 82, "limit_window_seconds": 604_800, "reset_at": 1_795_766_348_u64}
        },
        "additional_rate_limits": [
            {"limit_name": "Spark", "metered_feature": "codex-bengalfox", "rate_limit": {"primary_window": {"used_percent": 7}, "secondary_window": null}},
            {"limit_name": "none", "rate_limit": null}
        ],
        "credits": {"balance": "0"}
    });
    let readings = read_usage(&body);
    let expected = WindowPair {
        five_hour: value(51.0, Some(FIVE_HOURS), Some(1_795_431_548)),
        weekly: value(82.0, Some(WEEK), Some(1_795_766_348)),
    };
    assert_eq!((readings.base, readings.ignored, readings.lists_all_limits), (expected, 0, true));
    assert_eq!(readings.plan_type.as_deref(), Some("pro"));
    assert_eq!((readings.scoped.len(), &readings.scoped[0].scope), (1, &limit("codex_bengalfox")));
    assert_eq!(
        readings.scoped[0].windows,
        WindowPair { five_hour: value(7.0, None, None), weekly: Reading::Unknown }
    );
    // What is unknown stands at the place that no value took.
    let weekly = read_usage(&json!({"rate_limit": {
        "primary_window": {"used_percent": 1, "limit_window_seconds": 604_800}, "secondary_window": null}}));
    assert_eq!(weekly.base, WindowPair { five_hour: Reading::Unknown, weekly: value(1.0, Some(WEEK), None) });
    let nothing = read_usage(&json!({"rate_limit": null, "additional_rate_limits": null}));
    assert_eq!(nothing.base, WindowPair { five_hour: Reading::Unknown, weekly: Reading::Unknown });
    assert!(nothing.lists_all_limits && !nothing.carries_data());
    assert_eq!(read_usage(&json!({})), Readings::default());
    for bad in [&b""[..], b"[]", b"no"] {
        assert_eq!(Codex.read_usage(bad, at(NOW)), None);
    }
}

#[test]
fn a_limit_that_is_reached_is_so_whatever_the_percentages() {
    let windows = |limit: Value| {
        let mut usage = limit;
        usage["primary_window"] = json!({"used_percent": 40, "limit_window_seconds": 18_000});
        usage["secondary_window"] = json!({"used_percent": 60, "limit_window_seconds": 604_800});
        read_usage(&json!({ "rate_limit": usage })).base
    };
    let (short, full) = (value(40.0, Some(FIVE_HOURS), None), value(100.0, Some(WEEK), None));
    for reached in [json!({"limit_reached": true}), json!({"allowed": false})] {
        assert_eq!(windows(reached.clone()), WindowPair { five_hour: short, weekly: full }, "{reached}");
    }
    let open = value(60.0, Some(WEEK), None);
    for not in [json!({}), json!({"allowed": true, "limit_reached": false}), json!({"limit_reached": "true"})]
    {
        assert_eq!(windows(not.clone()), WindowPair { five_hour: short, weekly: open }, "{not}");
    }
}

#[test]
fn a_limit_that_is_no_longer_listed_is_forgotten() {
    let listed = |limits: Value| read_usage(&json!({"additional_rate_limits": limits}));
    let mut windows = Windows::new();
    let full = json!([{"metered_feature": "codex_x", "rate_limit": {"primary_window": {"used_percent": 100, "reset_at": NOW + 500}}}]);
    windows.observe(&listed(full), Source::Poll, at(NOW));
    assert_eq!(windows.scoped().count(), 1);
    windows.observe(&listed(json!("?")), Source::Poll, at(NOW));
    assert_eq!(windows.scoped().count(), 1);
    windows.observe(&listed(json!(null)), Source::Poll, at(NOW));
    assert_eq!(windows.scoped().count(), 0);
}

#[test]
fn hostile_values_are_ignored_and_counted() {
    let used = |text: &str| read(&map(&[("x-codex-primary-used-percent", text)]));
    for bad in ["NaN", "-1", "1e400", "inf", "many"] {
        assert_eq!((used(bad).carries_data(), used(bad).ignored), (false, 1), "{bad}");
    }
    let far = (NOW + 41 * 86_400).to_string();
    for (name, text) in [
        ("reset-at", far.as_str()),
        ("reset-at", "-4"),
        ("window-minutes", "NaN"),
        ("window-minutes", "-5"),
        ("reset-after-seconds", "99999999"),
    ] {
        let name = format!("x-codex-primary-{name}");
        let readings = read(&map(&[("x-codex-primary-used-percent", "5"), (&name, text)]));
        assert_eq!((readings.carries_data(), readings.ignored), (false, 1), "{name} {text}");
    }
    let twice = read(&map(&[("x-codex-primary-used-percent", "5"), ("x-codex-primary-used-percent", "6")]));
    assert_eq!((twice.carries_data(), twice.ignored), (false, 1));
    let body = br#"{"rate_limit":{"primary_window":{"used_percent":1e400},"secondary_window":{"used_percent":3}},
        "additional_rate_limits":[1,{"metered_feature":"a b","rate_limit":{"primary_window":{"used_percent":1}}}]}"#;
    let readings = Codex.read_usage(body, at(NOW)).unwrap();
    assert_eq!((readings.base.weekly, readings.ignored), (value(3.0, None, None), 3));
    let many: Vec<String> = (0..40).map(|n| format!("x-f{n}-primary-used-percent")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
    let readings = read(&map(&many));
    assert_eq!(readings.scoped.len() + readings.ignored as usize, 40);
}

#[test]
fn events_of_all_kinds() {
    let event = json!({"type": "codex.rate_limits", "plan_type": "plus", "plan_weight": 7.5, "limit_name": "codex-other",
        "rate_limits": {"primary": {"used_percent": 12.5, "window_minutes": 300}, "secondary": null}});
    let readings = read_event(&event);
    assert_eq!(readings.scoped[0].scope, limit("codex_other"));
    assert_eq!((readings.plan_weight, readings.plan_type.as_deref()), (Some(7.5), Some("plus")));
    let metadata = json!({"type": "response.metadata", "headers": {
        "x-codex-primary-used-percent": 9, "X-Codex-Secondary-Used-Percent": "8.25", "x-codex-turn-state": "t", "bad name": 1, "n": null, "o": {}}});
    let expected = WindowPair { five_hour: value(9.0, None, None), weekly: value(8.25, None, None) };
    assert_eq!(read_event(&metadata).base, expected);
    for nothing in [
        json!({}),
        json!([]),
        json!({"type": "response.created"}),
        json!({"type": "error"}),
        json!({"type": "codex.rate_limits", "rate_limits": null}),
    ] {
        assert_eq!(read_event(&nothing), Readings::default(), "{nothing}");
    }
    assert_eq!(read_event(&json!({"type": "codex.rate_limits", "rate_limits": 5})).ignored, 1);
}

fn refusal_of(headers: &HeaderMap, body: &str, model: Option<&str>, is_api_key: bool) -> Refusal {
    let error = ErrorBody::parse(body.as_bytes());
    let answer =
        RefusedAnswer { status: StatusCode::TOO_MANY_REQUESTS, headers, error: &error, model, is_api_key };
    Codex.refusal(&answer, at(NOW)).unwrap()
}

fn usage_limit(headers: &[(&str, &str)], resets_at: Option<u64>) -> Refusal {
    let body = json!({"error": {"type": "usage_limit_reached", "resets_at": resets_at}}).to_string();
    refusal_of(&map(headers), &body, Some("gpt-5.5"), false)
}

#[expect(clippy::option_option, reason = "whether it refused, and whether its reset is known")]
fn base(five_hour: Option<Option<u64>>, weekly: Option<Option<u64>>, until: Option<u64>) -> Refusal {
    let window = |reset: Option<u64>| RefusedWindow { resets_at: reset.map(at) };
    Refusal::Base {
        windows: RefusedWindows { five_hour: five_hour.map(window), weekly: weekly.map(window) },
        until: until.map(at),
        out_of_credits: false,
    }
}

#[test]
fn a_recorded_usage_limit() {
    let exchange = recorded(USAGE_429, |exchange| exchange["response"]["status"] == 429);
    let body = exchange["response"]["body"].to_string();
    let reset = 1_795_427_634;
    assert_eq!(
        refusal_of(&headers_of(&exchange), &body, None, false),
        base(Some(Some(reset)), None, Some(reset))
    );
}

#[test]
fn a_limit_is_known_by_its_type_or_code_and_its_reset_by_any_spelling() {
    let event =
        |error: &str| format!("{{\"type\":\"response.failed\",\"response\":{{\"error\":{{{error}}}}}}}");
    let of = |body: &str| refusal_of(&HeaderMap::new(), body, None, false);
    let in_an_hour = base(Some(Some(NOW + 3_600)), None, Some(NOW + 3_600));
    for error in [
        r#""code":"usage_limit_reached","resets_in_seconds":3600"#.to_owned(),
        format!("\"type\":\"usage_limit_reached\",\"code\":\"x\",\"resets_at\":{}", NOW + 3_600),
    ] {
        assert_eq!(of(&event(&error)), in_an_hour, "{error}");
        assert_eq!(of(&format!("{{\"error\":{{{error}}}}}")), in_an_hour, "{error}");
        assert_eq!(of(&format!("{{\"detail\":{{{error}}}}}")), in_an_hour, "{error}");
    }
    let burst = of(&event(r#""code":"rate_limit_exceeded","resets_in_seconds":4"#));
    assert_eq!(burst, Refusal::Burst { retry_after: Some(Duration::from_secs(4)) });
}

#[test]
fn until_when_a_usage_limit_holds() {
    let reset = (NOW + 800).to_string();
    let full = [
        ("x-codex-secondary-used-percent", "100"),
        ("x-codex-secondary-window-minutes", "10080"),
        ("x-codex-secondary-reset-at", reset.as_str()),
        ("retry-after", "30"),
    ];
    // The error's own reset, then the headers, then Retry-After, then nothing: five minutes.
    assert_eq!(usage_limit(&full, Some(NOW + 900)), base(None, Some(Some(NOW + 800)), Some(NOW + 900)));
    assert_eq!(usage_limit(&full, None), base(None, Some(Some(NOW + 800)), Some(NOW + 800)));
    assert_eq!(usage_limit(&full[3..], None), base(None, None, Some(NOW + 30)));
    let nothing = usage_limit(&[], None);
    assert_eq!(nothing, base(None, None, None));
    assert_eq!(nothing.limited_until(&Windows::new(), at(NOW)), Some(at(NOW + 300)));
    // A reset that has come is none.
    assert_eq!(usage_limit(&[], Some(NOW)), base(None, None, None));
    // Without windows: a short one cannot reset later than its length.
    assert_eq!(
        usage_limit(&[], Some(NOW + 18_000)),
        base(Some(Some(NOW + 18_000)), None, Some(NOW + 18_000))
    );
    assert_eq!(
        usage_limit(&[], Some(NOW + 18_001)),
        base(None, Some(Some(NOW + 18_001)), Some(NOW + 18_001))
    );
    // By its reset, where none is full.
    let near = (NOW + 850).to_string();
    let calm = [("x-codex-secondary-used-percent", "40"), ("x-codex-secondary-reset-at", near.as_str())];
    assert_eq!(usage_limit(&calm, Some(NOW + 900)), base(None, Some(Some(NOW + 850)), Some(NOW + 900)));
}

#[test]
fn the_active_limit_is_the_scope() {
    let reset = (NOW + 800).to_string();
    let headers = [
        ("x-codex-active-limit", "codex-bengalfox"),
        ("x-codex-bengalfox-primary-used-percent", "100"),
        ("x-codex-bengalfox-primary-reset-at", reset.as_str()),
        ("x-codex-primary-used-percent", "3"),
    ];
    let refusal = usage_limit(&headers, None);
    assert_eq!(refusal, Refusal::Scoped { scope: limit("codex_bengalfox"), until: Some(at(NOW + 800)) });
    let mut windows = Windows::new();
    windows.observe(&read(&map(&headers)), Source::InBand, at(NOW));
    windows.refuse(&refusal, Some("gpt-5.5"), at(NOW));
    let capped = |model| windows.capped(crate::limits::Caps::DEFAULT, Some(model), at(NOW));
    assert!(capped("gpt-5.5").is_some() && capped("gpt-5.5-mini").is_none());
    assert_eq!(usage_limit(&[("x-codex-active-limit", "codex")], None), base(None, None, None));
}

#[test]
fn other_refusals() {
    let refused = |error: Value, is_api_key| {
        refusal_of(
            &map(&[("retry-after", "2")]),
            &json!({"error": error}).to_string(),
            Some("gpt-5.5"),
            is_api_key,
        )
    };
    let burst = Refusal::Burst { retry_after: Some(Duration::from_secs(2)) };
    // By type; a code alone does not make a usage limit of another type.
    assert_eq!(refused(json!({"type": "rate_limit_exceeded", "code": "usage_limit_reached"}), false), burst);
    assert_eq!(refused(json!({"type": "usage_limit_reached"}), true), burst);
    assert_eq!(refused(json!({"type": "insufficient_quota"}), false), burst);
    let hour = base(None, None, Some(NOW + 3600));
    assert_eq!(refused(json!({"type": "insufficient_quota"}), true), hour);
    let model = Refusal::Scoped { scope: LimitScope::model("gpt-5.5").unwrap(), until: Some(at(NOW + 3600)) };
    assert_eq!(refused(json!({"type": "usage_not_included"}), false), model);
    let without = refusal_of(&HeaderMap::new(), r#"{"error":{"type":"usage_not_included"}}"#, None, false);
    assert_eq!(without, Refusal::Entitlement);
    // `response.failed` has a code only.
    let failed = r#"{"type":"response.failed","response":{"error":{"code":"insufficient_quota"}}}"#;
    assert_eq!(refusal_of(&HeaderMap::new(), failed, None, true), hour);
    let error = ErrorBody::default();
    let headers = HeaderMap::new();
    let fine = RefusedAnswer {
        status: StatusCode::OK,
        headers: &headers,
        error: &error,
        model: None,
        is_api_key: false,
    };
    assert_eq!(Codex.refusal(&fine, at(NOW)), None);
}

#[test]
fn which_headers_are_limits() {
    for name in [
        "x-codex-primary-used-percent",
        "x-codex-bengalfox-secondary-reset-at",
        "x-codex-bengalfox-limit-name",
        "x-codex-primary-over-secondary-limit-percent",
        "x-codex-credits-balance",
        "x-codex-active-limit",
        "x-codex-rate-limit-reached-type",
        "x-codex-promo-message",
        "x-other-primary-window-minutes",
        PLAN_WEIGHT,
    ] {
        assert!(Codex.is_limit_header(name), "{name}");
    }
    for name in [
        "x-codex-turn-state",
        "x-codex-plan-type",
        "x-models-etag",
        "x-reasoning-included",
        "openai-model",
        "x-codex-safety-buffering-a",
        "x-primary-x",
        "x--limit-name-x",
        "x-codex-active-limits",
        "x-",
    ] {
        assert!(!Codex.is_limit_header(name), "{name}");
    }
}

/// Names and values as a hostile provider could send them, often near what is read.
fn hostile_headers() -> impl Strategy<Value = HeaderMap> {
    let id = prop_oneof![Just("codex"), Just("codex-bengalfox"), Just("a_b"), Just("")];
    let kind = prop_oneof![
        Just("primary-used-percent"),
        Just("primary-window-minutes"),
        Just("primary-reset-at"),
        Just("secondary-used-percent"),
        Just("secondary-reset-after-seconds"),
        Just("limit-name")
    ];
    let name = prop_oneof![
        4 => (id, kind).prop_map(|(id, kind)| format!("x-{id}-{kind}")),
        1 => Just("x-codex-active-limit".to_owned()),
        1 => Just("x-codex-plan-type".to_owned()),
        1 => Just("retry-after".to_owned()),
        1 => "x-[a-z-]{0,20}-primary-used-percent",
    ];
    let value = prop_oneof![
        any::<f64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        (NOW - 1000..NOW + 10_000_000).prop_map(|number| number.to_string().into_bytes()),
        Just(b"codex-bengalfox".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec((name, value), 0..20).prop_map(|pairs| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
            {
                map.append(name, value);
            }
        }
        map
    })
}

proptest! {
    #[test]
    fn any_headers(headers in hostile_headers(), kind in "(usage_limit_reached|usage_not_included|insufficient_quota|x)", key: bool, resets_at: i64) {
        let mut windows = Windows::new();
        windows.observe(&read(&headers), Source::InBand, at(NOW));
        for which in BaseWindow::BOTH {
            if let Some(window) = windows.base(which, at(NOW)) {
                prop_assert!(window.utilization.percent().is_finite());
                prop_assert!(window.resets_at.is_none_or(|reset| reset <= at(NOW + 40 * 86_400)));
            }
        }
        let body = json!({"error": {"type": kind, "resets_at": resets_at}}).to_string();
        let refusal = refusal_of(&headers, &body, Some("gpt-5.5"), key);
        windows.refuse(&refusal, Some("gpt-5.5"), at(NOW));
        if let Some(until) = refusal.limited_until(&windows, at(NOW)) {
            prop_assert!(until > at(NOW) && until <= at(NOW + 40 * 86_400));
        }
    }

    #[test]
    fn any_body_and_event(bytes in prop::collection::vec(any::<u8>(), 0..200), number: f64, reset: i64) {
        let _ = (Codex.read_usage(&bytes, at(NOW)), Codex.read_event(&bytes, at(NOW)), event_headers(&bytes));
        let window = format!(r#"{{"used_percent":{number:?},"reset_at":{reset}}}"#);
        let usage = format!(r#"{{"rate_limit":{{"primary_window":{window},"secondary_window":{{"used_percent":5}}}}}}"#);
        if let Some(readings) = Codex.read_usage(usage.as_bytes(), at(NOW)) {
            prop_assert_eq!(readings.base.weekly, value(5.0, None, None));
        }
        let event = format!(r#"{{"type":"codex.rate_limits","rate_limits":{{"primary":{window}}}}}"#);
        let readings = Codex.read_event(event.as_bytes(), at(NOW));
        prop_assert!(readings.scoped.is_empty());
    }
}

#[test]
fn limit_keys_are_taken_out_of_events_wherever_their_headers_stand() {
    use crate::event_cut::Edited;
    let strip = |event: &str| rewrite::without_limits(event.as_bytes());
    let changed =
        |event: &str, left: &str| assert_eq!(strip(event), Edited::Changed(left.to_owned()), "{event}");
    changed(
        r#"{"type":"error", "headers":{"x-codex-primary-used-percent":"42","x-request-id":"r","X-Codex-Credits-Balance":7}}"#,
        r#"{"type":"error","headers":{"x-request-id":"r"}}"#,
    );
    changed(
        r#"{"type":"response.metadata","headers":{"x-codex-promo-message":"buy"},"n":1.50}"#,
        r#"{"type":"response.metadata","headers":{},"n":1.50}"#,
    );
    // Within the error, and spelled with escapes.
    changed(
        r#"{"error":{"code":"x","headers":{"x-codex-sec\u006fndary-reset-at":1}},"response":{"headers":{"x-a-limit-name":"b"}}}"#,
        r#"{"error":{"code":"x","headers":{}},"response":{"headers":{}}}"#,
    );
    for unchanged in [
        r#"{"type":"error","headers":{"x-request-id":"r","x-codex-turn-state":"s"}}"#,
        r#"{"type":"error","error":{"message":"over x-codex-primary-used-percent"}}"#,
        r#"{"type":"error","headers":["x-codex-primary-used-percent"]}"#,
        "x-codex-primary-used-percent in plain text",
        "",
    ] {
        assert_eq!(strip(unchanged), Edited::Unchanged, "{unchanged}");
    }
    // What may hold some, and cannot be read.
    for broken in [
        r#"{"type":"error","headers":{"x-codex-primary-used-percent":"42""#,
        r#"{"type":"error","headers":{"x-codex-primary-used-percent":"42"},"headers":{}}"#,
        r#"{"headers":{"x-codex-primary-used-percent":"42","x-codex-primary-used-percent":"43"}}"#,
    ] {
        assert_eq!(strip(broken), Edited::Unreadable, "{broken}");
    }
}
