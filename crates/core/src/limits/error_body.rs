//! The `error` object of a refusal, from a body or an event.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::failure::ErrorFields;
use crate::limits::json::{Object, Scalar};
use crate::limits::{number, timestamp};
use crate::retry_after::retry_after;

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
    /// `error.details.error_code`.
    pub details_code: Option<String>,
    /// `error.resets_at`, unread.
    pub resets_at: Option<String>,
    /// `error.resets_in_seconds`, unread.
    pub resets_in_seconds: Option<String>,
}

impl ErrorBody {
    /// Reads `{"error":{…}}`, as in a body or an event, `{"response":{"error":{…}}}`, as in `response.failed`, or
    /// `{"detail":{…}}`, as the backend writes. Nothing to be read gives an empty one.
    pub fn parse(text: &[u8]) -> Self {
        if text.len() > MAX_ERROR_BODY {
            return Self::default();
        }
        let Some(outer) = Object::parse(text) else { return Self::default() };
        let error = outer
            .object("error")
            .or_else(|| outer.object("response")?.object("error"))
            .or_else(|| outer.object("detail"));
        error.map_or_else(Self::default, |error| Self::of(&error))
    }

    /// The reset that the error itself states, if that is ahead of `now` and can be one.
    pub fn reset_ahead(&self, now: SystemTime) -> Option<SystemTime> {
        let stated = |text: &str| timestamp::reset(text, now).ok().flatten();
        let at = self.resets_at.as_deref().and_then(stated);
        at.filter(|at| *at > now).or_else(|| {
            let wait = number::parse(self.resets_in_seconds.as_deref()?)?;
            let at = now.checked_add(Duration::try_from_secs_f64(wait).ok()?)?;
            timestamp::plausible_reset(at, now).ok().filter(|at| *at > now)
        })
    }

    /// How long to wait: what `Retry-After` says, in either form, else until the reset that the error itself states.
    pub fn wait(&self, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
        let value = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = value.and_then(|value| retry_after(value, now));
        wait.or_else(|| self.reset_ahead(now)?.duration_since(now).ok())
    }

    /// The same for the list of texts.
    pub fn fields(&self) -> ErrorFields {
        ErrorFields {
            kind: self.kind.clone(),
            code: self.code.clone(),
            details_code: self.details_code.clone(),
            message: self.message.clone(),
            ..ErrorFields::default()
        }
    }

    fn of(error: &Object<'_>) -> Self {
        let string = |name| error.string(name).map(|text| cut(&text).to_owned());
        let scalar = |name| match error.scalar(name) {
            Scalar::Text { text, .. } => Some(cut(&text).to_owned()),
            _ => None,
        };
        let details = error.object("details");
        Self {
            kind: string("type"),
            code: string("code"),
            details_code: details.and_then(|details| Some(cut(&details.string("error_code")?).to_owned())),
            message: string("message"),
            resets_at: scalar("resets_at"),
            resets_in_seconds: scalar("resets_in_seconds"),
        }
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

    #[test]
    fn a_reset_is_read_in_all_its_spellings() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let body = |fields: &str| ErrorBody::parse(format!("{{\"error\":{{{fields}}}}}").as_bytes());
        let ahead = |fields: &str| {
            body(fields).reset_ahead(now).map(|at| at.duration_since(now).unwrap().as_secs_f64())
        };
        for (fields, seconds) in [
            (r#""resets_at":1795000060"#, Some(60.0)),
            (r#""resets_at":"1795000060""#, Some(60.0)),
            (r#""resets_at":"2026-11-18T11:07:40Z""#, Some(60.0)),
            (r#""resets_in_seconds":90"#, Some(90.0)),
            (r#""resets_in_seconds":"1.5""#, Some(1.5)),
            (r#""resets_at":1795000060,"resets_in_seconds":90"#, Some(60.0)),
            (r#""resets_at":1,"resets_in_seconds":90"#, Some(90.0)),
            (r#""resets_at":null,"resets_in_seconds":90"#, Some(90.0)),
            (r#""resets_in_seconds":0"#, None),
            (r#""resets_in_seconds":-5"#, None),
            (r#""resets_in_seconds":1e300"#, None),
            (r#""resets_in_seconds":9999999"#, None),
            (r#""resets_at":"soon""#, None),
        ] {
            assert_eq!(ahead(fields), seconds, "{fields}");
        }
        let event = br#"{"type":"response.failed","response":{"error":{"code":"c","resets_in_seconds":7}}}"#;
        assert_eq!(ErrorBody::parse(event).reset_ahead(now), Some(now + Duration::from_secs(7)));
        let backend = br#"{"detail":{"code":"usage_limit_reached","resets_in_seconds":7}}"#;
        assert_eq!(ErrorBody::parse(backend).reset_ahead(now), Some(now + Duration::from_secs(7)));
        // `Retry-After` comes first where the moment is what matters.
        let mut headers = HeaderMap::new();
        let error = body(r#""resets_in_seconds":90"#);
        assert_eq!(error.wait(&headers, now), Some(Duration::from_secs(90)));
        for value in ["20", "Wed, 18 Nov 2026 11:07:00 GMT"] {
            headers.insert("retry-after", value.parse().unwrap());
            assert_eq!(error.wait(&headers, now), Some(Duration::from_secs(20)), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ErrorBody::parse(&bytes);
        }
    }
}
