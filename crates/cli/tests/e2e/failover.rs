//! The table of failures (routing.md): each row, over both protocols, streamed and not.

use serde_json::json;
use tokio::task::JoinSet;
use trunkline_testkit::claude::{Limits, error};
use trunkline_testkit::client::Ended;
use trunkline_testkit::ports::ClosedPort;
use trunkline_testkit::{PATIENCE, Script, Signal, fixtures, sse};

use crate::pool::{Pool, ask, asks, asks_in, refused, token, unix_now, used_up};
use crate::support::{Protocol, passing_refusal, refusal};

const LIMIT: &str = "This request would exceed your account's rate limit. Please try again later.";

/// What the first account answers, and what is to come of it.
struct Case {
    name: &'static str,
    script: Script,
    /// The status that the client sees.
    status: u16,
    /// How often the first and the second account were asked.
    asked: [usize; 2],
    /// The state of the first account afterwards.
    state: &'static str,
}

fn case(name: &'static str, script: Script, status: u16, asked: [usize; 2], state: &'static str) -> Case {
    Case { name, script, status, asked, state }
}

/// A stream that begins with an error.
fn first_event(kind: &str) -> Script {
    let data = json!({ "type": "error", "error": { "type": kind, "message": "of the stream" } });
    Script::sse([sse::event("error", &data)])
}

fn cases() -> Vec<Case> {
    let rejected = Limits::five_hour_rejected();
    let weekly = Limits::seven_day_rejected();
    let limit = || error(429, "rate_limit_error", LIMIT);
    let disabled = "Your account has been disabled after an automatic review.";
    let organization = "This organization has been disabled.";
    vec![
        case(
            "403 disabled",
            error(403, "permission_error", disabled),
            200,
            [1, 1],
            "unavailable: the provider says",
        ),
        case(
            "400 disabled",
            error(400, "invalid_request_error", organization),
            200,
            [1, 1],
            "unavailable: the provider",
        ),
        case(
            "401 disabled",
            error(401, "authentication_error", organization),
            200,
            [1, 1],
            "unavailable: the provider says",
        ),
        case("403 of a firewall", Script::text(403, "<html>blocked</html>"), 200, [1, 1], "usable"),
        case(
            "429 entitlement",
            error(429, "rate_limit_error", "Extra usage is required for long context requests."),
            429,
            [1, 0],
            "usable",
        ),
        case("429 5h", refused(limit(), &rejected), 200, [1, 1], "rate_limited: at its limit (5h)"),
        case("429 weekly", refused(limit(), &weekly), 200, [1, 1], "rate_limited: at its limit (weekly)"),
        case("429 other", limit().header("retry-after", "50"), 200, [1, 1], "blocked: burst"),
        case("529", error(529, "overloaded_error", "Overloaded"), 200, [1, 1], "usable"),
        case("503 overloaded", error(503, "overloaded_error", "Overloaded"), 200, [1, 1], "usable"),
        case("500", error(500, "api_error", "Internal server error"), 200, [1, 1], "usable"),
        case("502 of something else", Script::text(502, "<html>"), 200, [1, 1], "usable"),
        case("lost", Script::new().close(), 200, [1, 1], "usable"),
        case("reset", Script::new().reset(), 200, [1, 1], "usable"),
        case("400", error(400, "invalid_request_error", "no"), 400, [1, 0], "usable"),
        case("403 other", error(403, "permission_error", "You may not."), 403, [1, 0], "usable"),
        case("404", error(404, "not_found_error", "model: x"), 404, [1, 0], "usable"),
        case("413", error(413, "request_too_large", "too large"), 413, [1, 0], "usable"),
        case("422", error(422, "invalid_request_error", "no"), 422, [1, 0], "usable"),
        case("401 of the request's own", error(401, "authentication_error", "no"), 401, [1, 0], "usable"),
        case(
            "credit of a login",
            error(400, "invalid_request_error", "Your credit balance is too low"),
            400,
            [1, 0],
            "usable",
        ),
        case(
            "first event 429",
            refused(first_event("rate_limit_error"), &rejected),
            200,
            [1, 1],
            "rate_limited",
        ),
        case("first event burst", first_event("rate_limit_error"), 200, [1, 1], "blocked: burst"),
        case("first event 529", first_event("overloaded_error"), 200, [1, 1], "usable"),
        case("first event 500", first_event("api_error"), 200, [1, 1], "usable"),
        case("first event 401", first_event("authentication_error"), 200, [1, 0], "usable"),
        case("first event of another kind", first_event("invalid_request_error"), 200, [1, 0], "usable"),
        case(
            "cut before the first telling event",
            Script::sse([sse::comment("hello"), sse::event("ping", &json!({ "type": "ping" }))]).reset(),
            200,
            [1, 1],
            "usable",
        ),
    ]
}

