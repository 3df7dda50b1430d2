//! Request bodies: forwarded while they arrive, bounded, and repeated only where nothing can have been done with them.

use std::collections::HashSet;
use std::net::TcpListener;

use bytes::Bytes;
use serde_json::json;
use trunkline_testkit::client::{Ended, H2Client, Request};
use trunkline_testkit::upstream::{BodyEnd, Canned, Intake, ReceivedRequest, on_head};
use trunkline_testkit::{Script, Signal, Upstream};

use crate::support::{
    Current, Protocol, USER_TOKEN, body, connect, final_refusal, message, passing_refusal, read_bytes, serve,
    service, with,
};

const FIRST: &[u8] = br#"{"model":"claude-opus-4-8","messages":["#;
const SECOND: &[u8] = b"]}";

fn ok() -> Current {
    Current::new(Script::json(200, &json!({ "ok": true })))
}

/// A request whose session a header names, so that its body need not be waited for.
fn upload() -> Request {
    message("").header("x-claude-code-session-id", "one")
}

#[tokio::test]
async fn an_upload_is_forwarded_while_it_arrives_over_http1() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let whole = [FIRST, SECOND].concat();
    for is_chunked in [true, false] {
        let mut connection = connect(&trunkline).await;
        let framing = if is_chunked {
            ("Transfer-Encoding", "chunked".to_owned())
        } else {
            ("Content-Length", whole.len().to_string())
        };
        connection.write_head(&upload().header(framing.0, &framing.1)).await.unwrap();
        if is_chunked {
            connection.write_chunk(FIRST).await.unwrap();
        } else {
            connection.write_raw(FIRST).await.unwrap();
        }
        let received = upstream.next_head().await.unwrap();
        received.body_reached(FIRST.len()).await.unwrap();
        assert_eq!((received.body_end(), received.body()), (None, Bytes::from_static(FIRST)));
        let passed = received.headers.get(framing.0).map(str::to_owned);
        assert_eq!(passed, Some(framing.1));
        if is_chunked {
            connection.write_chunk(SECOND).await.unwrap();
            connection.write_last_chunk().await.unwrap();
        } else {
            connection.write_raw(SECOND).await.unwrap();
        }
        assert_eq!(received.body_ended().await.unwrap(), BodyEnd::Complete);
        assert_eq!(received.body(), whole);
        assert_eq!(connection.response().await.unwrap().status(), 200);
    }
}

