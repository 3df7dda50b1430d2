//! Our own answers in OpenAI's shape.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use crate::fault::{Fault, FaultKind};
use crate::provider::OwnAnswer;

/// `{"error":{"message":…,"type":…,"code":…}}` (codex.md, *Failures*). The type is never one at which the client does
/// something else than to say the message: `usage_limit_reached`, `server_is_overloaded` and their like are told by other
/// answers (fact sheet, 4).
pub(super) fn error(fault: &Fault) -> OwnAnswer {
    let kind = match fault.kind {
        FaultKind::InvalidRequest
        | FaultKind::Framing
        | FaultKind::NotFound
        | FaultKind::ModelDenied
        | FaultKind::ModelNotServed
        | FaultKind::UpgradeRequired
        | FaultKind::RequestTimeout
        | FaultKind::BodyTooLarge
        | FaultKind::HeadTooLarge => "invalid_request_error",
        FaultKind::Authentication => "authentication_error",
        FaultKind::Permission => "permission_error",
        FaultKind::Overloaded
        | FaultKind::Unavailable
        | FaultKind::UpstreamConnection
        | FaultKind::UpstreamAnswer
        | FaultKind::UpstreamTimeout => "server_error",
    };
    let body = json!({ "error": { "message": fault.message, "type": kind, "code": fault.kind.label() } });
    let status = match fault.kind {
        // The one status whose message the client shows as it is, without asking again (fact sheet, 7).
        FaultKind::ModelNotServed => StatusCode::BAD_REQUEST,
        kind => kind.status(),
    };
    OwnAnswer { status, content_type: "application/json", body: Bytes::from(body.to_string()) }
}

/// The same answer as an event on a WebSocket: the status in both spellings, since older instances read only one, and
/// nothing but strings among the headers (codex.md, *WebSocket*).
pub(super) fn event(answer: &OwnAnswer, headers: &[(HeaderName, HeaderValue)]) -> String {
    let status = answer.status.as_u16();
    let error = serde_json::from_slice::<Value>(&answer.body)
        .ok()
        .and_then(|mut body| body.get_mut("error").map(Value::take))
        .unwrap_or_else(
            || json!({ "message": "the request was refused", "type": "server_error", "code": null }),
        );
    let headers: Map<String, Value> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), Value::from(value.to_str().ok()?))))
        .collect();
    json!({ "type": "error", "status": status, "status_code": status, "error": error, "headers": headers })
        .to_string()
}

/// The answer to a client that looks whether something is there.
pub(super) fn hello() -> OwnAnswer {
    OwnAnswer {
        status: StatusCode::OK,
        content_type: "application/json",
        body: Bytes::from_static(b"{\"service\":\"trunkline\",\"type\":\"codex\"}"),
    }
}
