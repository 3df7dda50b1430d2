//! What a client sees.

use super::*;
use crate::limits::exhausted::Obstacle;
use crate::limits::{AggregateWindow, Claim, Limited};

fn window(percent: f64, resets_at: Option<u64>) -> AggregateWindow {
    AggregateWindow {
        utilization: Utilization::from_percent(percent).unwrap(),
        resets_at: resets_at.map(at),
        length: None,
        is_known: true,
        is_absent: false,
    }
}

fn aggregate(five_hour: AggregateWindow, weekly: AggregateWindow) -> Aggregate {
    Aggregate {
        windows: WindowPair { five_hour, weekly },
        plan_weight: 10.0,
        is_usable: true,
        has_only_api_keys: false,
        frees: None,
        claim: BaseWindow::FiveHour,
    }
}

fn view(aggregate: &Aggregate) -> View<'_> {
    View { aggregate, now: at(NOW), is_peer: false, is_429: false, no_candidate: None }
}

fn lines(view: &View<'_>) -> Vec<String> {
    let headers = Codex.shown_headers(view).into_iter();
    headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn headers_of_an_answer() {
    let hour = AggregateWindow { length: Some(Duration::from_secs(3600)), ..window(99.999, Some(NOW + 900)) };
    let pool = aggregate(hour, window(41.0, None));
    assert_eq!(
        lines(&view(&pool)),
        [
            "x-codex-primary-used-percent: 99.99",
            "x-codex-primary-window-minutes: 60",
            "x-codex-primary-reset-at: 1795420900",
            "x-codex-secondary-used-percent: 41.00",
            "x-codex-secondary-window-minutes: 10080",
            "x-ocm-plan-weight: 10",
        ]
    );
    let late = View { now: at(NOW + 900), ..view(&pool) };
    assert!(lines(&late).iter().all(|line| !line.contains("reset")));
    let peer = View { is_peer: true, is_429: true, ..late };
    assert!(lines(&peer).contains(&format!("x-codex-primary-reset-at: {}", NOW + 960)));
    let keys = Aggregate { has_only_api_keys: true, ..pool };
    assert!(lines(&view(&keys)).is_empty());
}

#[test]
fn the_usage_answer_is_in_the_providers_shape() {
    let pool = aggregate(window(41.4, Some(NOW + 900)), window(99.9, None));
    let expected = json!({
        "plan_type": "unknown",
        "rate_limit": {
            "allowed": true,
            "limit_reached": false,
            "primary_window": {"used_percent": 41, "limit_window_seconds": 18_000, "reset_after_seconds": 900, "reset_at": NOW + 900},
            "secondary_window": {"used_percent": 99, "limit_window_seconds": 604_800, "reset_after_seconds": 604_800, "reset_at": NOW + 604_800},
        },
        "credits": null,
        "additional_rate_limits": null,
    });
    assert_eq!(json_of(&Codex.usage_body(&pool, at(NOW))), expected);
    let spent = Aggregate {
        is_usable: false,
        ..aggregate(window(100.0, None), AggregateWindow { is_known: false, ..window(0.0, None) })
    };
    let body = json_of(&Codex.usage_body(&spent, at(NOW)));
    assert_eq!(body["rate_limit"]["limit_reached"], true);
    assert_eq!(
        (&body["rate_limit"]["primary_window"]["used_percent"], &body["rate_limit"]["secondary_window"]),
        (&json!(100), &Value::Null)
    );
}

#[test]
fn a_window_that_is_not_there_is_not_shown() {
    let absent = AggregateWindow { is_known: false, is_absent: true, ..window(0.0, None) };
    let pool = aggregate(absent, window(12.0, Some(NOW + 900)));
    let headers = Codex.shown_headers(&view(&pool));
    assert!(headers.iter().all(|(name, _)| !name.as_str().contains("primary")), "{headers:?}");
    let event = json_of(Codex.shown_event(&view(&pool)).unwrap().as_bytes());
    assert_eq!(event["rate_limits"]["primary"], Value::Null);
    assert_eq!(event["rate_limits"]["secondary"]["used_percent"], 12);
    assert_eq!(json_of(&Codex.usage_body(&pool, at(NOW)))["rate_limit"]["primary_window"], Value::Null);
}

#[test]
fn the_event_of_a_socket() {
    let pool = aggregate(window(41.25, Some(NOW + 900)), window(12.0, None));
    let event = Codex.shown_event(&view(&pool)).unwrap();
    let value = json_of(event.as_bytes());
    let primary = json!({"used_percent": 41.25, "window_minutes": 300, "reset_after_seconds": 900, "reset_at": NOW + 900});
    assert_eq!(value["rate_limits"]["primary"], primary);
    assert_eq!(value["rate_limits"]["secondary"], json!({"used_percent": 12, "window_minutes": 10_080}));
    assert_eq!((&value["type"], value.get("plan_weight")), (&json!("codex.rate_limits"), None));
    let peer = Codex.shown_event(&View { is_peer: true, ..view(&pool) }).unwrap();
    assert_eq!(json_of(peer.as_bytes())["plan_weight"], 10);
    let readings = Codex.read_event(peer.as_bytes(), at(NOW));
    assert_eq!(readings.base.five_hour, super::value(41.25, Some(FIVE_HOURS), Some(NOW + 900)));
    assert_eq!((readings.plan_weight, readings.ignored), (Some(10.0), 0));
}

#[test]
fn our_429_is_one_clean_message() {
    let limited = Limited { claim: Some(Claim::Base(BaseWindow::FiveHour)), until: Some(at(NOW + 900)) };
    let answer = NoCandidate::new(Some("bob"), None, &[("a", Obstacle::Limited(limited.clone()))], at(NOW));
    let own = Codex.no_candidate(&answer, "", at(NOW));
    let expected = json!({"error": {"type": "usage_limit_reached", "message": answer.message, "plan_type": "unknown", "resets_at": NOW + 900}});
    assert_eq!((own.status.as_u16(), json_of(&own.body)), (429, expected));
    // Between two seconds it is the same moment, and not the next one.
    let later = at(NOW) + Duration::from_millis(400);
    let answer = NoCandidate::new(Some("bob"), None, &[("a", Obstacle::Limited(limited))], later);
    let own = Codex.no_candidate(&answer, "", later);
    assert_eq!(json_of(&own.body)["error"]["resets_at"], NOW + 900);
    let gone = Obstacle::Unavailable { reason: "logged out".to_owned() };
    let answer = NoCandidate::new(Some("bob"), None, &[("a", gone)], at(NOW));
    let own = Codex.no_candidate(&answer, "", at(NOW));
    assert_eq!((own.status.as_u16(), &json_of(&own.body)["error"]["code"]), (503, &json!("no_credential")));
    // Another instance that reads our answer knows what refused.
    let spent =
        Aggregate { is_usable: false, ..aggregate(window(100.0, Some(NOW + 900)), window(5.0, None)) };
    let limited = Limited { claim: Some(Claim::Base(BaseWindow::FiveHour)), until: Some(at(NOW + 900)) };
    let answer = NoCandidate::new(None, None, &[("a", Obstacle::Limited(limited))], at(NOW));
    let mut headers = HeaderMap::new();
    let view = View { is_429: true, no_candidate: Some(&answer), ..view(&spent) };
    headers.extend(Codex.shown_headers(&view));
    let body = Codex.no_candidate(&answer, "", at(NOW)).body;
    let refusal = refusal_of(&headers, std::str::from_utf8(&body).unwrap(), None, false);
    assert_eq!(refusal, base(Some(Some(NOW + 900)), None, Some(NOW + 900)));
}

#[test]
fn limit_keys_within_events_are_replaced() {
    let pool = aggregate(window(41.0, Some(NOW + 900)), window(12.0, None));
    let event = concat!(
        r#"{"type":"error","status":429,"error":{"type":"usage_limit_reached","n":1e400},"#,
        r#""headers":{"x-codex-turn-state":"t","X-Codex-Primary-Used-Percent":"100","x-other-limit-name":"n","retry-after":3}}"#
    );
    let replaced = replace_event_headers(event.as_bytes(), &view(&pool)).unwrap();
    let expected = concat!(
        r#"{"type":"error","status":429,"error":{"type":"usage_limit_reached","n":1e400},"#,
        r#""headers":{"x-codex-turn-state":"t","retry-after":3,"x-codex-primary-used-percent":"41.00","#,
        r#""x-codex-primary-window-minutes":"300","x-codex-primary-reset-at":"1795420900","#,
        r#""x-codex-secondary-used-percent":"12.00","x-codex-secondary-window-minutes":"10080","x-ocm-plan-weight":"10"}}"#
    );
    assert_eq!(replaced, expected);
    for untouched in [
        r#"{"type":"response.metadata","headers":{"x-codex-turn-state":"t"}}"#,
        r#"{"type":"error"}"#,
        "[]",
        r#"{"headers":{"x-codex-active-limit":"a","x-codex-active-limit":"b"}}"#,
    ] {
        assert_eq!(replace_event_headers(untouched.as_bytes(), &view(&pool)), None, "{untouched}");
    }
}

proptest! {
    /// What we show, we read.
    #[test]
    fn headers_event_and_body_are_read_back(five in 0.0..=100.0_f64, seven in 0.0..=100.0_f64, reset in 1_u64..3_000_000) {
        let pool = aggregate(window(five, Some(NOW + reset)), window(seven, None));
        let mut headers = HeaderMap::new();
        headers.extend(Codex.shown_headers(&view(&pool)));
        let event = Codex.shown_event(&view(&pool)).unwrap();
        let body = Codex.usage_body(&pool, at(NOW));
        for (readings, precision) in [
            (read(&headers), 0.01),
            (Codex.read_event(event.as_bytes(), at(NOW)), 0.01),
            (Codex.read_usage(&body, at(NOW)).unwrap(), 1.0),
        ] {
            prop_assert_eq!(readings.ignored, 0);
            for (which, percent) in [(BaseWindow::FiveHour, five), (BaseWindow::Weekly, seven)] {
                let Reading::Value(read) = readings.base.get(which) else { panic!("no value") };
                prop_assert!((read.utilization.percent() - percent).abs() <= precision);
                prop_assert_eq!(read.utilization >= Utilization::FULL, percent >= 100.0);
            }
            let Reading::Value(read) = readings.base.five_hour else { panic!("no value") };
            prop_assert_eq!(read.resets_at, Some(at(NOW + reset)));
        }
    }

    /// Replacing keeps an event an event, whatever its headers.
    #[test]
    fn a_replaced_event_has_no_other_limits(names in prop::collection::vec("(x-codex-primary-used-percent|x-[a-z]{1,4}-limit-name|[a-z]{1,5})", 0..6), text in "\\PC{0,10}") {
        let pool = aggregate(window(41.0, None), window(12.0, None));
        let mut headers = serde_json::Map::new();
        for name in &names {
            headers.insert(name.clone(), text.clone().into());
        }
        let event = json!({"type": "response.metadata", "headers": headers, "x": text});
        if let Some(replaced) = replace_event_headers(event.to_string().as_bytes(), &view(&pool)) {
            let replaced = json_of(replaced.as_bytes());
            prop_assert_eq!(&replaced["x"], &event["x"]);
            let headers = replaced["headers"].as_object().unwrap();
            prop_assert!(headers.values().all(Value::is_string));
            prop_assert_eq!(&headers["x-codex-primary-used-percent"], "41.00");
            for name in names.iter().filter(|name| !Codex.is_limit_header(name)) {
                prop_assert_eq!(&headers[name], &event["x"]);
            }
        } else {
            prop_assert!(names.iter().all(|name| !Codex.is_limit_header(name)));
        }
    }
}
