//! One relayed WebSocket: messages from either side, as they come, to the other.
//!
//! What is done about each is decided by [`Turns`]; the bytes are kept here. A side is read only while the other takes what
//! was read, so that a slow reader slows its peer and nothing else.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use http::StatusCode;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::Sleep;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::secret::TokenDigest;
use trunkline_core::sessions::SessionKey;
use trunkline_core::socket::{
    Boundary, ClientMessage, Close, Create, LimitEvents, Message, OnCreate, Options, ShownLimits,
    SocketFacts, Tick, TurnEnd, TurnState, Turns, UpstreamEvent,
};

use super::Way;
use super::signals::{Signal, Signals};
use super::turn::{Kept, Turn, check_user};
use crate::activity::Counted;
use crate::client_connection::{Ending, RequestGuard};
use crate::credential::{Credential, Told};
use crate::record::Record;
use crate::service::Service;
use crate::service::asked::Asked;
use crate::service::attempt::Tries;
use crate::service::own::Refusal;
use crate::service::show::with_view;
use crate::upstream::stream::Stream;
use crate::websocket::{Data, Incoming, Role, WebSocket};

/// What a relay begins with.
pub(super) struct Start {
    pub(super) service: Arc<Service>,
    pub(super) way: Way,
    pub(super) asked: Asked,
    pub(super) is_other_credential: bool,
    pub(super) credential: Arc<Credential>,
    pub(super) token: TokenDigest,
    pub(super) id: Arc<str>,
    pub(super) address: IpAddr,
    pub(super) guard: RequestGuard,
    /// Which configuration it was opened under.
    pub(super) configured: u64,
}

/// See the module.
pub(super) struct Relay {
    pub(super) service: Arc<Service>,
    pub(super) facts: &'static dyn SocketFacts,
    pub(super) way: Way,
    pub(super) asked: Asked,
    pub(super) credential: Arc<Credential>,
    /// The token that the upstream was opened with.
    pub(super) token: TokenDigest,
    pub(super) client: WebSocket<TokioIo<Upgraded>>,
    pub(super) upstream: WebSocket<Stream>,
    pub(super) turns: Turns,
    pub(super) turn: Option<Box<Turn>>,
    pub(super) guard: RequestGuard,
    pub(super) ending: Ending,
    pub(super) signals: Signals,
    timer: Pin<Box<Sleep>>,
    id: Arc<str>,
    address: IpAddr,
    begun: u64,
    passthrough: bool,
    configured: u64,
    /// Whether the provider has sent a message on the present connection.
    pub(super) has_spoken: bool,
}

/// What happens next.
pub(super) enum Event {
    Signal(Signal),
    Time,
    Client(Incoming),
    Upstream(Incoming),
}

/// Whether it goes on, and how it ends if not.
pub(super) enum Flow {
    On,
    /// Both sides are closed.
    Close(Close),
    /// The client's connection ends without a word.
    Drop,
    /// A side has closed, or failed: the other is told.
    Ended(Event),
}

/// What an event leaves to do that may have to be waited for. Most leave nothing.
enum Rest {
    Done(Flow),
    Signal(Signal),
    Create(Box<Create>, Data),
    Told(UpstreamEvent, Data),
    /// The upstream's end amid a turn.
    Gone(Incoming),
}

impl Relay {
    pub(super) fn new(start: Start, client: Upgraded, upstream: WebSocket<Stream>) -> Box<Self> {
        let Start {
            service,
            way,
            asked,
            is_other_credential,
            credential,
            token,
            id,
            address,
            guard,
            configured,
        } = start;
        let passthrough = asked.user.as_ref().is_some_and(|user| user.passthrough_limits);
        let options = Options {
            limits: if passthrough { LimitEvents::Passthrough } else { LimitEvents::Aggregate },
            idle: service.settings.idle,
            is_other_credential,
        };
        let now = Instant::now();
        let turns = Turns::new(options, now);
        let ending = guard.connection().ending();
        let signals = Signals::new(ending.clone(), &service.live, &credential);
        let first = turns.next_tick().unwrap_or(now);
        Box::new(Self {
            facts: way.facts,
            service,
            way,
            asked,
            credential,
            token,
            client: WebSocket::new(TokioIo::new(client), Role::Server, bytes::Bytes::new()),
            upstream,
            turns,
            turn: None,
            guard,
            ending,
            signals,
            timer: Box::pin(tokio::time::sleep_until(first.into())),
            id,
            address,
            begun: 0,
            passthrough,
            configured,
            has_spoken: false,
        })
    }

