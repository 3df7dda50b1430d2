//! The clients against answers that only they can tell apart.

use super::*;
use crate::upstream::{Canned, Cut, Intake, Script, Upstream, on_head};
use crate::{Authority, Signal};

async fn one(script: Script) -> Response {
    let upstream = Upstream::start(Canned::always(script)).await.unwrap();
    send(upstream.addr(), &Request::get("/")).await.unwrap()
}

#[tokio::test]
async fn ends_are_told_apart() {
    let chunked = || Script::status(200).chunk("abc").chunk("de");
    assert_eq!(one(chunked()).await.end, Ended::Complete);
    assert_eq!(one(chunked().close()).await.end, Ended::Cut);
    assert_eq!(one(chunked().reset()).await.end, Ended::Reset);
    let lengthy = || Script::status(200).header("content-length", "9").body("abc");
    assert_eq!(one(lengthy().close()).await.end, Ended::Cut);
    assert_eq!(one(lengthy().reset()).await.end, Ended::Reset);
    assert_eq!(one(Script::status(200).raw("abc")).await.end, Ended::Complete);
    assert_eq!(
        one(Script::status(200).header("transfer-encoding", "chunked").raw("x")).await.end,
        Ended::Malformed
    );
}

#[tokio::test]
async fn frames_are_chunks_and_a_cut_chunk_comes_in_part() {
    let response = one(Script::status(200).chunk("abc").chunk("defgh").cut_at(5, Cut::Close)).await;
    assert_eq!((response.frames, response.end), (vec!["abc".into(), "de".into()], Ended::Cut));
}

#[tokio::test]
async fn data_is_there_before_its_chunk_is_whole() {
    let rest = Signal::new();
    let script = Script::status(200)
        .header("transfer-encoding", "chunked")
        .raw("5\r\nab")
        .wait(&rest)
        .raw("cde\r\n0\r\nA: 1\r\n\r\n");
    let upstream = Upstream::start(Canned::always(script)).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_request(&Request::get("/")).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    assert_eq!(client.data().await.unwrap().unwrap(), "ab");
    rest.set();
    let mut more = Vec::new();
    while let Some(bytes) = client.data().await.unwrap() {
        more.extend_from_slice(&bytes);
    }
    assert_eq!(more, b"cde");
    assert!(
        matches!(client.frame().await.unwrap(), Frame::Trailers(trailers) if trailers.get("a") == Some("1"))
    );
    assert_eq!(client.frame().await.unwrap(), Frame::End(Ended::Complete));
}

