//! The state machine of one relayed connection.
//!
//! Spec: codex.md, *WebSocket*. It is told of every message and says what is to be done with it; it sees no bytes, no clock
//! and no socket. A turn lasts from a client's request for a response to the event that ends it. Between two turns the
//! connection may end without the client noticing (fact sheet, 4): that is where it ends when it must.

use std::time::{Duration, Instant};

use super::{Create, ShownLimits, TurnState, UpstreamEvent};
use crate::secret::Secret;

/// How long a connection may be silent between two turns.
pub const IDLE_BETWEEN_TURNS: Duration = Duration::from_secs(60 * 60);

/// How often we ping upstream.
pub const PING_EVERY: Duration = Duration::from_secs(30);

/// A close, as a frame has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The code.
    pub code: u16,
    /// The reason, at most 123 bytes.
    pub reason: &'static str,
}

impl Close {
    /// At a turn boundary: the client connects anew and sends its whole history (fact sheet, 3).
    pub const RESTART: Self = Self { code: 1012, reason: "connect again" };

    /// After too long a silence.
    pub const IDLE: Self = Self { code: 1001, reason: "idle for too long" };
}

/// What becomes of the provider's events about limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitEvents {
    /// The aggregate takes their place.
    Aggregate,
    /// They pass as they are (`rate_limit_headers: "passthrough"`).
    Passthrough,
}

/// What holds for a connection from its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What becomes of the provider's events about limits.
    pub limits: LimitEvents,
    /// Longest silence in a turn: `timeouts.idle`.
    pub idle: Duration,
    /// Whether the connection's credential is another than the session's last, so that state which the client brings is not
    /// this credential's.
    pub is_other_credential: bool,
}

/// Why a connection is to end at its next turn boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Its credential is no longer usable, or was rebalanced away. Forgotten when a turn moves to another credential.
    Credential,
    /// The configuration changed, or the process ends.
    Service,
}

/// What is to be done about a client's request for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCreate {
    /// It begins a turn: forwarded, or refused by [`Turns::refuse`].
    Begin {
        /// Whether the turn state in it belongs to another credential, and is taken out.
        strips_turn_state: bool,
    },
    /// A turn is under way; there is one at a time. Refused, and the turn goes on.
    Busy,
    /// The connection has ended: the message crossed our close, and is thrown away.
    Closed,
}

/// How a message of the provider's is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Byte for byte.
    AsIs,
    /// The aggregate's event takes its place.
    Aggregate,
    /// The keys about limits among its headers are replaced by the aggregate's.
    AggregateHeaders,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOutcome {
    /// Well.
    Completed,
    /// Before its time, by the provider's own word.
    Incomplete,
    /// With a failed response.
    Failed,
    /// With an error.
    Error,
    /// Refused by us before it was sent.
    Refused,
    /// With its connection, on either side.
    Cut,
}

/// The end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnEnd {
    /// How.
    pub outcome: TurnOutcome,
    /// Whether it was a prewarm: neither metered nor counted.
    pub is_prewarm: bool,
}

/// What is to be done about a message of the provider's, in this order: insert, pass, end the turn, close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passing {
    /// Whether the aggregate's event goes out before the message.
    pub inserts_limits: bool,
    /// How the message itself is passed on.
    pub message: Message,
    /// The turn that it ends.
    pub end: Option<TurnEnd>,
    /// The close that follows, of both sides.
    pub close: Option<Close>,
}

/// What is to be done about a failure that another credential would not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// The turn's request is sent again, over a new connection of the next credential, and the failure is not passed on.
    Resend {
        /// Whether the turn state is taken out of it.
        strips_turn_state: bool,
    },
    /// The client's socket is dropped without the failure, so that it comes back with its whole history; the turn has ended.
    DropClient(TurnEnd),
    /// Nothing but to pass it on.
    PassOn,
}

/// What is due at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// A ping to the provider.
    Ping,
    /// The end of the connection, and of the turn that was under way.
    Close(Close, Option<TurnEnd>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Turn(Turn),
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    is_prewarm: bool,
    has_previous: bool,
    has_turn_state: bool,
    /// Whether something was passed on that no other credential could take back.
    has_output: bool,
    /// Whether the provider told of limits in this turn.
    has_limits: bool,
}

