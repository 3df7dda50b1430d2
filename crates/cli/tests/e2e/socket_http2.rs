//! WebSockets over HTTP/2, by an extended CONNECT (RFC 8441), beside requests on the same connection.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use trunkline_testkit::bounded;
use trunkline_testkit::client::{H2Client, H2Socket, Request};
use trunkline_testkit::codex::{TurnScript, error};

use crate::support::USER_TOKEN;
use crate::support::codex::{RESPONSES, body, turn as posted};
use crate::support::socket::{Set, create};

/// A connection whose settings are known, and what asks for a WebSocket on it.
async fn connected(set: &Set) -> (H2Client, Request) {
    let mut client = H2Client::connect(set.trunkline.addr().unwrap()).await.unwrap();
    client.send(&Request::get("/")).await.unwrap();
    let request = Request::get(RESPONSES)
        .bearer(USER_TOKEN)
        .header("sec-websocket-version", "13")
        .header("session-id", "s");
    (client, request)
}

async fn next(socket: &mut H2Socket) -> Message {
    bounded("a message", socket.next()).await.unwrap().unwrap().unwrap()
}

async fn turn(socket: &mut H2Socket) -> Value {
    socket.send(Message::text(create().to_string())).await.unwrap();
    loop {
        let Message::Text(text) = next(socket).await else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        if event["type"] == "response.completed" || event["type"] == "error" {
            return event;
        }
    }
}

#[tokio::test]
async fn turns_go_on_beside_requests() {
    let set = Set::new(&["a", "b"]).await;
    let (mut client, request) = connected(&set).await;
    let (headers, mut socket) = client.socket(&request).await.unwrap();
    assert!(headers.contains_key("x-request-id") && !headers.contains_key("sec-websocket-accept"));
    let (_, mut other) = client.socket(&request).await.unwrap();
    for socket in [&mut socket, &mut other] {
        assert_eq!(turn(socket).await["type"], "response.completed");
    }
    assert_eq!(client.send(&posted(body())).await.unwrap().status(), 200);
    // A limit is nothing that this way would show.
    set.api.next_turn("a", TurnScript::error(429, "usage_limit_reached", None, &[]));
    assert_eq!(turn(&mut socket).await["type"], "response.completed");
    assert_eq!(set.api.served("b"), 1);
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    set.is_content();
}

#[tokio::test]
async fn refusals_are_answers() {
    let set = Set::new(&["a"]).await;
    let (mut client, request) = connected(&set).await;
    set.api.next_upgrade("a", error(404, "invalid_request_error", None, "scripted"));
    assert!(client.socket(&request).await.unwrap_err().to_string().contains("426"));
    let nobody = Request::get(RESPONSES).header("sec-websocket-version", "13");
    assert!(client.socket(&nobody).await.unwrap_err().to_string().contains("400"));
}

#[tokio::test]
async fn a_drain_ends_them_at_their_boundary() {
    let mut set = Set::with(&["a"], |config| config["drain_timeout"] = json!("10m")).await;
    let (mut client, request) = connected(&set).await;
    let (_, mut socket) = client.socket(&request).await.unwrap();
    assert_eq!(turn(&mut socket).await["type"], "response.completed");
    set.trunkline.signal("TERM").await.unwrap();
    let Message::Close(Some(close)) = next(&mut socket).await else { panic!() };
    assert_eq!(u16::from(close.code), 1012);
    while let Some(Ok(_)) = socket.next().await {}
    drop((socket, client));
    assert_eq!(set.trunkline.wait_exit().await.unwrap().status.code(), Some(0));
}
