//! The head of a client's request: what in it is contradictory, stated twice or ambiguous about where the request goes and where
//! it ends.
//!
//! Spec: claude.md, *Routes*. Two kinds of look are needed. [`check`] sees the fields as the HTTP library gives them. But of an
//! HTTP/1.1 request with `Transfer-Encoding` and `Content-Length` the library reads the body by RFC 9112 (chunked wins) and drops
//! the length, so that nothing can be smuggled through us; the specification wants it refused, and what was dropped can only be
//! seen in the bytes, which is what [`is_contradictory`] looks at.

use http::Version;
use http::header::{HOST, HeaderMap, TRANSFER_ENCODING};

use crate::answer_head::stated_length;

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// HTTP/1.1 demands a `Host` (RFC 9112, 3.2), HTTP/2 an authority (RFC 9113, 8.3.1).
    #[error("the request has no Host: send one Host header")]
    NoHost,
    /// There is more than one, so that the next reader may take the other.
    #[error("the request has several Host headers: send one")]
    SeveralHosts,
    /// It is no host with an optional port.
    #[error("the request's Host is not a host name or address with an optional port")]
    BadHost,
    /// HTTP/2: `Host` is another one than `:authority` (RFC 9113, 8.3.1).
    #[error("the request's Host and :authority differ: send one of them")]
    OtherHost,
    /// `Content-Length` fields differ, or are no numbers.
    #[error("the request states lengths of its body that contradict each other or are no numbers")]
    Lengths,
    /// A coding of the transfer that is not undone here: what it hides would reach the provider as something else.
    #[error("the request has a Transfer-Encoding other than \"chunked\": send the body plain or chunked")]
    TransferCoding,
}

/// Checks the fields of a head. `authority` is the target's own, where it has one (HTTP/2, absolute form).
pub fn check(version: Version, authority: Option<&str>, headers: &HeaderMap) -> Result<(), BadHead> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(BadHead::SeveralHosts);
    }
    // No more than a `Host` that says nothing.
    let host = host.map(|host| host.to_str().unwrap_or(""));
    if host.is_some_and(|host| split_authority(host).is_none()) {
        return Err(BadHead::BadHost);
    }
    match (version, authority, host) {
        (Version::HTTP_2, Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(BadHead::OtherHost);
        }
        (Version::HTTP_2, None, None) | (Version::HTTP_11, _, None) => return Err(BadHead::NoHost),
        _ => {}
    }
    stated_length(headers).map_err(|_| BadHead::Lengths)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_chunked && codings.next().is_none() { Ok(()) } else { Err(BadHead::TransferCoding) }
}

/// The host (without the brackets of an IPv6 address) and the port of `host`, `host:port`, `[v6]` or `[v6]:port` (RFC 3986, 3.2);
/// `None` for anything else, user information included.
pub fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        // A registered name or an IPv4 address. Percent-escapes are allowed by the letter, and by nobody's resolver.
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_of_name) {
            return None;
        }
        (host, port)
    };
    match port {
        None => Some((host, None)),
        Some(port) if is_port(port) => Some((host, Some(port.parse().ok()?))),
        Some(_) => None,
    }
}

/// Whether the head that `bytes` begin with contradicts itself about the length of the body. What follows the head, and
/// empty lines before it, do not matter; lines may end with a line feed alone, since readers accept that.
pub fn is_contradictory(bytes: &[u8]) -> bool {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let fields = lines.skip_while(|line| line.is_empty()).skip(1).take_while(|line| !line.is_empty());
    let mut encoded = false;
    let mut length: Option<&[u8]> = None;
    let mut differ = false;
    for field in fields {
        let Some(colon) = memchr::memchr(b':', field) else { continue };
        let (name, value) = field.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            encoded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            differ |= length.is_some_and(|length| length != value);
            length = Some(value);
        }
    }
    differ || (encoded && length.is_some())
}

/// Whether `bytes` hold the whole head that they begin with.
pub fn is_whole(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // What follows the last line feed is no line yet.
    let _ = lines.next_back();
    lines.skip_while(|line| line.is_empty()).any(<[u8]>::is_empty)
}

