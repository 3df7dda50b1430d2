use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::login::LoginKind;
use crate::refresh::AccountFacts;
use crate::secret::Secret;

/// What the real client did, recorded.
const RECORDED: &str = include_str!("../../../../testkit/fixtures/claude/subscriber_failures.jsonl");

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_500_000_000 + millis)
}

fn file(scopes: &Value) -> Vec<u8> {
    let login = json!({
        "accessToken": "fk-ant-oat01-FAKE-old", "refreshToken": "fk-ant-ort01-FAKE-old",
        "expiresAt": 1_795_500_600_000_u64, "scopes": scopes, "subscriptionType": "max",
        "rateLimitTier": "default_claude_max_20x", "refreshTokenExpiresAt": 1,
    });
    json!({"mcpOAuth": {"x": 1}, "claudeAiOauth": login}).to_string().into_bytes()
}

fn login(scopes: &Value) -> Login {
    Claude.read_login(&file(scopes)).unwrap()
}

fn standard() -> Login {
    login(&json!(["user:inference", "user:profile"]))
}

/// The recorded exchanges with a path.
fn recorded(target: &str) -> Vec<Value> {
    let all = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|exchange| exchange["request"]["target"] == target).collect()
}

#[test]
fn everything_in_the_file_is_read() {
    let read = standard();
    assert_eq!(read.kind, LoginKind::OAuth);
    assert_eq!(read.access_token, Secret::new("fk-ant-oat01-FAKE-old"));
    assert_eq!(read.refresh_token, Some(Secret::new("fk-ant-ort01-FAKE-old")));
    assert_eq!(read.expires_at, Some(at(600_000)));
    assert_eq!(read.scopes, ["user:inference", "user:profile"]);
    assert_eq!(read.plan.subscription.as_deref(), Some("max"));
    assert_eq!(read.plan.tier.as_deref(), Some("default_claude_max_20x"));
    assert_eq!(Claude.plan_weight(&read.plan), 10);
}

#[test]
fn when_it_needs_a_refresh() {
    let read = standard();
    assert!(!read.needs_refresh(at(299_999)));
    assert!(read.needs_refresh(at(300_000)), "five minutes before its end");
    assert!(read.needs_refresh(at(9_999_999)));
    assert!(!login(&json!(["user:profile"])).needs_refresh(at(9_999_999)), "not without the scope");
    assert!(!login(&json!([])).needs_refresh(at(9_999_999)));
    let of = |change: &[(&str, Value)]| {
        let mut document: Value = serde_json::from_slice(&file(&json!(["user:inference"]))).unwrap();
        for (name, value) in change {
            document["claudeAiOauth"][*name] = value.clone();
        }
        Claude.read_login(document.to_string().as_bytes()).unwrap()
    };
    assert!(
        !of(&[("refreshToken", json!(""))]).needs_refresh(at(9_999_999)),
        "nor with nothing to do it with"
    );
    assert!(!of(&[("refreshToken", json!(null))]).needs_refresh(at(9_999_999)));
    assert!(!of(&[("expiresAt", json!(0))]).needs_refresh(at(9_999_999)), "nor what never ends");
}

#[test]
fn the_request_is_the_clients() {
    let request = Claude.refresh_request(&standard(), RefreshKind::Proactive).unwrap();
    assert_eq!(request.content_type, "application/json");
    let exchanges = recorded("/v1/oauth/token");
    assert!(exchanges.len() >= 3);
    for exchange in exchanges {
        let body = exchange["request"]["body"].as_str().unwrap();
        // The recording has another client id of the same length.
        let id = serde_json::from_str::<Value>(body).unwrap()["client_id"].as_str().unwrap().to_owned();
        // So has the client of that time one scope less.
        let body = body.replace(&id, "9d1c250a-e61b-44d9-88ed-5944d1962f5e");
        assert_eq!(request.body.expose(), body.replace("user:file_upload", "user:file_upload user:plugins"));
    }
}

#[test]
fn the_scopes_asked_for() {
    let asked = |scopes: &Value| {
        let request = Claude.refresh_request(&login(scopes), RefreshKind::Forced).unwrap();
        serde_json::from_str::<Value>(request.body.expose()).unwrap()["scope"].as_str().unwrap().to_owned()
    };
    let all = "user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload user:plugins";
    assert_eq!(asked(&json!(["user:inference"])), all);
    assert_eq!(asked(&json!([])), all);
    assert_eq!(asked(&json!(null)), all);
    assert_eq!(asked(&json!(["org:create_api_key", "user:profile"])), "org:create_api_key user:profile");
    let mut bare = standard();
    bare.refresh_token = None;
    assert!(Claude.refresh_request(&bare, RefreshKind::Forced).is_none());
}

