//! The table of failures over Codex's own texts (codex.md, *Failures*): each row, over both protocols, streamed and not.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use trunkline_testkit::client::{Ended, Request};
use trunkline_testkit::codex::{Account, CodexApi, Limits, TurnScript, error};
use trunkline_testkit::fixtures::{self, CodexTransport};
use trunkline_testkit::{Headers, Script, TempDir, Upstream};

use crate::pool::{service_status, state_of, unix_now};
use crate::support::codex::{CodexPool, codex_refusal, send, service, turn, turn_in};
use crate::support::{Protocol, config, trunkline, with};

/// What the first account answers, and what is to come of it.
struct Case {
    name: &'static str,
    answer: Answer,
    /// The status that the client sees.
    status: u16,
    /// How often the first and the second account were asked.
    asked: [usize; 2],
    /// The state of the first account afterwards.
    state: &'static str,
}

enum Answer {
    Plain(Script),
    Turn(TurnScript),
}

fn plain(name: &'static str, script: Script, status: u16, asked: [usize; 2], state: &'static str) -> Case {
    Case { name, answer: Answer::Plain(script), status, asked, state }
}

/// A stream whose first telling event is a failure.
fn failed(name: &'static str, code: &str, status: u16, asked: [usize; 2], state: &'static str) -> Case {
    let created =
        json!({ "type": "response.created", "response": { "id": "resp_x", "status": "in_progress" } });
    let failed = json!({
        "type": "response.failed",
        "response": { "id": "resp_x", "status": "failed", "error": { "code": code, "message": "of the stream" } },
    });
    Case { name, answer: Answer::Turn(TurnScript::new().event(created).event(failed)), status, asked, state }
}

/// The limit of the account is reached.
fn used_up() -> Script {
    let error = json!({
        "type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "pro",
        "resets_at": unix_now() + 3_600,
    });
    Script::json(429, &json!({ "error": error }))
}

/// How the backend says that accounts of this kind do not serve a model.
const NOT_SERVED: &str = "The 'gpt-5.5' model is not supported when using Codex with a ChatGPT account.";

/// A refusal of the backend's own kind.
fn detail(status: u16, detail: &Value) -> Script {
    Script::json(status, &json!({ "detail": detail }))
}

