//! The rows of the failure tables of refreshes and refused tokens that need more than one bad answer.

use serde_json::json;
use trunkline_testkit::ports::ClosedPort;
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::{Script, Signal, Upstream};

use crate::refresh::{OTHER_ACCESS, OTHER_REFRESH, Scene, TOKEN_PATH, call};
use crate::support::{Protocol, body, final_refusal, passing_refusal, trunkline, with};

const HOURS: i64 = 8 * 3_600;

#[tokio::test]
async fn a_token_endpoint_that_refuses_connections_is_tried_three_times_and_again_later() {
    let scene = Scene::new(-60).await;
    let mut config = scene.config();
    let closed = ClosedPort::new().unwrap();
    config["services"][0]["upstream"]["token_url"] = json!(format!("http://{}{TOKEN_PATH}", closed.addr()));
    config["log"] = json!({ "level": "debug" });
    let mut trunkline = trunkline().config(&config).start().await.unwrap();
    let addr = trunkline.addr().unwrap();
    let is_unreachable = |line: &str| line.contains("could not be refreshed") && line.contains("unreachable");
    trunkline.stderr_line(is_unreachable).await.unwrap();
    let text = passing_refusal(&Protocol::Http1.send(addr, &call(body())).await, 503, "api_error");
    assert!(text.contains("could not be refreshed: the provider did not answer"), "{text}");
    // 5 s later once more.
    trunkline.nth_stderr_line(2, is_unreachable).await.unwrap();
    let lines = trunkline.stderr();
    let second = lines.iter().enumerate().filter(|(_, line)| is_unreachable(line)).nth(1).unwrap().0;
    let tries = lines[..second].iter().filter(|line| line.contains("the token endpoint did not answer"));
    assert_eq!(tries.count(), 6, "{lines:#?}");
    trunkline.stop().await.unwrap();
    scene.assert_clean();
}

#[tokio::test]
async fn a_call_that_is_cut_after_it_was_sent_is_repeated_once_with_the_same_token() {
    for cut in
        [Script::new().reset(), Script::status(200).header("content-length", "400").body("{\"acc").close()]
    {
        let scene = Scene::new(120).await;
        let go_on = Signal::new();
        // The first call gets this, and the repeated one waits for the signal.
        scene.api.next_on(TOKEN_PATH, cut);
        scene.api.hold_refresh(&go_on);
        let mut trunkline = scene.start().await;
        scene.token_called().await;
        // The old token serves meanwhile, and the locks are kept.
        assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status(), 200);
        assert!(scene.home.join(".claude.lock").exists());
        go_on.set();
        trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
        let calls: Vec<_> =
            scene.upstream.requests().into_iter().filter(|request| request.target == TOKEN_PATH).collect();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].body(), calls[1].body());
        trunkline.stop().await.unwrap();
        scene.assert_written();
        scene.assert_clean();
    }
}

#[tokio::test]
async fn a_newer_login_in_the_file_counts_after_a_failure() {
    for answer in [
        Script::json(400, &json!({ "error": "invalid_grant" })),
        Script::text(500, "down"),
        Script::text(429, "slow down"),
    ] {
        let scene = Scene::new(-60).await;
        let go_on = Signal::new();
        scene.api.next_on(TOKEN_PATH, Script::new().wait(&go_on).then(answer));
        let mut trunkline = scene.start().await;
        scene.token_called().await;
        // Somebody without regard for locks.
        let (access, refresh) = scene.api.tokens("a");
        ClaudeLogin::new(access.unwrap(), refresh.unwrap()).write_to(&scene.home.join(".claude")).unwrap();
        go_on.set();
        let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        assert!(!trunkline.stderr().iter().any(|line| line.contains("could not be refreshed")));
        trunkline.stop().await.unwrap();
        assert_eq!(scene.token_calls(), 1);
        scene.assert_clean();
    }
}

#[tokio::test]
async fn a_second_forced_refresh_within_five_minutes_is_not_made() {
    let scene = Scene::new(HOURS).await;
    let trunkline = scene.start_polled().await;
    let addr = trunkline.addr().unwrap();
    scene.api.revoke_access("a");
    assert_eq!(Protocol::Http1.send(addr, &call(body())).await.status(), 200);
    assert_eq!(scene.token_calls(), 1);
    scene.api.revoke_access("a");
    let response = Protocol::Http1.send(addr, &call(body())).await;
    assert_eq!(response.status(), 401, "as it came: {}", response.text());
    assert_eq!(response.json().unwrap()["error"]["type"], "authentication_error");
    trunkline.stderr_line(|line| line.contains("blocked (refresh_cooldown), until")).await.unwrap();
    let text = final_refusal(&Protocol::Http1.send(addr, &call(body())).await, 503, "api_error");
    assert!(
        text.contains("main (its login has expired and could not be refreshed: it is tried again)"),
        "{text}"
    );
    assert_eq!(scene.token_calls(), 1);
}

