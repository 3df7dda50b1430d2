//! How a relayed WebSocket ends: each side's close reaches the other, and both connections are closed in order.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use trunkline_core::availability::RequestEnd;

use super::relay::{Event, Flow, Relay};
use crate::credential::Told;
use crate::websocket::{Incoming, NO_CODE, Violation, WebSocket, close_payload};

/// How long a close, or the end of a connection, is waited for.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a client may take to read what came before the provider's connection was lost.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// How much of that is left once everything is to end at once.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);

/// One side goes away (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;

/// Something that is not the peer's fault went wrong.
const INTERNAL_ERROR: u16 = 1011;

impl Relay {
    /// Ends both sides.
    pub(super) async fn end(mut self: Box<Self>, flow: Flow) {
        let end = self.turns.on_closed();
        let is_client_gone = matches!(flow, Flow::Ended(Event::Client(_)));
        if end.is_some() && matches!(flow, Flow::Ended(Event::Upstream(_))) {
            self.credential.live().tell(Told::Ended(RequestEnd::Cut));
        }
        self.end_turn(end, is_client_gone);
        let abort = self.ending.abort.clone();
        let ending = self.end_both(flow);
        tokio::pin!(ending);
        tokio::select! {
            () = &mut ending => {}
            () = abort.cancelled() => drop(tokio::time::timeout(ABORT_PATIENCE, ending).await),
        }
    }

    async fn end_both(&mut self, flow: Flow) {
        match flow {
            Flow::On | Flow::Drop => {
                self.upstream.close(close_payload(GOING_AWAY, ""));
                // Whatever it was going to be sent is left out.
                let client = std::future::poll_fn(|context| self.client.poll_shutdown(context));
                let _ = tokio::time::timeout(CLOSE_PATIENCE, client).await;
                let _ = tokio::time::timeout(CLOSE_PATIENCE, finish(&mut self.upstream)).await;
                return;
            }
            Flow::Close(close) => {
                let payload = close_payload(close.code, close.reason);
                self.client.close(payload.clone());
                self.upstream.close(payload);
            }
            Flow::Ended(Event::Client(Incoming::Close(payload))) => {
                self.upstream.close(payload.clone());
                let reply = tokio::time::timeout(CLOSE_PATIENCE, self.close_of_upstream()).await;
                self.client.close(reply.ok().flatten().unwrap_or(payload));
            }
            Flow::Ended(Event::Upstream(Incoming::Close(payload))) => {
                self.client.close(payload.clone());
                let reply = tokio::time::timeout(CLOSE_PATIENCE, self.close_of_client()).await;
                self.upstream.close(reply.ok().flatten().unwrap_or(payload));
            }
            Flow::Ended(Event::Client(Incoming::Broken(violation @ Violation { code, why }))) => {
                self.client.close(close_payload(code, why));
                // A close whose code may not stand on the wire is a close all the same.
                let told = if violation == NO_CODE { INTERNAL_ERROR } else { GOING_AWAY };
                self.upstream.close(close_payload(told, ""));
            }
            Flow::Ended(Event::Upstream(Incoming::Broken(Violation { code, why }))) => {
                tracing::warn!(
                    credential = &**self.credential.tag(),
                    "the provider broke the WebSocket: {why}"
                );
                self.upstream.close(close_payload(code, why));
                self.client.close(close_payload(INTERNAL_ERROR, "the provider's connection failed"));
            }
            Flow::Ended(Event::Upstream(_)) => {
                // Cut there, cut here, behind what came before.
                let flushed = std::future::poll_fn(|context| self.client.poll_flush(context));
                let _ = tokio::time::timeout(FLUSH_PATIENCE, flushed).await;
                let shut = std::future::poll_fn(|context| self.client.poll_shutdown(context));
                let _ = tokio::time::timeout(CLOSE_PATIENCE, shut).await;
                return;
            }
            Flow::Ended(_) => {
                self.upstream.close(close_payload(GOING_AWAY, ""));
                let _ = tokio::time::timeout(ABORT_PATIENCE, finish(&mut self.upstream)).await;
                return;
            }
        }
        let both = async { tokio::join!(finish(&mut self.client), finish(&mut self.upstream)) };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, both).await;
    }

    /// The upstream's close, behind what it still had to say.
    async fn close_of_upstream(&mut self) -> Option<Bytes> {
        loop {
            let next = std::future::poll_fn(|context| {
                let _ = self.client.poll_flush(context);
                let _ = self.upstream.poll_flush(context);
                if self.client.has_room() { self.upstream.poll_next(context) } else { Poll::Pending }
            });
            match next.await {
                Incoming::Message(data) => self.pass_late(data),
                Incoming::Close(payload) => return Some(payload),
                Incoming::Ping | Incoming::Pong => {}
                Incoming::Broken(_) | Incoming::Lost => return None,
            }
        }
    }

    /// The client's close. What it asks for is not sent any more where it could begin something, or where the provider, which
    /// has closed, takes no more.
    async fn close_of_client(&mut self) -> Option<Bytes> {
        loop {
            let next = std::future::poll_fn(|context| {
                let _ = self.client.poll_flush(context);
                let _ = self.upstream.poll_flush(context);
                self.client.poll_next(context)
            });
            match next.await {
                Incoming::Message(data) => {
                    if self.upstream.has_room()
                        && self.facts.read_client(&data.bytes) == trunkline_core::socket::ClientMessage::Other
                    {
                        self.upstream.send(data);
                    }
                }
                Incoming::Close(payload) => return Some(payload),
                Incoming::Ping | Incoming::Pong => {}
                Incoming::Broken(_) | Incoming::Lost => return None,
            }
        }
    }
}

/// Writes what is left, waits for the other end's close, and ends the connection.
async fn finish<T: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<T>) {
    std::future::poll_fn(|context| poll_finish(socket, context)).await;
}

fn poll_finish<T: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocket<T>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let flushed = socket.poll_flush(context);
    while !socket.is_over() {
        // Thrown away; unread, it would have the connection reset before the close was read.
        if socket.poll_next(context).is_pending() {
            return Poll::Pending;
        }
    }
    if flushed.is_pending() && socket.poll_flush(context).is_pending() {
        return Poll::Pending;
    }
    socket.poll_shutdown(context)
}
