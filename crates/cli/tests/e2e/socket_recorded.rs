//! Every recorded WebSocket of the real client, played again from both ends through the binary.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trunkline_testkit::client::{Ended, Request};
use trunkline_testkit::fixtures::{self, RecordedRequest, SocketFrameKind};
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::websocket::{self, Link, Message, Upgraded, play_client, play_server};
use trunkline_testkit::{CodexApi, Script, TempDir, Upstream};

use crate::support::codex::{RESPONSES, codex_refusal, login, service};
use crate::support::socket::account;
use crate::support::{USER_TOKEN, config, trunkline};

#[tokio::test]
async fn messages_and_ends_come_through_as_they_were() {
    for run in fixtures::CODEX.into_iter().chain(fixtures::CODEX_UPGRADES) {
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
            let mut link = Link::open(trunkline.addr().unwrap(), &asking(&recorded.request)).await.unwrap();
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
                let is_limit = |one: &Value| {
                    (one["status"] == 429 || one["status_code"] == 429)
                        && one["error"]["type"] == "usage_limit_reached"
                };
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

#[tokio::test]
async fn refusals_come_through_as_they_were_or_as_the_client_needs_them() {
    let mut seen = BTreeSet::new();
    for run in fixtures::CODEX.into_iter().chain(fixtures::CODEX_UPGRADES) {
        for (asked, refused) in fixtures::codex_refused_upgrades(run).unwrap() {
            let played = refused.clone();
            let upstream = Upstream::start(move |request: &ReceivedRequest| {
                // The token is good: a recorded 401 is the request's own.
                if websocket::is_upgrade(request) {
                    Script::recorded(&played)
                } else {
                    Script::json(200, &json!({}))
                }
            })
            .await
            .unwrap();
            let home = TempDir::new().unwrap();
            let login = login(&home, &CodexApi::new([account("a")]), "a");
            let service = service(&upstream.url(), &[login]);
            let trunkline = trunkline().config(&config(&service)).start().await.unwrap();
            let opened = Link::connect(trunkline.addr().unwrap(), &asking(&asked)).await.unwrap();
            let Upgraded::Refused(response) = opened else { panic!("{run}: opened") };
            let status = refused.status.unwrap();
            seen.insert(status);
            match status {
                // Another status than 426 costs the client seconds before it goes on over HTTP.
                401 | 404 | 426 | 503 => drop(codex_refusal(&response, 426, "invalid_request_error")),
                429 => {
                    let error = codex_refusal(&response, 429, "usage_limit_reached");
                    assert!(error["resets_at"].is_u64(), "{run}: {error}");
                }
                _ => {
                    assert_eq!((response.status(), response.body()), (status, refused.body), "{run}");
                    let kind = response.header("content-type");
                    assert_eq!(kind, refused.headers.get("content-type"), "{run}");
                }
            }
        }
    }
    assert_eq!(seen, [401, 404, 426, 429, 503].into());
}

/// What the recorded client asked for, with a user's token.
fn asking(recorded: &RecordedRequest) -> Request {
    let mut request = websocket::upgrade(RESPONSES).bearer(USER_TOKEN);
    for (name, value) in recorded.headers.iter() {
        let name = &*name.to_ascii_lowercase();
        let own = name.starts_with("sec-websocket-")
            || ["host", "connection", "upgrade", "authorization"].contains(&name);
        if !own {
            request = request.header(name, value);
        }
    }
    request
}
