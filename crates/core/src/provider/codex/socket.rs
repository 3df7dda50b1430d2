//! What a message on Codex's WebSocket is (codex.md, *WebSocket*; fact sheet, 3): by a scan for `type` and the few members
//! that matter, in one pass, without parsing the rest.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::limits::{event_headers, replace_event_headers};
use super::{Codex, TURN_STATE, envelope};
use crate::event_output::{Says, event_scan, says, stated_type};
use crate::failure::ErrorFields;
use crate::fault::FaultKind;
use crate::json_edit;
use crate::limits::View;
use crate::provider::{MAX_SESSION_ID, OwnAnswer};
use crate::scan::{BodyScan, Found, Progress, Wanted};
use crate::secret::Secret;
use crate::socket::{ClientMessage, Create, SocketFacts, TurnState, UpstreamEvent};

/// The version of the protocol, which the client names in its upgrade (fact sheet, 3).
const BETA: HeaderName = HeaderName::from_static("openai-beta");
const BETA_VERSION: HeaderValue = HeaderValue::from_static("responses_websockets=2026-02-06");

/// How long a message may be that a server takes, in bytes. The client asks over HTTP what would be longer (fact sheet, 0.2).
const MAX_MESSAGE: HeaderName = HeaderName::from_static("x-codex-websocket-max-message-bytes");

/// The code of the error that ends a connection by its age (fact sheet, 3).
const CONNECTION_AGE: &str = "websocket_connection_limit_reached";

/// UTF-8's byte order mark, which some readers skip.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a client keeps what it tells of itself, the turn state among it.
const CLIENT_METADATA: &str = "client_metadata";
const TURN_STATE_KEY: &str = "x-codex-turn-state";

/// The member that says what a message is.
const KIND: Wanted = Wanted::Top("type");

/// What is read of a client's message, by position.
const CLIENT: [Wanted; 8] = [
    KIND,
    Wanted::Value("generate"),
    Wanted::Value("model"),
    Wanted::Value("service_tier"),
    Wanted::Value("previous_response_id"),
    Wanted::Nested(CLIENT_METADATA, "session_id"),
    Wanted::Top("prompt_cache_key"),
    Wanted::Nested(CLIENT_METADATA, TURN_STATE_KEY),
];

impl SocketFacts for Codex {
    fn complete_upgrade(&self, headers: &mut HeaderMap) {
        if !headers.contains_key(BETA) {
            headers.insert(BETA, BETA_VERSION);
        }
    }

    /// Measured with the client: it shows a 400 to an upgrade at once, as it is, and takes to HTTP at a 426 without a word; 401,
    /// 403, 404 and 5xx cost it seven tries, and then as many over HTTP (fact sheet, 4 and 7).
    fn refusal_status(&self, kind: FaultKind) -> StatusCode {
        match kind {
            FaultKind::UpgradeRequired
            | FaultKind::RequestTimeout
            | FaultKind::Unavailable
            | FaultKind::Overloaded
            | FaultKind::UpstreamConnection
            | FaultKind::UpstreamAnswer
            | FaultKind::UpstreamTimeout => StatusCode::UPGRADE_REQUIRED,
            FaultKind::InvalidRequest
            | FaultKind::Framing
            | FaultKind::Authentication
            | FaultKind::UserInactive
            | FaultKind::Permission
            | FaultKind::WebPage
            | FaultKind::NotFound
            | FaultKind::ModelDenied
            | FaultKind::ModelNotServed
            | FaultKind::BodyTooLarge
            | FaultKind::HeadTooLarge => StatusCode::BAD_REQUEST,
        }
    }

    /// At both the client ends at once, with the provider's words (fact sheet, 4).
    fn passes_refusal(&self, status: StatusCode) -> bool {
        matches!(status, StatusCode::BAD_REQUEST | StatusCode::TOO_MANY_REQUESTS)
    }

    fn bound_messages(&self, headers: &mut HeaderMap, most: usize) {
        let stated = headers.get_all(&MAX_MESSAGE).iter();
        let stated = stated.filter_map(|value| value.to_str().ok()?.trim().parse::<u64>().ok()).min();
        let most = most as u64;
        let is_one = headers.get_all(&MAX_MESSAGE).iter().nth(1).is_none();
        if !(is_one && stated.is_some_and(|stated| stated <= most)) {
            headers.insert(MAX_MESSAGE, HeaderValue::from(stated.map_or(most, |stated| stated.min(most))));
        }
    }

    fn read_client(&self, message: &[u8]) -> ClientMessage {
        if !may_ask(message) {
            return ClientMessage::Other;
        }
        let mut scan = BodyScan::new(CLIENT);
        scan.push(message);
        client_message(&scan)
    }

