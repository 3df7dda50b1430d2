//! What Codex clients are shown of the pool, and what is observed of their answers.

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::client::{Ended, Request};
use trunkline_testkit::codex::{Limits, TurnScript, Window};
use trunkline_testkit::{Script, Trunkline, sse};

use crate::pool::{status_of, unix_now};
use crate::support::codex::{CodexPool, body, codex_refusal, send, turn, turn_in};
use crate::support::{Protocol, USER_TOKEN, trunkline};

const USAGE: [&str; 3] = ["/wham/usage", "/backend-api/wham/usage", "/api/codex/usage"];

#[tokio::test]
async fn an_answer_shows_the_pool_as_one_account() {
    let pool = CodexPool::new(&["a", "b"]).await;
    pool.api.set_limits("a", Limits::used(12.0, 34.0).with("x-codex-promo-message", "buy more"));
    pool.api.set_limits("b", Limits::used(50.0, 50.0));
    let running = pool.start().await;
    for protocol in Protocol::BOTH {
        let response = protocol.send(running.addr().unwrap(), &turn_in("one")).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        let header = |name: &str| response.header(&format!("x-codex-{name}"));
        // Of what is offered, 2 × 99 with the weight of the plan, so much is used.
        assert_eq!(header("primary-used-percent"), Some("31.31"));
        assert_eq!(header("secondary-used-percent"), Some("42.42"));
        assert_eq!(
            (header("primary-window-minutes"), header("secondary-window-minutes")),
            (Some("300"), Some("10080"))
        );
        let reset: u64 = header("primary-reset-at").unwrap().parse().unwrap();
        assert!(reset > unix_now() && reset <= unix_now() + 3 * 3600);
        // The plan of each is "pro", which weighs 10.
        assert_eq!(response.header("x-ocm-plan-weight"), Some("19.8"));
        for hidden in ["active-limit", "promo-message", "credits-balance", "primary-reset-after-seconds"] {
            assert_eq!(header(hidden), None, "{hidden}");
        }
        // What else the client reads passes.
        assert_eq!((header("plan-type"), response.header("openai-model")), (Some("pro"), Some("gpt-5.5")));
        assert_eq!(response.header("x-models-etag"), Some("W/\"scripted-etag-1\""));
        assert_eq!(response.header("x-reasoning-included"), Some("true"));
    }
    // A list of models shows nothing.
    let models = send(&running, &Request::get("/v1/models?client_version=0.169.0").bearer(USER_TOKEN)).await;
    assert_eq!((models.status(), models.json().unwrap()), (200, json!({ "models": [] })));
    assert_eq!(models.header("x-codex-primary-used-percent"), None);
    assert_eq!(models.header("etag"), Some("W/\"scripted-etag-1\""));
}

/// The windows of the first credential, as the status has them: name and percent.
async fn windows_of(running: &Trunkline, expected: &[(&str, Option<f64>)]) {
    status_of(running, |credentials| {
        let windows = credentials[0]["windows"].as_array().unwrap();
        let seen: Vec<_> = windows
            .iter()
            .map(|window| (window["window"].as_str().unwrap(), window["used_percent"].as_f64()))
            .collect();
        seen == expected
    })
    .await;
}

#[tokio::test]
async fn plans_have_the_windows_that_they_have() {
    let window = |used, minutes| Window { used, minutes, resets_at: unix_now() + 86_400 };
    let pool = CodexPool::new(&["a"]).await;
    // A week alone.
    pool.api.set_limits("a", Limits { primary: window(40.0, 10_080), secondary: None, more: Vec::new() });
    let running = trunkline().config(&pool.config()).start().await.unwrap();
    windows_of(&running, &[("5h", None), ("weekly", Some(40.0))]).await;
    let response = send(&running, &turn_in("one")).await;
    assert_eq!(response.header("x-codex-primary-used-percent"), None);
    assert_eq!(response.header("x-codex-secondary-used-percent"), Some("40.40"));
    let usage = send(&running, &Request::get(USAGE[0]).bearer(USER_TOKEN)).await.json().unwrap();
    let windows = &usage["rate_limit"];
    assert_eq!(
        (&windows["primary_window"], windows["secondary_window"]["used_percent"].as_f64()),
        (&Value::Null, Some(40.0))
    );
    // A month beside it: the fuller one counts, and each is listed.
    let month =
        Limits { primary: window(70.0, 43_200), secondary: Some(window(41.0, 10_080)), more: Vec::new() };
    pool.api.set_limits("a", month);
    assert_eq!(send(&running, &turn_in("one")).await.status(), 200);
    windows_of(&running, &[("5h", None), ("weekly", Some(41.0)), ("weekly", Some(70.0))]).await;
    let response = send(&running, &turn_in("one")).await;
    assert_eq!(response.header("x-codex-secondary-used-percent"), Some("70.71"));
    assert_eq!(response.header("x-codex-secondary-window-minutes"), Some("43200"));
}

