//! A request body on its way to the provider: forwarded as it arrives, kept for a repeat while that may be needed, and
//! read by the scanner in passing.
//!
//! Spec: claude.md, *To the provider*. The chunks are the ones the HTTP library read; keeping them keeps a reference.

mod scanning;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use trunkline_core::body_rate::BodyRate;
use trunkline_core::headers;
use trunkline_core::provider::{WANTED_COUNT, WANTED_MODEL, WANTED_SESSION};
use trunkline_core::scan::{Found, Progress, Wanted};

use self::scanning::Scanning;
use crate::decode::{BodyDecoder, ContentCoding, DecodeError};
use crate::kept_bytes::{KeptBytes, Position};
use crate::memory_budget::{MemoryShare, Reservation};
use crate::received_body::ReceivedBody;

/// How much of a body is looked through for the model, for routing and for the log (claude.md, *To the provider*).
const MAX_SCAN_FOR_MODEL: u64 = 64 * 1024;

/// Bounds of one body.
#[derive(Debug, Clone, Copy)]
pub struct UploadLimits {
    /// Longest body accepted, in bytes, as sent and (where it is decoded for reading) decoded.
    pub max_body: u64,
    /// Most that is kept for a repeat.
    pub replay_buffer: u64,
    /// Longest silence of the client.
    pub silence: Duration,
    /// Least that the client must send in a second while it is waited for, in bytes; 0: however little.
    pub min_rate: u64,
    /// Longest wait for the provider, once it has the body or while it takes nothing of it.
    pub response_head: Duration,
}

/// Why a body is not forwarded (any further).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// Over `max_body`.
    #[error("the request body is over the limit")]
    TooLarge,
    /// The client has gone, or broke the framing of its body.
    #[error("the client's body ended early")]
    Broken,
    /// It could not be decoded for reading.
    #[error("the request body cannot be decoded")]
    Undecodable,
    /// There is no room to keep it while it must be read whole.
    #[error("no room to hold the request body")]
    NoRoom,
}

/// What the wait for the provider is waiting for, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// For the client to send more.
    ForClient(Instant),
    /// For the provider.
    ForProvider(Instant),
}

/// What of a body has not been received.
pub(crate) enum Unread {
    /// Nothing: it has ended.
    Nothing,
    /// What is still to come.
    Body(ReceivedBody),
    /// It failed, or the client has been silent for as long as it may: its end is not waited for.
    Lost,
}

/// A request body, shared between the tries of its request.
#[derive(Debug)]
pub struct Upload {
    state: Mutex<State>,
    limits: UploadLimits,
    coding: ContentCoding,
    memory: MemoryShare,
}

#[derive(Debug)]
struct State {
    incoming: Option<ReceivedBody>,
    length: Option<u64>,
    kept: KeptBytes,
    /// The length of what is in `kept`.
    kept_bytes: usize,
    /// What `kept` costs, of its user's share of the memory for bodies.
    reserved: Reservation,
    /// Whether everything so far is in `kept`.
    keeping: bool,
    /// How many tries there have been. The body of an earlier one may still be around.
    tries: u32,
    /// How much of what is kept the latest try has had.
    sent: Position,
    trailers: Option<HeaderMap>,
    received: u64,
    failed: Option<UploadError>,
    waiting_for_client: Option<Instant>,
    rate: BodyRate,
    /// Since when the provider has been waited for; `None` after every progress. The clock is only read when somebody waits.
    waiting_for_provider: Option<Instant>,
    scanning: Scanning<WANTED_COUNT>,
    /// Whether the whole body is to be read by the scanner.
    strict: bool,
    /// Whether anybody wants to know what it finds in passing.
    curious: bool,
    /// Whether it is being read before anything of it is sent: nothing that was read may then be let go.
    ahead: bool,
    /// Whether more was read ahead than may be kept.
    is_over: bool,
}

impl Upload {
    /// A body about to be read. `coding` is how it is compressed; `curious`: whether the model is wanted in passing; `memory`:
    /// the share of the one who sends it.
    pub fn new(
        incoming: ReceivedBody,
        coding: ContentCoding,
        wanted: [Wanted; WANTED_COUNT],
        limits: UploadLimits,
        memory: &MemoryShare,
        curious: bool,
    ) -> Result<Arc<Self>, UploadError> {
        let length = incoming.size_hint().exact();
        if length.is_some_and(|length| length > limits.max_body) {
            return Err(UploadError::TooLarge);
        }
        let ended = incoming.is_end_stream();
        let state = State {
            incoming: (!ended).then_some(incoming),
            length,
            kept: KeptBytes::default(),
            kept_bytes: 0,
            reserved: memory.empty(),
            keeping: true,
            tries: 0,
            sent: Position::default(),
            trailers: None,
            received: 0,
            failed: None,
            waiting_for_client: None,
            rate: BodyRate::new(limits.min_rate),
            waiting_for_provider: None,
            scanning: Scanning::new(wanted, decoder_for(coding, limits.max_body, memory)),
            strict: false,
            curious,
            ahead: false,
            is_over: false,
        };
        Ok(Arc::new(Self { state: Mutex::new(state), limits, coding, memory: memory.clone() }))
    }

