use super::*;
use crate::limits::error_body::ErrorBody;
use crate::limits::exhausted::Obstacle;
use crate::limits::readings::{Reading, ReportedWindow};
use crate::limits::window::{BaseWindow, WindowPair};
use crate::limits::{
    AggregateWindow, Claim, LimitScope, Limited, RefusedWindow, RefusedWindows, Source, Utilization, Windows,
};
use proptest::prelude::*;
use serde_json::Value;
use std::time::Duration;

mod shown;

fn at(unix: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix)
}

/// When the exchanges were recorded, or shortly before.
const NOW: u64 = 1_795_420_000;

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

/// Headers without their common start.
fn unified(pairs: &[(&str, &str)]) -> HeaderMap {
    let long: Vec<(String, &str)> =
        pairs.iter().map(|(name, value)| (format!("anthropic-ratelimit-unified-{name}"), *value)).collect();
    map(&long.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())
}

fn value(percent: f64, resets_at: Option<u64>) -> Reading {
    Reading::Value(ReportedWindow {
        utilization: Utilization::from_percent(percent).unwrap(),
        resets_at: resets_at.map(at),
        length: None,
    })
}

fn read(headers: &HeaderMap) -> Readings {
    Claude.read_headers(StatusCode::OK, headers, at(NOW))
}

/// The first recorded answer of a scenario with that status: headers and body.
fn recorded(scenario: &str, status: u64) -> (HeaderMap, String) {
    let sets = [
        include_str!("../../../../../testkit/fixtures/claude/gateway_failures.jsonl"),
        include_str!("../../../../../testkit/fixtures/claude/subscriber_failures.jsonl"),
    ];
    let exchange = sets
        .iter()
        .flat_map(|set| set.lines())
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|exchange| {
            exchange["scenario"] == scenario
                && exchange["response"]["status"] == status
                && exchange["request"]["target"].as_str().unwrap().starts_with("/v1/messages")
        })
        .unwrap_or_else(|| panic!("{scenario} has no answer {status}"));
    let mut headers = HeaderMap::new();
    for pair in exchange["response"]["headers"].as_array().unwrap() {
        let name = HeaderName::from_bytes(pair[0].as_str().unwrap().as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(pair[1].as_str().unwrap()).unwrap());
    }
    (headers, exchange["response"]["body"].as_str().unwrap().to_owned())
}

fn refusal_of(headers: &HeaderMap, body: &str, model: Option<&str>) -> Refusal {
    let error = ErrorBody::parse(body.as_bytes());
    let answer = RefusedAnswer {
        status: StatusCode::TOO_MANY_REQUESTS,
        headers,
        error: &error,
        model,
        is_api_key: false,
    };
    Claude.refusal(&answer, at(NOW)).unwrap()
}

