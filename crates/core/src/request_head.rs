//! A look at the raw head of an HTTP/1.1 request, for the two contradictions that a lenient reader resolves
//! silently: `Content-Length` beside `Transfer-Encoding`, and two lengths that differ.
//!
//! Spec: claude.md, *Routes*. The HTTP library reads such a head by RFC 9112 (chunked wins) and drops the length,
//! so that nothing can be smuggled through us; the specification wants it refused, and what was dropped can only be
//! seen in the bytes.

/// Reads a head as it arrives, in any pieces, and remembers only what it looks for.
#[derive(Debug, Default)]
pub struct HeadScan {
    state: State,
    /// The line so far, as much of it as can matter.
    line: Vec<u8>,
    has_transfer_encoding: bool,
    length: Option<Vec<u8>>,
    contradiction: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    RequestLine,
    Fields,
    Done,
}

/// Bytes of a header line that are kept: the longest name looked for, a colon, and any sane value.
const MAX_LINE: usize = 64;

impl HeadScan {
    /// Takes the next bytes of the connection. What follows the head is not looked at.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while self.state != State::Done && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
            bytes = rest;
            // Nearly every line: whole, and none of those looked for.
            if end.is_some() && self.state == State::Fields && self.line.is_empty() && !is_interesting(piece)
            {
                continue;
            }
            let room = MAX_LINE.saturating_sub(self.line.len());
            if self.state == State::Fields && (!self.line.is_empty() || is_interesting(piece)) {
                self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            } else if self.state == State::RequestLine && !self.line.is_empty()
                || piece.trim_ascii().is_empty()
            {
                // Blank lines before the request line are skipped, as the HTTP library does.
            } else if self.state == State::RequestLine {
                self.line.push(b'r');
            } else {
                // A line of no interest; one mark, so that its later pieces are not taken for a line of their own.
                self.line.push(b'-');
            }
            if end.is_some() {
                let blank = piece.trim_ascii().is_empty();
                self.end_of_line(blank);
            }
        }
    }

    fn end_of_line(&mut self, last_piece_blank: bool) {
        match self.state {
            State::RequestLine if !self.line.is_empty() => self.state = State::Fields,
            State::Fields if self.line.trim_ascii().is_empty() && last_piece_blank => {
                self.state = State::Done;
            }
            State::Fields => self.field(),
            State::RequestLine | State::Done => {}
        }
        self.line.clear();
    }

    fn field(&mut self) {
        let Some(colon) = self.line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = self.line.split_at(colon);
        let value = value[1..].trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.has_transfer_encoding = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            match &self.length {
                Some(length) if length != value => self.contradiction = true,
                Some(_) => {}
                None => self.length = Some(value.to_vec()),
            }
        }
    }

    /// Whether the head, as far as it has been seen, contradicts itself about the length of the body.
    pub fn is_contradictory(&self) -> bool {
        self.contradiction || (self.has_transfer_encoding && self.length.is_some())
    }

    /// Whether any byte has been seen.
    pub fn has_begun(&self) -> bool {
        self.state != State::RequestLine || !self.line.is_empty()
    }
}

/// Whether a line's beginning could be one of the two names. Few lines begin with these letters.
fn is_interesting(piece: &[u8]) -> bool {
    matches!(piece.first(), Some(b't' | b'T' | b'c' | b'C' | b'\r' | b'\n' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contradictory(head: &str) -> bool {
        let whole = {
            let mut scan = HeadScan::default();
            scan.push(head.as_bytes());
            scan.is_contradictory()
        };
        for size in [1, 2, 3, 7] {
            let mut scan = HeadScan::default();
            head.as_bytes().chunks(size).for_each(|piece| scan.push(piece));
            assert_eq!(scan.is_contradictory(), whole, "in pieces of {size}: {head:?}");
        }
        whole
    }

    #[test]
    fn contradictions_are_seen_in_any_pieces() {
        let head = |fields: &str| {
            format!("POST /v1/messages HTTP/1.1\r\nHost: x\r\n{fields}\r\nbody: Content-Length: 9\r\n\r\n")
        };
        assert!(!contradictory(&head("Content-Length: 5\r\n")));
        assert!(!contradictory(&head("Transfer-Encoding: chunked\r\n")));
        assert!(contradictory(&head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")));
        assert!(contradictory(&head("transfer-encoding: chunked\r\nCONTENT-LENGTH: 5\r\n")));
        assert!(contradictory(&head("Content-Length: 5\r\nContent-Length: 6\r\n")));
        assert!(!contradictory(&head("Content-Length: 5\r\nContent-Length:5 \r\n")));
        assert!(!contradictory(&head("X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")));
        assert!(!contradictory(
            "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n"
        ));
    }
}
