//! Logins are refreshed: ahead of time, when they have expired, once for all, and nothing of it is lost.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use trunkline_testkit::claude::Account;
use trunkline_testkit::client::Request;
use trunkline_testkit::tmp::{ClaudeLogin, read_claude_tokens};
use trunkline_testkit::{ClaudeApi, Script, Signal, TempDir, Trunkline, Upstream};

use crate::pool::polled;
use crate::support::{
    Protocol, body, config, final_refusal, message, passing_refusal, service, trunkline, with,
};

const ACCESS: &str = "sk-ant-oat01-first";
const REFRESH: &str = "sk-ant-ort01-first";

/// Another login that the API knows.
pub(crate) const OTHER_ACCESS: &str = "sk-ant-oat01-other";
pub(crate) const OTHER_REFRESH: &str = "sk-ant-ort01-other";

pub(crate) const TOKEN_PATH: &str = "/v1/oauth/token";

/// A request that the scripted API takes.
pub(crate) fn call(body: impl Into<Bytes>) -> Request {
    message(body).header("anthropic-version", "2023-06-01")
}

/// An account, its API, and a login of it in a home.
pub(crate) struct Scene {
    pub(crate) api: ClaudeApi,
    pub(crate) upstream: Upstream,
    pub(crate) home: TempDir,
    pub(crate) login: PathBuf,
}

impl Scene {
    /// The login expires in so many seconds.
    pub(crate) async fn new(expires_in: i64) -> Self {
        let other = Account::new("other").access_token(OTHER_ACCESS).refresh_token(OTHER_REFRESH);
        let api = ClaudeApi::new([Account::new("a").access_token(ACCESS).refresh_token(REFRESH), other]);
        let upstream = Upstream::start(api.clone()).await.unwrap();
        let home = TempDir::new().unwrap();
        let mut login = ClaudeLogin::new(ACCESS, REFRESH).expires_in(expires_in);
        login.others.insert("mcpOAuth".to_owned(), json!({ "kept": [1, 2.50, "x"] }));
        let login = login.write_to(&home.join(".claude")).unwrap();
        Self { api, upstream, home, login }
    }

    pub(crate) fn config(&self) -> Value {
        let urls = json!({ "api_url": self.upstream.url(), "token_url": format!("{}{TOKEN_PATH}", self.upstream.url()) });
        let credentials = json!([{ "tag": "main", "credential_path": self.login }]);
        config(&with(service(&self.upstream.url()), json!({ "credentials": credentials, "upstream": urls })))
    }

    pub(crate) async fn start(&self) -> Trunkline {
        trunkline().config(&self.config()).start().await.unwrap()
    }

    /// The same, once the usage is known that is polled at the start.
    pub(crate) async fn start_polled(&self) -> Trunkline {
        let trunkline = self.start().await;
        polled(&trunkline).await;
        trunkline
    }

    /// How often the usage was polled.
    pub(crate) fn polls(&self) -> usize {
        self.upstream.requests().iter().filter(|request| request.path() == "/api/oauth/usage").count()
    }

    /// Waits until the token endpoint has been called.
    pub(crate) async fn token_called(&self) {
        while self.upstream.next_head().await.unwrap().target != TOKEN_PATH {}
    }

    pub(crate) fn token_calls(&self) -> usize {
        self.upstream.requests().iter().filter(|request| request.target == TOKEN_PATH).count()
    }

    /// That nothing of a refresh is left beside the login but the login.
    pub(crate) fn assert_clean(&self) {
        let in_directory = |directory: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(directory).unwrap();
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(in_directory(&self.home.join(".claude")), [".credentials.json"]);
        let home = in_directory(self.home.path());
        assert!(home.iter().all(|name| !name.contains(".lock")), "{home:?}");
    }

