//! No secret is ever written, however much is logged and whatever goes wrong.

use serde_json::{Value, json};
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::client::{Connection, H2Client, Request};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::{Script, TempDir, Upstream};

use crate::support::{Current, body, trunkline};

struct Secrets {
    user: Canary,
    other_user: Canary,
    oauth: Canary,
    key: Canary,
    access: Canary,
    refresh: Canary,
    service_header: Canary,
    client_header: Canary,
    wrong: Canary,
    answer_header: Canary,
    content: Canary,
}

impl Secrets {
    fn new() -> Self {
        Self {
            user: Canary::new("user"),
            other_user: Canary::new("other-user"),
            oauth: Canary::with_prefix("sk-ant-oat01-", "oauth"),
            key: Canary::with_prefix("sk-ant-api03-", "key"),
            access: Canary::with_prefix("sk-ant-oat01-", "access"),
            refresh: Canary::with_prefix("sk-ant-ort01-", "refresh"),
            service_header: Canary::new("service-header"),
            client_header: Canary::new("client-header"),
            wrong: Canary::new("wrong"),
            answer_header: Canary::new("answer-header"),
            content: Canary::new("content"),
        }
    }

    fn all(&self) -> Vec<Canary> {
        [
            &self.user,
            &self.other_user,
            &self.oauth,
            &self.key,
            &self.access,
            &self.refresh,
            &self.service_header,
            &self.client_header,
            &self.wrong,
            &self.answer_header,
            &self.content,
        ]
        .into_iter()
        .cloned()
        .collect()
    }

    /// Three services, one for each kind of credential.
    fn config(&self, url: &str, level: &str) -> Value {
        let service = |tag: &str, credential: Value| {
            json!({
                "type": "claude",
                "tag": tag,
                "listen_port": 0,
                "users": [
                    { "name": "alice", "token": self.user.token(), "models": "claude-*" },
                    { "name": "bob", "token": self.other_user.token() },
                ],
                "credentials": [credential],
                "headers": { "x-service": self.service_header.token() },
                "upstream": { "api_url": url },
                "timeouts": { "response_head": "200ms", "idle": "200ms", "request_body": "200ms" },
                "max_body": "1KiB",
            })
        };
        json!({
            "log": { "level": level },
            "services": [
                service("login", json!({ "tag": "login" })),
                service("token", json!({ "tag": "token", "oauth_token": self.oauth.token() })),
                service("key", json!({ "tag": "key", "type": "api_key", "api_key": self.key.token() })),
            ],
        })
    }

    fn home(&self) -> TempDir {
        let home = TempDir::new().unwrap();
        let login = ClaudeLogin::new(self.access.token(), self.refresh.token());
        login.write_to(&home.join(".claude")).unwrap();
        home
    }

