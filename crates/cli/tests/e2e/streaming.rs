//! Answers pass as they come: every chunk at once, every byte as it was.

use std::io::Write as _;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy as _, any};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use trunkline_testkit::client::{Ended, Frame, H2Client, Request};
use trunkline_testkit::{Headers, Script, Signal, Upstream};

use crate::support::{
    Current, Protocol, USER_TOKEN, body, connect, message, read_bytes, serve, service, with,
};

const CASES: u32 = 40;

/// A script that stops before every chunk but the first until its gate opens, and the gates.
fn gated(chunks: &[Vec<u8>], has_length: bool) -> (Script, Vec<Signal>) {
    let gates: Vec<Signal> = chunks.iter().skip(1).map(|_| Signal::new()).collect();
    let mut script = Script::status(200);
    if has_length {
        script = script.header("content-length", chunks.concat().len().to_string());
    }
    for (nth, chunk) in chunks.iter().enumerate() {
        if let Some(gate) = nth.checked_sub(1).and_then(|before| gates.get(before)) {
            script = script.wait(gate);
        }
        script = if has_length { script.body(chunk.clone()) } else { script.chunk(chunk.clone()) };
    }
    (script, gates)
}

#[test]
fn no_chunk_waits_for_a_later_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let current = Current::default();
    let upstream = runtime.block_on(Upstream::start(current.clone())).unwrap();
    let trunkline = runtime.block_on(serve(&service(&upstream.url())));
    let size = proptest::prop_oneof![1..20_usize, 1_000..3_000_usize, 60_000..70_000_usize];
    let chunk = size.prop_flat_map(|size| vec(any::<u8>(), size));
    let answers = (vec(chunk, 1..6), any::<bool>(), any::<bool>());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&answers, |(chunks, has_length, is_http2)| {
        runtime.block_on(async {
            let (script, gates) = gated(&chunks, has_length);
            current.set(script);
            // Each chunk must have arrived whole before the gate of the next opens.
            let mut open = gates.iter();
            if is_http2 {
                let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
                let mut exchange = client.start(&message(body())).await.unwrap();
                exchange.write(body()).await.unwrap();
                exchange.finish();
                for chunk in &chunks {
                    let mut read = Vec::new();
                    while read.len() < chunk.len() {
                        let Frame::Data(data) = exchange.frame().await.unwrap() else { panic!("an end") };
                        read.extend_from_slice(&data);
                    }
                    assert_eq!(&read, chunk);
                    open.next().inspect(|gate| gate.set());
                }
                assert_eq!(exchange.frame().await.unwrap(), Frame::End(Ended::Complete));
            } else {
                let mut connection = connect(&trunkline).await;
                connection.write_request(&message(body())).await.unwrap();
                let head = connection.head().await.unwrap();
                let length = has_length.then(|| chunks.concat().len().to_string());
                assert_eq!(head.header("content-length"), length.as_deref());
                for chunk in &chunks {
                    assert_eq!(read_bytes(&mut connection, chunk.len()).await, chunk);
                    open.next().inspect(|gate| gate.set());
                }
                assert_eq!(connection.frame().await.unwrap(), Frame::End(Ended::Complete));
            }
        });
        Ok(())
    });
    // The processes and connections belong to the runtime.
    runtime.block_on(async move { drop((trunkline, upstream)) });
    outcome.unwrap();
}

#[tokio::test]
async fn many_small_chunks_at_once_arrive_whole() {
    let chunks: Vec<Bytes> = (0..5_000).map(|nth| Bytes::from(format!("data: {nth}\n\n"))).collect();
    let upstream = Upstream::start(Current::new(Script::sse(chunks.clone()))).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(trunkline.addr().unwrap(), &message(body())).await;
        assert_eq!(response.end, Ended::Complete);
        assert_eq!(response.body(), chunks.concat());
        assert!(response.frames.len() <= chunks.len());
    }
}

#[tokio::test]
async fn trailers_pass() {
    let script =
        Script::status(200).header("trailer", "x-digest").chunk("body").trailers([("x-digest", "1")]);
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    for protocol in Protocol::BOTH {
        let request = message(body()).header("TE", "trailers");
        let response = protocol.send(trunkline.addr().unwrap(), &request).await;
        assert_eq!((response.text().as_str(), response.end), ("body", Ended::Complete));
        assert_eq!(response.trailers.get("x-digest"), Some("1"), "{protocol:?}");
    }
}

