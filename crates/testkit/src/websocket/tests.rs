//! The kit's WebSockets against a library's, and against each other.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message as LibraryMessage;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use super::*;
use crate::client::Ended;
use crate::fixtures::{self, SocketFrameKind};
use crate::signal::bounded;
use crate::upstream::{Cut, ReceivedRequest, Upstream};

/// Sends every message back, as the library does it.
async fn library_echo(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn echoing() -> Upstream {
    Upstream::start(|request: &ReceivedRequest| accept(request).converse(echo())).await.unwrap()
}

/// The close with 1014, which the library takes for one that may not be sent, though the registry of the protocol has it.
const UNKNOWN_TO_THE_LIBRARY: &str = "7.7.16";

fn cases_of_the_library() -> Vec<cases::Case> {
    cases::all(false).into_iter().filter(|case| case.id != UNKNOWN_TO_THE_LIBRARY).collect()
}

#[tokio::test]
async fn every_case_holds_for_a_librarys_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move { library_echo(accept_async(stream).await.unwrap()).await });
        }
    });
    let cases = cases_of_the_library();
    assert!(cases.len() > 250, "{}", cases.len());
    for case in cases {
        let mut link = Link::open(addr, &upgrade("/")).await.unwrap();
        if let Err(why) = cases::run(&case, &mut link).await {
            panic!("{}: {why}", case.id);
        }
    }
    serving.abort();
}

#[tokio::test]
async fn every_case_holds_for_a_librarys_client() {
    for case in cases_of_the_library() {
        let (told, mut heard) = tokio::sync::mpsc::channel(1);
        let id = case.id.clone();
        let upstream = Upstream::start(move |request: &ReceivedRequest| {
            let (case, told) = (case.clone(), told.clone());
            accept(request).converse(move |mut link: Link| {
                let (case, told) = (case.clone(), told.clone());
                async move {
                    let _ = told.send(cases::run(&case, &mut link).await).await;
                }
            })
        })
        .await
        .unwrap();
        let stream = TcpStream::connect(upstream.addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, _) = client_async("ws://localhost/", stream).await.unwrap();
        let client = tokio::spawn(library_echo(socket));
        if let Err(why) = bounded("a verdict", heard.recv()).await.unwrap().unwrap() {
            panic!("{id}: {why}");
        }
        client.abort();
    }
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_fails_the_cases() {
    // It sends the first frame back with something before it, whatever it is, and closes with a code of no use.
    let upstream = Upstream::start(|request: &ReceivedRequest| {
        accept(request).converse(|mut link: Link| async move {
            let Ok(Ok(frame)) = link.frame().await else { return };
            let payload = [b"x", &frame.payload[..]].concat();
            let _ = link.send(Frame::new(Opcode::Text, payload)).await;
            let _ = link.send(Frame::close(1003, "")).await;
            let _ = link.cut(Cut::Close).await;
        })
    })
    .await
    .unwrap();
    // Opcodes that are reserved are no frames to the kit's reader, which fails the connection, rightly.
    for case in cases::all(false).into_iter().filter(|case| !case.id.starts_with("4.")) {
        let mut link = Link::open(upstream.addr(), &upgrade("/")).await.unwrap();
        assert!(cases::run(&case, &mut link).await.is_err(), "{}", case.id);
    }
}

#[tokio::test]
async fn a_conversation_and_a_client_see_each_others_frames() {
    let upstream = echoing().await;
    let mut link = Link::open(upstream.addr(), &upgrade("/x?y")).await.unwrap();
    assert_eq!(link.head().unwrap().header("upgrade"), Some("websocket"));
    link.send(Frame::text("he").unfinished()).await.unwrap();
    link.send(Frame::ping("p")).await.unwrap();
    link.send_chopped(Frame::continuation("llo"), 1).await.unwrap();
    assert_eq!(link.message().await.unwrap(), Message::Text("hello".to_owned()));
    assert_eq!(link.pongs().collect::<Vec<_>>(), ["p"]);
    link.send(Frame::binary(vec![1, 2])).await.unwrap();
    assert_eq!(link.message().await.unwrap(), Message::Binary(Bytes::from_static(&[1, 2])));
    assert_eq!(link.close(4000, "bye").await.unwrap(), Some((4000, "bye".to_owned())));
    assert_eq!(link.frame().await.unwrap(), Err(Ended::Complete));
    let request = upstream.next_head().await.unwrap();
    assert_eq!(request.target, "/x?y");
    assert!(is_upgrade(&request));
}

#[tokio::test]
async fn the_library_takes_what_a_conversation_sends() {
    let upstream = echoing().await;
    let stream = TcpStream::connect(upstream.addr()).await.unwrap();
    let (mut socket, _) = client_async("ws://localhost/", stream).await.unwrap();
    socket.send(LibraryMessage::text("x".repeat(70_000))).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap().len(), 70_000);
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn frames_survive_any_cut_and_say_what_is_wrong_with_them() {
    let frames = [
        Frame::text("a").reserved(5).masked(true),
        Frame::new(Opcode::Close, "").masked(false),
        Frame::binary(vec![7; 300]).unfinished().masked(true),
        Frame::ping(vec![7; 70_000]).masked(false),
    ];
    let wire: Vec<u8> = frames.iter().flat_map(|frame| frame.encode(true)).collect();
    for size in [1, 7, 200, wire.len()] {
        let (mut reader, mut read) = (FrameReader::default(), Vec::new());
        for piece in wire.chunks(size) {
            reader.push(piece);
            while let Some(frame) = reader.next_frame().unwrap() {
                read.push(frame);
            }
        }
        assert_eq!((read.as_slice(), reader.pending()), (&frames[..], 0));
    }
    assert_eq!(Frame::close(1012, "x").close_code(), Some((1012, "x".to_owned())));
    assert_eq!(Frame::new(Opcode::Close, "").close_code(), None);
    let mut reader = FrameReader::default();
    reader.push(&Frame::new(Opcode::Reserved(3), "").encode(false));
    assert!(reader.next_frame().is_err());
    let mut reader = FrameReader::default();
    reader.push(&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]);
    assert!(reader.next_frame().is_err());
}