    /// No body, of a request whose head is waited for within `limits`.
    pub(crate) fn none(limits: UploadLimits) -> Arc<Self> {
        Self::whole(Bytes::new(), limits)
    }

    /// A body of our own, which is there already.
    pub(crate) fn own(body: Bytes) -> Arc<Self> {
        let length = body.len() as u64;
        let limits = UploadLimits {
            max_body: length,
            replay_buffer: length,
            silence: Duration::MAX,
            min_rate: 0,
            response_head: Duration::MAX,
        };
        Self::whole(body, limits)
    }

    fn whole(body: Bytes, limits: UploadLimits) -> Arc<Self> {
        let length = body.len() as u64;
        let memory = MemoryShare::of_own();
        let state = State {
            incoming: None,
            length: Some(length),
            kept: body.into(),
            kept_bytes: 0,
            reserved: memory.empty(),
            keeping: true,
            tries: 0,
            sent: Position::default(),
            trailers: None,
            received: length,
            failed: None,
            waiting_for_client: None,
            rate: BodyRate::new(limits.min_rate),
            waiting_for_provider: None,
            scanning: Scanning::new([Wanted::Nothing; WANTED_COUNT], None),
            strict: false,
            curious: false,
            ahead: false,
            is_over: false,
        };
        Arc::new(Self { state: Mutex::new(state), limits, coding: ContentCoding::Identity, memory })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock would have come from the HTTP library; the state itself is never half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the whole body into memory, for the scanner to see every key of it before anything is sent.
    pub async fn read_whole(&self) -> Result<(), UploadError> {
        {
            let mut state = self.lock();
            state.strict = true;
            state.scanning.be_strict();
        }
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            loop {
                if state.scanning.has_more() {
                    if let Err(error) = state.scanning.step() {
                        return Poll::Ready(Err(state.fail(error.into())));
                    }
                    if state.scanning.has_more() {
                        // Decoding goes on when others have had their turn.
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
                match std::task::ready!(state.poll_next(self, context)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(state.scanning.end().map_err(UploadError::from)),
                }
            }
        })
        .await
    }

    /// Reads on until the scanner has seen the model, which is looked for in the first 64 KiB, and, if `wants_session`, the
    /// place of the session, which is looked for as far as the body is kept for a repeat; or until the body has ended. Of a
    /// compressed body, decoded bytes count.
    pub async fn read_for_routing(&self, wants_session: bool) -> Result<(), UploadError> {
        self.lock().ahead = true;
        let read = std::future::poll_fn(|context| {
            let mut state = self.lock();
            loop {
                let scanning = &state.scanning;
                let has = |at| *scanning.found(at) != Found::Nothing;
                let needs_session = wants_session
                    && !has(WANTED_SESSION.start)
                    && scanning.read() < self.limits.replay_buffer;
                let needs_model = !has(WANTED_MODEL) && scanning.read() < MAX_SCAN_FOR_MODEL;
                let is_over = state.is_over || scanning.is_over() || scanning.progress() != Progress::Reading;
                if is_over || !(needs_session || needs_model) {
                    return Poll::Ready(Ok(()));
                }
                if scanning.has_more() {
                    // One that cannot be read is forwarded all the same: `is_over`.
                    let _ = state.scanning.step();
                    if state.scanning.has_more() {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    continue;
                }
                match std::task::ready!(state.poll_next(self, context)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                }
            }
        })
        .await;
        let mut state = self.lock();
        state.ahead = false;
        state.scan_in_passing();
        read
    }

    /// Whether the body asks for its answer as a stream (`stream: true`). `None`: that cannot be told, since not all of the body
    /// has come or been kept, or it cannot be read. Reads what is kept, which few requests need: a client says it in a header
    /// as well, or the answer says what it is.
    pub(crate) async fn asks_stream(&self) -> Option<bool> {
        let decoder = decoder_for(self.coding, self.limits.replay_buffer, &self.memory);
        let mut scanning = Scanning::new([Wanted::Value("stream")], decoder);
        let mut position = Position::default();
        loop {
            while scanning.has_more() {
                scanning.step().ok()?;
                match scanning.found(0) {
                    Found::Nothing => {}
                    Found::Scalar(literal) => return Some(literal == "true"),
                    Found::Text(_) | Found::Unclear => return None,
                }
                if scanning.has_more() {
                    tokio::task::yield_now().await;
                }
            }
            let state = self.lock();
            if !state.keeping {
                return None;
            }
            let Some(chunk) = state.kept.read(&mut position) else {
                return (scanning.progress() == Progress::Ended).then_some(false);
            };
            scanning.take(&chunk);
        }
    }

    /// Whether there is a body.
    pub(crate) fn has_body(&self) -> bool {
        self.length() != Some(0)
    }

    /// The share of the memory for bodies of the one who sends this.
    pub(crate) fn memory(&self) -> &MemoryShare {
        &self.memory
    }

    /// What the scanner found so far: how far it came, the model, and the places of the session id.
    pub fn facts(&self) -> (Progress, Found, [Found; WANTED_COUNT - 1]) {
        let state = self.lock();
        (
            state.scanning.progress(),
            state.scanning.found(WANTED_MODEL).clone(),
            std::array::from_fn(|index| state.scanning.found(WANTED_SESSION.start + index).clone()),
        )
    }

    /// The model that it asks for, as far as the scanner has seen.
    pub fn model(&self) -> Option<String> {
        self.lock().scanning.found(WANTED_MODEL).text().map(str::to_owned)
    }

    /// Body for the next try: the kept part again, then what is still to come. `None` once something has been let go.
    pub fn next_try(self: &Arc<Self>) -> Option<UploadBody> {
        let mut state = self.lock();
        if !state.keeping {
            return None;
        }
        state.tries += 1;
        state.sent = Position::default();
        Some(UploadBody {
            upload: Arc::clone(self),
            number: state.tries,
            next: Position::default(),
            has_sent_trailers: false,
        })
    }

    /// Lets go of what was kept: an answer has been accepted, there will be no other try.
    pub fn release(&self) {
        let mut state = self.lock();
        state.keeping = false;
        // An answer may come before the provider has been sent all that was read: the rest of it is still to go.
        if state.kept.is_end(state.sent) {
            state.let_go();
        }
    }

    /// Whether there may be another try.
    pub fn can_repeat(&self) -> bool {
        let state = self.lock();
        state.keeping && state.failed.is_none()
    }

    /// Why the body failed, if it did.
    pub fn failure(&self) -> Option<UploadError> {
        self.lock().failed
    }

    /// The length that the client stated, in bytes.
    pub fn length(&self) -> Option<u64> {
        self.lock().length
    }

    /// Whether the client's body has been received to its end.
    pub(crate) fn is_received(&self) -> bool {
        let state = self.lock();
        state.failed.is_none() && state.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Takes what has not been received out of it, after which it can be sent no more.
    pub(crate) fn take_unread(&self) -> Unread {
        let mut state = self.lock();
        let is_silent = state.waiting_for_client.is_some_and(|since| since.elapsed() >= self.limits.silence);
        if state.failed.is_some() || is_silent {
            return Unread::Lost;
        }
        match state.incoming.take() {
            Some(body) if !body.is_end_stream() => {
                state.failed = Some(UploadError::Broken);
                Unread::Body(body)
            }
            _ => Unread::Nothing,
        }
    }

    /// Bytes received from the client.
    pub fn received(&self) -> u64 {
        self.lock().received
    }

    /// What is being waited for before the head of an answer is in.
    pub fn waiting(&self) -> Waiting {
        let mut state = self.lock();
        if let Some(since) = state.waiting_for_client {
            let patience = state.rate.patience().unwrap_or(Duration::MAX).min(self.limits.silence);
            return Waiting::ForClient(since + patience);
        }
        let since = *state.waiting_for_provider.get_or_insert_with(Instant::now);
        Waiting::ForProvider(since + self.limits.response_head)
    }
}

impl State {
    /// The next chunk from the client, kept and scanned.
    fn poll_next(
        &mut self,
        upload: &Upload,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, UploadError>>> {
        if let Some(error) = self.failed {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
            let frame = match Pin::new(incoming).poll_frame(context) {
                Poll::Pending => {
                    self.waiting_for_client.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
                Poll::Ready(frame) => frame,
            };
            // The clock is read only where somebody has waited.
            let waited = self.waiting_for_client.take().map_or(Duration::ZERO, |since| since.elapsed());
            self.waiting_for_provider = None;
            match frame {
                None => {
                    self.incoming = None;
                    return Poll::Ready(None);
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(self.fail(UploadError::Broken)))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) if chunk.is_empty() => {}
                    Ok(chunk) => {
                        self.rate.on_bytes(chunk.len() as u64, waited);
                        return Poll::Ready(Some(match self.take(&chunk, upload) {
                            Ok(()) => Ok(chunk),
                            Err(error) => Err(self.fail(error)),
                        }));
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok().map(headers::forwarded_request_trailers);
                    }
                },
            }
        }
    }

    /// Notes how far a try has come, and frees what was kept once nobody needs it any more.
    fn on_sent(&mut self, body: &UploadBody) {
        if body.number != self.tries {
            return;
        }
        self.sent = body.next;
        if !self.keeping && self.kept.is_end(self.sent) {
            self.let_go();
        }
    }

    /// Frees what was kept.
    fn let_go(&mut self) {
        self.kept = KeptBytes::default();
        self.kept_bytes = 0;
        self.reserved.shrink_to(0);
    }

    fn fail(&mut self, error: UploadError) -> UploadError {
        self.failed = Some(error);
        self.incoming = None;
        error
    }

    fn take(&mut self, chunk: &Bytes, upload: &Upload) -> Result<(), UploadError> {
        self.received += chunk.len() as u64;
        if self.received > upload.limits.max_body {
            return Err(UploadError::TooLarge);
        }
        if self.keeping {
            let bound = if self.strict { upload.limits.max_body } else { upload.limits.replay_buffer };
            self.kept_bytes += chunk.len();
            self.kept.push(chunk.clone());
            let more = self.kept.cost().saturating_sub(self.reserved.bytes());
            let fits = self.kept_bytes as u64 <= bound && self.reserved.grow(more);
            if !fits && self.strict {
                return Err(UploadError::NoRoom);
            }
            if !fits && self.ahead {
                // Not sent yet: kept until the first try has had it, one chunk beyond the bound at most.
                self.is_over = true;
            } else if !fits {
                // The running try has had all that was kept: only then does it ask for this chunk.
                self.keeping = false;
                self.let_go();
            }
        }
        self.scanning.take(chunk);
        if !self.strict && !self.ahead {
            self.scan_in_passing();
        }
        Ok(())
    }

    /// Reads what has come, as far as it is wanted for the log. That is little, and need not be interrupted.
    fn scan_in_passing(&mut self) {
        let wants_more = |scanning: &Scanning<WANTED_COUNT>| {
            !scanning.is_satisfied() && scanning.read() < MAX_SCAN_FOR_MODEL
        };
        while self.curious && self.scanning.has_more() && wants_more(&self.scanning) {
            // One that cannot be read is forwarded all the same.
            let _ = self.scanning.step();
        }
        if !self.curious || !wants_more(&self.scanning) {
            self.scanning.stop();
        }
    }
}

/// A decoder for a body, if it is compressed.
fn decoder_for(coding: ContentCoding, max: u64, memory: &MemoryShare) -> Option<BodyDecoder> {
    (coding != ContentCoding::Identity).then(|| BodyDecoder::new(coding, max, memory))
}

impl From<DecodeError> for UploadError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge => Self::TooLarge,
            DecodeError::Unreadable => Self::Undecodable,
            DecodeError::NoRoom => Self::NoRoom,
        }
    }
}

