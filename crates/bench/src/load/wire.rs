//! Reading from a socket without a buffer per connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

/// The most that one read takes.
const READ: usize = 64 * 1024;

thread_local! {
    /// One buffer for all connections: what was read is consumed before anybody else reads.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Reads once and hands the bytes to `consume`; an empty slice means that the peer has closed.
pub(crate) async fn read_once<T>(
    stream: &mut TcpStream,
    mut consume: impl FnMut(&[u8]) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)).map_err(closed)?;
            Poll::Ready(consume(buffer.filled()))
        })
    })
    .await
}

fn closed(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("failed to read")
}
