//! The `error` object of a refusal, from a body or an event.

use crate::limits::json::{Object, Scalar};

/// Longest part of a message that is kept, in bytes: texts are compared with its start only.
pub const MAX_MESSAGE: usize = 256;

/// Largest body that is read for its error, in bytes. Errors are short; what is longer is none.
pub const MAX_ERROR_BODY: usize = 64 * 1024;

/// What a provider says of a failure. Every field is as it came, or `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorBody {
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`.
    pub code: Option<String>,
    /// The start of `error.message`.
    pub message: Option<String>,
    /// `error.resets_at`, unread.
    pub resets_at: Option<String>,
}

impl ErrorBody {
    /// Reads `{"error":{…}}`, as in a body or an event, or `{"response":{"error":{…}}}`, as in `response.failed`.
    /// Nothing to be read gives an empty one.
    pub fn parse(text: &[u8]) -> Self {
        if text.len() > MAX_ERROR_BODY {
            return Self::default();
        }
        let Some(outer) = Object::parse(text) else { return Self::default() };
        let error = outer.object("error").or_else(|| outer.object("response")?.object("error"));
        error.map_or_else(Self::default, |error| Self::of(&error))
    }

    /// What the fields say that an event was read for; its reset is not among them.
    pub fn of_fields(fields: &crate::failure::ErrorFields) -> Self {
        let start = |field: &Option<String>| field.as_deref().map(|text| cut(text).to_owned());
        Self {
            kind: start(&fields.kind),
            code: start(&fields.code),
            message: start(&fields.message),
            resets_at: None,
        }
    }

    fn of(error: &Object<'_>) -> Self {
        let string = |name| error.string(name).map(|text| cut(&text).to_owned());
        let resets_at = match error.scalar("resets_at") {
            Scalar::Text { text, .. } => Some(cut(&text).to_owned()),
            _ => None,
        };
        Self { kind: string("type"), code: string("code"), message: string("message"), resets_at }
    }
}

/// At most [`MAX_MESSAGE`] bytes from the start, whole characters.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_MESSAGE)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_of_bodies_and_events() {
        let body = br#"{"type":"error","error":{"type":"rate_limit_error","message":"m","resets_at":17}}"#;
        let error = ErrorBody::parse(body);
        assert_eq!(error.kind.as_deref(), Some("rate_limit_error"));
        assert_eq!((error.message.as_deref(), error.resets_at.as_deref()), (Some("m"), Some("17")));
        let failed =
            br#"{"type":"response.failed","response":{"id":"r","error":{"code":"insufficient_quota"}}}"#;
        assert_eq!(ErrorBody::parse(failed).code.as_deref(), Some("insufficient_quota"));
        for nothing in
            [&b""[..], b"<html>", b"{}", b"{\"error\":1}", b"{\"error\":{\"type\":1,\"code\":null}}"]
        {
            assert_eq!(ErrorBody::parse(nothing), ErrorBody::default());
        }
        let long = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "ä".repeat(MAX_MESSAGE));
        assert_eq!(ErrorBody::parse(long.as_bytes()).message.map(|message| message.len()), Some(MAX_MESSAGE));
        let longer = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "a".repeat(MAX_ERROR_BODY));
        assert_eq!(ErrorBody::parse(longer.as_bytes()), ErrorBody::default());
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ErrorBody::parse(&bytes);
        }
    }
}
