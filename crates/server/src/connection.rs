//! One connection of a client: HTTP/1.1 or HTTP/2 over it, and its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use trunkline_engine::client_connection::ClientConnection;

use crate::client_io::ClientIo;
use crate::drain::Drain;
use crate::front::CurrentFront;
use crate::stream_stall::{StreamExecutor, WatchedBody};
use crate::waits::Waits;

/// Read buffer of an HTTP/1.1 connection beyond the head that is allowed.
const HEAD_SLACK: usize = 64 * 1024;

/// Most that is read of a connection at once, where that is more than a head may have. Buffers grow up to this only while a
/// large body comes faster than it goes on; each read saved is a write and a wake-up saved on the provider's side.
const READ_BUFFER: usize = 384 * 1024;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 250;

/// What a client may send ahead on one HTTP/2 stream, and on a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// A ping when nothing has been heard for this long finds HTTP/2 clients that have gone.
const PING_AFTER: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// As its first bytes say (in clear: HTTP/2 by prior knowledge).
    Sniff,
    /// HTTP/1.1 by ALPN.
    Http1,
    /// HTTP/2 by ALPN.
    Http2,
}

/// Makes the HTTP side of connections; one for all connections of a listener.
#[derive(Debug, Clone)]
pub(crate) struct Http(auto::Builder<StreamExecutor>);

impl Http {
    /// `max_header`: the longest head that is taken. Heads of more than the read buffer are not even read.
    pub(crate) fn new(max_header: usize) -> Self {
        let mut builder = auto::Builder::new(StreamExecutor);
        builder
            .http1()
            .timer(TokioTimer::new())
            // The library's own bound of 100 header fields stays: it is the one that is checked without an allocation. Heads and
            // keep-alive have waits of our own, which cost nothing per request.
            .header_read_timeout(None)
            .max_buf_size(max_header.saturating_add(HEAD_SLACK).max(READ_BUFFER));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(max_header.saturating_mul(2)).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // A stream's next data goes into the queue when its last has left it: bounds what one stream holds in memory.
            .max_send_buf_size(1)
            .enable_connect_protocol()
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT);
        Self(builder)
    }

    /// Serves a connection to its end. When `drain` is stopped no further request is taken; when it is aborted, it ends at once.
    pub(crate) async fn serve<T>(
        &self,
        stream: T,
        client: Arc<ClientConnection>,
        fronts: CurrentFront,
        protocol: Protocol,
        drain: Drain,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        client.set_ending(drain.ending());
        self.serve_http(stream, &client, fronts, protocol, &drain).await;
        if let Some(continued) = client.take_continued() {
            continued.serve().await;
        }
    }

    async fn serve_http<T>(
        &self,
        stream: T,
        client: &Arc<ClientConnection>,
        fronts: CurrentFront,
        protocol: Protocol,
        drain: &Drain,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let first = Arc::clone(fronts.load().mounts.first());
        let io = TokioIo::new(ClientIo::new(stream, Arc::clone(client), first));
        let service = {
            let client = Arc::clone(client);
            service_fn(move |request: Request<Incoming>| {
                let service = Arc::clone(fronts.load().mounts.find(request.uri().path()));
                let client = Arc::clone(&client);
                async move { Ok::<_, Infallible>(service.handle(request, &client).await.map(WatchedBody::new)) }
            })
        };
        let builder = match protocol {
            Protocol::Sniff => self.0.clone(),
            Protocol::Http1 => self.0.clone().http1_only(),
            Protocol::Http2 => self.0.clone().http2_only(),
        };
        // What follows HTTP on a connection does not keep room for it.
        let mut connection = Box::pin(builder.serve_connection_with_upgrades(io, service));
        let mut stopped = pin!(drain.stopped());
        let mut aborted = pin!(drain.aborted());
        // The stop wakes this task once it has been waited for; waiting again at each turn would only cost.
        let mut waits_for_stop = false;
        let mut waits = pin!(Waits::new());
        let mut stopping = false;
        let ended = std::future::poll_fn(|context| {
            if !stopping && (!waits_for_stop || drain.is_stopping()) {
                waits_for_stop = true;
                if stopped.as_mut().poll(context).is_ready() {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            // An abort never comes before a stop.
            if stopping && aborted.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            waits.as_mut().poll_over(client, context).map(Ok)
        })
        .await;
        if let Err(error) = ended {
            tracing::debug!(peer = %client.peer(), %error, "connection ended");
        }
    }
}
