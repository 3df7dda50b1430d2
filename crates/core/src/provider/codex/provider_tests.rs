//! The provider's facts, with what the real client was recorded to send as input.

use serde_json::Value;

use super::*;
use crate::fault::FaultKind;
use crate::headers::{SetAnew, forwarded_request};
use crate::scan::BodyScan;

/// A provider of one's own, over HTTP and over WebSocket (fact sheet, 1.1).
const CUSTOM_HTTP: &str = include_str!("../../../../testkit/fixtures/codex/s_custom-http.jsonl");
const CUSTOM_SOCKET: &str = include_str!("../../../../testkit/fixtures/codex/s_custom-ws.jsonl");
/// With the client's own login (1.2), and the built-in provider (1.3).
const WITH_LOGIN: &str = include_str!("../../../../testkit/fixtures/codex/s_reqauth-http.jsonl");
const BUILT_IN: &str = include_str!("../../../../testkit/fixtures/codex/t_http.jsonl");
const TOOLS: &str = include_str!("../../../../testkit/fixtures/codex/h_tool.jsonl");

fn recorded(text: &str, method: &str, path_end: &str) -> Vec<Value> {
    let requests = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["request"].clone());
    requests
        .filter(|request| {
            request["method"] == method
                && request["path"].as_str().unwrap().split('?').next().unwrap().ends_with(path_end)
        })
        .collect()
}

fn headers_of(request: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for pair in request["headers"].as_array().unwrap() {
        let name = HeaderName::from_bytes(pair[0].as_str().unwrap().as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(pair[1].as_str().unwrap()).unwrap());
    }
    headers
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(HeaderName::as_str).collect()
}

fn oauth() -> PreparedAuthorization {
    Codex.prepare(&Authorization::OAuth(Secret::new("token")), Some("acct-a")).unwrap()
}

fn api_key() -> PreparedAuthorization {
    Codex.prepare(&Authorization::ApiKey(Secret::new("key")), Some("acct-a")).unwrap()
}

/// What goes out for a request, over HTTP/2, where nothing is set anew that would hide an order.
fn sent(headers: &HeaderMap, prepared: &PreparedAuthorization) -> HeaderMap {
    let anew = SetAnew { authorization: &prepared.name, is_http1: false };
    let mut out = forwarded_request(headers.clone(), anew, 4);
    Codex.authorize(&mut out, prepared);
    out
}

#[test]
fn routes() {
    let model = Route::Forward { asks_model: true, shows_limits: true, uses_quota: true };
    for (method, path, route) in [
        ("POST", "/v1/responses", model),
        (
            "POST",
            "/v1/responses/compact",
            Route::Forward { asks_model: true, shows_limits: false, uses_quota: true },
        ),
        ("GET", "/v1/responses", Route::Socket),
        ("CONNECT", "/v1/responses", Route::Socket),
        ("GET", "/v1/responses/x", Route::Socket),
        ("DELETE", "/v1/responses/x", Route::OnlyIfAllowed),
        ("POST", "/v1/responsesx", Route::OnlyIfAllowed),
        ("GET", "/v1/models", Route::Forward { asks_model: false, shows_limits: false, uses_quota: false }),
        ("POST", "/v1/chat/completions", Route::ForwardWithApiKey),
        ("GET", "/v1/chat/completions", Route::OnlyIfAllowed),
        ("POST", "/v1/images/generations", Route::OnlyIfAllowed),
        ("GET", "/wham/usage", Route::Usage),
        ("GET", "/backend-api/wham/usage", Route::Usage),
        ("GET", "/api/codex/usage", Route::Usage),
        ("POST", "/wham/usage", Route::Unknown),
        ("GET", "/wham/accounts/check", Route::Unknown),
        ("HEAD", "/", Route::Hello),
        ("GET", "/", Route::Hello),
        ("POST", "/", Route::Unknown),
        ("GET", "/v2/responses", Route::Unknown),
        ("GET", "/v1", Route::Unknown),
    ] {
        assert_eq!(Codex.route(&method.parse().unwrap(), path), route, "{method} {path}");
    }
}

#[test]
fn targets_follow_the_kind_of_credential() {
    for (target, of_login) in [
        ("/v1/responses?x=1", "/responses?x=1"),
        ("/v1/responses", "/responses"),
        ("/v1/models?client_version=0.169.0", "/models?client_version=0.169.0"),
        ("/v1beta/x", "/v1beta/x"),
        ("/v1", "/v1"),
    ] {
        let login = Codex.upstream_target(target, LoginKind::OAuth);
        assert_eq!(login, UpstreamTarget { base: UpstreamBase::Api, target: of_login });
        let key = Codex.upstream_target(target, LoginKind::ApiKey);
        assert_eq!(key, UpstreamTarget { base: UpstreamBase::OpenAi, target });
    }
}