/// A connection that has carried much reads much at once: a head and what follows it.
#[tokio::test]
async fn a_large_upload_may_follow_another_in_one_piece_with_its_head() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    let large = format!(r#"{{"model":"claude-opus-4-8","x":"{}"}}"#, "x".repeat(1 << 20));
    for _ in 0..3 {
        assert_eq!(connection.send(&message(large.clone())).await.unwrap().status(), 200);
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {USER_TOKEN}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            large.len()
        );
        connection.write_raw(format!("{head}{large}\r\n0\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(connection.response().await.unwrap().status(), 200);
    }
    let received = upstream.requests();
    assert_eq!(received.len(), 6);
    for request in received {
        assert_eq!(request.body(), large.as_bytes());
    }
}

#[tokio::test]
async fn an_upload_is_forwarded_while_it_arrives_over_http2() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
    let mut exchange = client.start(&upload().exact()).await.unwrap();
    exchange.write(FIRST).await.unwrap();
    let received = upstream.next_head().await.unwrap();
    received.body_reached(FIRST.len()).await.unwrap();
    assert_eq!(received.body_end(), None);
    exchange.write(SECOND).await.unwrap();
    exchange.finish();
    assert_eq!(received.body_ended().await.unwrap(), BodyEnd::Complete);
    assert_eq!(received.body(), [FIRST, SECOND].concat());
    assert_eq!(exchange.response().await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_upload_that_the_client_gives_up_ends_at_the_provider_too() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    connection.write_head(&upload().header("Transfer-Encoding", "chunked")).await.unwrap();
    connection.write_chunk(FIRST).await.unwrap();
    let received = upstream.next_head().await.unwrap();
    received.body_reached(FIRST.len()).await.unwrap();
    connection.reset().unwrap();
    assert_eq!(received.body_ended().await.unwrap(), BodyEnd::Cut);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let trunkline = serve(&with(service(&upstream.url()), json!({ "max_body": "1KiB" }))).await;
    let addr = trunkline.addr().unwrap();
    let fitting = Bytes::from(vec![b' '; 1024]);
    let over = Bytes::from(vec![b' '; 1025]);
    for protocol in Protocol::BOTH {
        // Declared: nothing of it is waited for, or sent on.
        let seen = upstream.requests().len();
        let response = protocol.send(addr, &message(over.clone())).await;
        final_refusal(&response, 413, "request_too_large");
        assert_eq!(upstream.requests().len(), seen, "{protocol:?}");
        // Not declared: seen on the way.
        let chunks = over.chunks(205).map(Bytes::copy_from_slice);
        let response = protocol.send(addr, &upload().chunked(chunks)).await;
        final_refusal(&response, 413, "request_too_large");
        // At the limit.
        assert_eq!(protocol.send(addr, &message(fitting.clone())).await.status(), 200);
        let chunks = fitting.chunks(100).map(Bytes::copy_from_slice);
        assert_eq!(protocol.send(addr, &upload().chunked(chunks)).await.status(), 200);
    }
    // Whatever came of the others, the provider took none of them for whole.
    for request in upstream.requests() {
        request.body_ended().await.unwrap();
        assert!(request.body_end() == Some(BodyEnd::Cut) || request.body().len() <= 1024);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_forever() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let timeouts = json!({ "timeouts": { "request_body": "200ms" } });
    let trunkline = serve(&with(service(&upstream.url()), timeouts)).await;
    let mut connection = connect(&trunkline).await;
    connection.write_head(&upload().header("Content-Length", "100")).await.unwrap();
    connection.write_raw(FIRST).await.unwrap();
    final_refusal(&connection.response().await.unwrap(), 408, "invalid_request_error");
    // The rest of that body must not be taken for a request.
    assert!(connection.is_closed_next().await.unwrap());
    assert_eq!(upstream.next_head().await.unwrap().body_ended().await.unwrap(), BodyEnd::Cut);

    let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
    let mut exchange = client.start(&upload().exact()).await.unwrap();
    exchange.write(FIRST).await.unwrap();
    final_refusal(&exchange.response().await.unwrap(), 408, "invalid_request_error");
}

#[tokio::test]
async fn a_body_that_is_read_for_its_model_is_not_waited_for_forever_either() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let over = json!({
        "users": [{ "name": "alice", "token": USER_TOKEN, "models": "claude-*" }],
        "timeouts": { "request_body": "200ms" },
    });
    let trunkline = serve(&with(service(&upstream.url()), over)).await;
    let mut connection = connect(&trunkline).await;
    connection.write_head(&upload().header("Content-Length", "100")).await.unwrap();
    connection.write_raw(FIRST).await.unwrap();
    final_refusal(&connection.response().await.unwrap(), 408, "invalid_request_error");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_go_on() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    let length = body().len().to_string();
    let request = upload().header("Content-Length", &length).header("Expect", "100-continue");
    connection.write_head(&request).await.unwrap();
    assert_eq!(connection.any_head().await.unwrap().status, 100);
    connection.write_raw(&body()).await.unwrap();
    let response = connection.response().await.unwrap();
    assert_eq!((response.status(), response.interim.len()), (200, 0));
    assert_eq!(upstream.next_request().await.unwrap().body(), body());
}

#[tokio::test]
async fn a_refused_client_is_not_told_to_go_on() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    let request = Request::post("/v1/messages", "")
        .header("Content-Length", "5")
        .header("Expect", "100-continue")
        .bearer("wrong");
    connection.write_head(&request).await.unwrap();
    let response = connection.response().await.unwrap();
    final_refusal(&response, 401, "authentication_error");
    assert!(response.interim.is_empty());
}

