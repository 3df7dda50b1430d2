//! What is attacked: an instance with a user, in front of a provider that records what reaches it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trunkline_testkit::upstream::{Canned, ReceivedRequest};
use trunkline_testkit::{Script, Trunkline, Upstream, bounded};

/// The token of the one user.
pub(crate) const TOKEN: &str = "token-of-alice";

/// How long a connection that answers no more is given before it counts as waiting for more input.
const QUIET: Duration = Duration::from_millis(150);

/// The instance, and the provider behind it.
pub(crate) struct Target {
    pub(crate) upstream: Upstream,
    pub(crate) trunkline: Trunkline,
}

impl Target {
    /// A service whose user may go to every path of the API.
    pub(crate) async fn new() -> Self {
        let users = json!([{ "name": "alice", "token": TOKEN, "paths": ["/v1/**"] }]);
        Self::with(json!({ "users": users })).await
    }

    /// A service without users, to which anybody on the machine may talk.
    pub(crate) async fn open() -> Self {
        Self::with(json!({})).await
    }

    async fn with(over: Value) -> Self {
        let upstream = Upstream::start(Canned::new([]).otherwise(Script::json(200, &json!({ "ok": true }))))
            .await
            .unwrap();
        let mut service = json!({
            "type": "claude",
            "listen_port": 0,
            "credentials": [{ "tag": "main", "oauth_token": "sk-ant-oat01-of-the-credential" }],
            "upstream": { "api_url": upstream.url() },
        });
        let (Some(service_fields), Value::Object(over)) = (service.as_object_mut(), over) else {
            panic!("objects")
        };
        service_fields.extend(over);
        let config = json!({ "services": [service] });
        let trunkline =
            Trunkline::builder(env!("CARGO_BIN_EXE_trunkline")).config(&config).start().await.unwrap();
        Self { upstream, trunkline }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.trunkline.addr().unwrap()
    }

    /// What has reached the provider's API; not what the instance itself wants to know of the account.
    pub(crate) fn reached(&self) -> Vec<ReceivedRequest> {
        let requests = self.upstream.requests();
        requests.into_iter().filter(|request| !request.path().starts_with("/api/oauth/")).collect()
    }

    /// Sends bytes in one write, and returns what comes back: at least so many answers, and what comes until the connection closes or
    /// falls silent.
    pub(crate) async fn send(&self, bytes: &[u8], at_least: usize) -> String {
        let mut stream = TcpStream::connect(self.addr()).await.unwrap();
        // It may be refused before it has been taken whole.
        let _ = stream.write_all(bytes).await;
        let read = bounded("an answer", read_to_quiet(&mut stream, at_least)).await;
        read.unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(bytes)))
    }

    /// Sends bytes, and waits for an answer only for a moment.
    pub(crate) async fn throw(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(self.addr()).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = tokio::time::timeout(QUIET, read_to_quiet(&mut stream, 1)).await;
    }

    /// That the instance still serves.
    pub(crate) async fn is_well(&self) {
        let request =
            format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        let answer = self.send(request.as_bytes(), 1).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// What comes over a connection until it closes, or nothing comes any more behind so many answers.
async fn read_to_quiet(stream: &mut TcpStream, at_least: usize) -> String {
    let mut answer = Vec::new();
    let mut space = vec![0; 16 * 1024];
    loop {
        let is_enough = statuses(&String::from_utf8_lossy(&answer)).len() >= at_least;
        let read = stream.read(&mut space);
        let read = if is_enough { tokio::time::timeout(QUIET, read).await } else { Ok(read.await) };
        match read {
            Ok(Ok(read)) if read > 0 => answer.extend_from_slice(&space[..read]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

/// The statuses of answers one behind another.
pub(crate) fn statuses(answers: &str) -> Vec<u16> {
    let answers = answers.split("HTTP/1.1 ").skip(1);
    answers.filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}
