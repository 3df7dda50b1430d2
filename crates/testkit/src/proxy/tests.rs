//! The proxies, spoken to by hand.

use super::*;
use crate::{Script, Upstream};

async fn talk(proxy: &Proxy, exchange: &[(&[u8], &[u8])]) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    for (said, expected) in exchange {
        stream.write_all(said).await.unwrap();
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *expected);
    }
    stream
}

async fn is_closed(mut stream: TcpStream) -> bool {
    stream.read(&mut [0]).await.unwrap() == 0
}

#[tokio::test]
async fn a_tunnel_leads_to_the_target() {
    let upstream = Upstream::start(|_: &_| Script::text(200, "hello")).await.unwrap();
    let proxy = Proxy::start(ProxyKind::Http).await.unwrap();
    let connect = format!("CONNECT {} HTTP/1.1\r\nX-A: 1\r\n\r\n", upstream.addr());
    let mut stream =
        talk(&proxy, &[(connect.as_bytes(), b"HTTP/1.1 200 Connection established\r\n\r\n")]).await;
    stream.write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    let [asked] = proxy.asked().try_into().unwrap();
    assert_eq!((asked.target, asked.headers.get("x-a")), (upstream.addr().to_string(), Some("1")));
}

#[tokio::test]
async fn logins_are_checked_and_recorded() {
    let upstream = Upstream::start(|_: &_| Script::status(200)).await.unwrap();
    let start = |kind| Proxy::builder(kind).login("me", "pass").to(upstream.addr()).start();
    let socks5 = start(ProxyKind::Socks5).await.unwrap();
    assert!(is_closed(talk(&socks5, &[(b"\x05\x01\x00", b"\x05\xff")]).await).await);
    assert!(
        is_closed(talk(&socks5, &[(b"\x05\x01\x02", b"\x05\x02"), (b"\x01\x02me\x01x", b"\x01\x01")]).await)
            .await
    );
    let login: (&[u8], &[u8]) = (b"\x01\x02me\x04pass", b"\x01\x00");
    let request: (&[u8], &[u8]) =
        (b"\x05\x01\x00\x03\x01x\x00\x50", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x01\x02");
    talk(&socks5, &[(b"\x05\x02\x00\x02", b"\x05\x02"), login, request]).await;
    let socks4 = start(ProxyKind::Socks4).await.unwrap();
    talk(&socks4, &[(b"\x04\x01\x00\x50\x00\x00\x00\x01you\x00x\x00", b"\x00\x5d")]).await;
    talk(&socks4, &[(b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00x\x00", b"\x00\x5a")]).await;
    let http = start(ProxyKind::Http).await.unwrap();
    talk(&http, &[(b"CONNECT x:80 HTTP/1.1\r\n\r\n", b"HTTP/1.1 407 ")]).await;
    let head = b"CONNECT x:80 HTTP/1.1\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n";
    talk(&http, &[(head, b"HTTP/1.1 200 ")]).await;
    for (proxy, password) in [(&socks5, "pass"), (&socks4, ""), (&http, "pass")] {
        let [asked] = proxy.asked().try_into().unwrap();
        assert_eq!(asked.target, "x:80");
        assert_eq!(asked.login, Some(("me".to_owned(), password.to_owned())));
    }
}

#[tokio::test]
async fn refusals_and_cuts_are_as_told() {
    let upstream = Upstream::start(|_: &_| Script::status(200)).await.unwrap();
    let proxy = Proxy::builder(ProxyKind::Socks4).to(upstream.addr()).start().await.unwrap();
    let request = b"\x04\x01\x00\x50\x01\x02\x03\x04\x00";
    proxy.react(Reaction::Refuse(91));
    assert!(is_closed(talk(&proxy, &[(request, &[0, 91, 0, 0, 0, 0, 0, 0])]).await).await);
    proxy.react(Reaction::CutAfter(3));
    assert!(is_closed(talk(&proxy, &[(request, &[0, 90, 1])]).await).await);
    proxy.react(Reaction::Raw(Bytes::from_static(b"?!")));
    assert!(is_closed(talk(&proxy, &[(request, b"?!")]).await).await);
    assert_eq!(proxy.asked().len(), 3);
}
