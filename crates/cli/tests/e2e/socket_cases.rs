//! The Autobahn cases: with the binary between a client that plays them and a provider that sends every message back, and
//! the other way round.

use serde_json::json;
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::websocket::{self, Frame, Link, Message, cases};
use trunkline_testkit::{Script, Trunkline, Upstream};

use crate::support::codex::service;
use crate::support::socket::asking;
use crate::support::{config, trunkline};

async fn relay(upstream: &Upstream) -> Trunkline {
    let key = json!({ "tag": "key", "type": "api_key", "api_key": "sk-of-k" });
    trunkline().config(&config(&service(&upstream.url(), &[key]))).start().await.unwrap()
}

fn nothing() -> Script {
    Script::json(404, &json!({ "error": { "message": "no" } }))
}

#[tokio::test]
async fn every_case_holds_towards_the_client() {
    let upstream = Upstream::start(|request: &ReceivedRequest| {
        if websocket::is_upgrade(request) {
            websocket::accept(request).converse(websocket::echo())
        } else {
            nothing()
        }
    })
    .await
    .unwrap();
    let trunkline = relay(&upstream).await;
    let mut failed = Vec::new();
    for case in cases::all(true) {
        let mut link = Link::open(trunkline.addr().unwrap(), &asking("s")).await.unwrap();
        if let Err(why) = cases::run(&case, &mut link).await {
            failed.push(format!("{}: {why}", case.id));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[tokio::test]
async fn every_case_holds_towards_the_provider() {
    let all = std::sync::Arc::new(cases::all(true));
    let (told, mut heard) = tokio::sync::mpsc::channel(1);
    let at = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let played = std::sync::Arc::clone(&all);
    let upstream = Upstream::start(move |request: &ReceivedRequest| {
        if !websocket::is_upgrade(request) {
            return nothing();
        }
        let case = played[at.fetch_add(1, std::sync::atomic::Ordering::Relaxed)].clone();
        let told = told.clone();
        websocket::accept(request).converse(move |mut link: Link| {
            let (case, told) = (case.clone(), told.clone());
            async move {
                let _ = told.send(cases::run(&case, &mut link).await).await;
            }
        })
    })
    .await
    .unwrap();
    let trunkline = relay(&upstream).await;
    let mut failed = Vec::new();
    for case in &*all {
        let mut link = Link::open(trunkline.addr().unwrap(), &asking("s")).await.unwrap();
        let client = tokio::spawn(async move {
            while let Ok(message) = link.message().await {
                let sent = match message {
                    Message::Text(text) => link.send(Frame::text(text)).await,
                    Message::Binary(bytes) => link.send(Frame::binary(bytes)).await,
                    Message::Close(..) | Message::End(_) => return,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        let verdict = trunkline_testkit::bounded("a verdict", heard.recv()).await.unwrap().unwrap();
        if let Err(why) = verdict {
            failed.push(format!("{}: {why}", case.id));
        }
        client.abort();
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
