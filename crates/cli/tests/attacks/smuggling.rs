//! Request smuggling: requests whose end is a matter of opinion. Whatever such bytes hold, a second request hidden in them must
//! never reach the provider, and what does reach it must say where it ends in one way.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use trunkline_testkit::client::{H2Client, Request};
use trunkline_testkit::upstream::BodyEnd;

use crate::target::{TOKEN, Target, statuses};

/// The request that is hidden: if it is ever answered, or seen at the provider, somebody was fooled.
fn hidden() -> String {
    format!("GET /v1/hidden HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
}

/// A request with these framing fields and this body.
fn request(fields: &str, body: &str) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{fields}\r\n{body}"
    )
}

/// That nothing hidden came through, and that every request at the provider ends where it says.
fn is_clean(target: &Target, what: &str) {
    for request in target.reached() {
        assert_ne!(request.path(), "/v1/hidden", "{what}");
        let lengths = request.headers.get_all("content-length").count();
        let codings: Vec<_> = request.headers.get_all("transfer-encoding").collect();
        assert!(lengths <= 1 && (lengths == 0 || codings.is_empty()), "{what}: {:?}", request.headers);
        assert!(codings.is_empty() || codings == ["chunked"], "{what}: {codings:?}");
        assert_eq!(request.headers.get_all("host").count(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_head_whose_end_is_ambiguous_is_refused_and_its_connection_closed() {
    let target = Target::new().await;
    let chunked = format!("0\r\n\r\n{}", hidden());
    for fields in [
        // Both ways to tell a length, in every order and spelling.
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding: chunked\r\nX: y\r\ncontent-length: 0\r\n",
        // Lengths that differ, or are none.
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        // Codings that hide others, or only look like one.
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
        // Fields that one reader sees and the next does not.
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "X: y\rContent-Length: 5\r\n",
        "Content\x00-Length: 5\r\n",
        "X: a\x00b\r\n",
        ": 5\r\n",
        "X y: 5\r\n",
        "(x): 5\r\n",
    ] {
        let answer = target.send(request(fields, &chunked).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), [400], "{fields:?}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{fields:?}: {answer}");
        assert!(answer.contains("invalid_request_error"), "{fields:?}: {answer}");
    }
    assert!(target.reached().is_empty(), "{:?}", target.reached());
    target.is_well().await;
}

#[tokio::test]
async fn what_hides_in_a_body_stays_in_it() {
    let target = Target::new().await;
    let hidden = hidden();
    let length = hidden.len();
    for (fields, body, expected) in [
        (format!("Content-Length: {length}\r\n"), hidden.clone(), &[200][..]),
        (format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"), hidden.clone(), &[200]),
        (format!("Content-Length: 0{length}\r\n"), hidden.clone(), &[200]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n"), &[200]),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("000{length:X}\r\n{hidden}\r\n00\r\n\r\n"),
            &[200],
        ),
        (
            "Transfer-Encoding: Chunked\r\n".to_owned(),
            format!("{length:x};a=b\r\n{hidden}\r\n0;c\r\n\r\n"),
            &[200],
        ),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            "0\r\nContent-Length: 900\r\nX: y\r\n\r\n".to_owned(),
            &[200],
        ),
        // Chunks that are none: the rest of the connection means nothing any more.
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("-1\r\n{hidden}"), &[400]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0x5\r\n{hidden}"), &[400]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("\r\n{hidden}"), &[400]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("10000000000000000\r\n{hidden}"), &[400]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("1\r\nxx\r\n0\r\n\r\n{hidden}"), &[400]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("1\rx\r\n0\r\n\r\n{hidden}"), &[400]),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("1 1\r\nx\r\n0\r\n\r\n{hidden}"), &[400]),
    ] {
        let before = target.reached().len();
        let answer = target.send(request(&fields, &body).as_bytes(), 1).await;
        assert_eq!(statuses(&answer), expected, "{fields:?} {body:?}: {answer}");
        let reached = target.reached().len() - before;
        assert!(reached <= 1, "{fields:?} {body:?}");
        is_clean(&target, &format!("{fields:?} {body:?}"));
    }
    target.is_well().await;
}

/// A request that is refused before its body is read must not have its body taken for the next one.
#[tokio::test]
async fn the_body_of_a_refused_request_is_no_request() {
    let target = Target::new().await;
    let hidden = hidden();
    for (line, refused) in [
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n", 401),
        ("POST /nowhere HTTP/1.1\r\nHost: localhost\r\n", 404),
        ("POST /v1/%2e%2e/x HTTP/1.1\r\nHost: localhost\r\n", 400),
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\n", 200),
    ] {
        for (fields, body) in [
            (format!("Content-Length: {}\r\n", hidden.len()), hidden.clone()),
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
            ),
        ] {
            let behind = format!(
                "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            );
            let answer = target.send(format!("{line}{fields}\r\n{body}{behind}").as_bytes(), 2).await;
            assert_eq!(statuses(&answer), [refused, 200], "{line:?} {fields:?}: {answer}");
            is_clean(&target, line);
        }
    }
    // Nor what comes behind one that was answered without waiting for its body.
    let head = "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\nExpect: 100-continue\r\n";
    let answer =
        target.send(format!("{head}Content-Length: {}\r\n\r\n{hidden}", hidden.len()).as_bytes(), 1).await;
    assert_eq!(statuses(&answer), [401], "{answer}");
    is_clean(&target, "expected to go on");
}

/// Requests one behind another are answered in order, and a bad one ends the row.
#[tokio::test]
async fn a_row_of_requests_ends_at_the_first_bad_one() {
    let target = Target::new().await;
    let good = request("Content-Length: 2\r\n", "{}");
    let answer = target.send(format!("{good}{good}{good}").as_bytes(), 3).await;
    assert_eq!(statuses(&answer), [200, 200, 200], "{answer}");
    for bad in [
        request("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        request("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        request("Content-Length: 1\r\nContent-Length: 2\r\n", "{}"),
        "GARBAGE\r\n\r\n".to_owned(),
    ] {
        let answer = target.send(format!("{good}{bad}{}", hidden()).as_bytes(), 2).await;
        assert_eq!(statuses(&answer).first(), Some(&200), "{bad:?}: {answer}");
        assert!(!statuses(&answer)[1..].contains(&200), "{bad:?}: {answer}");
        is_clean(&target, &bad);
    }
    target.is_well().await;
}

/// Over HTTP/2 a request ends with its stream; what it says besides must agree, and must not reach an HTTP/1.1 provider twice.
#[tokio::test]
async fn lengths_over_http2_agree_or_are_refused() {
    let target = Target::new().await;
    let post = || Request::new("POST", "/v1/messages").bearer(TOKEN).body("{}").exact();
    for lengths in [&["2"][..], &["2", "2"], &["2", "2", "2"]] {
        let mut client = H2Client::connect(target.addr()).await.unwrap();
        let request = lengths.iter().fold(post(), |request, length| request.header("content-length", length));
        let response = client.send(&request).await.unwrap();
        assert_eq!(response.status(), 200, "{lengths:?}");
        let received = target.reached().pop().unwrap();
        assert_eq!(received.headers.get_all("content-length").collect::<Vec<_>>(), ["2"], "{lengths:?}");
        is_clean(&target, "http2");
    }
    let before = target.reached().len();
    for (name, values) in [
        ("content-length", &["2", "3"][..]),
        ("content-length", &["3", "2"]),
        ("content-length", &["2, 2"]),
        ("content-length", &["+2"]),
        ("content-length", &["1"]),
        ("content-length", &["3"]),
        ("host", &["evil.example"]),
        ("host", &["localhost", "localhost"]),
    ] {
        let mut client = H2Client::connect(target.addr()).await.unwrap();
        let request = values.iter().fold(post(), |request, value| request.header(name, value));
        // Refused by us, or reset as malformed by the library.
        if let Ok(response) = client.send(&request).await {
            assert_eq!(response.status(), 400, "{name} {values:?}: {response:?}");
        }
        // One whose length does not fit is known for that only at its end, and is then broken off.
        for received in target.reached().into_iter().skip(before) {
            assert_eq!(received.body_ended().await.unwrap(), BodyEnd::Cut, "{name} {values:?}");
        }
    }
    target.is_well().await;
}

/// Framing by chance: whatever is sent, nothing hidden comes through.
#[test]
fn nothing_hidden_comes_through_by_chance() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let target = runtime.block_on(Target::new());
    let field = prop::sample::select(vec![
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "content-length:5\r\n",
        "Content-Length: 5\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:chunked\n",
        "transfer-encoding: identity\r\n",
        "Transfer-Encoding: gzip,chunked\r\n",
        "Connection: close\r\n",
        "Connection: content-length, transfer-encoding\r\n",
        "Trailer: content-length\r\n",
        "TE: chunked\r\n",
        "Upgrade: h2c\r\n",
        "X: y\r\n",
        "Expect: 100-continue\r\n",
    ]);
    let piece = prop::sample::select(vec![
        "0\r\n\r\n",
        "5\r\nabcde\r\n",
        "abcde",
        "\r\n",
        "\n",
        "0\r\n",
        "5;x\r\n",
        "{}",
        "ffffffff\r\n",
    ]);
    let cases = (prop::collection::vec(field, 0..4), prop::collection::vec(piece, 0..4));
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    runner
        .run(&cases, |(fields, pieces)| {
            let sent = request(&fields.concat(), &pieces.concat());
            runtime.block_on(target.throw(sent.as_bytes()));
            for received in target.reached() {
                let lengths = received.headers.get_all("content-length").count();
                let codings = received.headers.get_all("transfer-encoding").count();
                prop_assert!(lengths + codings <= 1, "{:?}", received.headers);
            }
            Ok(())
        })
        .unwrap();
    is_clean(&target, "by chance");
    runtime.block_on(target.is_well());
}