#[test]
fn a_recorded_request_goes_out_with_our_credential_and_all_else_in_order() {
    let request = &recorded(CUSTOM_HTTP, "POST", "/responses")[0];
    let headers = headers_of(request);
    let out = sent(&headers, &oauth());
    let kept = ["authorization", "host", "content-length", "connection"];
    let before: Vec<&str> = names(&headers).into_iter().filter(|name| !kept.contains(name)).collect();
    let after: Vec<&str> = names(&out)
        .into_iter()
        .filter(|name| !kept.contains(name) && *name != "chatgpt-account-id")
        .collect();
    assert_eq!(before, after);
    assert_eq!(out["authorization"], "Bearer token");
    assert_eq!(out["chatgpt-account-id"], "acct-a");
    assert!(out["authorization"].is_sensitive() && out["chatgpt-account-id"].is_sensitive());
    // The client asks for no compression, and neither do we (codex.md, *Headers*).
    assert!(!out.contains_key("accept-encoding"));
    assert_eq!(out["session-id"], headers["session-id"]);
}

#[test]
fn the_clients_own_account_stays_here() {
    for text in [WITH_LOGIN, BUILT_IN] {
        let request = &recorded(text, "POST", "/responses")[0];
        let headers = headers_of(request);
        assert_eq!(headers["chatgpt-account-id"], "acct-FAKE-0001");
        assert_eq!(
            sent(&headers, &oauth()).get_all("chatgpt-account-id").iter().collect::<Vec<_>>(),
            ["acct-a"]
        );
        let out = sent(&headers, &api_key());
        assert!(!out.contains_key("chatgpt-account-id"));
        assert_eq!(out["authorization"], "Bearer key");
    }
    // Compressed as it came (fact sheet, 2).
    let request = &recorded(BUILT_IN, "POST", "/responses")[0];
    assert_eq!(sent(&headers_of(request), &oauth())["content-encoding"], "zstd");
    let own = map(&[
        ("x-openai-account-routing-override", "us"),
        ("x-openai-fedramp", "true"),
        ("x-openai-internal-codex-residency", "eu"),
        ("x-openai-actor-authorization", "a"),
        ("x-oai-attestation", "a"),
        ("openai-organization", "o"),
        ("openai-project", "p"),
        ("originator", "codex_exec"),
    ]);
    assert_eq!(names(&sent(&own, &api_key())), ["originator", "authorization"]);
}

#[test]
fn a_login_without_an_account_and_a_token_that_no_header_carries() {
    let prepared = Codex.prepare(&Authorization::OAuth(Secret::new("t")), None).unwrap();
    assert_eq!((prepared.account, prepared.is_oauth), (None, true));
    assert!(Codex.prepare(&Authorization::OAuth(Secret::new("a\nb")), None).is_none());
    assert!(Codex.prepare(&Authorization::OAuth(Secret::new("t")), Some("a\nb")).is_none());
}

#[test]
fn an_upgrade_says_which_protocol_it_wants() {
    let request = &recorded(CUSTOM_SOCKET, "GET", "/responses")[0];
    let mut headers = headers_of(request);
    let before = headers.clone();
    Codex.complete_upgrade(&mut headers);
    assert_eq!(headers, before);
    headers.remove("openai-beta");
    Codex.complete_upgrade(&mut headers);
    assert_eq!(headers["openai-beta"], before["openai-beta"]);
}

#[test]
fn sessions_are_found_in_every_spelling() {
    let headers = map(&[("conversation_id", "c"), ("session_id", "b"), ("session-id", "a")]);
    assert_eq!(Codex.session(&headers, &[]).as_deref(), Some("a"));
    let headers = map(&[("conversation_id", "c"), ("session_id", "b")]);
    assert_eq!(Codex.session(&headers, &[]).as_deref(), Some("b"));
    let headers = map(&[("conversation_id", "c"), ("session-id", "")]);
    assert_eq!(Codex.session(&headers, &[]).as_deref(), Some("c"));
    let text = |text: &str| Found::Text(text.to_owned());
    let none = HeaderMap::new();
    assert_eq!(Codex.session(&none, &[text("m"), text("k")]).as_deref(), Some("m"));
    assert_eq!(Codex.session(&none, &[Found::Unclear, text("k")]).as_deref(), Some("k"));
    let long = "x".repeat(MAX_SESSION_ID + 1);
    assert_eq!(Codex.session(&none, &[text(&long), Found::Nothing]), None);
}

#[test]
fn a_recorded_body_names_its_model_and_its_session() {
    for (text, wanted) in [(CUSTOM_HTTP, true), (TOOLS, true)] {
        for request in recorded(text, "POST", "/responses") {
            let mut scan = BodyScan::new(Codex.wanted());
            scan.push(request["body"].to_string().as_bytes());
            let places = [scan.found(1).clone(), scan.found(2).clone()];
            assert_eq!(scan.found(0).text().is_some(), wanted);
            let id = headers_of(&request)["session-id"].to_str().unwrap().to_owned();
            assert_eq!(Codex.session(&HeaderMap::new(), &places), Some(id.clone()));
            assert_eq!(Codex.session(&headers_of(&request), &[]), Some(id));
        }
    }
}

