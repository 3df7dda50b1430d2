//! What the stories share: configurations, clients of either protocol, and the shape of a refusal.

pub(crate) mod codex;
pub(crate) mod dress;
pub(crate) mod socket;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trunkline_testkit::client::{Connection, Ended, H2Client, Request, Response, send};
use trunkline_testkit::process::Builder;
use trunkline_testkit::upstream::{Behaviour, ReceivedRequest};
use trunkline_testkit::{Script, Trunkline};

/// The token of the one user.
pub(crate) const USER_TOKEN: &str = "token-of-alice";

/// The token of the one credential.
pub(crate) const OAUTH_TOKEN: &str = "sk-ant-oat01-of-the-credential";

/// Where messages go.
pub(crate) const MESSAGES: &str = "/v1/messages?beta=true";

/// The real binary.
pub(crate) fn trunkline() -> Builder {
    Trunkline::builder(env!("CARGO_BIN_EXE_trunkline"))
}

/// A service with one user and one credential with a long-lived token, in front of `url`.
pub(crate) fn service(url: &str) -> Value {
    json!({
        "type": "claude",
        "listen_port": 0,
        "users": [{ "name": "alice", "token": USER_TOKEN }],
        "credentials": [{ "tag": "main", "oauth_token": OAUTH_TOKEN }],
        "upstream": { "api_url": url },
    })
}

/// `base` with the fields of `over` set.
pub(crate) fn with(mut base: Value, over: Value) -> Value {
    let (Some(fields), Value::Object(over)) = (base.as_object_mut(), over) else { panic!("two objects") };
    fields.extend(over);
    base
}

/// A configuration of one service.
pub(crate) fn config(service: &Value) -> Value {
    json!({ "services": [service] })
}

/// The SHA-256 of a token, as `token_sha256` has it.
pub(crate) fn sha256(token: &str) -> String {
    Sha256::digest(token).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Runs one service.
pub(crate) async fn serve(service: &Value) -> Trunkline {
    trunkline().config(&config(service)).start().await.unwrap()
}

/// A request for a message with the user's token.
pub(crate) fn message(body: impl Into<Bytes>) -> Request {
    Request::post(MESSAGES, body).bearer(USER_TOKEN)
}

/// The usual body.
pub(crate) fn body() -> Bytes {
    Bytes::from(r#"{"model":"claude-opus-4-8","max_tokens":1,"messages":[]}"#)
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) const BOTH: [Self; 2] = [Self::Http1, Self::Http2];

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(self, addr: SocketAddr, request: &Request) -> Response {
        match self {
            Self::Http1 => send(addr, request).await.unwrap(),
            Self::Http2 => H2Client::connect(addr).await.unwrap().send(request).await.unwrap(),
        }
    }

    /// Whether an answer that ended like this was cut in the way of this protocol.
    pub(crate) fn is_cut(self, end: Ended) -> bool {
        match self {
            Self::Http1 => matches!(end, Ended::Cut | Ended::Reset),
            Self::Http2 => matches!(end, Ended::StreamReset(_)),
        }
    }
}

/// An upstream's behaviour that a test changes as it goes; a request that is repeated gets the same answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Current(Arc<Mutex<Script>>);

impl Current {
    pub(crate) fn new(script: Script) -> Self {
        Self(Arc::new(Mutex::new(script)))
    }

    pub(crate) fn set(&self, script: Script) {
        *self.0.lock().unwrap() = script;
    }
}

impl Behaviour for Current {
    fn respond(&self, _: &ReceivedRequest) -> Script {
        self.0.lock().unwrap().clone()
    }
}

/// That `response` is a refusal of ours in the provider's shape; returns its message.
pub(crate) fn refusal(response: &Response, status: u16, kind: &str) -> String {
    let text = response.text();
    assert_eq!(response.status(), status, "{text}");
    assert_eq!(response.header("content-type"), Some("application/json"), "{text}");
    let json = response.json().unwrap();
    assert_eq!(json["type"], "error", "{text}");
    assert_eq!(json["error"]["type"], kind, "{text}");
    assert!(json["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{text}");
    let message = json["error"]["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{text}");
    message.to_owned()
}

/// Like [`refusal`], and the client is told not to try again.
pub(crate) fn final_refusal(response: &Response, status: u16, kind: &str) -> String {
    let message = refusal(response, status, kind);
    assert_eq!(response.header("x-should-retry"), Some("false"), "{message}");
    message
}

/// Like [`refusal`], and the client may try again.
pub(crate) fn passing_refusal(response: &Response, status: u16, kind: &str) -> String {
    let message = refusal(response, status, kind);
    assert_eq!(response.header("x-should-retry"), None, "{message}");
    message
}

/// The connection of a raw client.
pub(crate) async fn connect(trunkline: &Trunkline) -> Connection {
    Connection::connect(trunkline.addr().unwrap()).await.unwrap()
}

/// Reads `count` bytes of a body, however they come.
pub(crate) async fn read_bytes(connection: &mut Connection, count: usize) -> Bytes {
    let mut read = Vec::new();
    while read.len() < count {
        let piece = connection.data().await.unwrap().expect("more of the body");
        read.extend_from_slice(&piece);
    }
    assert_eq!(read.len(), count, "more came than was expected");
    Bytes::from(read)
}
