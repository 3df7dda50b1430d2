//! Requests that have more than one reading, or come from where they should not: refused in the provider's shape.

use serde_json::json;
use trunkline_testkit::client::Request;
use trunkline_testkit::{Script, Upstream};

use crate::support::{
    Current, Protocol, USER_TOKEN, body, connect, final_refusal, message, serve, service, with,
};

async fn answering() -> Upstream {
    Upstream::start(Current::new(Script::json(200, &json!({ "ok": true })))).await.unwrap()
}

#[tokio::test]
async fn a_first_look_needs_no_token() {
    let upstream = answering().await;
    let trunkline = serve(&service(&upstream.url())).await;
    for (method, path) in [("HEAD", "/"), ("HEAD", "/api/hello"), ("GET", "/")] {
        let response = Protocol::Http1.send(trunkline.addr().unwrap(), &Request::new(method, path)).await;
        assert_eq!(response.status(), 200, "{method} {path}");
        assert_eq!(response.body().is_empty(), method == "HEAD");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn requests_of_web_pages_are_refused() {
    let upstream = answering().await;
    let with_users = serve(&service(&upstream.url())).await;
    let open = with(service(&upstream.url()), json!({ "users": [] }));
    let open = serve(&open).await;
    for trunkline in [&with_users, &open] {
        let addr = trunkline.addr().unwrap();
        for (name, value) in
            [("Origin", "http://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")]
        {
            for protocol in Protocol::BOTH {
                let response = protocol.send(addr, &message(body()).header(name, value)).await;
                final_refusal(&response, 403, "permission_error");
            }
        }
        let own = message(body()).header("Origin", &format!("http://{addr}"));
        assert_eq!(Protocol::Http1.send(addr, &own).await.status(), 200);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_foreign_host_is_refused_where_nobody_authenticates() {
    let upstream = answering().await;
    let open = serve(&with(service(&upstream.url()), json!({ "users": [] }))).await;
    let addr = open.addr().unwrap();
    for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80"] {
        let response = Protocol::Http1.send(addr, &message(body()).header("Host", host)).await;
        final_refusal(&response, 403, "permission_error");
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]"] {
        let response = Protocol::Http1.send(addr, &message(body()).header("Host", host)).await;
        assert_eq!(response.status(), 200, "{host}");
    }
    let with_users = serve(&service(&upstream.url())).await;
    let foreign = message(body()).header("Host", "tl.example");
    assert_eq!(Protocol::Http1.send(with_users.addr().unwrap(), &foreign).await.status(), 200);
}

#[tokio::test]
async fn paths_with_more_than_one_reading_are_refused() {
    let upstream = answering().await;
    let trunkline = serve(&service(&upstream.url())).await;
    for path in [
        "//v1/messages",
        "/v1//messages",
        "/v1/./messages",
        "/v1/files/../messages",
        "/v1/%2e%2e/x",
        "/v1%2fmessages",
        "/v1/%6dessages",
        "/v1/messages%00",
        "/v1/messages%",
        "/v1/messages%zz",
        "/v1/\\..\\messages",
    ] {
        let response =
            connect(&trunkline).await.send(&Request::post(path, body()).bearer(USER_TOKEN)).await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        final_refusal(&response, 400, "invalid_request_error");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn an_absolute_target_counts_by_its_path() {
    let upstream = answering().await;
    let trunkline = serve(&service(&upstream.url())).await;
    let request = Request::post("http://elsewhere.example/v1/messages?beta=true", body()).bearer(USER_TOKEN);
    assert_eq!(connect(&trunkline).await.send(&request).await.unwrap().status(), 200);
    let received = upstream.next_request().await.unwrap();
    assert_eq!(received.target, "/v1/messages?beta=true");
    assert_eq!(received.headers.get("host"), Some(upstream.addr().to_string().as_str()));
}

/// Sends a head with these lines, and what comes behind it; that it is refused, and the connection closed.
async fn is_refused(lines: &str, behind: &str) {
    let upstream = answering().await;
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {USER_TOKEN}\r\n{lines}\r\n"
    );
    connection.write_raw(head.as_bytes()).await.unwrap();
    connection.write_raw(behind.as_bytes()).await.unwrap();
    let response = connection.response().await.unwrap();
    assert_eq!(response.status(), 400, "{lines}");
    final_refusal(&response, 400, "invalid_request_error");
    assert_eq!(upstream.connections(), 0, "{lines}");
}

#[tokio::test]
async fn a_length_and_chunks_contradict_each_other() {
    is_refused("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n").await;
    is_refused("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n").await;
}

#[tokio::test]
async fn two_lengths_contradict_each_other() {
    is_refused("Content-Length: 2\r\nContent-Length: 3\r\n", "{}").await;
}

#[tokio::test]
async fn a_request_that_is_not_http_is_refused_in_shape() {
    let upstream = answering().await;
    let trunkline = serve(&service(&upstream.url())).await;
    for garbage in ["garbage\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"] {
        let mut connection = connect(&trunkline).await;
        connection.write_raw(garbage.as_bytes()).await.unwrap();
        let response = connection.response().await.unwrap();
        final_refusal(&response, 400, "invalid_request_error");
        assert!(connection.is_closed_next().await.unwrap(), "{garbage:?}");
    }
}

#[tokio::test]
async fn headers_over_the_limit_are_refused_in_shape() {
    let upstream = answering().await;
    let trunkline = serve(&with(service(&upstream.url()), json!({ "max_header": "8KiB" }))).await;
    // Over the limit, and so far over it that the head is not even read.
    for size in [9 << 10, 200 << 10, 600 << 10] {
        let mut connection = connect(&trunkline).await;
        let request = message(body()).header("x-large", &"x".repeat(size));
        // The answer may come before all of it was taken.
        let _ = connection.write_request(&request).await;
        let response = connection.response().await.unwrap();
        assert_eq!(response.status(), 431, "{size}");
        final_refusal(&response, 431, "request_too_large");
    }
    let fitting = message(body()).header("x-large", &"x".repeat(7 << 10));
    assert_eq!(connect(&trunkline).await.send(&fitting).await.unwrap().status(), 200);
    let over = message(body()).header("x-large", &"x".repeat(9 << 10));
    let response = Protocol::Http2.send(trunkline.addr().unwrap(), &over).await;
    final_refusal(&response, 431, "request_too_large");
    assert_eq!(upstream.requests().len(), 1);
}
