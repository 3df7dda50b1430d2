//! The answer on its way to the client: bytes as they come, frames that are already waiting merged into one write, cuts
//! passed on as cuts.
//!
//! The body drives the provider's connection itself (performance.md, *A prototype that reaches nginx*). It never waits in
//! order to merge: it returns what it has as soon as nothing more is there.

mod limit_events;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use trunkline_core::availability::RequestEnd;
use trunkline_core::event_cut::StreamLimits;
use trunkline_core::headers;
use trunkline_core::provider::Provider;

use self::limit_events::{Left, LimitEvents};
use crate::client_connection::RequestGuard;
use crate::credential::{Credential, Told};
use crate::decode::BodyDecoder;
use crate::forward::Answer;
use crate::memory_budget::Reservation;
use crate::received_body::{BodyError, ReceivedBody};
use crate::record::{Outcome, Record};
use crate::upload::Upload;
use crate::upstream::{Http1, Source, StreamPermit, Upstream, dial};

/// Most that is merged into one write.
const MAX_MERGE: usize = 64 * 1024;

/// A frame of this size is written by itself: copying it costs more than the write that merging saves.
const LARGE_FRAME: usize = 16 * 1024;

/// How long a cut waits for an HTTP/2 client to take what came before it. The reset that tells of the cut would throw away
/// what is still queued.
const CUT_PATIENCE: Duration = Duration::from_secs(10);

/// What the buffer of a merge starts with.
const MERGE_BUFFER: usize = 8 * 1024;

/// The answer was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider cut its answer")]
pub struct Cut;

/// The body of an answer to a client.
#[derive(Debug)]
pub enum ResponseBody {
    /// One of our own, whole.
    Own {
        /// What is left to send of it.
        bytes: Option<Bytes>,
        /// Ends the request.
        guard: RequestGuard,
    },
    /// None: what follows the head is no body.
    Nothing,
    /// The provider's.
    Relay(Box<Relay>),
}

/// The provider's answer, as it comes.
#[derive(Debug)]
pub struct Relay {
    incoming: ReceivedBody,
    /// Takes the connection back.
    upstream: Arc<Upstream>,
    connection: Option<Box<Http1>>,
    _stream: Option<StreamPermit>,
    credential: Arc<Credential>,
    upload: Arc<Upload>,
    /// Frames read ahead of their turn: before the head was passed on, or since they could not be merged.
    stashed: VecDeque<Frame<Bytes>>,
    /// The room for what was read ahead, as long as that is there.
    held: Option<Reservation>,
    /// Whether the provider cut it while it was read ahead.
    was_cut: bool,
    /// Takes out what the client is not to see.
    cut_out: Option<Box<LimitEvents>>,
    /// Whose limit headers are not for the client's eyes, in trailers either.
    hidden_limits: Option<&'static dyn Provider>,
    state: State,
    idle: Duration,
    /// Since when the provider has been silent; `None` while it is not. The clock is only read once it falls silent.
    silent_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    record: Option<Box<Record>>,
    bytes_out: u64,
    guard: RequestGuard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Streaming,
    Ended,
    /// Cut; what was read before has been handed on or is about to be. Holds what must be written before the stream is
    /// reset (HTTP/2), once that is known.
    Cut(Option<u64>),
}

impl Relay {
    /// The relay of an answer whose head is in. `idle`: the longest silence in its middle.
    pub(crate) fn new(
        answer: Answer,
        credential: Arc<Credential>,
        upload: Arc<Upload>,
        idle: Duration,
        record: Option<Box<Record>>,
        guard: RequestGuard,
    ) -> Self {
        let Answer { response, upstream, source, read_ahead, begun, was_cut, .. } = answer;
        let (connection, stream) = match source {
            Source::Http1(connection) => (Some(connection), None),
            Source::Http2(permit) => (None, Some(permit)),
        };
        Self {
            incoming: response.into_body(),
            upstream,
            connection,
            _stream: stream,
            credential,
            upload,
            stashed: read_ahead,
            held: begun.and_then(|begun| begun.held),
            was_cut,
            cut_out: None,
            hidden_limits: None,
            state: State::Streaming,
            idle,
            silent_since: None,
            timer: None,
            record,
            bytes_out: 0,
            guard,
        }
    }