async fn every_row(upstream: Protocol, protocol: Protocol, is_streamed: bool) {
    let mut set = JoinSet::new();
    for case in cases() {
        set.spawn(async move {
            let pool = match upstream {
                Protocol::Http1 => Pool::new(&["a", "b"], "fallback").await,
                Protocol::Http2 => Pool::over_http2(&["a", "b"], "fallback").await,
            };
            let running = pool.start().await;
            pool.api.next("a", case.script.clone());
            let response = protocol.send(running.addr(), &ask(is_streamed)).await;
            let what = format!("{} of {upstream:?} over {protocol:?}: {}", case.name, response.text());
            assert_eq!(response.status(), case.status, "{what}");
            assert_eq!(response.end, Ended::Complete, "{what}");
            assert_eq!(pool.served(), case.asked, "{what}");
            if case.status == 200 && case.asked[1] == 1 {
                // The whole answer of the other account, and nothing of the failure.
                assert!(response.text().contains("scripted"), "{what}");
                assert!(!response.text().contains("error"), "{what}");
            }
            running.state("a", case.state).await;
            let failovers = running.service_status().await["failovers"].as_u64().unwrap();
            assert_eq!(failovers, case.asked[1] as u64, "{what}");
        });
        // Each is a process of its own; a few at once are enough.
        if set.len() >= 4 {
            set.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(ended) = set.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn every_row_of_http1_over_http1() {
    every_row(Protocol::Http1, Protocol::Http1, false).await;
}

#[tokio::test]
async fn every_row_of_http1_over_http1_streamed() {
    every_row(Protocol::Http1, Protocol::Http1, true).await;
}

#[tokio::test]
async fn every_row_of_http1_over_http2() {
    every_row(Protocol::Http1, Protocol::Http2, false).await;
}

#[tokio::test]
async fn every_row_of_http1_over_http2_streamed() {
    every_row(Protocol::Http1, Protocol::Http2, true).await;
}

#[tokio::test]
async fn every_row_of_http2_over_http1() {
    every_row(Protocol::Http2, Protocol::Http1, false).await;
}

#[tokio::test]
async fn every_row_of_http2_over_http1_streamed() {
    every_row(Protocol::Http2, Protocol::Http1, true).await;
}

#[tokio::test]
async fn every_row_of_http2_over_http2() {
    every_row(Protocol::Http2, Protocol::Http2, false).await;
}

#[tokio::test]
async fn every_row_of_http2_over_http2_streamed() {
    every_row(Protocol::Http2, Protocol::Http2, true).await;
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_gives_way_to_the_next() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    pool.api.revoke_access("a");
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.state("a", "unavailable: refused by the provider").await;
    assert_eq!(pool.served(), [0, 1]);
    assert_eq!(running.send(&ask(true)).await.status(), 200);
    assert_eq!(pool.served(), [0, 2], "it is not asked again");
}

#[tokio::test]
async fn a_window_of_some_models_concerns_these_alone() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    let reset = (unix_now() + 3_600).to_string();
    let limits = Limits {
        status: "rejected".to_owned(),
        claim: "seven_day_opus".to_owned(),
        ..Limits::allowed(0.1, 0.2)
    }
    .with("7d_opus-status", "rejected")
    .with("7d_opus-utilization", "1.0")
    .with("7d_opus-reset", &reset);
    pool.api.next("a", refused(error(429, "rate_limit_error", LIMIT), &limits));
    assert_eq!(running.send(&asks("claude-opus-4-8", false)).await.status(), 200);
    assert_eq!(pool.served(), [1, 1]);
    running.state("a", "rate_limited: at its limit (7d_opus)").await;
    assert_eq!(running.send(&asks("claude-opus-4-8", true)).await.status(), 200);
    assert_eq!(pool.served(), [1, 2]);
    assert_eq!(running.send(&asks("claude-sonnet-5", false)).await.status(), 200);
    assert_eq!(pool.served(), [2, 2]);
    // With both at it, the model is named, and the base windows are left true.
    pool.api.next("b", refused(error(429, "rate_limit_error", LIMIT), &limits));
    let response = running.send(&asks("claude-opus-4-8", false)).await;
    let text = refusal(&response, 429, "rate_limit_error");
    assert!(
        text.starts_with("All 2 credentials for alice are at their limit for claude-opus-4-8; the next one"),
        "{text}"
    );
    let header =
        |name: &str| response.header(&format!("anthropic-ratelimit-unified-{name}")).unwrap_or("none");
    assert_eq!((header("representative-claim"), header("reset")), ("seven_day_opus", reset.as_str()));
    assert_eq!(
        (header("status"), header("5h-status"), header("7d-status")),
        ("rejected", "allowed", "allowed_warning")
    );
}

#[tokio::test]
async fn a_refusal_of_the_moment_hops_once_and_a_second_one_passes() {
    let pool = Pool::new(&["a", "b", "c"], "fallback").await;
    let running = pool.start().await;
    pool.api.next("a", error(429, "rate_limit_error", "of a"));
    pool.api.next("b", error(429, "rate_limit_error", "of b").header("retry-after", "3"));
    let response = running.send(&ask(false)).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.header("retry-after"), Some("3"), "as the provider said it");
    assert!(response.text().contains("of b"), "{}", response.text());
    assert_eq!(pool.served(), [1, 1, 0]);
    // New sessions go to the one that is left.
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!(pool.served(), [1, 1, 1]);
}

#[tokio::test]
async fn an_overloaded_model_does_not_move_a_session_that_is_bound() {
    let pool = Pool::new(&["a", "b"], "least_used").await;
    let running = pool.start().await;
    let ask = || asks_in("one", ask(true));
    assert_eq!(running.send(&ask()).await.status(), 200);
    assert_eq!(pool.served(), [1, 0]);
    pool.api.next("a", error(529, "overloaded_error", "Overloaded"));
    assert_eq!(running.send(&ask()).await.status(), 529);
    assert_eq!(pool.served(), [2, 0]);
    // A server error hops, and the binding stays where the cache is warm.
    pool.api.next("a", error(500, "api_error", "oops"));
    assert_eq!(running.send(&ask()).await.status(), 200);
    assert_eq!(pool.served(), [3, 1]);
    assert_eq!(running.send(&ask()).await.status(), 200);
    assert_eq!(pool.served(), [4, 1]);
}

#[tokio::test]
async fn server_errors_in_a_row_keep_new_sessions_away() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    assert_eq!(running.send(&asks_in("old", ask(false))).await.status(), 200);
    for _ in 0..3 {
        pool.api.next("a", error(500, "api_error", "oops"));
        assert_eq!(running.send(&ask(false)).await.status(), 200);
    }
    running.state("a", "blocked: overloaded").await;
    assert_eq!(pool.served(), [4, 3]);
    assert_eq!(running.send(&asks_in("new", ask(false))).await.status(), 200);
    assert_eq!(pool.served(), [4, 4]);
    assert_eq!(running.send(&asks_in("old", ask(false))).await.status(), 200);
    assert_eq!(pool.served(), [5, 4]);
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_tried_again_and_then_left() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    let closed = ClosedPort::new().unwrap();
    let url = format!("http://{}", closed.addr());
    let key = json!({ "tag": "key", "type": "api_key", "api_key": "k", "upstream": { "api_url": url } });
    let first = json!({ "tag": "first", "type": "fallback", "credentials": ["key", "a", "b"] });
    let mut credentials = pool.service["credentials"].as_array().unwrap().clone();
    credentials.extend([key, first]);
    let users = json!([{ "name": "alice", "token": crate::support::USER_TOKEN, "credential": "first" }]);
    pool.service(json!({ "credentials": credentials, "users": users }));
    let running = pool.start().await;
    for _ in 0..2 {
        assert_eq!(running.send(&ask(false)).await.status(), 200);
    }
    assert_eq!(pool.served(), [2, 0]);
    running.state("key", "blocked: connection").await;
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!(pool.served(), [3, 0]);
}

