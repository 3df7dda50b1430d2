//! Every recorded WebSocket of the real client, played again from both ends through the binary.

use serde_json::{Value, json};
use trunkline_testkit::client::Ended;
use trunkline_testkit::fixtures::{self, SocketFrameKind};
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::websocket::{self, Link, Message, play_client, play_server};
use trunkline_testkit::{CodexApi, Script, TempDir, Upstream};

use crate::support::codex::{RESPONSES, login, service};
use crate::support::socket::account;
use crate::support::{USER_TOKEN, config, trunkline};

#[tokio::test]
async fn messages_and_ends_come_through_as_they_were() {
    for run in fixtures::CODEX {
        for recorded in fixtures::codex_sockets(run).unwrap() {
            let (told, mut heard) = tokio::sync::mpsc::channel(1);
            let played = recorded.clone();
            let upstream = Upstream::start(move |request: &ReceivedRequest| {
                if !websocket::is_upgrade(request) {
                    return Script::json(404, &json!({ "error": { "message": "no" } }));
                }
                let (played, told) = (played.clone(), told.clone());
                websocket::accept(request).headers(played.headers.iter()).converse(move |link: Link| {
                    let (played, told) = (played.clone(), told.clone());
                    async move {
                        let _ = told.send(play_server(link, &played).await).await;
                    }
                })
            })
            .await
            .unwrap();
            let home = TempDir::new().unwrap();
            let login = login(&home, &CodexApi::new([account("a")]), "a");
            let mut service = service(&upstream.url(), &[login]);
            // As they were: what is shown in their place is another story.
            service["users"][0]["rate_limit_headers"] = json!("passthrough");
            let trunkline = trunkline().config(&config(&service)).start().await.unwrap();
            let mut request = websocket::upgrade(RESPONSES).bearer(USER_TOKEN);
            for (name, value) in recorded.request.headers.iter() {
                let name = &*name.to_ascii_lowercase();
                let own = name.starts_with("sec-websocket-")
                    || ["host", "connection", "upgrade", "authorization"].contains(&name);
                if !own {
                    request = request.header(name, value);
                }
            }
            let mut link = Link::open(trunkline.addr().unwrap(), &request).await.unwrap();
            for (name, value) in recorded.headers.iter().filter(|(name, _)| *name != "set-cookie") {
                let is_dropped = name.starts_with("cf-") || name.starts_with("openai-organization");
                if !is_dropped {
                    assert_eq!(link.head().unwrap().header(name), Some(value), "{run}: {name}");
                }
            }
            let at_client = play_client(&mut link, &recorded).await.unwrap();
            drop(link);
            let at_server = trunkline_testkit::bounded("the server's part", heard.recv()).await;
            let at_server = at_server.unwrap().unwrap().unwrap();
            let of = |by_client: bool| -> Vec<Value> {
                let frames = recorded.frames.iter().filter(|frame| frame.by_client == by_client);
                frames
                    .filter_map(|frame| match &frame.kind {
                        SocketFrameKind::Message(value) => Some(value.clone()),
                        _ => None,
                    })
                    .collect()
            };
            // That the account is at its limit is told as it is for the whole pool.
            let as_of_pool = |messages: Vec<Value>| -> Vec<Value> {
                let is_limit =
                    |one: &Value| one["status"] == 429 && one["error"]["type"] == "usage_limit_reached";
                messages.into_iter().map(|one| if is_limit(&one) { json!("limited") } else { one }).collect()
            };
            assert_eq!(as_of_pool(at_client.messages), as_of_pool(of(false)), "{run}");
            assert_eq!(at_server.messages, of(true), "{run}");
            match recorded.server_end() {
                Some(end @ Message::Close(_)) => assert_eq!(at_client.end, Some(end), "{run}"),
                Some(Message::End(Ended::Reset)) => {
                    assert!(matches!(at_client.end, Some(Message::End(_))), "{run}: {:?}", at_client.end);
                }
                _ => {}
            }
        }
    }
}
