//! TLS on both sides, with either protocol.

use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinSet;
use trunkline_testkit::client::{Connection, H2Client, negotiate};
use trunkline_testkit::upstream::{ReceivedRequest, Version};
use trunkline_testkit::{Alpn, Authority, Script, Upstream};

use crate::support::{Current, Protocol, body, connect, message, passing_refusal, serve, service, with};

const PARALLEL: usize = 12;

fn ok() -> Current {
    Current::new(Script::json(200, &json!({ "ok": true })))
}

#[tokio::test]
async fn a_listener_with_tls_speaks_both_protocols() {
    let authority = Authority::new().unwrap();
    let (certificate, key) = authority.issue_files().unwrap();
    let upstream = Upstream::start(ok()).await.unwrap();
    let tls = json!({ "enabled": true, "certificate_path": certificate, "key_path": key });
    let trunkline = serve(&with(service(&upstream.url()), json!({ "tls": tls }))).await;
    let addr = trunkline.addr().unwrap();
    for (offered, picked) in [
        (&[Alpn::H2, Alpn::Http1][..], Some(Alpn::H2)),
        (&[Alpn::Http1][..], Some(Alpn::Http1)),
        (&[][..], None),
    ] {
        assert_eq!(negotiate(addr, &authority, offered).await.unwrap(), picked);
    }
    let mut http1 = Connection::connect_tls(addr, &authority).await.unwrap();
    assert_eq!(http1.send(&message(body())).await.unwrap().status(), 200);
    assert_eq!(http1.send(&message(body())).await.unwrap().status(), 200);
    let mut http2 = H2Client::connect_tls(addr, &authority).await.unwrap();
    assert_eq!(http2.send(&message(body())).await.unwrap().status(), 200);
    assert!(upstream.requests().iter().all(|request| request.body() == body()));
}

#[tokio::test]
async fn an_upstream_with_tls_is_spoken_to_in_either_protocol() {
    for (alpn, version) in [
        (&[Alpn::H2, Alpn::Http1][..], Version::Http2),
        (&[Alpn::Http1][..], Version::Http1),
        (&[][..], Version::Http1),
    ] {
        let script = Script::status(200).chunk("one").chunk("two");
        let upstream = Upstream::start_tls(Current::new(script), alpn).await.unwrap();
        let ca_path = upstream.authority().unwrap().file().unwrap();
        let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
        let trunkline = serve(&with(service(&upstream.url()), to)).await;
        for protocol in Protocol::BOTH {
            let response = protocol.send(trunkline.addr().unwrap(), &message(body())).await;
            assert_eq!((response.status(), response.text().as_str()), (200, "onetwo"));
            let received = upstream.next_request().await.unwrap();
            assert_eq!((received.version, received.body()), (version, body()));
            let host = format!("localhost:{}", upstream.addr().port());
            assert_eq!(received.headers.get("host"), Some(host.as_str()));
        }
    }
}

#[tokio::test]
async fn a_cut_over_http2_to_the_upstream_is_a_cut_for_the_client() {
    let script = Script::status(200).chunk("one").reset();
    let upstream = Upstream::start_tls(Current::new(script), &[Alpn::H2]).await.unwrap();
    let ca_path = upstream.authority().unwrap().file().unwrap();
    let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
    let trunkline = serve(&with(service(&upstream.url()), to)).await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(trunkline.addr().unwrap(), &message(body())).await;
        assert_eq!(response.text(), "one");
        assert!(protocol.is_cut(response.end), "{protocol:?}: {:?}", response.end);
    }
}

#[tokio::test]
async fn an_upstream_of_an_unknown_authority_is_not_spoken_to() {
    let upstream = Upstream::start_tls(ok(), &[Alpn::Http1]).await.unwrap();
    let trunkline = serve(&service(&upstream.url())).await;
    let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
    passing_refusal(&response, 502, "api_error");
    assert!(upstream.requests().is_empty());
}

/// As `openssl req -x509` makes one: the certificate that the server presents is the one that was named.
#[tokio::test]
async fn a_certificate_that_signs_itself_is_named_as_what_it_is() {
    let of_server = Authority::of_itself(&["localhost"]).unwrap();
    let of_another = Authority::of_itself(&["localhost"]).unwrap();
    let for_another_name = Authority::of_itself(&["elsewhere"]).unwrap();
    for (presented, named, status) in [
        (&of_server, &of_server, 200),
        (&of_server, &of_another, 502),
        (&for_another_name, &for_another_name, 502),
    ] {
        let upstream = Upstream::start_tls_by(ok(), &[Alpn::H2, Alpn::Http1], presented).await.unwrap();
        let ca_path = named.file().unwrap();
        let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
        let trunkline = serve(&with(service(&upstream.url()), to)).await;
        let response = connect(&trunkline).await.send(&message(body())).await.unwrap();
        assert_eq!(response.status(), status, "{}", response.text());
        assert_eq!(upstream.requests().is_empty(), status == 502);
    }
}

#[tokio::test]
async fn large_uploads_side_by_side_complete_over_http2() {
    let echo = |request: &ReceivedRequest| {
        let body = request.body();
        let same = body.iter().all(|byte| Some(byte) == body.first());
        Script::json(200, &json!({ "length": body.len(), "first": body.first(), "same": same }))
    };
    let upstream = Upstream::start_tls(echo, &[Alpn::H2]).await.unwrap();
    let ca_path = upstream.authority().unwrap().file().unwrap();
    let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
    let trunkline = serve(&with(service(&upstream.url()), to)).await;
    let addr = trunkline.addr().unwrap();
    let mut uploads = JoinSet::new();
    for nth in 0..PARALLEL {
        uploads.spawn(async move {
            let mark = b'a' + u8::try_from(nth).unwrap();
            let upload = Bytes::from(vec![mark; 1 << 20]);
            let protocol = if nth % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            let response = protocol.send(addr, &message(upload)).await;
            let expected = json!({ "length": 1 << 20, "first": mark, "same": true });
            assert_eq!(response.json().unwrap(), expected);
        });
    }
    while let Some(ended) = uploads.join_next().await {
        ended.unwrap();
    }
    assert!(upstream.requests().iter().all(|request| request.version == Version::Http2));
    assert_eq!(upstream.requests().len(), PARALLEL);
}