#[tokio::test]
async fn an_answer_before_the_upload_has_ended_passes() {
    let never = Signal::new();
    let upstream = Upstream::start({
        let never = never.clone();
        on_head(move |_| Intake::early(Script::json(413, &json!({ "early": true }))).gate(&never))
    })
    .await
    .unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    connection.write_head(&upload().header("Transfer-Encoding", "chunked")).await.unwrap();
    connection.write_chunk(FIRST).await.unwrap();
    let response = connection.response().await.unwrap();
    assert_eq!((response.status(), response.end), (413, Ended::Complete));
    assert_eq!(response.text(), r#"{"early":true}"#);

    let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
    let mut exchange = client.start(&upload().exact()).await.unwrap();
    exchange.write(FIRST).await.unwrap();
    let response = exchange.response().await.unwrap();
    assert_eq!((response.status(), response.text().as_str()), (413, r#"{"early":true}"#));
}

/// Answers the first request of a connection, and closes it without an answer when a second comes.
fn once_a_connection(request: &ReceivedRequest) -> Script {
    if request.nth == 1 { Script::json(200, &json!({ "ok": true })) } else { Script::new().close() }
}

#[tokio::test]
async fn a_reused_connection_that_was_dead_is_replaced_once() {
    let upstream = Upstream::start(once_a_connection).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    assert_eq!(connection.send(&message(body())).await.unwrap().status(), 200);
    let first = upstream.next_request().await.unwrap();

    let large = Bytes::from(vec![b'x'; 1 << 20]);
    assert_eq!(connection.send(&message(large.clone())).await.unwrap().status(), 200);
    let lost = upstream.next_request().await.unwrap();
    let repeated = upstream.next_request().await.unwrap();
    assert!(first.connection == lost.connection && lost.connection != repeated.connection);
    assert_eq!((lost.nth, repeated.nth), (2, 1));
    assert!(lost.body() == large && repeated.body() == large);
    assert_eq!(lost.headers.iter().collect::<Vec<_>>(), repeated.headers.iter().collect::<Vec<_>>());
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn an_idle_connection_that_the_provider_closed_is_not_used() {
    let script = Script::json(200, &json!({ "ok": true })).close();
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    let mut seen = HashSet::new();
    for _ in 0..3 {
        assert_eq!(connection.send(&message(body())).await.unwrap().status(), 200);
        assert!(seen.insert(upstream.next_request().await.unwrap().connection));
        upstream.idle().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_lost_on_its_second_connection_is_not_sent_a_third_time() {
    let canned = Canned::new([Script::json(200, &json!({}))]).otherwise(Script::new().close());
    let upstream = Upstream::start(canned).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    assert_eq!(connection.send(&message(body())).await.unwrap().status(), 200);
    passing_refusal(&connection.send(&message(body())).await.unwrap(), 502, "api_error");
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn a_fresh_connection_that_is_lost_is_a_failure() {
    for script in [Script::new().close(), Script::new().reset(), Script::new().raw("garbage\r\n\r\n").close()]
    {
        let upstream = Upstream::start(Current::new(script)).await.unwrap();
        let trunkline = serve(&service(&upstream.url())).await;
        let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
        passing_refusal(&response, 502, "api_error");
        assert_eq!(upstream.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_failure() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let trunkline = serve(&service(&url)).await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(trunkline.addr().unwrap(), &message(body())).await;
        let text = passing_refusal(&response, 502, "api_error");
        assert!(text.contains("main") && !text.contains(&url), "{text}");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_not_waited_for_forever() {
    let upstream = Upstream::start(Current::new(Script::new().stall())).await.unwrap();
    let timeouts = json!({ "timeouts": { "response_head": "200ms" } });
    let trunkline = serve(&with(service(&upstream.url()), timeouts)).await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(trunkline.addr().unwrap(), &message(body())).await;
        passing_refusal(&response, 504, "api_error");
        upstream.next_request().await.unwrap().gone().reached().await.unwrap();
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn silence_in_the_middle_of_an_answer_ends_in_a_cut() {
    let upstream = Upstream::start(Current::new(Script::status(200).chunk("one").stall())).await.unwrap();
    let timeouts = json!({ "timeouts": { "idle": "200ms" } });
    let trunkline = serve(&with(service(&upstream.url()), timeouts)).await;
    let mut connection = connect(&trunkline).await;
    connection.write_request(&message(body())).await.unwrap();
    connection.head().await.unwrap();
    assert_eq!(read_bytes(&mut connection, 3).await, "one");
    let (frames, _, end) = connection.rest().await.unwrap();
    assert!(frames.is_empty() && Protocol::Http1.is_cut(end), "{end:?}");
    upstream.next_request().await.unwrap().gone().reached().await.unwrap();

    let response = Protocol::Http2.send(trunkline.addr().unwrap(), &message(body())).await;
    assert_eq!(response.text(), "one");
    assert!(Protocol::Http2.is_cut(response.end), "{:?}", response.end);
}