#[tokio::test]
async fn the_answer_to_head_has_no_body() {
    let upstream = Upstream::start(Canned::always(Script::text(200, "twelve bytes"))).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    let head = client.send(&Request::new("HEAD", "/")).await.unwrap();
    assert_eq!((head.header("content-length"), head.frames.len()), (Some("12"), 0));
    let get = client.send(&Request::get("/")).await.unwrap();
    assert_eq!(get.text(), "twelve bytes");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_closed_before_an_answer_is_an_error() {
    let upstream = Upstream::start(Canned::new([Script::new(), Script::new().reset()])).await.unwrap();
    let closed = send(upstream.addr(), &Request::get("/")).await.unwrap_err();
    assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
    let reset = send(upstream.addr(), &Request::get("/")).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn http2_frames_and_resets() {
    let scripts = [
        Script::status(200).chunk("abc").chunk("de").trailers([("x-sum", "5")]),
        Script::status(200).chunk("abc").chunk("defgh").cut_at(5, Cut::Reset),
        Script::status(200).chunk("abc").close(),
    ];
    let upstream = Upstream::start_h2c(Canned::new(scripts)).await.unwrap();
    let mut client = H2Client::connect(upstream.addr()).await.unwrap();
    let whole = client.send(&Request::get("/")).await.unwrap();
    assert_eq!((whole.body(), whole.end), ("abcde".into(), Ended::Complete));
    assert_eq!(whole.trailers.get("x-sum"), Some("5"));
    let reset = client.send(&Request::get("/")).await.unwrap();
    assert_eq!((reset.body(), reset.end), ("abcde".into(), Ended::StreamReset(2)));
    let cut = client.send(&Request::get("/")).await.unwrap();
    assert_eq!((cut.body(), cut.end), ("abc".into(), Ended::Cut));
}

#[tokio::test]
async fn http2_uploads_are_streamed_and_can_be_aborted() {
    let upstream = Upstream::start_h2c(Canned::always(Script::text(200, "ok"))).await.unwrap();
    let mut client = H2Client::connect(upstream.addr()).await.unwrap();
    let mut exchange = client.start(&Request::new("POST", "/a?b=1")).await.unwrap();
    exchange.write("first").await.unwrap();
    let request = upstream.next_head().await.unwrap();
    request.body_reached(5).await.unwrap();
    assert_eq!(request.body_end(), None);
    exchange.write("second").await.unwrap();
    exchange.finish();
    assert_eq!(exchange.response().await.unwrap().text(), "ok");
    assert_eq!((request.target.as_str(), request.body_text().as_str()), ("/a?b=1", "firstsecond"));

    let mut exchange = client.start(&Request::new("POST", "/")).await.unwrap();
    exchange.write("part").await.unwrap();
    let request = upstream.next_head().await.unwrap();
    request.body_reached(4).await.unwrap();
    exchange.abort().await.unwrap();
    assert_eq!(request.body_ended().await.unwrap(), crate::upstream::BodyEnd::Cut);
    request.gone().reached().await.unwrap();
}

#[tokio::test]
async fn a_dropped_http2_exchange_is_seen_by_the_upstream() {
    let upstream = Upstream::start_h2c(Canned::always(Script::status(200).chunk("a").stall())).await.unwrap();
    let mut client = H2Client::connect(upstream.addr()).await.unwrap();
    let mut exchange = client.start(&Request::get("/")).await.unwrap();
    assert_eq!(exchange.frame().await.unwrap(), Frame::Data("a".into()));
    drop(exchange);
    upstream.next_head().await.unwrap().gone().reached().await.unwrap();
}

#[tokio::test]
async fn tls_with_either_protocol() {
    let authority = Authority::new().unwrap();
    let behaviour = Canned::always(Script::status(200).chunk("abc").chunk("de").cut_at(4, Cut::Close));
    let upstream = Upstream::start_tls_by(behaviour, &[Alpn::H2, Alpn::Http1], &authority).await.unwrap();
    let (addr, both) = (upstream.addr(), [Alpn::Http1, Alpn::H2]);
    assert_eq!(negotiate(addr, &authority, &both).await.unwrap(), Some(Alpn::H2));
    assert_eq!(negotiate(addr, &authority, &[]).await.unwrap(), None);
    let http1 =
        Connection::connect_tls(addr, &authority).await.unwrap().send(&Request::get("/")).await.unwrap();
    assert_eq!((http1.body(), http1.end), ("abcd".into(), Ended::Cut));
    let http2 =
        H2Client::connect_tls(addr, &authority).await.unwrap().send(&Request::get("/")).await.unwrap();
    assert_eq!((http2.body(), http2.end), ("abcd".into(), Ended::Cut));
    assert!(negotiate(addr, &Authority::new().unwrap(), &both).await.is_err());
    assert!(upstream.url().starts_with("https://localhost:"));
}

#[tokio::test]
async fn http2_answers_early_and_reads_late() {
    let gate = Signal::new();
    let behaviour = {
        let gate = gate.clone();
        on_head(move |_| Intake::early(Script::text(413, "too large")).gate(&gate))
    };
    let upstream = Upstream::start_h2c(behaviour).await.unwrap();
    let mut client = H2Client::connect(upstream.addr()).await.unwrap();
    let mut exchange = client.start(&Request::new("POST", "/")).await.unwrap();
    exchange.write("x").await.unwrap();
    assert_eq!(exchange.head().await.unwrap().status, 413);
    let request = upstream.next_head().await.unwrap();
    assert!(request.body().is_empty());
}
