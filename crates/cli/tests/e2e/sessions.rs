//! Sessions stay with their credential, move for a reason, and survive a restart.

use serde_json::json;
use trunkline_testkit::claude::Limits;

use crate::pool::{Pool, Running, ask, asks_in};
use crate::support::USER_TOKEN;

/// The account that serves the next request of a session.
async fn served_by(running: &Running<'_>, session: &str) -> usize {
    let before = running.pool.served();
    assert_eq!(running.send(&asks_in(session, ask(true))).await.status(), 200);
    let after = running.pool.served();
    let differing: Vec<usize> = (0..before.len()).filter(|nth| after[*nth] != before[*nth]).collect();
    assert_eq!(differing.len(), 1, "{before:?} {after:?}");
    differing[0]
}

#[tokio::test]
async fn a_session_stays_and_moves_for_a_reason_alone() {
    let pool = Pool::new(&["a", "b", "c"], "round_robin").await;
    let running = pool.start().await;
    let mut homes = Vec::new();
    for session in ["s0", "s1", "s2"] {
        homes.push(served_by(&running, session).await);
    }
    assert_eq!(homes, [0, 1, 2]);
    for _ in 0..3 {
        for (nth, session) in ["s0", "s1", "s2"].iter().enumerate() {
            assert_eq!(served_by(&running, session).await, homes[nth]);
        }
    }
    // The account of the second is used up: it moves, and stays where it is then.
    pool.api.set_limits("b", Limits::seven_day_rejected());
    assert_eq!(running.send(&asks_in("s1", ask(false))).await.status(), 200);
    let moved = served_by(&running, "s1").await;
    assert_ne!(moved, 1);
    assert_eq!(served_by(&running, "s1").await, moved);
    assert_eq!((served_by(&running, "s0").await, served_by(&running, "s2").await), (0, 2));
}

#[tokio::test]
async fn sessions_survive_a_restart() {
    let pool = Pool::new(&["a", "b", "c"], "round_robin").await;
    let mut running = pool.start().await;
    let sessions: Vec<String> = (0..7).map(|nth| format!("session-{nth}")).collect();
    let mut homes = Vec::new();
    for session in &sessions {
        homes.push(served_by(&running, session).await);
    }
    running.trunkline.stop().await.unwrap();
    let running = pool.start().await;
    running.trunkline.stderr_line(|line| line.contains("7 sessions go on")).await.unwrap();
    for (session, home) in sessions.iter().zip(&homes).rev() {
        assert_eq!(served_by(&running, session).await, *home, "{session}");
    }
}

#[tokio::test]
async fn a_file_of_sessions_that_is_broken_is_no_obstacle() {
    let pool = Pool::new(&["a", "b"], "round_robin").await;
    std::fs::create_dir_all(pool.home.join("data")).unwrap();
    std::fs::write(pool.home.join("data/trunkline.sqlite"), "rubbish".repeat(1_000)).unwrap();
    let running = pool.start().await;
    running.trunkline.stderr_line(|line| line.contains("was corrupt")).await.unwrap();
    assert_eq!(served_by(&running, "s").await, served_by(&running, "s").await);
}

#[tokio::test]
async fn without_a_ledger_nothing_is_stored() {
    let pool = Pool::new(&["a", "b"], "round_robin").await;
    let config = crate::support::with(pool.config(), json!({ "ledger": { "type": "none" } }));
    let mut trunkline = crate::support::trunkline().config(&config).start().await.unwrap();
    let response =
        crate::support::Protocol::Http1.send(trunkline.addr().unwrap(), &asks_in("s", ask(false))).await;
    assert_eq!(response.status(), 200);
    trunkline.stop().await.unwrap();
    assert!(!pool.home.join("data/trunkline.sqlite").exists());
}

