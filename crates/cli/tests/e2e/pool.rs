//! Several accounts of the scripted provider behind one instance, for the stories about limits, sessions and failures.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use trunkline_server::control::{self, AskError};
use trunkline_testkit::claude::{Account, Limits};
use trunkline_testkit::client::{Request, Response};
use trunkline_testkit::tls::Alpn;
use trunkline_testkit::{ClaudeApi, PATIENCE, Script, TempDir, Trunkline, Upstream};

use crate::support::{Protocol, USER_TOKEN, message, trunkline, with};

/// The pause between two looks at the status while something is waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// How often the status is asked for that does not come; each is waited for for seconds.
const TRIES: usize = 10;

/// Accounts, each with a credential of its name in the pool `pool` of the user.
pub(crate) struct Pool {
    pub(crate) api: ClaudeApi,
    pub(crate) upstream: Upstream,
    pub(crate) service: Value,
    /// What is logged. At `debug` every choice is explained, for which all members are looked at.
    pub(crate) log_level: &'static str,
    /// Where the data directory is.
    pub(crate) home: TempDir,
    labels: Vec<String>,
}

impl Pool {
    /// Accounts of these names, picked in the way of `strategy`.
    pub(crate) async fn new(labels: &[&str], strategy: &str) -> Self {
        let api = accounts(labels);
        let upstream = Upstream::start(api.clone()).await.unwrap();
        Self::before(upstream, api, labels, strategy)
    }

    /// The same, of a provider that speaks HTTP/2.
    pub(crate) async fn over_http2(labels: &[&str], strategy: &str) -> Self {
        let api = accounts(labels);
        let upstream = Upstream::start_tls(api.clone(), &[Alpn::H2]).await.unwrap();
        let ca_path = upstream.authority().unwrap().file().unwrap();
        let to = json!({ "upstream": { "api_url": upstream.url(), "ca_path": ca_path } });
        let mut pool = Self::before(upstream, api, labels, strategy);
        pool.service(to);
        pool
    }

    fn before(upstream: Upstream, api: ClaudeApi, labels: &[&str], strategy: &str) -> Self {
        let mut credentials: Vec<Value> = labels
            .iter()
            .map(|label| json!({ "tag": label, "oauth_token": token(label), "weight": 1 }))
            .collect();
        credentials.push(json!({
            "tag": "pool", "type": "balancer", "credentials": labels, "strategy": strategy,
        }));
        let service = json!({
            "type": "claude",
            "listen_port": 0,
            "users": [{ "name": "alice", "token": USER_TOKEN, "credential": "pool", "explain": true }],
            "credentials": credentials,
            "upstream": { "api_url": upstream.url() },
        });
        let labels = labels.iter().map(ToString::to_string).collect();
        Self { api, upstream, service, log_level: "debug", home: TempDir::new().unwrap(), labels }
    }

    /// Sets fields of the credential `label`.
    pub(crate) fn credential(&mut self, label: &str, over: Value) {
        let credentials = self.service["credentials"].as_array_mut().unwrap();
        let credential = credentials.iter_mut().find(|credential| credential["tag"] == label).unwrap();
        *credential = with(credential.take(), over);
    }

    /// Sets fields of the service.
    pub(crate) fn service(&mut self, over: Value) {
        self.service = with(self.service.take(), over);
    }

    pub(crate) fn config(&self) -> Value {
        json!({
            "data_directory": self.home.join("data"),
            "log": { "level": self.log_level, "format": "json" },
            "services": [self.service],
        })
    }

    /// An instance that knows what every account has used.
    pub(crate) async fn start(&self) -> Running<'_> {
        let trunkline = trunkline().config(&self.config()).start().await.unwrap();
        polled(&trunkline).await;
        Running { pool: self, trunkline }
    }

    /// How often each account was asked for a message.
    pub(crate) fn served(&self) -> Vec<usize> {
        self.labels.iter().map(|label| self.api.served(label)).collect()
    }
}

/// An instance in front of the accounts.
pub(crate) struct Running<'p> {
    pub(crate) pool: &'p Pool,
    pub(crate) trunkline: Trunkline,
}

