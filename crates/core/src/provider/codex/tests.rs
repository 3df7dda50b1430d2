use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::refresh::{RefreshFailure, TokenAnswer, judge};

/// What the real client did, recorded: a refresh, and one that was refused.
const RECORDED: &str = include_str!("../../../../testkit/fixtures/codex/token_endpoint.jsonl");

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000 + seconds)
}

/// A token with these claims, its payload encoded as the standard says.
fn jwt(claims: &Value) -> String {
    use base64::Engine as _;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{payload}.c2ln")
}

fn access(end: u64) -> String {
    jwt(&json!({"exp": 1_795_500_000 + end}))
}

fn id_token(plan: &str) -> String {
    let claims = json!({"chatgpt_plan_type": plan, "chatgpt_account_id": "acct-claim"});
    jwt(&json!({"email": "fake@example.invalid", "https://api.openai.com/auth": claims}))
}

fn file() -> Value {
    json!({
        "auth_mode": "chatgpt", "OPENAI_API_KEY": null,
        "tokens": {
            "id_token": id_token("pro"), "access_token": access(600), "refresh_token": "rt_FAKE_0001",
            "account_id": "acct-FAKE-0001",
        },
        "last_refresh": "2026-11-20T10:00:00.123456789Z",
    })
}

fn read(file: &Value) -> Result<Login, LoginError> {
    Codex.read_login(file.to_string().as_bytes())
}

fn login() -> Login {
    read(&file()).unwrap()
}

#[test]
fn everything_in_the_file_is_read() {
    let login = login();
    assert_eq!(login.kind, LoginKind::OAuth);
    assert_eq!(login.access_token, Secret::new(access(600)));
    assert_eq!(login.refresh_token, Some(Secret::new("rt_FAKE_0001")));
    assert_eq!(login.id_token, Some(Secret::new(id_token("pro"))));
    assert_eq!(login.account_id.as_deref(), Some("acct-FAKE-0001"));
    assert_eq!(login.plan.subscription.as_deref(), Some("pro"));
    assert_eq!(login.expires_at, Some(at(600)));
    let mut unnamed = file();
    unnamed["tokens"]["account_id"] = Value::Null;
    assert_eq!(read(&unnamed).unwrap().account_id.as_deref(), Some("acct-claim"));
}

