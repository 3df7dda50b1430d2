//! A raw HTTP/1.1 client.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::request::chunk_bytes;
use super::{Ended, Frame, Request, Response, ResponseHead};
use crate::headers::Headers;
use crate::signal::bounded;
use crate::socket::{Io, Socket};
#[cfg(feature = "testing")]
use crate::tls::{Alpn, Authority};
use crate::wire::{Framing, Piece, WireReader, declared_framing, malformed, parse_head};

/// A connection to a server. Every wait for the server is bounded.
pub struct Connection {
    reader: WireReader<ReadHalf<Box<dyn Io>>>,
    write: WriteHalf<Box<dyn Io>>,
    socket: Socket,
    host: String,
    /// The methods of the requests not answered yet: the answer to a HEAD has no body.
    methods: VecDeque<String>,
    /// What has come of the chunk that is arriving.
    partial: BytesMut,
    /// Trailers that [`Connection::data`] came upon.
    trailers: Option<Headers>,
    end: Option<Ended>,
}

impl Connection {
    /// Connects in clear text.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::connect(addr).await?;
        Ok(Self::new(Box::new(socket.clone()), socket, addr.to_string()))
    }

    #[cfg(feature = "testing")]
    /// Connects with TLS to a server that calls itself `localhost`, offering HTTP/1.1.
    pub async fn connect_tls(addr: SocketAddr, authority: &Authority) -> io::Result<Self> {
        let socket = Socket::connect(addr).await?;
        let stream = authority.connect(socket.clone(), &[Alpn::Http1]).await?;
        Ok(Self::new(Box::new(stream), socket, format!("localhost:{}", addr.port())))
    }

    fn new(stream: Box<dyn Io>, socket: Socket, host: String) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self {
            reader: WireReader::new(read),
            write,
            socket,
            host,
            methods: VecDeque::new(),
            partial: BytesMut::new(),
            trailers: None,
            end: None,
        }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.write_request(request).await?;
        self.response().await
    }

    /// Sends a request, head and body in one write.
    pub async fn write_request(&mut self, request: &Request) -> io::Result<()> {
        let wire = [request.head_bytes(&self.host), request.body_bytes()].concat();
        self.methods.push_back(request.method.clone());
        self.write_raw(&wire).await
    }

    /// Sends the head of a request only.
    pub async fn write_head(&mut self, request: &Request) -> io::Result<()> {
        let head = request.head_bytes(&self.host);
        self.methods.push_back(request.method.clone());
        self.write_raw(&head).await
    }

    /// Sends bytes as they are.
    pub async fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        bounded("the server to take bytes", async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        })
        .await?
    }

    /// Sends one chunk of a chunked body.
    pub async fn write_chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.write_raw(&chunk_bytes(chunk)).await
    }

    /// Ends a chunked body.
    pub async fn write_last_chunk(&mut self) -> io::Result<()> {
        self.write_raw(b"0\r\n\r\n").await
    }

    /// Reads the next head, an interim one too.
    pub async fn any_head(&mut self) -> io::Result<ResponseHead> {
        let raw = bounded("the head of an answer", self.reader.head()).await??.ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended before an answer")
        })?;
        let (line, headers) = parse_head(&raw)?;
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| malformed("not a status line"))?;
        if status >= 200 || status == 101 {
            self.begin_body(status, &headers)?;
        }
        Ok(ResponseHead { status, headers, raw })
    }

    /// Reads the head of the answer, and leaves out interim ones before it.
    pub async fn head(&mut self) -> io::Result<ResponseHead> {
        loop {
            let head = self.any_head().await?;
            if head.status >= 200 || head.status == 101 {
                return Ok(head);
            }
        }
    }

    /// Reads the next frame of the body, as soon as it is there as a whole.
    pub async fn frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(trailers) = self.trailers.take() {
                return Ok(Frame::Trailers(trailers));
            }
            if let Some(end) = self.end {
                return Ok(Frame::End(end));
            }
            match bounded("the next frame of an answer", self.reader.piece()).await? {
                Ok(Piece::Data { bytes, ends_frame }) => {
                    self.partial.extend_from_slice(&bytes);
                    if ends_frame {
                        return Ok(Frame::Data(self.partial.split().freeze()));
                    }
                }
                Ok(Piece::Trailers(trailers)) => return Ok(Frame::Trailers(trailers)),
                Ok(Piece::End) => self.end = Some(Ended::Complete),
                Err(error) => {
                    self.end = Some(Ended::from_io(&error));
                    if !self.partial.is_empty() {
                        return Ok(Frame::Data(self.partial.split().freeze()));
                    }
                }
            }
        }
    }

    /// Reads bytes of the body as soon as they are there, also of a chunk that is not whole. `None` at the end
    /// or before trailers: [`Connection::frame`] tells which.
    pub async fn data(&mut self) -> io::Result<Option<Bytes>> {
        bounded("more of an answer", self.next_data()).await?
    }

    /// The same, however long it takes.
    pub(crate) async fn data_unbounded(&mut self) -> io::Result<Option<Bytes>> {
        self.next_data().await
    }

    /// How the body ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.end
    }

    async fn next_data(&mut self) -> io::Result<Option<Bytes>> {
        if !self.partial.is_empty() {
            return Ok(Some(self.partial.split().freeze()));
        }
        if self.end.is_some() || self.trailers.is_some() {
            return Ok(None);
        }
        match self.reader.piece().await {
            Ok(Piece::Data { bytes, .. }) => return Ok(Some(bytes)),
            Ok(Piece::Trailers(trailers)) => self.trailers = Some(trailers),
            Ok(Piece::End) => self.end = Some(Ended::Complete),
            Err(error) => self.end = Some(Ended::from_io(&error)),
        }
        Ok(None)
    }

    /// Reads a whole answer.
    pub async fn response(&mut self) -> io::Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.any_head().await?;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
            interim.push(head);
        };
        let (frames, trailers, end) = self.rest().await?;
        Ok(Response { interim, head, frames, trailers, end })
    }

    /// Reads the rest of the body behind a head that was read already.
    pub async fn rest(&mut self) -> io::Result<(Vec<Bytes>, Headers, Ended)> {
        let (mut frames, mut trailers) = (Vec::new(), Headers::new());
        loop {
            match self.frame().await? {
                Frame::Data(bytes) => frames.push(bytes),
                Frame::Trailers(lines) => trailers = lines,
                Frame::End(end) => return Ok((frames, trailers, end)),
            }
        }
    }

    /// Whether the server closes the connection, instead of sending anything more; waits for it to do either.
    pub async fn is_closed_next(&mut self) -> io::Result<bool> {
        if self.reader.buffered() > 0 {
            return Ok(false);
        }
        Ok(!matches!(bounded("the server to close a connection", self.reader.fill()).await?, Ok(true)))
    }

    /// Ends our direction (FIN) and keeps reading.
    pub fn finish(&self) -> io::Result<()> {
        self.socket.finish()
    }

    /// Resets the connection (RST).
    pub fn reset(self) -> io::Result<()> {
        self.socket.reset_on_close()
    }

    fn begin_body(&mut self, status: u16, headers: &Headers) -> io::Result<()> {
        let method = self.methods.pop_front().unwrap_or_default();
        self.end = None;
        self.reader.begin(match declared_framing(headers)? {
            _ if status == 101 => Framing::UntilClose,
            _ if method == "HEAD" || matches!(status, 204 | 304) => Framing::Length(0),
            Some(framing) => framing,
            None => Framing::UntilClose,
        });
        Ok(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("host", &self.host).field("end", &self.end).finish_non_exhaustive()
    }
}
