//! Scripts as a raw client sees them, and requests as the record has them.

use bytes::Bytes;

use super::*;
use crate::Signal;
use crate::client::{Connection, Ended, Frame, H2Client, Request, send};
use crate::fixtures::{self, End};
use crate::headers::Headers;
use crate::sse;

fn kinds(upstream: &Upstream) -> Vec<EventKind> {
    upstream.events().into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn recorded_exchanges_come_back_as_recorded() {
    for set in fixtures::CLAUDE {
        let mut exchanges = fixtures::claude(set).unwrap();
        // A poll of usage is answered before any script and is not in the record.
        exchanges.retain(|exchange| exchange.request.target != "/api/oauth/usage");
        let scripts = exchanges.iter().map(|exchange| Script::recorded(&exchange.response));
        let upstream = Upstream::start(Canned::new(scripts)).await.unwrap();
        for exchange in &exchanges {
            let (sent, expected) = (Request::recorded(&exchange.request), &exchange.response);
            let result = send(upstream.addr(), &sent).await;
            let received = upstream.next_request().await.unwrap();
            assert_eq!(
                (&received.method, &received.target),
                (&exchange.request.method, &exchange.request.target)
            );
            assert_eq!(received.raw, sent.head_bytes(&upstream.addr().to_string()));
            assert_eq!(received.body(), sent.body_bytes());
            let Some(status) = expected.status else {
                assert!(result.is_err());
                continue;
            };
            let response = result.unwrap();
            assert_eq!((response.status(), &response.head.headers), (status, &expected.headers));
            assert_eq!(response.body(), expected.body);
            let end = match expected.end {
                End::Complete => Ended::Complete,
                End::RstMidStream => Ended::Reset,
                _ => Ended::Cut,
            };
            assert_eq!(response.end, end, "{} {}", exchange.scenario, exchange.seq);
            if expected.headers.contains("transfer-encoding") {
                assert_eq!(response.frames, sse::split(&expected.body));
            }
        }
    }
}

#[tokio::test]
async fn a_cut_at_n_is_a_cut_after_n_bytes() {
    let body = Bytes::from(vec![b'x'; 100]);
    for cut in [Cut::Reset, Cut::Close] {
        for n in [0, 1, 9, 10, 11, 99, 100] {
            let chunked = body.chunks(10).map(Bytes::copy_from_slice);
            let scripts = [
                Script::status(200).chunks(chunked).cut_at(n, cut),
                Script::status(200).header("content-length", "101").body(body.clone()).cut_at(n, cut),
            ];
            let upstream = Upstream::start(Canned::new(scripts)).await.unwrap();
            for _ in 0..2 {
                let response = send(upstream.addr(), &Request::get("/")).await.unwrap();
                let expected = if cut == Cut::Reset { Ended::Reset } else { Ended::Cut };
                assert_eq!((response.body().len(), response.end), (n, expected));
            }
        }
    }
}

#[tokio::test]
async fn a_large_body_is_delivered_before_the_reset() {
    let script = Script::status(200).body(vec![0; 3_000_000]).cut_at(2_500_000, Cut::Reset);
    let upstream = Upstream::start(Canned::always(script)).await.unwrap();
    let response = send(upstream.addr(), &Request::get("/")).await.unwrap();
    assert_eq!((response.body().len(), response.end), (2_500_000, Ended::Reset));
}

#[tokio::test]
async fn a_gate_holds_a_stream_until_the_test_opens_it() {
    let (gate, reached) = (Signal::new(), Signal::new());
    let script = Script::sse([sse::data("1")]).announce(&reached).wait(&gate).chunk(sse::data("2"));
    let upstream = Upstream::start(Canned::always(script)).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_request(&Request::get("/")).await.unwrap();
    client.head().await.unwrap();
    assert_eq!(client.frame().await.unwrap(), Frame::Data(sse::data("1")));
    reached.reached().await.unwrap();
    upstream.mark("opened");
    gate.set();
    assert_eq!(client.frame().await.unwrap(), Frame::Data(sse::data("2")));
    assert_eq!(client.frame().await.unwrap(), Frame::End(Ended::Complete));
    let kinds = kinds(&upstream);
    let at = |kind: EventKind| kinds.iter().position(|k| *k == kind).unwrap();
    assert!(at(EventKind::ResponseBody) < at(EventKind::Mark("opened".to_owned())));
    assert!(at(EventKind::Mark("opened".to_owned())) < at(EventKind::ResponseComplete));
}

#[tokio::test]
async fn request_chunks_and_trailers_are_recorded() {
    let upstream = Upstream::start(Canned::always(Script::text(200, "ok"))).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    let head = Request::new("POST", "/up").header("X-CaSe", "1").header("Transfer-Encoding", "chunked");
    client.write_head(&head).await.unwrap();
    client.write_chunk(b"first").await.unwrap();
    let request = upstream.next_head().await.unwrap();
    request.body_reached(5).await.unwrap();
    client.write_raw(b"6\r\nsec").await.unwrap();
    request.body_reached(8).await.unwrap();
    client.write_raw(b"ond\r\n0\r\nX-Sum: 11\r\n\r\n").await.unwrap();
    assert_eq!(client.response().await.unwrap().text(), "ok");
    assert_eq!(request.frames(), ["first", "second"]);
    assert_eq!(request.trailers().get("x-sum"), Some("11"));
    assert_eq!(request.headers.names()[..2], ["X-CaSe", "Transfer-Encoding"]);
    assert_eq!((request.connection, request.nth, request.path()), (1, 1, "/up"));
    let second = client.send(&Request::get("/again")).await.unwrap();
    assert_eq!(second.status(), 200);
    assert_eq!((upstream.requests()[1].connection, upstream.requests()[1].nth), (1, 2));
}

#[tokio::test]
async fn continue_is_said_when_the_body_is_wanted() {
    let gate = Signal::new();
    let upstream = {
        let gate = gate.clone();
        Upstream::start(Gated(gate)).await.unwrap()
    };
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    let request = Request::new("POST", "/").header("Expect", "100-continue").body("abc");
    client.write_head(&request).await.unwrap();
    upstream.next_head().await.unwrap();
    gate.set();
    assert_eq!(client.any_head().await.unwrap().status, 100);
    client.write_raw(b"abc").await.unwrap();
    assert_eq!(client.response().await.unwrap().status(), 204);
}

struct Gated(Signal);

impl Behaviour for Gated {
    fn on_head(&self, _: &RequestHead) -> Intake {
        Intake::whole().gate(&self.0)
    }

    fn respond(&self, _: &ReceivedRequest) -> Script {
        Script::status(204)
    }
}

#[tokio::test]
async fn an_early_answer_and_a_slow_reader() {
    let hold = Signal::new();
    let behaviour = {
        let hold = hold.clone();
        on_head(move |_| Intake::early(Script::text(200, "early")).hold_after(3, &hold))
    };
    let upstream = Upstream::start(behaviour).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_head(&Request::new("POST", "/").header("Content-Length", "6")).await.unwrap();
    assert_eq!(client.response().await.unwrap().text(), "early");
    let request = upstream.next_head().await.unwrap();
    client.write_raw(b"abc").await.unwrap();
    request.body_reached(3).await.unwrap();
    client.write_raw(b"def").await.unwrap();
    hold.set();
    assert_eq!(request.body_ended().await.unwrap(), BodyEnd::Complete);
    assert_eq!(request.body_text(), "abcdef");
    assert_eq!(client.send(&Request::get("/")).await.unwrap().text(), "early");
}

#[tokio::test]
async fn interim_heads_trailers_and_statuses_without_a_body() {
    let hints: Headers = [("Link", "</a>")].into_iter().collect();
    let scripts = [
        Script::new().interim(103, hints).head(200, Headers::new()).chunk("a").trailers([("X-T", "1")]),
        Script::status(304),
        Script::status(200).end().chunk("never"),
    ];
    let upstream = Upstream::start(Canned::new(scripts)).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    let response = client.send(&Request::get("/")).await.unwrap();
    assert_eq!((response.interim[0].status, response.interim[0].header("link")), (103, Some("</a>")));
    assert_eq!(response.trailers.get("x-t"), Some("1"));
    assert!(client.send(&Request::get("/")).await.unwrap().head.headers.is_empty());
    let last = client.send(&Request::get("/")).await.unwrap();
    assert_eq!((last.body().len(), last.end), (0, Ended::Complete));
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_is_noted() {
    let upstream = Upstream::start(Canned::always(Script::status(200).chunk("a").stall())).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_request(&Request::get("/")).await.unwrap();
    client.head().await.unwrap();
    let request = upstream.next_head().await.unwrap();
    assert!(!request.gone().is_set());
    client.reset().unwrap();
    request.gone().reached().await.unwrap();
    upstream.idle().await.unwrap();
    assert!(kinds(&upstream).ends_with(&[EventKind::ClientGone, EventKind::Disconnected]));

    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_head(&Request::new("POST", "/").header("Content-Length", "6")).await.unwrap();
    client.write_raw(b"abc").await.unwrap();
    let request = upstream.next_head().await.unwrap();
    request.body_reached(3).await.unwrap();
    drop(client);
    assert_eq!(request.body_ended().await.unwrap(), BodyEnd::Cut);
    request.gone().reached().await.unwrap();
}

#[tokio::test]
async fn an_upgraded_connection_records_what_comes() {
    let (heard, closing) = (Signal::new(), Signal::new());
    let script = Script::status(101).header("Upgrade", "x").header("Connection", "Upgrade");
    let script = script.raw("hello").wait(&heard).raw("bye").wait(&closing);
    let upstream = Upstream::start(Canned::always(script)).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_request(&Request::get("/ws").header("Upgrade", "x")).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 101);
    assert_eq!(client.frame().await.unwrap(), Frame::Data("hello".into()));
    client.write_raw(b"ping").await.unwrap();
    let request = upstream.next_head().await.unwrap();
    request.tunnel_reached(4).await.unwrap();
    heard.set();
    assert_eq!(client.frame().await.unwrap(), Frame::Data("bye".into()));
    closing.set();
    assert_eq!(client.frame().await.unwrap(), Frame::End(Ended::Complete));
    assert_eq!(request.tunnel(), "ping");
}

#[tokio::test]
async fn dropping_an_upstream_ends_its_connections() {
    let upstream = Upstream::start(Canned::always(Script::status(200).chunk("a").stall())).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_request(&Request::get("/")).await.unwrap();
    client.head().await.unwrap();
    assert_eq!(client.frame().await.unwrap(), Frame::Data("a".into()));
    let addr = upstream.addr();
    drop(upstream);
    assert!(matches!(client.frame().await.unwrap(), Frame::End(Ended::Cut | Ended::Reset)));
    assert!(Connection::connect(addr).await.is_err());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream =
        Upstream::start(|request: &ReceivedRequest| Script::text(200, &request.target)).await.unwrap();
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    client.write_request(&Request::new("POST", "/1").body("x")).await.unwrap();
    client.write_request(&Request::get("/2")).await.unwrap();
    assert_eq!(client.response().await.unwrap().text(), "/1");
    assert_eq!(client.response().await.unwrap().text(), "/2");
}

#[tokio::test]
async fn connection_close_is_kept_and_recording_can_be_off() {
    let script = Script::text(200, "x").header("connection", "close");
    let upstream = Upstream::start(Canned::always(script)).await.unwrap();
    upstream.set_recording(false);
    let mut client = Connection::connect(upstream.addr()).await.unwrap();
    assert_eq!(client.send(&Request::get("/")).await.unwrap().text(), "x");
    assert!(client.is_closed_next().await.unwrap());
    assert!(upstream.requests().is_empty() && upstream.events().is_empty());
}

/// What the library says of an HTTP/2 stream that has no answer.
fn http2_error(error: &io::Error) -> Option<&::h2::Error> {
    let mut source = error.get_ref()?.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref() {
            return Some(error);
        }
        source = error.source();
    }
    None
}

