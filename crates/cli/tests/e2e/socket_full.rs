//! A side that takes nothing is heard all the same: each direction is held up by its own reader alone.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::websocket::{self, Frame, Link, Message};
use trunkline_testkit::{Script, Trunkline, Upstream, bounded};

use crate::support::codex::service;
use crate::support::socket::asking;
use crate::support::{config, trunkline};

/// More than all buffers between hold.
const LONG: usize = 32 << 20;

/// Messages, one after the other.
const ROUNDS: usize = 1_000;

async fn relay(upstream: &str) -> Trunkline {
    let key = json!({ "tag": "key", "type": "api_key", "api_key": "sk-of-k" });
    trunkline().config(&config(&service(upstream, &[key]))).start().await.unwrap()
}

#[tokio::test]
async fn a_client_that_writes_before_it_reads_is_heard() {
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let upstream = Upstream::start(move |request: &ReceivedRequest| {
        if !websocket::is_upgrade(request) {
            return Script::json(404, &json!({ "error": { "message": "no" } }));
        }
        let told = told.clone();
        websocket::accept(request).converse(move |mut link: Link| {
            let told = told.clone();
            async move {
                link.send(Frame::binary(vec![7; LONG])).await.unwrap();
                while let Ok(message) = link.idle().await {
                    told.send(message).await.unwrap();
                }
            }
        })
    })
    .await
    .unwrap();
    let trunkline = relay(&upstream.url()).await;
    let mut client = Link::open(trunkline.addr().unwrap(), &asking("s")).await.unwrap();
    // Long enough for the first message to have come whole, and to stand in the way.
    for number in 0..ROUNDS {
        let text = number.to_string();
        client.send_text(text.clone()).await.unwrap();
        assert_eq!(bounded("a message", heard.recv()).await.unwrap(), Some(Message::Text(text)));
    }
    assert_eq!(client.message().await.unwrap(), Message::Binary(vec![7; LONG].into()));
}

/// A provider that accepts a WebSocket, takes the beginning of the first message, and closes; it stays so.
async fn take_little(listener: TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut head).await.unwrap() > 0, "the head of a request");
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, key) = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    stream.write_all(b"\x88\x0a\x03\xf1too long").await.unwrap();
    stream
}

#[tokio::test]
async fn a_provider_that_takes_no_more_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let trunkline = relay(&format!("http://{}", listener.local_addr().unwrap())).await;
    let provider = tokio::spawn(take_little(listener));
    let mut client = Link::open(trunkline.addr().unwrap(), &asking("s")).await.unwrap();
    client.send(Frame::binary(vec![7; LONG])).await.unwrap();
    let told = client.message().await.unwrap();
    assert_eq!(told, Message::Close(Some((1009, "too long".to_owned()))));
    drop(bounded("the provider", provider).await.unwrap().unwrap());
}