impl Running<'_> {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.trunkline.addr().unwrap()
    }

    pub(crate) async fn send(&self, request: &Request) -> Response {
        Protocol::Http1.send(self.addr(), request).await
    }

    /// The status of the service, at once.
    pub(crate) async fn service_status(&self) -> Value {
        service_status(&self.trunkline).await
    }

    /// The status as a person sees it.
    pub(crate) async fn status_text(&self) -> String {
        let file = self.trunkline.home().path().join("trunkline.json");
        let args = ["status", "-c", &file.display().to_string()].map(str::to_owned);
        trunkline().args(args).env("TZ", "UTC").run().await.unwrap().stdout.join("\n")
    }

    /// The status of the credentials, once it is as `wanted`.
    pub(crate) async fn status(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        status_of(&self.trunkline, wanted).await
    }

    /// Waits until a credential is in a state, which begins with these words.
    pub(crate) async fn state(&self, label: &str, words: &str) {
        state_of(&self.trunkline, label, words).await;
    }
}

/// The status of the first service, at once: what `trunkline status --json` prints, asked for without a process of its own.
pub(crate) async fn service_status(instance: &Trunkline) -> Value {
    let directory = data_directory(instance);
    for _ in 0..TRIES {
        match control::ask(&directory).await {
            Ok(status) => return serde_json::to_value(status).unwrap()["services"][0].clone(),
            // This machine was too busy for the patience of the command line.
            Err(AskError::NoAnswer(_)) => {}
            Err(error) => panic!("{error}: {}", instance.stderr().join("\n")),
        }
    }
    panic!("no answer: {}", instance.stderr().join("\n"));
}

/// Where the data directory of an instance is, by its configuration.
fn data_directory(instance: &Trunkline) -> PathBuf {
    let home = instance.home();
    let text = std::fs::read_to_string(home.join("trunkline.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    config["data_directory"].as_str().map_or_else(|| home.join(".local/share/trunkline"), PathBuf::from)
}

/// The status of its credentials, once it is as `wanted`.
pub(crate) async fn status_of(instance: &Trunkline, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut last = Vec::new();
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            let status = service_status(instance).await;
            last.clone_from(status["credentials"].as_array().unwrap());
            if wanted(&last) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    assert!(seen.await.is_ok(), "not seen: {last:#?}\n{}", instance.stderr().join("\n"));
    last
}

/// Waits until it knows what every login has used: until the polls at the start have been answered, and the answers count. A test
/// that changes what a provider answers begins behind that, or its change may be found by a poll instead of by a request.
pub(crate) async fn polled(instance: &Trunkline) {
    status_of(instance, |credentials| {
        let is_known = |one: &Value| one["kind"] == "API key" || !one["windows"][0]["used_percent"].is_null();
        credentials.iter().all(is_known)
    })
    .await;
}

/// Waits until one of its credentials is in a state, which begins with these words.
pub(crate) async fn state_of(instance: &Trunkline, label: &str, words: &str) {
    status_of(instance, |credentials| {
        let credential = credentials.iter().find(|credential| credential["tag"] == label).unwrap();
        let state = credential["state"].as_str().unwrap();
        let told = match credential["why"].as_str() {
            Some(why) => format!("{state}: {why}"),
            None => state.to_owned(),
        };
        told.starts_with(words)
    })
    .await;
}

fn accounts(labels: &[&str]) -> ClaudeApi {
    ClaudeApi::new(labels.iter().map(|label| Account::new(label).access_token(&token(label))))
}

pub(crate) fn token(label: &str) -> String {
    format!("sk-ant-oat01-of-{label}")
}

/// A request for a message, streamed or not.
pub(crate) fn ask(is_streamed: bool) -> Request {
    asks("claude-sonnet-5", is_streamed)
}

/// The same, for a model.
pub(crate) fn asks(model: &str, is_streamed: bool) -> Request {
    let mut body = json!({ "model": model, "max_tokens": 1, "messages": [] });
    if is_streamed {
        body["stream"] = json!(true);
    }
    message(Bytes::from(body.to_string())).header("anthropic-version", "2023-06-01")
}

/// The same, of a session.
pub(crate) fn asks_in(session: &str, request: Request) -> Request {
    request.header("x-claude-code-session-id", session)
}

/// An error with an account's limits in its headers.
pub(crate) fn refused(script: Script, limits: &Limits) -> Script {
    script.headers(limits.headers().iter())
}

/// A window of an account that is used up until `reset`, seconds since 1970.
pub(crate) fn used_up(reset: u64) -> Limits {
    Limits { five_hour_reset: reset, ..Limits::five_hour_rejected() }
}

pub(crate) fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
