//! Requests that take nothing of a credential's windows: `count_tokens`, `/v1/models`, what `paths` allow (routing.md, the
//! paragraph after the table of failures).

use serde_json::json;
use trunkline_testkit::Script;
use trunkline_testkit::claude::{Limits, error};
use trunkline_testkit::client::Request;

use crate::pool::{Pool, ask, asks_in, refused, token, unix_now, used_up};
use crate::support::{Protocol, USER_TOKEN, refusal};

const COUNT: &str = "/v1/messages/count_tokens";

/// The three kinds.
fn requests() -> [(&'static str, Request); 3] {
    let body = r#"{"model":"claude-sonnet-5","messages":[]}"#;
    [
        (COUNT, Request::post(&format!("{COUNT}?beta=true"), body)),
        ("/v1/models", Request::get("/v1/models?limit=1000")),
        ("/v1/files", Request::get("/v1/files")),
    ]
    .map(|(path, request)| (path, request.bearer(USER_TOKEN).header("anthropic-version", "2023-06-01")))
}

/// A pool whose user may ask for files too.
async fn pool(labels: &[&str]) -> Pool {
    let mut pool = Pool::new(labels, "fallback").await;
    let user = json!({ "name": "alice", "token": USER_TOKEN, "credential": "pool", "paths": ["/v1/files"] });
    pool.service(json!({ "users": [user] }));
    pool
}

/// How often each account was asked for a path.
fn asked(pool: &Pool, path: &str, labels: &[&str]) -> Vec<usize> {
    let requests = pool.upstream.requests();
    let of = |label: &&str| {
        let bearer = format!("Bearer {}", token(label));
        let is_its = |authorization: Option<&str>| authorization == Some(bearer.as_str());
        let hits = requests.iter().filter(|request| {
            request.path().starts_with(path) && is_its(request.headers.get("authorization"))
        });
        hits.count()
    };
    labels.iter().map(of).collect()
}

fn refusals() -> Vec<Script> {
    let limit = || error(429, "rate_limit_error", "This request would exceed your account's rate limit.");
    vec![
        limit(),
        limit().header("retry-after", "30"),
        refused(limit(), &Limits::five_hour_rejected()),
        error(500, "api_error", "Internal server error"),
        error(500, "api_error", "Internal server error"),
        error(500, "api_error", "Internal server error"),
        error(529, "overloaded_error", "Overloaded"),
    ]
}

#[tokio::test]
async fn what_they_are_refused_says_nothing_of_messages() {
    for (path, request) in requests() {
        let labels = ["a", "b", "c"];
        let pool = pool(&labels).await;
        let running = pool.start().await;
        for (nth, script) in refusals().into_iter().enumerate() {
            pool.api.next_on(path, script);
            pool.api.next_on(path, Script::json(200, &json!({ "input_tokens": 1 })));
            let response = Protocol::BOTH[nth % 2].send(running.addr(), &request).await;
            assert_eq!(response.status(), 200, "{path} {nth}: {}", response.text());
        }
        let tries = refusals().len();
        assert_eq!(asked(&pool, path, &labels), [tries, tries, 0], "{path}: one hop each");
        running.state("a", "usable").await;
        assert_eq!(running.send(&ask(false)).await.status(), 200);
        assert_eq!(pool.served(), [1, 0, 0], "{path}");
        // The second refusal is the answer.
        for nth in ["first", "second"] {
            pool.api.next_on(path, error(429, "rate_limit_error", nth));
        }
        let response = running.send(&request).await;
        assert_eq!(response.status(), 429);
        assert!(response.text().contains("second"), "{}", response.text());
        assert_eq!(asked(&pool, path, &labels), [tries + 1, tries + 1, 0], "{path}");
    }
}

#[tokio::test]
async fn they_are_served_at_a_limit() {
    let labels = ["a"];
    let pool = pool(&labels).await;
    pool.api.set_limits("a", used_up(unix_now() + 4_000));
    let running = pool.start().await;
    running.state("a", "capped").await;
    for is_refused in [false, true] {
        for (path, request) in requests() {
            pool.api.next_on(path, Script::json(200, &json!({})));
            let response = running.send(&asks_in("one", request)).await;
            assert_eq!(response.status(), 200, "{path}: {}", response.text());
        }
        if !is_refused {
            refusal(&running.send(&asks_in("one", ask(true))).await, 429, "rate_limit_error");
        }
    }
    assert_eq!(pool.served(), [0]);
}

#[tokio::test]
async fn a_dead_account_shows_in_them_too() {
    let labels = ["a", "b"];
    let pool = pool(&labels).await;
    let running = pool.start().await;
    let [(path, request), ..] = requests();
    pool.api.next_on(path, error(401, "authentication_error", "This organization has been disabled."));
    assert_eq!(running.send(&request).await.status(), 200);
    running.state("a", "unavailable: the provider says").await;
    assert_eq!(asked(&pool, path, &labels), [1, 1]);
}
