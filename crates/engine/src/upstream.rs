//! The way out: connections to one provider address, and sending a request over them.
//!
//! An HTTP/1.1 connection has no task of its own: whoever waits for an answer drives it, first the exchange itself, then
//! the answer's own body (see [`crate::relay`]). That saves a channel hop, a wake-up and a task switch for every event of
//! a stream. An HTTP/2 connection is shared by many answers and has a task.

pub(crate) mod dial;
mod endpoints;
mod exchange_error;
mod http1;
mod http2;
mod origin;
pub mod outbound;
pub mod probe;
pub(crate) mod stream;
pub mod tls;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use trunkline_core::answer_head;

pub use dial::DialError;
pub use endpoints::Endpoints;
pub(crate) use exchange_error::{ExchangeError, NoAnswer};
pub use http1::Http1;
pub use http2::StreamPermit;
pub use origin::Origin;
pub use outbound::Outbound;

use crate::received_body::ReceivedBody;
use crate::upload::UploadBody;

/// Where a credential's requests go, and how.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// The base URL, taken apart.
    pub origin: Origin,
    /// The way there, hop by hop, the one that is dialled first in front; empty for TCP alone.
    pub way: Arc<[Outbound]>,
    /// Whose certificates are accepted.
    pub trust: tls::Trust,
    /// Longest time for names, TCP, proxies and TLS together.
    pub connect: Duration,
}

/// One provider address and the connections to it.
#[derive(Debug)]
pub struct Upstream {
    settings: UpstreamSettings,
    dialer: dial::Dialer,
    /// One for each worker: a connection is tied to the runtime that it was made on.
    pools: Vec<Pools>,
}

#[derive(Debug, Default)]
struct Pools {
    http1: http1::Pool,
    http2: http2::Pool,
}

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Tells which worker this thread is. On a thread that never says so, connections are made anew and not kept.
pub fn set_worker(index: usize) {
    WORKER.set(index);
}

/// A connection for one request.
#[derive(Debug)]
pub enum Connection {
    /// Of this request's own until its answer has ended. `reused`: it has served others before.
    Http1 {
        /// The connection.
        connection: Box<Http1>,
        /// Whether it has served others before.
        reused: bool,
    },
    /// A stream of a shared one.
    Http2 {
        /// The stream.
        stream: http2::Stream,
        /// Whether the connection has served others before.
        reused: bool,
    },
}

/// What keeps the connection of an answer that is being read.
#[derive(Debug)]
pub enum Source {
    /// An HTTP/1.1 connection, to be driven by the reader.
    Http1(Box<Http1>),
    /// A stream, counted until it ends.
    Http2(StreamPermit),
}

impl Upstream {
    /// An upstream without connections yet; they are made when they are needed. `workers`: how many threads will use it.
    pub fn new(settings: UpstreamSettings, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            dialer: dial::Dialer::new(&settings),
            settings,
            pools: (0..workers.max(1)).map(|_| Pools::default()).collect(),
        })
    }

    /// This thread's connections; `None` on a thread that is none of the workers.
    fn pools(&self) -> Option<&Pools> {
        self.pools.get(WORKER.get())
    }

    /// The address and base path.
    pub fn origin(&self) -> &Origin {
        &self.settings.origin
    }

    /// A connection: an idle or shared one unless `fresh` is asked for, else a new one.
    pub async fn connect(&self, fresh: bool) -> Result<Connection, DialError> {
        if !fresh && let Some(pools) = self.pools() {
            if let Some(connection) = pools.http1.take() {
                return Ok(Connection::Http1 { connection, reused: true });
            }
            if let Some(stream) = pools.http2.take() {
                return Ok(Connection::Http2 { stream, reused: true });
            }
        }
        // Large, and rare.
        Box::pin(self.connect_anew()).await
    }

    async fn connect_anew(&self) -> Result<Connection, DialError> {
        let dialled = self.dialer.dial(&self.settings.origin, tls::Offer::Usual).await?;
        if dialled.is_http2 {
            let (shared, stream) = http2::open(dialled.stream).await.map_err(DialError::handshake)?;
            if let Some(pools) = self.pools() {
                pools.http2.put(shared);
            }
            Ok(Connection::Http2 { stream, reused: false })
        } else {
            let connection = Http1::open(dialled.stream).await.map_err(DialError::handshake)?;
            Ok(Connection::Http1 { connection, reused: false })
        }
    }

    /// A connection of its own that speaks HTTP/1.1 and is to become something else.
    pub(crate) async fn connect_apart(&self) -> Result<Connection, DialError> {
        let dialled = self.dialer.dial(&self.settings.origin, tls::Offer::Http1).await?;
        let connection = Http1::open(dialled.stream).await.map_err(DialError::handshake)?;
        Ok(Connection::Http1 { connection, reused: false })
    }

    /// Takes back a connection whose answer has been read.
    pub fn put_back(&self, connection: Box<Http1>) {
        if let Some(pools) = self.pools() {
            pools.http1.put(connection);
        }
    }
}

/// Sends a request over a connection and waits for the head of its answer, which states the length of its body in one way at
/// most.
pub(crate) async fn exchange(
    connection: Connection,
    request: http::Request<UploadBody>,
) -> Result<(http::Response<ReceivedBody>, Source), ExchangeError> {
    let is_head = *request.method() == http::Method::HEAD;
    let (mut response, source) = match connection {
        Connection::Http1 { mut connection, .. } => {
            let response = connection.exchange(request).await?;
            (response, Source::Http1(connection))
        }
        Connection::Http2 { stream, .. } => {
            let (response, permit) = stream.exchange(request).await?;
            (response, Source::Http2(permit))
        }
    };
    let (version, status) = (response.version(), response.status());
    let headers = std::mem::take(response.headers_mut());
    *response.headers_mut() = answer_head::settle(version, status, is_head, headers)?;
    let is_bodiless = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = |incoming| ReceivedBody::new(incoming, version);
    Ok((response.map(|incoming| if is_bodiless { body(incoming).absent() } else { body(incoming) }), source))
}
