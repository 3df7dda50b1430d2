//! What a client sees.

use super::*;

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
        plan_weight: 4.95,
        is_usable: true,
        has_only_api_keys: false,
        frees: None,
        claim: BaseWindow::FiveHour,
    }
}

fn view(aggregate: &Aggregate) -> View<'_> {
    View { aggregate, now: at(NOW), is_peer: false, is_429: false, no_candidate: None }
}

/// Headers without their common start, one a line.
fn lines_of(view: &View<'_>) -> Vec<String> {
    Claude
        .shown_headers(view)
        .into_iter()
        .map(|(name, value)| {
            let name = name.as_str().trim_start_matches("anthropic-ratelimit-unified-");
            format!("{name}: {}", value.to_str().unwrap())
        })
        .collect()
}

#[test]
fn an_ordinary_answer() {
    let pool = aggregate(window(41.234_567_8, Some(NOW + 7200)), window(12.0, None));
    assert_eq!(
        lines_of(&view(&pool)),
        [
            "5h-utilization: 0.412346",
            "5h-reset: 1795427200",
            "5h-status: allowed",
            "7d-utilization: 0.120000",
            "7d-status: allowed",
            "status: allowed",
            "representative-claim: five_hour",
            "reset: 1795427200",
            "x-ccm-plan-weight: 4.95",
        ]
    );
    // Resets are in the future, or left out.
    let late = View { now: at(NOW + 7200), ..view(&pool) };
    assert!(lines_of(&late).iter().all(|line| !line.contains("reset")));
}

#[test]
fn warnings() {
    let pool = aggregate(window(95.0, Some(NOW + 1000)), window(30.0, Some(NOW + 500_000)));
    let lines = lines_of(&view(&pool));
    for line in [
        "5h-status: allowed_warning",
        "5h-surpassed-threshold: 0.9",
        "7d-status: allowed_warning",
        "7d-surpassed-threshold: 0.25",
        "status: allowed_warning",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
    }
    // What is used up is rejected, not warned of.
    let full = aggregate(window(100.0, Some(NOW + 1000)), window(10.0, None));
    let lines = lines_of(&view(&full));
    assert!(
        lines.contains(&"5h-status: rejected".to_owned()) && lines.contains(&"status: allowed".to_owned())
    );
    assert!(lines.iter().all(|line| !line.contains("surpassed")));
}

#[test]
fn nothing_usable() {
    let mut pool = aggregate(window(60.0, Some(NOW + 50)), window(100.0, Some(NOW + 9000)));
    pool.is_usable = false;
    pool.claim = BaseWindow::Weekly;
    pool.frees = Some(Limited { claim: Some(Claim::Base(BaseWindow::Weekly)), until: Some(at(NOW + 9500)) });
    let lines = lines_of(&view(&pool));
    for line in
        ["7d-status: rejected", "status: rejected", "representative-claim: seven_day", "reset: 1795429500"]
    {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
    }
}

fn no_candidate(claim: Claim, until: Option<u64>) -> NoCandidate {
    let limited = Limited { claim: Some(claim), until: until.map(at) };
    NoCandidate::new(Some("alice"), Some("claude-opus-5"), &[("a", Obstacle::Limited(limited))], at(NOW))
}

#[test]
fn our_429_names_the_window_that_frees_first() {
    let mut pool = aggregate(window(100.0, Some(NOW + 50)), window(60.0, Some(NOW + 9000)));
    pool.is_usable = false;
    let answer = no_candidate(Claim::Base(BaseWindow::FiveHour), Some(NOW + 4320));
    let view = View { is_429: true, no_candidate: Some(&answer), ..view(&pool) };
    let lines = lines_of(&view);
    for line in
        ["5h-reset: 1795424320", "reset: 1795424320", "representative-claim: five_hour", "status: rejected"]
    {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
    }
    let own = Claude.no_candidate(&answer, "req_1", at(NOW));
    let body: Value = serde_json::from_slice(&own.body).unwrap();
    assert_eq!((own.status.as_u16(), &body["error"]["type"]), (429, &Value::from("rate_limit_error")));
    assert_eq!(body["error"]["message"], answer.message);
    assert_eq!(body["request_id"], "req_1");
    let headers: Vec<_> = crate::limits::provider::answer_headers(&answer)
        .into_iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    assert_eq!(headers, ["retry-after: 4320", "x-should-retry: false"]);
}