    /// That the login file holds the tokens that were issued last, and is otherwise as it was.
    pub(crate) fn assert_written(&self) {
        let (access, refresh) = self.api.tokens("a");
        assert_eq!(read_claude_tokens(&self.login).unwrap(), (access.unwrap(), refresh.unwrap()));
        let text = std::fs::read_to_string(&self.login).unwrap();
        assert!(
            text.contains(r#""mcpOAuth":{"kept":[1,2.50,"x"]}"#) || text.contains(r#""kept":[1,2.5,"x"]"#),
            "{text}"
        );
    }
}

async fn refreshed(trunkline: &Trunkline) {
    trunkline.stderr_line(|line| line.contains("login refreshed")).await.unwrap();
}

#[tokio::test]
async fn an_expired_login_is_refreshed_at_the_start_and_used() {
    let scene = Scene::new(-60).await;
    let trunkline = scene.start().await;
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    refreshed(&trunkline).await;
    assert_eq!(scene.api.refreshes("a"), 1);
    scene.assert_written();
    scene.assert_clean();
    let call = scene.upstream.requests().into_iter().find(|request| request.target == TOKEN_PATH).unwrap();
    assert_eq!(call.headers.get("user-agent"), Some(concat!("trunkline/", env!("CARGO_PKG_VERSION"))));
    let sent: Value = serde_json::from_slice(&call.body()).unwrap();
    assert_eq!((&sent["grant_type"], &sent["refresh_token"]), (&json!("refresh_token"), &json!(REFRESH)));
    assert!(sent["scope"].as_str().unwrap().contains("user:inference"), "{sent}");
}

#[tokio::test]
async fn a_login_that_ends_soon_is_refreshed_in_nobodys_way() {
    let scene = Scene::new(120).await;
    let go_on = Signal::new();
    scene.api.hold_refresh(&go_on);
    let trunkline = scene.start().await;
    scene.token_called().await;
    // While the token call is under way the old token is good.
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200);
    let used =
        scene.upstream.requests().into_iter().find(|request| request.path() == "/v1/messages").unwrap();
    assert_eq!(used.headers.get("authorization"), Some(format!("Bearer {ACCESS}").as_str()));
    go_on.set();
    refreshed(&trunkline).await;
    scene.assert_written();
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200);
    let used =
        scene.upstream.requests().into_iter().rfind(|request| request.path() == "/v1/messages").unwrap();
    assert_eq!(
        used.headers.get("authorization"),
        Some(format!("Bearer {}", scene.api.tokens("a").0.unwrap()).as_str())
    );
}

#[tokio::test]
async fn requests_wait_for_one_refresh_together() {
    let scene = Scene::new(-60).await;
    let go_on = Signal::new();
    scene.api.hold_refresh(&go_on);
    let trunkline = scene.start().await;
    let addr = trunkline.addr().unwrap();
    let mut requests = JoinSet::new();
    for nth in 0..20 {
        let protocol = if nth % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
        requests.spawn(async move { protocol.send(addr, &call(body())).await.status() });
    }
    scene.token_called().await;
    go_on.set();
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    // The new token serves before the file has it.
    refreshed(&trunkline).await;
    assert_eq!((scene.api.refreshes("a"), scene.token_calls()), (1, 1));
    // The new token serves before it is in the file.
    refreshed(&trunkline).await;
    scene.assert_clean();
}

#[tokio::test]
async fn a_refresh_token_that_is_refused_for_good_logs_out_and_another_login_brings_it_back() {
    let scene = Scene::new(-60).await;
    scene.api.revoke_refresh("a");
    let before = std::fs::read(&scene.login).unwrap();
    let trunkline = scene.start().await;
    let addr = trunkline.addr().unwrap();
    trunkline.stderr_line(|line| line.contains("unavailable: login expired")).await.unwrap();
    let text = final_refusal(&Protocol::Http1.send(addr, &call(body())).await, 503, "api_error");
    assert!(text.contains("login expired, run \"claude /login\""), "{text}");
    assert_eq!(std::fs::read(&scene.login).unwrap(), before, "the file is left as it is");
    assert_eq!(scene.token_calls(), 1);
    scene.assert_clean();

    // The owner logs in again, with another client.
    ClaudeLogin::new("sk-ant-oat01-again", "sk-ant-ort01-again")
        .write_to(&scene.home.join(".claude"))
        .unwrap();
    trunkline.stderr_line(|line| line.contains("unavailable \u{2192} usable")).await.unwrap();
}