#[test]
fn a_key_is_used_only_where_it_is_meant_or_there_are_no_tokens() {
    let key = read(&json!({"OPENAI_API_KEY": "sk-FAKE", "tokens": null})).unwrap();
    assert_eq!((key.kind, key.access_token.expose()), (LoginKind::ApiKey, "sk-FAKE"));
    assert_eq!(key.expires_at, None);
    assert!(!key.needs_refresh(at(9_999_999)));
    assert!(Codex.refresh_request(&key, RefreshKind::Forced).is_none());
    assert!(Codex.usage_poll(&key).is_none(), "API keys are not polled");
    assert_eq!(read(&json!({"OPENAI_API_KEY": "sk-FAKE"})).unwrap().kind, LoginKind::ApiKey);
    let mut both = file();
    both["OPENAI_API_KEY"] = json!("sk-FAKE");
    assert_eq!(read(&both).unwrap().kind, LoginKind::OAuth);
    // A key beside tokens that are none is a key, whatever the client has left of them.
    for tokens in [
        json!(null),
        json!({}),
        json!({"id_token": null, "access_token": null, "refresh_token": null, "account_id": null}),
        json!({"id_token": "", "access_token": "", "refresh_token": ""}),
    ] {
        for mode in [json!(null), json!(""), json!("apikey"), json!("ApiKey"), json!("of-tomorrow"), json!(7)]
        {
            let read = read(&json!({"auth_mode": mode, "OPENAI_API_KEY": "sk-FAKE", "tokens": tokens}));
            assert_eq!(read.map(|login| login.kind), Ok(LoginKind::ApiKey), "{mode} {tokens}");
        }
    }
    // Where both are there, the mode decides; without one, the tokens.
    for (mode, kind) in [
        (json!("apikey"), LoginKind::ApiKey),
        (json!("chatgpt"), LoginKind::OAuth),
        (json!("chatgptAuthTokens"), LoginKind::OAuth),
        (json!("of-tomorrow"), LoginKind::OAuth),
        (json!(null), LoginKind::OAuth),
    ] {
        let mut both = file();
        both["OPENAI_API_KEY"] = json!("sk-FAKE");
        both["auth_mode"] = mode.clone();
        assert_eq!(read(&both).map(|login| login.kind), Ok(kind), "{mode}");
    }
    for logged_out in [
        json!({}),
        json!({"OPENAI_API_KEY": ""}),
        json!({"OPENAI_API_KEY": null, "tokens": null}),
        json!({"auth_mode": "apikey", "OPENAI_API_KEY": "", "tokens": file()["tokens"]}),
        json!({"auth_mode": "chatgpt", "OPENAI_API_KEY": "sk-FAKE", "tokens": null}),
        json!({"auth_mode": "chatgpt", "OPENAI_API_KEY": "sk-FAKE", "tokens": {}}),
        json!({"tokens": {"access_token": ""}}),
    ] {
        assert_eq!(read(&logged_out), Err(LoginError::LoggedOut), "{logged_out}");
    }
    for invalid in [
        json!([]),
        json!({"tokens": 1}),
        json!({"tokens": {"access_token": 1}}),
        json!({"OPENAI_API_KEY": {"sk-FAKE": 1}}),
    ] {
        let error = read(&invalid).unwrap_err();
        assert!(matches!(&error, LoginError::Invalid(_)), "{invalid}");
        assert!(!format!("{error} {error:?}").contains("FAKE"));
    }
}

#[test]
fn a_login_of_another_kind_is_named_as_what_it_is() {
    let tokens = json!({"id_token": null, "access_token": null, "refresh_token": null});
    for (file, expected) in [
        (json!({"auth_mode": "agentIdentity"}), "an agent identity"),
        (json!({"auth_mode": "agent_identity", "OPENAI_API_KEY": "sk-FAKE"}), "an agent identity"),
        (json!({"agent_identity": {"private_key": "FAKE"}, "tokens": tokens}), "an agent identity"),
        (json!({"auth_mode": "personalAccessToken", "tokens": file()["tokens"]}), "a personal access token"),
        (json!({"personal_access_token": "at-FAKE"}), "a personal access token"),
    ] {
        let error = read(&file).unwrap_err();
        assert_eq!(error, LoginError::OtherKind(expected), "{file}");
        let told = error.to_string();
        assert!(told.contains(expected) && !told.contains("FAKE"), "{told}");
    }
    // Beside a login that can be used, they say nothing.
    let mut both = file();
    both["personal_access_token"] = json!("at-FAKE");
    assert_eq!(read(&both).unwrap().kind, LoginKind::OAuth);
}

#[test]
fn when_it_needs_a_refresh() {
    assert!(
        !login().needs_refresh(at(299)) && login().needs_refresh(at(300)),
        "by the end of its access token"
    );
    let mut old = file();
    old["last_refresh"] = json!("2025-01-01T00:00:00Z");
    assert!(!read(&old).unwrap().needs_refresh(at(0)), "an old refresh says nothing where the end is known");
    for odd in [json!("opaque"), json!("a.b.c"), json!(jwt(&json!({"exp": "soon"}))), json!(jwt(&json!({})))]
    {
        let mut unknown = file();
        unknown["tokens"]["access_token"] = odd;
        let login = read(&unknown).unwrap();
        assert_eq!(login.expires_at, None);
        // 2026-11-20T10:00:00.123456789Z and eight days.
        let due = SystemTime::UNIX_EPOCH + Duration::new(1_795_168_800 + 8 * 86_400, 123_456_789);
        assert!(!login.needs_refresh(due - Duration::from_nanos(1)) && login.needs_refresh(due));
        unknown["last_refresh"] = json!("yesterday");
        assert!(!read(&unknown).unwrap().needs_refresh(at(9_999_999)));
    }
    let mut bare = file();
    bare["tokens"]["refresh_token"] = json!("");
    assert!(!read(&bare).unwrap().needs_refresh(at(9_999_999)));
}