fn refusal_from(pairs: &[(&str, &str)]) -> Refusal {
    refusal_of(&unified(pairs), "{}", None)
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

fn scope(bucket: &str) -> LimitScope {
    LimitScope::family(bucket).unwrap()
}

#[test]
fn recorded_headers_are_read() {
    let (headers, _) = recorded("o_warn_5h", 200);
    let readings = read(&headers);
    let expected =
        WindowPair { five_hour: value(93.0, Some(1_795_431_256)), weekly: value(34.0, Some(1_795_766_056)) };
    assert_eq!(readings, Readings { base: expected, ..Readings::default() });
    let (headers, _) = recorded("o_warn_7d", 200);
    assert_eq!(read(&headers).base.weekly, value(80.0, Some(1_795_766_058)));
    assert_eq!(Claude.read_headers(StatusCode::SWITCHING_PROTOCOLS, &headers, at(NOW)), Readings::default());
    assert!(!read(&map(&[("retry-after", "3")])).carries_data());
}

#[test]
fn buckets_are_scoped_windows() {
    let readings = read(&unified(&[
        ("7d_opus-utilization", "0.5"),
        ("7d_opus-reset", "1795766050"),
        ("7d_sonnet-utilization", "0.071"),
        ("7d_oi-utilization", "1.02"),
        ("overage-utilization", "0.4"),
        ("grace-5h-utilization", "0.4"),
        ("5h-surpassed-threshold", "0.9"),
        ("fallback-percentage", "0.5"),
    ]));
    let found: Vec<_> =
        readings.scoped.iter().map(|reading| (reading.scope.to_string(), reading.windows.weekly)).collect();
    let expected = [
        ("7d_opus".to_owned(), value(50.0, Some(1_795_766_050))),
        ("7d_sonnet".to_owned(), value(8.0, None)),
        ("7d_oi".to_owned(), value(102.0, None)),
    ];
    assert_eq!((found.as_slice(), readings.ignored), (&expected[..], 0));
    assert_eq!(readings.base, WindowPair::default());
}

#[test]
fn hostile_values_are_ignored_and_counted() {
    let far = (NOW + 41 * 86_400).to_string();
    for (pairs, ignored) in [
        (vec![("5h-utilization", "NaN")], 1),
        (vec![("5h-utilization", "inf")], 1),
        (vec![("5h-utilization", "1e400")], 1),
        (vec![("5h-utilization", "-0.1")], 1),
        (vec![("5h-utilization", "lots")], 1),
        (vec![("5h-utilization", "0.1"), ("5h-utilization", "0.2")], 1),
        (vec![("5h-utilization", "0.1"), ("5h-reset", far.as_str())], 1),
        (vec![("5h-utilization", "0.1"), ("5h-reset", "-1")], 1),
        (vec![("5h-utilization", "0.1"), ("5h-reset", "soon")], 1),
        (vec![("5h-utilization", "x"), ("7d-utilization", "y"), ("7d_opus-utilization", "z")], 3),
        (vec![("5h-utilization", "")], 0),
        (vec![("5h-reset", "1795431256")], 0),
    ] {
        let readings = read(&unified(&pairs));
        assert_eq!((readings.carries_data(), readings.ignored), (false, ignored), "{pairs:?}");
    }
    // The same twice is the same once, and one bad window spares the other.
    let same = unified(&[("5h-utilization", "0.1"), ("5h-utilization", "0.1"), ("7d-utilization", "no")]);
    let readings = read(&same);
    assert_eq!(
        (readings.base.five_hour, readings.base.weekly, readings.ignored),
        (value(10.0, None), Reading::Absent, 1)
    );
    let many: Vec<(String, &str)> = (0..30).map(|n| (format!("7d_b{n}-utilization"), "0.1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let readings = read(&unified(&many));
    assert_eq!(readings.scoped.len() + readings.ignored as usize, 30);
    assert_eq!(readings.scoped.len(), crate::limits::readings::MAX_SCOPED_READINGS);
}

#[test]
fn weights_of_other_instances() {
    let weight = |text: &str| {
        let readings = read(&map(&[(PLAN_WEIGHT, text)]));
        (readings.plan_weight, readings.ignored)
    };
    assert_eq!(weight("4.95"), (Some(4.95), 0));
    assert_eq!(weight("1e9"), (Some(10_000.0), 0));
    assert_eq!(weight("0"), (None, 0));
    for bad in ["-1", "NaN", "x"] {
        assert_eq!(weight(bad), (None, 1), "{bad}");
    }
}

#[test]
fn the_usage_answer_is_read() {
    let body = br#"{"five_hour":{"utilization":41.5,"resets_at":"2026-11-23T15:00:00.000000+00:00"},
        "seven_day":{"utilization":12,"resets_at":null},"seven_day_opus":null,
        "seven_day_sonnet":{"utilization":3.0,"resets_at":"2026-11-29T00:00:00+00:00"},
        "seven_day_overage_included":{"utilization":9.0},"extra_usage":{"is_enabled":false,"utilization":55},"x":[1]}"#;
    let readings = Claude.read_usage(body, at(NOW)).unwrap();
    let fifteen = 1_795_446_000;
    assert_eq!(
        readings.base,
        WindowPair { five_hour: value(41.5, Some(fifteen)), weekly: value(12.0, None) }
    );
    let found: Vec<_> = readings.scoped.iter().map(|r| (r.scope.to_string(), r.windows.weekly)).collect();
    assert_eq!(found[0], ("7d_opus".to_owned(), Reading::Unknown));
    assert_eq!(found[1].0, "7d_sonnet");
    assert_eq!(found[2], ("7d_oi".to_owned(), value(9.0, None)));
    assert_eq!(readings.ignored, 0);
    // Accounts without windows: unknown, neither 0 % nor an error.
    let seats = Claude.read_usage(br#"{"five_hour":null,"seven_day":null,"limits":[]}"#, at(NOW)).unwrap();
    assert_eq!(seats.base, WindowPair { five_hour: Reading::Unknown, weekly: Reading::Unknown });
    assert!(!seats.carries_data() && seats.ignored == 0);
    for bad in [&b""[..], b"[]", b"<html>", b"null", b"{"] {
        assert_eq!(Claude.read_usage(bad, at(NOW)), None);
    }
}

#[test]
fn the_newer_list_fills_what_the_older_form_leaves_open() {
    let body = br#"{"five_hour":null,"seven_day":{"utilization":10},"limits":[
        {"kind":"session","percent":20,"resets_at":"2026-11-23T15:00:00Z","scope":null},
        {"kind":"weekly_all","percent":99},
        {"kind":"weekly_scoped","percent":30,"scope":{"model":{"id":"claude-fable-1","display_name":"Fable"}}},
        {"kind":"weekly_scoped","percent":30,"scope":null},{"kind":"new"},7]}"#;
    let readings = Claude.read_usage(body, at(NOW)).unwrap();
    assert_eq!(
        readings.base,
        WindowPair { five_hour: value(20.0, Some(1_795_446_000)), weekly: value(10.0, None) }
    );
    assert_eq!((readings.scoped.len(), readings.scoped[0].scope.to_string()), (1, "7d_oi".to_owned()));
    assert_eq!(readings.ignored, 1);
}

#[test]
fn one_hostile_field_costs_itself() {
    let body = br#"{"five_hour":{"utilization":1e400},"seven_day":{"utilization":7},"seven_day_opus":"x",
        "seven_day_sonnet":{"utilization":-1},"seven_day_x":{"utilization":5,"resets_at":"9999-01-01T00:00:00Z"}}"#;
    let readings = Claude.read_usage(body, at(NOW)).unwrap();
    assert_eq!((readings.base.weekly, readings.ignored), (value(7.0, None), 4));
    assert_eq!(readings.base.five_hour, Reading::Absent);
}

