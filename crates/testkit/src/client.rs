//! Clients that send exact bytes, in pieces under the test's control, and see answers frame by frame.

mod h1;
#[cfg(feature = "testing")]
mod h2;
mod request;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

pub use h1::Connection;
#[cfg(feature = "testing")]
pub use h2::{H2Client, H2Exchange, H2Socket};
pub use request::Request;

use crate::headers::Headers;
#[cfg(feature = "testing")]
use crate::tls::{Alpn, Authority};

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// Every header line, in order; in its own case with HTTP/1.1.
    pub headers: Headers,
    /// The exact bytes of an HTTP/1.1 head; empty for HTTP/2.
    pub raw: Bytes,
}

impl ResponseHead {
    /// The first value of `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

/// A part of a body as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole chunk (HTTP/1.1; of a chunk that is cut, what came of it), a DATA frame (HTTP/2), or what was
    /// read at once where there are no chunks.
    Data(Bytes),
    /// The trailers.
    Trailers(Headers),
    /// The end. Nothing comes behind it.
    End(Ended),
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As HTTP has it.
    Complete,
    /// The connection was closed before the last chunk, before `content-length` bytes, or amid a stream.
    Cut,
    /// The connection was reset.
    Reset,
    /// HTTP/2: the stream was reset, for this reason.
    StreamReset(u32),
    /// What came is not HTTP.
    Malformed,
}

impl Ended {
    fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            io::ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Malformed,
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The interim heads that came before.
    pub interim: Vec<ResponseHead>,
    /// The head.
    pub head: ResponseHead,
    /// The frames of the body, none of them empty.
    pub frames: Vec<Bytes>,
    /// The trailers; empty if there were none.
    pub trailers: Headers,
    /// How it ended.
    pub end: Ended,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The first value of the header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body.
    pub fn body(&self) -> Bytes {
        Bytes::from(self.frames.concat())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> io::Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body())?)
    }
}

/// Sends one request over HTTP/1.1 in clear text on a connection of its own.
pub async fn send(addr: SocketAddr, request: &Request) -> io::Result<Response> {
    Connection::connect(addr).await?.send(request).await
}

#[cfg(feature = "testing")]
/// The protocol that a server at `addr` picks among `alpn`; `None` if it picks none.
pub async fn negotiate(addr: SocketAddr, authority: &Authority, alpn: &[Alpn]) -> io::Result<Option<Alpn>> {
    let stream = authority.connect(crate::socket::Socket::connect(addr).await?, alpn).await?;
    let picked = stream.get_ref().1.alpn_protocol();
    Ok([Alpn::H2, Alpn::Http1].into_iter().find(|alpn| picked == Some(alpn.id())))
}