    fn message(&self) -> Request {
        let content = format!(r#"{{"model":"claude-opus-4-8","messages":["{}"]}}"#, self.content.token());
        Request::post("/v1/messages", content)
            .bearer(self.user.token())
            .header("Cookie", self.client_header.token())
            .header("X-Other", self.client_header.token())
    }

    fn answers(&self) -> Vec<Script> {
        let head = |status| {
            Script::status(status)
                .header("set-cookie", self.answer_header.token())
                .header("x-other", self.answer_header.token())
        };
        vec![
            head(200).body(self.content.token().to_owned()),
            head(401).body(self.content.token().to_owned()),
            head(529).body(self.content.token().to_owned()),
            head(200).chunk(self.content.token().to_owned()).reset(),
            head(200).chunk(self.content.token().to_owned()).stall(),
            Script::new().raw(format!("{}\r\n\r\n", self.answer_header.token())).close(),
            Script::new().close(),
            Script::new().stall(),
        ]
    }
}

#[tokio::test]
async fn traffic_and_failures_leave_no_secret_in_the_log() {
    let secrets = Secrets::new();
    let current = Current::default();
    let upstream = Upstream::start(current.clone()).await.unwrap();
    let mut trunkline = trunkline()
        .config(&secrets.config(&upstream.url(), "trace"))
        .home(secrets.home())
        .listeners(3)
        .start()
        .await
        .unwrap();
    for addr in trunkline.addrs().to_vec() {
        for answer in secrets.answers() {
            current.set(answer);
            // What comes of it is the matter of other tests.
            let _ = Connection::connect(addr).await.unwrap().send(&secrets.message()).await;
            let _ = H2Client::connect(addr).await.unwrap().send(&secrets.message()).await;
        }
        let wrong = secrets.wrong.token();
        let large = "x".repeat(2_000);
        for request in [
            Request::post("/v1/messages", body()).bearer(wrong),
            Request::post("/v1/messages", body()).header("x-api-key", wrong),
            Request::post("/v1/messages", body()).header("Authorization", &format!("Basic {wrong}")),
            secrets.message().header("Origin", wrong),
            secrets.message().body(large),
            secrets.message().body(format!(r#"{{"model":"claude-x","model":"{wrong}"}}"#)),
            secrets.message().header("Content-Encoding", "gzip"),
            Request::get(&format!("/v1/models?key={wrong}")).bearer(secrets.user.token()),
        ] {
            let _ = Connection::connect(addr).await.unwrap().send(&request).await;
        }
        let mut garbage = Connection::connect(addr).await.unwrap();
        garbage.write_raw(format!("GET / HTTP/1.1\r\n{wrong}\r\n\r\n").as_bytes()).await.unwrap();
        let _ = garbage.response().await;
        let mut slow = Connection::connect(addr).await.unwrap();
        let request = Request::post("/v1/messages", "").bearer(secrets.other_user.token());
        slow.write_head(&request.header("Content-Length", "100")).await.unwrap();
        let _ = slow.response().await;
    }
    // The login changes and goes while it runs.
    let file = trunkline.home().join(".claude/.credentials.json");
    std::fs::write(&file, format!("{{\"claudeAiOauth\": \"{}\"", secrets.access.token())).unwrap();
    trunkline.stderr_line(|line| line.contains("usable \u{2192} unavailable")).await.unwrap();
    let _ = Connection::connect(trunkline.addrs()[0]).await.unwrap().send(&secrets.message()).await;
    let output = trunkline.stop().await.unwrap();
    assert!(output.stderr.len() > 20, "nothing was logged: {:?}", output.stderr);
    let leaks = find_leaks(output.text().as_bytes(), &secrets.all());
    assert!(leaks.is_empty(), "{leaks:?} in {}", output.text());
}

#[tokio::test]
async fn commands_and_complaints_about_the_configuration_show_no_secret() {
    let secrets = Secrets::new();
    let valid = secrets.config("http://127.0.0.1:9", "trace");
    let mut invalid = valid.clone();
    invalid["services"][0]["unknown"] = json!(secrets.service_header.token());
    invalid["services"][0]["users"][0]["fast_mode"] = json!("never");
    invalid["services"][1]["credentials"][0]["oauth_token"] = json!([secrets.oauth.token()]);
    invalid["services"][2]["credentials"][0]["api_key"] = json!(format!("{} \n", secrets.key.token()));
    invalid["services"][2]["listen_port"] = json!(secrets.wrong.token());
    let broken = valid.to_string().replacen("\"users\"", "\"users", 1);
    for (text, code) in [(valid.to_string(), 0), (invalid.to_string(), 78), (broken, 78)] {
        let output =
            trunkline().args(["check"]).config_text(text.clone()).home(secrets.home()).run().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", output.text());
        let leaks = find_leaks(output.text().as_bytes(), &secrets.all());
        assert!(leaks.is_empty(), "{leaks:?} in {}", output.text());
        if code != 0 {
            let output = trunkline().config_text(text).home(secrets.home()).run().await.unwrap();
            assert_eq!(output.status.code(), Some(code));
            let leaks = find_leaks(output.text().as_bytes(), &secrets.all());
            assert!(leaks.is_empty(), "{leaks:?} in {}", output.text());
        }
    }
}
