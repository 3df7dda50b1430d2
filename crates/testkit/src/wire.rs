//! HTTP/1.1 read from the wire without losing where its frames were: for both ends of this crate.
//!
//! Deliberately small and strict: it is a reader for tests, not for the internet.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::headers::{Headers, text};

/// A head, a chunk-size line or a trailer section longer than this is an error.
const HEAD_LIMIT: usize = 1 << 20;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What a body consists of.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes that have arrived. `ends_frame`: they are the last of their chunk, or there are no chunks.
    Data {
        bytes: Bytes,
        ends_frame: bool,
    },
    Trailers(Headers),
    /// The body is complete; returned again on every further call.
    End,
}

enum Body {
    Done,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
}

/// Reads heads and bodies. Every method can be cancelled without losing a byte.
pub(crate) struct WireReader<R> {
    io: R,
    buf: BytesMut,
    /// How much of the buffer was searched in vain, so that a head in small pieces is not searched over and over.
    searched: usize,
    body: Body,
}

impl<R: AsyncRead + Unpin> WireReader<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, buf: BytesMut::with_capacity(16 * 1024), searched: 0, body: Body::Done }
    }

    /// Reads more into the buffer; false at the end of the stream.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.io.read_buf(&mut self.buf).await? != 0)
    }

    /// What was read and not used yet.
    pub(crate) fn take_buffered(&mut self) -> Bytes {
        self.searched = 0;
        self.buf.split().freeze()
    }

    pub(crate) fn buffered(&self) -> usize {
        self.buf.len()
    }

    /// Everything up to and including the empty line. `None`: the stream ended where a head would start.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            while self.buf.starts_with(b"\r\n") {
                self.advance(2);
            }
            if let Some(at) = self.find(b"\r\n\r\n") {
                return Ok(Some(self.buf.split_to(at + 4).freeze()));
            }
            if self.buf.len() > HEAD_LIMIT {
                return Err(malformed("the head is too long"));
            }
            if !self.fill().await? {
                return if self.buf.is_empty() { Ok(None) } else { Err(cut("in a head")) };
            }
        }
    }

    /// Starts a body behind the head that was read last.
    pub(crate) fn begin(&mut self, framing: Framing) {
        self.body = match framing {
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::ChunkSize,
            Framing::UntilClose => Body::UntilClose,
        };
    }

    /// The next piece of the body, as soon as it has arrived. A connection that ends too early is an error of
    /// kind `UnexpectedEof`.
    pub(crate) async fn piece(&mut self) -> io::Result<Piece> {
        loop {
            match self.body {
                Body::Done => return Ok(Piece::End),
                Body::Length(0) => self.body = Body::Done,
                Body::Length(left) => {
                    self.need(1, "in a body").await?;
                    let bytes = self.take(left);
                    self.body = Body::Length(left - bytes.len() as u64);
                    return Ok(Piece::Data { bytes, ends_frame: true });
                }
                Body::ChunkSize => {
                    let line = self.line().await?;
                    let digits =
                        line.as_ref().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
                    let size = std::str::from_utf8(digits)
                        .ok()
                        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                        .ok_or_else(|| malformed("a chunk size is not hexadecimal"))?;
                    self.body = if size == 0 { Body::Trailers } else { Body::ChunkData(size) };
                }
                Body::ChunkData(left) => {
                    self.need(1, "in a chunk").await?;
                    let bytes = self.take(left);
                    let left = left - bytes.len() as u64;
                    self.body = if left == 0 { Body::ChunkEnd } else { Body::ChunkData(left) };
                    return Ok(Piece::Data { bytes, ends_frame: left == 0 });
                }
                Body::ChunkEnd => {
                    self.need(2, "behind a chunk").await?;
                    if !self.buf.starts_with(b"\r\n") {
                        return Err(malformed("a chunk is longer than it said"));
                    }
                    self.advance(2);
                    self.body = Body::ChunkSize;
                }
                Body::Trailers => {
                    // The section is one empty line, or lines and an empty line.
                    let section = loop {
                        if self.buf.starts_with(b"\r\n") {
                            break self.buf.split_to(2);
                        }
                        if let Some(at) = self.find(b"\r\n\r\n") {
                            break self.buf.split_to(at + 4);
                        }
                        if self.buf.len() > HEAD_LIMIT {
                            return Err(malformed("the trailers are too long"));
                        }
                        if !self.fill().await? {
                            return Err(cut("before the end of the last chunk"));
                        }
                    };
                    self.body = Body::Done;
                    let trailers = header_lines(&section)?;
                    if !trailers.is_empty() {
                        return Ok(Piece::Trailers(trailers));
                    }
                }
                Body::UntilClose => {
                    if self.buf.is_empty() && !self.fill().await? {
                        self.body = Body::Done;
                    } else {
                        return Ok(Piece::Data { bytes: self.take_buffered(), ends_frame: true });
                    }
                }
            }
        }
    }

    async fn need(&mut self, count: usize, place: &str) -> io::Result<()> {
        while self.buf.len() < count {
            if !self.fill().await? {
                return Err(cut(place));
            }
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(at) = self.find(b"\r\n") {
                let line = self.buf.split_to(at).freeze();
                self.advance(2);
                return Ok(line);
            }
            if self.buf.len() > HEAD_LIMIT {
                return Err(malformed("a line is too long"));
            }
            if !self.fill().await? {
                return Err(cut("before the last chunk"));
            }
        }
    }

    fn advance(&mut self, count: usize) {
        self.searched = 0;
        self.buf.advance(count);
    }

    /// Where the buffer has `needle`. What was searched before is not searched again.
    fn find(&mut self, needle: &[u8]) -> Option<usize> {
        let from = self.searched.saturating_sub(needle.len().saturating_sub(1));
        let found = self.buf.get(from..).and_then(|rest| find(rest, needle)).map(|at| from + at);
        self.searched = if found.is_some() { 0 } else { self.buf.len() };
        found
    }

    fn take(&mut self, at_most: u64) -> Bytes {
        let count = usize::try_from(at_most).unwrap_or(usize::MAX).min(self.buf.len());
        self.searched = 0;
        self.buf.split_to(count).freeze()
    }
}

