//! Limits: what is observed, what is offered, and what a client and the owner see of it.

use serde_json::{Value, json};
use trunkline_testkit::Script;
use trunkline_testkit::claude::{Limits, error};
use trunkline_testkit::client::Request;
use trunkline_testkit::upstream::EventKind;

use crate::pool::{Pool, Running, ask, asks_in};
use crate::support::{Protocol, USER_TOKEN, final_refusal, trunkline};

#[tokio::test]
async fn an_answer_shows_the_pool_as_one_subscription() {
    let pool = Pool::new(&["a", "b"], "least_used").await;
    pool.api.set_limits("a", Limits::allowed(0.12, 0.34));
    pool.api.set_limits("b", Limits::allowed(0.5, 0.5));
    let running = pool.start().await;
    for (protocol, is_streamed) in [(Protocol::Http1, true), (Protocol::Http2, false)] {
        let response = protocol.send(running.addr(), &ask(is_streamed)).await;
        let header = |name: &str| response.header(&format!("anthropic-ratelimit-unified-{name}"));
        // Of what is offered, 2 × 99, so much is used: 198 − (99 − 12) − (99 − 50), and the same for the week.
        assert_eq!(header("5h-utilization"), Some("0.313131"));
        assert_eq!(header("7d-utilization"), Some("0.424242"));
        assert_eq!(
            (header("status"), header("representative-claim")),
            (Some("allowed_warning"), Some("seven_day"))
        );
        // A quarter of the week's is used before its time.
        assert_eq!(header("7d-surpassed-threshold"), Some("0.25"));
        assert_eq!((header("overage-status"), header("fallback-percentage")), (None, None));
        assert_eq!(response.header("x-ccm-plan-weight"), Some("1.98"));
        assert!(header("5h-reset").is_some() && header("reset") == header("7d-reset"));
    }
    let usage = running.send(&Request::get("/api/oauth/usage").bearer(USER_TOKEN)).await;
    assert_eq!(usage.status(), 200);
    let usage = usage.json().unwrap();
    let percent = usage["five_hour"]["utilization"].as_f64().unwrap();
    assert!((percent - 31.3131).abs() < 0.001, "{usage}");
    assert_eq!(usage["seven_day_opus"], Value::Null);
    assert_eq!(running.send(&Request::get("/api/oauth/usage")).await.status(), 401);
    // Counting tokens shows nothing, and neither does a list of models.
    let count = Request::post("/v1/messages/count_tokens", r#"{"model":"m","messages":[]}"#);
    for request in [count, Request::get("/v1/models")] {
        let response =
            running.send(&request.bearer(USER_TOKEN).header("anthropic-version", "2023-06-01")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("anthropic-ratelimit-unified-status"), None);
        assert_eq!(response.header("x-ccm-plan-weight"), None);
    }
}

#[tokio::test]
async fn what_answers_tell_counts() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    let running = pool.start().await;
    pool.api.set_limits("a", Limits::allowed(0.70, 0.34));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.status(|credentials| credentials[0]["windows"][0]["used_percent"] == 70.0).await;
    // Within a window it only rises.
    pool.api.set_limits("a", Limits::allowed(0.60, 0.35));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    let seen = running.status(|credentials| credentials[0]["windows"][1]["used_percent"] == 35.0).await;
    assert_eq!(seen[0]["windows"][0]["used_percent"], 70.0);
}

#[tokio::test]
async fn caps_are_respected() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.credential("a", json!({ "limit_5h": 50 }));
    pool.credential("b", json!({ "reserve_weekly": 60 }));
    let running = pool.start().await;
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    pool.api.set_limits("a", Limits::allowed(0.51, 0.34));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.state("a", "capped: at its limit (5h)").await;
    assert_eq!(pool.served(), [2, 0]);
    pool.api.set_limits("b", Limits::allowed(0.12, 0.41));
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    running.state("b", "capped: at its limit (weekly)").await;
    assert_eq!(pool.served(), [2, 1]);
    let response = running.send(&ask(false)).await;
    let text = final_refusal(&response, 429, "rate_limit_error");
    assert!(text.contains("All 2 credentials for alice are at their limit"), "{text}");
    assert_eq!(pool.served(), [2, 1], "nobody is asked");
}

#[tokio::test]
async fn caps_change_with_the_configuration() {
    let pool = Pool::new(&["a"], "fallback").await;
    let running = pool.start().await;
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    let mut config = pool.config();
    config["services"][0]["credentials"][0]["limit_5h"] = json!(10);
    running.trunkline.home().write("trunkline.json", config.to_string()).unwrap();
    running.trunkline.signal("HUP").await.unwrap();
    running.trunkline.stderr_line(|line| line.contains("usable \u{2192} capped (5h)")).await.unwrap();
}