/// Whether `bytes` begin with the line of this request. Bytes that were kept from the middle of a head do not.
pub fn begins_with(bytes: &[u8], method: &str, target: &str) -> bool {
    let rest = bytes.strip_prefix(method.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
    let rest = rest.and_then(|rest| rest.strip_prefix(target.as_bytes()));
    rest.is_some_and(|rest| rest.starts_with(b" HTTP/1."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn checked(
        version: Version,
        authority: Option<&str>,
        pairs: &[(&'static str, &str)],
    ) -> Result<(), BadHead> {
        check(version, authority, &map(pairs))
    }

    #[test]
    fn every_request_names_one_host() {
        let old = |pairs: &[(&'static str, &str)]| checked(Version::HTTP_11, None, pairs);
        let new = |authority, pairs: &[(&'static str, &str)]| checked(Version::HTTP_2, authority, pairs);
        assert_eq!(old(&[("host", "localhost:1")]), Ok(()));
        assert_eq!(old(&[]), Err(BadHead::NoHost));
        assert_eq!(checked(Version::HTTP_10, None, &[]), Ok(()), "there, it may be missing");
        assert_eq!(checked(Version::HTTP_11, Some("a"), &[]), Err(BadHead::NoHost));
        assert_eq!(
            checked(Version::HTTP_11, Some("a"), &[("host", "b")]),
            Ok(()),
            "ignored (RFC 9112, 3.2.2)"
        );
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            for hosts in [["a", "b"], ["a", "a"]] {
                let twice = hosts.map(|host| ("host", host));
                assert_eq!(checked(version, Some("a"), &twice), Err(BadHead::SeveralHosts), "{version:?}");
            }
            assert_eq!(checked(version, Some("a"), &[("host", "a b")]), Err(BadHead::BadHost));
        }
        assert_eq!(new(Some("a:1"), &[]), Ok(()));
        assert_eq!(new(None, &[("host", "a")]), Ok(()));
        assert_eq!(new(Some("a:1"), &[("host", "A:1")]), Ok(()));
        assert_eq!(new(Some("a:1"), &[("host", "a")]), Err(BadHead::OtherHost));
        assert_eq!(new(None, &[]), Err(BadHead::NoHost));
    }

    #[test]
    fn hosts_are_hosts() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("my_host.example.:80", "my_host.example.", Some(80)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "::1", None),
            ("[2001:db8::1]:08", "2001:db8::1", Some(8)),
        ] {
            assert_eq!(split_authority(text), Some((host, port)), "{text}");
        }
        for text in [
            "",
            ":",
            ":80",
            "a:",
            "a:b",
            "a:65536",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]evil",
            "[::1].evil.com",
            "[::1]:",
            "[]",
            "[a]",
            "[127.0.0.1]",
            "u@h",
            "u:p@h",
            "a b",
            "a/b",
            "a\\b",
            "a,b:c",
            "a%2eb",
            "h\u{e9}",
            "a?",
            "a#",
            "[::1]:80/x",
            "http://a",
        ] {
            assert_eq!(split_authority(text), None, "{text}");
        }
    }

    #[test]
    fn one_coding_and_one_length() {
        let with = |pairs: &[(&'static str, &str)]| {
            checked(Version::HTTP_11, None, &[&[("host", "a")], pairs].concat())
        };
        for coding in ["chunked", "Chunked"] {
            assert_eq!(with(&[("transfer-encoding", coding)]), Ok(()));
        }
        for coding in ["gzip, chunked", "gzip", "chunked, chunked", "identity", "chunked, identity", "", "x"]
        {
            assert_eq!(with(&[("transfer-encoding", coding)]), Err(BadHead::TransferCoding), "{coding}");
            let behind = [("transfer-encoding", "chunked"), ("transfer-encoding", coding)];
            assert_eq!(with(&behind), Err(BadHead::TransferCoding), "{coding}");
        }
        assert_eq!(with(&[("content-length", "5"), ("content-length", "5")]), Ok(()));
        for lengths in [["5", "6"], ["5", "+5"], ["5", ""], ["5", "5, 6"]] {
            assert_eq!(with(&lengths.map(|length| ("content-length", length))), Err(BadHead::Lengths));
        }
    }

    proptest! {
        /// What passes names one host that reads in one way: put together again it is what was sent.
        #[test]
        fn a_host_that_passes_is_one_host(text in "[a1:.\\[\\]@/ %,-]{0,12}") {
            if let Some((host, port)) = split_authority(&text) {
                prop_assert!(!host.is_empty() && !host.contains(['[', ']', '@', '/', ' ', '%']));
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                match port {
                    None => prop_assert_eq!(host, text),
                    Some(port) => {
                        let (before, given) = text.rsplit_once(':').unwrap();
                        prop_assert_eq!(host, before);
                        prop_assert_eq!(given.parse::<u16>().unwrap(), port);
                    }
                }
            }
        }

        #[test]
        fn a_head_that_passes_is_unambiguous(
            hosts in prop::collection::vec("[a-c\\[\\]:1 ]{0,4}", 0..3),
            lengths in prop::collection::vec("[0-2, +]{0,3}", 0..3),
            codings in prop::collection::vec("(chunked|gzip|, ){0,3}", 0..3),
        ) {
            let fields = |name: &'static str, values: &[String]| {
                values.iter().map(|value| (name, value.clone())).collect::<Vec<_>>()
            };
            let pairs = [
                fields("host", &hosts), fields("content-length", &lengths), fields("transfer-encoding", &codings),
            ].concat();
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let is_fine = checked(Version::HTTP_11, None, &pairs).is_ok();
            let same: std::collections::HashSet<_> =
                lengths.iter().flat_map(|value| value.split(',')).map(|one| one.trim().parse::<u64>().ok()).collect();
            let lengths_agree = same.len() <= 1 && !same.contains(&None) && !lengths.concat().contains('+');
            let expected = hosts.len() == 1
                && split_authority(&hosts[0]).is_some()
                && lengths_agree
                && (codings.is_empty() || codings == ["chunked"]);
            prop_assert_eq!(is_fine, expected);
        }
    }

    #[test]
    fn a_head_begins_with_its_line() {
        let is_of = |head: &str| begins_with(head.as_bytes(), "POST", "/v1/messages?a=b");
        assert!(is_of("POST /v1/messages?a=b HTTP/1.1\r\nHost: x\r\n\r\n"));
        for other in [
            "",
            "POST",
            "POST /v1/messages?a=b",
            "\r\nPOST /v1/messages?a=b HTTP/1.1\r\n\r\n",
            "POST  /v1/messages?a=b HTTP/1.1\r\n\r\n",
            "POST /v1/messages?a=bc HTTP/1.1\r\n\r\n",
            "POST /v1/messages?a=b\r\n\r\n",
            "GET /v1/messages?a=b HTTP/1.1\r\n\r\n",
            "ssages?a=b HTTP/1.1\r\nPOST /v1/messages?a=b HTTP/1.1\r\n\r\n",
        ] {
            assert!(!is_of(other), "{other:?}");
        }
    }

    #[test]
    fn a_head_is_whole_with_its_empty_line() {
        for head in ["GET / HTTP/1.1\r\n\r\n", "\r\nGET / HTTP/1.1\nA: b\n\nbody"] {
            assert!(is_whole(head.as_bytes()), "{head:?}");
        }
        for head in
            ["", "\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nA: b\r\n\r", "GET / HTTP/1.1"]
        {
            assert!(!is_whole(head.as_bytes()), "{head:?}");
        }
    }

    fn contradictory(fields: &str) -> bool {
        let body = "body: Content-Length: 9\r\nTransfer-Encoding: x\r\n\r\n";
        is_contradictory(format!("POST /v1/messages HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}").as_bytes())
    }

    #[test]
    fn both_ways_to_tell_a_length_contradict_each_other() {
        assert!(!contradictory(""));
        assert!(!contradictory("Content-Length: 5\r\n"));
        assert!(!contradictory("Transfer-Encoding: chunked\r\n"));
        assert!(contradictory("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"));
        assert!(contradictory("transfer-encoding: chunked\r\nX: y\r\nCONTENT-LENGTH: 5\r\n"));
        assert!(contradictory("transfer-encoding: chunked\nCONTENT-LENGTH: 5\n"));
        assert!(!contradictory("X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"));
    }

    #[test]
    fn lengths_that_differ_contradict_each_other() {
        assert!(contradictory("Content-Length: 5\r\nContent-Length: 6\r\n"));
        assert!(contradictory("Content-Length: 5\r\nContent-Length: 6\r\nContent-Length: 6\r\n"));
        assert!(!contradictory("Content-Length: 5\r\nContent-Length:5 \r\n"));
    }

    #[test]
    fn only_the_head_counts() {
        assert!(!is_contradictory(
            b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n"
        ));
        assert!(!is_contradictory(b""));
        assert!(!is_contradictory(b"\r\n\r\n"));
        assert!(is_contradictory(b"\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: x"));
    }
}
