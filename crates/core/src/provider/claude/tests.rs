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
    let refused = |list: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-beta", list.parse().unwrap());
        Claude.refuse_extra_usage(&headers, "it costs")
    };
    assert_eq!(
        refused("a, fast-mode-2026-02-01").as_deref(),
        Some("capability_rejected: beta_header:fast-mode-2026-02-01 (it costs)")
    );
    assert_eq!(
        refused("fast-mode-1,fast-mode-2").as_deref(),
        Some(
            "capability_rejected: beta_header:fast-mode-1 capability_rejected: beta_header:fast-mode-2 (it costs)"
        )
    );
    assert_eq!(refused("a,not-fast-mode"), None);
    // What is no beta is refused and not repeated.
    assert_eq!(refused("fast-mode \"x").as_deref(), Some("it costs"));
    assert_eq!(refused(&format!("fast-mode-{}", "x".repeat(200))).as_deref(), Some("it costs"));
    let many = refused(&vec!["fast-mode-2026-02-01"; 1_000].join(",")).unwrap();
    assert!(many.len() < 400, "{many}");
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

/// The client asks a 400 that it does not know again in six forms, and an `overloaded_error` three times whatever
/// `x-should-retry` says (gateway contract, 2).
#[test]
fn no_fault_that_time_does_not_heal_says_that_it_is_overloaded() {
    for kind in FaultKind::ALL {
        let answer = Claude.error(&Fault::new(kind, "no"), "req_1");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let error_type = body["error"]["type"].as_str().unwrap();
        assert!(!kind.is_final() || error_type != "overloaded_error", "{kind:?}");
        assert_eq!(
            answer.status == 400,
            ["invalid_request_error", "policy_blocked"].contains(&error_type) && answer.status != 408,
            "{kind:?}"
        );
        if !kind.is_final() {
            assert!(
                answer.status.is_server_error(),
                "{kind:?}: what passes by itself is not the client's doing"
            );
        }
    }
    let denied = Claude.error(&Fault::new(FaultKind::ModelDenied, "model: x"), "req_1");
    assert_eq!(denied.status, 400);
    assert!(String::from_utf8_lossy(&denied.body).contains(r#""type":"policy_blocked""#));
}

#[test]
fn what_a_request_says_of_itself_is_kept_where_it_is_known() {
    let of = |pairs: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        Claude.hints(&headers)
    };
    let class = |pairs: &[(&'static str, &str)]| of(pairs).class.unwrap().name();
    assert_eq!(class(&[]), "main");
    assert_eq!(class(&[("x-claude-code-agent-id", "a0123456789abcdef")]), "subagent");
    for known in RequestClass::ALL {
        let stated = ("x-claude-code-request-class", known.name());
        assert_eq!(class(&[stated, ("x-claude-code-agent-id", "a1")]), known.name());
    }
    assert_eq!(class(&[("x-claude-code-request-class", "root")]), "main");
    let long = "x".repeat(1_000);
    let hints = of(&[
        ("x-claude-code-agent-id", &long),
        ("x-claude-code-parent-agent-id", "a1"),
        ("x-claude-code-agent-type", "two words"),
        ("x-claude-code-prompt-id", "fa4e0000-0000-4000-8000-000000000001"),
    ]);
    assert_eq!(hints.class, Some(RequestClass::Subagent));
    assert_eq!((hints.agent, hints.agent_type), (None, None));
    assert_eq!(hints.parent_agent.as_deref(), Some("a1"));
    assert_eq!(hints.prompt.as_deref(), Some("fa4e0000-0000-4000-8000-000000000001"));
}

#[test]
fn telemetry_is_taken_and_policy_is_not_there() {
    for path in ["/v1/metrics", "/v1/logs", "/v1/traces"] {
        assert_eq!(Claude.route(&Method::POST, path), Route::Discard);
        assert_eq!(Claude.route(&Method::GET, path), Route::OnlyIfAllowed);
    }
    assert_eq!(Claude.route(&Method::GET, "/managed/settings"), Route::Unknown);
}
