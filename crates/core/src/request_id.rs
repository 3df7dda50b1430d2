//! Request ids: the client's own if it is fit to be written into logs and headers, else one of ours.
//!
//! Spec: operations.md, *Observability*.

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
pub fn from_random(bits: u64) -> String {
    let mut id = String::with_capacity(20);
    id.push_str("req_");
    for shift in (0..64).step_by(4).rev() {
        id.push(char::from(b"0123456789abcdef"[(bits >> shift & 15) as usize]));
    }
    id
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
        assert_eq!(from_random(255), "req_00000000000000ff");
    }
}