    /// Has what tells of the account's limits taken out of the answer, which is a stream of events. `decoder`: decodes it, if
    /// it is compressed; what goes on is decoded then.
    pub(crate) fn cut_limits(
        &mut self,
        limits: &'static StreamLimits,
        provider: &'static dyn Provider,
        decoder: Option<BodyDecoder>,
    ) {
        self.cut_out = Some(Box::new(LimitEvents::new(limits, provider, decoder)));
    }

    /// Has limits of the provider's account taken out of trailers.
    pub(crate) fn hide_limits(&mut self, provider: &'static dyn Provider) {
        self.hidden_limits = Some(provider);
    }

    /// What of trailers the client is shown.
    fn shown(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let is_limit = |name: &str| self.hidden_limits.is_some_and(|provider| provider.is_limit_header(name));
        match frame.into_trailers() {
            Ok(trailers) => Frame::trailers(headers::forwarded_response_trailers(trailers, is_limit)),
            Err(frame) => frame,
        }
    }

    /// The next frame for the client.
    fn poll_provider(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            if let Some(events) = &mut self.cut_out {
                match events.work_off(&self.credential) {
                    Left::Piece(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                    Left::Nothing => {}
                    Left::Later => {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Left::Unreadable(error) => {
                        tracing::warn!(?error, "the provider's stream cannot be decoded: cut");
                        return Poll::Ready(Some(Err(Cut)));
                    }
                }
            }
            let frame = ready!(self.poll_received(context));
            let Some(events) = &mut self.cut_out else { return Poll::Ready(frame) };
            let (then, was_cut) = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.silent_since = None;
                        events.push(data);
                        continue;
                    }
                    Err(trailers) => (Some(trailers), false),
                },
                Some(Err(_)) => (None, true),
                None => (None, false),
            };
            let was_cut = was_cut || !events.may_end();
            let held = events.end(&self.credential);
            self.was_cut |= was_cut;
            if !held.is_empty() {
                if let Some(trailers) = then.filter(|_| !was_cut) {
                    self.stashed.push_front(trailers);
                }
                return Poll::Ready(Some(Ok(Frame::data(held))));
            }
            return Poll::Ready(if was_cut { Some(Err(Cut)) } else { then.map(Ok) });
        }
    }

    /// Whether everything has been given to the client.
    fn is_through(&self) -> bool {
        !self.was_cut
            && self.stashed.is_empty()
            && self.cut_out.as_ref().is_none_or(|events| events.is_empty())
            && self.incoming.is_end_stream()
    }

    /// The next frame as the provider's connection gives it.
    fn poll_received(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(frame) = self.stashed.pop_front() {
            if self.stashed.is_empty() {
                self.held = None;
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.was_cut {
            return Poll::Ready(Some(Err(Cut)));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| self.lost(&error))));
        }
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        // Its end, too, shows in the body.
        let _ = connection.drive(context);
        Pin::new(&mut self.incoming)
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(|error| self.lost(&error))))
    }

    /// The provider cut its answer: the log is told how.
    fn lost(&mut self, error: &BodyError) -> Cut {
        if let Some(record) = &mut self.record {
            record.detail = Some(dial::chain(error));
        }
        Cut
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.state {
            State::Streaming => {}
            State::Ended => return Poll::Ready(None),
            State::Cut(_) => return self.poll_cut(context),
        }
        let first = match self.poll_provider(context) {
            Poll::Pending => {
                ready!(self.poll_silence(context));
                return self.cut(context);
            }
            Poll::Ready(None) => {
                self.end();
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(_))) => return self.cut(context),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        self.silent_since = None;
        let frame = match first.into_data() {
            Ok(data) => Frame::data(self.merge(data, context)),
            Err(frame) => self.shown(frame),
        };
        let length = frame.data_ref().map(Bytes::len);
        self.bytes_out += length.unwrap_or(0) as u64;
        self.guard.connection().on_given(length.unwrap_or(1));
        let is_last = self.state == State::Streaming && self.is_through();
        if is_last || self.state == State::Ended {
            self.end();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// Adds the frames that are waiting already.
    fn merge(&mut self, first: Bytes, context: &mut Context<'_>) -> Bytes {
        if first.len() >= LARGE_FRAME {
            return first;
        }
        let mut merged: Option<BytesMut> = None;
        let mut length = first.len();
        while length < MAX_MERGE {
            match self.poll_provider(context) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.state = State::Ended;
                    break;
                }
                Poll::Ready(Some(Err(_))) => {
                    self.state = State::Cut(None);
                    self.credential.live().tell(Told::Ended(RequestEnd::Cut));
                    break;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if length + data.len() <= MAX_MERGE => {
                        length += data.len();
                        merged
                            .get_or_insert_with(|| {
                                let mut buffer = BytesMut::with_capacity(MERGE_BUFFER.max(length));
                                buffer.extend_from_slice(&first);
                                buffer
                            })
                            .extend_from_slice(&data);
                    }
                    Ok(data) => {
                        self.stashed.push_front(Frame::data(data));
                        break;
                    }
                    Err(trailers) => {
                        self.stashed.push_front(trailers);
                        break;
                    }
                },
            }
        }
        merged.map_or(first, BytesMut::freeze)
    }

    /// Ready when the provider has been silent for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = *self.silent_since.get_or_insert_with(Instant::now) + self.idle;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            ready!(timer.as_mut().poll(context));
            if deadline <= Instant::now() {
                tracing::warn!("the provider was silent for {:?} in the middle of an answer: cut", self.idle);
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline.into());
        }
    }

    fn cut(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.state = State::Cut(None);
        self.credential.live().tell(Told::Ended(RequestEnd::Cut));
        // In whatever state the connection is: it serves nobody else.
        self.connection = None;
        self.poll_cut(context)
    }

    fn poll_cut(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(record) = &mut self.record {
            record.bytes_out = self.bytes_out;
            record.bytes_in = self.upload.received();
            record.finish(Outcome::Cut);
        }
        let client = self.guard.connection();
        if !client.is_http2() {
            // The listener closes the connection once it has written what it was given; this body never ends.
            client.cut();
            return Poll::Pending;
        }
        let State::Cut(target) = &mut self.state else { return Poll::Ready(None) };
        let begins = target.is_none();
        if client.poll_written(target, context).is_pending() {
            let deadline = Instant::now() + CUT_PATIENCE;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
            if begins {
                timer.as_mut().reset(deadline.into());
            }
            ready!(timer.as_mut().poll(context));
        }
        Poll::Ready(Some(Err(Cut)))
    }

    /// The end of the answer: its connection may serve others, its record is written.
    fn end(&mut self) {
        self.state = State::Ended;
        if let Some(connection) = self.connection.take() {
            self.upstream.put_back(connection);
        }
        if let Some(mut record) = self.record.take() {
            record.bytes_out = self.bytes_out;
            record.bytes_in = self.upload.received();
            record.finish(Outcome::of_whole(record.status));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A server does not poll a body of known length to its end.
        if self.state == State::Streaming && self.is_through() {
            self.end();
        }
        if let Some(record) = &mut self.record {
            record.bytes_out = self.bytes_out;
            record.bytes_in = self.upload.received();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Own { bytes, guard } => Poll::Ready(bytes.take().map(|bytes| {
                guard.connection().on_given(bytes.len());
                Ok(Frame::data(bytes))
            })),
            Self::Nothing => Poll::Ready(None),
            Self::Relay(relay) => relay.poll_next(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { bytes, .. } => bytes.is_none(),
            Self::Nothing => true,
            Self::Relay(relay) => {
                relay.state == State::Ended || (relay.state == State::Streaming && relay.is_through())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            // How much of it will be taken out is not known.
            Self::Relay(relay) if relay.cut_out.is_some() => SizeHint::default(),
            Self::Nothing => SizeHint::with_exact(0),
            Self::Relay(relay) => {
                let ahead: usize = relay.stashed.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
                match relay.incoming.size_hint().exact() {
                    Some(left) => SizeHint::with_exact(left + ahead as u64),
                    None => relay.incoming.size_hint(),
                }
            }
        }
    }
}