    /// Relays until either side ends.
    pub(super) async fn run(mut self: Box<Self>) {
        // It may have changed before anybody listened.
        let mut flow = Box::pin(self.on_signal(Signal::Credential)).await;
        if let Some(close) = self.end_if_configured() {
            flow = Flow::Close(close);
        }
        while matches!(flow, Flow::On) {
            let event = std::future::poll_fn(|context| self.poll_event(context)).await;
            flow = match self.on_event(event) {
                Rest::Done(flow) => flow,
                rest => Box::pin(self.on_rest(rest)).await,
            };
        }
        // Rare, and larger than what waits.
        Box::pin(self.end(flow)).await;
    }

    /// Whoever listens anew does not hear what was told before.
    pub(super) fn end_if_configured(&mut self) -> Option<Close> {
        let is_configured = *self.service.live.configured.borrow() != self.configured;
        is_configured.then(|| self.turns.end_at_boundary(Boundary::Service)).flatten()
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(signal) = self.signals.poll_next(context) {
            return Poll::Ready(Event::Signal(signal));
        }
        if let Some(at) = self.turns.next_tick()
            && at < self.timer.deadline().into_std()
        {
            self.timer.as_mut().reset(at.into());
        }
        if self.timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(Event::Time);
        }
        loop {
            let (to_client, to_upstream) = (self.client.has_room(), self.upstream.has_room());
            if to_client && let Poll::Ready(incoming) = self.upstream.poll_next(context) {
                return Poll::Ready(Event::Upstream(incoming));
            }
            if to_upstream && let Poll::Ready(incoming) = self.client.poll_next(context) {
                return Poll::Ready(Event::Client(incoming));
            }
            if let Poll::Ready(Err(_)) = self.client.poll_flush(context) {
                return Poll::Ready(Event::Client(Incoming::Lost));
            }
            if let Poll::Ready(Err(_)) = self.upstream.poll_flush(context) {
                return Poll::Ready(Event::Upstream(Incoming::Lost));
            }
            // Where there is room now, there may be something to read.
            if (to_client, to_upstream) == (self.client.has_room(), self.upstream.has_room()) {
                return Poll::Pending;
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Rest {
        if let Event::Client(incoming) | Event::Upstream(incoming) = &event
            && *incoming != Incoming::Pong
        {
            self.turns.on_frame(Instant::now());
        }
        match event {
            Event::Signal(signal) => Rest::Signal(signal),
            Event::Time => Rest::Done(self.on_time()),
            Event::Client(Incoming::Message(data)) => self.on_client(data),
            Event::Upstream(Incoming::Message(data)) => {
                if !std::mem::replace(&mut self.has_spoken, true) {
                    self.credential.live().sockets().on_message(Instant::now());
                }
                match self.facts.read_upstream(&data.bytes) {
                    event @ UpstreamEvent::Output => Rest::Done(self.pass(event, data)),
                    event => Rest::Told(event, data),
                }
            }
            Event::Upstream(end) if end.is_end() => Rest::Gone(end),
            Event::Client(Incoming::Ping | Incoming::Pong)
            | Event::Upstream(Incoming::Ping | Incoming::Pong) => Rest::Done(Flow::On),
            ended => Rest::Done(Flow::Ended(ended)),
        }
    }

    async fn on_rest(&mut self, rest: Rest) -> Flow {
        match rest {
            Rest::Done(flow) => flow,
            Rest::Signal(signal) => self.on_signal(signal).await,
            Rest::Create(create, data) => self.on_create(&create, data).await,
            Rest::Told(event, data) => self.on_upstream(event, data).await,
            Rest::Gone(end) => self.on_upstream_gone(end).await,
        }
    }

    fn on_time(&mut self) -> Flow {
        let now = Instant::now();
        let flow = match self.turns.on_time(now) {
            None => Flow::On,
            Some(Tick::Ping) => {
                // To the client as well: it keeps what lies between from forgetting a silent connection.
                self.upstream.ping();
                if self.client.has_room() {
                    self.client.ping();
                }
                Flow::On
            }
            Some(Tick::Close(close, end)) => {
                self.end_turn(end, false);
                Flow::Close(close)
            }
        };
        if let Some(at) = self.turns.next_tick() {
            self.timer.as_mut().reset(at.into());
        }
        flow
    }

    async fn on_signal(&mut self, signal: Signal) -> Flow {
        let close = match signal {
            Signal::Abort => {
                let (end, close) = self.turns.end_now();
                self.end_turn(end, false);
                return close.map_or(Flow::Drop, Flow::Close);
            }
            Signal::Stop | Signal::Configured => self.turns.end_at_boundary(Boundary::Service),
            Signal::Rebalanced if self.is_elsewhere() => self.turns.end_at_boundary(Boundary::Credential),
            Signal::Credential if !self.service.would_serve(&self.asked, &self.credential) => {
                self.turns.end_at_boundary(Boundary::Credential)
            }
            Signal::Interrupted if self.turn.is_some() => return self.on_interrupt().await,
            Signal::Rebalanced | Signal::Credential | Signal::Interrupted => None,
        };
        close.map_or(Flow::On, Flow::Close)
    }

    /// Whether its session has been sent to another credential, or is to be.
    fn is_elsewhere(&self) -> bool {
        self.asked.session.is_some()
            && self.service.last_credential(&self.asked) != Some(self.credential.id())
    }

    // --- from the client ---

    fn on_client(&mut self, data: Data) -> Rest {
        match self.facts.read_client(&data.bytes) {
            ClientMessage::Other => self.upstream.send(data),
            ClientMessage::Unreadable => {
                let message = "the message is no JSON object that can be read in one way only";
                self.tell_fault(&Fault::new(FaultKind::InvalidRequest, message));
            }
            ClientMessage::Create(create) => return Rest::Create(create, data),
        }
        Rest::Done(Flow::On)
    }

    async fn on_create(&mut self, create: &Create, data: Data) -> Flow {
        let strips = match self.turns.on_create(create) {
            OnCreate::Closed => return Flow::On,
            OnCreate::Busy => {
                let message = "a response is under way on this connection: ask for one at a time";
                self.tell_fault(&Fault::new(FaultKind::InvalidRequest, message));
                return Flow::On;
            }
            OnCreate::Begin { strips_turn_state } => strips_turn_state,
        };
        self.begin_turn(create, data.bytes.len());
        if let Err(fault) = check_user(self.asked.user.as_deref(), create) {
            return self.refuse_turn(&fault);
        }
        let strips = self.is_foreign(&create.turn_state).unwrap_or(strips);
        let data = match if strips { self.without_turn_state(create, data) } else { Ok(data) } {
            Ok(data) => data,
            Err(fault) => return self.refuse_turn(&fault),
        };
        if self.turns.keeps_request()
            && let Some(turn) = &mut self.turn
        {
            let memory = self.service.memory_of(self.asked.user.as_deref(), self.address);
            turn.kept = Kept::new(&data, self.service.settings.upload.replay_buffer, &memory);
        }
        if !self.service.would_serve(&self.asked, &self.credential) {
            return self.on_unusable().await;
        }
        self.upstream.send(data);
        Flow::On
    }

    /// Whether another credential than this one has issued a state, where it is known who did.
    pub(super) fn is_foreign(&self, state: &TurnState) -> Option<bool> {
        let TurnState::Value(state) = state else { return None };
        let issuer = self.service.live.issued_states().issuer(state.expose().as_bytes())?;
        Some(issuer != self.credential.id())
    }

    /// Without a state that another credential has issued.
    fn without_turn_state(&self, create: &Create, data: Data) -> Result<Data, Fault> {
        match self.facts.without_turn_state(&data.bytes) {
            Some(bytes) => Ok(Data { is_text: data.is_text, bytes: bytes.into() }),
            None if create.turn_state == TurnState::Absent => Ok(data),
            None => Err(Fault::new(
                FaultKind::InvalidRequest,
                "the turn state in the request belongs to another account and cannot be taken out",
            )),
        }
    }

    fn begin_turn(&mut self, create: &Create, bytes: usize) {
        let service = &self.service;
        self.begun += 1;
        let id: Arc<str> = format!("{}.{}", self.id, self.begun).into();
        self.asked.model.clone_from(&create.model);
        if self.asked.session.is_none()
            && let Some(session) = &create.session
        {
            let user = self.asked.user.as_ref().map(|user| user.id);
            self.asked.session = SessionKey::new(service.settings.id, user, session);
        }
        if let Some(session) = &self.asked.session {
            service.settings.bindings.table().touch(session, SystemTime::now());
        }
        let record = (!create.is_prewarm)
            .then(|| Record::begin(&id, &service.settings.tag, self.address, Instant::now()))
            .flatten()
            .map(|mut record| {
                record.user = self.asked.user.as_ref().map(|user| Arc::clone(&user.name));
                record.session = self.asked.session.as_ref().map(|session| session.session().to_owned());
                record.model.clone_from(&create.model);
                record.bytes_in = bytes as u64;
                record
            });
        let mut tries = Tries::new(id);
        tries.was_bound = self.asked.session.is_some();
        let mut turn = Box::new(Turn::new(create, record, tries));
        if !create.is_prewarm {
            turn.count(Counted::new(&service.live.activity));
        }
        turn.set_credential(&self.credential);
        self.turn = Some(turn);
    }

    // --- from the provider ---

    async fn on_upstream(&mut self, event: UpstreamEvent, data: Data) -> Flow {
        match event {
            UpstreamEvent::Limits | UpstreamEvent::Metadata => self.observe(&data).await,
            UpstreamEvent::Error | UpstreamEvent::Failed if self.turn.is_some() => {
                if let Some(flow) = self.on_failure(&data).await {
                    return flow;
                }
            }
            UpstreamEvent::Completed if self.turn.is_some() => self.credential.live().on_answered(true),
            _ => {}
        }
        self.pass(event, data)
    }

    /// What a message says of the account's limits counts before anything is shown of them.
    async fn observe(&mut self, data: &Data) {
        let now = SystemTime::now();
        let readings = self.service.provider.limit_facts().read_event(&data.bytes, now);
        if readings.is_worth_telling() {
            self.credential.live().tell_and_wait(Told::Readings(readings)).await;
        }
    }

    /// Passes a message of the provider's on.
    pub(super) fn pass(&mut self, event: UpstreamEvent, data: Data) -> Flow {
        let limit_facts = self.service.provider.limit_facts();
        let shown = match event {
            UpstreamEvent::Limits | UpstreamEvent::Completed if !self.passthrough => {
                with_view(&self.asked, |view| ShownLimits::of(limit_facts, view))
            }
            _ => None,
        };
        let issued = match event {
            UpstreamEvent::Metadata => self.facts.issued_state(&data.bytes),
            _ => None,
        };
        if let Some(state) = &issued {
            self.service.live.issued_states().note(state.expose().as_bytes(), self.credential.id());
        }
        let passing = self.turns.on_upstream(event, shown.as_ref(), issued);
        if passing.inserts_limits {
            self.send_limits();
        }
        match passing.message {
            Message::AsIs => self.send_to_client(data),
            Message::Aggregate => self.send_limits(),
            Message::AggregateHeaders => {
                let data = self.with_shown_headers(data);
                self.send_to_client(data);
            }
        }
        if let Some(turn) = &mut self.turn {
            turn.has_output |= event == UpstreamEvent::Output;
            if turn.kept.is_some() && !self.turns.keeps_request() {
                turn.kept = None;
            }
        }
        self.end_turn(passing.end, false);
        passing.close.map_or(Flow::On, Flow::Close)
    }

    /// The same once turns do not count any more.
    pub(super) fn pass_late(&mut self, data: Data) {
        match self.facts.read_upstream(&data.bytes) {
            UpstreamEvent::Limits if !self.passthrough => self.send_limits(),
            UpstreamEvent::Error | UpstreamEvent::Metadata if !self.passthrough => {
                let data = self.with_shown_headers(data);
                self.send_to_client(data);
            }
            _ => self.send_to_client(data),
        }
    }

    fn with_shown_headers(&self, data: Data) -> Data {
        let shown = with_view(&self.asked, |view| self.facts.with_shown_headers(&data.bytes, view));
        shown.map_or(data, Data::text)
    }

    fn send_limits(&mut self) {
        let limit_facts = self.service.provider.limit_facts();
        let event = with_view(&self.asked, |view| limit_facts.shown_event(view));
        if let Some(event) = event {
            self.send_to_client(Data::text(event));
        }
    }

    fn send_to_client(&mut self, data: Data) {
        if let Some(turn) = &mut self.turn {
            turn.on_passed(data.bytes.len());
        }
        self.client.send(data);
    }

    // --- our own words ---

    /// An error of ours.
    pub(super) fn tell_fault(&mut self, fault: &Fault) {
        let answer = self.service.provider.error(fault, &self.id);
        let event = self.facts.error_message(&answer, &[]);
        self.client.send(Data::text(event));
    }

    /// The turn that has just begun is refused.
    pub(super) fn refuse_turn(&mut self, fault: &Fault) -> Flow {
        let answer = self.service.provider.error(fault, &self.id);
        let event = self.facts.error_message(&answer, &[]);
        self.client.send(Data::text(event));
        self.end_refused(answer.status, format!("{}: {}", fault.kind.label(), fault.message))
    }

    /// The turn is refused, since no credential can serve it.
    pub(super) fn refuse_turn_for(&mut self, refusal: Refusal) -> Flow {
        let status = refusal.answer.status;
        let event = self.facts.error_message(&refusal.answer, &refusal.headers);
        self.client.send(Data::text(event));
        self.end_refused(status, refusal.detail)
    }

    fn end_refused(&mut self, status: StatusCode, detail: String) -> Flow {
        if let Some(turn) = &mut self.turn {
            turn.set_status(status);
            turn.set_detail(detail);
        }
        let (end, close) = self.turns.refuse();
        self.end_turn(end, false);
        close.map_or(Flow::On, Flow::Close)
    }

    pub(super) fn end_turn(&mut self, end: Option<TurnEnd>, is_client_gone: bool) {
        let Some(end) = end else { return };
        self.asked.model = None;
        if let Some(turn) = self.turn.take() {
            turn.finish(end, is_client_gone);
        }
    }
}
