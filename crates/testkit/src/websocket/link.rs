//! One end of a WebSocket.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::frame::{Frame, FrameReader, Opcode};
use crate::client::{Connection, Ended, Request, Response, ResponseHead};
use crate::signal::bounded;
use crate::upstream::{Cut, ReceivedRequest};
use crate::wire::malformed;

/// Longest message that is joined, in bytes.
const MAX_MESSAGE: usize = 160 << 20;

/// Most pongs whose payloads are kept.
const MAX_PONGS: usize = 10_000;

/// A whole message, or what ended the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text; what is not UTF-8 is an error.
    Text(String),
    /// Bytes.
    Binary(Bytes),
    /// The peer closed, with this code and reason if it gave any. It has been answered.
    Close(Option<(u16, String)>),
    /// The connection ended without a close.
    End(Ended),
}

impl Message {
    /// The text of a message, read as JSON.
    pub fn json(&self) -> io::Result<serde_json::Value> {
        match self {
            Self::Text(text) => Ok(serde_json::from_str(text)?),
            other => Err(malformed(&format!("{other:?} where a message of text was expected"))),
        }
    }
}

/// How an upgrade was answered.
#[derive(Debug)]
pub enum Upgraded {
    /// The connection is a WebSocket.
    Open(Link),
    /// It is not; with the whole answer.
    Refused(Response),
}

/// What a server's end hands over to be written.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Bytes, and who waits for them to be written.
    Bytes(Bytes, oneshot::Sender<()>),
    /// A cut.
    Cut(Cut),
}

enum Transport {
    Client(Box<Connection>),
    Server { request: ReceivedRequest, out: mpsc::Sender<Outgoing> },
}

/// One end of a WebSocket. Every wait for the peer is bounded, save [`Link::idle`].
pub struct Link {
    transport: Transport,
    head: Option<ResponseHead>,
    reader: FrameReader,
    /// The frames of a message that has begun.
    begun: Option<(Opcode, BytesMut)>,
    answers: bool,
    has_closed: bool,
    pongs: VecDeque<Bytes>,
}

impl Link {
    /// Connects a client in clear text.
    pub async fn connect(addr: SocketAddr, request: &Request) -> io::Result<Upgraded> {
        Self::upgrade(Connection::connect(addr).await?, request).await
    }

    /// The same, where a refusal is an error.
    pub async fn open(addr: SocketAddr, request: &Request) -> io::Result<Self> {
        match Self::connect(addr, request).await? {
            Upgraded::Open(link) => Ok(link),
            Upgraded::Refused(response) => {
                Err(malformed(&format!("the upgrade was refused: {} {}", response.status(), response.text())))
            }
        }
    }

    /// Asks for a WebSocket on a connection, and checks that the answer fits the key.
    pub async fn upgrade(mut connection: Connection, request: &Request) -> io::Result<Upgraded> {
        connection.write_request(request).await?;
        let head = connection.head().await?;
        if head.status != 101 {
            let (frames, trailers, end) = connection.rest().await?;
            return Ok(Upgraded::Refused(Response { interim: Vec::new(), head, frames, trailers, end }));
        }
        if let Some(key) = request.header_value("sec-websocket-key") {
            let expected = derive_accept_key(key.as_bytes());
            if head.header("sec-websocket-accept") != Some(&expected) {
                return Err(malformed("the answer to an upgrade does not fit its key"));
            }
        }
        Ok(Upgraded::Open(Self::new(Transport::Client(Box::new(connection)), Some(head))))
    }

    pub(crate) fn server(request: ReceivedRequest, out: mpsc::Sender<Outgoing>) -> Self {
        Self::new(Transport::Server { request, out }, None)
    }

    fn new(transport: Transport, head: Option<ResponseHead>) -> Self {
        Self {
            transport,
            head,
            reader: FrameReader::default(),
            begun: None,
            answers: true,
            has_closed: false,
            pongs: VecDeque::new(),
        }
    }

    /// The head of the answer to a client's upgrade.
    pub fn head(&self) -> Option<&ResponseHead> {
        self.head.as_ref()
    }

    /// The request that a server's end belongs to.
    pub fn request(&self) -> Option<&ReceivedRequest> {
        match &self.transport {
            Transport::Server { request, .. } => Some(request),
            Transport::Client(_) => None,
        }
    }

    /// Whether this is the client's end.
    pub fn is_client(&self) -> bool {
        matches!(self.transport, Transport::Client(_))
    }

    /// Whether [`Link::message`] answers pings and closes, which it does at first.
    pub fn set_answers(&mut self, answers: bool) {
        self.answers = answers;
    }

    /// Sends a frame, masked as its side needs it.
    pub async fn send(&mut self, frame: Frame) -> io::Result<()> {
        self.has_closed |= frame.opcode == Opcode::Close;
        let wire = frame.encode(self.is_client());
        self.send_raw(wire).await
    }

    /// Sends text as one message.
    pub async fn send_text(&mut self, text: impl Into<Bytes>) -> io::Result<()> {
        self.send(Frame::text(text)).await
    }

    /// Sends bytes as they are; they have been written when this returns.
    pub async fn send_raw(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        let bytes = bytes.into();
        match &mut self.transport {
            Transport::Client(connection) => connection.write_raw(&bytes).await,
            Transport::Server { out, .. } => {
                let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the connection has ended");
                let (written, wait) = oneshot::channel();
                out.send(Outgoing::Bytes(bytes, written)).await.map_err(|_| gone())?;
                bounded("the client to take bytes", wait).await?.map_err(|_| gone())
            }
        }
    }

