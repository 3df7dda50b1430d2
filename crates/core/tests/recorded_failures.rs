//! The failures that real clients were given in recorded runs, judged by the table.

#![expect(clippy::expect_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use trunkline_core::failure::{
    Action, Answer, Attempts, CLAUDE, CODEX, Effect, ErrorFields, Failure, RefusalKind, Repeat, Situation,
    judge,
};
use trunkline_core::first_event::{Beginning, FirstEvent};
use trunkline_testkit::fixtures::{self, CodexTransport, End, Exchange};

/// The time of the recordings, more or less: 2026-11-23 07:52 UTC.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_420_320)
}

/// A first try of a new session, with another candidate at hand.
fn situation(is_api_key: bool) -> Situation {
    Situation {
        attempts: Attempts::default(),
        was_bound: false,
        is_replayable: true,
        has_others: true,
        is_api_key,
        is_free: false,
        now: now(),
    }
}

/// The rule of the table for unified headers, as far as the recordings need it; the product's own reader is not this
/// module's.
fn refusal(exchange: &Exchange) -> Option<RefusalKind> {
    let header = |name: &str| exchange.response.headers.get(&format!("anthropic-ratelimit-unified-{name}"));
    let time = |name: &str| {
        let seconds: u64 = header(name)?.parse().ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    };
    let rejected = |window: &str| {
        header(&format!("{window}-status")) == Some("rejected")
            || header(&format!("{window}-utilization"))
                .is_some_and(|used| used.parse().is_ok_and(|used: f64| used >= 0.99))
    };
    header("status")?;
    let base = ["5h", "7d"].into_iter().filter(|window| rejected(window));
    if let Some(until) = base.map(|window| time(&format!("{window}-reset"))).max() {
        return Some(RefusalKind::Base { until });
    }
    let is_scoped = header("representative-claim")?.starts_with("seven_day_");
    is_scoped.then(|| RefusalKind::Scoped { until: time("reset") })
}

/// A failure of an exchange, if it is one before the first telling event.
fn judged(exchange: &Exchange, is_api_key: bool) -> Option<(&'static str, Effect, Action)> {
    let response = &exchange.response;
    let (error, is_first_event);
    let failure = match response.status {
        None => Failure::Lost,
        Some(200) => {
            let mut stream = FirstEvent::new();
            stream.push(&response.body);
            match stream.end(response.end == End::Complete).clone() {
                Beginning::Release | Beginning::Undecided => return None,
                Beginning::Lost => Failure::Lost,
                Beginning::Error(fields) => {
                    error = fields;
                    is_first_event = true;
                    Failure::Answer(Answer { status: 200, error: &error, is_first_event, refusal: None })
                }
            }
        }
        Some(status) => {
            error = ErrorFields::from_body(&response.body);
            is_first_event = false;
            Failure::Answer(Answer { status, error: &error, is_first_event, refusal: refusal(exchange) })
        }
    };
    let verdict = judge(&CLAUDE, &failure, &situation(is_api_key));
    Some((verdict.reason, verdict.effect, verdict.action))
}

fn claude_scenarios(set: &str) -> BTreeMap<String, (&'static str, Effect, Action)> {
    let mut seen = BTreeMap::new();
    for exchange in fixtures::claude(set).expect("the recorded set") {
        if exchange.request.target.starts_with("/v1/messages")
            && let Some(judged) = judged(&exchange, false)
        {
            seen.entry(exchange.scenario.clone()).or_insert(judged);
        }
    }
    seen
}

fn until(effect: Effect) -> u64 {
    match effect {
        Effect::RateLimited { until, .. } | Effect::Blocked { until, .. } => {
            until.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
        }
        _ => 0,
    }
}