#[tokio::test]
async fn a_key_without_credit_gives_way() {
    let mut pool = Pool::new(&["a"], "fallback").await;
    let key = trunkline_testkit::claude::Account::new("k").api_key("sk-ant-api-k").limits(Limits::none());
    let login = trunkline_testkit::claude::Account::new("a").access_token(&token("a"));
    let api = trunkline_testkit::ClaudeApi::new([login, key]);
    let upstream = trunkline_testkit::Upstream::start(api.clone()).await.unwrap();
    pool.service(json!({
        "upstream": { "api_url": upstream.url() },
        "users": [{ "name": "alice", "token": crate::support::USER_TOKEN, "credential": "pool" }],
        "credentials": [
            { "tag": "k", "type": "api_key", "api_key": "sk-ant-api-k" },
            { "tag": "a", "oauth_token": token("a"), "weight": 1 },
            { "tag": "pool", "type": "fallback", "credentials": ["k", "a"] },
        ],
    }));
    let trunkline = crate::support::trunkline().config(&pool.config()).start().await.unwrap();
    let addr = trunkline.addr().unwrap();
    for (status, kind) in [(400, "invalid_request_error"), (402, "billing_error")] {
        api.next("k", error(status, kind, "Your credit balance is too low to access the Anthropic API."));
    }
    assert_eq!(Protocol::Http1.send(addr, &ask(false)).await.status(), 200);
    assert_eq!((api.served("k"), api.served("a")), (1, 1));
    // For an hour.
    assert_eq!(Protocol::Http1.send(addr, &ask(false)).await.status(), 200);
    assert_eq!((api.served("k"), api.served("a")), (1, 2));
}

