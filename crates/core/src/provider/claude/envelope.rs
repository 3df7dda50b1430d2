//! Our own answers in Anthropic's shape.

use bytes::Bytes;
use http::StatusCode;

use crate::fault::{Fault, FaultKind};
use crate::provider::OwnAnswer;

/// `{"type":"error","error":{"type":…,"message":…},"request_id":…}` (claude.md, *Errors of our own*).
pub(super) fn error(fault: &Fault, request_id: &str) -> OwnAnswer {
    let kind = match fault.kind {
        FaultKind::InvalidRequest | FaultKind::Framing | FaultKind::RequestTimeout => "invalid_request_error",
        FaultKind::Authentication | FaultKind::UserInactive => "authentication_error",
        FaultKind::Permission | FaultKind::WebPage => "permission_error",
        FaultKind::NotFound | FaultKind::ModelNotServed | FaultKind::UpgradeRequired => "not_found_error",
        // The one type of a 400 that the client neither asks again in other forms nor puts into words of its own
        // (gateway contract, 2).
        FaultKind::ModelDenied => "policy_blocked",
        FaultKind::BodyTooLarge | FaultKind::HeadTooLarge => "request_too_large",
        FaultKind::Overloaded => "overloaded_error",
        FaultKind::Unavailable
        | FaultKind::UpstreamConnection
        | FaultKind::UpstreamAnswer
        | FaultKind::UpstreamTimeout => "api_error",
    };
    of(fault.kind.status(), kind, &fault.message, request_id)
}

/// The shape itself.
pub(super) fn of(status: StatusCode, kind: &str, message: &str, request_id: &str) -> OwnAnswer {
    let body = serde_json::json!({
        "type": "error",
        "error": { "type": kind, "message": message },
        "request_id": request_id,
    });
    OwnAnswer { status, content_type: "application/json", body: Bytes::from(body.to_string()) }
}

/// The answer to a client that looks whether something is there; its status is ignored by the client (fact sheet, 1.1).
pub(super) fn hello() -> OwnAnswer {
    OwnAnswer {
        status: StatusCode::OK,
        content_type: "application/json",
        body: Bytes::from_static(b"{\"service\":\"trunkline\",\"type\":\"claude\"}"),
    }
}