#[tokio::test]
async fn a_refused_stream_is_one_of_its_connection() {
    let behaviour = |request: &ReceivedRequest| match request.path() {
        "/refused" => Script::new().refuse_stream(),
        "/late" => Script::status(200).chunk("abc").refuse_stream(),
        _ => Script::text(200, "ok"),
    };
    let upstream = Upstream::start_h2c(behaviour).await.unwrap();
    let mut client = H2Client::connect(upstream.addr()).await.unwrap();
    let mut refused = client.start(&Request::new("POST", "/refused")).await.unwrap();
    refused.finish();
    refused.head().await.unwrap_err();
    let reason = u32::from(::h2::Reason::REFUSED_STREAM);
    assert_eq!(refused.ended(), Some(Ended::StreamReset(reason)));
    let late = client.send(&Request::get("/late")).await.unwrap();
    assert_eq!((late.text().as_str(), late.end), ("abc", Ended::StreamReset(reason)));
    assert_eq!(client.send(&Request::get("/")).await.unwrap().text(), "ok");
    assert_eq!(upstream.connections(), 1);
    // There is no stream to be refused over HTTP/1.1.
    let upstream = Upstream::start(behaviour).await.unwrap();
    let reset = send(upstream.addr(), &Request::get("/refused")).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_that_is_sent_away_gets_the_answers_that_it_is_promised() {
    let (said, go_on) = (Signal::new(), Signal::new());
    let behaviour = {
        let (said, go_on) = (said.clone(), go_on.clone());
        move |request: &ReceivedRequest| match request.path() {
            "/last" => {
                let begun = Script::status(200).chunk("abc").go_away(GoAway::Included);
                begun.announce(&said).wait(&go_on).chunk("de")
            }
            _ => Script::text(200, "ok"),
        }
    };
    let upstream = Upstream::start_h2c(behaviour).await.unwrap();
    let mut client = H2Client::connect(upstream.addr()).await.unwrap();
    assert_eq!(client.send(&Request::get("/")).await.unwrap().text(), "ok");
    let mut last = client.start(&Request::get("/last")).await.unwrap();
    assert_eq!(last.frame().await.unwrap(), Frame::Data("abc".into()));
    said.reached().await.unwrap();
    // Whether the client knows already or not, there is no answer behind the frame.
    assert!(client.send(&Request::get("/")).await.is_err());
    go_on.set();
    assert_eq!(last.frame().await.unwrap(), Frame::Data("de".into()));
    assert_eq!(last.frame().await.unwrap(), Frame::End(Ended::Complete));
}

#[tokio::test]
async fn a_stream_that_is_left_out_is_told_from_one_that_failed() {
    let behaviour = |request: &ReceivedRequest| match request.path() {
        "/left-out" => Script::new().go_away(GoAway::LeftOut).stall(),
        "/failed" => Script::new().go_away(GoAway::Failed).close(),
        _ => Script::text(200, "ok"),
    };
    let upstream = Upstream::start_h2c(behaviour).await.unwrap();
    for (target, is_left_out) in [("/left-out", true), ("/failed", false)] {
        let mut client = H2Client::connect(upstream.addr()).await.unwrap();
        assert_eq!(client.send(&Request::get("/")).await.unwrap().text(), "ok");
        let error = client.send(&Request::get(target)).await.unwrap_err();
        let error = http2_error(&error);
        assert_eq!(error.is_some_and(::h2::Error::is_go_away), is_left_out, "{target}: {error:?}");
    }
}