/// The body of one try.
#[derive(Debug)]
pub struct UploadBody {
    upload: Arc<Upload>,
    /// Which try it is.
    number: u32,
    /// How much of what is kept this try has had.
    next: Position,
    has_sent_trailers: bool,
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let upload = Arc::clone(&self.upload);
        let mut state = upload.lock();
        let kept = state.kept.read(&mut self.next);
        state.on_sent(&self);
        if let Some(chunk) = kept {
            state.waiting_for_provider = None;
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match std::task::ready!(state.poll_next(&upload, context)) {
            Some(Ok(chunk)) => {
                self.next = state.kept.end();
                state.on_sent(&self);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                let trailers = state.trailers.clone().filter(|_| !self.has_sent_trailers);
                self.has_sent_trailers = true;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.upload.lock();
        state.incoming.is_none()
            && state.failed.is_none()
            && state.kept.is_end(self.next)
            && (state.trailers.is_none() || self.has_sent_trailers)
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.upload.lock();
        state.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        let mut state = self.upload.lock();
        // The provider wants no more of it, and no other try will.
        if !state.keeping && state.tries == self.number {
            state.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_sent_though_the_answer_came_before() {
        let whole = Bytes::from_static(b"the whole body");
        let upload = Upload::own(whole.clone());
        let body = upload.next_try().unwrap();
        upload.release();
        assert!(upload.next_try().is_none());
        assert_eq!(body.collect().await.unwrap().to_bytes(), whole);
        assert_eq!(upload.lock().kept.cost(), 0);
    }

    #[tokio::test]
    async fn what_nobody_will_send_any_more_is_let_go() {
        let upload = Upload::own(Bytes::from_static(b"the whole body"));
        let body = upload.next_try().unwrap();
        upload.release();
        drop(body);
        assert_eq!(upload.lock().kept.cost(), 0);
    }
}
