//! The head of a provider's answer, before anything is made of it: how large it may be, and that it states the length of its
//! body in one way at most.
//!
//! Spec: claude.md, *Errors of our own*; RFC 9112, 6.3. The HTTP library reads an answer with `Transfer-Encoding` and
//! `Content-Length` by its chunks and leaves the length in the head, where it would tell the client of another body than the
//! one that follows. What a length or a coding meant has been undone by then, so none of it may be forwarded.

use std::fmt;

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{StatusCode, Version};

use crate::headers::without;

/// Most header fields of an answer. Providers behind large front ends send 40 to 60; the HTTP library's own bound of 100 was
/// reached by policies and cookies in the wild.
pub const MAX_FIELDS: usize = 256;

/// Most bytes of them together, each with the four that separate it in HTTP/1.1. As much as we take from clients.
pub const MAX_SIZE: usize = 64 * 1024;

/// Why an answer cannot be used. As text, it is what the answer is or has: it follows "the answer".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It has too many header fields, or too long ones.
    TooLarge,
    /// It states lengths that differ, or that are no numbers.
    Lengths,
    /// It has a transfer coding besides one `chunked`, which nobody asked for.
    TransferCoding,
    /// A header field of it is malformed.
    Field,
    /// Its status line is malformed.
    Status,
    /// It is not HTTP/1.1: HTTP/0.9, another protocol, noise.
    NotHttp1,
    /// It breaks a rule of HTTP/2 for messages; the library does not say which.
    NotHttp2,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => {
                write!(
                    f,
                    "has more than {MAX_FIELDS} header fields or more than {} KiB of them",
                    MAX_SIZE / 1024
                )
            }
            Self::Lengths => {
                f.write_str("states lengths of its body that contradict each other or are no numbers")
            }
            Self::TransferCoding => f.write_str("has a Transfer-Encoding other than \"chunked\""),
            Self::Field => f.write_str("has a malformed header field"),
            Self::Status => f.write_str("has a malformed status line"),
            Self::NotHttp1 => f.write_str("is not HTTP/1.1"),
            Self::NotHttp2 => f.write_str(
                "is malformed as HTTP/2: a field that is not allowed, or a length that contradicts its body",
            ),
        }
    }
}

/// The headers of an answer with at most one statement of its length, which is true, in their order.
///
/// `is_head`: whether the request was a HEAD. An error says why the answer cannot be used.
pub fn settle(
    version: Version,
    status: StatusCode,
    is_head: bool,
    mut headers: HeaderMap,
) -> Result<HeaderMap, Unreadable> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > MAX_FIELDS || size > MAX_SIZE {
        return Err(Unreadable::TooLarge);
    }
    let is_bodiless = is_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let is_coded = headers.contains_key(TRANSFER_ENCODING);
    // An answer without a body says there what another request would get; it is not forwarded in any case.
    if is_coded && !is_bodiless {
        if version == Version::HTTP_2 {
            return Err(Unreadable::NotHttp2);
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !codings.next().is_some_and(is_chunked) || codings.next().is_some() {
            return Err(Unreadable::TransferCoding);
        }
    }
    // RFC 9110, 8.6: neither an interim answer nor one without content has a length.
    if is_coded || status.is_informational() || status == StatusCode::NO_CONTENT {
        return Ok(without(headers, &CONTENT_LENGTH));
    }
    let stated = stated_length(&headers).map_err(|Differ| Unreadable::Lengths)?;
    if let Some(length) = stated
        && !is_stated_once(&headers)
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(headers)
}

/// Lengths that differ, or are no numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differ;

/// The length that all `Content-Length` fields state, repeated or in a list as they may be (RFC 9110, 8.6); `None` without one.
pub fn stated_length(headers: &HeaderMap) -> Result<Option<u64>, Differ> {
    let mut stated = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for member in value.as_bytes().split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() || !member.iter().all(u8::is_ascii_digit) {
                return Err(Differ);
            }
            let length =
                std::str::from_utf8(member).ok().and_then(|member| member.parse().ok()).ok_or(Differ)?;
            if stated.is_some_and(|stated| stated != length) {
                return Err(Differ);
            }
            stated = Some(length);
        }
    }
    Ok(stated)
}

