//! Where an HTTP/1.1 message ends, told from bytes as they arrive.

use anyhow::{Context as _, bail, ensure};

/// The most that a head may take; the real ones have 2 KB.
const MAX_HEAD: usize = 64 * 1024;

/// One message being received.
///
/// It understands what the programs under test send to each other, no more: no folded headers, no pipelining.
#[derive(Debug)]
pub(crate) struct Message {
    kind: Kind,
    stage: Stage,
    /// The part of the head that came before its end did.
    head: Vec<u8>,
    status: u16,
    close: bool,
}

/// Which side sent the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request, which has no body unless it says so.
    Request,
    /// A response, which lasts until the connection ends unless it says otherwise.
    Response,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Sized(u64),
    UntilClose,
    /// In the line before a chunk, or in the end of the line after the one before.
    ChunkSize {
        size: u64,
        digits: bool,
        extension: bool,
    },
    Chunk(u64),
    Trailer {
        empty: bool,
    },
    Done,
}

const NEXT_CHUNK: Stage = Stage::ChunkSize { size: 0, digits: false, extension: false };

// === impl Message ===

impl Message {
    /// A message of which nothing has arrived.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, stage: Stage::Head, head: Vec::new(), status: 0, close: false }
    }

    /// Forgets the message and awaits the next one.
    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Head;
        self.head.clear();
        self.status = 0;
        self.close = false;
    }

    /// Whether nothing of the message has arrived.
    pub(crate) fn is_untouched(&self) -> bool {
        self.stage == Stage::Head && self.head.is_empty()
    }

    /// Whether all of the message has arrived.
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The status of a response whose head has arrived.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the connection cannot be used again.
    pub(crate) fn closes(&self) -> bool {
        self.close
    }

    /// Takes the bytes that arrived next and hands the parts of the body on.
    pub(crate) fn feed(&mut self, mut input: &[u8], mut body: impl FnMut(u16, &[u8])) -> anyhow::Result<()> {
        while !input.is_empty() {
            input = match self.stage {
                Stage::Head => self.feed_head(input)?,
                Stage::Sized(left) => {
                    let (part, rest) = split(input, left);
                    body(self.status, part);
                    let left = left - crate::number::count(part.len());
                    self.stage = if left == 0 { Stage::Done } else { Stage::Sized(left) };
                    rest
                }
                Stage::UntilClose => {
                    body(self.status, input);
                    &[]
                }
                Stage::ChunkSize { size, digits, extension } => {
                    self.stage = after_size_byte(input[0], size, digits, extension)?;
                    &input[1..]
                }
                Stage::Chunk(left) => {
                    let (part, rest) = split(input, left);
                    body(self.status, part);
                    let left = left - crate::number::count(part.len());
                    self.stage = if left == 0 { NEXT_CHUNK } else { Stage::Chunk(left) };
                    rest
                }
                Stage::Trailer { empty } => {
                    self.stage = match input[0] {
                        b'\n' if empty => Stage::Done,
                        b'\n' => Stage::Trailer { empty: true },
                        b'\r' => Stage::Trailer { empty },
                        _ => Stage::Trailer { empty: false },
                    };
                    &input[1..]
                }
                Stage::Done => bail!("{} bytes after the end of a message", input.len()),
            };
        }
        Ok(())
    }

    /// Takes the end of the connection.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        ensure!(self.stage == Stage::UntilClose, "connection closed in the middle of a message");
        self.stage = Stage::Done;
        self.close = true;
        Ok(())
    }

    fn feed_head<'a>(&mut self, input: &'a [u8]) -> anyhow::Result<&'a [u8]> {
        if self.head.is_empty()
            && let Some(end) = end_of_head(input)
        {
            let (head, rest) = input.split_at(end);
            self.parse(head)?;
            return Ok(rest);
        }
        let known = self.head.len();
        self.head.extend_from_slice(input);
        ensure!(self.head.len() <= MAX_HEAD, "head longer than {MAX_HEAD} bytes");
        let Some(end) = end_of_head(&self.head) else { return Ok(&[]) };
        let mut head = std::mem::take(&mut self.head);
        self.parse(&head[..end])?;
        head.clear();
        self.head = head;
        Ok(&input[end - known..])
    }

    fn parse(&mut self, head: &[u8]) -> anyhow::Result<()> {
        let mut start = 0;
        let (mut length, mut chunked) = (None, false);
        for end in memchr::memchr_iter(b'\n', head) {
            let line = head[start..end].trim_ascii_end();
            if start == 0 {
                self.parse_first(line)?;
            } else if let Some(value) = header(line, b"content-length:") {
                length = Some(std::str::from_utf8(value)?.parse().context("bad content-length")?);
            } else if let Some(value) = header(line, b"transfer-encoding:") {
                chunked = value.eq_ignore_ascii_case(b"chunked");
            } else if let Some(value) = header(line, b"connection:") {
                self.close = value.eq_ignore_ascii_case(b"close");
            }
            start = end + 1;
        }
        self.stage = match length {
            _ if chunked => NEXT_CHUNK,
            Some(0) => Stage::Done,
            Some(length) => Stage::Sized(length),
            None if self.kind == Kind::Request => Stage::Done,
            None => Stage::UntilClose,
        };
        Ok(())
    }

    fn parse_first(&mut self, line: &[u8]) -> anyhow::Result<()> {
        if self.kind == Kind::Response {
            let status = line.get(9..12).context("status line too short")?;
            self.status = std::str::from_utf8(status)?.parse().context("bad status")?;
        }
        Ok(())
    }
}

