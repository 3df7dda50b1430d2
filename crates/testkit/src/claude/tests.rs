//! The scripted API as clients see it.

use serde_json::{Value, json};

use super::*;
use crate::canary::find_leaks;
use crate::client::{Ended, H2Client, Request, Response, send};
use crate::fixtures;
use crate::sse;
use crate::upstream::Upstream;

const BETA: &str = "claude-code-20250219,oauth-2025-04-20";

fn accounts() -> [Account; 2] {
    [
        Account::new("a").access_token("access-a").refresh_token("refresh-a"),
        Account::new("b").api_key("key-b").gateway_token("gate-b").limits(Limits::none()),
    ]
}

async fn started() -> (ClaudeApi, Upstream) {
    let api = ClaudeApi::new(accounts());
    let upstream = Upstream::start(api.clone()).await.unwrap();
    (api, upstream)
}

fn messages(body: &Value) -> Request {
    Request::post("/v1/messages?beta=true", body.to_string()).header("anthropic-version", "2023-06-01")
}

fn as_a(request: Request) -> Request {
    request.bearer("access-a").header("anthropic-beta", BETA)
}

fn hello() -> Value {
    json!({"model": "claude-opus-4-8", "stream": true, "messages": [{"role": "user", "content": "hello"}]})
}

fn error_kind(response: &Response) -> (u16, String) {
    let kind = response.json().unwrap()["error"]["type"].as_str().unwrap_or_default().to_owned();
    (response.status(), kind)
}

#[tokio::test]
async fn a_stream_is_answered_event_by_event() {
    let (api, upstream) = started().await;
    api.set_reply("0123456789");
    let response = send(upstream.addr(), &as_a(messages(&hello()))).await.unwrap();
    assert_eq!((response.status(), response.end), (200, Ended::Complete));
    assert_eq!(response.frames, sse::split(&response.body()));
    assert_eq!(
        sse::names(&response.body()),
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    assert_eq!(response.header("anthropic-ratelimit-unified-status"), Some("allowed"));
    for name in ["request-id", "anthropic-organization-id", "set-cookie", "cf-ray", "server", "via", "date"] {
        assert!(response.head.headers.contains(name), "{name}");
    }
    assert_eq!(find_leaks(&response.head.raw, &[api.cookie()]).len(), 1);
    assert_eq!((api.served("a"), api.served("b")), (1, 0));
}

#[tokio::test]
async fn without_stream_it_is_json() {
    let (_, upstream) = started().await;
    let mut body = hello();
    body.as_object_mut().unwrap().remove("stream");
    let response = send(upstream.addr(), &messages(&body).header("x-api-key", "key-b")).await.unwrap();
    let message = response.json().unwrap();
    assert_eq!(message["stop_reason"], "end_turn");
    assert_eq!(message["content"][0]["text"], "Hi there from the scripted API.");
    assert_eq!(message["usage"]["output_tokens"], 9);
    assert!(!response.head.headers.names().iter().any(|name| name.contains("ratelimit")));
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_ends_the_turn() {
    let (_, upstream) = started().await;
    let mut body = json!({
        "model": "m", "tools": [{"name": "Bash"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "run: echo hi"}]}],
    });
    let call = send(upstream.addr(), &messages(&body).bearer("gate-b")).await.unwrap().json().unwrap();
    assert_eq!((&call["stop_reason"], &call["content"][0]["name"]), (&json!("tool_use"), &json!("Bash")));
    assert_eq!(call["content"][0]["input"]["command"], "echo hi");
    body["stream"] = true.into();
    let stream = send(upstream.addr(), &messages(&body).bearer("gate-b")).await.unwrap().text();
    assert!(stream.contains("input_json_delta") && stream.contains("\"stop_reason\":\"tool_use\""));
    let result =
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "hi"}]});
    body["messages"].as_array_mut().unwrap().push(result);
    body["stream"] = false.into();
    let end = send(upstream.addr(), &messages(&body).bearer("gate-b")).await.unwrap().json().unwrap();
    assert_eq!(end["content"][0]["text"], "The command printed: hi");
}

#[tokio::test]
async fn credentials_are_checked() {
    let (_, upstream) = started().await;
    let addr = upstream.addr();
    let kind = async |request: Request| error_kind(&send(addr, &request).await.unwrap());
    let unauthorized = (401, "authentication_error".to_owned());
    assert_eq!(kind(messages(&hello())).await, unauthorized);
    assert_eq!(kind(messages(&hello()).bearer("wrong")).await, unauthorized);
    assert_eq!(kind(messages(&hello()).header("x-api-key", "access-a")).await, unauthorized);
    assert_eq!(kind(messages(&hello()).bearer("access-a")).await, unauthorized);
    let bare = Request::post("/v1/messages", hello().to_string()).bearer("gate-b");
    assert_eq!(kind(bare).await, (400, "invalid_request_error".to_owned()));
    assert_eq!(kind(Request::get("/v1/files")).await, (404, "not_found_error".to_owned()));
    assert_eq!(kind(messages(&Value::Null).bearer("gate-b").body("{")).await.0, 400);
}

fn refresh(token: &str) -> Request {
    let body = json!({"grant_type": "refresh_token", "refresh_token": token, "client_id": "c", "scope": "s"});
    Request::post("/v1/oauth/token", body.to_string())
}