#[tokio::test]
async fn early_hints_pass_before_the_answer() {
    let go_on = Signal::new();
    let hints: Headers = [("link", "</style.css>; rel=preload")].into_iter().collect();
    let script = Script::new()
        .interim(103, hints)
        .wait(&go_on)
        .head(200, [("x-final", "1")].into_iter().collect())
        .body("done");
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    // The second is on a connection that has had one, and its hints and its answer come at once.
    for nth in 1..=2 {
        connection.write_request(&message(body())).await.unwrap();
        let head = connection.any_head().await.unwrap();
        let link = head.header("link");
        assert_eq!((head.status, link), (103, Some("</style.css>; rel=preload")), "request {nth}");
        go_on.set();
        let head = connection.any_head().await.unwrap();
        assert_eq!((head.status, head.header("x-final")), (200, Some("1")));
        let (frames, _, end) = connection.rest().await.unwrap();
        assert_eq!((frames.concat(), end), (b"done".to_vec(), Ended::Complete));
    }
}

#[tokio::test]
async fn compressed_answers_stay_compressed() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&[b'a'; 10_000]).unwrap();
    let gzip = encoder.finish().unwrap();
    let length = gzip.len().to_string();
    let script = Script::status(200).header("content-encoding", "gzip").body(gzip.clone());
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    for protocol in Protocol::BOTH {
        let request = message(body()).header("Accept-Encoding", "gzip, br");
        let response = protocol.send(trunkline.addr().unwrap(), &request).await;
        assert_eq!(response.body(), gzip);
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(response.header("content-length"), Some(length.as_str()));
        let received = upstream.next_request().await.unwrap();
        assert_eq!(received.headers.get("accept-encoding"), Some("gzip, br"));
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let current = Current::default();
    let upstream = Upstream::start(current.clone()).await.unwrap();
    let user = json!({ "name": "alice", "token": USER_TOKEN, "paths": "/v1/files/*" });
    let trunkline = serve(&with(service(&upstream.url()), json!({ "users": [user] }))).await;
    let addr = trunkline.addr().unwrap();
    for protocol in Protocol::BOTH {
        current.set(Script::status(204).header("x-kept", "1"));
        let response = protocol.send(addr, &message(body())).await;
        assert_eq!((response.status(), response.end), (204, Ended::Complete));
        assert_eq!(response.header("x-kept"), Some("1"));
        assert!(response.body().is_empty());

        current.set(Script::status(304).header("etag", "\"1\""));
        let response = protocol.send(addr, &Request::get("/v1/models").bearer(USER_TOKEN)).await;
        assert_eq!((response.status(), response.end), (304, Ended::Complete));
        assert_eq!(response.header("etag"), Some("\"1\""));
        assert!(response.body().is_empty());

        current.set(Script::status(200).body(Bytes::new()));
        let response = protocol.send(addr, &message(body())).await;
        assert_eq!((response.status(), response.end), (200, Ended::Complete));
        assert_eq!(response.header("content-length"), Some("0"));

        current.set(Script::status(200).header("content-length", "1234"));
        let head = Request::new("HEAD", "/v1/files/1").bearer(USER_TOKEN);
        let response = protocol.send(addr, &head).await;
        assert_eq!((response.status(), response.end), (200, Ended::Complete));
        assert_eq!(response.header("content-length"), Some("1234"));
        assert!(response.body().is_empty());
    }
}

#[tokio::test]
async fn redirects_are_passed_on_and_not_followed() {
    let elsewhere = Upstream::start(Current::new(Script::text(200, "followed"))).await.unwrap();
    let location = format!("{}/v1/messages", elsewhere.url());
    let script = Script::status(307).header("location", location.as_str()).body("moved");
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(trunkline.addr().unwrap(), &message(body())).await;
        assert_eq!((response.status(), response.text().as_str()), (307, "moved"));
        assert_eq!(response.header("location"), Some(location.as_str()));
    }
    assert_eq!((upstream.requests().len(), elsewhere.connections()), (2, 0));
}

#[tokio::test]
async fn the_provider_is_left_when_the_client_leaves() {
    let upstream = Upstream::start(Current::new(Script::status(200).chunk("one").stall())).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection = connect(&trunkline).await;
    connection.write_request(&message(body())).await.unwrap();
    connection.head().await.unwrap();
    assert_eq!(read_bytes(&mut connection, 3).await, "one");
    connection.reset().unwrap();
    upstream.next_request().await.unwrap().gone().reached().await.unwrap();

    let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
    let mut exchange = client.start(&message(body())).await.unwrap();
    exchange.write(body()).await.unwrap();
    exchange.finish();
    assert_eq!(exchange.frame().await.unwrap(), Frame::Data(Bytes::from("one")));
    drop(exchange);
    upstream.next_request().await.unwrap().gone().reached().await.unwrap();
}