#[tokio::test]
async fn no_head_in_time_is_a_504_and_nothing_is_repeated() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.service(json!({ "timeouts": { "response_head": "300ms" } }));
    let running = pool.start().await;
    pool.api.next("a", Script::new().stall());
    passing_refusal(&running.send(&ask(false)).await, 504, "api_error");
    assert_eq!(pool.served(), [1, 0]);
}

#[tokio::test]
async fn a_body_that_is_not_kept_is_not_tried_elsewhere() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.service(json!({ "replay_buffer": 1024 }));
    let running = pool.start().await;
    pool.api.next("a", error(500, "api_error", "of a"));
    let body = json!({ "model": "claude-sonnet-5", "messages": ["x".repeat(1 << 20)] }).to_string();
    let response = running.send(&ask(false).body(body)).await;
    assert_eq!((response.status(), pool.served()), (500, vec![1, 0]), "{}", response.text());
}

#[tokio::test]
async fn a_first_event_is_waited_for_only_so_long() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    let go_on = Signal::new();
    let data = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "late" } });
    pool.api.next("a", Script::sse([sse::comment("wait")]).wait(&go_on).chunk(sse::event("error", &data)));
    let mut connection = crate::support::connect(&running.trunkline).await;
    connection.write_request(&ask(true)).await.unwrap();
    // After half a second the head goes out, whatever comes then.
    assert_eq!(connection.head().await.unwrap().status, 200);
    go_on.set();
    let (chunks, ..) = connection.rest().await.unwrap();
    assert!(String::from_utf8_lossy(&chunks.concat()).contains("overloaded_error"));
    assert_eq!(pool.served(), [1, 0]);
}

