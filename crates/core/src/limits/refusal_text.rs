//! The texts by which a 429 is told from another: one list, with where each was seen.
//!
//! A text is compared with the start of `error.message`, together with the status and `error.type`, and never looked
//! for elsewhere in a body, where a client could have placed it (routing.md, *Failures*).

use crate::limits::error_body::ErrorBody;

/// One text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalText {
    /// The status of the answer, or that it stands for.
    pub status: u16,
    /// Its `error.type`.
    pub kind: &'static str,
    /// What `error.message` starts with.
    pub starts_with: &'static str,
    /// Where it was seen.
    pub source: &'static str,
}

/// Refusals of a request for something that its account is not entitled to: extra usage, a long context, credits.
/// They say nothing of the account's windows.
pub const ENTITLEMENT: [RefusalText; 3] = [
    RefusalText {
        status: 429,
        kind: "rate_limit_error",
        starts_with: "Extra usage is required for long context",
        source: "recorded (fact sheet claude-code.md, 2.1); anthropics/claude-code#50784",
    },
    RefusalText {
        status: 429,
        kind: "rate_limit_error",
        starts_with: "Usage credits are required for long context",
        source: "anthropics/claude-code#64982",
    },
    RefusalText {
        status: 429,
        kind: "rate_limit_error",
        starts_with: "You're out of extra usage",
        source: "griffinmartin/opencode-claude-auth#209",
    },
];

/// Whether an answer is one of [`ENTITLEMENT`].
pub fn is_entitlement(status: u16, error: &ErrorBody) -> bool {
    let (Some(kind), Some(message)) = (&error.kind, &error.message) else { return false };
    ENTITLEMENT
        .iter()
        .any(|text| text.status == status && text.kind == kind && message.starts_with(text.starts_with))
}
