//! How a WebSocket is opened: the provider's first, on whichever credential opens one, and then the client's.

use serde_json::json;
use trunkline_testkit::Script;
use trunkline_testkit::client::{H2Client, Request, Response, send};
use trunkline_testkit::codex::{Limits, TurnScript, error};
use trunkline_testkit::upstream::RequestHead;
use trunkline_testkit::websocket::{Frame, Link, Message, Upgraded, accept, upgrade};

use crate::support::USER_TOKEN;
use crate::support::codex::{RESPONSES, body, codex_refusal};
use crate::support::socket::{Set, ask, asking, create, good_turn};

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

/// That the client is sent to HTTP by an answer that says what it would have to ask for (RFC 9110, 15.5.22).
fn is_sent_to_http(response: &Response) {
    assert_eq!(response.status(), 426, "{}", response.text());
    let named = ["upgrade", "connection", "sec-websocket-version"].map(|name| response.header(name));
    assert_eq!(named, [Some("websocket"), Some("Upgrade"), Some("13")]);
    assert!(response.json().unwrap()["error"]["message"].is_string(), "{}", response.text());
}

#[tokio::test]
async fn without_a_websocket_anywhere_the_client_is_sent_to_http() {
    for status in [401, 402, 403, 404, 405, 426, 500, 501, 502, 503, 504, 529] {
        let set = Set::new(&["a", "b"]).await;
        for label in ["a", "b"] {
            // A server's failure and a refused token are tried twice.
            for _ in 0..2 {
                set.api.next_upgrade(label, error(status, "invalid_request_error", None, "scripted"));
            }
        }
        is_sent_to_http(&refused(&set, &asking("s")).await);
    }
    for status in [404, 405, 426, 501] {
        let set = Set::new(&["a", "b"]).await;
        // One of them is enough.
        set.api.next_upgrade("a", error(status, "invalid_request_error", None, "scripted"));
        let mut link = set.open("s").await;
        good_turn(&mut link, &create()).await;
        assert_eq!(set.api.served("b"), 1);
    }
    // It serves something else.
    let set = Set::new(&["a"]).await;
    set.api.next_upgrade("a", Script::json(200, &json!({ "ok": true })));
    is_sent_to_http(&refused(&set, &asking("s")).await);
}

#[tokio::test]
async fn without_a_provider_the_client_is_sent_to_http() {
    let set = Set::new(&["a"]).await;
    drop(set.upstream);
    let Upgraded::Refused(response) =
        Link::connect(set.trunkline.addr().unwrap(), &asking("s")).await.unwrap()
    else {
        panic!("it was opened")
    };
    is_sent_to_http(&response);
    // As is one whose credential has come to its end.
    let set = Set::new(&["a"]).await;
    set.api.revoke_access("a");
    set.api.revoke_refresh("a");
    for _ in 0..2 {
        is_sent_to_http(&refused(&set, &asking("s")).await);
    }
}

/// Opens a WebSocket and ends it at once.
fn ended_at_once(request: &RequestHead, close: Option<u16>) -> Script {
    accept(request).converse(move |mut link: Link| async move {
        if let Some(code) = close {
            let _ = link.send(Frame::close(code, "")).await;
            let _ = link.message().await;
        }
    })
}

#[tokio::test]
async fn a_websocket_that_is_closed_at_once_is_none() {
    for close in [None, Some(1000), Some(1011), Some(1012)] {
        let set = Set::with_sockets(&["a"], move |request| Some(ended_at_once(request, close))).await;
        is_sent_to_http(&refused(&set, &asking("s")).await);
    }
}

#[tokio::test]
async fn a_credential_whose_websockets_stay_open_is_enough() {
    let set = Set::with_sockets(&["a", "b"], |request| {
        let is_a = request.headers.get("authorization") == Some("Bearer access-a");
        is_a.then(|| ended_at_once(request, Some(1011)))
    })
    .await;
    for session in ["s", "t", "u"] {
        let mut link = set.open(session).await;
        good_turn(&mut link, &create()).await;
    }
    assert_eq!((set.api.served("a"), set.api.served("b")), (0, 3));
}

/// A close behind a turn, or in its place, is the client's to see.
#[tokio::test]
async fn a_websocket_that_is_closed_later_was_one() {
    let set = Set::new(&["a"]).await;
    for _ in 0..4 {
        let mut link = set.open("s").await;
        set.api.next_turn("a", TurnScript::new().close(1011, "no"));
        ask(&mut link, &create()).await;
        assert!(matches!(link.message().await.unwrap(), Message::Close(Some((1011, _)))));
    }
}

#[tokio::test]
async fn a_token_that_nobody_has_ends_the_client_at_once() {
    let set = Set::new(&["a"]).await;
    let wrong = upgrade(RESPONSES).bearer("wrong").header("session-id", "s");
    let response = refused(&set, &wrong).await;
    let error = codex_refusal(&response, 400, "authentication_error");
    assert!(error["message"].as_str().unwrap().contains("belongs to no user"), "{error}");
    // Over HTTP it is what it is.
    let posted = Request::post(RESPONSES, body()).bearer("wrong");
    codex_refusal(&send(set.trunkline.addr().unwrap(), &posted).await.unwrap(), 401, "authentication_error");
}

#[tokio::test]
async fn the_size_of_messages_is_the_provider_s_or_ours_if_that_is_lower() {
    const NAME: &str = "x-codex-websocket-max-message-bytes";
    for (stated, expected) in [
        (None, "134217728"),
        (Some("134217728"), "134217728"),
        (Some("20000"), "20000"),
        (Some("999999999"), "134217728"),
    ] {
        let set = Set::with_sockets(&["a"], move |request| {
            let script =
                stated.into_iter().fold(accept(request), |script, stated| script.header(NAME, stated));
            Some(script.converse(silence))
        })
        .await;
        let link = set.open("s").await;
        assert_eq!(link.head().unwrap().header(NAME), Some(expected), "{stated:?}");
        let mut client = H2Client::connect(set.trunkline.addr().unwrap()).await.unwrap();
        client.send(&Request::get("/")).await.unwrap();
        let request = Request::get(RESPONSES).bearer(USER_TOKEN).header("sec-websocket-version", "13");
        let (headers, _socket) = client.socket(&request).await.unwrap();
        assert_eq!(headers.get(NAME).unwrap(), expected, "{stated:?}");
    }
}

/// Stays open, and says nothing.
async fn silence(mut link: Link) {
    while let Ok(Message::Text(_) | Message::Binary(_)) = link.message().await {}
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
    assert_eq!(refused(&set, &upgrade(RESPONSES)).await.status(), 400);
    is_sent_to_http(&refused(&set, &asking("s").set_header("sec-websocket-version", "8")).await);
    // A base URL without its end.
    let unknown = upgrade("/responses").bearer(USER_TOKEN);
    codex_refusal(&refused(&set, &unknown).await, 400, "invalid_request_error");
    // A page that has found its way here.
    let page = asking("s").header("origin", "https://example.org");
    codex_refusal(&refused(&set, &page).await, 403, "permission_error");
    assert_eq!(refused(&set, &asking("s").set_header("sec-websocket-key", "short")).await.status(), 400);
    assert_eq!(
        refused(&set, &asking("s").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")).await.status(),
        400
    );
    assert!(!set.upstream.requests().iter().any(|request| request.target.contains("responses")));
}