fn after_size_byte(byte: u8, size: u64, digits: bool, extension: bool) -> anyhow::Result<Stage> {
    Ok(match byte {
        b'\n' if !digits => NEXT_CHUNK,
        b'\n' if size == 0 => Stage::Trailer { empty: true },
        b'\n' => Stage::Chunk(size),
        b'\r' => Stage::ChunkSize { size, digits, extension },
        _ if extension || byte == b';' => Stage::ChunkSize { size, digits, extension: true },
        _ => {
            let digit = char::from(byte).to_digit(16).context("bad chunk size")?;
            let size = size.checked_mul(16).context("chunk too large")? | u64::from(digit);
            Stage::ChunkSize { size, digits: true, extension }
        }
    })
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn split(input: &[u8], limit: u64) -> (&[u8], &[u8]) {
    input.split_at(input.len().min(crate::number::length(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(kind: Kind, bytes: &[u8], size: usize) -> (Message, Vec<u8>) {
        let mut message = Message::new(kind);
        let mut body = Vec::new();
        for piece in bytes.chunks(size) {
            message.feed(piece, |_, part| body.extend_from_slice(part)).unwrap();
        }
        (message, body)
    }

    #[test]
    fn finds_the_end_whatever_the_pieces() {
        let sized: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let chunked: &[u8] =
            b"HTTP/1.1 429 Slow\r\ntransfer-encoding: chunked\r\n\r\n2;x=0\r\nhe\r\n003\r\nllo\r\n0\r\nt: v\r\n\r\n";
        for size in 1..=chunked.len() {
            let (message, body) = in_pieces(Kind::Response, sized, size);
            assert!(message.is_done() && message.closes());
            assert_eq!((message.status(), body.as_slice()), (200, &b"hello"[..]));
            let (message, body) = in_pieces(Kind::Response, chunked, size);
            assert!(message.is_done() && !message.closes());
            assert_eq!((message.status(), body.as_slice()), (429, &b"hello"[..]));
        }
    }

    #[test]
    fn knows_messages_without_a_length() {
        let (request, _) = in_pieces(Kind::Request, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 100);
        assert!(request.is_done());
        let (mut response, body) = in_pieces(Kind::Response, b"HTTP/1.1 200 OK\r\n\r\nrest", 100);
        assert!(!response.is_done());
        response.end().unwrap();
        assert!(response.is_done());
        assert_eq!(body, b"rest");
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        let mut message = Message::new(Kind::Request);
        message.feed(b"GET / HTTP/1.1\r\n\r\n", |_, _| ()).unwrap();
        assert!(message.feed(b"GET", |_, _| ()).is_err());
        assert!(Message::new(Kind::Response).end().is_err());
        let mut bad = Message::new(Kind::Response);
        assert!(bad.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz", |_, _| ()).is_err());
    }
}
