//! A token that the provider refuses: the file first, then a check, then one refresh, and the request again.

use serde_json::json;
use tokio::task::JoinSet;
use trunkline_testkit::claude::{Account, error};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::{ClaudeApi, Upstream};

use crate::pool::polled;
use crate::refresh::{Scene, call};
use crate::support::{Protocol, body, final_refusal, serve, service, with};

const HOURS: i64 = 8 * 3_600;

#[tokio::test]
async fn a_refused_token_is_refreshed_once_for_all_and_no_request_notices() {
    let scene = Scene::new(HOURS).await;
    let trunkline = scene.start_polled().await;
    let addr = trunkline.addr().unwrap();
    scene.api.revoke_access("a");
    let mut requests = JoinSet::new();
    for nth in 0..20 {
        let protocol = if nth % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
        requests.spawn(async move { protocol.send(addr, &call(body())).await.status() });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(scene.api.refreshes("a"), 1);
    // The new token serves before the file has it.
    trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
    scene.assert_written();
    scene.assert_clean();
    // At the start, and one for all of them.
    assert_eq!(scene.polls(), 2);
}

#[tokio::test]
async fn a_revoked_token_is_a_matter_of_the_403_s_message() {
    for (message_text, refreshes) in
        [("OAuth token has been revoked. Please log in.", 1), ("You may not do this.", 0)]
    {
        let scene = Scene::new(HOURS).await;
        let trunkline = scene.start_polled().await;
        scene.api.next("a", error(403, "permission_error", message_text));
        if refreshes == 1 {
            scene.api.next_on("/api/oauth/usage", error(403, "permission_error", message_text));
        }
        let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
        assert_eq!(scene.api.refreshes("a"), refreshes, "{message_text}");
        if refreshes == 1 {
            assert_eq!(response.status(), 200);
        } else {
            // As it came, though it was read before it was passed on.
            assert_eq!(response.status(), 403);
            assert_eq!(response.json().unwrap()["error"]["message"], message_text);
        }
    }
}

#[tokio::test]
async fn a_401_that_is_the_requests_own_passes_and_changes_nothing() {
    let scene = Scene::new(HOURS).await;
    let trunkline = scene.start_polled().await;
    let addr = trunkline.addr().unwrap();
    scene.api.next("a", error(401, "authentication_error", "not this one"));
    let response = Protocol::Http1.send(addr, &call(body())).await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.json().unwrap()["error"]["message"], "not this one");
    assert_eq!((scene.api.refreshes("a"), scene.token_calls()), (0, 0));
    assert_eq!(Protocol::Http1.send(addr, &call(body())).await.status(), 200);
}

#[tokio::test]
async fn a_newer_login_in_the_file_is_used_without_asking_anybody() {
    let scene = Scene::new(HOURS).await;
    let trunkline = scene.start_polled().await;
    let addr = trunkline.addr().unwrap();
    assert_eq!(Protocol::Http1.send(addr, &call(body())).await.status(), 200);
    // Another client refreshes: the API knows the new token only.
    client_refreshes(&scene).await;
    let response = Protocol::Http1.send(addr, &call(body())).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    assert_eq!(scene.api.refreshes("a"), 1, "only the client's own");
}

/// What the provider's own client does: refreshes, and writes the file.
async fn client_refreshes(scene: &Scene) {
    let (_, refresh) = scene.api.tokens("a");
    let request = trunkline_testkit::client::Request::post(
        "/v1/oauth/token",
        json!({
            "grant_type": "refresh_token", "refresh_token": refresh.unwrap(),
            "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e", "scope": "user:inference",
        })
        .to_string(),
    )
    .header("content-type", "application/json");
    let answer =
        trunkline_testkit::client::send(scene.upstream.addr(), &request).await.unwrap().json().unwrap();
    let token = |name: &str| answer[name].as_str().unwrap().to_owned();
    ClaudeLogin::new(token("access_token"), token("refresh_token"))
        .write_to(&scene.home.join(".claude"))
        .unwrap();
}

#[tokio::test]
async fn a_body_that_is_not_kept_passes_the_refusal_on_and_the_next_request_works() {
    let scene = Scene::new(HOURS).await;
    let mut config = scene.config();
    config["services"][0]["replay_buffer"] = json!(1024);
    let trunkline = crate::support::trunkline().config(&config).start().await.unwrap();
    let addr = trunkline.addr().unwrap();
    polled(&trunkline).await;
    scene.api.revoke_access("a");
    let long = format!("{{\"model\":\"claude-opus-4-8\",\"x\":\"{}\"}}", "y".repeat(4096));
    // Its session is named, so that it is not read ahead, which keeps what was read.
    let long = call(long).header("x-claude-code-session-id", "one");
    assert_eq!(Protocol::Http1.send(addr, &long).await.status(), 401);
    trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
    assert_eq!(Protocol::Http1.send(addr, &call(body())).await.status(), 200);
    assert_eq!(scene.api.refreshes("a"), 1);
}

#[tokio::test]
async fn a_refused_key_is_given_up_only_when_that_is_confirmed() {
    let api = ClaudeApi::new([Account::new("k").api_key("sk-ant-api-good")]);
    let upstream = Upstream::start(api.clone()).await.unwrap();
    let with_key = |key: &str| {
        with(
            service(&upstream.url()),
            json!({ "credentials": [{ "tag": "key", "type": "api_key", "api_key": key }] }),
        )
    };
    let trunkline = serve(&with_key("sk-ant-api-good")).await;
    api.next("k", error(401, "authentication_error", "a moment's"));
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status(), 401);
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await.status(), 200);

    let trunkline = serve(&with_key("sk-ant-api-wrong")).await;
    let addr = trunkline.addr().unwrap();
    assert_eq!(Protocol::Http1.send(addr, &call(body())).await.status(), 401);
    trunkline.stderr_line(|line| line.contains("usable \u{2192} unavailable")).await.unwrap();
    let text = final_refusal(&Protocol::Http1.send(addr, &call(body())).await, 503, "api_error");
    assert!(text.contains("key (unavailable: refused by the provider"), "{text}");
    let checks = upstream.requests().iter().filter(|request| request.path() == "/v1/models").count();
    assert_eq!(checks, 2);
}
