//! An answer that the provider cuts is cut for the client at the same byte, and never ended cleanly.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use trunkline_testkit::client::{Connection, Ended, Frame, H2Client, Request, Response};
use trunkline_testkit::upstream::{Cut, EventKind, ReceivedRequest};
use trunkline_testkit::{Script, Upstream, fixtures, sse};

use crate::support::{
    Current, Protocol, body, connect, message, passing_refusal, read_bytes, serve, service,
};

/// Requests under way at once.
const WORKERS: usize = 4;

/// See [`cases`]. A prime, so that every place in a line is among them.
const STRIDE: usize = 7;

#[derive(Clone, Copy, Debug)]
struct Case {
    at: usize,
    cut: Cut,
    is_chunked: bool,
}

/// A whole recorded stream of events.
fn recorded() -> Bytes {
    let exchanges = fixtures::claude("gateway_compact").unwrap();
    exchanges
        .into_iter()
        .map(|exchange| exchange.response)
        .filter(|response| sse::names(&response.body).last().is_some_and(|name| name == "message_stop"))
        .map(|response| response.body)
        .min_by_key(Bytes::len)
        .unwrap()
}

/// Every place with every kind of cut and every framing, but not with all of their pairs: of two of the four, one place in
/// [`STRIDE`] must do.
fn cases(stream: &Bytes) -> Vec<Case> {
    let mut cases = Vec::new();
    for (cut, is_chunked) in
        [(Cut::Reset, true), (Cut::Close, false), (Cut::Close, true), (Cut::Reset, false)]
    {
        // With chunks, the end of the body itself can be missing.
        let end = if is_chunked { stream.len() } else { stream.len() - 1 };
        let every = if (cut == Cut::Reset) == is_chunked { 1 } else { STRIDE };
        cases.extend((0..=end).rev().step_by(every).map(|at| Case { at, cut, is_chunked }));
    }
    cases
}

/// The behaviour of an upstream that is told by a header how to cut.
fn cutting(stream: &Bytes) -> impl Fn(&ReceivedRequest) -> Script + Send + Sync + 'static {
    let stream = stream.clone();
    move |request| {
        let header = request.headers.get("x-case").unwrap_or_default();
        let mut words = header.split(' ');
        let at: usize = words.next().unwrap().parse().unwrap();
        let cut = if words.next() == Some("reset") { Cut::Reset } else { Cut::Close };
        let head = Script::status(200).header("content-type", "text/event-stream");
        let script = if words.next() == Some("chunked") {
            sse::split(&stream).into_iter().fold(head, Script::chunk)
        } else {
            head.body(stream.clone())
        };
        script.cut_at(at, cut)
    }
}

/// A client of either protocol. Over HTTP/2 one connection serves all requests, since a cut ends a stream alone.
enum Client {
    Http1(SocketAddr),
    Http2(H2Client),
}

impl Client {
    async fn connect(addr: SocketAddr, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1(addr),
            Protocol::Http2 => Self::Http2(H2Client::connect(addr).await.unwrap()),
        }
    }

    async fn send(&mut self, request: &Request) -> Response {
        match self {
            Self::Http1(addr) => Protocol::Http1.send(*addr, request).await,
            Self::Http2(client) => client.send(request).await.unwrap(),
        }
    }
}

async fn check(client: &mut Client, protocol: Protocol, stream: &Bytes, case: Case) {
    let cut = if case.cut == Cut::Reset { "reset" } else { "close" };
    let framing = if case.is_chunked { "chunked" } else { "length" };
    let request = message(body()).header("x-case", &format!("{} {cut} {framing}", case.at));
    let response = client.send(&request).await;
    // The head is held until the first event is in, and without one the answer is lost.
    let first = sse::split(stream).first().map_or(0, Bytes::len);
    if case.at < first {
        passing_refusal(&response, 502, "api_error");
        return;
    }
    assert_eq!(response.status(), 200, "{protocol:?} {case:?}: {}", response.text());
    assert_eq!(response.body(), stream.slice(..case.at), "{protocol:?} {case:?}");
    assert!(protocol.is_cut(response.end), "{protocol:?} {case:?}: {:?}", response.end);
}

