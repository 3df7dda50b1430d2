//! Credentials that go out of use and come back: what that does to requests that wait, and what is done meanwhile.

use serde_json::{Value, json};
use trunkline_testkit::claude::{Account, Limits, error};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::upstream::EventKind;
use trunkline_testkit::{ClaudeApi, PATIENCE, Script, Signal, Upstream};

use crate::pool::{Pool, Running, ask, asks_in, refused, token, unix_now, used_up};
use crate::support::{Protocol, USER_TOKEN, final_refusal};

/// The credential `a` is a login file.
fn with_a_login(pool: &mut Pool) -> std::path::PathBuf {
    let file = ClaudeLogin::new(token("a"), "sk-ant-ort01-a")
        .expires_in(8 * 3_600)
        .write_to(&pool.home.join("login"))
        .unwrap();
    let credentials = pool.service["credentials"].as_array_mut().unwrap();
    credentials[0] = json!({ "tag": "a", "credential_path": file, "weight": 1 });
    file
}

/// A request that waits for a head from the account `a`.
async fn waiting(running: &Running<'_>, protocol: Protocol) -> tokio::task::JoinHandle<(u16, String)> {
    let (before, began) = (running.pool.api.served("a"), Signal::new());
    running.pool.api.next("a", Script::new().announce(&began).stall());
    let addr = running.addr();
    let request = asks_in(&format!("of {protocol:?} {before}"), ask(true));
    let waiting = tokio::spawn(async move {
        let response = protocol.send(addr, &request).await;
        (response.status(), response.text())
    });
    began.reached().await.unwrap();
    waiting
}

#[tokio::test]
async fn requests_that_wait_for_a_head_move_when_their_credential_is_gone() {
    for is_http2 in [false, true] {
        for protocol in Protocol::BOTH {
            let labels = ["a", "b"];
            let mut pool = if is_http2 {
                Pool::over_http2(&labels, "fallback").await
            } else {
                Pool::new(&labels, "fallback").await
            };
            let file = with_a_login(&mut pool);
            let running = pool.start().await;
            let first = waiting(&running, protocol).await;
            let second = waiting(&running, protocol).await;
            // Its owner logs out.
            std::fs::remove_file(file).unwrap();
            for waiting in [first, second] {
                let (status, text) = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
                assert_eq!(status, 200, "{text}");
            }
            assert_eq!(pool.served(), [2, 2]);
            running.state("a", "unavailable: no login file").await;
            let status = running.service_status().await;
            assert_eq!(status["recent_failovers"][0]["reason"], "interrupted", "{status}");
        }
    }
}

#[tokio::test]
async fn a_credential_is_polled_when_its_limit_resets_without_any_request() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    let polls =
        || pool.upstream.requests().iter().filter(|request| request.path() == "/api/oauth/usage").count();
    let before = polls();
    let reset = unix_now() + 4;
    pool.api.next("a", refused(error(429, "rate_limit_error", "used up"), &used_up(reset)));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    let limited = "credential a: usable \u{2192} rate_limited (5h)";
    running.trunkline.stderr_line(|line| line.contains(limited)).await.unwrap();
    // Nobody asks for anything.
    pool.upstream.event(|event| event.kind == EventKind::ResponseComplete && polls() > before).await.unwrap();
    assert!(unix_now() >= reset);
    let seen = running.status(|credentials| credentials[0]["state"] == "usable").await;
    assert_eq!(seen[0]["windows"][0]["used_percent"], 12.0, "as the poll says");
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!(pool.served(), [2, 1]);
}

#[tokio::test]
async fn an_api_key_is_the_last_resort_unless_it_has_a_weight() {
    for (weight, first) in [(Value::Null, "a"), (json!(1_000), "k")] {
        let mut pool = Pool::new(&["a"], "least_used").await;
        let login = Account::new("a").access_token(&token("a"));
        let key = Account::new("k").api_key("sk-ant-api03-k").limits(Limits::none());
        let api = ClaudeApi::new([login, key]);
        let upstream = Upstream::start(api.clone()).await.unwrap();
        let mut key = json!({ "tag": "k", "type": "api_key", "api_key": "sk-ant-api03-k" });
        if !weight.is_null() {
            key["weight"] = weight;
        }
        pool.service(json!({
            "upstream": { "api_url": upstream.url() },
            "users": [{ "name": "alice", "token": USER_TOKEN, "credential": "pool" }],
            "credentials": [
                key,
                { "tag": "a", "oauth_token": token("a"), "weight": 1 },
                { "tag": "pool", "type": "balancer", "credentials": ["k", "a"] },
            ],
        }));
        let trunkline = crate::support::trunkline().config(&pool.config()).start().await.unwrap();
        let addr = trunkline.addr().unwrap();
        let served = || [api.served("a"), api.served("k")];
        assert_eq!(Protocol::Http1.send(addr, &ask(false)).await.status(), 200);
        assert_eq!(served(), if first == "a" { [1, 0] } else { [0, 1] });
        // When the login is used up, the key serves; when the key is out of credit, nobody does.
        api.set_limits("a", Limits::seven_day_rejected());
        while api.served("k") == 0 {
            assert_eq!(Protocol::Http1.send(addr, &ask(true)).await.status(), 200);
        }
        if first == "a" {
            assert_eq!(served(), [2, 1]);
            api.next("k", error(400, "invalid_request_error", "Your credit balance is too low"));
            let response = Protocol::Http1.send(addr, &ask(false)).await;
            let text = final_refusal(&response, 429, "rate_limit_error");
            assert!(text.starts_with("All 2 credentials for alice are at their limit"), "{text}");
        }
    }
}