#[tokio::test]
async fn the_status_tells_windows_states_sessions_and_failovers() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.credential("a", json!({ "reserve_5h": 20 }));
    let running = pool.start().await;
    pool.api.set_limits("a", Limits::five_hour_rejected());
    assert_eq!(running.send(&asks_in("one", ask(true))).await.status(), 200);
    running.state("a", "rate_limited").await;
    let status = running.service_status().await;
    assert_eq!(status["failovers"], 1);
    let failover = &status["recent_failovers"][0];
    assert_eq!((&failover["from"], &failover["to"]), (&json!("a"), &json!("b")));
    assert_eq!(failover["reason"], "rate_limited");
    let credential = |nth: usize| &status["credentials"][nth];
    let window = &credential(0)["windows"][0];
    assert_eq!((&window["window"], &window["used_percent"]), (&json!("5h"), &json!(100.0)));
    assert_eq!(window["cap_percent"], 80.0);
    assert_eq!(window["resets_at"], credential(0)["until"]);
    assert_eq!((&credential(0)["sessions"], &credential(1)["sessions"]), (&json!(0), &json!(1)));
    let text = running.status_text().await;
    for part in [
        "100/80% resets ",
        "rate_limited: at its limit (5h), until ",
        "12/99%",
        "1 request went on",
        "from a to b: rate_limited",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn fast_mode_is_for_a_pool_of_one() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    let users = json!([
        { "name": "alice", "token": USER_TOKEN, "credential": "pool" },
        { "name": "bob", "token": "bob", "credential": "a" },
        { "name": "carol", "token": "carol", "credential": "pool", "fast_mode": "allow" },
    ]);
    pool.service(json!({ "users": users }));
    let running = pool.start().await;
    for (token, status) in [(USER_TOKEN, 400), ("bob", 200), ("carol", 200)] {
        let request = ask(false)
            .set_header("Authorization", &format!("Bearer {token}"))
            .header("anthropic-beta", "fast-mode-2026-02-01");
        let response = running.send(&request).await;
        assert_eq!(response.status(), status, "{token}: {}", response.text());
        if status == 400 {
            assert!(final_refusal(&response, 400, "invalid_request_error").contains("fast mode"));
        }
    }
}

#[tokio::test]
async fn a_poll_that_fails_makes_a_credential_the_last_resort_until_a_good_answer() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    pool.api.next_on("/api/oauth/usage", Script::text(500, "down"));
    let trunkline = trunkline().config(&pool.config()).start().await.unwrap();
    let running = Running { pool: &pool, trunkline };
    let line =
        running.trunkline.stderr_line(|line| line.contains("its usage cannot be polled")).await.unwrap();
    // Whichever was polled first.
    let (failed, other) = if line.contains("credential a") { ("a", "b") } else { ("b", "a") };
    running.state(failed, "blocked: poll_failed").await;
    // The other's poll has been answered, so that nothing is learned by it later.
    running
        .status(|credentials| {
            let other = credentials.iter().find(|credential| credential["tag"] == other).unwrap();
            other["state"] == "usable" && !other["windows"][0]["used_percent"].is_null()
        })
        .await;
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!((pool.api.served(failed), pool.api.served(other)), (0, 1));
    pool.api.set_limits(other, Limits::seven_day_rejected());
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!((pool.api.served(failed), pool.api.served(other)), (1, 2));
    running.state(failed, "usable").await;
}

#[tokio::test]
async fn polls_that_are_limited_or_forbidden_say_nothing_of_the_credential() {
    let limited = error(429, "rate_limit_error", "slow down").header("retry-after", "3000");
    for answer in [limited, error(403, "permission_error", "not with this token")] {
        let pool = Pool::new(&["a"], "fallback").await;
        pool.api.next_on("/api/oauth/usage", answer);
        let trunkline = trunkline().config(&pool.config()).start().await.unwrap();
        let running = Running { pool: &pool, trunkline };
        pool.upstream.event(|event| event.kind == EventKind::ResponseComplete).await.unwrap();
        assert_eq!(running.send(&ask(false)).await.status(), 200);
        // The answer tells what the poll did not.
        running.status(|credentials| credentials[0]["windows"][0]["used_percent"] == 12.0).await;
        running.state("a", "usable").await;
    }
}