#[test]
fn for_a_model_alone_the_base_windows_are_left_true() {
    let pool = aggregate(window(20.0, Some(NOW + 50)), window(10.0, Some(NOW + 9000)));
    for (bucket, claim) in
        [("opus", "seven_day_opus"), ("sonnet", "seven_day_sonnet"), ("oi", "seven_day_overage_included")]
    {
        let answer = no_candidate(Claim::Scope(scope(bucket)), Some(NOW + 8000));
        let view = View { is_429: true, no_candidate: Some(&answer), ..view(&pool) };
        let lines = lines_of(&view);
        for line in [
            "5h-status: allowed",
            "7d-status: allowed",
            "7d-reset: 1795429000",
            "status: rejected",
            "reset: 1795428000",
            &format!("representative-claim: {claim}"),
        ] {
            assert!(lines.contains(&line.to_owned()), "{line} in {lines:?}");
        }
        let peers = lines_of(&View { is_peer: true, ..view });
        assert!(
            peers.contains(&"representative-claim: 7d".to_owned())
                && peers.contains(&"reset: 1795428000".to_owned())
        );
        assert!(peers.contains(&"7d-reset: 1795429000".to_owned()));
    }
}

#[test]
fn every_429_to_a_peer_has_a_claim_and_a_reset() {
    let pool = aggregate(window(20.0, None), window(10.0, None));
    let peer = View { is_peer: true, is_429: true, ..view(&pool) };
    let soon = NOW + 60;
    for line in ["representative-claim: 5h".to_owned(), format!("5h-reset: {soon}"), format!("reset: {soon}")]
    {
        assert!(lines_of(&peer).contains(&line), "{line} in {:?}", lines_of(&peer));
    }
    let keys = Aggregate { has_only_api_keys: true, ..pool.clone() };
    assert!(lines_of(&view(&keys)).is_empty());
    let peer = View { aggregate: &keys, ..peer };
    assert_eq!(lines_of(&peer), ["representative-claim: 5h".to_owned(), format!("5h-reset: {soon}")]);
    // A peer that reads them back knows what refused, and until when.
    let mut headers = HeaderMap::new();
    headers.extend(Claude.shown_headers(&peer));
    assert_eq!(refusal_of(&headers, "", None), base(Some(Some(soon)), None, Some(soon)));
}

#[test]
fn a_window_that_is_not_there_is_not_shown() {
    let absent = AggregateWindow { is_known: false, is_absent: true, ..window(0.0, None) };
    let pool = Aggregate { claim: BaseWindow::Weekly, ..aggregate(absent, window(12.0, Some(NOW + 7200))) };
    assert_eq!(
        lines_of(&view(&pool)),
        [
            "7d-utilization: 0.120000",
            "7d-reset: 1795427200",
            "7d-status: allowed",
            "status: allowed",
            "representative-claim: seven_day",
            "reset: 1795427200",
            "x-ccm-plan-weight: 4.95",
        ]
    );
    let nothing = aggregate(absent, absent);
    assert_eq!(lines_of(&view(&nothing)), ["status: allowed", "x-ccm-plan-weight: 4.95"]);
}

#[test]
fn the_usage_answer_is_in_the_providers_shape() {
    let pool = aggregate(
        window(41.0, Some(1_795_446_000)),
        AggregateWindow { is_known: false, ..window(0.0, None) },
    );
    assert_eq!(
        std::str::from_utf8(&Claude.usage_body(&pool, at(NOW))).unwrap(),
        concat!(
            r#"{"five_hour":{"utilization":41.0,"resets_at":"2026-11-23T15:00:00.000000+00:00"},"#,
            r#""seven_day":null,"seven_day_opus":null,"seven_day_sonnet":null,"extra_usage":null}"#
        )
    );
    assert_eq!(Claude.shown_event(&view(&pool)), None);
}

proptest! {
    /// What we show, we read.
    #[test]
    fn headers_and_body_are_read_back(five in 0.0..=100.0_f64, seven in 0.0..=100.0_f64, reset in 1_u64..3_000_000) {
        let pool = aggregate(window(five, Some(NOW + reset)), window(seven, None));
        let mut headers = HeaderMap::new();
        headers.extend(Claude.shown_headers(&view(&pool)));
        let by_headers = read(&headers);
        let by_body = Claude.read_usage(&Claude.usage_body(&pool, at(NOW)), at(NOW)).unwrap();
        for readings in [by_headers, by_body] {
            prop_assert_eq!(readings.ignored, 0);
            for (which, percent) in [(BaseWindow::FiveHour, five), (BaseWindow::Weekly, seven)] {
                let Reading::Value(read) = readings.base.get(which) else { panic!("no value") };
                let off = read.utilization.percent() - percent;
                prop_assert!((-0.001..=1.0).contains(&off), "{percent} came back as {:?}", read.utilization);
                prop_assert!(percent >= 100.0 || read.utilization <= Utilization::FULL);
            }
            let Reading::Value(read) = readings.base.five_hour else { panic!("no value") };
            prop_assert_eq!(read.resets_at, Some(at(NOW + reset)));
        }
    }
}
