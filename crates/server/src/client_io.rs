//! The bytes of a client's connection, on their way between the socket and the HTTP library: the one place that sees them.
//!
//! Five things are done here that the library has no way to ask for: cutting an answer after its last byte has left,
//! sending interim responses on, looking at raw request heads, giving the library's own refusals (of heads that it cannot
//! read) the provider's error shape, and ending connections of clients that flood them with HTTP/2 frames. See
//! [`trunkline_engine::client_connection`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::http2_frames::{CALM_DOWN, ControlFrames, FrameCount};
use trunkline_engine::client_connection::ClientConnection;
use trunkline_engine::service::Service;
use trunkline_engine::service::rest::{DROP_PATIENCE, MAX_DROPPED};

/// How the library begins a refusal of its own; the status follows.
const REFUSAL: &[u8] = b"HTTP/1.1 4";

/// What is read at once after the last answer, to be dropped.
const LINGER_BUFFER: usize = 8 * 1024;

/// The bytes of one connection.
pub(crate) struct ClientIo<T> {
    inner: T,
    client: Arc<ClientConnection>,
    /// Whose error shape the library's refusals get.
    service: Arc<Service>,
    /// What we write ourselves, before anything else.
    own: Bytes,
    /// Whether this is HTTP/2, once something has been written.
    http2: Option<bool>,
    /// Where in the frames of HTTP/2 the written bytes are.
    frames: FrameCount,
    /// What the client sends over HTTP/2 besides requests.
    control: ControlFrames,
    /// Whether `own` is a refusal, after which nothing of the library's is written any more.
    refused: bool,
    /// What is still read after the last answer.
    linger: Option<Linger>,
}

/// Reading on after the last answer has been written. To close with bytes left unread is a reset (TCP), and a reset takes away
/// what the client has not read of the answer.
struct Linger {
    until: Pin<Box<tokio::time::Sleep>>,
    left: u64,
}

impl Linger {
    fn new() -> Self {
        Self { until: Box::pin(tokio::time::sleep(DROP_PATIENCE)), left: MAX_DROPPED }
    }

    /// Ready when the client has closed its side, or has had its time.
    fn poll<T: AsyncRead + Unpin>(&mut self, inner: &mut T, context: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; LINGER_BUFFER];
        while self.left > 0 && self.until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut *inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buffer.filled().len() as u64);
                }
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> ClientIo<T> {
    pub(crate) fn new(inner: T, client: Arc<ClientConnection>, service: Arc<Service>) -> Self {
        Self {
            inner,
            client,
            service,
            own: Bytes::new(),
            http2: None,
            frames: FrameCount::default(),
            control: ControlFrames::default(),
            refused: false,
            linger: None,
        }
    }

    fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.own.has_remaining() {
            let written = Pin::new(&mut self.inner).poll_write(context, &self.own);
            self.client.on_write(written.is_pending());
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.own.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Looks at what the library is about to write. Whether it must be swallowed.
    fn before_write(&mut self, first: &[u8]) -> bool {
        if self.refused {
            return true;
        }
        if self.client.is_http2() {
            return false;
        }
        if let Some(interim) = self.client.take_interim() {
            self.own = interim.into();
        }
        // With no request under way and no end of an answer left to write, this is the library's own.
        if self.client.in_flight() == 0 && !self.client.has_unflushed_tail() && first.starts_with(REFUSAL) {
            let fault = match first.get(9..12) {
                Some(b"431") => Fault::new(FaultKind::HeadTooLarge, "the request's head is too large"),
                _ => Fault::new(FaultKind::InvalidRequest, "the request's head is not valid HTTP/1.1"),
            };
            self.own = self.service.raw_refusal(&fault);
            self.refused = true;
        }
        self.refused
    }
}

impl<T> ClientIo<T> {
    /// Counts what was written, for whoever waits for it.
    fn after_write(&mut self, written: &Poll<io::Result<usize>>, bufs: &[IoSlice<'_>]) {
        self.client.on_write(written.is_pending());
        let Poll::Ready(Ok(written)) = written else { return };
        // From the first byte on, or the count would be out of step with the frames.
        if !self.speaks_http2(bufs) {
            return;
        }
        let mut left = *written;
        let (mut data, mut frames) = (0, 0);
        for buf in bufs {
            let taken = buf.get(..left.min(buf.len())).unwrap_or_default();
            let pushed = self.frames.push(taken);
            data += pushed.count;
            frames += pushed.frames;
            left -= taken.len();
        }
        if frames > 0 {
            self.control.on_answered(frames);
        }
        if data > 0 {
            self.client.on_written(data);
        }
    }

    /// Whether the first bytes ever written are those of HTTP/2: a SETTINGS frame, not a status line.
    fn speaks_http2(&mut self, bufs: &[IoSlice<'_>]) -> bool {
        self.http2.get_or_insert_with(|| bufs.first().is_some_and(|buf| !buf.starts_with(b"H"))).to_owned()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> ClientIo<T> {
    /// The end of a connection whose client floods it. It is told why, as far as it takes that at once.
    fn calm_down(&mut self, context: &mut Context<'_>) -> io::Error {
        tracing::debug!(peer = %self.client.peer(), "too many HTTP/2 frames beside requests: closed");
        if self.http2 == Some(true) && self.frames.is_between_frames() && self.own.is_empty() {
            self.own = Bytes::from_static(&CALM_DOWN);
            if let Poll::Ready(Ok(())) = self.poll_own(context) {
                let _ = Pin::new(&mut self.inner).poll_shutdown(context);
            }
        }
        io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the client sends too many HTTP/2 frames beside requests",
        )
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if let Some(read) = buffer.filled().get(before..) {
            self.client.on_read(read);
            if self.control.is_flood(read, Instant::now) {
                return Poll::Ready(Err(self.calm_down(context)));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let swallow = self.before_write(bytes);
        ready!(self.poll_own(context))?;
        if swallow {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.after_write(&written, &[IoSlice::new(bytes)]);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let swallow = self.before_write(bufs.first().map_or(&[], |first| first));
        ready!(self.poll_own(context))?;
        if swallow {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bufs);
        self.after_write(&written, bufs);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// The library calls this when its own buffer is empty: everything it was given has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.on_flushed();
        if let Some(interim) = self.client.take_interim() {
            self.own = interim.into();
        }
        ready!(self.poll_own(context))?;
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.client.on_write(flushed.is_pending());
        ready!(flushed)?;
        if self.client.is_cut() && !self.client.is_http2() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the answer was cut by the provider",
            )));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(this.poll_own(context))?;
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            if this.client.is_http2() || !(this.refused || this.client.ends_unread()) {
                return Poll::Ready(Ok(()));
            }
        }
        this.linger.get_or_insert_with(Linger::new).poll(&mut this.inner, context).map(Ok)
    }
}