#[tokio::test]
async fn a_session_that_is_named_in_the_body_alone_stays_too() {
    let pool = Pool::new(&["a", "b"], "round_robin").await;
    let running = pool.start().await;
    let user_id = json!({ "device_id": "d", "account_uuid": "", "session_id": "in-the-body" }).to_string();
    let body = json!({
        "model": "claude-sonnet-5",
        // As far behind as a client puts it.
        "messages": [{ "role": "user", "content": "x".repeat(300_000) }],
        "metadata": { "user_id": user_id },
    });
    for nth in 1..=4 {
        assert_eq!(running.send(&ask(false).body(body.to_string())).await.status(), 200);
        assert_eq!(pool.served(), [nth, 0]);
    }
}

#[tokio::test]
async fn a_user_who_may_ask_is_told_how_a_credential_was_picked() {
    let mut pool = Pool::new(&["a", "b"], "least_used").await;
    let users = json!([
        { "name": "alice", "token": USER_TOKEN, "credential": "pool", "explain": true },
        { "name": "bob", "token": "bob", "credential": "pool" },
    ]);
    pool.service(json!({ "users": users }));
    let running = pool.start().await;
    let asking = || ask(false).header("x-trunkline-explain", "1");
    let response = running.send(&asking()).await;
    let line = response.header("x-trunkline-explain").unwrap();
    assert!(line.starts_with("picked=a reason=strategy strategy=least_used; a [usable, score "), "{line}");
    assert_eq!(running.send(&ask(false)).await.header("x-trunkline-explain"), None);
    let bobs = running.send(&asking().set_header("Authorization", "Bearer bob")).await;
    assert_eq!(bobs.header("x-trunkline-explain"), None);
    // The log has it anyway, at this level.
    running.trunkline.stderr_line(|line| line.contains("picked=a reason=strategy")).await.unwrap();
    let sent = running.pool.upstream.requests();
    assert!(sent.iter().all(|request| request.headers.get("x-trunkline-explain").is_none()));
}

#[tokio::test]
async fn a_session_is_rebalanced_when_its_credential_is_used_much_more() {
    let mut pool = Pool::new(&["a", "b"], "least_used").await;
    pool.credential("pool", json!({ "rebalance_threshold": 20 }));
    pool.api.set_limits("a", Limits::allowed(0.1, 0.10));
    pool.api.set_limits("b", Limits::allowed(0.1, 0.30));
    let running = pool.start().await;
    assert_eq!(served_by(&running, "s").await, 0);
    pool.api.set_limits("a", Limits::allowed(0.1, 0.45));
    assert_eq!(served_by(&running, "s").await, 0);
    running.status(|credentials| credentials[0]["windows"][1]["used_percent"] == 45.0).await;
    assert_eq!(served_by(&running, "s").await, 0, "15 percent are not enough");
    pool.api.set_limits("a", Limits::allowed(0.1, 0.55));
    assert_eq!(served_by(&running, "s").await, 0);
    running.status(|credentials| credentials[0]["windows"][1]["used_percent"] == 55.0).await;
    assert_eq!(served_by(&running, "s").await, 1);
}

#[tokio::test]
async fn a_credential_is_for_its_users_and_its_models() {
    let mut pool = Pool::new(&["a", "b"], "fallback").await;
    pool.credential("a", json!({ "users": ["bob"] }));
    pool.credential("b", json!({ "models": ["*sonnet*"] }));
    let users = json!([
        { "name": "alice", "token": USER_TOKEN, "credential": "pool" },
        { "name": "bob", "token": "bob", "credential": "pool" },
    ]);
    pool.service(json!({ "users": users }));
    let running = pool.start().await;
    assert_eq!(running.send(&ask(false)).await.status(), 200);
    assert_eq!(pool.served(), [0, 1]);
    let bob = || ask(false).set_header("Authorization", "Bearer bob");
    assert_eq!(running.send(&bob()).await.status(), 200);
    assert_eq!(pool.served(), [1, 1]);
    let opus = crate::pool::asks("claude-opus-4-8", false);
    let text = crate::support::final_refusal(&running.send(&opus).await, 404, "not_found_error");
    assert!(text.contains("claude-opus-4-8"), "{text}");
}