    /// Sends a frame in pieces of `size` bytes, each a segment of its own.
    pub async fn send_chopped(&mut self, frame: Frame, size: usize) -> io::Result<()> {
        let wire = frame.encode(self.is_client());
        for piece in wire.chunks(size.max(1)) {
            self.send_raw(Bytes::copy_from_slice(piece)).await?;
        }
        Ok(())
    }

    /// The next frame, whatever it is; how the connection ended where there is none.
    pub async fn frame(&mut self) -> io::Result<Result<Frame, Ended>> {
        bounded("a frame", self.next_frame()).await?
    }

    async fn next_frame(&mut self) -> io::Result<Result<Frame, Ended>> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                if frame.opcode == Opcode::Pong {
                    if self.pongs.len() >= MAX_PONGS {
                        self.pongs.pop_front();
                    }
                    self.pongs.push_back(frame.payload.clone());
                }
                return Ok(Ok(frame));
            }
            match self.bytes().await? {
                Ok(bytes) => self.reader.push(&bytes),
                Err(end) => return Ok(Err(end)),
            }
        }
    }

    async fn bytes(&mut self) -> io::Result<Result<Bytes, Ended>> {
        match &mut self.transport {
            Transport::Client(connection) => match connection.data_unbounded().await? {
                Some(bytes) => Ok(Ok(bytes)),
                None => Ok(Err(connection.ended().unwrap_or(Ended::Cut))),
            },
            Transport::Server { request, .. } => {
                let bytes = request.take_tunnel().await;
                Ok(if bytes.is_empty() { Err(Ended::Complete) } else { Ok(bytes) })
            }
        }
    }

    /// The next whole message; pings before it are answered, and so is a close.
    pub async fn message(&mut self) -> io::Result<Message> {
        bounded("a message", self.next_message()).await?
    }

    /// The same, however long it takes: for scripts of servers.
    pub async fn idle(&mut self) -> io::Result<Message> {
        self.next_message().await
    }

    async fn next_message(&mut self) -> io::Result<Message> {
        loop {
            let frame = match self.next_frame().await? {
                Ok(frame) => frame,
                Err(end) => return Ok(Message::End(end)),
            };
            match frame.opcode {
                Opcode::Ping => {
                    if self.answers {
                        self.send(Frame::pong(frame.payload)).await?;
                    }
                }
                Opcode::Pong => {}
                Opcode::Close => {
                    let told = frame.close_code();
                    if self.answers && !self.has_closed {
                        // The peer may be gone already.
                        let _ = self.send(Frame::new(Opcode::Close, frame.payload)).await;
                    }
                    return Ok(Message::Close(told));
                }
                Opcode::Text | Opcode::Binary if self.begun.is_none() => {
                    self.begun = Some((frame.opcode, BytesMut::from(&frame.payload[..])));
                }
                Opcode::Continuation if self.begun.is_some() => {
                    if let Some((_, bytes)) = &mut self.begun {
                        bytes.extend_from_slice(&frame.payload);
                    }
                }
                _ => return Err(malformed("a frame that does not fit the one before it")),
            }
            if self.begun.as_ref().is_some_and(|(_, bytes)| bytes.len() > MAX_MESSAGE) {
                return Err(malformed("a message is too long"));
            }
            if frame.is_final
                && !frame.opcode.is_control()
                && let Some((opcode, bytes)) = self.begun.take()
            {
                let bytes = bytes.freeze();
                return if opcode == Opcode::Binary {
                    Ok(Message::Binary(bytes))
                } else {
                    let text = String::from_utf8(bytes.to_vec());
                    text.map(Message::Text).map_err(|_| malformed("a message of text is not UTF-8"))
                };
            }
        }
    }

    /// The payloads of the pongs that came so far; the last of them, if they are many.
    pub fn pongs(&self) -> impl Iterator<Item = &Bytes> {
        self.pongs.iter()
    }

    /// Closes, and waits for the peer's close and its end; gives the peer's code and reason. Messages on the way are thrown
    /// away.
    pub async fn close(&mut self, code: u16, reason: &str) -> io::Result<Option<(u16, String)>> {
        self.send(Frame::close(code, reason)).await?;
        loop {
            match self.message().await? {
                Message::Close(told) => return Ok(told),
                Message::End(end) => return Err(malformed(&format!("ended by {end:?} instead of a close"))),
                Message::Text(_) | Message::Binary(_) => {}
            }
        }
    }

    /// Ends a server's connection below the WebSocket; nothing can be sent behind it.
    pub(crate) async fn cut_held(&mut self, cut: Cut) {
        if let Transport::Server { out, .. } = &self.transport {
            let _ = out.send(Outgoing::Cut(cut)).await;
        }
    }

    /// Ends the connection below the WebSocket.
    pub async fn cut(self, cut: Cut) -> io::Result<()> {
        match (self.transport, cut) {
            (Transport::Client(connection), Cut::Reset) => connection.reset(),
            (Transport::Client(connection), Cut::Close) => connection.finish(),
            (Transport::Server { out, .. }, cut) => {
                let _ = out.send(Outgoing::Cut(cut)).await;
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("is_client", &self.is_client()).finish_non_exhaustive()
    }
}