#[test]
fn turn_state_is_a_credentials_own() {
    let name = Codex.credential_state().unwrap();
    // The second request of a turn brings back what the answer to the first gave (fact sheet, 2; h_tool).
    let requests = recorded(TOOLS, "POST", "/responses");
    let with: Vec<&Value> =
        requests.iter().filter(|request| headers_of(request).contains_key(name)).collect();
    assert_eq!((requests.len(), with.len()), (2, 1));
    let headers = headers_of(with[0]);
    let kept: Vec<&str> = names(&headers).into_iter().filter(|other| *other != name.as_str()).collect();
    assert_eq!(names(&crate::headers::without(headers.clone(), name)), kept);
}

#[test]
fn older_instances_are_told_the_session() {
    let mut headers = map(&[("session-id", "a")]);
    Codex.name_session(&mut headers, "a");
    assert_eq!(headers["session_id"], "a");
    Codex.name_session(&mut headers, "b");
    assert_eq!(headers["session_id"], "a");
}

#[test]
fn limits_are_not_shown_and_the_rest_of_an_answer_is() {
    let line = BUILT_IN.lines().find(|line| line.contains("sse_events")).unwrap();
    let answer: Value = serde_json::from_str(line).unwrap();
    let headers = headers_of(&answer["response"]);
    let passed = crate::headers::forwarded_response(
        headers,
        |name| Provider::is_limit_header(&Codex, name),
        0,
        &mut HeaderMap::new(),
    );
    assert_eq!(
        names(&passed),
        [
            "x-request-id",
            "openai-processing-ms",
            "openai-model",
            "x-models-etag",
            "x-reasoning-included",
            "x-codex-turn-state",
            "x-codex-plan-type",
            "content-type",
            "cache-control",
            "date"
        ]
    );
}

#[test]
fn our_own_errors() {
    for (kind, status, error_type) in [
        (FaultKind::InvalidRequest, 400, "invalid_request_error"),
        (FaultKind::Authentication, 401, "authentication_error"),
        (FaultKind::UserInactive, 400, "authentication_error"),
        (FaultKind::Permission, 400, "permission_error"),
        (FaultKind::WebPage, 403, "permission_error"),
        (FaultKind::NotFound, 404, "invalid_request_error"),
        (FaultKind::ModelDenied, 400, "invalid_request_error"),
        (FaultKind::ModelNotServed, 400, "invalid_request_error"),
        (FaultKind::BodyTooLarge, 413, "invalid_request_error"),
        (FaultKind::Overloaded, 503, "server_error"),
        (FaultKind::UpstreamConnection, 502, "server_error"),
        (FaultKind::UpstreamAnswer, 502, "server_error"),
        (FaultKind::UpstreamTimeout, 504, "server_error"),
    ] {
        let answer = Codex.error(&Fault::new(kind, "why \"not\""), "req_1");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(
            body,
            serde_json::json!({"error": {"message": "why \"not\"", "type": error_type, "code": kind.label()}})
        );
        // None of them is one at which the client gives up or shows words of its own (fact sheet, 4).
        let fields = crate::failure::ErrorFields::from_body(&answer.body);
        assert_eq!(CODEX.meaning(status, &fields), None, "{kind:?}");
    }
}

#[test]
fn an_answer_of_ours_as_an_event() {
    let answer = Codex.error(&Fault::new(FaultKind::Permission, "no"), "");
    let headers = [(HeaderName::from_static("retry-after"), HeaderValue::from(5))];
    let event: Value = serde_json::from_str(&Codex.error_message(&answer, &headers)).unwrap();
    assert_eq!(event["type"], "error");
    // Beside each other the client reads neither, and waits for ever.
    assert_eq!((event.get("status"), &event["status_code"]), (None, &answer.status.as_u16().into()));
    assert_eq!(event["error"]["message"], "no");
    assert_eq!(event["headers"], serde_json::json!({"retry-after": "5"}));
}

#[test]
fn the_block_of_the_configuration_file() {
    let file = Codex.client_file("http://127.0.0.1:8787/codex/", ClientToken::Value("tok\"en\\\n")).unwrap();
    assert_eq!(file.path, "~/.codex/config.toml");
    assert_eq!(
        file.text,
        "model_provider = \"trunkline\"\n\n[model_providers.trunkline]\nname = \"Trunkline\"\n\
         base_url = \"http://127.0.0.1:8787/codex/v1\"\nwire_api = \"responses\"\n\
         experimental_bearer_token = \"tok\\\"en\\\\\\u000A\"\nsupports_websockets = true\n"
    );
    assert!(Codex.client_variables(ClientMode::Gateway, "u", "t").is_empty());
}