#[test]
fn recorded_refusals() {
    let refused = |scenario: &str| {
        let (headers, body) = recorded(scenario, 429);
        refusal_of(&headers, &body, Some("claude-opus-4-8"))
    };
    assert_eq!(refused("f429_extra_usage"), Refusal::Entitlement);
    assert_eq!(refused("o_429_extra"), Refusal::Entitlement);
    assert_eq!(refused("f429_plain"), Refusal::Burst { retry_after: None });
    assert_eq!(refused("o_429_plain_once"), Refusal::Burst { retry_after: None });
    let wait = |seconds| Refusal::Burst { retry_after: Some(Duration::from_secs(seconds)) };
    assert_eq!(refused("f429_retry3_once"), wait(3));
    assert_eq!(refused("f429_retry_after_long"), wait(7200));
    assert_eq!(refused("f429_unified_rejected"), base(Some(Some(1_795_431_036)), None, Some(1_795_431_036)));
    assert_eq!(refused("o_429_7d_rejected"), base(None, Some(Some(1_795_766_048)), Some(1_795_766_048)));
    let opus = Refusal::Scoped { scope: scope("opus"), until: Some(at(1_795_766_050)) };
    assert_eq!(refused("o_429_7d_opus"), opus);
    // Rejected by its first line, but the window it claims has plenty left: no quota.
    assert_eq!(refused("g429_ra_20_rej"), wait(5));
}

