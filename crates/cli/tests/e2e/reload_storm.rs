//! Hundreds of changes, valid and not, while requests run: none of them may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use trunkline_testkit::client::{Connection, Ended, H2Client};
use trunkline_testkit::{Script, Upstream};

use crate::support::{Current, OAUTH_TOKEN, USER_TOKEN, body, config, message, service, trunkline, with};

/// Changes made.
const CHANGES: usize = 300;

/// Clients of each protocol.
const CLIENTS: usize = 4;

const PIECES: usize = 8;

/// A small generator of our own: the same sequence in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A configuration in which the clients of this test keep working.
fn valid(dice: &mut Dice, url: &str) -> Value {
    let mut users = vec![json!({ "name": "alice", "token": USER_TOKEN, "credential": "main" })];
    let mut credentials = vec![json!({ "tag": "main", "oauth_token": OAUTH_TOKEN })];
    for nth in 0..dice.below(4) {
        users.insert(
            dice.below(users.len() + 1),
            json!({ "name": format!("u{nth}"), "token": format!("t{nth}"), "credential": "main" }),
        );
    }
    for nth in 0..dice.below(3) {
        let key = format!("key-{}", dice.below(3));
        credentials.insert(
            dice.below(credentials.len() + 1),
            json!({ "tag": format!("c{nth}"), "type": "api_key", "api_key": key }),
        );
    }
    let mut over = json!({
        "users": users,
        "credentials": credentials,
        "headers": { "x-n": dice.below(5).to_string() },
        "max_connections": 1_000 + dice.below(3),
        "timeouts": { "connect": format!("{}s", 5 + dice.below(2)) },
    });
    if dice.below(4) == 0 {
        over["upstream"] = json!({ "api_url": format!("{url}/base{}", dice.below(2)) });
    }
    let main = with(service(url), over);
    let mut services = vec![main.clone()];
    if dice.below(3) == 0 {
        // Another listener, which comes and goes.
        services.push(with(main, json!({ "tag": format!("extra{}", dice.below(2)) })));
    }
    json!({
        "services": services,
        "drain_timeout": format!("{}s", 1 + dice.below(9)),
        "trusted_proxies": if dice.below(2) == 0 { json!([]) } else { json!(["10.0.0.0/8"]) },
    })
}

fn invalid(dice: &mut Dice, url: &str) -> String {
    let whole = valid(dice, url).to_string();
    match dice.below(4) {
        0 => whole.chars().take(dice.below(whole.len() - 1)).collect(),
        1 => whole.replacen("\"users\"", "\"usres\"", 1),
        2 => whole.replacen("\"main\"", "\"missing\"", 1),
        _ => json!({ "services": [with(service(url), json!({ "listen": "192.0.2.1" }))] }).to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_in_a_storm_of_changes() {
    let pieces: Vec<String> = (0..PIECES).map(|nth| format!("piece {nth}")).collect();
    let expected = pieces.concat();
    let script = Script::status(200).chunks(pieces);
    let upstream = Upstream::start(Current::new(script)).await.unwrap();
    upstream.set_recording(false);
    let mut dice = Dice(42);
    let first = config(&with(service(&upstream.url()), json!({ "max_connections": 1_000 })));
    let trunkline = trunkline().config(&first).arg("--no-watch").start().await.unwrap();
    let addr = trunkline.addr().unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for nth in 0..2 * CLIENTS {
        let (done, served, expected) = (Arc::clone(&done), Arc::clone(&served), expected.clone());
        clients.spawn(async move {
            if nth % 2 == 0 {
                let mut connection = Connection::connect(addr).await.unwrap();
                while !done.load(Ordering::Relaxed) {
                    let response = connection.send(&message(body())).await.unwrap();
                    assert_eq!((response.status(), response.text()), (200, expected.clone()));
                    assert_eq!(response.end, Ended::Complete);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            } else {
                let mut connection = H2Client::connect(addr).await.unwrap();
                while !done.load(Ordering::Relaxed) {
                    let response = connection.send(&message(body())).await.unwrap();
                    assert_eq!((response.status(), response.text()), (200, expected.clone()));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..CHANGES {
        let before = served.load(Ordering::Relaxed);
        let (text, is_valid) = if dice.below(3) == 0 {
            (invalid(&mut dice, &upstream.url()), false)
        } else {
            (valid(&mut dice, &upstream.url()).to_string(), true)
        };
        trunkline.home().write("trunkline.json", &text).unwrap();
        trunkline.signal("HUP").await.unwrap();
        if is_valid {
            accepted += 1;
            trunkline
                .nth_stderr_line(accepted, |line| line.contains("configuration reloaded"))
                .await
                .unwrap();
        } else {
            refused += 1;
            trunkline
                .nth_stderr_line(refused, |line| line.contains("configuration not reloaded"))
                .await
                .unwrap();
        }
        // Each change has requests on either side of it.
        while served.load(Ordering::Relaxed) == before && !clients.is_empty() {
            tokio::task::yield_now().await;
            if let Some(ended) = clients.try_join_next() {
                ended.unwrap();
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(accepted > 100 && refused > 50, "{accepted} accepted, {refused} refused");
    assert!(served.load(Ordering::Relaxed) > CHANGES);
}