#[tokio::test]
async fn a_large_pool_picks_by_the_order_that_it_keeps() {
    let labels: Vec<String> = (0..20).map(|nth| format!("a{nth}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let mut pool = Pool::new(&labels, "least_used").await;
    // At `debug` all of them would be looked at.
    pool.log_level = "info";
    for (nth, label) in labels.iter().enumerate() {
        // One is much less used than the others, and one a little less.
        let used = match nth {
            7 => 0.05,
            13 => 0.3,
            _ => 0.8,
        };
        pool.api.set_limits(label, Limits::allowed(used, used));
    }
    let running = pool.start().await;
    assert_eq!(served_by(&running, "s0").await, 7);
    assert_eq!(served_by(&running, "s0").await, 7, "it stays");
    // What an answer tells counts for the next pick: the same account has used nearly everything now.
    pool.api.set_limits("a7", Limits::allowed(0.9, 0.9));
    assert_eq!(served_by(&running, "s0").await, 7);
    running.status(|credentials| credentials[7]["windows"][0]["used_percent"] == 90.0).await;
    assert_eq!(served_by(&running, "s1").await, 13);
    // One that refuses is left, and not picked for others.
    pool.api.set_limits("a13", Limits::five_hour_rejected());
    assert_eq!(running.send(&asks_in("s1", ask(false))).await.status(), 200);
    for session in ["s2", "s3", "s4"] {
        assert!(![7, 13].contains(&served_by(&running, session).await), "{session}");
    }
    // New sessions are spread: each is on an account of its own.
    assert!(pool.served().iter().enumerate().all(|(nth, served)| [7, 13].contains(&nth) || *served <= 1));
}

/// Twenty accounts, of which nothing is explained in the log: at `debug` all of them would be looked at.
async fn twenty(strategy: &str) -> Pool {
    let labels: Vec<String> = (0..20).map(|nth| format!("a{nth}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let mut pool = Pool::new(&labels, strategy).await;
    pool.log_level = "info";
    pool
}

#[tokio::test]
async fn a_large_pool_goes_round() {
    let pool = twenty("round_robin").await;
    let running = pool.start().await;
    pool.api.set_limits("a3", Limits::five_hour_rejected());
    let mut homes = Vec::new();
    for nth in 0..40 {
        assert_eq!(running.send(&asks_in(&format!("s{nth}"), ask(nth % 2 == 0))).await.status(), 200);
        homes.push(served_by(&running, &format!("s{nth}")).await);
    }
    // Each in its turn; the session of the one that refused went on to the next.
    let usable: Vec<usize> = (0..20).filter(|nth| *nth != 3).collect();
    assert_eq!(homes[..3], [0, 1, 2]);
    assert_eq!(homes[3..20].iter().collect::<Vec<_>>(), usable[3..].iter().chain([&0]).collect::<Vec<_>>());
    assert!(homes[20..].iter().all(|home| *home != 3), "{homes:?}");
    assert_eq!(served_by(&running, "s7").await, homes[7], "they stay");
    // The session whose account is used up moves, and stays where it is then.
    let label = format!("a{}", homes[7]);
    pool.api.set_limits(&label, Limits::seven_day_rejected());
    assert_eq!(running.send(&asks_in("s7", ask(false))).await.status(), 200);
    running.state(&label, "rate_limited").await;
    let moved = served_by(&running, "s7").await;
    assert!(moved != homes[7] && moved != 3, "{moved}");
    assert_eq!(served_by(&running, "s7").await, moved);
}

#[tokio::test]
async fn a_large_pool_in_order_uses_the_first_that_is_usable() {
    let pool = twenty("fallback").await;
    let running = pool.start().await;
    assert_eq!(served_by(&running, "s").await, 0);
    assert_eq!(served_by(&running, "s").await, 0);
    for nth in 0..18 {
        let label = format!("a{nth}");
        pool.api.set_limits(&label, Limits::five_hour_rejected());
        assert_eq!(running.send(&asks_in("s", ask(true))).await.status(), 200);
        running.state(&label, "rate_limited").await;
        // Bindings are recorded, and the order decides; with more of them out of use than are looked at, too.
        assert_eq!(served_by(&running, "s").await, nth + 1);
    }
}

#[tokio::test]
async fn chance_spreads_over_a_large_pool_and_sessions_stay() {
    let pool = twenty("random").await;
    let running = pool.start().await;
    let mut homes = Vec::new();
    for nth in 0..60 {
        let session = format!("s{nth}");
        homes.push(served_by(&running, &session).await);
        assert_eq!(served_by(&running, &session).await, homes[nth]);
    }
    homes.sort_unstable();
    homes.dedup();
    assert!(homes.len() > 10, "{homes:?}");
}

#[tokio::test]
async fn a_session_of_a_large_pool_is_rebalanced_when_there_is_reason_to() {
    let mut pool = twenty("least_used").await;
    pool.credential("pool", json!({ "rebalance_threshold": 20 }));
    for nth in 0..20 {
        let used = if nth == 7 { 0.1 } else { 0.3 };
        pool.api.set_limits(&format!("a{nth}"), Limits::allowed(0.1, used));
    }
    let running = pool.start().await;
    for _ in 0..3 {
        assert_eq!(served_by(&running, "s").await, 7);
    }
    for (used, percent) in [(0.45, 45.0), (0.55, 55.0)] {
        pool.api.set_limits("a7", Limits::allowed(0.1, used));
        // 15 percent more than the others are not enough, and of 25 it learns by this answer.
        assert_eq!(served_by(&running, "s").await, 7);
        running.status(|credentials| credentials[7]["windows"][1]["used_percent"] == percent).await;
    }
    let moved = served_by(&running, "s").await;
    assert_ne!(moved, 7);
    assert_eq!(served_by(&running, "s").await, moved);
}

#[tokio::test]
async fn a_large_pool_is_picked_from_by_every_strategy() {
    let labels: Vec<String> = (0..20).map(|nth| format!("a{nth}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    for strategy in ["round_robin", "random", "fallback", "least_used"] {
        let mut pool = Pool::new(&labels, strategy).await;
        pool.log_level = "info";
        // The first is for another user, and the second serves other models.
        pool.credential("a0", json!({ "users": ["bob"] }));
        pool.credential("a1", json!({ "models": ["*opus*"] }));
        let users = json!([
            { "name": "alice", "token": USER_TOKEN, "credential": "pool" },
            { "name": "bob", "token": "bob", "credential": "pool" },
        ]);
        pool.service(json!({ "users": users }));
        // The third is at its limit.
        pool.api.set_limits("a2", Limits::seven_day_rejected());
        let running = pool.start().await;
        let mut homes = Vec::new();
        for nth in 0..20 {
            let session = format!("s{nth}");
            let home = served_by(&running, &session).await;
            assert!(home > 2, "{strategy}: {home}");
            assert_eq!(served_by(&running, &session).await, home, "{strategy}: it stays");
            homes.push(home);
        }
        let expected: Vec<usize> = match strategy {
            "fallback" => vec![3; 20],
            "round_robin" => (3..20).chain(3..6).collect(),
            _ => homes.clone(),
        };
        assert_eq!(homes, expected, "{strategy}");
        homes.sort_unstable();
        homes.dedup();
        // Chance does not put twenty sessions on two of seventeen accounts; least_used spreads them evenly.
        let spread = match strategy {
            "fallback" => 1..=1,
            "random" => 3..=17,
            _ => 17..=17,
        };
        assert!(spread.contains(&homes.len()), "{strategy}: {homes:?}");
    }
}
