//! Request targets: what path a request means, and refusing every spelling that could mean two.
//!
//! Spec: claude.md, *Routes*: match on the decoded, normalised path and refuse what does not normalise to itself;
//! forward the target as received. operations.md, *Security*: `..`, `%2e`, double slashes and other tricks cannot
//! leave `/v1/`.

use std::borrow::Cow;

/// Why a path was refused: it has more than one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// It is empty or does not start with `/` (as in `OPTIONS *` or `CONNECT host:1`).
    #[error("the request target must be a path that starts with \"/\"")]
    NotAbsolute,
    /// It has `//`, or a segment `.` or `..`, in the open or percent-encoded.
    #[error("the request path is not in normal form: empty, \".\" and \"..\" segments are refused")]
    NotNormal,
    /// A `%` that is no escape, or that hides a character which needs no escape or separates segments.
    #[error(
        "the request path has a percent-escape that is invalid or hides a plain character or a separator"
    )]
    BadEscape,
    /// A backslash, which some servers read as `/`.
    #[error("the request path has a backslash")]
    Backslash,
}

/// The decoded form of a path which has exactly one reading, else why it has not.
///
/// A path with an escape that is really needed (`%20`) is decoded into a new string; every other good path is
/// returned as it is, without a copy.
pub fn normal_path(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let Some(rest) = path.strip_prefix('/') else { return Err(BadPath::NotAbsolute) };
    if path.contains('\\') {
        return Err(BadPath::Backslash);
    }
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..") || (segment.is_empty() && !is_last) {
            return Err(BadPath::NotNormal);
        }
    }
    if path.contains('%') { decode(path).map(Cow::Owned) } else { Ok(Cow::Borrowed(path)) }
}

/// Decodes escapes, refusing those that normalising would have to undo.
fn decode(path: &str) -> Result<String, BadPath> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(BadPath::BadEscape) };
        let value = u8::try_from(high << 4 | low).map_err(|_| BadPath::BadEscape)?;
        // Unreserved characters (RFC 3986, 2.3) need no escape; separators and controls must not come in hidden.
        if value.is_ascii_alphanumeric()
            || matches!(value, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\' | b'%')
            || value.is_ascii_control()
        {
            return Err(BadPath::BadEscape);
        }
        decoded.push(value);
    }
    String::from_utf8(decoded).map_err(|_| BadPath::BadEscape)
}

/// What is left of `path` when the service's own prefix (`/claude`, or empty) is removed; `None` if it is not under
/// that prefix. The prefix alone is `/`.
pub fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    if prefix.is_empty() {
        return Some(path);
    }
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_themselves() {
        for path in
            ["/", "/v1/messages", "/v1/models/claude-opus-4-8", "/v1/", "/a.b/..c/...", "/v1/models/a:b@c"]
        {
            assert_eq!(normal_path(path), Ok(Cow::Borrowed(path)));
        }
    }

    #[test]
    fn needed_escapes_are_decoded() {
        assert_eq!(normal_path("/v1/models/a%20b%C3%a9").as_deref(), Ok("/v1/models/a bé"));
    }

    #[test]
    fn tricks_are_refused() {
        for (path, why) in [
            ("", BadPath::NotAbsolute),
            ("*", BadPath::NotAbsolute),
            ("v1/messages", BadPath::NotAbsolute),
            ("//v1/messages", BadPath::NotNormal),
            ("/v1//messages", BadPath::NotNormal),
            ("/v1/../x", BadPath::NotNormal),
            ("/v1/..", BadPath::NotNormal),
            ("/v1/.", BadPath::NotNormal),
            ("/v1/./messages", BadPath::NotNormal),
            ("/v1/%2e%2e/x", BadPath::BadEscape),
            ("/v1%2fmessages", BadPath::BadEscape),
            ("/v1%2Fmessages", BadPath::BadEscape),
            ("/v1/%5c..", BadPath::BadEscape),
            ("/v1/\\..\\x", BadPath::Backslash),
            ("/v1/messages%00", BadPath::BadEscape),
            ("/v1/%", BadPath::BadEscape),
            ("/v1/%2", BadPath::BadEscape),
            ("/v1/%zz", BadPath::BadEscape),
            ("/v1/%252e", BadPath::BadEscape),
            ("/v1/%6dessages", BadPath::BadEscape),
            ("/v1/%ff", BadPath::BadEscape),
        ] {
            assert_eq!(normal_path(path), Err(why), "{path}");
        }
    }

    #[test]
    fn prefixes_end_at_a_segment() {
        assert_eq!(strip_prefix("/claude/v1/messages", "/claude"), Some("/v1/messages"));
        assert_eq!(strip_prefix("/claude", "/claude"), Some("/"));
        assert_eq!(strip_prefix("/claudette/v1", "/claude"), None);
        assert_eq!(strip_prefix("/v1", ""), Some("/v1"));
    }
}
