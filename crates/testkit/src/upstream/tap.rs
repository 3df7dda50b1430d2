//! Counts the HTTP/2 frames that have left for the socket.
//!
//! A stream reset discards what is queued for its stream. A script that says "these bytes, then a reset"
//! waits here until the bytes are out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// How long a peer that does not read holds up a reset.
const DELIVERY: Duration = Duration::from_secs(1);

/// What was handed over for a connection, and what of it has been written.
#[derive(Clone, Default)]
pub(super) struct Flow {
    handed: Arc<Handed>,
    written: Arc<watch::Sender<Written>>,
}

#[derive(Default)]
struct Handed {
    heads: AtomicU64,
    data: AtomicU64,
}

#[derive(Clone, Copy, Default)]
struct Written {
    heads: u64,
    data: u64,
}

impl Flow {
    pub(super) fn hand_head(&self) {
        self.handed.heads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hand_data(&self, len: usize) {
        self.handed.data.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// Waits until all that has been handed over up to now is written.
    pub(super) async fn flushed(&self) {
        let (heads, data) =
            (self.handed.heads.load(Ordering::Relaxed), self.handed.data.load(Ordering::Relaxed));
        let mut written = self.written.subscribe();
        let all = written.wait_for(|written| written.heads >= heads && written.data >= data);
        let _ = tokio::time::timeout(DELIVERY, all).await;
    }
}

/// Passes everything on, and counts HEADERS frames and the bytes of DATA frames on their way out.
pub(super) struct Tap<T> {
    io: T,
    flow: Flow,
    frame: Frame,
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
        Self { io, flow, frame: START }
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

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.count(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
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
}