/// The machine. See the module.
#[derive(Debug)]
pub struct Turns {
    options: Options,
    phase: Phase,
    boundary: Option<Boundary>,
    /// What the client last saw of the limits inside a turn's stream.
    shown: Option<ShownLimits>,
    /// Whether turn state that was not issued over this connection is another credential's.
    is_other_credential: bool,
    /// The turn state that the connection's credential issued last.
    issued: Option<Secret>,
    last_frame: Instant,
    last_ping: Instant,
}

impl Turns {
    /// A connection whose both sides are open.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            options,
            phase: Phase::Idle,
            boundary: None,
            shown: None,
            is_other_credential: options.is_other_credential,
            issued: None,
            last_frame: now,
            last_ping: now,
        }
    }

    /// Whether a turn is under way, a prewarm too.
    pub fn is_in_turn(&self) -> bool {
        matches!(self.phase, Phase::Turn(_))
    }

    /// Whether the turn's request may yet have to be sent again, so that it must be kept.
    pub fn keeps_request(&self) -> bool {
        matches!(self.phase, Phase::Turn(turn) if turn.may_move() && !turn.has_previous)
    }

    /// The client asks for a response.
    pub fn on_create(&mut self, create: &Create) -> OnCreate {
        match self.phase {
            Phase::Closed => return OnCreate::Closed,
            Phase::Turn(_) => return OnCreate::Busy,
            Phase::Idle => {}
        }
        self.phase = Phase::Turn(Turn {
            is_prewarm: create.is_prewarm,
            has_previous: create.has_previous,
            has_turn_state: create.turn_state != TurnState::Absent,
            has_output: false,
            has_limits: false,
        });
        let is_own = match (&create.turn_state, &self.issued) {
            (TurnState::Value(state), Some(issued)) => state == issued,
            _ => false,
        };
        let has_state = create.turn_state != TurnState::Absent;
        OnCreate::Begin { strips_turn_state: has_state && self.is_other_credential && !is_own }
    }

    /// The turn that has just begun is refused by us; the client is told by an event of ours, after which the close follows.
    pub fn refuse(&mut self) -> (Option<TurnEnd>, Option<Close>) {
        let end = self.end_turn(TurnOutcome::Refused);
        (end, self.at_boundary())
    }

    /// A message of the provider's is about to be passed on. `aggregate`: what the user would be shown now. `issued`: the turn
    /// state in it.
    ///
    /// A failure that another credential would not have goes to [`Turns::after_failure`] first, and comes here only when that
    /// says so.
    pub fn on_upstream(
        &mut self,
        event: UpstreamEvent,
        aggregate: Option<&ShownLimits>,
        issued: Option<Secret>,
    ) -> Passing {
        let mut passing = Passing { inserts_limits: false, message: Message::AsIs, end: None, close: None };
        if self.phase == Phase::Closed {
            return passing;
        }
        if issued.is_some() {
            self.issued = issued;
        }
        let replaces = self.options.limits == LimitEvents::Aggregate;
        match event {
            UpstreamEvent::Limits => {
                if replaces {
                    passing.message = Message::Aggregate;
                }
                match &mut self.phase {
                    // The client does not read it in a prewarm (fact sheet, 5).
                    Phase::Turn(turn) if turn.is_prewarm => {}
                    Phase::Turn(turn) => {
                        turn.has_limits = true;
                        self.shown = aggregate.cloned();
                    }
                    // Read at the beginning of the next turn.
                    Phase::Idle | Phase::Closed => self.shown = aggregate.cloned(),
                }
            }
            UpstreamEvent::Metadata => passing.message = self.headers(),
            UpstreamEvent::Preamble => {}
            UpstreamEvent::Output => {
                if let Phase::Turn(turn) = &mut self.phase {
                    turn.has_output = true;
                }
            }
            UpstreamEvent::Completed => {
                if let Phase::Turn(turn) = self.phase
                    && replaces
                    && !turn.is_prewarm
                    && !turn.has_limits
                    && aggregate.is_some()
                    && self.shown.as_ref() != aggregate
                {
                    passing.inserts_limits = true;
                    self.shown = aggregate.cloned();
                }
                passing.end = self.end_turn(TurnOutcome::Completed);
            }
            UpstreamEvent::Incomplete => passing.end = self.end_turn(TurnOutcome::Incomplete),
            UpstreamEvent::Failed => passing.end = self.end_turn(TurnOutcome::Failed),
            UpstreamEvent::Error => {
                passing.message = self.headers();
                passing.end = self.end_turn(TurnOutcome::Error);
            }
        }
        if passing.end.is_some() {
            passing.close = self.at_boundary();
        }
        passing
    }

    /// The turn has failed in a way that another credential would not have: by an event of the provider's, or because the
    /// credential turned out to be unusable for it. `may_drop` takes one of the session's [`super::Drops`].
    pub fn after_failure(&mut self, may_drop: impl FnOnce() -> bool) -> AfterFailure {
        let turn = match self.phase {
            Phase::Turn(turn) if turn.may_move() => turn,
            _ => return AfterFailure::PassOn,
        };
        if turn.has_previous {
            if !may_drop() {
                return AfterFailure::PassOn;
            }
            self.phase = Phase::Closed;
            return AfterFailure::DropClient(TurnEnd {
                outcome: TurnOutcome::Error,
                is_prewarm: turn.is_prewarm,
            });
        }
        // From here on the connection is another credential's.
        self.is_other_credential = true;
        self.issued = None;
        if self.boundary == Some(Boundary::Credential) {
            self.boundary = None;
        }
        AfterFailure::Resend { strips_turn_state: turn.has_turn_state }
    }

    /// The connection is to end at its next turn boundary: now, if it is idle.
    pub fn end_at_boundary(&mut self, why: Boundary) -> Option<Close> {
        if self.boundary != Some(Boundary::Service) {
            self.boundary = Some(why);
        }
        self.at_boundary()
    }

    /// The connection is to end now, turn or not: the drain's deadline.
    pub fn end_now(&mut self) -> (Option<TurnEnd>, Option<Close>) {
        if self.phase == Phase::Closed {
            return (None, None);
        }
        let end = self.end_turn(TurnOutcome::Cut);
        self.phase = Phase::Closed;
        (end, Some(Close::RESTART))
    }

    /// One side has closed, or was lost. What it said is passed on to the other.
    pub fn on_closed(&mut self) -> Option<TurnEnd> {
        let end = self.end_turn(TurnOutcome::Cut);
        self.phase = Phase::Closed;
        end
    }

    /// A frame came, from either side. Pongs are left out: they answer our own pings, and would keep a connection alive on
    /// which nothing happens.
    pub fn on_frame(&mut self, now: Instant) {
        self.last_frame = self.last_frame.max(now);
    }

    /// When [`Turns::on_time`] has something to do; `None` once it is closed.
    pub fn next_tick(&self) -> Option<Instant> {
        let ping = self.last_ping.checked_add(PING_EVERY);
        match (ping, self.idle_at()?) {
            (Some(ping), idle) => Some(ping.min(idle)),
            (None, idle) => Some(idle),
        }
    }

    /// What is due at `now`.
    pub fn on_time(&mut self, now: Instant) -> Option<Tick> {
        if self.idle_at()? <= now {
            let end = self.end_turn(TurnOutcome::Cut);
            self.phase = Phase::Closed;
            return Some(Tick::Close(Close::IDLE, end));
        }
        if now.saturating_duration_since(self.last_ping) >= PING_EVERY {
            self.last_ping = now;
            return Some(Tick::Ping);
        }
        None
    }

    /// `None` once it is closed. A wait that ends beyond all time ends with the longest one between turns.
    fn idle_at(&self) -> Option<Instant> {
        let wait = match self.phase {
            Phase::Closed => return None,
            Phase::Turn(_) => self.options.idle,
            Phase::Idle => IDLE_BETWEEN_TURNS,
        };
        self.last_frame.checked_add(wait).or_else(|| self.last_frame.checked_add(IDLE_BETWEEN_TURNS))
    }

    fn headers(&self) -> Message {
        match self.options.limits {
            LimitEvents::Aggregate => Message::AggregateHeaders,
            LimitEvents::Passthrough => Message::AsIs,
        }
    }

    fn end_turn(&mut self, outcome: TurnOutcome) -> Option<TurnEnd> {
        let Phase::Turn(turn) = self.phase else { return None };
        self.phase = Phase::Idle;
        Some(TurnEnd { outcome, is_prewarm: turn.is_prewarm })
    }

    fn at_boundary(&mut self) -> Option<Close> {
        if self.phase != Phase::Idle || self.boundary.is_none() {
            return None;
        }
        self.phase = Phase::Closed;
        Some(Close::RESTART)
    }
}

impl Turn {
    /// Whether another credential could take the turn over without the client noticing more than a new connection.
    fn may_move(self) -> bool {
        !self.has_output
    }
}
