//! What a client is told when no credential is usable for it (routing.md, *No candidate usable*); limits of all of them and of a
//! model alone are among the stories of failover.

use serde_json::json;
use trunkline_testkit::claude::error;

use crate::pool::{Pool, ask, asks_in, unix_now, used_up};
use crate::support::{Protocol, USER_TOKEN, final_refusal, passing_refusal, refusal};

#[tokio::test]
async fn some_at_a_limit_and_some_unavailable_are_both_counted() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    pool.api.revoke_access("b");
    pool.api.set_limits("a", used_up(unix_now() + 4_000));
    // Who finds it out is told the same as those who come after.
    for nth in 0..=2 {
        let response = Protocol::BOTH[nth % 2].send(running.addr(), &ask(true)).await;
        let text = refusal(&response, 429, "rate_limit_error");
        let counts =
            "1 of 2 credentials for alice is at its limit and 1 is unavailable; the next one is free at ";
        assert!(text.starts_with(counts), "{text}");
        assert_eq!(response.header("x-should-retry"), Some("false"));
        assert_eq!(response.header("anthropic-ratelimit-unified-status"), Some("rejected"));
    }
}

#[tokio::test]
async fn all_unavailable_is_told_by_tag_and_reason() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    pool.api.revoke_access("a");
    pool.api.revoke_access("b");
    // Who finds it out is told what the last one of them said.
    assert_eq!(running.send(&ask(false)).await.status(), 401);
    running.state("b", "unavailable").await;
    for protocol in Protocol::BOTH {
        let text = final_refusal(&protocol.send(running.addr(), &ask(false)).await, 503, "api_error");
        for part in ["alice", "a (", "b (", "refused by the provider"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('/') && !text.contains("sk-ant"), "{text}");
    }
}

#[tokio::test]
async fn a_block_that_ends_soon_is_worth_a_retry() {
    let pool = Pool::new(&["a"], "fallback").await;
    let running = pool.start().await;
    assert_eq!(running.send(&asks_in("old", ask(false))).await.status(), 200);
    pool.api.next("a", error(429, "rate_limit_error", "of the moment").header("retry-after", "30"));
    assert_eq!(running.send(&ask(false)).await.status(), 429);
    running.state("a", "blocked: burst").await;
    let response = running.send(&asks_in("new", ask(false))).await;
    let text = passing_refusal(&response, 429, "rate_limit_error");
    assert!(
        text.starts_with("The credential for alice is throttled by the provider; it is free at "),
        "{text}"
    );
    // Its windows are as they were.
    assert_ne!(response.header("anthropic-ratelimit-unified-status"), Some("rejected"));
    let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    // Whose session was there before stays.
    assert_eq!(running.send(&asks_in("old", ask(false))).await.status(), 200);
    assert_eq!(pool.served(), [3]);
}

#[tokio::test]
async fn credentials_of_others_are_none_of_the_users() {
    let mut pool = Pool::new(&["a", "b"], "least_used").await;
    for label in ["a", "b"] {
        pool.credential(label, json!({ "users": ["bob"] }));
    }
    pool.service(json!({ "users": [
        { "name": "alice", "token": USER_TOKEN, "credential": "pool" },
        { "name": "bob", "token": "bob", "credential": "pool" },
    ]}));
    let running = pool.start().await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(running.addr(), &ask(true)).await;
        final_refusal(&response, 403, "permission_error");
        assert_eq!(response.header("retry-after"), None);
    }
    assert_eq!(pool.served(), [0, 0]);
}