#[tokio::test]
async fn requests_that_wait_for_a_head_move_when_their_credential_is_refused() {
    for protocol in Protocol::BOTH {
        let pool = Pool::new(&["a", "b"], "fallback").await;
        let running = pool.start().await;
        let began = Signal::new();
        pool.api.next("a", Script::new().announce(&began).stall());
        let waiting = tokio::spawn({
            let addr = running.addr();
            async move { protocol.send(addr, &ask(true)).await }
        });
        began.reached().await.unwrap();
        pool.api.set_limits("a", Limits::five_hour_rejected());
        assert_eq!(running.send(&ask(false)).await.status(), 200);
        let moved = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert_eq!((moved.status(), pool.served()), (200, vec![2, 2]), "{}", moved.text());
    }
}

#[tokio::test]
async fn a_storm_of_refusals_costs_no_request_more_than_one_hop() {
    const REQUESTS: usize = 200;
    let pool = Pool::new(&["a", "b", "c"], "round_robin").await;
    let running = pool.start().await;
    pool.api.set_limits("a", Limits::five_hour_rejected());
    let addr = running.addr();
    let mut set = JoinSet::new();
    for nth in 0..REQUESTS {
        let protocol = if nth % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
        set.spawn(async move {
            let response = protocol.send(addr, &ask(nth % 3 == 0)).await;
            (response.status(), response.end)
        });
    }
    while let Some(ended) = set.join_next().await {
        assert_eq!(ended.unwrap(), (200, Ended::Complete));
    }
    let served = pool.served();
    assert_eq!(served[1] + served[2], REQUESTS, "each is answered once: {served:?}");
    // The line of a request is written when its answer has ended, or a moment after; then it is not in flight any more.
    let is_request = |line: &str| line.contains("trunkline::request");
    running.trunkline.nth_stderr_line(REQUESTS, is_request).await.unwrap();
    let status = running.service_status().await;
    assert_eq!(status["in_flight"], 0);
    for line in running.trunkline.stderr().iter().filter(|line| is_request(line)) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["attempts"].as_u64().unwrap() <= 2, "{line}");
    }
    // One was needed to find out.
    assert!(served[0] >= 1 && status["failovers"].as_u64().unwrap() >= served[0] as u64, "{served:?}");
}

#[tokio::test]
async fn nothing_usable_is_told_with_the_moment_at_which_something_is() {
    let pool = Pool::new(&["a", "b"], "least_used").await;
    let running = pool.start().await;
    let (soon, later) = (unix_now() + 4_000, unix_now() + 9_000);
    pool.api.set_limits("a", used_up(later));
    pool.api.set_limits("b", used_up(soon));
    let mut texts = Vec::new();
    for (protocol, is_streamed) in [(Protocol::Http1, false), (Protocol::Http2, true)] {
        let response = protocol.send(running.addr(), &ask(is_streamed)).await;
        texts.push(refusal(&response, 429, "rate_limit_error"));
        assert_eq!(response.header("x-should-retry"), Some("false"));
        let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((3_900..=4_000).contains(&wait), "{wait}");
        let header = |name: &str| response.header(&format!("anthropic-ratelimit-unified-{name}")).unwrap();
        assert_eq!((header("status"), header("representative-claim")), ("rejected", "five_hour"));
        assert_eq!(
            (header("reset"), header("5h-reset")),
            (soon.to_string().as_str(), soon.to_string().as_str())
        );
        assert_eq!(header("5h-utilization"), "1.000000");
    }
    assert!(
        texts[0].starts_with("All 2 credentials for alice are at their limit; the next one is free at"),
        "{texts:?}"
    );
    assert_eq!(pool.served(), [1, 1], "nobody is asked who has refused");
}

