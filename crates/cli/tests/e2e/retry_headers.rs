//! Every try of a request goes out with the client's headers, in their order.

use trunkline_testkit::Script;
use trunkline_testkit::claude::{Limits, error};
use trunkline_testkit::client::Request;

use crate::pool::{Pool, ask, refused};
use crate::support::Protocol;

/// Longer than what is kept of a head as it was read.
const LONG: usize = 20 << 10;

/// A pool whose first two accounts refuse what they are asked next.
async fn pool() -> Pool {
    let pool = Pool::new(&["a", "b", "c"], "fallback").await;
    refuse(&pool);
    pool
}

fn refuse(pool: &Pool) {
    for label in ["a", "b"] {
        let refusal = error(429, "rate_limit_error", "of the test");
        pool.api.next(label, refused(refusal, &Limits::five_hour_rejected()));
    }
}

fn request() -> Request {
    ask(true)
        .header("X-Order", "1")
        .header("Anthropic-Beta", "one-2026-01-01")
        .header("x-order", "2")
        .header("X-Stainless-Retry-Count", "0")
        .header("anthropic-beta", "two-2026-01-01,three-2026-01-01")
        .header("X-High", "caf\u{e9}")
        .header("accept", "application/json")
}

/// What the provider got in the last three requests, but for the token of each account.
fn tries(pool: &Pool) -> Vec<Vec<(String, String)>> {
    let requests = pool.upstream.requests();
    let messages: Vec<_> = requests.iter().filter(|request| request.path() == "/v1/messages").collect();
    let lines = |(name, value): (&str, &str)| {
        let value =
            if name == "authorization" { value.replace(char::is_alphanumeric, "") } else { value.to_owned() };
        (name.to_owned(), value)
    };
    let headers = messages.iter().map(|request| request.headers.iter().map(lines).collect::<Vec<_>>());
    headers.skip(messages.len() - 3).collect()
}

fn are_the_same(pool: &Pool, what: &str) {
    let tries = tries(pool);
    let first = &tries[0];
    let order: Vec<_> = first.iter().filter(|(name, _)| name == "x-order").map(|(_, value)| value).collect();
    assert_eq!(order, ["1", "2"], "{what}");
    assert!(
        first.iter().any(|(name, value)| name == "authorization" && value == " ----"),
        "{what}: {first:?}"
    );
    for further in &tries[1..] {
        assert_eq!(further, first, "{what}");
    }
}

#[tokio::test]
async fn over_either_protocol_long_or_short() {
    for protocol in Protocol::BOTH {
        for request in [request(), request().header("X-Long", &"x".repeat(LONG))] {
            let pool = pool().await;
            let running = pool.start().await;
            let response = protocol.send(running.addr(), &request).await;
            assert_eq!((response.status(), pool.served()), (200, vec![1, 1, 1]), "{}", response.text());
            are_the_same(&pool, &format!("{protocol:?}"));
        }
    }
}

#[tokio::test]
async fn of_a_request_that_came_with_the_one_before() {
    let pool = Pool::new(&["a", "b", "c"], "fallback").await;
    let running = pool.start().await;
    pool.api.next("a", Script::text(200, "first"));
    refuse(&pool);
    let host = running.addr().to_string();
    let other = ask(false).header("X-Order", "of the other");
    let bytes =
        [&other, &request()].map(|request| [request.head_bytes(&host), request.body_bytes()].concat());
    let mut connection = crate::support::connect(&running.trunkline).await;
    connection.write_raw(&bytes.concat()).await.unwrap();
    assert_eq!(connection.response().await.unwrap().text(), "first");
    let response = connection.response().await.unwrap();
    assert_eq!((response.status(), pool.served()), (200, vec![2, 1, 1]), "{}", response.text());
    are_the_same(&pool, "pipelined");
}
