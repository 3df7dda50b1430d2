//! Who may come in, and for what.

use std::io::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::client::{Request, Response};
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::{Script, Trunkline, Upstream};

use crate::support::{
    Current, OAUTH_TOKEN, Protocol, USER_TOKEN, body, final_refusal, message, serve, service, sha256, with,
};

async fn answering() -> Upstream {
    Upstream::start(Current::new(Script::json(200, &json!({ "ok": true })))).await.unwrap()
}

async fn serve_users(upstream: &Upstream, users: Value) -> Trunkline {
    serve(&with(service(&upstream.url()), json!({ "users": users }))).await
}

async fn send(trunkline: &Trunkline, request: Request) -> Response {
    Protocol::Http1.send(trunkline.addr().unwrap(), &request).await
}

fn bare() -> Request {
    Request::post("/v1/messages", body())
}

fn asking(model: &str) -> Bytes {
    Bytes::from(format!(r#"{{"messages":[],"model":"{model}"}}"#))
}

#[tokio::test]
async fn a_token_opens_by_either_header_and_as_a_hash() {
    let upstream = answering().await;
    let users = json!([
        { "name": "alice", "token": USER_TOKEN },
        { "name": "bob", "token_sha256": sha256("hashed") },
    ]);
    let trunkline = serve_users(&upstream, users).await;
    for request in [
        bare().bearer(USER_TOKEN),
        bare().header("authorization", &format!("bearer {USER_TOKEN}")),
        bare().header("x-api-key", USER_TOKEN),
        bare().bearer("hashed"),
        bare().header("x-api-key", "hashed"),
        // `Authorization` decides.
        bare().bearer(USER_TOKEN).header("x-api-key", "wrong"),
    ] {
        for protocol in Protocol::BOTH {
            let response = protocol.send(trunkline.addr().unwrap(), &request).await;
            assert_eq!(response.status(), 200, "{request:?}");
            let received = upstream.next_request().await.unwrap();
            let authorization: Vec<_> = received.headers.get_all("authorization").collect();
            assert_eq!(authorization, [format!("Bearer {OAUTH_TOKEN}")]);
            assert!(!received.headers.contains("x-api-key"));
        }
    }
}

#[tokio::test]
async fn without_a_right_token_nothing_opens() {
    let upstream = answering().await;
    for request in [
        bare(),
        bare().bearer("wrong"),
        bare().header("x-api-key", "wrong"),
        bare().bearer("wrong").header("x-api-key", USER_TOKEN),
        bare().header("Authorization", "Basic dG9rZW4="),
        bare().bearer(USER_TOKEN).bearer("wrong"),
    ] {
        // A process for each, since failures slow down the ones after them.
        let trunkline = serve(&service(&upstream.url())).await;
        for protocol in Protocol::BOTH {
            let response = protocol.send(trunkline.addr().unwrap(), &request).await;
            final_refusal(&response, 401, "authentication_error");
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn disabled_and_expired_users_are_refused() {
    let upstream = answering().await;
    let users = json!([
        { "name": "off", "token": "token-of-off", "disabled": true },
        { "name": "past", "token": "token-of-past", "expires": "2020-01-01T00:00:00Z" },
        { "name": "future", "token": "token-of-future", "expires": "2999-01-01T00:00:00Z" },
    ]);
    let trunkline = serve_users(&upstream, users).await;
    for user in ["off", "past"] {
        let response = send(&trunkline, bare().bearer(&format!("token-of-{user}"))).await;
        let text = final_refusal(&response, 401, "authentication_error");
        assert!(text.contains(user), "{text}");
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(send(&trunkline, bare().bearer("token-of-future")).await.status(), 200);
}

async fn only_sonnet(upstream: &Upstream) -> Trunkline {
    let users = json!([{ "name": "alice", "token": USER_TOKEN, "models": ["claude-sonnet-*"] }]);
    serve_users(upstream, users).await
}

#[tokio::test]
async fn models_are_allowed_or_refused_as_policy() {
    let upstream = answering().await;
    let trunkline = only_sonnet(&upstream).await;
    let allowed = message(asking("claude-sonnet-5"));
    let denied = message(asking("claude-opus-4-8"));
    // An escape changes nothing about what it is.
    let escaped = message(asking(r"claude-\u0073onnet-5"));
    let hidden = message(asking(r"claude-\u006fpus-4-8"));
    for protocol in Protocol::BOTH {
        let addr = trunkline.addr().unwrap();
        assert_eq!(protocol.send(addr, &allowed).await.status(), 200);
        assert_eq!(protocol.send(addr, &escaped).await.status(), 200);
        for request in [&denied, &hidden] {
            let text = final_refusal(&protocol.send(addr, request).await, 400, "policy_blocked");
            assert!(text.contains("claude-opus-4-8"), "{text}");
        }
    }
    let bodies: Vec<Bytes> = upstream.requests().iter().map(ReceivedRequest::body).collect();
    let (plain, escaped) = (asking("claude-sonnet-5"), asking(r"claude-\u0073onnet-5"));
    assert_eq!(bodies, [plain.clone(), escaped.clone(), plain, escaped]);
}

#[tokio::test]
async fn a_model_that_has_no_single_reading_is_refused() {
    let upstream = answering().await;
    let trunkline = only_sonnet(&upstream).await;
    for body in [
        r#"{"model":"claude-sonnet-5","model":"claude-opus-4-8"}"#,
        r#"{"model":"claude-sonnet-5","messages":[],"mod\u0065l":"claude-opus-4-8"}"#,
        r#"{"model":["claude-sonnet-5"]}"#,
        r#"{"model":null}"#,
        r#"{"messages":[]}"#,
        r#"{"model":"claude-sonnet-5""#,
        r#"["model","claude-sonnet-5"]"#,
        "not JSON",
        "",
    ] {
        let response = send(&trunkline, message(body)).await;
        assert_eq!(response.status(), 400, "{body}");
        final_refusal(&response, 400, "invalid_request_error");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn compressed_bodies_are_read_for_their_model_and_forwarded_as_they_came() {
    let upstream = answering().await;
    let trunkline = only_sonnet(&upstream).await;
    let gzip = |body: &Bytes| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |body: &Bytes| zstd::encode_all(&body[..], 1).unwrap();
    let (allowed, denied) = (asking("claude-sonnet-5"), asking("claude-opus-4-8"));
    for (encoding, allowed, denied) in
        [("gzip", gzip(&allowed), gzip(&denied)), ("zstd", zstd(&allowed), zstd(&denied))]
    {
        let request = |body: &Vec<u8>| message(body.clone()).header("Content-Encoding", encoding);
        assert_eq!(send(&trunkline, request(&allowed)).await.status(), 200);
        let received = upstream.next_request().await.unwrap();
        assert_eq!(received.body(), allowed);
        assert_eq!(received.headers.get("content-encoding"), Some(encoding));
        final_refusal(&send(&trunkline, request(&denied)).await, 400, "policy_blocked");
        let cut = allowed.split_last().unwrap().1.to_vec();
        final_refusal(&send(&trunkline, request(&cut)).await, 400, "invalid_request_error");
    }
    let unknown = message(asking("claude-sonnet-5")).header("Content-Encoding", "rot13");
    final_refusal(&send(&trunkline, unknown).await, 400, "invalid_request_error");
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_compressed_body_may_not_grow_without_bound() {
    let upstream = answering().await;
    let users = json!([{ "name": "alice", "token": USER_TOKEN, "models": "*" }]);
    let limited = with(service(&upstream.url()), json!({ "users": users, "max_body": "64KiB" }));
    let trunkline = serve(&limited).await;
    let bomb = zstd::encode_all(&vec![b' '; 1 << 20][..], 1).unwrap();
    assert!(bomb.len() < 1024);
    let response = send(&trunkline, message(bomb).header("Content-Encoding", "zstd")).await;
    final_refusal(&response, 413, "request_too_large");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn models_of_a_credential_hold_for_everyone() {
    let upstream = answering().await;
    let credential = json!({ "tag": "main", "oauth_token": OAUTH_TOKEN, "models": "claude-haiku-*" });
    let trunkline = serve(&with(service(&upstream.url()), json!({ "credentials": [credential] }))).await;
    assert_eq!(send(&trunkline, message(asking("claude-haiku-5"))).await.status(), 200);
    final_refusal(&send(&trunkline, message(asking("claude-opus-4-8"))).await, 404, "not_found_error");
}

#[tokio::test]
async fn other_paths_of_the_api_are_for_those_who_were_given_them() {
    let upstream = answering().await;
    let users = json!([
        { "name": "alice", "token": USER_TOKEN },
        { "name": "bob", "token": "token-of-bob", "paths": ["/v1/files", "/v1/files/*"] },
    ]);
    let trunkline = serve_users(&upstream, users).await;
    for path in ["/v1/files", "/v1/files/1", "/v1/messages/batches", "/v1/sessions", "/v1/", "/v2", "/other"]
    {
        let response = send(&trunkline, Request::get(path).bearer(USER_TOKEN)).await;
        final_refusal(&response, 404, "not_found_error");
    }
    assert_eq!(upstream.connections(), 0);
    for path in ["/v1/files?limit=1", "/v1/files/1", "/v1/models", "/v1/models/claude-opus-4-8?x=%2F"] {
        assert_eq!(send(&trunkline, Request::get(path).bearer("token-of-bob")).await.status(), 200, "{path}");
        assert_eq!(upstream.next_request().await.unwrap().target, path);
    }
    let batches = Request::get("/v1/messages/batches").bearer("token-of-bob");
    final_refusal(&send(&trunkline, batches).await, 404, "not_found_error");
}

#[tokio::test]
async fn a_credential_may_be_for_some_users_only() {
    let upstream = answering().await;
    let over = json!({
        "users": [
            { "name": "alice", "token": USER_TOKEN, "credential": "main" },
            { "name": "bob", "token": "token-of-bob", "credential": "other" },
            { "name": "carol", "token": "token-of-carol", "credential": "main" },
        ],
        "credentials": [
            { "tag": "main", "oauth_token": OAUTH_TOKEN, "users": "alice" },
            { "tag": "other", "oauth_token": "sk-ant-oat01-other" },
        ],
    });
    let trunkline = serve(&with(service(&upstream.url()), over)).await;
    assert_eq!(send(&trunkline, message(body())).await.status(), 200);
    assert_eq!(send(&trunkline, bare().bearer("token-of-bob")).await.status(), 200);
    final_refusal(&send(&trunkline, bare().bearer("token-of-carol")).await, 403, "permission_error");
    let tokens: Vec<String> = upstream
        .requests()
        .iter()
        .filter(|request| request.path() == "/v1/messages")
        .map(|request| request.headers.get("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(tokens, [format!("Bearer {OAUTH_TOKEN}"), "Bearer sk-ant-oat01-other".to_owned()]);
}

#[tokio::test]
async fn fast_mode_can_be_denied() {
    let upstream = answering().await;
    let users = json!([
        { "name": "alice", "token": USER_TOKEN },
        { "name": "bob", "token": "token-of-bob", "fast_mode": "deny" },
    ]);
    let trunkline = serve_users(&upstream, users).await;
    let fast = |token: &str| bare().header("anthropic-beta", "a-1, fast-mode-2026-02-01").bearer(token);
    let text = final_refusal(&send(&trunkline, fast("token-of-bob")).await, 400, "invalid_request_error");
    // The client drops the beta that is named so, and asks once more.
    let named = "capability_rejected: beta_header:fast-mode-2026-02-01 (fast mode costs the account extra";
    assert!(text.starts_with(named), "{text}");
    assert_eq!(upstream.connections(), 0);
    assert_eq!(send(&trunkline, bare().bearer("token-of-bob")).await.status(), 200);
    assert_eq!(send(&trunkline, fast(USER_TOKEN)).await.status(), 200);
}

#[tokio::test]
async fn an_api_key_goes_as_x_api_key_without_the_oauth_beta() {
    let upstream = answering().await;
    let over = json!({
        "credentials": [{ "tag": "key", "type": "api_key", "api_key": "sk-ant-api03-key" }],
        "headers": { "x-team": "blue", "User-Agent": "ours" },
    });
    let trunkline = serve(&with(service(&upstream.url()), over)).await;
    let request = message(body()).header("anthropic-beta", "a-1").header("User-Agent", "theirs");
    for protocol in Protocol::BOTH {
        assert_eq!(protocol.send(trunkline.addr().unwrap(), &request).await.status(), 200);
        let headers = upstream.next_request().await.unwrap().headers.clone();
        assert_eq!(headers.get_all("x-api-key").collect::<Vec<_>>(), ["sk-ant-api03-key"]);
        assert!(!headers.contains("authorization"));
        assert_eq!(headers.get_all("anthropic-beta").collect::<Vec<_>>(), ["a-1"]);
        assert_eq!(headers.get_all("user-agent").collect::<Vec<_>>(), ["ours"]);
        assert_eq!(headers.get("x-team"), Some("blue"));
    }
}

#[tokio::test]
async fn a_path_prefix_and_a_base_path_are_exchanged() {
    let upstream = answering().await;
    let base = format!("{}/base/", upstream.url());
    let trunkline = serve(&with(service(&base), json!({ "path": "/claude" }))).await;
    let request = Request::post("/claude/v1/messages?beta=true&x=%2F", body()).bearer(USER_TOKEN);
    assert_eq!(send(&trunkline, request).await.status(), 200);
    assert_eq!(upstream.next_request().await.unwrap().target, "/base/v1/messages?beta=true&x=%2F");
    final_refusal(&send(&trunkline, message(body())).await, 404, "not_found_error");
    assert_eq!(send(&trunkline, Request::new("HEAD", "/claude")).await.status(), 200);
}
