//! A TCP stream whose owner can still end it by hand while its halves are elsewhere, maybe inside TLS.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::signal::PATIENCE;

/// Any two-way stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How long [`Socket::delivered`] waits for a peer that does not read. Long, since a peer on a busy machine reads late, and what it
/// has not taken by then is lost.
const DELIVERY: Duration = PATIENCE;

/// What a peer's system takes of a new connection at once, though the peer reads nothing: less than the smallest receive buffer
/// that systems give. Written with `TCP_NODELAY`, so much has left before a reset that follows it.
const TAKEN_AT_ONCE: u64 = 32 * 1024;

/// The pause between two looks at what the peer has taken, at first; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// A handle to a TCP stream; the connection is closed with the last one.
#[derive(Clone)]
pub(crate) struct Socket(Arc<Stream>);

struct Stream {
    tcp: TcpStream,
    /// Bytes written so far.
    written: AtomicU64,
}

impl Socket {
    /// Every write is a segment of its own, so that what was written apart arrives apart.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(Arc::new(Stream { tcp: stream, written: AtomicU64::new(0) })))
    }

    pub(crate) async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::new(crate::signal::bounded("a connection", TcpStream::connect(addr)).await??)
    }

    /// Makes the close a reset (RST).
    pub(crate) fn reset_on_close(&self) -> io::Result<()> {
        self.0.tcp.set_zero_linger()
    }

    /// Ends our direction (FIN) at once, below any TLS.
    pub(crate) fn finish(&self) -> io::Result<()> {
        SockRef::from(&self.0.tcp).shutdown(Shutdown::Write)
    }

    /// Waits until the peer's system has taken all that was written: a reset throws the rest away.
    ///
    /// The kernel says so only in `/proc/net/tcp`, a table of all connections of the machine, which takes milliseconds to read
    /// where thousands have just ended; elsewhere nothing is waited for.
    pub(crate) async fn delivered(&self) {
        if self.0.written.load(Ordering::Relaxed) <= TAKEN_AT_ONCE {
            return;
        }
        let (Ok(SocketAddr::V4(local)), Ok(SocketAddr::V4(peer))) =
            (self.0.tcp.local_addr(), self.0.tcp.peer_addr())
        else {
            return;
        };
        let hex = |addr: std::net::SocketAddrV4| {
            format!("{:08X}:{:04X}", u32::from_ne_bytes(addr.ip().octets()), addr.port())
        };
        let key = format!(" {} {} ", hex(local), hex(peer));
        let empty = || {
            std::fs::read_to_string("/proc/net/tcp").ok().is_none_or(|table| {
                table.lines().find_map(|line| line.split_once(&key)).is_none_or(|(_, rest)| {
                    // "01 00000000:00000000 …": state, send queue, receive queue.
                    rest.split([' ', ':']).nth(1).is_none_or(|queue| queue.bytes().all(|digit| digit == b'0'))
                })
            })
        };
        let _ = tokio::time::timeout(DELIVERY, async {
            let mut pause = FIRST_PAUSE;
            while !empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        })
        .await;
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.tcp.poll_read_ready(cx))?;
            match self.0.tcp.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.tcp.poll_write_ready(cx))?;
            match self.0.tcp.try_write(buf) {
                Ok(written) => {
                    self.0.written.fetch_add(written as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_reset_comes_after_what_was_written() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = Socket::new(listener.accept().await.unwrap().0).unwrap();
        server.write_all(&vec![7; 50_000]).await.unwrap();
        server.delivered().await;
        server.reset_on_close().unwrap();
        drop(server);
        let mut got = Vec::new();
        let error = client.read_to_end(&mut got).await.unwrap_err();
        assert_eq!((error.kind(), got.len()), (io::ErrorKind::ConnectionReset, 50_000));
    }

    #[tokio::test]
    async fn finish_is_a_clean_end_of_our_direction() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = Socket::new(listener.accept().await.unwrap().0).unwrap();
        server.write_all(b"x").await.unwrap();
        server.finish().unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        client.write_all(b"y").await.unwrap();
        assert_eq!(got, b"x");
        assert_eq!(server.read_u8().await.unwrap(), b'y');
    }
}
