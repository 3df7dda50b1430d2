//! Answers, step by step.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

#[cfg(feature = "testing")]
use super::go_away::GoAway;
#[cfg(feature = "testing")]
use crate::fixtures::{End, RecordedResponse};
use crate::headers::Headers;
use crate::signal::Signal;
#[cfg(feature = "testing")]
use crate::sse;
use crate::websocket::{Conversation, Held};

/// One step of an answer.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Interim(u16, Headers),
    Head(u16, Headers),
    Body(Bytes),
    Chunk(Bytes),
    Raw(Bytes),
    Trailers(Headers),
    Wait(Signal),
    Announce(Signal),
    Pause(Duration),
    Stall,
    Reset,
    Close,
    #[cfg(feature = "testing")]
    Refuse,
    #[cfg(feature = "testing")]
    LetGo,
    #[cfg(feature = "testing")]
    GoAway(GoAway),
    Converse(Held),
}

/// How an answer is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// HTTP/1.1: a TCP reset. HTTP/2: `RST_STREAM`.
    Reset,
    /// The connection is closed (FIN), without the last chunk and without a TLS close.
    Close,
}

/// An answer: its steps in order. What a script does not say is done as HTTP needs it: framing headers that
/// are missing are added ([`Script::body`], [`Script::chunk`]), and a body that was started is ended.
///
/// ```
/// # use trunkline_testkit::{Script, Signal};
/// let go_on = Signal::new();
/// let script = Script::status(200)
///     .header("content-type", "text/event-stream")
///     .chunk("data: 1\n\n")
///     .wait(&go_on)
///     .chunk("data: 2\n\n")
///     .reset();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Script {
    pub(super) steps: Vec<Step>,
    pub(super) cut: Option<(usize, Cut)>,
}

impl Script {
    /// Does nothing yet. Left like this, the connection is closed without an answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with a head without headers; add some with [`Script::header`].
    pub fn status(status: u16) -> Self {
        Self::new().step(Step::Head(status, Headers::new()))
    }

