use super::*;
use crate::fault::FaultKind;
use crate::secret::Secret;
use std::time::{Duration, SystemTime};

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn routes() {
    for (method, path, route) in [
        ("POST", "/v1/messages", Route::Forward { asks_model: true, shows_limits: true, uses_quota: true }),
        (
            "POST",
            "/v1/messages/count_tokens",
            Route::Forward { asks_model: true, shows_limits: false, uses_quota: false },
        ),
        ("GET", "/v1/models", Route::Forward { asks_model: false, shows_limits: false, uses_quota: false }),
        (
            "GET",
            "/v1/models/claude-opus-4-8",
            Route::Forward { asks_model: false, shows_limits: false, uses_quota: false },
        ),
        ("GET", "/v1/models/", Route::OnlyIfAllowed),
        ("DELETE", "/v1/models/x", Route::OnlyIfAllowed),
        ("GET", "/v1/messages", Route::OnlyIfAllowed),
        ("POST", "/v1/messages/batches", Route::OnlyIfAllowed),
        ("GET", "/v1/files", Route::OnlyIfAllowed),
        ("HEAD", "/", Route::Hello),
        ("GET", "/", Route::Hello),
        ("HEAD", "/api/hello", Route::Hello),
        ("POST", "/", Route::Unknown),
        ("GET", "/v2/messages", Route::Unknown),
        ("GET", "/api/oauth/profile", Route::Unknown),
        ("GET", "/api/oauth/usage", Route::Usage),
        ("POST", "/api/oauth/usage", Route::Unknown),
    ] {
        assert_eq!(Claude.route(&method.parse().unwrap(), path), route, "{method} {path}");
    }
}

#[test]
fn the_oauth_beta_is_added_once_and_only_where_it_is_missing() {
    let oauth = Claude.prepare(&Authorization::OAuth(Secret::new("token")), None).unwrap();
    let with = |betas: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for beta in betas {
            headers.append(BETA, HeaderValue::from_static(beta));
        }
        Claude.authorize(&mut headers, &oauth);
        headers.get_all(BETA).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(with(&["a,b"]), ["a,b,oauth-2025-04-20"]);
    assert_eq!(with(&["a, b "]), ["a, b ,oauth-2025-04-20"]);
    assert_eq!(with(&["a,oauth-2025-04-20,b"]), ["a,oauth-2025-04-20,b"]);
    assert_eq!(with(&["a", "b, oauth-2025-04-20"]), ["a", "b, oauth-2025-04-20"]);
    assert_eq!(with(&["a", "b"]), ["a,oauth-2025-04-20", "b"]);
    assert_eq!(with(&["oauth-2025-04-20x"]), ["oauth-2025-04-20x,oauth-2025-04-20"]);
    assert_eq!(with(&[]), ["oauth-2025-04-20"]);
    assert_eq!(with(&[""]), ["oauth-2025-04-20"]);
}

#[test]
fn each_kind_of_credential_sets_its_header() {
    let mut headers = HeaderMap::new();
    Claude.authorize(&mut headers, &Claude.prepare(&Authorization::OAuth(Secret::new("t")), None).unwrap());
    assert_eq!(headers.get("authorization").unwrap(), "Bearer t");
    assert!(headers.get("authorization").unwrap().is_sensitive());

    let mut headers = map(&[("anthropic-beta", "a")]);
    Claude.authorize(&mut headers, &Claude.prepare(&Authorization::ApiKey(Secret::new("k")), None).unwrap());
    assert_eq!(headers, map(&[("anthropic-beta", "a"), ("x-api-key", "k")]));

    assert!(Claude.prepare(&Authorization::ApiKey(Secret::new("a\nb")), None).is_none());
}

#[test]
fn sessions_are_found_in_every_spelling() {
    let body = |text: &str| Found::Text(text.to_owned());
    assert_eq!(
        Claude.session(&map(&[("x-claude-code-session-id", "s1")]), &[body("x_session_s2")]).as_deref(),
        Some("s1")
    );
    let json = body(r#"{"device_id":"d","account_uuid":"","session_id":"s3"}"#);
    assert_eq!(Claude.session(&map(&[]), &[json]).as_deref(), Some("s3"));
    assert_eq!(
        Claude.session(&map(&[]), &[body("user_a_account_b_session_c_session_s4")]).as_deref(),
        Some("s4")
    );
    for nothing in [
        Found::Nothing,
        Found::Unclear,
        body(""),
        body("x"),
        body("{}"),
        body(r#"{"session_id":1}"#),
        body("[]"),
        body("a_session_"),
    ] {
        assert_eq!(Claude.session(&map(&[]), &[nothing]), None);
    }
}

#[test]
fn a_session_id_that_no_client_would_make_is_none() {
    let long = "s".repeat(MAX_SESSION_ID + 1);
    let mut headers = HeaderMap::new();
    headers.insert(SESSION_ID, HeaderValue::from_str(&long).unwrap());
    assert_eq!(Claude.session(&headers, &[]), None);
    assert_eq!(Claude.session(&map(&[]), &[Found::Text(format!("x_session_{long}"))]), None);
    let longest = &long[1..];
    headers.insert(SESSION_ID, HeaderValue::from_str(longest).unwrap());
    assert_eq!(Claude.session(&headers, &[]).as_deref(), Some(longest));
}

#[test]
fn fast_mode_is_seen_in_any_member() {
    assert!(Claude.asks_extra_usage(&map(&[("anthropic-beta", "a, fast-mode-2026-02-01")])));
    assert!(!Claude.asks_extra_usage(&map(&[("anthropic-beta", "a,not-fast-mode")])));
}

#[test]
fn logins() {
    let read = |text: &str| Claude.read_login(text.as_bytes());
    let login =
        read(r#"{"mcpOAuth":{},"claudeAiOauth":{"accessToken":"t","refreshToken":"r","expiresAt":1795431037123,"x":1}}"#)
            .unwrap();
    assert_eq!(login.access_token, Secret::new("t"));
    assert_eq!(login.expires_at, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_431_037_123)));
    assert_eq!(read(r#"{"claudeAiOauth":{"accessToken":"t","expiresAt":0}}"#).unwrap().expires_at, None);
    assert_eq!(read(r#"{"claudeAiOauth":{"accessToken":"t"}}"#).unwrap().expires_at, None);
    for logged_out in [
        "{}",
        r#"{"claudeAiOauth":{"accessToken":"","expiresAt":9999999999999}}"#,
        r#"{"claudeAiOauth":null}"#,
    ] {
        assert_eq!(read(logged_out), Err(LoginError::LoggedOut));
    }
    for invalid in
        ["", "[]", "{", r#"{"claudeAiOauth":1}"#, r#"{"claudeAiOauth":{"accessToken":1}}"#, "\u{0}"]
    {
        assert!(matches!(read(invalid), Err(LoginError::Invalid(_))), "{invalid}");
    }
    let error = read(r#"{"claudeAiOauth":{"accessToken":"canary-secret""#).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn faults_have_the_providers_shape() {
    let answer = Claude.error(&Fault::new(FaultKind::Authentication, "no \"such\" token"), "req_1");
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.body,
        r#"{"type":"error","error":{"type":"authentication_error","message":"no \"such\" token"},"request_id":"req_1"}"#
    );
}
