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
        FaultKind::Authentication | FaultKind::UserInactive => "authentication_error",
        FaultKind::Permission | FaultKind::WebPage => "permission_error",
        FaultKind::Overloaded
        | FaultKind::Unavailable
        | FaultKind::UpstreamConnection
        | FaultKind::UpstreamAnswer
        | FaultKind::UpstreamTimeout => "server_error",
    };
    let body = json!({ "error": { "message": fault.message, "type": kind, "code": fault.kind.label() } });
    let body = Bytes::from(body.to_string());
    OwnAnswer { status: status(fault.kind), content_type: "application/json", body }
}

/// The client shows a 400 at once and as it is, and asks five times more at any other refusal but a limit (fact sheet, 4 and
/// 7). So what a known user may not do, or cannot have, is a 400, over HTTP and as an event on a WebSocket.
fn status(kind: FaultKind) -> StatusCode {
    match kind {
        FaultKind::Permission | FaultKind::UserInactive | FaultKind::ModelNotServed => {
            StatusCode::BAD_REQUEST
        }
        _ => kind.status(),
    }
}

/// The same answer as an event on a WebSocket.
///
/// The status stands in `status_code` alone: the real client reads `status` and `status_code` as one member, finds it twice
/// in an event that has both, ignores that event and waits in vain (fact sheet, 3); other instances read `status_code` alone.
/// Among the headers are nothing but strings. Spec: codex.md, *WebSocket*.
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
    json!({ "type": "error", "status_code": status, "error": error, "headers": headers }).to_string()
}

/// The answer to a client that looks whether something is there.
pub(super) fn hello() -> OwnAnswer {
    OwnAnswer {
        status: StatusCode::OK,
        content_type: "application/json",
        body: Bytes::from_static(b"{\"service\":\"trunkline\",\"type\":\"codex\"}"),
    }
}