    /// A complete JSON answer.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::status(status).header("content-type", "application/json").body(value.to_string())
    }

    /// A complete answer in plain text.
    pub fn text(status: u16, text: &str) -> Self {
        Self::status(status).header("content-type", "text/plain; charset=utf-8").body(text.to_owned())
    }

    /// A stream of events, each of them a chunk: see [`crate::sse`] for making them.
    pub fn sse<E: Into<Bytes>>(events: impl IntoIterator<Item = E>) -> Self {
        let head = Self::status(200)
            .header("content-type", "text/event-stream; charset=utf-8")
            .header("cache-control", "no-cache")
            // So that a stream without an event is chunked too.
            .header("transfer-encoding", "chunked");
        events.into_iter().fold(head, Self::chunk)
    }

    #[cfg(feature = "testing")]
    /// A recorded answer: status and headers as recorded, the body in the recorded framing (event streams
    /// with a chunk for each event, for the recording does not say how they were cut), and the same end. A
    /// client that left is replayed as a close, since it may not leave this time.
    pub fn recorded(response: &RecordedResponse) -> Self {
        let Some(status) = response.status else {
            return Self::new().close();
        };
        let mut script = Self::new().head(status, response.headers.clone());
        if response.headers.contains("content-length") {
            script = script.body(response.body.clone());
        } else {
            script = sse::split(&response.body).into_iter().fold(script, Self::chunk);
        }
        match response.end {
            End::Complete => script,
            End::RstMidStream => script.reset(),
            End::EofMidStream | End::ClosedBeforeResponse | End::ClientGone(_) => script.close(),
        }
    }

    /// A head with exactly these headers, save for the framing if none of them tells it.
    pub fn head(self, status: u16, headers: Headers) -> Self {
        self.step(Step::Head(status, headers))
    }

    /// Adds a header to the head, or interim head, written last in the script.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Some(Step::Head(_, headers) | Step::Interim(_, headers)) =
            self.steps.iter_mut().rev().find(|step| matches!(step, Step::Head(..) | Step::Interim(..)))
        {
            headers.push(name, value);
        }
        self
    }

    /// Adds several headers.
    pub fn headers<N: Into<String>, V: Into<String>>(self, lines: impl IntoIterator<Item = (N, V)>) -> Self {
        lines.into_iter().fold(self, |script, (name, value)| script.header(name, value))
    }

    /// An interim head, such as 103 with `link`; HTTP/1.1 only.
    pub fn interim(self, status: u16, headers: Headers) -> Self {
        self.step(Step::Interim(status, headers))
    }

    /// Part of a body with a known length: without a framing header, `content-length` is the sum of the parts.
    pub fn body(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Body(bytes.into()))
    }

    /// One chunk: without a framing header, the body is chunked. Over HTTP/2, one DATA frame.
    pub fn chunk(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Chunk(bytes.into()))
    }

    /// Several chunks.
    pub fn chunks<B: Into<Bytes>>(self, chunks: impl IntoIterator<Item = B>) -> Self {
        chunks.into_iter().fold(self, Self::chunk)
    }

    /// Bytes as they are, outside any framing; HTTP/1.1 only.
    pub fn raw(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Raw(bytes.into()))
    }

    /// Ends a chunked body with trailers.
    pub fn trailers<N: Into<String>, V: Into<String>>(self, lines: impl IntoIterator<Item = (N, V)>) -> Self {
        self.step(Step::Trailers(lines.into_iter().collect()))
    }

    /// Goes on when `signal` is set; closes the connection if the client leaves meanwhile.
    pub fn wait(self, signal: &Signal) -> Self {
        self.step(Step::Wait(signal.clone()))
    }

    /// Sets `signal` when the script gets here: what came before has been written.
    pub fn announce(self, signal: &Signal) -> Self {
        self.step(Step::Announce(signal.clone()))
    }

    /// Goes on after a while. For demonstrations and load; a test uses [`Script::wait`].
    pub fn pause(self, time: Duration) -> Self {
        self.step(Step::Pause(time))
    }

    /// Never goes on, until the client leaves.
    pub fn stall(self) -> Self {
        self.step(Step::Stall)
    }

    /// Resets the connection, or the HTTP/2 stream, once the client's system has what was written.
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Closes the connection.
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    #[cfg(feature = "testing")]
    /// Refuses the HTTP/2 stream, as a server does that has not looked at its request: `RST_STREAM` with
    /// `REFUSED_STREAM`. HTTP/1.1 has no such thing: the connection is reset.
    pub fn refuse_stream(self) -> Self {
        self.step(Step::Refuse)
    }

    #[cfg(feature = "testing")]
    /// Resets the HTTP/2 stream in its middle as if nothing were wrong: `RST_STREAM` with `NO_ERROR`. HTTP/1.1 has no such
    /// thing: the connection is reset.
    pub fn let_go(self) -> Self {
        self.step(Step::LetGo)
    }

    #[cfg(feature = "testing")]
    /// Says `GOAWAY` behind what was written, and goes on; HTTP/2 only. The connection stays open until the
    /// script, or the client, closes it, and would take further streams: so a test sees a client that opens one.
    pub fn go_away(self, go_away: GoAway) -> Self {
        self.step(Step::GoAway(go_away))
    }

    /// Holds a conversation, behind a 101 ([`crate::websocket::accept`]); HTTP/1.1 only.
    pub fn converse(self, conversation: impl Conversation) -> Self {
        self.step(Step::Converse(Held(std::sync::Arc::new(conversation))))
    }

    /// Ends the answer as HTTP has it, here; what follows in the script is not done. The same happens at the
    /// end of every script.
    pub fn end(self) -> Self {
        self.step(Step::Trailers(Headers::new()))
    }

    /// Appends the steps of another script; how that one is cut, if it is, holds for the whole.
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self.cut = other.cut.or(self.cut);
        self
    }

    /// Sends exactly `bytes` bytes of the body and then cuts, maybe inside a chunk (whose size line says its
    /// full length). At the length of the body, or beyond, everything is sent but the end of a chunked body.
    pub fn cut_at(mut self, bytes: usize, cut: Cut) -> Self {
        self.cut = Some((bytes, cut));
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