#[test]
fn claims_of_every_shape() {
    let end = |token: &str| jwt::Claims::of(token).and_then(|claims| claims.expires_at());
    assert_eq!(end(&access(5)), Some(at(5)));
    assert_eq!(end(&jwt(&json!({"exp": 1_795_500_005.0}))), Some(at(5)));
    assert_eq!(end("e30.eyJleHAiOjE3OTU1MDAwMDV9.x"), Some(at(5)));
    assert_eq!(end("e30.eyJleHAiOjE3OTU1MDAwMDUgfQ==.x"), Some(at(5)), "padded");
    for none in [json!(0), json!(-1), json!(1e300), json!("1"), json!(null), json!([1])] {
        assert_eq!(end(&jwt(&json!({"exp": none}))), None);
    }
    for odd in ["", ".", "..", "a.b", "a.b.c.d", "e30.W10.x", "e30.!!!.x", "e30.bnVsbA.x"] {
        assert!(jwt::Claims::of(odd).is_none(), "{odd}");
    }
    let long = format!("e30.{}.x", "A".repeat(70_000));
    assert!(jwt::Claims::of(&long).is_none());
}

#[test]
fn the_request_is_the_clients() {
    let kinds = [RefreshKind::Proactive, RefreshKind::Forced];
    for (line, kind) in RECORDED.lines().zip(kinds) {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let request = Codex.refresh_request(&login(), kind).unwrap();
        assert_eq!(request.body.expose(), exchange["request"]["body"].to_string());
        assert_eq!(
            request.body.expose().len(),
            usize::try_from(exchange["request"]["body_raw_len"].as_u64().unwrap()).unwrap()
        );
        assert_eq!(request.content_type, "application/json");
    }
}

#[test]
fn a_recorded_refusal() {
    let exchange: Value = serde_json::from_str(RECORDED.lines().nth(1).unwrap()).unwrap();
    let body = exchange["response"]["body"].to_string();
    let answer = TokenAnswer { status: 401, retry_after: None, body: body.as_bytes() };
    assert_eq!(judge(&Codex, &login(), &answer, at(0)).unwrap_err(), RefreshFailure::RefusedForGood);
}

fn answered(raw: &Value) -> Result<RefreshAnswer, AnswerError> {
    Codex.read_refresh_answer(&login(), raw.to_string().as_bytes(), at(0))
}

#[test]
fn each_token_of_an_answer_is_optional() {
    let last_refresh = ("last_refresh".to_owned(), json!("2026-11-24T06:00:00.000000000Z"));
    let tokens =
        [("id_token", id_token("plus")), ("access_token", access(9_000)), ("refresh_token", "rt_2".into())];
    for chosen in 1..8_usize {
        let mut raw = json!({"token_type": "bearer"});
        let mut expected = Vec::new();
        for (n, (name, token)) in tokens.iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1) {
            let _ = n;
            raw[*name] = json!(token);
            expected.push((format!("tokens.{name}"), json!(token)));
        }
        expected.push(last_refresh.clone());
        let answer = answered(&raw).unwrap();
        let edits: Vec<_> =
            answer.edits.as_slice().iter().map(|edit| (edit.path.join("."), edit.value.clone())).collect();
        assert_eq!(edits, expected);
        let login = &answer.login;
        let is = |n: usize| chosen >> n & 1 == 1;
        assert_eq!(login.plan.subscription.as_deref(), Some(if is(0) { "plus" } else { "pro" }));
        assert_eq!(login.expires_at, Some(at(if is(1) { 9_000 } else { 600 })));
        assert_eq!(login.refresh_token, Some(Secret::new(if is(2) { "rt_2" } else { "rt_FAKE_0001" })));
        assert_eq!(login.account_id.as_deref(), Some("acct-FAKE-0001"));
        let shown = format!("{answer:?}");
        assert!(!shown.contains("FAKE_0001") && !shown.contains(&access(9_000)), "{shown}");
    }
    for (raw, error) in [
        (json!({}), AnswerError::NoToken),
        (json!({"access_token": "", "refresh_token": 7}), AnswerError::NoToken),
        (json!({"access_token": "a b", "refresh_token": "r"}), AnswerError::NoToken),
        (json!([]), AnswerError::NotAnObject),
    ] {
        assert_eq!(answered(&raw).unwrap_err(), error, "{raw}");
    }
}