#[tokio::test]
async fn a_token_that_a_poll_finds_refused_is_looked_into() {
    let pool = Pool::new(&["a", "b"], "fallback").await;
    pool.api.revoke_access("a");
    let trunkline = trunkline().config(&pool.config()).start().await.unwrap();
    let running = Running { pool: &pool, trunkline };
    running.state("a", "unavailable: refused by the provider").await;
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!(pool.served(), [0, 1]);
}

#[tokio::test]
async fn values_that_can_be_none_are_ignored_and_counted() {
    let pool = Pool::new(&["a"], "least_used").await;
    let running = pool.start().await;
    let window = running.service_status().await["credentials"][0]["windows"][0].clone();
    for (name, value) in [
        ("5h-utilization", "NaN"),
        ("5h-utilization", "-1"),
        ("7d-utilization", "1e999"),
        ("5h-reset", "99999999999999999999"),
        ("7d-reset", "soon"),
    ] {
        let header = format!("anthropic-ratelimit-unified-{name}");
        pool.api.next("a", Script::text(200, "fine").header(header, value));
        let response = running.send(&ask(false)).await;
        assert_eq!((response.status(), response.text().as_str()), (200, "fine"), "{name}: {value}");
    }
    let credentials =
        running.status(|credentials| credentials[0]["ignored_observations"].as_u64() >= Some(5)).await;
    assert_eq!(credentials[0]["windows"][0], window, "nothing of it counts");
    assert_eq!(credentials[0]["state"], "usable");
}

/// What limits.md, *Windows*, calls values that are ignored and counted.
#[tokio::test]
async fn what_is_wrong_costs_itself_alone() {
    const HOSTILE: [&str; 10] =
        ["-0.1", "NaN", "inf", "1e400", "0x1", "12%", "--", "Infinity", "\u{fc}", "0.5, 0.6"];
    let pool = Pool::new(&["a"], "fallback").await;
    let running = pool.start().await;
    let before = running.service_status().await["credentials"][0].clone();
    assert_eq!(before["ignored_observations"], 0);
    for (nth, value) in HOSTILE.iter().enumerate() {
        let script = Script::json(200, &json!({ "type": "message" }))
            .header("anthropic-ratelimit-unified-5h-utilization", *value)
            .header("anthropic-ratelimit-unified-7d_opus-utilization", "1")
            .header("anthropic-ratelimit-unified-7d_opus-reset", *value)
            .header("anthropic-ratelimit-unified-7d-utilization", format!("0.{}", 40 + nth));
        pool.api.next("a", script);
        let response = running.send(&ask(false)).await;
        assert_eq!(response.status(), 200, "{value}: {}", response.text());
        // What is wrong costs itself alone: the other window is taken, and the client sees nothing of the rest.
        let weekly = f64::from(40 + u32::try_from(nth).unwrap());
        let seen = running.status(|credentials| credentials[0]["windows"][1]["used_percent"] == weekly).await;
        assert_eq!(seen[0]["windows"][0]["used_percent"], before["windows"][0]["used_percent"], "{value}");
        assert!(seen[0]["ignored_observations"].as_u64().unwrap() > nth as u64, "{value}: {seen:?}");
        assert_eq!(response.header("anthropic-ratelimit-unified-5h-utilization"), Some("0.121212"));
    }
    running.state("a", "usable").await;
    let text = running.status_text().await;
    assert!(text.contains("impossible values of the provider's ignored"), "{text}");
}

#[tokio::test]
async fn the_status_tells_local_times() {
    if !std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        println!("left out: this machine knows no time zones by name");
        return;
    }
    let pool = Pool::new(&["a"], "fallback").await;
    let running = pool.start().await;
    let status = running.service_status().await;
    let resets = status["credentials"][0]["windows"][0]["resets_at"].as_i64().unwrap();
    let file = running.trunkline.home().path().join("trunkline.json").display().to_string();
    for (zone, utc, hours) in
        [("Asia/Tokyo", false, 9), ("JST-9", false, 9), ("Asia/Tokyo", true, 0), ("UTC", false, 0)]
    {
        let mut args = vec!["status", "-c", &file];
        args.extend(utc.then_some("--utc"));
        let text = trunkline().args(args).env("TZ", zone).run().await.unwrap().stdout.join("\n");
        let zone_of_test = jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(hours));
        let at = jiff::Timestamp::from_second(resets).unwrap().to_zoned(zone_of_test).strftime("%H:%M");
        assert!(text.contains(&format!("resets {at}")), "{at} in {zone}: {text}");
    }
}
