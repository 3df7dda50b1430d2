//! HTTP/2 connections to a provider: shared by many requests, each driven by a task.
//!
//! Several are kept: one connection's flow-control window makes parallel uploads of a megabyte wait for each other, and
//! a provider allows about 100 streams on one (performance.md, 7).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::task::AbortOnDropHandle;
use trunkline_core::answer_head::{MAX_FIELDS, MAX_SIZE};

use super::stream::Stream as Bytes;
use crate::upload::UploadBody;

/// Streams on a connection from which on another connection is opened, while there are few.
const SPREAD_FROM: usize = 4;

/// Connections up to which load is spread.
const SPREAD_OVER: usize = 8;

/// Streams on one connection; providers allow about 100 (RFC 9113 recommends no less).
const MAX_STREAMS: usize = 100;

/// What we let a provider send ahead on one stream, and on a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Longest head of an answer that is read at all, as HTTP/2 counts it (RFC 9113, 10.5.1: 32 bytes more for each field). More than
/// is taken, so that the refusal of a head that is a little too long can say why.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below the bound")]
const MAX_HEADER_LIST: u32 = 2 * (MAX_SIZE + 32 * MAX_FIELDS) as u32;

/// A ping when nothing has been heard for this long finds dead connections under long silences.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection, with a task that drives it.
#[derive(Debug)]
pub(super) struct Shared {
    sender: http2::SendRequest<UploadBody>,
    streams: Arc<AtomicUsize>,
    task: Arc<AbortOnDropHandle<()>>,
}

/// The connections.
#[derive(Debug, Default)]
pub(super) struct Pool {
    connections: Mutex<Vec<Shared>>,
}

/// A place on one of them, for one request.
#[derive(Debug)]
pub struct Stream {
    sender: http2::SendRequest<UploadBody>,
    permit: StreamPermit,
}

/// Counts as a stream of its connection until dropped, and keeps the connection's task alive.
#[derive(Debug)]
pub struct StreamPermit {
    streams: Arc<AtomicUsize>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    fn stream(&self) -> Stream {
        self.streams.fetch_add(1, Ordering::AcqRel);
        let permit = StreamPermit { streams: Arc::clone(&self.streams), _task: Arc::clone(&self.task) };
        Stream { sender: self.sender.clone(), permit }
    }
}

impl Pool {
    /// A place on the connection with the fewest streams, unless a further connection should be opened.
    pub(super) fn take(&self) -> Option<Stream> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|shared| !shared.sender.is_closed());
        let room = if connections.len() < SPREAD_OVER { SPREAD_FROM } else { MAX_STREAMS };
        connections
            .iter()
            .min_by_key(|shared| shared.streams.load(Ordering::Acquire))
            .filter(|shared| shared.streams.load(Ordering::Acquire) < room)
            .map(Shared::stream)
    }

    /// Keeps a connection for others to use.
    pub(super) fn put(&self, shared: Shared) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(shared);
    }
}

/// Opens a connection over a new byte stream, and takes the first place on it.
pub(super) async fn open(stream: Bytes) -> Result<(Shared, Stream), hyper::Error> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await?;
    // The reason of its end reaches the streams on it.
    let task = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    let shared = Shared { sender, streams: Arc::default(), task: Arc::new(task) };
    let first = shared.stream();
    Ok((shared, first))
}

impl Stream {
    pub(super) async fn exchange(
        mut self,
        request: http::Request<UploadBody>,
    ) -> Result<(http::Response<Incoming>, StreamPermit), hyper::Error> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        Ok((response, self.permit))
    }
}