#[test]
fn which_window_refused() {
    let (five, seven) = (NOW + 100, NOW + 900);
    let (five_text, seven_text) = (five.to_string(), seven.to_string());
    // By utilization; the latest reset of those that refused counts.
    let both = refusal_from(&[
        ("5h-utilization", "0.99"),
        ("5h-status", "allowed"),
        ("5h-reset", &five_text),
        ("7d-utilization", "1.05"),
        ("7d-reset", &seven_text),
    ]);
    assert_eq!(both, base(Some(Some(five)), Some(Some(seven)), Some(seven)));
    assert_eq!(refusal_from(&[("5h-utilization", "0.989")]), Refusal::Burst { retry_after: None });
    // Named by the claim alone, in either spelling, with its own or the answer's reset.
    for claim in ["five_hour", "5h"] {
        let named = refusal_from(&[("representative-claim", claim), ("5h-reset", &five_text)]);
        assert_eq!(named, base(Some(Some(five)), None, Some(five)));
    }
    for claim in ["seven_day", "7d"] {
        let named = refusal_from(&[("representative-claim", claim), ("reset", &seven_text)]);
        assert_eq!(named, base(None, Some(Some(seven)), Some(seven)));
    }
    // Without any reset, and with one that has come or is too far.
    for reset in ["", "5", "99999999999"] {
        let named = refusal_from(&[("5h-status", "rejected"), ("5h-reset", reset)]);
        assert_eq!(named, base(Some(None), None, None), "{reset:?}");
    }
    // A base window goes before a bucket.
    let mixed =
        refusal_from(&[("7d_opus-status", "rejected"), ("7d-status", "rejected"), ("7d-reset", &seven_text)]);
    assert_eq!(mixed, base(None, Some(Some(seven)), Some(seven)));
}

#[test]
fn which_bucket_refused() {
    let reset = (NOW + 900).to_string();
    for (claim, bucket) in [
        ("seven_day_opus", "opus"),
        ("seven_day_sonnet", "sonnet"),
        ("seven_day_overage_included", "oi"),
        ("7d_oi", "oi"),
        ("seven_day_next", "next"),
    ] {
        let named = refusal_from(&[("representative-claim", claim), ("reset", &reset)]);
        assert_eq!(named, Refusal::Scoped { scope: scope(bucket), until: Some(at(NOW + 900)) });
    }
    let headers = unified(&[
        ("7d_opus-status", "rejected"),
        ("7d_opus-reset", &reset),
        ("7d_sonnet-utilization", "1.0"),
        ("5h-utilization", "0.2"),
    ]);
    let asked = refusal_of(&headers, "", Some("claude-sonnet-5"));
    assert_eq!(asked, Refusal::Scoped { scope: scope("sonnet"), until: None });
    let asked = refusal_of(&headers, "", Some("claude-opus-5"));
    assert_eq!(asked, Refusal::Scoped { scope: scope("opus"), until: Some(at(NOW + 900)) });
    let calm = refusal_from(&[("representative-claim", "seven_day_opus"), ("7d_opus-status", "allowed")]);
    assert_eq!(calm, Refusal::Burst { retry_after: None });
    assert_eq!(refusal_from(&[("representative-claim", "overage")]), Refusal::Burst { retry_after: None });
}