fn cases() -> Vec<Case> {
    let kind = "invalid_request_error";
    let reached = Limits::primary_reached();
    let scoped = used_up()
        .header("x-codex-active-limit", "codex_other")
        .header("x-codex-other-primary-used-percent", "100");
    vec![
        plain(
            "429 limit, by its headers",
            used_up().headers(reached.headers().iter()),
            200,
            [1, 1],
            "rate_limited: at its limit (5h)",
        ),
        plain("429 limit, by its text alone", used_up(), 200, [1, 1], "rate_limited"),
        plain("429 of one limit", scoped, 200, [1, 1], "rate_limited: at its limit (codex_other)"),
        plain(
            "429 not included",
            error(429, "usage_not_included", None, "no"),
            200,
            [1, 1],
            "rate_limited: at its limit (model gpt-5.5)",
        ),
        plain(
            "429 other",
            error(429, "rate_limit_exceeded", Some("rate_limit_exceeded"), "slow")
                .header("retry-after", "50"),
            200,
            [1, 1],
            "blocked: burst",
        ),
        plain(
            "429 quota of a login",
            error(429, "insufficient_quota", Some("insufficient_quota"), "no"),
            200,
            [1, 1],
            "blocked: burst",
        ),
        plain(
            "403 deactivated",
            error(403, kind, Some("account_deactivated"), "no"),
            200,
            [1, 1],
            "unavailable: the provider says",
        ),
        plain(
            "400 deactivated",
            error(400, kind, Some("deactivated_workspace"), "no"),
            200,
            [1, 1],
            "unavailable: the provider says",
        ),
        plain(
            "401 deactivated",
            error(401, kind, Some("account_deactivated"), "no"),
            200,
            [1, 1],
            "unavailable: the provider says",
        ),
        plain(
            "402 deactivated, in detail",
            detail(402, &json!({ "code": "deactivated_workspace" })),
            200,
            [1, 1],
            "unavailable: the provider says",
        ),
        plain(
            "403 of another workspace",
            detail(403, &json!({ "code": "invalid_workspace_selected" })),
            200,
            [1, 1],
            "rate_limited: at its limit (workspace)",
        ),
        plain(
            "400 of a model that is not served",
            detail(400, &json!(NOT_SERVED)),
            200,
            [1, 1],
            "rate_limited: at its limit (model gpt-5.5)",
        ),
        plain("403 of a firewall", Script::text(403, "<html>blocked</html>"), 200, [1, 1], "usable"),
        plain(
            "503 overloaded",
            error(503, "server_error", Some("server_is_overloaded"), "no"),
            200,
            [1, 1],
            "usable",
        ),
        plain("503 slow down", error(503, "server_error", Some("slow_down"), "no"), 200, [1, 1], "usable"),
        plain("503 other", error(503, "server_error", None, "no"), 200, [1, 1], "usable"),
        plain("500", error(500, "server_error", None, "no"), 200, [1, 1], "usable"),
        plain("502 of something else", Script::text(502, "<html>"), 200, [1, 1], "usable"),
        plain("lost", Script::new().close(), 200, [1, 1], "usable"),
        plain("reset", Script::new().reset(), 200, [1, 1], "usable"),
        plain("400", error(400, kind, None, "no"), 400, [1, 0], "usable"),
        plain("402", error(402, kind, None, "no"), 402, [1, 0], "usable"),
        plain("404", error(404, kind, None, "no"), 404, [1, 0], "usable"),
        plain("413", error(413, kind, None, "no"), 413, [1, 0], "usable"),
        plain("422", error(422, kind, None, "no"), 422, [1, 0], "usable"),
        plain(
            "401 of the request's own",
            error(401, "authentication_error", None, "no"),
            401,
            [1, 0],
            "usable",
        ),
        plain("403 of the request's own", error(403, "permission_error", None, "no"), 403, [1, 0], "usable"),
        failed("first event limit", "usage_limit_reached", 200, [1, 1], "rate_limited"),
        failed("first event burst", "rate_limit_exceeded", 200, [1, 1], "blocked: burst"),
        failed("first event quota of a login", "insufficient_quota", 200, [1, 1], "blocked: burst"),
        failed("first event overloaded", "server_is_overloaded", 200, [1, 1], "usable"),
        failed("first event slow down", "slow_down", 200, [1, 1], "usable"),
        failed("first event server error", "server_error", 200, [1, 1], "usable"),
        failed("first event of the request's own", "context_length_exceeded", 200, [1, 0], "usable"),
    ]
}

fn asks(is_streamed: bool) -> Request {
    let mut body = json!({ "model": "gpt-5.5", "store": false, "input": [], "tools": [] });
    body["stream"] = json!(is_streamed);
    turn(Bytes::from(body.to_string())).header("session-id", "one")
}

