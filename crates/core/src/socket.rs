//! What happens on a WebSocket between a client and its provider, as decisions.
//!
//! Spec: codex.md, *WebSocket*. Messages are relayed as they are; a provider's [`SocketFacts`] say what a message is, by a
//! scan that does not parse the rest of it, [`Turns`] is the state machine of one relayed connection, and [`Drops`] how often
//! a client's socket may be dropped to make it come back. Whoever relays keeps the bytes and does what these say.

mod drops;
mod health;
mod shown;
mod turns;

use std::fmt::Debug;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::failure::ErrorFields;
use crate::fault::FaultKind;
use crate::limits::View;
use crate::provider::OwnAnswer;
use crate::secret::Secret;

pub use drops::{Drops, MAX_DROPS, PER};
pub use health::{SETTLING, SocketHealth};
pub use shown::ShownLimits;
pub use turns::{
    AfterFailure, Boundary, Close, IDLE_BETWEEN_TURNS, LimitEvents, Message, OnCreate, Options, PING_EVERY,
    Passing, Tick, TurnEnd, TurnOutcome, Turns,
};

/// A client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// It asks for a response.
    Create(Box<Create>),
    /// Something else, which passes untouched.
    Other,
    /// It cannot be told whether it asks for a response: something like JSON that is no object to the end, or one that two
    /// readers could read differently where it matters. It is refused, since what is not understood here may be understood there.
    Unreadable,
}

/// A request for a response: what begins a turn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Create {
    /// Whether nothing is to be generated: the client fills the connection's cache before its first turn.
    pub is_prewarm: bool,
    /// The model, if it is named.
    pub model: Option<String>,
    /// The service tier, if one is named.
    pub service_tier: Option<String>,
    /// Whether it goes on from an earlier response, which only the connection that gave it knows.
    pub has_previous: bool,
    /// The session, where the message names one.
    pub session: Option<String>,
    /// The state that a credential gave to this turn, where the message carries one.
    pub turn_state: TurnState,
}

/// The state that an answer gives to its turn, as a message carries it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TurnState {
    /// None.
    #[default]
    Absent,
    /// This.
    Value(Secret),
    /// One that is no plain string, or stands there twice.
    Unclear,
}

/// A provider's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamEvent {
    /// The account's limits.
    Limits,
    /// Headers of the response, as an event.
    Metadata,
    /// It carries no output: nothing that another credential could not say as well.
    Preamble,
    /// An error, which ends the turn.
    Error,
    /// The turn has ended well.
    Completed,
    /// The turn has ended before its time.
    Incomplete,
    /// The turn has failed.
    Failed,
    /// Output, or what may hold some: it passes untouched, and no other credential can take the turn over.
    Output,
}

/// What a provider's WebSockets carry. Implementations are zero-sized; every function is pure.
pub trait SocketFacts: Debug + Send + Sync + 'static {
    /// Sets what an upgrade must carry and the client left out.
    fn complete_upgrade(&self, headers: &mut HeaderMap);

    /// The status by which a request for a WebSocket is refused by us: one at which the client ends, or takes to HTTP, at
    /// once, where another would have it ask for the WebSocket again and again.
    fn refusal_status(&self, kind: FaultKind) -> StatusCode;

    /// Whether the provider's refusal of a WebSocket with this status is the client's to see: it ends at it at once. Any other
    /// says that there is no WebSocket to be had now, and the client is sent to HTTP.
    fn passes_refusal(&self, status: StatusCode) -> bool;

    /// Bounds the size of a message that an upgrade's answer promises to take: the provider's, and at most `most` bytes.
    fn bound_messages(&self, headers: &mut HeaderMap, most: usize);

    /// What a client's message is.
    fn read_client(&self, message: &[u8]) -> ClientMessage;

    /// What a provider's message is.
    fn read_upstream(&self, message: &[u8]) -> UpstreamEvent;

    /// The state that a [`UpstreamEvent::Metadata`] message gives to the turn, if it does.
    fn issued_state(&self, message: &[u8]) -> Option<Secret>;

    /// The headers that a message carries, as if they were those of a response.
    fn event_headers(&self, message: &[u8]) -> HeaderMap;

    /// A message with what tells of limits among its headers replaced by what `view` shows. `None`: there is nothing to
    /// replace.
    fn with_shown_headers(&self, message: &[u8], view: &View<'_>) -> Option<String>;

    /// Whether an error is about the age of its connection and nothing else: it says nothing of the credential.
    fn is_connection_age(&self, error: &ErrorFields) -> bool;

    /// A client's message without the turn state in it, every other byte as it was. `None`: there is none, or the message
    /// cannot be edited.
    fn without_turn_state(&self, message: &[u8]) -> Option<Vec<u8>>;

    /// An answer of ours as a message.
    fn error_message(&self, answer: &OwnAnswer, headers: &[(HeaderName, HeaderValue)]) -> String;
}

#[cfg(test)]
mod tests;