/// Splits a head into its first line and its headers.
pub(crate) fn parse_head(head: &[u8]) -> io::Result<(String, Headers)> {
    let at = find(head, b"\r\n").ok_or_else(|| malformed("a head without a line"))?;
    let (first, rest) = head.split_at(at);
    Ok((text(first), header_lines(rest.get(2..).unwrap_or_default())?))
}

fn header_lines(section: &[u8]) -> io::Result<Headers> {
    let mut headers = Headers::new();
    for line in section.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let colon = line
            .iter()
            .position(|&byte| byte == b':')
            .ok_or_else(|| malformed("a header without a colon"))?;
        let (name, value) = line.split_at(colon);
        headers.push(text(name), text(value.get(1..).unwrap_or_default().trim_ascii()));
    }
    Ok(headers)
}

/// The framing that headers declare, if any.
pub(crate) fn declared_framing(headers: &Headers) -> io::Result<Option<Framing>> {
    if headers.lists("transfer-encoding", "chunked") {
        return Ok(Some(Framing::Chunked));
    }
    headers
        .get("content-length")
        .map(|value| {
            value.parse().map(Framing::Length).map_err(|_| malformed("content-length is not a number"))
        })
        .transpose()
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn cut(place: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the connection ended {place}"))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pieces(wire: &'static [u8], framing: Framing) -> (Vec<Bytes>, Option<Headers>, io::Result<()>) {
        let mut reader = WireReader::new(wire);
        reader.begin(framing);
        let (mut data, mut trailers) = (Vec::new(), None);
        loop {
            match reader.piece().await {
                Ok(Piece::Data { bytes, .. }) => data.push(bytes),
                Ok(Piece::Trailers(lines)) => trailers = Some(lines),
                Ok(Piece::End) => return (data, trailers, Ok(())),
                Err(error) => return (data, trailers, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn chunks_and_trailers() {
        let (data, trailers, end) =
            pieces(b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\nnext", Framing::Chunked).await;
        assert_eq!(data, ["abc", "de"]);
        assert_eq!(trailers.unwrap().get("x-sum"), Some("5"));
        end.unwrap();
    }

    #[tokio::test]
    async fn a_missing_last_chunk_is_a_cut() {
        for wire in [&b"3\r\nabc\r\n"[..], b"3\r\nab", b"3\r\nabc\r\n0\r\n"] {
            let (_, _, end) = pieces(wire, Framing::Chunked).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        let (data, _, end) = pieces(b"abc", Framing::Length(4)).await;
        assert_eq!(data, ["abc"]);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        pieces(b"abc", Framing::UntilClose).await.2.unwrap();
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        for wire in [&b"x\r\n"[..], b"1\r\nabc\r\n"] {
            let (_, _, end) = pieces(wire, Framing::Chunked).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn what_comes_byte_by_byte_is_found() {
        use tokio::io::AsyncWriteExt as _;
        // A pipe that holds one byte: every search starts in the middle of what is searched for.
        let (mut write, read) = tokio::io::duplex(1);
        let wire =
            b"\r\nGET / HTTP/1.1\r\nA: \r1\r\n\r\n3\r\nabc\r\n0\r\nB: 2\r\n\r\nHEAD / HTTP/1.1\r\n\r\n";
        tokio::spawn(async move { write.write_all(wire).await });
        let mut reader = WireReader::new(read);
        assert_eq!(reader.head().await.unwrap().unwrap(), "GET / HTTP/1.1\r\nA: \r1\r\n\r\n");
        reader.begin(Framing::Chunked);
        let mut data = Vec::new();
        loop {
            match reader.piece().await.unwrap() {
                Piece::Data { bytes, .. } => data.extend_from_slice(&bytes),
                Piece::Trailers(trailers) => assert_eq!(trailers.get("b"), Some("2")),
                Piece::End => break,
            }
        }
        assert_eq!(data, b"abc");
        assert_eq!(reader.head().await.unwrap().unwrap(), "HEAD / HTTP/1.1\r\n\r\n");
    }

    #[tokio::test]
    async fn heads_in_a_row() {
        let mut reader = WireReader::new(&b"GET / HTTP/1.1\r\nA: 1\r\n\r\n\r\nHEAD /x HTTP/1.1\r\n\r\n"[..]);
        let (line, headers) = parse_head(&reader.head().await.unwrap().unwrap()).unwrap();
        assert_eq!((line.as_str(), headers.get("a")), ("GET / HTTP/1.1", Some("1")));
        let (line, headers) = parse_head(&reader.head().await.unwrap().unwrap()).unwrap();
        assert_eq!((line.as_str(), headers.len()), ("HEAD /x HTTP/1.1", 0));
        assert!(reader.head().await.unwrap().is_none());
    }
}