async fn every_row(protocol: Protocol, is_streamed: bool) {
    let mut set = JoinSet::new();
    for case in cases() {
        set.spawn(async move {
            let pool = CodexPool::new(&["a", "b"]).await;
            let running = pool.start().await;
            match case.answer {
                Answer::Plain(script) => pool.api.next("a", script),
                Answer::Turn(script) => pool.api.next_turn("a", script),
            }
            let response = protocol.send(running.addr().unwrap(), &asks(is_streamed)).await;
            let what = format!("{} over {protocol:?}: {}", case.name, response.text());
            assert_eq!(response.status(), case.status, "{what}");
            assert_eq!(response.end, Ended::Complete, "{what}");
            assert_eq!(pool.served(), case.asked, "{what}");
            if case.status == 200 && case.asked[1] == 1 {
                // The whole answer of the other account, and nothing of the failure.
                assert!(response.text().contains("hi from the scripted API"), "{what}");
                assert!(!response.text().contains("resp_x"), "{what}");
            }
            state_of(&running, "a", case.state).await;
            let failovers = service_status(&running).await["failovers"].as_u64().unwrap();
            assert_eq!(failovers, case.asked[1] as u64, "{what}");
            assert_eq!(pool.api.violations(), Vec::<String>::new(), "{what}");
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
async fn every_row_over_http1_streamed() {
    every_row(Protocol::Http1, true).await;
}

#[tokio::test]
async fn every_row_over_http2() {
    every_row(Protocol::Http2, false).await;
}

#[tokio::test]
async fn no_refresh_is_spent_on_a_dead_account() {
    for script in [
        error(401, "invalid_request_error", Some("account_deactivated"), "Your account has been deactivated"),
        detail(401, &json!({ "code": "account_deactivated" })),
        detail(402, &json!({ "code": "deactivated_workspace" })),
    ] {
        // What is said without naming the account is looked into, and there it is named.
        for is_named in [true, false] {
            let pool = CodexPool::new(&["a", "b"]).await;
            let running = pool.start().await;
            let first =
                if is_named { script.clone() } else { error(401, "authentication_error", None, "no") };
            pool.api.next("a", first);
            pool.api.next_on("/backend-api/wham/usage", script.clone());
            let response = send(&running, &turn_in("one")).await;
            assert_eq!(response.status(), 200, "{}", response.text());
            assert_eq!(pool.served(), [1, 1]);
            state_of(&running, "a", "unavailable: the provider says").await;
            assert_eq!((pool.api.refreshes("a"), pool.api.refreshes("b")), (0, 0));
            assert_eq!(send(&running, &turn_in("two")).await.status(), 200);
            assert_eq!(pool.served(), [1, 2], "it is not asked again");
        }
    }
}

#[tokio::test]
async fn a_model_that_nobody_serves_is_told_in_the_providers_words() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    pool.api.next("a", detail(400, &json!(NOT_SERVED)));
    pool.api.next("b", detail(400, &json!(NOT_SERVED)));
    let response = send(&running, &turn_in("one")).await;
    assert_eq!((response.status(), pool.served()), (400, vec![1, 1]));
    assert_eq!(response.json().unwrap(), json!({ "detail": NOT_SERVED }));
    // No limit stands behind it, and nobody is asked again for a while.
    codex_refusal(&send(&running, &turn_in("one")).await, 400, "invalid_request_error");
    assert_eq!(pool.served(), [1, 1]);
    // Other models go on.
    let other = turn(Bytes::from(json!({ "model": "gpt-5.4", "stream": true, "input": [] }).to_string()));
    assert_eq!(send(&running, &other).await.status(), 200);
    assert_eq!(pool.served(), [2, 1]);
}

/// Every failure that was recorded over HTTP, answered by the first account: whatever another account would not have, the
/// client does not see.
#[tokio::test]
async fn recorded_failures_move_where_that_helps() {
    let mut set = JoinSet::new();
    let (mut moved, mut stayed) = (0, 0);
    for failure in fixtures::codex_failures().unwrap() {
        if !matches!(failure.transport, CodexTransport::Http | CodexTransport::Sse) {
            continue;
        }
        let text = String::from_utf8_lossy(&failure.body).into_owned();
        let mut script = if failure.transport == CodexTransport::Sse {
            Script::sse([failure.body.clone()])
        } else {
            Script::json(failure.status, &serde_json::from_str::<Value>(&text).unwrap())
        };
        script = script.headers(without_type(&failure.headers).iter());
        let moves = match failure.status {
            429 | 500.. => true,
            200 => !text.contains("context_length_exceeded"),
            _ => false,
        };
        *(if moves { &mut moved } else { &mut stayed }) += 1;
        set.spawn(async move {
            let pool = CodexPool::new(&["a", "b"]).await;
            let running = pool.start().await;
            pool.api.next("a", script);
            let response = send(&running, &turn_in("one")).await;
            let what = format!("{} {:?}: {}", failure.scenario, failure.transport, response.text());
            assert_eq!(pool.served(), [1, usize::from(moves)], "{what}");
            assert_eq!(response.status(), if moves { 200 } else { failure.status }, "{what}");
            if moves {
                assert!(response.text().contains("hi from the scripted API"), "{what}");
            } else {
                assert_eq!(response.json().unwrap(), serde_json::from_str::<Value>(&text).unwrap(), "{what}");
            }
        });
        if set.len() >= 4 {
            set.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(ended) = set.join_next().await {
        ended.unwrap();
    }
    assert!(moved > 5 && stayed > 1, "{moved} {stayed}");
}

fn without_type(headers: &Headers) -> Headers {
    headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type")).collect()
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_sent_again() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    pool.api.revoke_access("a");
    let response = send(&running, &turn_in("one")).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!((pool.served(), pool.api.refreshes("a")), (vec![1, 0], 1));
    assert_eq!(pool.api.violations(), Vec::<String>::new());
    // One that cannot be renewed gives way.
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    pool.api.revoke_access("a");
    pool.api.revoke_refresh("a");
    assert_eq!(send(&running, &turn_in("one")).await.status(), 200);
    assert_eq!(pool.served(), [0, 1]);
    state_of(&running, "a", "unavailable: ").await;
    assert_eq!(pool.api.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_limit_of_one_model_leaves_the_others_alone() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let running = pool.start().await;
    let of = |model: &str| {
        let body = json!({ "model": model, "stream": true, "input": [], "tools": [] });
        turn(Bytes::from(body.to_string()))
    };
    pool.api.next("a", error(429, "usage_not_included", None, "no"));
    assert_eq!(send(&running, &of("gpt-6-sol")).await.status(), 200);
    assert_eq!(pool.served(), [1, 1]);
    assert_eq!(send(&running, &of("gpt-6-sol")).await.status(), 200);
    assert_eq!(pool.served(), [1, 2], "it is not asked for that model again");
    assert_eq!(send(&running, &of("gpt-5.5")).await.status(), 200);
    assert_eq!(pool.served(), [2, 2]);
}

#[tokio::test]
async fn a_key_whose_quota_is_used_up_gives_way() {
    let api = CodexApi::new([Account::new("x").api_key("sk-x"), Account::new("y").api_key("sk-y")]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let keys =
        ["x", "y"].map(|label| json!({ "tag": label, "type": "api_key", "api_key": format!("sk-{label}") }));
    let home = TempDir::new().unwrap();
    let config =
        with(config(&service(&upstream.url(), &keys)), json!({ "data_directory": home.join("data") }));
    let running = trunkline().config(&config).start().await.unwrap();
    api.next(
        "x",
        error(429, "insufficient_quota", Some("insufficient_quota"), "You exceeded your current quota"),
    );
    assert_eq!(send(&running, &turn_in("one")).await.status(), 200);
    assert_eq!((api.served("x"), api.served("y")), (1, 1));
    state_of(&running, "x", "rate_limited").await;
    // And as the first event of a stream.
    api.next_turn("y", TurnScript::failed("insufficient_quota", "You exceeded your current quota"));
    let response = send(&running, &turn_in("one")).await;
    codex_refusal(&response, 429, "usage_limit_reached");
}

#[tokio::test]
async fn all_used_up_is_one_clean_answer() {
    for protocol in Protocol::BOTH {
        let pool = CodexPool::new(&["a", "b"]).await;
        pool.api.set_limits("a", Limits::primary_reached());
        pool.api.set_limits("b", Limits::used(100.0, 20.0));
        let running = pool.start().await;
        let before = unix_now();
        let response = protocol.send(running.addr().unwrap(), &turn_in("one")).await;
        let after = unix_now();
        let error = codex_refusal(&response, 429, "usage_limit_reached");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("All 2 credentials for alice are at their limit"), "{message}");
        assert_eq!(error["plan_type"], "unknown");
        let resets_at = error["resets_at"].as_u64().unwrap();
        let retry_after: u64 = response.header("retry-after").unwrap().parse().unwrap();
        let answered_at = resets_at - retry_after;
        assert!((before - 1..=after + 1).contains(&answered_at), "{resets_at} {retry_after}");
        assert_eq!(response.header("x-codex-primary-used-percent"), Some("100.00"));
        assert_eq!(response.header("x-codex-primary-reset-at"), Some(&*resets_at.to_string()));
        assert_eq!(pool.served(), [0, 0]);
    }
}
