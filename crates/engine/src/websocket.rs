//! One end of a WebSocket (RFC 6455), message by message, without extensions.
//!
//! The coding of frame heads is tungstenite's. Its buffers are not used: they keep the size of the largest message that went
//! through them, and are moved at each partial write, where thousands of sockets stay open for hours and carry megabytes at
//! times. Here a silent connection holds no buffer, and a message is written from where it was read.

mod mask;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use self::reader::{Item, Reader};
use self::writer::Writer;

pub(crate) use self::reader::{NO_CODE, Violation};

/// Longest message, its fragments joined, in bytes (codex.md, *WebSocket*).
pub(crate) const MAX_MESSAGE: usize = 128 * 1024 * 1024;

/// How many bytes may wait to be written before nothing more is taken; a single message may be longer. Where messages of 64 KiB
/// follow each other, two are written at once, which costs a fifth less than one by one.
const MAX_QUEUED: usize = 128 * 1024;

/// What is read at once where it is not known how much is to come. It is on the stack, so that it costs nothing while
/// nothing comes.
const READ: usize = 32 * 1024;

/// The same behind a long frame: where another follows, little of it is to be moved.
const READ_AFTER_LONG: usize = 4 * 1024;

/// As much as this, if it is known to come, is read to where it stays.
const LONG: usize = 16 * 1024;

/// Least by which the buffer of a long message grows: by its stated length alone nobody gets memory.
const GROWTH: usize = 64 * 1024;

/// Which end this is: clients mask what they send, servers do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Data {
    /// Whether it is text, which is then valid UTF-8.
    pub(crate) is_text: bool,
    pub(crate) bytes: Bytes,
}

impl Data {
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self { is_text: true, bytes: text.into() }
    }
}

/// What a peer did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Message(Data),
    /// A ping, which has been answered, or will be.
    Ping,
    Pong,
    /// A close: code and reason as they came, or nothing. It is not answered by itself.
    Close(Bytes),
    /// It broke the protocol.
    Broken(Violation),
    /// The connection has ended: without a close, or behind one.
    Lost,
}

impl Incoming {
    /// Whether nothing more comes behind it.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Message(_) | Self::Ping | Self::Pong => false,
            Self::Close(_) | Self::Broken(_) | Self::Lost => true,
        }
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct WebSocket<T> {
    io: T,
    reader: Reader,
    writer: Writer,
    /// The ping that is to be answered once there is room: of several, the last, which is enough (RFC 6455, 5.5.3).
    unanswered: Option<Bytes>,
    /// What came while it was only looked whether anything comes.
    ahead: Option<Incoming>,
    heard_close: bool,
    sent_close: bool,
    is_lost: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> WebSocket<T> {
    /// A connection behind its handshake. `read`: what has been read of it already.
    pub(crate) fn new(io: T, role: Role, read: Bytes) -> Self {
        Self {
            io,
            reader: Reader::new(role, read),
            writer: Writer::new(role),
            unanswered: None,
            ahead: None,
            heard_close: false,
            sent_close: false,
            is_lost: false,
        }
    }

    /// Whether another message is taken for sending.
    pub(crate) fn has_room(&self) -> bool {
        self.writer.queued() < MAX_QUEUED
    }

    /// Queues a message. Behind a close nothing is sent.
    pub(crate) fn send(&mut self, data: Data) {
        if !self.sent_close {
            self.writer.message(data);
        }
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self) {
        if !self.sent_close {
            self.writer.ping();
        }
    }

    /// Queues a close: code and reason, or nothing.
    pub(crate) fn close(&mut self, payload: Bytes) {
        if !std::mem::replace(&mut self.sent_close, true) {
            self.writer.close(payload);
        }
    }

    /// Whether nothing more comes from the other end, or is waited for.
    pub(crate) fn is_over(&self) -> bool {
        self.is_lost || self.heard_close || !self.sent_close
    }

    /// What comes next, whether or not the peer takes what is sent to it: one that writes before it reads would wait for ever,
    /// and the close of one that takes no more would not be heard. Behind a close there is only the end of the connection;
    /// behind that, nothing ever.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        match self.ahead.take() {
            Some(incoming) => Poll::Ready(incoming),
            None => self.poll_read_next(context),
        }
    }

    /// Waits until something comes, and leaves it to [`WebSocket::poll_next`]. Whether the connection stands behind it.
    pub(crate) fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.ahead.is_none() {
            self.ahead = Some(ready!(self.poll_read_next(context)));
        }
        Poll::Ready(self.ahead.as_ref().is_some_and(|incoming| !incoming.is_end()))
    }

    fn poll_read_next(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        if self.is_lost {
            return Poll::Pending;
        }
        loop {
            if self.heard_close {
                self.reader = Reader::new(Role::Server, Bytes::new());
            } else {
                match self.reader.next() {
                    Ok(None) => {}
                    Ok(Some(item)) => return Poll::Ready(self.take(item)),
                    Err(violation) => {
                        // Nothing of what follows can be read.
                        self.heard_close = true;
                        return Poll::Ready(Incoming::Broken(violation));
                    }
                }
            }
            if !matches!(ready!(self.poll_read(context)), Ok(1..)) {
                self.is_lost = true;
                return Poll::Ready(Incoming::Lost);
            }
        }
    }

    fn take(&mut self, item: Item) -> Incoming {
        match item {
            Item::Message(data) => Incoming::Message(data),
            Item::Ping(payload) => {
                // Answers must not pile up for somebody who does not take them.
                self.unanswered = Some(payload);
                self.answer();
                Incoming::Ping
            }
            Item::Pong => Incoming::Pong,
            Item::Close(payload) => {
                self.heard_close = true;
                Incoming::Close(payload)
            }
        }
    }

    /// Answers the last ping, if there is room.
    fn answer(&mut self) {
        if self.has_room()
            && let Some(payload) = self.unanswered.take()
            && !self.sent_close
        {
            self.writer.pong(payload);
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let io = Pin::new(&mut self.io);
        let missing = self.reader.missing();
        if missing > LONG {
            let buffer: &mut BytesMut = self.reader.buffer();
            buffer.reserve(missing.min(GROWTH.max(buffer.len())));
            let room = missing.min(buffer.capacity() - buffer.len());
            return poll_read_buf(io, context, &mut buffer.limit(room));
        }
        #[expect(
            clippy::large_stack_arrays,
            reason = "a worker's stack has room for it, and nothing is written to it"
        )]
        let mut scratch = [const { MaybeUninit::uninit() }; READ];
        let most = if self.reader.was_long() { READ_AFTER_LONG } else { READ };
        let mut read = ReadBuf::uninit(scratch.get_mut(..most).unwrap_or_default());
        ready!(io.poll_read(context, &mut read))?;
        self.reader.buffer().extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Writes what is queued. An error is the end of the connection.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_lost {
            return Poll::Ready(Ok(()));
        }
        loop {
            let flushed = ready!(self.writer.poll_flush(Pin::new(&mut self.io), context));
            if flushed.is_err() {
                self.is_lost = true;
            }
            if flushed.is_err() || self.unanswered.is_none() {
                return Poll::Ready(flushed);
            }
            self.answer();
        }
    }

    /// Ends the connection below the WebSocket.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.io).poll_shutdown(context).map(drop)
    }
}

/// A close's code and reason as they are sent. A reason that is too long is left out.
pub(crate) fn close_payload(code: u16, reason: &str) -> Bytes {
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code);
    if reason.len() <= reader::MAX_CONTROL - 2 {
        payload.put_slice(reason.as_bytes());
    }
    payload.freeze()
}
