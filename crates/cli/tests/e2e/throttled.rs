//! Refusals of the moment (routing.md, *Failures*): with a time to wait and without, of logins and of keys, for sessions that
//! are new and for others.

use serde_json::json;
use trunkline_testkit::claude::{Account, Limits, error};
use trunkline_testkit::client::Request;
use trunkline_testkit::{ClaudeApi, Script, TempDir, Trunkline, Upstream};

use crate::pool::{Pool, ask, asks, asks_in, service_status, state_of, unix_now, used_up};
use crate::support::{Protocol, USER_TOKEN, message, passing_refusal, refusal, trunkline};

fn throttle() -> Script {
    error(429, "rate_limit_error", "of the moment")
}

#[tokio::test]
async fn a_guess_keeps_nobody_away_where_nothing_else_is_usable() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    pool.api.next("a", throttle());
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.state("a", "blocked: burst").await;
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!(pool.served(), [1, 2], "it is kept away from where another is usable");
    pool.api.set_limits("b", used_up(unix_now() + 4_000));
    assert_eq!(running.send(&ask(true)).await.status(), 200);
    assert_eq!(pool.served(), [2, 3]);
}

/// A key in a pool of its own.
async fn key() -> (ClaudeApi, Upstream, TempDir, Trunkline) {
    let account = Account::new("k").api_key("sk-ant-api-k").limits(Limits::none());
    let api = ClaudeApi::new([account]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let service = json!({
        "type": "claude",
        "listen_port": 0,
        "upstream": { "api_url": upstream.url() },
        "users": [{ "name": "alice", "token": USER_TOKEN }],
        "credentials": [{ "tag": "k", "type": "api_key", "api_key": "sk-ant-api-k" }],
    });
    let home = TempDir::new().unwrap();
    let config = json!({ "data_directory": home.join("data"), "services": [service] });
    let instance = trunkline().config(&config).start().await.unwrap();
    (api, upstream, home, instance)
}

#[tokio::test]
async fn a_key_that_is_throttled_says_so_to_whoever_comes_next() {
    let (api, _upstream, _home, instance) = key().await;
    let addr = instance.addr().unwrap();
    let send = async |request: &Request| Protocol::Http1.send(addr, request).await;
    api.next("k", throttle().header("retry-after", "30"));
    let response = send(&asks("claude-opus-5", false)).await;
    assert_eq!((response.status(), response.header("retry-after")), (429, Some("30")));
    state_of(&instance, "k", "blocked: burst").await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(addr, &asks("claude-opus-4-8", true)).await;
        let text = passing_refusal(&response, 429, "rate_limit_error");
        assert!(
            text.starts_with("The credential for alice is throttled by the provider for claude-opus-4-8; ")
        );
        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
        assert_eq!(response.header("anthropic-ratelimit-unified-status"), None);
    }
    // Keys are limited by family.
    assert_eq!(send(&asks("claude-sonnet-5", false)).await.status(), 200);
    assert_eq!(api.served("k"), 2);
    assert_eq!(service_status(&instance).await["credentials"][0]["state"], "blocked");
}

#[tokio::test]
async fn a_key_that_does_not_say_for_how_long_is_tried_again() {
    let (api, _upstream, _home, instance) = key().await;
    let addr = instance.addr().unwrap();
    api.next("k", throttle());
    assert_eq!(Protocol::Http1.send(addr, &ask(false)).await.status(), 429);
    state_of(&instance, "k", "blocked: burst").await;
    assert_eq!(Protocol::Http1.send(addr, &ask(false)).await.status(), 200);
    assert_eq!(api.served("k"), 2);
}

#[tokio::test]
async fn a_session_that_only_the_body_names_goes_on_in_a_pool_of_one() {
    let pool = Pool::new(&["a"], "fallback").await;
    let running = pool.start().await;
    let of = |session: &str| {
        let user_id = format!("{{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"{session}\"}}");
        let body = json!({
            "model": "claude-sonnet-5", "max_tokens": 1, "messages": [{ "role": "user", "content": "x".repeat(100_000) }],
            "metadata": { "user_id": user_id },
        });
        message(body.to_string()).header("anthropic-version", "2023-06-01")
    };
    assert_eq!(running.send(&of("old")).await.status(), 200);
    pool.api.next("a", throttle().header("retry-after", "30"));
    assert_eq!(running.send(&ask(false)).await.status(), 429);
    running.state("a", "blocked: burst").await;
    refusal(&running.send(&of("new")).await, 429, "rate_limit_error");
    for protocol in Protocol::BOTH {
        assert_eq!(protocol.send(running.addr(), &of("old")).await.status(), 200);
    }
    assert_eq!(pool.served(), [4]);
}

#[tokio::test]
async fn a_slow_request_goes_on_where_the_5_hour_window_is_used_up() {
    for labels in [&["a"][..], &["a", "b"]] {
        let pool = Pool::new(labels, "fallback").await;
        for label in labels {
            pool.api.set_limits(label, used_up(unix_now() + 4_000));
        }
        let running = pool.start().await;
        running.state("a", "capped").await;
        let served = error(200, "message", "at low priority")
            .header("anthropic-ratelimit-unified-slow-status", "active")
            .header("anthropic-ratelimit-unified-status", "rejected");
        pool.api.next("a", served);
        let response = running.send(&ask(false).header("anthropic-usage-limit", "slow")).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        let slow = response.header("anthropic-ratelimit-unified-slow-status");
        assert_eq!(slow, (labels.len() == 1).then_some("active"), "{labels:?}");
        assert_eq!(pool.served()[0], 1);
        for request in [ask(false), asks_in("one", ask(true)).header("anthropic-usage-limit", "extended")] {
            refusal(&running.send(&request).await, 429, "rate_limit_error");
        }
        assert_eq!(pool.served()[0], 1);
    }
}