/// Waits until an account's plan and weight are these.
async fn plan_of(running: &Trunkline, plan: &str, weight: f64) {
    status_of(running, |credentials| {
        credentials[0]["plan"] == plan && credentials[0]["weight"].as_f64() == Some(weight)
    })
    .await;
}

#[tokio::test]
async fn the_plan_that_was_seen_last_is_what_a_login_weighs_by() {
    let pool = CodexPool::new(&["a"]).await;
    // The login says "pro"; the poll knows better.
    pool.api.set_plan("a", "promax");
    let running = pool.start().await;
    plan_of(&running, "promax", 25.0).await;
    // By the header alone, without any limits beside it.
    let plain = Script::sse([sse::event("response.completed", &json!({ "type": "response.completed" }))]);
    pool.api.next("a", plain.header("x-codex-plan-type", "prolite"));
    assert_eq!(send(&running, &turn_in("one")).await.status(), 200);
    plan_of(&running, "prolite", 5.0).await;
    // By an event.
    let event = json!({ "type": "codex.rate_limits", "plan_type": "plus", "rate_limits": null });
    pool.api.next_turn("a", TurnScript::new().event(event).go_on());
    assert_eq!(send(&running, &turn_in("one")).await.status(), 200);
    plan_of(&running, "plus", 1.0).await;
    // Whoever does not know it says nothing.
    pool.api.next("a", Script::json(200, &json!({})).header("x-codex-plan-type", "unknown"));
    assert_eq!(send(&running, &turn_in("one")).await.status(), 200);
    plan_of(&running, "plus", 1.0).await;
    // Another login is perhaps of another account.
    pool.api.set_plan("a", "pro");
    let mut login = pool.api.login_file("a").unwrap();
    login["tokens"]["access_token"] = json!("another");
    pool.api.next_on("/backend-api/wham/usage", Script::json(500, &json!({})));
    pool.home.write("a/auth.json", login.to_string()).unwrap();
    plan_of(&running, "pro", 10.0).await;
}

#[tokio::test]
async fn the_usage_endpoint_tells_of_the_pool() {
    let pool = CodexPool::new(&["a", "b"]).await;
    pool.api.set_limits("a", Limits::used(12.0, 34.0));
    pool.api.set_limits("b", Limits::used(50.0, 50.0));
    let running = pool.start().await;
    let polls = pool.upstream.requests().len();
    for path in USAGE {
        let usage = send(&running, &Request::get(path).bearer(USER_TOKEN)).await;
        assert_eq!(usage.status(), 200, "{path}: {}", usage.text());
        let usage = usage.json().unwrap();
        assert_eq!((&usage["plan_type"], &usage["credits"]), (&json!("unknown"), &Value::Null));
        let primary = &usage["rate_limit"]["primary_window"];
        assert_eq!(primary["limit_window_seconds"], 18_000);
        let percent = primary["used_percent"].as_f64().unwrap();
        assert!((31.0..=32.0).contains(&percent), "{usage}");
        assert_eq!(usage["rate_limit"]["allowed"], true);
        assert_eq!(send(&running, &Request::get(path)).await.status(), 401, "{path}");
    }
    assert_eq!(pool.upstream.requests().len(), polls, "the provider is not asked");
}

#[tokio::test]
async fn events_about_limits_are_observed_and_not_passed_on() {
    for protocol in Protocol::BOTH {
        let pool = CodexPool::new(&["a"]).await;
        let running = pool.start().await;
        let event = json!({
            "type": "codex.rate_limits",
            "plan_type": "pro",
            "rate_limits": {
                "allowed": true, "limit_reached": false,
                "primary": { "used_percent": 77, "window_minutes": 300, "reset_at": unix_now() + 3 * 3600 },
                "secondary": null,
            },
        });
        pool.api.next_turn("a", TurnScript::new().event(event).go_on());
        let response = protocol.send(running.addr().unwrap(), &turn_in("one")).await;
        assert_eq!(response.status(), 200);
        let text = response.text();
        assert!(text.contains("response.completed") && text.contains("hi from the scripted API"), "{text}");
        assert!(!text.contains("codex.rate_limits"), "{text}");
        status_of(&running, |credentials| credentials[0]["windows"][0]["used_percent"] == 77.0).await;
    }
}