#[test]
fn what_is_written_reads_back_as_what_is_used() {
    let opaque = json!({"access_token": "opaque", "id_token": "opaque", "refresh_token": "r"});
    for raw in [opaque, json!({"access_token": access(9_000)}), json!({"refresh_token": "r"})] {
        let answer = answered(&raw).unwrap();
        let mut written = file();
        for edit in answer.edits.as_slice() {
            match edit.path.as_slice() {
                [only] => written[only.as_str()] = edit.value.clone(),
                [first, second] => written[first.as_str()][second.as_str()] = edit.value.clone(),
                other => panic!("{other:?}"),
            }
        }
        let mut back = read(&written).unwrap();
        // An id token that says nothing leaves what the one before it said in memory.
        back.plan = answer.login.plan.clone();
        assert_eq!(back, answer.login, "{raw}");
    }
}

#[test]
fn polls_and_plans() {
    let poll = Codex.usage_poll(&login()).unwrap();
    assert_eq!(poll.target, ProbeTarget::UsageUrl);
    assert_eq!(poll.headers.get("chatgpt-account-id").unwrap(), "acct-FAKE-0001");
    assert_eq!(poll.headers.get("authorization").unwrap(), &format!("Bearer {}", access(600)));
    assert!(!format!("{poll:?}").contains(&access(600)));
    let mut odd = login();
    odd.account_id = Some("a\nb".into());
    assert!(Codex.usage_poll(&odd).is_none());
    let check = Codex.authorization_check(&Authorization::ApiKey(Secret::new("k"))).unwrap();
    assert_eq!((check.target, check.headers.len()), (ProbeTarget::OpenAi("/v1/models"), 1));
    assert!(Codex.profile_request(&login()).is_none());
    for (plan, weight) in [
        ("promax", 25),
        ("pro", 10),
        ("prolite", 5),
        ("plus", 1),
        ("self_serve_business_prolite", 1),
        ("x", 1),
    ] {
        let plan = Plan { subscription: Some(plan.into()), tier: None };
        assert_eq!(Codex.plan_weight(&plan), weight);
    }
    assert_eq!(Codex.plan_weight(&Plan::default()), 1);
}

proptest! {
    #[test]
    fn no_file_and_no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), claims in any::<Vec<u8>>(), tail in any::<String>()) {
        use base64::Engine as _;
        let _ = Codex.read_login(&bytes);
        let _ = Codex.read_refresh_answer(&login(), &bytes, at(0));
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&claims);
        for token in [format!("a.{payload}.b"), format!("a.{tail}.b"), tail] {
            let mut odd = file();
            odd["tokens"]["access_token"] = json!(token);
            odd["tokens"]["id_token"] = json!(token);
            odd["last_refresh"] = json!(token);
            if let Ok(login) = read(&odd) {
                let _ = (login.needs_refresh(at(0)), Codex.usage_poll(&login));
            }
        }
    }
}