#[test]
fn credits_used_up() {
    let spent = |pairs: &[(&str, &str)]| {
        let all: Vec<_> =
            pairs.iter().copied().chain([("overage-disabled-reason", "out_of_credits")]).collect();
        refusal_from(&all)
    };
    let quota = spent(&[("status", "rejected"), ("5h-status", "rejected")]);
    assert!(
        matches!(quota, Refusal::Base { until: None, out_of_credits: true, windows } if windows.five_hour.is_some())
    );
    let account = spent(&[("status", "rejected")]);
    assert!(
        matches!(account, Refusal::Base { until: None, out_of_credits: true, windows } if windows == RefusedWindows::default())
    );
    assert_eq!(account.limited_until(&Windows::new(), at(NOW)), Some(at(NOW + 3600)));
    assert_eq!(
        spent(&[("status", "rejected"), ("5h-utilization", "0.1")]),
        Refusal::Burst { retry_after: None }
    );
}

#[test]
fn a_reset_is_found_wherever_it_stands() {
    let rejected = |more: &[(&str, &str)]| {
        let mut headers = unified(&[("status", "rejected"), ("5h-status", "rejected")]);
        for (name, value) in more {
            headers.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    };
    let until = |headers: &HeaderMap, error: &str| {
        let body = format!("{{\"error\":{{\"type\":\"rate_limit_error\",{error}\"message\":\"m\"}}}}");
        match refusal_of(headers, &body, None) {
            Refusal::Base { until, .. } => until,
            other => panic!("{other:?}"),
        }
    };
    let bare = rejected(&[]);
    assert_eq!(until(&bare, ""), None);
    assert_eq!(until(&bare, &format!("\"resets_at\":{},", NOW + 60)), Some(at(NOW + 60)));
    assert_eq!(until(&bare, "\"resets_in_seconds\":90,"), Some(at(NOW + 90)));
    assert_eq!(until(&rejected(&[("retry-after", "120")]), ""), Some(at(NOW + 120)));
    // The window's own comes first.
    let reset = (NOW + 500).to_string();
    let own = rejected(&[("anthropic-ratelimit-unified-5h-reset", &reset), ("retry-after", "120")]);
    assert_eq!(until(&own, "\"resets_in_seconds\":90,"), Some(at(NOW + 500)));
    // A burst is told how long in the same ways.
    let body = r#"{"error":{"type":"rate_limit_error","message":"m","resets_in_seconds":9}}"#;
    let nine = Some(Duration::from_secs(9));
    assert_eq!(refusal_of(&HeaderMap::new(), body, None), Refusal::Burst { retry_after: nine });
}

#[test]
fn texts_count_at_their_place_only() {
    let refused = |kind: &str, message: &str| {
        let body = serde_json::json!({"error": {"type": kind, "message": message}}).to_string();
        refusal_of(&HeaderMap::new(), &body, None)
    };
    for message in [
        "Usage credits are required for this model.",
        "Usage credits are required for long context requests.",
        "Extra usage is required for long context requests.",
        "You're out of extra usage. Add more",
    ] {
        assert_eq!(refused("rate_limit_error", message), Refusal::Entitlement);
        assert_eq!(refused("billing_error", message), Refusal::Entitlement);
    }
    let details =
        r#"{"error":{"type":"rate_limit_error","message":"x","details":{"error_code":"credits_required"}}}"#;
    // Whatever the headers say of windows.
    for headers in [HeaderMap::new(), unified(&[("5h-status", "rejected")])] {
        assert_eq!(refusal_of(&headers, details, None), Refusal::Entitlement);
    }
    let burst = Refusal::Burst { retry_after: None };
    assert_eq!(refused("rate_limit_error", "credits_required"), burst);
    assert_eq!(refused("rate_limit_error", "No: Extra usage is required for long context"), burst);
    // API keys have no windows; other statuses are no refusals.
    let headers = unified(&[("5h-status", "rejected")]);
    let error = ErrorBody::default();
    let key = RefusedAnswer {
        status: StatusCode::TOO_MANY_REQUESTS,
        headers: &headers,
        error: &error,
        model: None,
        is_api_key: true,
    };
    assert_eq!(Claude.refusal(&key, at(NOW)), Some(burst));
    assert_eq!(Claude.refusal(&RefusedAnswer { status: StatusCode::OK, ..key }, at(NOW)), None);
}

#[test]
fn a_refusal_ends_by_itself() {
    let (headers, body) = recorded("f429_unified_rejected", 429);
    let mut windows = Windows::new();
    windows.observe(&read(&headers), Source::InBand, at(NOW));
    let refusal = refusal_of(&headers, &body, None);
    windows.refuse(&refusal, None, at(NOW));
    let until = refusal.limited_until(&windows, at(NOW)).unwrap();
    assert_eq!(until, at(1_795_431_036));
    assert!(windows.capped(crate::limits::Caps::DEFAULT, None, until - Duration::from_secs(1)).is_some());
    assert!(windows.capped(crate::limits::Caps::DEFAULT, None, until).is_none());
}

/// Names and values as a hostile provider could send them, often near what is read.
fn hostile_headers() -> impl Strategy<Value = HeaderMap> {
    let window =
        prop_oneof![Just("5h"), Just("7d"), Just("7d_opus"), Just("7d_oi"), Just("7d_"), Just("overage")];
    let kind = prop_oneof![Just("utilization"), Just("reset"), Just("status")];
    let name = prop_oneof![
        (window, kind).prop_map(|(window, kind)| format!("anthropic-ratelimit-unified-{window}-{kind}")),
        Just("anthropic-ratelimit-unified-status".to_owned()),
        Just("anthropic-ratelimit-unified-reset".to_owned()),
        Just("anthropic-ratelimit-unified-representative-claim".to_owned()),
        Just("retry-after".to_owned()),
        Just(PLAN_WEIGHT.to_owned()),
        "anthropic-ratelimit-unified-[a-z0-9_-]{0,20}",
    ];
    let value = prop_oneof![
        any::<f64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        (NOW - 1000..NOW + 10_000_000).prop_map(|number| number.to_string().into_bytes()),
        Just(b"rejected".to_vec()),
        Just(b"seven_day_opus".to_vec()),
        Just(b"1e400".to_vec()),
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
    fn any_headers(headers in hostile_headers(), body in prop::collection::vec(any::<u8>(), 0..100)) {
        let readings = read(&headers);
        let mut windows = Windows::new();
        windows.observe(&readings, Source::InBand, at(NOW));
        for which in BaseWindow::BOTH {
            if let Some(window) = windows.base(which, at(NOW)) {
                prop_assert!(window.utilization.percent().is_finite());
                prop_assert!(window.resets_at.is_none_or(|reset| reset <= at(NOW + 40 * 86_400)));
            }
        }
        let refusal = refusal_of(&headers, &String::from_utf8_lossy(&body), Some("claude-opus-5"));
        windows.refuse(&refusal, Some("claude-opus-5"), at(NOW));
        if let Some(until) = refusal.limited_until(&windows, at(NOW)) {
            prop_assert!(until > at(NOW) && until <= at(NOW + 40 * 86_400));
        }
        if let Refusal::Base { until: Some(until), .. } | Refusal::Scoped { until: Some(until), .. } = &refusal {
            prop_assert!(*until > at(NOW));
        }
    }

    #[test]
    fn any_usage_body(body in prop::collection::vec(any::<u8>(), 0..200), number: f64, reset in "\\PC{0,30}") {
        let _ = Claude.read_usage(&body, at(NOW));
        let near = format!(
            r#"{{"five_hour":{{"utilization":{number:?},"resets_at":{}}},"seven_day":{{"utilization":5}}}}"#,
            serde_json::to_string(&reset).unwrap()
        );
        if let Some(readings) = Claude.read_usage(near.as_bytes(), at(NOW)) {
            prop_assert_eq!(readings.base.weekly, value(5.0, None));
        }
    }
}
