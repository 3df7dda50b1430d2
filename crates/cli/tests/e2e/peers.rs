//! How an instance behind a user is told of limits (limits.md, *Rate-limit headers that a client sees*, *To a peer*).

use serde_json::json;
use trunkline_testkit::claude::{Limits, error};
use trunkline_testkit::client::{Request, Response};

use crate::pool::{Pool, Running, ask, unix_now, used_up};
use crate::support::{Protocol, USER_TOKEN};

fn by(user: &str, request: &Request) -> Request {
    request.clone().set_header("Authorization", &format!("Bearer {user}"))
}

fn unified<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.header(&format!("anthropic-ratelimit-unified-{name}"))
}

/// A pool that an instance uses too, whose user is `peer`.
async fn pool_with_a_peer() -> Pool {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    let users = json!([
        { "name": "alice", "token": USER_TOKEN, "credential": "pool" },
        { "name": "instance", "token": "peer", "credential": "pool", "peer": true },
    ]);
    pool.service(json!({ "users": users }));
    pool
}

/// Claim and reset of a 429.
async fn told(running: &Running<'_>, user: &str) -> (String, Option<u64>) {
    let response = Protocol::Http2.send(running.addr(), &by(user, &ask(true))).await;
    assert_eq!(response.status(), 429, "{}", response.text());
    let claim = unified(&response, "representative-claim").unwrap().to_owned();
    let reset = match claim.as_str() {
        "5h" | "five_hour" => "5h-reset",
        _ => "7d-reset",
    };
    (claim, unified(&response, reset).map(|reset| reset.parse().unwrap()))
}

#[tokio::test]
async fn a_peer_is_told_of_limits_as_instances_tell_each_other() {
    let pool = pool_with_a_peer().await;
    let running = pool.start().await;
    // An ordinary answer differs by the spelling of the claim alone, also right after each other.
    for (user, claim) in [(USER_TOKEN, "seven_day"), ("peer", "7d"), (USER_TOKEN, "seven_day")] {
        let response = running.send(&by(user, &ask(false))).await;
        assert_eq!((response.status(), unified(&response, "representative-claim")), (200, Some(claim)));
        assert_eq!(response.header("x-ccm-plan-weight"), Some("1.98"));
    }
    // Nothing is usable: our own answer.
    let reset = unix_now() + 4_000;
    for label in ["a", "b"] {
        pool.api.set_limits(label, used_up(reset));
    }
    assert_eq!(told(&running, USER_TOKEN).await, ("five_hour".to_owned(), Some(reset)));
    assert_eq!(told(&running, "peer").await, ("5h".to_owned(), Some(reset)));
}

#[tokio::test]
async fn a_peer_is_told_a_reset_for_a_refusal_that_names_none() {
    for (user, names) in [(USER_TOKEN, ["five_hour", "seven_day"]), ("peer", ["5h", "7d"])] {
        let pool = pool_with_a_peer().await;
        for label in ["a", "b"] {
            // Of what it has used nothing is known.
            pool.api.set_limits(
                label,
                Limits { five_hour_reset: 0, seven_day_reset: 0, ..Limits::allowed(0.1, 0.2) },
            );
            pool.api.next(label, error(429, "rate_limit_error", "Too many at once."));
        }
        let running = pool.start().await;
        let (claim, reset) = told(&running, user).await;
        assert!(names.contains(&claim.as_str()), "{claim}");
        if user == "peer" {
            let ahead = reset.unwrap().saturating_sub(unix_now());
            assert!((1..=61).contains(&ahead), "{ahead}");
        }
    }
}
