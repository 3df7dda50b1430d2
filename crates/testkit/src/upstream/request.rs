//! A request as an upstream received it.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::event::{Event, EventKind};
use crate::headers::Headers;
use crate::log::Log;
use crate::signal::{Signal, bounded};

/// The version that a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1, or what its request line said.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What is known of a request when its head is in.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: String,
    /// The target as sent; for HTTP/2 its `:path`.
    pub target: String,
    /// The version.
    pub version: Version,
    /// Every header line, in order. HTTP/1.1: in its own case. HTTP/2: lower case, lines of one name together,
    /// `:authority` as `host`.
    pub headers: Headers,
    /// The exact bytes of an HTTP/1.1 head; empty for HTTP/2.
    pub raw: Bytes,
    /// The connection, from 1.
    pub connection: u64,
    /// The how manieth on the connection, from 1.
    pub nth: u64,
}

impl RequestHead {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// How a request's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// As HTTP has it.
    Complete,
    /// The connection or the stream ended first, or the body was malformed.
    Cut,
}

/// A request that may still be arriving. Clones are the same request.
#[derive(Clone)]
pub struct ReceivedRequest(Arc<Inner>);

struct Inner {
    head: RequestHead,
    body: watch::Sender<Body>,
    gone: Signal,
    events: Option<Arc<Log<Event>>>,
}

/// Most that is held of what came after a 101 and was not taken, in bytes; more is not read.
const MAX_TUNNEL: usize = 64 << 20;

#[derive(Default)]
struct Body {
    frames: Vec<Vec<u8>>,
    /// Whether the last frame is still arriving.
    open: bool,
    trailers: Headers,
    end: Option<BodyEnd>,
    upgraded: bool,
    tunnel: Vec<u8>,
}

impl Body {
    fn len(&self) -> usize {
        self.frames.iter().map(Vec::len).sum()
    }
}

impl ReceivedRequest {
    pub(super) fn new(head: RequestHead, events: Option<Arc<Log<Event>>>) -> Self {
        let body = watch::Sender::new(Body::default());
        Self(Arc::new(Inner { head, body, gone: Signal::new(), events }))
    }

    /// The body as far as it has arrived, without its transfer encoding.
    pub fn body(&self) -> Bytes {
        Bytes::from(self.0.body.borrow().frames.concat())
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The frames that the body came in: the chunks of HTTP/1.1 (the last one maybe not whole), or else as
    /// they were read.
    pub fn frames(&self) -> Vec<Bytes> {
        self.0.body.borrow().frames.iter().cloned().map(Bytes::from).collect()
    }

    /// The trailers; empty if there were none.
    pub fn trailers(&self) -> Headers {
        self.0.body.borrow().trailers.clone()
    }

    /// How the body ended; `None` while it is arriving.
    pub fn body_end(&self) -> Option<BodyEnd> {
        self.0.body.borrow().end
    }

    /// Waits until the body has ended.
    pub async fn body_ended(&self) -> io::Result<BodyEnd> {
        self.until("the end of a request's body", |body| body.end.is_some()).await?;
        Ok(self.body_end().unwrap_or(BodyEnd::Cut))
    }

    /// Waits until `count` bytes of the body are in.
    pub async fn body_reached(&self, count: usize) -> io::Result<()> {
        self.until("bytes of a request's body", |body| body.len() >= count).await
    }

    /// Set when the client ends the connection, or the stream, before the response is complete.
    pub fn gone(&self) -> &Signal {
        &self.0.gone
    }

    /// What the client sent on the connection after a 101, and nobody has taken.
    pub fn tunnel(&self) -> Bytes {
        Bytes::from(self.0.body.borrow().tunnel.clone())
    }

    /// Waits until `count` bytes came after a 101.
    pub async fn tunnel_reached(&self, count: usize) -> io::Result<()> {
        self.until("bytes in a tunnel", |body| body.tunnel.len() >= count).await
    }

    /// Takes what came after a 101, as soon as there is something; empty when the client has gone.
    pub(crate) async fn take_tunnel(&self) -> Bytes {
        let mut body = self.0.body.subscribe();
        let more = body.wait_for(|body| !body.tunnel.is_empty());
        tokio::select! {
            biased;
            _ = more => {}
            () = self.0.gone.wait() => {}
        }
        let mut tunnel = Vec::new();
        self.0.body.send_modify(|body| tunnel = std::mem::take(&mut body.tunnel));
        Bytes::from(tunnel)
    }

    /// Waits until there is room for more of it.
    pub(super) async fn tunnel_has_room(&self) {
        let mut body = self.0.body.subscribe();
        // The sender lives in `self`.
        let _ = body.wait_for(|body| body.tunnel.len() < MAX_TUNNEL).await;
    }

    async fn until(&self, what: &str, met: impl FnMut(&Body) -> bool) -> io::Result<()> {
        let mut body = self.0.body.subscribe();
        // The sender lives in `self`, so that only the bound can end the wait.
        let _ = bounded(what, body.wait_for(met)).await?;
        Ok(())
    }

    #[cfg(feature = "testing")]
    /// Like [`ReceivedRequest::body_ended`], for scripts: without a bound.
    pub(super) async fn ended(&self) -> BodyEnd {
        let mut body = self.0.body.subscribe();
        let ended = body.wait_for(|body| body.end.is_some()).await;
        ended.ok().and_then(|body| body.end).unwrap_or(BodyEnd::Cut)
    }

    pub(super) fn event(&self, kind: EventKind) {
        if let Some(events) = &self.0.events {
            let (connection, nth) = (self.0.head.connection, self.0.head.nth);
            events.push_with(|seq| Event { seq, connection, nth, kind });
        }
    }

    pub(super) fn receive(&self, bytes: &[u8], ends_frame: bool) {
        if bytes.is_empty() {
            return;
        }
        if self.0.body.borrow().frames.is_empty() {
            self.event(EventKind::BodyStarted);
        }
        self.0.body.send_modify(|body| {
            match body.frames.last_mut() {
                Some(frame) if body.open => frame.extend_from_slice(bytes),
                _ => body.frames.push(bytes.to_vec()),
            }
            body.open = !ends_frame;
        });
    }

    pub(super) fn receive_trailers(&self, trailers: Headers) {
        self.0.body.send_modify(|body| body.trailers = trailers);
    }

    pub(super) fn end_body(&self, end: BodyEnd) {
        self.event(match end {
            BodyEnd::Complete => EventKind::BodyComplete,
            BodyEnd::Cut => EventKind::BodyCut,
        });
        self.0.body.send_modify(|body| body.end = Some(end));
    }

    pub(super) fn mark_gone(&self) {
        if !self.0.gone.is_set() {
            self.event(EventKind::ClientGone);
            self.0.gone.set();
        }
    }

    pub(super) fn upgrade(&self) {
        self.0.body.send_modify(|body| body.upgraded = true);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.0.body.borrow().upgraded
    }

    pub(super) fn receive_in_tunnel(&self, bytes: &[u8]) {
        self.0.body.send_modify(|body| body.tunnel.extend_from_slice(bytes));
    }
}

impl Deref for ReceivedRequest {
    type Target = RequestHead;

    fn deref(&self) -> &RequestHead {
        &self.0.head
    }
}

impl fmt::Debug for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.0.body.borrow();
        f.debug_struct("ReceivedRequest")
            .field("head", &self.0.head)
            .field("body_len", &body.len())
            .field("end", &body.end)
            .finish_non_exhaustive()
    }
}
