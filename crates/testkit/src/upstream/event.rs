//! What an upstream saw and did, in order.

use std::sync::Arc;

use crate::log::Log;

/// Something that happened at an upstream. Order, not time: events are numbered across all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the order.
    pub seq: usize,
    /// The connection, from 1; 0 for a mark.
    pub connection: u64,
    /// The request on the connection, from 1; 0 if it is about the connection itself.
    pub nth: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A connection was accepted (with TLS: its handshake is done).
    Connected,
    /// The head of a request is in.
    Head,
    /// The first byte of a request's body is in.
    BodyStarted,
    /// A request's body is complete; also if it is empty.
    BodyComplete,
    /// A request's body ended too early.
    BodyCut,
    /// The head of the response was written.
    ResponseHead,
    /// The first byte of the response's body was written.
    ResponseBody,
    /// The response was written to its end.
    ResponseComplete,
    /// The script cut the response.
    ResponseCut,
    /// The client ended the connection, or the stream, before the response was complete.
    ClientGone,
    /// The connection is closed.
    Disconnected,
    /// Put there by the test.
    Mark(String),
}

/// Notes that a connection is there, and when dropped, that it is gone.
pub(super) struct Presence {
    events: Option<Arc<Log<Event>>>,
    connection: u64,
}

impl Presence {
    pub(super) fn new(events: Option<Arc<Log<Event>>>, connection: u64) -> Self {
        let presence = Self { events, connection };
        presence.note(EventKind::Connected);
        presence
    }

    fn note(&self, kind: EventKind) {
        if let Some(events) = &self.events {
            let connection = self.connection;
            events.push_with(|seq| Event { seq, connection, nth: 0, kind });
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.note(EventKind::Disconnected);
    }
}