/// The edits as a list of paths and values.
fn edits(answer: &RefreshAnswer) -> Vec<(String, Value)> {
    answer.edits.as_slice().iter().map(|edit| (edit.path.join("."), edit.value.clone())).collect()
}

#[test]
fn a_recorded_answer_is_read_and_says_what_to_write() {
    let exchanges = recorded("/v1/oauth/token");
    let good = exchanges.iter().find(|exchange| exchange["response"]["status"] == 200).unwrap();
    let raw = good["response"]["body"].as_str().unwrap();
    let answer = Claude.read_refresh_answer(&standard(), raw.as_bytes(), at(250)).unwrap();
    let scopes = ["user:inference", "user:profile", "user:sessions:claude_code"];
    let end = 1_795_500_000_250_u64 + 28_800_000;
    assert_eq!(
        edits(&answer),
        [
            ("claudeAiOauth.accessToken".to_owned(), json!("fk-ant-oat01-FAKE-refreshed")),
            ("claudeAiOauth.refreshToken".to_owned(), json!("fk-ant-ort01-FAKE-refreshed")),
            ("claudeAiOauth.expiresAt".to_owned(), json!(end)),
            ("claudeAiOauth.scopes".to_owned(), json!(scopes)),
        ]
    );
    assert_eq!(answer.login.access_token, Secret::new("fk-ant-oat01-FAKE-refreshed"));
    assert_eq!(answer.login.expires_at, Some(at(28_800_250)));
    assert!(!answer.login.needs_refresh(at(28_500_249)) && answer.login.needs_refresh(at(28_500_250)));
    assert_eq!(answer.login.plan, standard().plan, "what the answer does not say stays");
    let account = AccountFacts {
        account_id: Some("00000000-0000-4000-8000-0000000000bb".into()),
        email: Some(Secret::new("fake@example.com")),
        organization_id: Some("00000000-0000-4000-8000-0000000000aa".into()),
    };
    assert_eq!(answer.account, account);
    let shown = format!("{answer:?}");
    assert!(!shown.contains("FAKE") && !shown.contains("fake@"), "{shown}");

    for exchange in exchanges.iter().filter(|exchange| exchange["response"]["status"] == 400) {
        let body = exchange["response"]["body"].as_str().unwrap().as_bytes();
        let raw = crate::refresh::TokenAnswer { status: 400, retry_after: None, body };
        let judged = crate::refresh::judge(&Claude, &standard(), &raw, at(0));
        assert_eq!(judged.unwrap_err(), crate::refresh::RefreshFailure::RefusedForGood);
    }
}

#[test]
fn what_an_answer_leaves_out_stays_and_nonsense_is_not_said() {
    let hour = 3_600_000;
    for (raw, life) in [
        (json!({"access_token": "n"}), hour),
        (json!({"access_token": "n", "expires_in": 0}), hour),
        (json!({"access_token": "n", "expires_in": -5}), hour),
        (json!({"access_token": "n", "expires_in": "600"}), hour),
        (json!({"access_token": "n", "expires_in": 600.5}), 600_500),
        (json!({"access_token": "n", "expires_in": 1e300}), 10 * 365 * 86_400_000),
        (json!({"access_token": "n", "refresh_token": "", "scope": "  ", "account": 7}), hour),
        (
            json!({"access_token": "n", "refresh_token": ["x"], "scope": [], "organization": {"uuid": 1}}),
            hour,
        ),
    ] {
        let answer = Claude.read_refresh_answer(&standard(), raw.to_string().as_bytes(), at(0)).unwrap();
        let paths: Vec<_> = edits(&answer).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["claudeAiOauth.accessToken", "claudeAiOauth.expiresAt"], "{raw}");
        assert_eq!(answer.login.expires_at, Some(at(life)), "{raw}");
        assert_eq!(answer.login.refresh_token, standard().refresh_token);
        assert_eq!(answer.login.scopes, standard().scopes);
        assert_eq!(answer.account, AccountFacts::default());
    }
}

