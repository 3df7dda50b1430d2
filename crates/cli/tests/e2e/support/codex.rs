//! What the stories of Codex share.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_testkit::client::{Request, Response};
use trunkline_testkit::codex::{Account, CodexApi};
use trunkline_testkit::{TempDir, Trunkline, Upstream};

use super::{Protocol, USER_TOKEN, trunkline, with};
use crate::pool::polled;

/// Where turns go.
pub(crate) const RESPONSES: &str = "/v1/responses";

/// The addresses of a scripted API.
pub(crate) fn upstream(url: &str) -> Value {
    json!({
        "api_url": format!("{url}/backend-api/codex"),
        "usage_url": format!("{url}/backend-api/wham/usage"),
        "token_url": format!("{url}/oauth/token"),
        "openai_url": url,
    })
}

/// A service with one user, in front of a scripted API at `url`. The user has all credentials as a pool, or the one.
pub(crate) fn service(url: &str, credentials: &[Value]) -> Value {
    let mut all = credentials.to_vec();
    let mut user = json!({ "name": "alice", "token": USER_TOKEN });
    if credentials.len() > 1 {
        let tags: Vec<_> = credentials.iter().map(|credential| credential["tag"].clone()).collect();
        all.push(json!({ "tag": "pool", "type": "fallback", "credentials": tags }));
        user["credential"] = json!("pool");
    }
    json!({
        "type": "codex",
        "listen_port": 0,
        "users": [user],
        "credentials": all,
        "upstream": upstream(url),
    })
}

/// A credential with the login file of an account, which is written into `home`.
pub(crate) fn login(home: &TempDir, api: &CodexApi, label: &str) -> Value {
    let path = home.write(format!("{label}/auth.json"), api.login_file(label).unwrap().to_string()).unwrap();
    json!({ "tag": label, "credential_path": path })
}

/// A turn with the user's token.
pub(crate) fn turn(body: impl Into<Bytes>) -> Request {
    Request::post(RESPONSES, body).bearer(USER_TOKEN)
}

/// A turn's usual body.
pub(crate) fn body() -> Bytes {
    let message =
        json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "hello" }] });
    Bytes::from(
        json!({ "model": "gpt-5.5", "stream": true, "store": false, "input": [message], "tools": [] })
            .to_string(),
    )
}

/// The same, of a session.
pub(crate) fn turn_in(session: &str) -> Request {
    turn(body()).header("session-id", session)
}

/// Accounts, each with a login file as the credential of its name, all in the pool of the user.
pub(crate) struct CodexPool {
    pub(crate) api: CodexApi,
    pub(crate) upstream: Upstream,
    pub(crate) service: Value,
    pub(crate) home: TempDir,
    labels: Vec<String>,
}

impl CodexPool {
    /// Accounts of these names, in order of preference.
    pub(crate) async fn new(labels: &[&str]) -> Self {
        let account = |label: &&str| {
            let (access, refresh) = (format!("access-of-{label}"), format!("rt-of-{label}"));
            Account::new(label).access_token(&access).refresh_token(&refresh)
        };
        let api = CodexApi::new(labels.iter().map(account));
        let upstream = Upstream::start(api.clone()).await.unwrap();
        let home = TempDir::new().unwrap();
        let logins: Vec<Value> = labels.iter().map(|label| login(&home, &api, label)).collect();
        let service = service(&upstream.url(), &logins);
        Self { api, upstream, service, home, labels: labels.iter().map(ToString::to_string).collect() }
    }

    /// Sets fields of the service.
    pub(crate) fn service(&mut self, over: Value) {
        self.service = with(self.service.take(), over);
    }

    pub(crate) fn config(&self) -> Value {
        json!({
            "data_directory": self.home.join("data"),
            "log": { "level": "debug", "format": "json" },
            "services": [self.service],
        })
    }

    /// An instance that knows what every account has used.
    pub(crate) async fn start(&self) -> Trunkline {
        let instance = trunkline().config(&self.config()).start().await.unwrap();
        polled(&instance).await;
        instance
    }

    /// How often each account was asked for a turn.
    pub(crate) fn served(&self) -> Vec<usize> {
        self.labels.iter().map(|label| self.api.served(label)).collect()
    }
}

pub(crate) async fn send(instance: &Trunkline, request: &Request) -> Response {
    let addr: SocketAddr = instance.addr().unwrap();
    Protocol::Http1.send(addr, request).await
}

/// That `response` is a refusal of ours in the provider's shape; returns its error.
pub(crate) fn codex_refusal(response: &Response, status: u16, kind: &str) -> Value {
    let text = response.text();
    assert_eq!(response.status(), status, "{text}");
    assert_eq!(response.header("content-type"), Some("application/json"), "{text}");
    let json = response.json().unwrap();
    assert_eq!(json["error"]["type"], kind, "{text}");
    assert!(json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
    assert!(response.header("x-trunkline-request-id").is_some_and(|id| !id.is_empty()), "{text}");
    json["error"].clone()
}
