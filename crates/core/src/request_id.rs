//! Request ids: the client's own if it is fit to be written into logs and headers, else one of ours.
//!
//! Spec: operations.md, *Observability*.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

/// The header in which a client may name its request.
pub const CLIENT_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The header in which the id comes back.
pub const RESPONSE_HEADER: &str = "x-trunkline-request-id";

/// Longest client id that is taken over, in bytes.
pub const MAX_LEN: usize = 128;

/// The client's id if it sent exactly one that is sane: 1 to [`MAX_LEN`] letters, digits, `-`, `_`, `.` or `:`.
pub fn from_client(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(CLIENT_HEADER).iter();
    let id = values.next()?.to_str().ok()?;
    let sane = (1..=MAX_LEN).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'));
    (sane && values.next().is_none()).then_some(id)
}

/// An id of our own from 64 random bits.
pub fn from_random(bits: u64) -> Arc<str> {
    let mut id = *b"req_0000000000000000";
    for (digit, shift) in id.iter_mut().rev().zip((0..64).step_by(4)) {
        *digit = b"0123456789abcdef"[(bits >> shift & 15) as usize];
    }
    String::from_utf8_lossy(&id).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_sane_ids_are_taken_over() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CLIENT_HEADER, HeaderValue::from_static(value));
            }
            from_client(&headers).map(str::to_owned)
        };
        assert_eq!(with(&["abc-1.2:3_4"]).as_deref(), Some("abc-1.2:3_4"));
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[""]), None);
        assert_eq!(with(&["a b"]), None);
        assert_eq!(with(&["a\"b"]), None);
        assert_eq!(with(&["a", "b"]), None);
        let long: &'static str = Box::leak("x".repeat(MAX_LEN + 1).into_boxed_str());
        assert_eq!(with(&[long]), None);
        assert_eq!(&*from_random(255), "req_00000000000000ff");
        assert_eq!(&*from_random(0x0123_4567_89ab_cdef), "req_0123456789abcdef");
    }
}