#[tokio::test]
async fn failures_of_the_token_endpoint_are_waited_out() {
    for (script, reason) in [
        (Script::text(500, "down"), "unreachable"),
        (Script::text(403, "a firewall"), "unusable"),
        (Script::text(429, "slow down").header("retry-after", "3600"), "too_many_requests"),
        (Script::text(429, "slow down"), "too_many_requests"),
    ] {
        let scene = Scene::new(-60).await;
        // It is called again after a few seconds, and this may take longer.
        (0..20).for_each(|_| scene.api.next_on(TOKEN_PATH, script.clone()));
        let before = std::fs::read(&scene.login).unwrap();
        let trunkline = scene.start().await;
        trunkline
            .stderr_line(|line| line.contains("could not be refreshed") && line.contains(reason))
            .await
            .unwrap();
        trunkline.stderr_line(|line| line.contains("blocked (refresh_cooldown), until")).await.unwrap();
        let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
        // Whoever may come back within a minute is told when.
        let text = match response.header("retry-after") {
            Some(_) => passing_refusal(&response, 503, "api_error"),
            None => final_refusal(&response, 503, "api_error"),
        };
        assert!(text.contains("main (its login has expired and could not be refreshed"), "{text}");
        assert_eq!(std::fs::read(&scene.login).unwrap(), before);
        scene.assert_clean();
    }
}

#[tokio::test]
async fn a_failed_refresh_is_tried_again_after_its_cooldown() {
    let scene = Scene::new(-60).await;
    scene.api.next_on(TOKEN_PATH, Script::text(502, "down"));
    let trunkline = scene.start().await;
    // 5 s later, by itself.
    refreshed(&trunkline).await;
    assert_eq!(scene.token_calls(), 2);
    scene.assert_written();
}

#[tokio::test]
async fn a_refresh_under_way_is_waited_for_at_the_end() {
    for signals in [1, 2] {
        let scene = Scene::new(-60).await;
        let go_on = Signal::new();
        scene.api.hold_refresh(&go_on);
        let mut trunkline = scene.start().await;
        scene.token_called().await;
        for _ in 0..signals {
            trunkline.signal("TERM").await.unwrap();
        }
        trunkline.stderr_line(|line| line.contains("stopping")).await.unwrap();
        go_on.set();
        assert_eq!(trunkline.wait_exit().await.unwrap().status.code(), Some(0));
        scene.assert_written();
        scene.assert_clean();
    }
}

#[tokio::test]
async fn two_instances_make_one_call() {
    let scene = Scene::new(-60).await;
    let go_on = Signal::new();
    scene.api.hold_refresh(&go_on);
    let one = scene.start().await;
    scene.token_called().await;
    let other = scene.start().await;
    go_on.set();
    for mut trunkline in [one, other] {
        let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
        assert_eq!(response.status(), 200, "{}", response.text());
        trunkline.stop().await.unwrap();
    }
    assert_eq!(scene.token_calls(), 1);
    scene.assert_written();
    scene.assert_clean();
}

/// What `tests/refresh_crash` relies on must be in no build that is shipped.
#[cfg(not(feature = "fault-points"))]
#[tokio::test]
async fn a_build_without_the_feature_has_no_fault_points() {
    let scene = Scene::new(-60).await;
    let points = scene.home.join("points");
    let builder = trunkline().env("TRUNKLINE_ABORT_AT", "1").env("TRUNKLINE_FAULT_LOG", &points);
    let trunkline = builder.config(&scene.config()).start().await.unwrap();
    let response = Protocol::Http1.send(trunkline.addr().unwrap(), &call(body())).await;
    assert_eq!(response.status(), 200, "{}", response.text());
    refreshed(&trunkline).await;
    assert!(!points.exists());
    let binary = std::fs::read(env!("CARGO_BIN_EXE_trunkline")).unwrap();
    for name in ["TRUNKLINE_ABORT_AT", "TRUNKLINE_FAULT_LOG"] {
        assert!(!binary.windows(name.len()).any(|bytes| bytes == name.as_bytes()), "{name}");
    }
}
