//! The limits that a client is shown, where it is not simply the pool's.

use serde_json::{Value, json};
use trunkline_testkit::Script;
use trunkline_testkit::claude::{Limits, error};
use trunkline_testkit::client::{Request, Response};

use crate::pool::{Pool, Running, ask, refused, unix_now, used_up};
use crate::support::{Protocol, USER_TOKEN, refusal, trunkline};

fn unified<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.header(&format!("anthropic-ratelimit-unified-{name}"))
}

#[tokio::test]
async fn passthrough_leaves_the_headers_of_the_one_credential_as_they_are() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.service(json!({ "users": [
        { "name": "alice", "token": USER_TOKEN, "credential": "a", "rate_limit_headers": "passthrough" },
        { "name": "bob", "token": "bob", "credential": "a" },
    ]}));
    let running = pool.start().await;
    pool.api.set_limits("a", Limits::allowed(0.12, 0.34).with("upgrade-paths", "max"));
    for protocol in Protocol::BOTH {
        let response = protocol.send(running.addr(), &ask(true)).await;
        assert_eq!(response.status(), 200);
        let told = ["5h-utilization", "overage-status", "upgrade-paths"].map(|name| unified(&response, name));
        assert_eq!(told, [Some("0.12"), Some("rejected"), Some("max")]);
        assert_eq!(response.header("x-ccm-plan-weight"), None);
        // The pool's, for everybody else.
        let bobs = protocol.send(running.addr(), &ask(true).set_header("Authorization", "Bearer bob")).await;
        let told = ["5h-utilization", "overage-status", "upgrade-paths"].map(|name| unified(&bobs, name));
        assert_eq!(told, [Some("0.121212"), None, None]);
        assert!(bobs.header("x-ccm-plan-weight").is_some());
    }
    // Whoever sees the headers of one credential sees its refusal too.
    let limits = used_up(unix_now() + 4_000);
    pool.api.next("a", refused(error(429, "rate_limit_error", "of the provider"), &limits));
    let response = running.send(&ask(false)).await;
    assert_eq!(response.status(), 429, "{}", response.text());
    assert_eq!(unified(&response, "status"), Some("rejected"));
}

#[tokio::test]
async fn what_is_not_known_is_null_in_the_usage() {
    let pool = Pool::new(&["a"], "fallback").await;
    // A poll that tells nothing.
    pool.api.next_on("/api/oauth/usage", Script::json(200, &json!({ "five_hour": null, "limits": [] })));
    let trunkline = trunkline().config(&pool.config()).start().await.unwrap();
    let running = Running { pool: &pool, trunkline };
    let usage = || Request::get("/api/oauth/usage").bearer(USER_TOKEN);
    let told = running.send(&usage()).await.json().unwrap();
    for window in ["seven_day_opus", "seven_day_sonnet", "extra_usage"] {
        assert_eq!(told[window], Value::Null, "{told}");
        assert!(told.as_object().unwrap().contains_key(window), "{told}");
    }
    // An answer tells of one window, and with its moment.
    let reset = unix_now() + 4_000;
    let script = Script::text(200, "fine")
        .header("anthropic-ratelimit-unified-5h-utilization", "0.495")
        .header("anthropic-ratelimit-unified-5h-reset", reset.to_string());
    pool.api.next("a", script);
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.status(|credentials| credentials[0]["windows"][0]["used_percent"] == 50.0).await;
    let told = running.send(&usage()).await.json().unwrap();
    assert!((told["five_hour"]["utilization"].as_f64().unwrap() - 50.0 / 0.99).abs() < 1e-3, "{told}");
    let at: jiff::Timestamp = told["five_hour"]["resets_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(at.as_second(), i64::try_from(reset).unwrap());
}

#[tokio::test]
async fn a_user_may_wait_where_others_are_answered_at_once() {
    let mut pool = Pool::new(&["a"], "fallback").await;
    pool.service(json!({ "users": [
        { "name": "alice", "token": USER_TOKEN, "credential": "pool" },
        { "name": "bob", "token": "bob", "credential": "pool", "wait_for_capacity": "20s" },
    ]}));
    let running = pool.start().await;
    let reset = unix_now() + 5;
    pool.api.next("a", refused(error(429, "rate_limit_error", "used up"), &used_up(reset)));
    let response = running.send(&ask(false)).await;
    refusal(&response, 429, "rate_limit_error");
    assert_eq!(response.header("x-should-retry"), None, "it is worth a try soon");
    assert!((1..=5).contains(&response.header("retry-after").unwrap().parse().unwrap()));
    let waited = running.send(&ask(true).set_header("Authorization", "Bearer bob")).await;
    assert_eq!((waited.status(), pool.served()), (200, vec![2]), "{}", waited.text());
    assert!(unix_now() >= reset);
}
