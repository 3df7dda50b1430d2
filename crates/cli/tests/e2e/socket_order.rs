//! Whatever either side sends, in whatever order and pieces, arrives in order and unchanged, but for the events that are
//! replaced.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::websocket::{self, Frame, Link, Message};
use trunkline_testkit::{CodexApi, Script, TempDir, Upstream, bounded};

use crate::support::codex::{login, service};
use crate::support::socket::{account, asking};
use crate::support::{config, trunkline};

/// What one side does.
#[derive(Clone, Debug)]
enum Op {
    /// A message: text or bytes, so long, in so many fragments, with a ping among them or not.
    Send { is_text: bool, length: usize, fragments: usize, pings: bool },
    /// An event of the account's limits, of the provider's.
    Limits,
    /// Takes what has been sent to it, one message.
    Take,
}

fn op() -> impl Strategy<Value = (bool, Op)> {
    let send = (any::<bool>(), 0_usize..9_000, 1_usize..5, any::<bool>())
        .prop_map(|(is_text, length, fragments, pings)| Op::Send { is_text, length, fragments, pings });
    (any::<bool>(), prop_oneof![4 => send, 1 => Just(Op::Limits), 3 => Just(Op::Take)])
}

fn payload(number: usize, length: usize) -> Vec<u8> {
    let mut bytes = format!("{number} ").into_bytes();
    bytes.extend((b'a'..=b'z').cycle().skip(number).take(length));
    bytes
}

async fn send(link: &mut Link, number: usize, op: &Op) -> Option<Message> {
    let Op::Send { is_text, length, fragments, pings } = op else {
        let event = json!({
            "type": "codex.rate_limits",
            "rate_limits": { "primary": { "used_percent": number, "window_minutes": 300, "reset_at": 2_000_000_000 } },
        });
        link.send_text(event.to_string()).await.unwrap();
        return None;
    };
    let bytes = payload(number, *length);
    let pieces: Vec<_> = bytes.chunks(bytes.len().div_ceil(*fragments)).map(<[u8]>::to_vec).collect();
    let last = pieces.len() - 1;
    for (at, piece) in pieces.into_iter().enumerate() {
        let frame = match (at, is_text) {
            (0, true) => Frame::text(piece),
            (0, false) => Frame::binary(piece),
            _ => Frame::continuation(piece),
        };
        link.send(if at == last { frame } else { frame.unfinished() }).await.unwrap();
        if *pings {
            link.send(Frame::ping("p")).await.unwrap();
        }
    }
    Some(if *is_text {
        Message::Text(String::from_utf8(bytes).unwrap())
    } else {
        Message::Binary(bytes.into())
    })
}

async fn take(link: &mut Link, expected: Option<&Message>) -> Result<(), TestCaseError> {
    let message = link.message().await.unwrap();
    if let Some(expected) = expected {
        prop_assert_eq!(&message, expected);
        return Ok(());
    }
    let event: Value = message.json().unwrap();
    prop_assert_eq!(&event["type"], "codex.rate_limits");
    // The aggregate's own shape.
    prop_assert!(event["rate_limits"]["limit_reached"].is_boolean(), "{}", event);
    Ok(())
}

#[test]
fn any_interleaving_arrives_in_order_and_unchanged() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (told, links) = mpsc::channel(1);
    let links = tokio::sync::Mutex::new(links);
    let (upstream, trunkline, _home) = runtime.block_on(async {
        let upstream = Upstream::start(move |request: &ReceivedRequest| {
            if !websocket::is_upgrade(request) {
                return Script::json(404, &json!({ "error": { "message": "no" } }));
            }
            let told = told.clone();
            websocket::accept(request).converse(move |link: Link| {
                let told = told.clone();
                async move {
                    let (done, is_done) = tokio::sync::oneshot::channel::<()>();
                    let _ = told.send((link, done)).await;
                    let _ = is_done.await;
                }
            })
        })
        .await
        .unwrap();
        upstream.set_recording(false);
        let home = TempDir::new().unwrap();
        let login = login(&home, &CodexApi::new([account("a")]), "a");
        let trunkline =
            trunkline().config(&config(&service(&upstream.url(), &[login]))).start().await.unwrap();
        (upstream, trunkline, home)
    });
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    runner
        .run(&prop::collection::vec(op(), 0..40), |ops| {
            runtime.block_on(async {
                let mut client = Link::open(trunkline.addr().unwrap(), &asking("s")).await.unwrap();
                let (mut server, _done) =
                    bounded("the provider's end", links.lock().await.recv()).await.unwrap().unwrap();
                // What is on its way to the client, and to the provider.
                let mut ways: [VecDeque<Option<Message>>; 2] = [VecDeque::new(), VecDeque::new()];
                for (number, (by_client, op)) in ops.iter().enumerate() {
                    let (link, own, others) = match (by_client, &mut ways) {
                        (true, [to_client, to_server]) => (&mut client, to_client, to_server),
                        (false, [to_client, to_server]) => (&mut server, to_server, to_client),
                    };
                    match op {
                        Op::Take => {
                            if let Some(expected) = own.pop_front() {
                                take(link, expected.as_ref()).await?;
                            }
                        }
                        // Only a provider says so.
                        Op::Limits if *by_client => {}
                        op => others.push_back(send(link, number, op).await),
                    }
                }
                let [to_client, to_server] = ways;
                for expected in &to_client {
                    take(&mut client, expected.as_ref()).await?;
                }
                for expected in &to_server {
                    take(&mut server, expected.as_ref()).await?;
                }
                Ok(())
            })
        })
        .unwrap();
    drop(upstream);
}
