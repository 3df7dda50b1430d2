//! The opening handshake of a WebSocket (RFC 6455, 4; over HTTP/2: RFC 8441), on either side. No extension and no
//! subprotocol is asked for or granted.

use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use trunkline_core::fault::{Fault, FaultKind};

const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const EXTENSIONS: HeaderName = HeaderName::from_static("sec-websocket-extensions");
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const THIRTEEN: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const TO_UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");

/// Length of a key: 16 bytes in base64.
const KEY_LENGTH: usize = 24;

/// How a client asks for a WebSocket.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// By an upgrade of its HTTP/1.1 connection, with this answer to its key.
    Upgrade(HeaderValue),
    /// By an extended CONNECT.
    Connect,
}

impl Asked {
    /// Reads a client's request.
    pub(crate) fn read(parts: &Parts) -> Result<Self, Fault> {
        let invalid = |message| Fault::new(FaultKind::InvalidRequest, message);
        if parts.headers.get(VERSION) != Some(&THIRTEEN) {
            return Err(Fault::new(
                FaultKind::UpgradeRequired,
                "the WebSocket asked for is not of version 13",
            ));
        }
        if parts.version == http::Version::HTTP_2 {
            return Ok(Self::Connect);
        }
        let mut keys = parts.headers.get_all(KEY).iter();
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(invalid("the request for a WebSocket has no Sec-WebSocket-Key, or several"));
        };
        if key.len() != KEY_LENGTH || !is_listed(&parts.headers, &CONNECTION, "upgrade") {
            return Err(invalid("the request for a WebSocket has no valid Sec-WebSocket-Key or Connection"));
        }
        HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
            .map(Self::Upgrade)
            .map_err(|_| invalid("the request for a WebSocket has no valid Sec-WebSocket-Key"))
    }

    /// The status of the answer, and the headers that make it one.
    pub(crate) fn grant(&self, headers: &mut HeaderMap) -> StatusCode {
        match self {
            Self::Upgrade(accept) => {
                headers.insert(UPGRADE, WEBSOCKET);
                headers.insert(CONNECTION, TO_UPGRADE);
                headers.insert(ACCEPT, accept.clone());
                StatusCode::SWITCHING_PROTOCOLS
            }
            Self::Connect => StatusCode::OK,
        }
    }
}

fn is_listed(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// Says on a 426 what the client is to change to (RFC 9110, 15.5.22; RFC 6455, 4.4). HTTP/2 has no `Upgrade`.
pub(crate) fn offer(headers: &mut HeaderMap, is_http2: bool) {
    headers.insert(VERSION, THIRTEEN);
    if !is_http2 {
        headers.insert(UPGRADE, WEBSOCKET);
        headers.insert(CONNECTION, TO_UPGRADE);
    }
}

/// Copies of headers without those of a handshake, which keep nothing of the head alive that they came in.
pub(crate) fn without_own(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !name.as_str().starts_with("sec-websocket-")) {
        let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) else { continue };
        copy.set_sensitive(value.is_sensitive());
        out.append(name.clone(), copy);
    }
    out
}

/// Our own, with a provider.
#[derive(Debug)]
pub(crate) struct Handshake {
    key: String,
}

impl Handshake {
    /// Makes a request ask for a WebSocket.
    pub(crate) fn ask<B>(request: &mut Request<B>) -> Self {
        let key = generate_key();
        let headers = request.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONNECTION, TO_UPGRADE);
        headers.insert(UPGRADE, WEBSOCKET);
        headers.insert(VERSION, THIRTEEN);
        if let Ok(value) = HeaderValue::from_str(&key) {
            headers.insert(KEY, value);
        }
        Self { key }
    }

    /// Whether an answer that changes the protocol is the one to this request.
    fn check<B>(&self, response: &Response<B>) -> Result<(), &'static str> {
        let headers = response.headers();
        let accept = headers.get(ACCEPT).map(HeaderValue::as_bytes);
        if !is_listed(headers, &UPGRADE, "websocket") || !is_listed(headers, &CONNECTION, "upgrade") {
            return Err("the provider changed to a protocol that is none of WebSocket");
        }
        if accept != Some(derive_accept_key(self.key.as_bytes()).as_bytes()) {
            return Err("the provider answered another WebSocket handshake than ours");
        }
        if headers.contains_key(EXTENSIONS) || headers.contains_key(PROTOCOL) {
            return Err("the provider granted what was not asked for on the WebSocket");
        }
        Ok(())
    }
}

/// Whether an answer may change the protocol (101), if it does: only to what was asked for. Whatever comes behind one that
/// nobody asked for is no answer, and its connection is of no more use.
pub(crate) fn check_change<B>(
    handshake: Option<&Handshake>,
    response: &Response<B>,
) -> Result<(), &'static str> {
    match (response.status(), handshake) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(handshake)) => handshake.check(response),
        (StatusCode::SWITCHING_PROTOCOLS, None) => {
            Err("the provider changed to another protocol (101), which nobody asked for")
        }
        _ => Ok(()),
    }
}