async fn cut_everywhere(protocol: Protocol) {
    let stream = recorded();
    let upstream = Upstream::start(cutting(&stream)).await.unwrap();
    upstream.set_recording(false);
    let trunkline = serve(&service(&upstream.url())).await;
    let addr = trunkline.addr().unwrap();
    let cases = Arc::new(cases(&stream));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (cases, stream) = (Arc::clone(&cases), stream.clone());
        workers.spawn(async move {
            let mut client = Client::connect(addr, protocol).await;
            for case in cases.iter().skip(worker).step_by(WORKERS) {
                check(&mut client, protocol, &stream, *case).await;
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn every_byte_over_http1() {
    cut_everywhere(Protocol::Http1).await;
}

#[tokio::test]
async fn every_byte_over_http2() {
    cut_everywhere(Protocol::Http2).await;
}

/// A body in which no two places look alike.
fn large(length: usize) -> Bytes {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
}

#[tokio::test]
async fn what_came_before_a_cut_reaches_a_client_that_reads_later() {
    let whole = large(150_000);
    for cut in [Cut::Reset, Cut::Close] {
        for at in [1, 65_536, 149_999] {
            let script = Script::status(200).body(whole.clone()).cut_at(at, cut);
            let upstream = Upstream::start(Current::new(script)).await.unwrap();
            let trunkline = serve(&service(&upstream.url())).await;

            let mut late = connect(&trunkline).await;
            late.write_request(&message(body())).await.unwrap();
            upstream.event(|event| event.kind == EventKind::ResponseCut).await.unwrap();
            assert_eq!(late.head().await.unwrap().status, 200);
            let (frames, _, end) = late.rest().await.unwrap();
            assert_eq!(frames.concat(), whole.slice(..at), "{cut:?} at {at}");
            assert!(Protocol::Http1.is_cut(end), "{cut:?} at {at}: {end:?}");

            let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
            let response = client.send(&message(body())).await.unwrap();
            assert_eq!(response.body(), whole.slice(..at), "{cut:?} at {at}");
            assert!(Protocol::Http2.is_cut(response.end), "{cut:?} at {at}: {:?}", response.end);
        }
    }
}

/// More than all the socket buffers on the way hold, cut before its last byte.
fn more_than_fits(whole: &Bytes, cut: Cut) -> Script {
    let chunks = whole.chunks(1 << 20).map(|chunk| whole.slice_ref(chunk));
    Script::status(200).chunks(chunks).cut_at(whole.len() - 1, cut)
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_every_byte_before_the_cut_over_http1() {
    let whole = large(24 << 20);
    let expected = whole.slice(..whole.len() - 1);
    for cut in [Cut::Reset, Cut::Close] {
        let upstream = Upstream::start(Current::new(more_than_fits(&whole, cut))).await.unwrap();
        let trunkline = serve(&service(&upstream.url())).await;
        let mut slow = connect(&trunkline).await;
        slow.write_request(&message(body())).await.unwrap();
        slow.head().await.unwrap();
        let mut read = Vec::new();
        while let Some(piece) = slow.data().await.unwrap() {
            read.extend_from_slice(&piece);
            tokio::task::yield_now().await;
        }
        assert!(read == expected, "{cut:?}: {} bytes of {}", read.len(), expected.len());
        let Frame::End(end) = slow.frame().await.unwrap() else { panic!("it goes on") };
        assert!(Protocol::Http1.is_cut(end), "{cut:?}: {end:?}");
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_every_byte_before_the_cut_over_http2() {
    let whole = large(24 << 20);
    let expected = whole.slice(..whole.len() - 1);
    for cut in [Cut::Reset, Cut::Close] {
        let upstream = Upstream::start(Current::new(more_than_fits(&whole, cut))).await.unwrap();
        let trunkline = serve(&service(&upstream.url())).await;
        let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
        let mut exchange = client.start(&message(body())).await.unwrap();
        exchange.write(body()).await.unwrap();
        exchange.finish();
        let mut read = Vec::new();
        let end = loop {
            match exchange.frame().await.unwrap() {
                Frame::Data(piece) => read.extend_from_slice(&piece),
                Frame::Trailers(trailers) => panic!("{trailers:?}"),
                Frame::End(end) => break end,
            }
            tokio::task::yield_now().await;
        };
        assert!(read == expected, "{cut:?}: {} bytes of {}", read.len(), expected.len());
        assert!(Protocol::Http2.is_cut(end), "{cut:?}: {end:?}");
    }
}

#[tokio::test]
async fn a_cut_of_one_stream_leaves_the_others_of_its_connection_alone() {
    let go_on = trunkline_testkit::Signal::new();
    let steady = Script::status(200).chunk("one").wait(&go_on).chunk("two");
    let upstream = Upstream::start({
        let steady = steady.clone();
        move |request: &ReceivedRequest| match request.headers.get("x-cut") {
            Some(_) => Script::status(200).chunk("cut").reset(),
            None => steady.clone(),
        }
    })
    .await
    .unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut client = H2Client::connect(trunkline.addr().unwrap()).await.unwrap();
    let mut steady = client.start(&message(body())).await.unwrap();
    steady.write(body()).await.unwrap();
    steady.finish();
    assert_eq!(steady.frame().await.unwrap(), Frame::Data(Bytes::from("one")));
    let response = client.send(&message(body()).header("x-cut", "1")).await.unwrap();
    assert_eq!(response.text(), "cut");
    assert!(Protocol::Http2.is_cut(response.end), "{:?}", response.end);
    go_on.set();
    let response = steady.frame().await.unwrap();
    assert_eq!(response, Frame::Data(Bytes::from("two")));
    assert_eq!(steady.frame().await.unwrap(), Frame::End(Ended::Complete));
}

#[tokio::test]
async fn a_connection_whose_answer_was_cut_is_closed() {
    let script = Script::status(200).header("content-length", "10").body("1234").close();
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let mut connection: Connection = connect(&trunkline).await;
    connection.write_request(&message(body())).await.unwrap();
    connection.head().await.unwrap();
    assert_eq!(read_bytes(&mut connection, 4).await, "1234");
    assert!(connection.is_closed_next().await.unwrap());
}