#[tokio::test]
async fn who_logs_out_or_in_while_a_refresh_is_under_way_has_the_last_word() {
    for is_other_login in [false, true] {
        let scene = Scene::new(120).await;
        let go_on = Signal::new();
        scene.api.hold_refresh(&go_on);
        let trunkline = scene.start().await;
        scene.token_called().await;
        if is_other_login {
            ClaudeLogin::new(OTHER_ACCESS, OTHER_REFRESH).write_to(&scene.home.join(".claude")).unwrap();
        } else {
            std::fs::remove_file(&scene.login).unwrap();
        }
        let told =
            if is_other_login { "login file changed, read again" } else { "unavailable: no login file" };
        trunkline.stderr_line(|line| line.contains(told)).await.unwrap();
        go_on.set();
        trunkline.stderr_line(|line| line.contains("kept aside, since the login changed")).await.unwrap();
        // What the answer gave was in use for a moment.
        trunkline.nth_stderr_line(2, |line| line.contains(told)).await.unwrap();
        if is_other_login {
            let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
            assert_eq!(response.status(), 200, "{}", response.text());
            let used = scene
                .upstream
                .requests()
                .into_iter()
                .find(|request| request.path() == "/v1/messages")
                .unwrap();
            assert_eq!(used.headers.get("authorization"), Some("Bearer sk-ant-oat01-other"));
        }
    }
}

#[tokio::test]
async fn a_failed_check_counts_as_no_answer_and_leads_to_a_refresh() {
    for check in [Script::text(500, "down"), Script::text(429, "slow down"), Script::new().reset()] {
        let scene = Scene::new(HOURS).await;
        let mut trunkline = scene.start_polled().await;
        scene.api.revoke_access("a");
        scene.api.next_on("/api/oauth/usage", check);
        let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        trunkline.stop().await.unwrap();
        assert_eq!(scene.token_calls(), 1);
        scene.assert_clean();
    }
}

#[tokio::test]
async fn a_refresh_that_is_refused_for_good_after_a_refused_token_is_told_once() {
    let scene = Scene::new(HOURS).await;
    let trunkline = scene.start_polled().await;
    let addr = trunkline.addr().unwrap();
    scene.api.revoke_access("a");
    scene.api.revoke_refresh("a");
    assert_eq!(Protocol::Http1.send(addr, &call(body())).await.status(), 401, "the last one's answer passes");
    let text = final_refusal(&Protocol::Http1.send(addr, &call(body())).await, 503, "api_error");
    assert!(text.contains("login expired, run \"claude /login\""), "{text}");
    assert_eq!(scene.token_calls(), 1);
}

#[tokio::test]
async fn a_fixed_token_that_is_refused_passes_the_answer_on() {
    let upstream = Upstream::start(trunkline_testkit::ClaudeApi::new([])).await.unwrap();
    let service = with(crate::support::service(&upstream.url()), json!({}));
    let trunkline = crate::support::serve(&service).await;
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status(), 401);
    trunkline.stderr_line(|line| line.contains("unavailable: refused by the provider")).await.unwrap();
    assert!(upstream.requests().iter().all(|request| request.target != TOKEN_PATH));
}

#[tokio::test]
async fn a_login_that_is_older_than_a_scope_is_refreshed_with_its_own() {
    let scene = Scene::new(-60).await;
    scene.api.next_on(TOKEN_PATH, Script::json(400, &json!({ "error": "invalid_scope" })));
    let mut trunkline = scene.start().await;
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    trunkline.stop().await.unwrap();
    let scopes: Vec<String> = scene
        .upstream
        .requests()
        .into_iter()
        .filter(|request| request.target == TOKEN_PATH)
        .map(|request| {
            let sent: serde_json::Value = serde_json::from_slice(&request.body()).unwrap();
            sent["scope"].as_str().unwrap().to_owned()
        })
        .collect();
    let stored: serde_json::Value = serde_json::from_slice(&std::fs::read(&scene.login).unwrap()).unwrap();
    assert!(scopes.len() == 2 && scopes[0].ends_with(" user:plugins"), "{scopes:?}");
    assert!(!scopes[1].contains("plugins") && scopes[1].contains("user:inference"), "{scopes:?} {stored}");
    scene.assert_written();
    scene.assert_clean();
}
