//! Exchanges recorded between the real client and a mock of the provider.
//!
//! What is exact: method, target, headers (order and case), the response's status, headers, body and how it
//! ended. What is not:
//!
//! * Request bodies of the `*_compact` sets have their long texts shortened after the recording; those of the
//!   `*_failures` sets are left out for inference requests. `content-length` is as it was on the wire, and
//!   [`RecordedRequest::body_is_exact`] tells whether the body still has that length. Only `gateway_full` has
//!   every body in full.
//! * The `*_332` sets are of client 2.1.332; the others are of 2.1.197. Their request bodies have texts replaced by filler that
//!   names its length, compressed ones are kept decoded, and of streams only the names of the events were kept. Which headers
//!   framed an answer was not recorded: they are as HTTP/1.1 has it.
//! * The answer to a `HEAD` carries the `content-length` that a `GET` would have had, and no body.
//! * How a stream was cut into chunks was not recorded.
//! * Tokens, accounts and devices are invented, the same ones throughout a scenario.

mod codex;
mod codex_posts;
mod codex_sockets;

use std::io;

use bytes::Bytes;
use serde::Deserialize;

use crate::headers::Headers;

pub use codex::{CodexFailure, CodexTransport, codex_failures};
pub use codex_posts::codex_posts;
pub use codex_sockets::{
    CODEX, CODEX_UPGRADES, RecordedSocket, SocketFrame, SocketFrameKind, codex_exchanges,
    codex_refused_upgrades, codex_sockets,
};

/// The names that [`claude`] knows.
pub const CLAUDE: [&str; 11] = [
    "gateway_full",
    "gateway_compact",
    "gateway_failures",
    "gateway_interactive_compact",
    "subscriber_compact",
    "subscriber_failures",
    "hint_headers_332",
    "interactive_332",
    "modes_332",
    "user_cap_332",
    "device_login_332",
];

/// One request and what came back.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The run that it belongs to.
    pub scenario: String,
    /// Its place in the run.
    pub seq: u64,
    /// The connection it came on.
    pub connection: u64,
    /// The how manieth on that connection it was, from 1.
    pub nth: u64,
    /// What the client sent.
    pub request: RecordedRequest,
    /// What it got.
    pub response: RecordedResponse,
}

/// What the client sent.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Every header line, in order and in its own case.
    pub headers: Headers,
    /// The body; `None` where it was not kept.
    pub body: Option<Bytes>,
    /// How long the body was on the wire.
    pub body_bytes_on_wire: usize,
}

impl RecordedRequest {
    /// Whether the body is the one that was sent, and not a shortened form of it or none.
    pub fn body_is_exact(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.len() == self.body_bytes_on_wire)
    }
}

/// What the client got.
#[derive(Clone, Debug)]
pub struct RecordedResponse {
    /// The status; `None` if the connection was closed before there was one.
    pub status: Option<u16>,
    /// Every header line, in order.
    pub headers: Headers,
    /// The body as far as it was sent, without its transfer encoding.
    pub body: Bytes,
    /// How it ended.
    pub end: End,
}

/// How a recorded response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// As HTTP has it.
    Complete,
    /// By a TCP reset in the middle of the body.
    RstMidStream,
    /// By a closed connection in the middle of the body, without the last chunk.
    EofMidStream,
    /// Before anything was sent.
    ClosedBeforeResponse,
    /// The client left; with the error that the mock saw.
    ClientGone(String),
}

impl End {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "complete" => Self::Complete,
            "rst-mid-stream" => Self::RstMidStream,
            "eof-mid-stream" => Self::EofMidStream,
            "closed-before-response" => Self::ClosedBeforeResponse,
            _ => Self::ClientGone(text.strip_prefix("client-gone:")?.to_owned()),
        })
    }
}

/// The exchanges of one set of [`CLAUDE`], in order.
pub fn claude(set: &str) -> io::Result<Vec<Exchange>> {
    let text = match set {
        "gateway_full" => include_str!("../fixtures/claude/gateway_full.jsonl"),
        "gateway_compact" => include_str!("../fixtures/claude/gateway_compact.jsonl"),
        "gateway_failures" => include_str!("../fixtures/claude/gateway_failures.jsonl"),
        "gateway_interactive_compact" => include_str!("../fixtures/claude/gateway_interactive_compact.jsonl"),
        "subscriber_compact" => include_str!("../fixtures/claude/subscriber_compact.jsonl"),
        "subscriber_failures" => include_str!("../fixtures/claude/subscriber_failures.jsonl"),
        "hint_headers_332" => include_str!("../fixtures/claude/hint_headers_332.jsonl"),
        "interactive_332" => include_str!("../fixtures/claude/interactive_332.jsonl"),
        "modes_332" => include_str!("../fixtures/claude/modes_332.jsonl"),
        "user_cap_332" => include_str!("../fixtures/claude/user_cap_332.jsonl"),
        "device_login_332" => include_str!("../fixtures/claude/device_login_332.jsonl"),
        _ => return Err(io::Error::new(io::ErrorKind::NotFound, format!("no recorded set {set:?}"))),
    };
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> io::Result<Exchange> {
    let raw: RawExchange = serde_json::from_str(line)?;
    let end = End::parse(&raw.response.end).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("unknown recorded end {:?}", raw.response.end))
    })?;
    Ok(Exchange {
        scenario: raw.scenario,
        seq: raw.seq,
        connection: raw.conn,
        nth: raw.n_on_conn,
        request: RecordedRequest {
            method: raw.request.method,
            target: raw.request.target,
            headers: raw.request.headers.into(),
            body: raw.request.body.map(Bytes::from),
            body_bytes_on_wire: raw.request.body_bytes_on_wire,
        },
        response: RecordedResponse {
            status: raw.response.status,
            headers: raw.response.headers.into(),
            body: Bytes::from(raw.response.body),
            end,
        },
    })
}

#[derive(Deserialize)]
struct RawExchange {
    scenario: String,
    seq: u64,
    conn: u64,
    n_on_conn: u64,
    request: RawRequest,
    response: RawResponse,
}

#[derive(Deserialize)]
struct RawRequest {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_bytes_on_wire: usize,
}

#[derive(Deserialize)]
struct RawResponse {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
    end: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_loads() {
        let counts: Vec<usize> = CLAUDE.iter().map(|set| claude(set).unwrap().len()).collect();
        assert_eq!(counts, [5, 27, 229, 16, 8, 88, 6, 4, 10, 1, 9]);
        assert_eq!(claude("nothing").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn full_bodies_are_exact_and_responses_match_their_length() {
        assert!(claude("gateway_full").unwrap().iter().all(|exchange| exchange.request.body_is_exact()));
        for exchange in CLAUDE.iter().flat_map(|set| claude(set).unwrap()) {
            let length =
                exchange.response.headers.get("content-length").map(|value| value.parse::<usize>().unwrap());
            if exchange.request.method != "HEAD" {
                assert!(length.is_none_or(|length| length == exchange.response.body.len()));
            }
        }
    }

    #[test]
    fn ends_are_told_apart() {
        let exchanges = claude("gateway_failures").unwrap();
        let count = |end: &End| exchanges.iter().filter(|exchange| exchange.response.end == *end).count();
        assert_eq!(count(&End::Complete), 220);
        assert_eq!(count(&End::RstMidStream), 5);
        assert_eq!(count(&End::EofMidStream), 2);
        assert_eq!(count(&End::ClosedBeforeResponse), 1);
        assert_eq!(count(&End::ClientGone("ConnectionResetError".to_owned())), 1);
    }
}
