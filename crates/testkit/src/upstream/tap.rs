//! Counts the HTTP/2 frames that have left for the socket, and puts frames between them.
//!
//! A stream reset discards what is queued for its stream. A script that says "these bytes, then a reset"
//! waits here until the bytes are out. What a script says that the library would not (`GOAWAY` that leaves out a stream
//! which the library has taken) is written here, where one of its frames has ended.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::log::lock;
use crate::signal::PATIENCE;

/// How long a peer that does not read holds up a reset. Long, since a peer on a busy machine reads late.
const DELIVERY: Duration = PATIENCE;

/// What was handed over for a connection, and what of it has been written.
#[derive(Clone, Default)]
pub(super) struct Flow {
    handed: Arc<Handed>,
    written: Arc<watch::Sender<Written>>,
    interjected: Arc<Mutex<Interjected>>,
}

/// Frames to be put between the library's.
#[derive(Default)]
struct Interjected {
    bytes: BytesMut,
    /// Of the connection, which reads as long as it has nothing else to do.
    waker: Option<Waker>,
}

#[derive(Default)]
struct Handed {
    heads: AtomicU64,
    data: AtomicU64,
    interjected: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Written {
    heads: u64,
    data: u64,
    interjected: u64,
}

impl Flow {
    pub(super) fn hand_head(&self) {
        self.handed.heads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hand_data(&self, len: usize) {
        self.handed.data.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// Writes whole frames of the script's own, behind all that has been handed over up to now.
    pub(super) async fn interject(&self, frames: Bytes) {
        self.flushed().await;
        self.handed.interjected.fetch_add(frames.len() as u64, Ordering::Relaxed);
        let waker = {
            let mut interjected = lock(&self.interjected);
            interjected.bytes.extend_from_slice(&frames);
            interjected.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        self.flushed().await;
    }

    /// Waits until all that has been handed over up to now is written.
    pub(super) async fn flushed(&self) {
        let handed = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (heads, data) = (handed(&self.handed.heads), handed(&self.handed.data));
        let interjected = handed(&self.handed.interjected);
        let mut written = self.written.subscribe();
        let all = written.wait_for(|written| {
            written.heads >= heads && written.data >= data && written.interjected >= interjected
        });
        let _ = tokio::time::timeout(DELIVERY, all).await;
    }
}

/// Passes everything on, and counts HEADERS frames and the bytes of DATA frames on their way out.
pub(super) struct Tap<T> {
    io: T,
    flow: Flow,
    frame: Frame,
    /// Whether part of an interjection has been written, and nothing else may be.
    interjects: bool,
    /// Whether an interjection has been written that may still be in a buffer of TLS.
    is_unflushed: bool,
}

enum Frame {
    Header { bytes: [u8; 9], filled: usize },
    Payload { kind: u8, left: usize },
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const START: Frame = Frame::Header { bytes: [0; 9], filled: 0 };

impl<T> Tap<T> {
    pub(super) fn new(io: T, flow: Flow) -> Self {
        Self { io, flow, frame: START, interjects: false, is_unflushed: false }
    }

    fn count(&mut self, mut bytes: &[u8]) {
        let mut seen = Written::default();
        while !bytes.is_empty() {
            match &mut self.frame {
                Frame::Header { bytes: header, filled } => {
                    for slot in header.iter_mut().skip(*filled) {
                        let Some((&first, rest)) = bytes.split_first() else { break };
                        *slot = first;
                        *filled += 1;
                        bytes = rest;
                    }
                    if *filled == header.len() {
                        let [a, b, c, kind, ..] = *header;
                        let left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                        if left == 0 {
                            seen.heads += u64::from(kind == HEADERS);
                            self.frame = START;
                        } else {
                            self.frame = Frame::Payload { kind, left };
                        }
                    }
                }
                Frame::Payload { kind, left } => {
                    let here = bytes.len().min(*left);
                    *left -= here;
                    bytes = bytes.get(here..).unwrap_or_default();
                    if *kind == DATA {
                        seen.data += here as u64;
                    }
                    if *left == 0 {
                        seen.heads += u64::from(*kind == HEADERS);
                        self.frame = START;
                    }
                }
            }
        }
        if seen.heads + seen.data > 0 {
            self.flow.written.send_modify(|written| {
                written.heads += seen.heads;
                written.data += seen.data;
            });
        }
    }
}

impl<T: AsyncWrite + Unpin> Tap<T> {
    /// Writes what is to be interjected, if a frame has ended; pending as long as part of it has to be written first.
    fn poll_interject(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_between = matches!(self.frame, Frame::Header { filled: 0, .. });
        let flow = self.flow.clone();
        let mut interjected = lock(&flow.interjected);
        if is_between || self.interjects {
            while !interjected.bytes.is_empty() {
                let written = ready!(Pin::new(&mut self.io).poll_write(cx, &interjected.bytes))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                interjected.bytes.advance(written);
                (self.interjects, self.is_unflushed) = (!interjected.bytes.is_empty(), true);
                flow.written.send_modify(|sum| sum.interjected += written as u64);
            }
        }
        drop(interjected);
        if self.is_unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        lock(&self.flow.interjected).waker = Some(cx.waker().clone());
        // What fails here fails the next write too.
        let _ = self.poll_interject(cx);
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interject(cx))?;
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.count(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interject(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let mut wire = vec![0, 0, 0, 4, 0, 0, 0, 0, 0]; // SETTINGS
        wire.extend([0, 0, 2, 1, 4, 0, 0, 0, 1, 9, 9]); // HEADERS
        wire.extend([0, 0, 3, 0, 0, 0, 0, 0, 1, 1, 2, 3]); // DATA
        wire.extend([0, 0, 0, 0, 1, 0, 0, 0, 1]); // DATA, empty
        for size in 1..wire.len() {
            let flow = Flow::default();
            let mut tap = Tap::new((), flow.clone());
            wire.chunks(size).for_each(|piece| tap.count(piece));
            let written = *flow.written.borrow();
            assert_eq!((written.heads, written.data), (1, 3));
        }
    }

    #[tokio::test]
    async fn an_interjection_is_written_where_a_frame_has_ended() {
        const FRAME: [u8; 12] = [0, 0, 3, 0, 0, 0, 0, 0, 1, 1, 2, 3]; // DATA
        const OWN: [u8; 9] = [0, 0, 0, 7, 0, 0, 0, 0, 0];
        for cut in 0..=FRAME.len() {
            let (near, mut far) = tokio::io::duplex(5);
            let flow = Flow::default();
            let mut tap = Tap::new(near, flow.clone());
            let (first, rest) = FRAME.split_at(cut);
            let received = tokio::spawn(async move {
                let mut all = Vec::new();
                far.read_to_end(&mut all).await.unwrap();
                all
            });
            tap.write_all(first).await.unwrap();
            lock(&flow.interjected).bytes.extend_from_slice(&OWN);
            tap.flush().await.unwrap();
            tap.write_all(rest).await.unwrap();
            tap.flush().await.unwrap();
            drop(tap);
            let expected = if cut == 0 { [&OWN[..], &FRAME].concat() } else { [&FRAME[..], &OWN].concat() };
            assert_eq!(received.await.unwrap(), expected, "{cut}");
            assert_eq!(flow.written.borrow().interjected, OWN.len() as u64);
        }
    }

    #[tokio::test]
    async fn a_connection_that_only_reads_writes_an_interjection() {
        let (near, mut far) = tokio::io::duplex(64);
        let flow = Flow::default();
        let mut tap = Tap::new(near, flow.clone());
        let reading = tokio::spawn(async move { tap.read_u8().await });
        tokio::task::yield_now().await;
        flow.interject(Bytes::from_static(b"frame")).await;
        let mut seen = [0; 5];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"frame");
        far.write_all(b"x").await.unwrap();
        assert_eq!(reading.await.unwrap().unwrap(), b'x');
    }
}