#[tokio::test]
async fn refresh_tokens_are_good_for_one_use() {
    let (api, upstream) = started().await;
    let addr = upstream.addr();
    api.revoke_access("a");
    assert_eq!(send(addr, &as_a(messages(&hello()))).await.unwrap().status(), 401);
    let tokens = send(addr, &refresh("refresh-a")).await.unwrap().json().unwrap();
    assert_eq!(tokens["expires_in"], 28_800);
    let (access, next) = api.tokens("a");
    assert_eq!(
        (tokens["access_token"].as_str(), tokens["refresh_token"].as_str()),
        (access.as_deref(), next.as_deref())
    );
    let again = send(addr, &refresh("refresh-a")).await.unwrap();
    assert_eq!((again.status(), &again.json().unwrap()["error"]), (400, &json!("invalid_grant")));
    let renewed = messages(&hello()).bearer(&access.unwrap()).header("anthropic-beta", BETA);
    assert_eq!(send(addr, &renewed).await.unwrap().status(), 200);
    assert_eq!((api.refreshes("a"), api.issued().len()), (1, 2));
    api.next_on("/v1/oauth/token", Script::json(500, &json!({"error": "server_error"})));
    assert_eq!(send(addr, &refresh(&next.clone().unwrap())).await.unwrap().status(), 500);
    api.revoke_refresh("a");
    assert_eq!(send(addr, &refresh(&next.unwrap())).await.unwrap().status(), 400);
    assert_eq!(send(addr, &Request::post("/v1/oauth/token", "nonsense")).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_held_refresh_waits_for_its_signal() {
    let (api, upstream) = started().await;
    let gate = Signal::new();
    api.hold_refresh(&gate);
    let addr = upstream.addr();
    let waiting = tokio::spawn(async move { send(addr, &refresh("refresh-a")).await });
    upstream.next_request().await.unwrap();
    assert!(!waiting.is_finished());
    gate.set();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn rejected_limits_and_scripts_are_by_account() {
    let (api, upstream) = started().await;
    let addr = upstream.addr();
    api.set_limits("a", Limits::five_hour_rejected().with("7d_opus-status", "allowed"));
    let rejected = send(addr, &as_a(messages(&hello()))).await.unwrap();
    assert_eq!(error_kind(&rejected), (429, "rate_limit_error".to_owned()));
    assert_eq!(rejected.header("anthropic-ratelimit-unified-5h-status"), Some("rejected"));
    assert_eq!(rejected.header("anthropic-ratelimit-unified-7d-status"), Some("allowed"));
    assert_eq!(rejected.header("anthropic-ratelimit-unified-7d_opus-status"), Some("allowed"));
    assert!(rejected.header("retry-after").unwrap().parse::<u64>().unwrap() > 3600);
    api.next("b", error(529, "overloaded_error", "Overloaded"));
    let b = || messages(&hello()).header("x-api-key", "key-b");
    assert_eq!(error_kind(&send(addr, &b()).await.unwrap()), (529, "overloaded_error".to_owned()));
    assert_eq!(send(addr, &b()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_other_routes() {
    let (api, upstream) = started().await;
    let addr = upstream.addr();
    for target in ["/", "/api/hello"] {
        assert_eq!(send(addr, &Request::new("HEAD", target)).await.unwrap().status(), 200);
    }
    let b = |request: Request| request.bearer("gate-b").header("anthropic-version", "2023-06-01");
    let count =
        send(addr, &b(Request::post("/v1/messages/count_tokens?beta=true", "12345678"))).await.unwrap();
    assert_eq!(count.json().unwrap(), json!({"input_tokens": 3}));
    let models = send(addr, &b(Request::get("/v1/models?limit=1000"))).await.unwrap().json().unwrap();
    let first = models["first_id"].as_str().unwrap();
    let one = send(addr, &b(Request::get(&format!("/v1/models/{first}")))).await.unwrap().json().unwrap();
    assert_eq!(one, models["data"][0]);
    api.set_limits("a", Limits::allowed(0.5, 0.25));
    let usage = send(addr, &as_a(Request::get("/api/oauth/usage"))).await.unwrap().json().unwrap();
    assert_eq!(
        (&usage["five_hour"]["utilization"], &usage["seven_day"]["utilization"]),
        (&json!(50.0), &json!(25.0))
    );
    let profile = send(addr, &as_a(Request::get("/api/oauth/profile"))).await.unwrap().json().unwrap();
    assert_eq!(profile["organization"]["rate_limit_tier"], "default_claude_max_5x");
}

#[tokio::test]
async fn every_recorded_request_of_the_real_client_is_answered() {
    let account = Account::new("any").gateway_token("ak-test");
    let upstream = Upstream::start(ClaudeApi::new([account])).await.unwrap();
    for exchange in fixtures::claude("gateway_full").unwrap() {
        let request = Request::recorded(&exchange.request);
        let response = send(upstream.addr(), &request).await.unwrap();
        assert_eq!((response.status(), response.end), (200, Ended::Complete));
        if exchange.request.method == "POST" {
            assert_eq!(sse::names(&response.body()).last().map(String::as_str), Some("message_stop"));
        }
    }
}

#[tokio::test]
async fn it_speaks_http2_too() {
    let api = ClaudeApi::new(accounts());
    let upstream = Upstream::start_h2c(api).await.unwrap();
    let mut client = H2Client::connect(upstream.addr()).await.unwrap();
    let response = client.send(&as_a(messages(&hello()))).await.unwrap();
    assert_eq!((response.status(), response.end), (200, Ended::Complete));
    assert_eq!(response.frames, sse::split(&response.body()));
    assert_eq!(response.header("transfer-encoding"), None);
}
