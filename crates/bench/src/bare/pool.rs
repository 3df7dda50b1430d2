//! Connections to the upstream that are driven by whoever uses them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Idle connections kept; more are closed.
const MAX_IDLE: usize = 256;

/// The idle connections to one upstream.
pub(crate) struct Pool {
    upstream: SocketAddr,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    sender: SendRequest<Incoming>,
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Incoming>>>,
    /// Whether the connection has ended, after which it must not be driven.
    ended: bool,
}

/// A connection in use; it returns to the pool only when released.
pub(crate) struct Link {
    pool: Rc<Pool>,
    inner: Idle,
}

// === impl Pool ===

impl Pool {
    /// An empty pool.
    pub(crate) fn new(upstream: SocketAddr) -> Rc<Self> {
        Rc::new(Self { upstream, idle: RefCell::default() })
    }

    /// The connection used last that is still open, or a new one.
    pub(crate) async fn take(pool: &Rc<Self>) -> anyhow::Result<Link> {
        let next = || pool.idle.borrow_mut().pop();
        while let Some(idle) = next() {
            let mut link = Link { pool: Rc::clone(pool), inner: idle };
            if poll_fn(|cx| Poll::Ready(link.is_ready(cx))).await {
                return Ok(link);
            }
        }
        let stream = TcpStream::connect(pool.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Link {
            pool: Rc::clone(pool),
            inner: Idle { sender, connection: Box::pin(connection), ended: false },
        })
    }
}

// === impl Link ===

impl Link {
    /// Sends a request and drives the connection until the head of the answer is there.
    pub(crate) async fn send(&mut self, request: Request<Incoming>) -> hyper::Result<Response<Incoming>> {
        let mut answer = pin!(self.inner.sender.send_request(request));
        poll_fn(|cx| {
            if let Poll::Ready(result) = answer.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Lets the connection read and write what it can. How it ends shows in the answer or in its body.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        self.inner.ended = self.inner.ended || self.inner.connection.as_mut().poll(cx).is_ready();
    }

    /// Puts the connection back, after an answer that has been read to its end.
    pub(crate) fn release(self) {
        let mut idle = self.pool.idle.borrow_mut();
        if !self.inner.ended && idle.len() < MAX_IDLE {
            idle.push(self.inner);
        }
    }

    /// Whether the connection takes another request; asking makes it notice that the peer has closed.
    fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.inner.ended && matches!(self.inner.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }
}