/// Whether there is one `Content-Length` field with one number.
pub fn is_stated_once(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    values.next().is_some_and(|value| value.as_bytes().iter().all(u8::is_ascii_digit))
        && values.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn settled(pairs: &[(&'static str, &str)]) -> Result<HeaderMap, Unreadable> {
        settle(Version::HTTP_11, StatusCode::OK, false, map(pairs))
    }

    #[test]
    fn a_length_that_chunks_have_undone_goes() {
        let both = [("date", "d"), ("content-length", "5"), ("transfer-encoding", "chunked"), ("x", "1")];
        let left = settled(&both).unwrap();
        let names: Vec<_> = left.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["date", "transfer-encoding", "x"]);
        for coding in ["Chunked", " chunked "] {
            assert!(settled(&[("transfer-encoding", coding)]).is_ok(), "{coding}");
        }
    }

    #[test]
    fn other_codings_are_refused() {
        for coding in ["gzip, chunked", "chunked, chunked", "gzip", "identity", "chunked;q=1", "", "xchunked"]
        {
            let refused = settled(&[("transfer-encoding", coding)]);
            assert_eq!(refused, Err(Unreadable::TransferCoding), "{coding}");
            let without_body =
                settle(Version::HTTP_11, StatusCode::OK, true, map(&[("transfer-encoding", coding)]));
            assert!(without_body.is_ok(), "{coding}");
        }
        let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(settled(&twice), Err(Unreadable::TransferCoding));
        let over_http2 =
            settle(Version::HTTP_2, StatusCode::OK, false, map(&[("transfer-encoding", "chunked")]));
        assert_eq!(over_http2, Err(Unreadable::NotHttp2));
    }

    #[test]
    fn lengths_are_stated_once() {
        for values in [&["5", "5"][..], &["5, 5"], &["5 ,5", "5"], &["05", "5"]] {
            let pairs: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            assert_eq!(settled(&pairs).unwrap(), map(&[("content-length", "5")]), "{values:?}");
        }
        for values in [
            &["5", "6"][..],
            &["5, 6"],
            &["5,"],
            &["+5"],
            &["-1"],
            &["5 5"],
            &["0x5"],
            &["99999999999999999999"],
        ] {
            let pairs: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            assert_eq!(settled(&pairs), Err(Unreadable::Lengths), "{values:?}");
            for is_head in [true, false] {
                let empty = settle(Version::HTTP_2, StatusCode::NO_CONTENT, is_head, map(&pairs));
                assert_eq!(empty.unwrap(), HeaderMap::new(), "{values:?}");
            }
        }
        let unmodified =
            settle(Version::HTTP_11, StatusCode::NOT_MODIFIED, false, map(&[("content-length", "5")]));
        assert_eq!(unmodified.unwrap(), map(&[("content-length", "5")]));
    }

    #[test]
    fn bounds_are_bounds() {
        let fields = |count: usize| {
            let mut headers = HeaderMap::new();
            (0..count).for_each(|_| {
                headers.append("x-a", HeaderValue::from_static("1"));
            });
            settle(Version::HTTP_11, StatusCode::OK, false, headers).map(|headers| headers.len())
        };
        assert_eq!((fields(MAX_FIELDS), fields(MAX_FIELDS + 1)), (Ok(MAX_FIELDS), Err(Unreadable::TooLarge)));
        let long = |length: usize| settled(&[("x-a", &"v".repeat(length))]).map(|headers| headers.len());
        let room = MAX_SIZE - 7;
        assert_eq!((long(room), long(room + 1)), (Ok(1), Err(Unreadable::TooLarge)));
    }

    proptest! {
        /// Whatever it was, what goes on states a length once, or none, and never beside a coding.
        #[test]
        fn what_goes_on_is_unambiguous(
            fields in prop::collection::vec(
                prop_oneof![
                    (Just("content-length"), "[0-9, +]{0,4}"),
                    (Just("transfer-encoding"), "(chunked|gzip|, | ){0,3}"),
                    (Just("x-a"), "[a-z]{0,3}"),
                ],
                0..6,
            ),
            status in prop::sample::select(vec![200_u16, 204, 304, 103, 400]),
            is_head: bool,
        ) {
            let pairs: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let status = StatusCode::from_u16(status).unwrap();
            if let Ok(left) = settle(Version::HTTP_11, status, is_head, map(&pairs)) {
                let has_length = left.contains_key(CONTENT_LENGTH);
                prop_assert!(!has_length || is_stated_once(&left));
                prop_assert!(!has_length || !left.contains_key(TRANSFER_ENCODING));
                let others = |headers: &HeaderMap| headers.get_all("x-a").iter().cloned().collect::<Vec<_>>();
                prop_assert_eq!(others(&left), others(&map(&pairs)));
            }
        }
    }
}
