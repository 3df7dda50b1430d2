//! A look at the raw head of an HTTP/1.1 request, for the contradictions that a lenient reader resolves silently:
//! `Content-Length` beside `Transfer-Encoding`, and lengths that differ.
//!
//! Spec: claude.md, *Routes*. The HTTP library reads such a head by RFC 9112 (chunked wins) and drops the length, so that
//! nothing can be smuggled through us; the specification wants it refused, and what was dropped can only be seen in the
//! bytes.

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