#[test]
fn polls_and_profiles() {
    let text =
        |probe: &Probe, name: &str| probe.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let poll = Claude.usage_poll(&standard()).unwrap();
    assert_eq!(poll.target, ProbeTarget::Api("/api/oauth/usage"));
    assert_eq!(text(&poll, "authorization").as_deref(), Some("Bearer fk-ant-oat01-FAKE-old"));
    assert_eq!(text(&poll, "anthropic-beta").as_deref(), Some("oauth-2025-04-20"));
    assert!(!format!("{poll:?}").contains("FAKE"));
    let profile = Claude.profile_request(&standard()).unwrap();
    assert_eq!(profile.target, ProbeTarget::Api("/api/oauth/profile"));
    let check = Claude.authorization_check(&Authorization::ApiKey(Secret::new("k"))).unwrap();
    assert_eq!(check.target, ProbeTarget::Api("/v1/models"));
    assert_eq!(text(&check, "x-api-key").as_deref(), Some("k"));
    assert_eq!(text(&check, "anthropic-version").as_deref(), Some("2023-06-01"));
    let mut odd = standard();
    odd.access_token = Secret::new("a\nb");
    assert!(Claude.usage_poll(&odd).is_none());

    let raw = recorded("/api/oauth/profile")[0]["response"]["body"].as_str().unwrap().to_owned();
    let profile = Claude.read_profile(raw.as_bytes()).unwrap();
    assert_eq!(profile.plan.subscription.as_deref(), Some("max"));
    assert_eq!(profile.plan.tier.as_deref(), Some("default_claude_max_5x"));
    assert_eq!(profile.account.account_id.as_deref(), Some("00000000-0000-4000-8000-0000000000bb"));
    assert!(!format!("{profile:?}").contains("fake@"));
    assert_eq!(Claude.read_profile(b"{}"), Ok(Profile::default()));
    assert_eq!(
        Claude.read_profile(br#"{"organization":{"organization_type":"api"}}"#),
        Ok(Profile::default())
    );
    assert_eq!(Claude.read_profile(b"<html>"), Err(AnswerError::NotAnObject));
}

#[test]
fn plans_weigh() {
    for (subscription, tier, weight) in [
        (Some("max"), Some("default_claude_max_20x"), 10),
        (Some("max"), Some("default_claude_max_5x"), 5),
        (Some("max"), None, 5),
        (Some("team"), Some("default_claude_max_5x"), 5),
        (Some("team"), Some("default_claude_max_20x"), 1),
        (Some("team"), None, 1),
        (Some("pro"), Some("default_claude_max_20x"), 1),
        (Some("enterprise"), None, 1),
        (None, Some("default_claude_max_20x"), 1),
        (None, None, 1),
    ] {
        let plan = Plan { subscription: subscription.map(str::to_owned), tier: tier.map(str::to_owned) };
        assert_eq!(Claude.plan_weight(&plan), weight, "{plan:?}");
    }
}

proptest! {
    #[test]
    fn no_file_and_no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Claude.read_login(&bytes);
        let _ = Claude.read_profile(&bytes);
        let _ = Claude.read_refresh_answer(&standard(), &bytes, at(0));
    }

    /// Any values in the members that are read; what is written reads back as the login that was given.
    #[test]
    fn odd_members_are_read_or_refused(values in prop::collection::vec(odd(), 6)) {
        let [a, b, c, d, e, f] = <[Value; 6]>::try_from(values).unwrap();
        let odd_file = json!({"claudeAiOauth": {"accessToken": a, "refreshToken": b, "expiresAt": c, "scopes": d,
            "subscriptionType": e, "rateLimitTier": f}});
        if let Ok(read) = Claude.read_login(odd_file.to_string().as_bytes()) {
            prop_assert!(!read.access_token.is_empty());
            let _ = (Claude.usage_poll(&read), Claude.plan_weight(&read.plan), read.needs_refresh(at(0)));
        }
        let answer = json!({"access_token": a, "refresh_token": b, "expires_in": c, "scope": d, "account": e});
        let Ok(answer) = Claude.read_refresh_answer(&standard(), answer.to_string().as_bytes(), at(0)) else {
            return Ok(());
        };
        let written_before = file(&json!(["user:inference", "user:profile"]));
        let mut written: Value = serde_json::from_slice(&written_before).unwrap();
        for edit in answer.edits.as_slice() {
            written[edit.path[0].as_str()][edit.path[1].as_str()] = edit.value.clone();
        }
        prop_assert_eq!(Claude.read_login(written.to_string().as_bytes()).unwrap(), answer.login.clone());
    }
}

/// A value of any type.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z :]{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::collection::vec(any::<String>(), 0..3).prop_map(Value::from),
        Just(json!({"uuid": "u", "email_address": 3})),
    ]
}

#[test]
fn a_login_that_is_older_than_a_scope_asks_for_its_own() {
    let fallback = |scopes: &Value| {
        let request = Claude.refresh_request(&login(scopes), RefreshKind::Forced).unwrap();
        let body = request.with_own_scopes?;
        Some(serde_json::from_str::<Value>(body.expose()).unwrap()["scope"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        fallback(&json!(["user:inference", "user:profile"])).as_deref(),
        Some("user:inference user:profile")
    );
    assert_eq!(fallback(&json!(null)), None);
    assert_eq!(fallback(&json!(["user:profile"])), None, "those are asked for from the start");
    let refused = |status, body: &str| {
        let body = body.as_bytes();
        crate::refresh::refuses_scopes(&crate::refresh::TokenAnswer { status, retry_after: None, body })
    };
    assert!(refused(400, r#"{"error":"invalid_scope"}"#));
    assert!(!refused(400, r#"{"error":"invalid_grant"}"#) && !refused(403, r#"{"error":"invalid_scope"}"#));
}