#[test]
fn claude_gateway() {
    let seen = claude_scenarios("gateway_failures");
    let expected = [
        ("f400", "other", Action::PassThrough),
        ("f400_credit", "other", Action::PassThrough),
        ("f401", "auth", Action::AuthRecovery),
        ("f403_plain", "other", Action::PassThrough),
        ("f403_revoked", "auth", Action::AuthRecovery),
        ("f404", "other", Action::PassThrough),
        ("f408_409", "other", Action::PassThrough),
        ("f413", "other", Action::PassThrough),
        ("f429_extra_usage", "entitlement", Action::PassThrough),
        ("f429_plain", "burst", Action::Hop),
        ("f429_retry3_once", "burst", Action::Hop),
        ("f429_retry_after_long", "burst", Action::Hop),
        ("f429_should_retry_false", "burst", Action::Hop),
        ("f429_should_retry_true_once", "burst", Action::Hop),
        ("f429_unified_7d", "rate_limited", Action::Next),
        ("f429_unified_rejected", "rate_limited", Action::Next),
        ("f429_unified_rejected_noretryafter", "rate_limited", Action::Next),
        ("f500", "server_error", Action::Hop),
        ("f500_once", "server_error", Action::Hop),
        ("f502_once", "server_error", Action::Hop),
        ("f503_ra", "server_error", Action::Hop),
        ("f529", "overloaded", Action::Hop),
        ("f529_once", "overloaded", Action::Hop),
        ("fclose_once", "lost", Action::Hop),
        ("fsse_overloaded_first", "overloaded", Action::Hop),
        ("g400_sr_true", "other", Action::PassThrough),
        ("g403_revoked", "auth", Action::AuthRecovery),
        // Rejected, by a window whose own headers say that it is not.
        ("g429_ra_20_rej", "burst", Action::Hop),
        ("g429_ra_60", "burst", Action::Hop),
        ("g500", "server_error", Action::Hop),
        ("g500_sr_false", "server_error", Action::Hop),
        ("g503_always_ra_long", "server_error", Action::Hop),
        ("gcut_then_529", "overloaded", Action::Hop),
        ("ghtml_502", "server_error", Action::Hop),
        ("h_oauthenv_rej", "rate_limited", Action::Next),
        ("i_401_sr_false", "auth", Action::AuthRecovery),
        ("i_429_rej_sr_false", "burst", Action::Hop),
        ("i_529_ra_61", "overloaded", Action::Hop),
        ("i_ra_61", "burst", Action::Hop),
        ("gsse_first_429", "burst", Action::Hop),
        ("gsse_first_always", "overloaded", Action::Hop),
    ];
    for (scenario, reason, action) in expected {
        let (got, _, then) =
            seen.get(scenario).unwrap_or_else(|| panic!("{scenario} was not judged: {seen:?}"));
        assert_eq!((*got, *then), (reason, action), "{scenario}");
    }
    // The latest reset of the windows that were rejected.
    assert_eq!(until(seen["f429_unified_7d"].1), 1_795_765_837);
    assert_eq!(until(seen["f429_unified_rejected"].1), 1_795_431_036);
    // What comes after a telling event is the client's.
    for scenario in [
        "fcut_rst",
        "fcut_eof",
        "fcut_early",
        "fsse_overloaded_mid",
        "fsse_ratelimit_mid",
        "fsse_api_mid_always",
    ] {
        assert!(!seen.contains_key(scenario), "{scenario}: {:?}", seen.get(scenario));
    }
    let unexpected: Vec<_> =
        seen.keys().filter(|name| !expected.iter().any(|(known, ..)| known == name)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

#[test]
fn claude_api_key() {
    let credit = fixtures::claude("gateway_failures")
        .expect("the recorded set")
        .into_iter()
        .find(|exchange| exchange.scenario == "f400_credit" && exchange.response.status == Some(400))
        .expect("the scenario");
    assert_eq!(
        judged(&credit, true).map(|(reason, _, action)| (reason, action)),
        Some(("credit", Action::Next))
    );
}

#[test]
fn claude_subscriber() {
    let seen = claude_scenarios("subscriber_failures");
    for (scenario, reason, action) in [
        ("o_401_once", "auth", Action::AuthRecovery),
        ("o_403_revoked_once", "auth", Action::AuthRecovery),
        ("o_429_5h_rejected", "rate_limited", Action::Next),
        ("o_429_7d_rejected", "rate_limited", Action::Next),
        ("o_429_7d_opus", "scope_limited", Action::Next),
        ("o_429_plain_once", "burst", Action::Hop),
        ("o_429_extra", "entitlement", Action::PassThrough),
    ] {
        let (got, _, then) =
            seen.get(scenario).unwrap_or_else(|| panic!("{scenario} was not judged: {seen:?}"));
        assert_eq!((*got, *then), (reason, action), "{scenario}");
    }
}

#[test]
fn codex() {
    let mut seen = BTreeMap::new();
    for failure in fixtures::codex_failures().expect("the recorded failures") {
        let is_event = matches!(failure.transport, CodexTransport::Sse | CodexTransport::Frame);
        let error = if is_event {
            let mut stream = FirstEvent::new();
            match stream.push(&failure.body).clone() {
                Beginning::Error(error) => error,
                other => panic!("{}: {other:?}", failure.scenario),
            }
        } else {
            ErrorFields::from_body(&failure.body)
        };
        let answer =
            Answer { status: failure.status, error: &error, is_first_event: is_event, refusal: None };
        let verdict = judge(&CODEX, &Failure::Answer(answer), &situation(false));
        let before = seen.insert((failure.scenario, failure.status), (verdict.reason, verdict.action));
        assert_eq!(before, None);
    }
    let hop = |reason| (reason, Action::Hop);
    let limited = ("rate_limited", Action::Next);
    let auth = ("auth", Action::AuthRecovery);
    let passed = ("other", Action::PassThrough);
    let expected = [
        (("h_401", 401), auth),
        (("h_403", 403), auth),
        (("h_429_generic", 429), hop("burst")),
        (("h_429_usage", 429), limited),
        (("h_429_usage_promo", 429), limited),
        (("h_500_ok", 500), hop("server_error")),
        (("h_503_overloaded", 503), hop("overloaded")),
        (("h_503_retryafter", 503), hop("server_error")),
        (("h_failed_quota", 200), hop("burst")),
        (("h_failed_rl", 200), hop("burst")),
        (("h_failed_usage", 200), limited),
        (("t_401_refresh", 401), auth),
        (("t_401_refresh", 426), passed),
        (("t_401_reused", 401), auth),
        (("t_401_reused", 426), passed),
        (("t_http", 426), passed),
        (("t_http_429", 426), passed),
        (("t_http_429", 429), limited),
        (("t_ws_401_refresh", 401), auth),
        (("t_ws_429", 200), limited),
        (("w_400_prev", 200), passed),
        (("w_401_ev", 200), auth),
        (("w_429_ev", 200), limited),
        (("w_500_ev", 200), hop("server_error")),
        (("w_503_ev", 200), hop("overloaded")),
        (("w_failed_rl", 200), hop("burst")),
        (("w_limit60", 200), passed),
        (("w_mid_429", 200), limited),
        (("w_up_401", 401), auth),
        (("w_up_404", 404), passed),
        (("w_up_426", 426), passed),
        (("w_up_429", 429), limited),
        (("w_up_503_ok", 503), hop("server_error")),
        (("w_warm_429", 200), limited),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|((name, status), then)| ((name.to_owned(), status), then)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_refused_token_is_replaced() {
    // 401, a new token, then the real answer: the client sees one answer, and the credential is not worse for it.
    let exchange = fixtures::claude("subscriber_failures")
        .expect("the recorded set")
        .into_iter()
        .find(|exchange| exchange.scenario == "o_401_once" && exchange.response.status == Some(401))
        .expect("the scenario");
    let (_, _, action) = judged(&exchange, false).expect("a failure");
    assert_eq!(action, Action::AuthRecovery);
    let then = trunkline_core::failure::after_recovery(
        trunkline_core::failure::Recovery::NewToken,
        &situation(false),
    );
    assert_eq!(then, Action::Repeat(Repeat::NewToken));
}