#[tokio::test]
async fn a_server_ends_a_connection_as_it_is_told() {
    for (cut, end) in [(Cut::Close, Ended::Complete), (Cut::Reset, Ended::Reset)] {
        let upstream = Upstream::start(move |request: &ReceivedRequest| {
            accept(request).converse(move |mut link: Link| async move {
                link.send_text("last").await.unwrap();
                link.cut(cut).await.unwrap();
            })
        })
        .await
        .unwrap();
        let mut link = Link::open(upstream.addr(), &upgrade("/")).await.unwrap();
        assert_eq!(link.message().await.unwrap(), Message::Text("last".to_owned()));
        assert_eq!(link.message().await.unwrap(), Message::End(end));
    }
}

#[tokio::test]
async fn a_refused_upgrade_and_a_wrong_answer_are_told_apart() {
    let upstream = Upstream::start(|request: &ReceivedRequest| {
        if request.path() == "/no" {
            Script::text(426, "no")
        } else {
            accept(request).header("Sec-WebSocket-Accept", "x")
        }
    })
    .await
    .unwrap();
    let Upgraded::Refused(response) = Link::connect(upstream.addr(), &upgrade("/no")).await.unwrap() else {
        panic!()
    };
    assert_eq!((response.status(), response.text()), (426, "no".to_owned()));
    let other = upgrade("/").set_header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==");
    let mut link = Link::open(upstream.addr(), &other).await.unwrap();
    assert!(matches!(link.message().await, Ok(Message::End(_))));
    assert!(Link::open(upstream.addr(), &upgrade("/no")).await.is_err());
}

#[tokio::test]
async fn recorded_conversations_are_played_again_from_both_ends() {
    for run in fixtures::CODEX.into_iter().chain(fixtures::CODEX_UPGRADES) {
        for recorded in fixtures::codex_sockets(run).unwrap() {
            let (told, mut heard) = tokio::sync::mpsc::channel(1);
            let played = recorded.clone();
            let upstream = Upstream::start(move |request: &ReceivedRequest| {
                let (played, told) = (played.clone(), told.clone());
                accept(request).headers(played.headers.iter()).converse(move |link: Link| {
                    let (played, told) = (played.clone(), told.clone());
                    async move {
                        let _ = told.send(play_server(link, &played).await).await;
                    }
                })
            })
            .await
            .unwrap();
            let request = upgrade(&recorded.request.target).header("x-run", run);
            let mut link = Link::open(upstream.addr(), &request).await.unwrap();
            for (name, value) in recorded.headers.iter() {
                assert_eq!(link.head().unwrap().header(name), Some(value));
            }
            let at_client = play_client(&mut link, &recorded).await.unwrap();
            drop(link);
            let at_server = bounded("the server's part", heard.recv()).await.unwrap().unwrap().unwrap();
            let of = |by_client: bool| -> Vec<serde_json::Value> {
                let frames = recorded.frames.iter().filter(|frame| frame.by_client == by_client);
                frames
                    .filter_map(|frame| match &frame.kind {
                        SocketFrameKind::Message(value) => Some(value.clone()),
                        _ => None,
                    })
                    .collect()
            };
            assert_eq!((at_client.messages, at_server.messages), (of(false), of(true)), "{run}");
            if let Some(end @ Message::Close(_)) = recorded.server_end() {
                assert_eq!(at_client.end, Some(end), "{run}");
            }
        }
    }
}
