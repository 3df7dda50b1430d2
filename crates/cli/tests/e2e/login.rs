//! The default credential: the login file of the provider's own client, as it comes, changes and goes.

use std::path::{Path, PathBuf};

use serde_json::json;
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::{Script, TempDir, Upstream};

use crate::support::{
    Current, Protocol, body, config, final_refusal, message, passing_refusal, serve, service, trunkline, with,
};

/// Puts a login in place at once, as a client that renames does.
fn log_in(home: &TempDir, access_token: &str) -> PathBuf {
    let made = ClaudeLogin::new(access_token, "refresh").write_to(&home.join("made")).unwrap();
    let directory = home.join(".claude");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join(".credentials.json");
    std::fs::rename(made, &file).unwrap();
    file
}

fn log_out(file: &Path) {
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_login_is_used_from_when_it_appears_until_it_goes() {
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let without = with(service(&upstream.url()), json!({ "credentials": [] }));
    let trunkline = serve(&without).await;
    let addr = trunkline.addr().unwrap();
    let request = message(body());
    let said = |words: &'static str| trunkline.stderr_line(move |line| line.contains(words));

    let text = final_refusal(&Protocol::Http1.send(addr, &request).await, 503, "api_error");
    assert!(text.contains("default") && text.contains("claude /login"), "{text}");
    assert_eq!(upstream.connections(), 0);

    let file = log_in(trunkline.home(), "sk-ant-oat01-one");
    said("unavailable \u{2192} usable").await.unwrap();
    assert_eq!(Protocol::Http1.send(addr, &request).await.status(), 200);
    let received = upstream.next_request().await.unwrap();
    assert_eq!(received.headers.get("authorization"), Some("Bearer sk-ant-oat01-one"));
    assert!(received.headers.lists("anthropic-beta", "oauth-2025-04-20"));

    log_in(trunkline.home(), "sk-ant-oat01-two");
    said("read again").await.unwrap();
    assert_eq!(Protocol::Http1.send(addr, &request).await.status(), 200);
    let received = upstream.next_request().await.unwrap();
    assert_eq!(received.headers.get("authorization"), Some("Bearer sk-ant-oat01-two"));

    log_out(&file);
    said("usable \u{2192} unavailable: no login file").await.unwrap();
    let text = final_refusal(&Protocol::Http2.send(addr, &request).await, 503, "api_error");
    assert!(text.contains("claude /login"), "{text}");
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_login_that_has_expired_and_cannot_be_refreshed_is_not_used() {
    let upstream = Upstream::start(Current::new(Script::text(500, "down"))).await.unwrap();
    let home = TempDir::new().unwrap();
    ClaudeLogin::new("sk-ant-oat01-old", "refresh").expires_in(-60).write_to(&home.join(".claude")).unwrap();
    let urls =
        json!({ "api_url": upstream.url(), "token_url": format!("{}/v1/oauth/token", upstream.url()) });
    let without = with(service(&upstream.url()), json!({ "credentials": [], "upstream": urls }));
    let trunkline = trunkline().config(&config(&without)).home(home).start().await.unwrap();
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &message(body())).await;
    // It is tried again in a few seconds, and so may the client.
    let text = passing_refusal(&response, 503, "api_error");
    assert!(text.contains("expired and could not be refreshed"), "{text}");
    assert!(response.header("retry-after").is_some());
    assert!(upstream.requests().iter().all(|request| request.target == "/v1/oauth/token"));
}

#[tokio::test]
async fn a_login_that_cannot_be_read_says_so_without_telling_what_is_in_it() {
    let upstream = Upstream::start(Current::default()).await.unwrap();
    let home = TempDir::new().unwrap();
    home.write(".claude/.credentials.json", "{\"claudeAiOauth\": \"sk-ant-secret\"").unwrap();
    let without = with(service(&upstream.url()), json!({ "credentials": [] }));
    let trunkline = trunkline().config(&config(&without)).home(home).start().await.unwrap();
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &message(body())).await;
    let text = final_refusal(&response, 503, "api_error");
    assert!(text.contains("claude /login") && !text.contains("sk-ant"), "{text}");
}