/// A stream with a stated length becomes shorter, and one that breaks off has given every byte that came before.
#[tokio::test]
async fn what_is_left_of_a_stream_ends_as_it_did() {
    let limits = sse::event("codex.rate_limits", &json!({ "type": "codex.rate_limits", "plan_type": "pro" }));
    let event = sse::event(
        "response.output_text.delta",
        &json!({ "type": "response.output_text.delta", "delta": "x" }),
    );
    let undecided = "event: response.completed\ndata: {\"ty";
    for protocol in Protocol::BOTH {
        let pool = CodexPool::new(&["a"]).await;
        let running = pool.start().await;
        let stream = || Script::status(200).header("content-type", "text/event-stream");
        let whole = [&event[..], &limits, &event].concat();
        pool.api.next("a", stream().body(whole));
        let response = protocol.send(running.addr().unwrap(), &turn_in("one")).await;
        assert_eq!(
            (response.end, response.body()),
            (Ended::Complete, Bytes::from([&event[..], &event].concat()))
        );
        pool.api.next("a", stream().body([&event[..], undecided.as_bytes()].concat()));
        let response = protocol.send(running.addr().unwrap(), &turn_in("one")).await;
        assert_eq!(response.end, Ended::Complete);
        assert_eq!(response.body(), [&event[..], undecided.as_bytes()].concat());
        let script = stream().chunk(event.clone()).chunk(limits.clone()).chunk(undecided).reset();
        pool.api.next("a", script);
        let response = protocol.send(running.addr().unwrap(), &turn_in("one")).await;
        assert!(protocol.is_cut(response.end), "{:?}", response.end);
        assert_eq!(response.body(), [&event[..], undecided.as_bytes()].concat());
        // Nothing is left of it at all: it said nothing, and nobody else is there to ask.
        pool.api.next("a", stream().body(limits.clone()));
        let response = protocol.send(running.addr().unwrap(), &turn_in("one")).await;
        codex_refusal(&response, 502, "server_error");
    }
}

#[tokio::test]
async fn passthrough_leaves_everything_as_it_is() {
    let mut pool = CodexPool::new(&["a"]).await;
    pool.service(json!({
        "users": [{ "name": "alice", "token": USER_TOKEN, "rate_limit_headers": "passthrough" }],
    }));
    let running = pool.start().await;
    let event = json!({ "type": "codex.rate_limits", "plan_type": "pro", "rate_limits": null });
    pool.api.next_turn("a", TurnScript::new().event(event).go_on());
    let response = send(&running, &turn_in("one")).await;
    assert!(response.text().contains("codex.rate_limits"), "{}", response.text());
    assert_eq!(response.header("x-codex-primary-used-percent"), Some("12"));
    assert_eq!(response.header("x-codex-active-limit"), Some("codex"));
}

/// The usual body with these members.
fn with(extra: &Value) -> Bytes {
    let mut value: Value = serde_json::from_slice(&body()).unwrap();
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Bytes::from(value.to_string())
}

fn compressed(extra: &Value) -> Bytes {
    zstd::encode_all(&with(extra)[..], 3).unwrap().into()
}

fn metadata(id: &str) -> Value {
    json!({ "prompt_cache_key": "another", "client_metadata": { "session_id": id } })
}

/// How a request says which session it is of.
type Way = Box<dyn Fn(&str) -> Request>;

/// Requests of one session stay with their credential, however they say which one it is.
#[tokio::test]
async fn a_session_is_known_by_every_name_that_clients_give_it() {
    let pool = CodexPool::new(&["a", "b"]).await;
    let mut config = pool.config();
    config["services"][0]["credentials"][2]["strategy"] = json!("round_robin");
    config["services"][0]["credentials"][2]["type"] = json!("balancer");
    let running = crate::support::trunkline().config(&config).start().await.unwrap();
    let ways: [(&str, Way); 6] = [
        ("session-id", Box::new(|id| turn(body()).header("session-id", id).header("session_id", "another"))),
        (
            "session_id",
            Box::new(|id| turn(body()).header("session_id", id).header("conversation_id", "another")),
        ),
        ("conversation_id", Box::new(|id| turn(body()).header("conversation_id", id))),
        ("client_metadata", Box::new(|id| turn(with(&metadata(id))))),
        ("prompt_cache_key", Box::new(|id| turn(with(&json!({ "prompt_cache_key": id }))))),
        ("zstd", Box::new(|id| turn(compressed(&metadata(id))).header("content-encoding", "zstd"))),
    ];
    for (name, request) in ways {
        let id = format!("of-{name}");
        let before = pool.served();
        for _ in 0..3 {
            assert_eq!(send(&running, &request(&id)).await.status(), 200);
        }
        let asked: Vec<usize> = pool.served().iter().zip(&before).map(|(now, then)| now - then).collect();
        assert!(asked.contains(&3) && asked.contains(&0), "{name}: {asked:?}");
    }
    // Without one they go round.
    let before = pool.served();
    for _ in 0..4 {
        assert_eq!(send(&running, &turn(body())).await.status(), 200);
    }
    let asked: Vec<usize> = pool.served().iter().zip(&before).map(|(now, then)| now - then).collect();
    assert_eq!(asked, [2, 2]);
}