    fn read_upstream(&self, message: &[u8]) -> UpstreamEvent {
        let mut scan = event_scan();
        scan.push(message);
        if scan.progress() != Progress::Ended {
            return UpstreamEvent::Output;
        }
        match stated_type(&scan) {
            Some("codex.rate_limits") => UpstreamEvent::Limits,
            Some("response.metadata") => UpstreamEvent::Metadata,
            Some("error") => UpstreamEvent::Error,
            Some("response.completed") => UpstreamEvent::Completed,
            Some("response.incomplete") => UpstreamEvent::Incomplete,
            Some("response.failed") => UpstreamEvent::Failed,
            _ if says(b"", &scan) == Says::Nothing => UpstreamEvent::Preamble,
            _ => UpstreamEvent::Output,
        }
    }

    fn issued_state(&self, message: &[u8]) -> Option<Secret> {
        let headers = event_headers(message);
        let value = headers.get(&TURN_STATE)?.to_str().ok()?;
        Some(Secret::new(value.to_owned()))
    }

    fn event_headers(&self, message: &[u8]) -> HeaderMap {
        event_headers(message)
    }

    fn with_shown_headers(&self, message: &[u8], view: &View<'_>) -> Option<String> {
        replace_event_headers(message, view)
    }

    fn is_connection_age(&self, error: &ErrorFields) -> bool {
        error.is_named(CONNECTION_AGE)
    }

    fn without_turn_state(&self, message: &[u8]) -> Option<Vec<u8>> {
        json_edit::remove(message, &[CLIENT_METADATA], TURN_STATE_KEY).ok().flatten()
    }

    fn error_message(&self, answer: &OwnAnswer, headers: &[(HeaderName, HeaderValue)]) -> String {
        envelope::event(answer, headers)
    }
}

/// Whether any reader could take a message for a request, by what stands first in it, white space and what a lenient reader
/// may skip left out: an object, a list or a string (as which some readers know a structure), or a comment.
fn may_ask(message: &[u8]) -> bool {
    let message = message.strip_prefix(BYTE_ORDER_MARK).unwrap_or(message);
    // All control characters, since some readers skip more than JSON allows.
    let first = message.iter().find(|byte| **byte > b' ');
    first.is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"' | b'/'))
}

/// What a client's message is, once it has been scanned to its end.
fn client_message(scan: &BodyScan<8>) -> ClientMessage {
    let [kind, generate, model, tier, previous, session, cache_key, state] =
        std::array::from_fn(|index| scan.found(index));
    match (scan.progress(), kind) {
        (Progress::Ended, Found::Text(kind)) if kind == "response.create" => {}
        (Progress::Ended, Found::Text(_) | Found::Nothing) => return ClientMessage::Other,
        _ => return ClientMessage::Unreadable,
    }
    let is_prewarm = match generate {
        Found::Nothing => false,
        Found::Scalar(literal) => match literal.as_str() {
            "false" => true,
            "true" | "null" => false,
            _ => return ClientMessage::Unreadable,
        },
        Found::Text(_) | Found::Unclear => return ClientMessage::Unreadable,
    };
    let (Ok(model), Ok(service_tier)) = (name(model), name(tier)) else {
        return ClientMessage::Unreadable;
    };
    let is_id = |id: &&str| (1..=MAX_SESSION_ID).contains(&id.len());
    let session = [session, cache_key].into_iter().filter_map(Found::text).find(is_id);
    ClientMessage::Create(Box::new(Create {
        is_prewarm,
        model,
        service_tier,
        // Whatever else it is than nothing, another connection may not know it.
        has_previous: !is_nothing(previous),
        session: session.map(str::to_owned),
        turn_state: match state {
            Found::Nothing => TurnState::Absent,
            Found::Text(state) => TurnState::Value(Secret::new(state.clone())),
            Found::Scalar(_) | Found::Unclear => TurnState::Unclear,
        },
    }))
}

fn is_nothing(found: &Found) -> bool {
    match found {
        Found::Nothing => true,
        Found::Scalar(literal) => literal == "null",
        Found::Text(_) | Found::Unclear => false,
    }
}

/// What stands where a name may stand is none.
struct NoName;

/// A name that may be missing.
fn name(found: &Found) -> Result<Option<String>, NoName> {
    match found {
        Found::Text(name) => Ok(Some(name.clone())),
        other if is_nothing(other) => Ok(None),
        _ => Err(NoName),
    }
}

#[cfg(test)]
mod tests;
