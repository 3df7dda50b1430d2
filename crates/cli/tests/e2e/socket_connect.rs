//! How a WebSocket is opened: the provider's first, on whichever credential opens one, and then the client's.

use serde_json::json;
use trunkline_testkit::Script;
use trunkline_testkit::client::{Request, Response, send};
use trunkline_testkit::codex::{Limits, error};
use trunkline_testkit::websocket::{Link, Upgraded, upgrade};

use crate::support::USER_TOKEN;
use crate::support::codex::RESPONSES;
use crate::support::socket::{Set, asking, create, good_turn};

async fn refused(set: &Set, request: &Request) -> Response {
    match Link::connect(set.trunkline.addr().unwrap(), request).await.unwrap() {
        Upgraded::Refused(response) => response,
        Upgraded::Open(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn a_turn_goes_through_and_the_handshakes_are_each_side_s_own() {
    let set = Set::new(&["a"]).await;
    let request = asking("s")
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .header("sec-websocket-protocol", "chat")
        .header("chatgpt-account-id", "of-the-client")
        .header("originator", "codex_exec");
    let mut link = Link::open(set.trunkline.addr().unwrap(), &request).await.unwrap();
    let head = link.head().unwrap();
    assert_eq!(head.header("x-models-etag"), Some("W/\"scripted-etag-1\""));
    for absent in
        ["sec-websocket-extensions", "sec-websocket-protocol", "set-cookie", "server", "content-length"]
    {
        assert_eq!(head.header(absent), None, "{absent}");
    }
    // The pool's limits, and not the account's.
    assert!(head.header("x-codex-primary-used-percent").is_some(), "{head:?}");
    assert!(head.header("x-request-id").is_some());
    let first = good_turn(&mut link, &create()).await;
    assert!(first.is_string());
    let upgraded =
        set.upstream.requests().into_iter().find(|head| head.target.ends_with("/responses")).unwrap();
    assert_eq!(upgraded.target, "/backend-api/codex/responses");
    assert_eq!(upgraded.headers.get("openai-beta"), Some("responses_websockets=2026-02-06"));
    assert_eq!(upgraded.headers.get("originator"), Some("codex_exec"));
    assert_eq!(upgraded.headers.get("sec-websocket-extensions"), None);
    assert_eq!(upgraded.headers.get("sec-websocket-protocol"), None);
    assert_eq!(upgraded.headers.get("authorization"), Some("Bearer access-a"));
    set.is_content();
}

#[tokio::test]
async fn a_client_that_names_the_protocol_s_version_keeps_it() {
    let set = Set::new(&["a"]).await;
    let request = asking("s").header("openai-beta", "responses_websockets=2027-01-01");
    let link = Link::open(set.trunkline.addr().unwrap(), &request).await.unwrap();
    drop(link);
    let heads = set.upstream.requests();
    let upgraded = heads.iter().find(|head| head.target.ends_with("/responses")).unwrap();
    let named: Vec<_> = upgraded.headers.get_all("openai-beta").collect();
    assert_eq!(named, ["responses_websockets=2027-01-01"]);
}

#[tokio::test]
async fn a_limited_credential_gives_way_to_another() {
    let set = Set::new(&["a", "b"]).await;
    set.api.next_upgrade("a", error(429, "usage_limit_reached", None, "scripted"));
    let mut link = set.open("s").await;
    good_turn(&mut link, &create()).await;
    assert_eq!((set.api.served("a"), set.api.served("b")), (0, 1));
    set.is_content();
}

#[tokio::test]
async fn a_failing_provider_gives_way_to_another() {
    for status in [500, 503] {
        let set = Set::new(&["a", "b"]).await;
        for _ in 0..3 {
            set.api.next_upgrade("a", error(status, "server_error", None, "scripted"));
        }
        let mut link = set.open("s").await;
        good_turn(&mut link, &create()).await;
        assert_eq!(set.api.served("b"), 1, "{status}");
    }
}

#[tokio::test]
async fn a_refused_token_is_refreshed() {
    let set = Set::new(&["a"]).await;
    set.api.revoke_access("a");
    let mut link = set.open("s").await;
    good_turn(&mut link, &create()).await;
    assert_eq!(set.api.refreshes("a"), 1);
    set.is_content();
}

#[tokio::test]
async fn all_limited_is_one_clean_refusal() {
    let set = Set::new(&["a", "b"]).await;
    for label in ["a", "b"] {
        set.api.next_upgrade(
            label,
            error(429, "usage_limit_reached", None, "scripted")
                .headers(Limits::primary_reached().headers().iter()),
        );
    }
    let response = refused(&set, &asking("s")).await;
    assert_eq!(response.status(), 429, "{}", response.text());
    let body = response.json().unwrap();
    assert_eq!(body["error"]["type"], "usage_limit_reached", "{body}");
    assert!(body["error"]["resets_at"].is_u64(), "{body}");
    assert!(response.header("retry-after").is_some());
    assert!(response.header("x-codex-primary-used-percent").is_some());
}

#[tokio::test]
async fn without_a_websocket_anywhere_the_client_is_sent_to_http() {
    for status in [404, 405, 426, 501] {
        let set = Set::new(&["a", "b"]).await;
        for label in ["a", "b"] {
            set.api.next_upgrade(label, error(status, "invalid_request_error", None, "scripted"));
        }
        let response = refused(&set, &asking("s")).await;
        assert_eq!(response.status(), 426, "{}", response.text());
        // One of them is enough.
        set.api.next_upgrade("a", error(status, "invalid_request_error", None, "scripted"));
        let mut link = set.open("t").await;
        good_turn(&mut link, &create()).await;
        assert_eq!(set.api.served("b"), 1);
    }
    // It serves something else.
    let set = Set::new(&["a"]).await;
    set.api.next_upgrade("a", Script::json(200, &json!({ "ok": true })));
    assert_eq!(refused(&set, &asking("s")).await.status(), 426);
}

#[tokio::test]
async fn an_answer_to_another_handshake_is_none() {
    let set = Set::new(&["a", "b"]).await;
    let wrong = || {
        Script::status(101)
            .header("upgrade", "websocket")
            .header("connection", "upgrade")
            .header("sec-websocket-accept", "c29tZWJvZHkgZWxzZSdzIGtleQ==")
    };
    for _ in 0..2 {
        set.api.next_upgrade("a", wrong());
    }
    let mut link = set.open("s").await;
    good_turn(&mut link, &create()).await;
    assert_eq!(set.api.served("b"), 1);
}

#[tokio::test]
async fn what_is_no_request_for_a_websocket_is_refused() {
    let set = Set::new(&["a"]).await;
    let addr = set.trunkline.addr().unwrap();
    let plain = Request::get(RESPONSES).bearer(USER_TOKEN);
    assert_eq!(send(addr, &plain).await.unwrap().status(), 404);
    assert_eq!(refused(&set, &upgrade(RESPONSES)).await.status(), 401);
    assert_eq!(refused(&set, &asking("s").set_header("sec-websocket-version", "8")).await.status(), 426);
    assert_eq!(refused(&set, &asking("s").set_header("sec-websocket-key", "short")).await.status(), 400);
    assert_eq!(
        refused(&set, &asking("s").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")).await.status(),
        400
    );
    assert!(!set.upstream.requests().iter().any(|request| request.target.contains("responses")));
}