#[tokio::test]
async fn a_request_may_wait_for_a_credential_that_is_free_soon() {
    let mut pool = Pool::new(&["a"], "fallback").await;
    pool.service(json!({ "wait_for_capacity": "20s" }));
    let running = pool.start().await;
    let reset = unix_now() + 4;
    let limits = used_up(reset);
    pool.api.next("a", refused(error(429, "rate_limit_error", LIMIT), &limits));
    let response = running.send(&ask(true)).await;
    assert_eq!((response.status(), pool.served()), (200, vec![2]), "{}", response.text());
    assert!(unix_now() >= reset);
}

/// Every failure that was recorded, once of each kind, answered by the first account: whatever another account would not
/// have, the client does not see.
#[tokio::test]
async fn recorded_failures_move_where_that_helps() {
    let mut exchanges: Vec<fixtures::Exchange> = Vec::new();
    for set in ["gateway_failures", "subscriber_failures"] {
        for exchange in fixtures::claude(set).unwrap() {
            let is_new = !exchanges.iter().any(|known| known.scenario == exchange.scenario);
            if exchange.request.target.starts_with("/v1/messages") && is_new {
                exchanges.push(exchange);
            }
        }
    }
    let mut set = JoinSet::new();
    let mut moved = 0;
    for exchange in exchanges {
        let recorded = &exchange.response;
        let first = sse::split(&recorded.body).into_iter().next().unwrap_or_default();
        let text = String::from_utf8_lossy(&recorded.body).into_owned();
        let moves = match recorded.status {
            None => true,
            Some(429) => !text.contains("Extra usage"),
            Some(status) if status >= 500 => true,
            Some(200) => {
                let begins = sse::names(&first);
                let is_stream =
                    recorded.headers.get("content-type").is_some_and(|kind| kind.contains("event-stream"));
                is_stream && (begins.is_empty() || begins == ["error"])
            }
            Some(_) => false,
        };
        moved += usize::from(moves);
        set.spawn(async move {
            let pool = Pool::new(&["a", "b"], "fallback").await;
            let running = pool.start().await;
            pool.api.next("a", Script::recorded(&exchange.response));
            let response = running.send(&asks("claude-opus-4-8", true)).await;
            let what = format!("{}: {}", exchange.scenario, response.text());
            assert_eq!(pool.served(), [1, usize::from(moves)], "{what}");
            let status = if moves { Some(200) } else { exchange.response.status };
            assert_eq!(Some(response.status()), status, "{what}");
            if moves {
                assert!(response.text().contains("msg_scripted"), "{what}");
            } else {
                assert!(exchange.response.body.starts_with(&response.body()), "{what}");
            }
        });
        if set.len() >= 4 {
            set.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(ended) = set.join_next().await {
        ended.unwrap();
    }
    assert!(moved > 10, "{moved}");
}

#[tokio::test]
async fn a_provider_over_http2_that_resets_the_stream_is_hopped_from() {
    let pool = Pool::over_http2(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    for nth in 1..=2 {
        pool.api.next("a", Script::new().reset());
        let response = running.send(&ask(true)).await;
        assert_eq!((response.status(), pool.served()), (200, vec![nth, nth]), "{}", response.text());
    }
    pool.api.next("a", error(529, "overloaded_error", "Overloaded"));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!(pool.served(), [3, 3]);
}
