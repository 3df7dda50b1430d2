use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::ids::{ServiceId, UserId};
use crate::limits::{Aggregate, AggregateWindow, BaseWindow, Utilization, View, WindowPair};
use crate::provider::codex::Codex;
use crate::sessions::SessionKey;

const IDLE: Duration = Duration::from_secs(600);

fn aggregate(percent: f64) -> Aggregate {
    let window = AggregateWindow {
        utilization: Utilization::from_percent(percent).unwrap(),
        resets_at: None,
        length: None,
        is_known: true,
        is_absent: false,
    };
    Aggregate {
        windows: WindowPair { five_hour: window, weekly: window },
        plan_weight: 1.0,
        is_usable: true,
        has_only_api_keys: false,
        frees: None,
        claim: BaseWindow::FiveHour,
    }
}

fn shown_at(aggregate: &Aggregate, seconds: u64) -> Option<ShownLimits> {
    let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_420_000 + seconds);
    ShownLimits::of(&Codex, &View { aggregate, now, is_peer: false, is_429: false, no_candidate: None })
}

fn shown(percent: f64) -> ShownLimits {
    shown_at(&aggregate(percent), 0).unwrap()
}

fn turns() -> (Turns, Instant) {
    let now = Instant::now();
    let options = Options { limits: LimitEvents::Aggregate, idle: IDLE, is_other_credential: false };
    (Turns::new(options, now), now)
}

fn turn() -> Create {
    Create::default()
}

fn prewarm() -> Create {
    Create { is_prewarm: true, ..turn() }
}

fn follow_up() -> Create {
    Create { has_previous: true, ..turn() }
}

fn with_state(state: &str) -> Create {
    Create { turn_state: TurnState::Value(Secret::new(state)), ..turn() }
}

const KEEP: OnCreate = OnCreate::Begin { strips_turn_state: false };
const STRIP: OnCreate = OnCreate::Begin { strips_turn_state: true };
const AS_IS: Passing = Passing { inserts_limits: false, message: Message::AsIs, end: None, close: None };

fn end(outcome: TurnOutcome) -> TurnEnd {
    TurnEnd { outcome, is_prewarm: false }
}

fn no_drops() -> bool {
    panic!("asked for a drop")
}

#[test]
fn a_turn_from_its_request_to_its_end() {
    use UpstreamEvent::*;
    let (mut turns, _) = turns();
    assert_eq!(turns.on_create(&turn()), KEEP);
    assert!(turns.is_in_turn() && turns.keeps_request());
    assert_eq!(turns.on_create(&turn()), OnCreate::Busy);
    for event in [Preamble, Output, Output] {
        assert_eq!(turns.on_upstream(event, None, None), AS_IS);
    }
    assert!(!turns.keeps_request());
    assert_eq!(
        turns.on_upstream(Completed, None, None),
        Passing { end: Some(end(TurnOutcome::Completed)), ..AS_IS }
    );
    assert!(!turns.is_in_turn());
    for (event, outcome) in [(Incomplete, TurnOutcome::Incomplete), (Failed, TurnOutcome::Failed)] {
        assert_eq!(turns.on_create(&follow_up()), KEEP);
        assert!(!turns.keeps_request());
        assert_eq!(turns.on_upstream(event, None, None), Passing { end: Some(end(outcome)), ..AS_IS });
    }
    // Outside a turn the same events end nothing.
    assert_eq!(turns.on_upstream(Completed, None, None), AS_IS);
}

#[test]
fn the_aggregate_takes_the_place_of_the_providers_event() {
    use UpstreamEvent::*;
    let (mut turns, _) = turns();
    let limits = shown(40.0);
    turns.on_create(&turn());
    let passing = turns.on_upstream(Limits, Some(&limits), None);
    assert_eq!(passing, Passing { message: Message::Aggregate, ..AS_IS });
    assert_eq!(turns.on_upstream(Metadata, Some(&limits), None).message, Message::AggregateHeaders);
    // The provider has told of limits in this turn.
    assert!(!turns.on_upstream(Completed, Some(&shown(50.0)), None).inserts_limits);
    // Nothing has changed since.
    turns.on_create(&turn());
    assert!(!turns.on_upstream(Completed, Some(&limits), None).inserts_limits);
    turns.on_create(&turn());
    assert!(turns.on_upstream(Completed, Some(&shown(50.0)), None).inserts_limits);
    // Nothing to show: API keys only.
    turns.on_create(&turn());
    assert!(!turns.on_upstream(Completed, None, None).inserts_limits);
    // A turn that does not complete tells nothing.
    turns.on_create(&turn());
    assert!(!turns.on_upstream(Failed, Some(&shown(60.0)), None).inserts_limits);
}

#[test]
fn what_is_shown_in_a_prewarm_is_not_seen_and_what_comes_between_turns_is() {
    use UpstreamEvent::*;
    let (mut turns, _) = turns();
    let limits = shown(40.0);
    turns.on_create(&prewarm());
    assert_eq!(turns.on_upstream(Limits, Some(&limits), None).message, Message::Aggregate);
    let passing = turns.on_upstream(Completed, Some(&limits), None);
    assert_eq!(passing.end, Some(TurnEnd { outcome: TurnOutcome::Completed, is_prewarm: true }));
    assert!(!passing.inserts_limits);
    turns.on_create(&turn());
    assert!(turns.on_upstream(Completed, Some(&limits), None).inserts_limits);
    // Behind the end of a turn: read at the beginning of the next (fact sheet, 5).
    let later = shown(45.0);
    assert_eq!(turns.on_upstream(Limits, Some(&later), None).message, Message::Aggregate);
    turns.on_create(&turn());
    assert!(!turns.on_upstream(Completed, Some(&later), None).inserts_limits);
}

#[test]
fn time_alone_changes_nothing_that_is_shown() {
    assert_eq!(shown_at(&aggregate(40.0), 0), shown_at(&aggregate(40.0), 3_000));
    assert_ne!(shown_at(&aggregate(40.0), 0), shown_at(&aggregate(40.01), 0));
    assert_eq!(shown_at(&Aggregate { has_only_api_keys: true, ..aggregate(0.0) }, 0), None);
}

#[test]
fn passthrough_touches_nothing() {
    use UpstreamEvent::*;
    let now = Instant::now();
    let options = Options { limits: LimitEvents::Passthrough, idle: IDLE, is_other_credential: false };
    let mut turns = Turns::new(options, now);
    turns.on_create(&turn());
    let limits = shown(1.0);
    for event in [Limits, Metadata] {
        assert_eq!(turns.on_upstream(event, Some(&limits), None), AS_IS);
    }
    assert!(!turns.on_upstream(Completed, Some(&shown(2.0)), None).inserts_limits);
    turns.on_create(&turn());
    assert_eq!(turns.on_upstream(Error, Some(&limits), None).message, Message::AsIs);
}

#[test]
fn a_turn_moves_to_another_credential_only_before_its_output() {
    use UpstreamEvent::*;
    let resend = AfterFailure::Resend { strips_turn_state: false };
    let (mut turns, _) = turns();
    assert_eq!(turns.after_failure(no_drops), AfterFailure::PassOn);
    turns.on_create(&turn());
    turns.on_upstream(Preamble, None, None);
    turns.on_upstream(Limits, None, None);
    turns.on_upstream(Metadata, None, None);
    assert_eq!(turns.after_failure(no_drops), resend);
    // And once more, from there.
    assert!(turns.keeps_request());
    assert_eq!(turns.after_failure(no_drops), resend);
    turns.on_upstream(Output, None, None);
    assert_eq!(turns.after_failure(no_drops), AfterFailure::PassOn);
    assert_eq!(turns.on_upstream(Error, None, None).end, Some(end(TurnOutcome::Error)));
}

#[test]
fn a_turn_that_goes_on_from_another_is_dropped_as_long_as_there_are_drops() {
    let (mut turns, _) = turns();
    turns.on_create(&follow_up());
    assert_eq!(turns.after_failure(|| false), AfterFailure::PassOn);
    assert!(turns.is_in_turn());
    let dropped = AfterFailure::DropClient(TurnEnd { outcome: TurnOutcome::Error, is_prewarm: false });
    assert_eq!(turns.after_failure(|| true), dropped);
    assert_eq!(turns.on_create(&turn()), OnCreate::Closed);
    assert_eq!((turns.on_closed(), turns.next_tick()), (None, None));
}

#[test]
fn the_turn_state_of_another_credential_is_taken_out() {
    use UpstreamEvent::*;
    let state = |text: &str| Some(Secret::new(text));
    // The session's own credential: it stays, also after a reconnect.
    let (mut own, now) = turns();
    assert_eq!(own.on_create(&with_state("a")), KEEP);
    // Another's, from the beginning.
    let options = Options { limits: LimitEvents::Aggregate, idle: IDLE, is_other_credential: true };
    let mut turns = Turns::new(options, now);
    assert_eq!(turns.on_create(&turn()), KEEP);
    turns.on_upstream(Completed, None, None);
    assert_eq!(turns.on_create(&with_state("a")), STRIP);
    turns.on_upstream(Metadata, None, state("b"));
    turns.on_upstream(Completed, None, None);
    assert_eq!(turns.on_create(&with_state("b")), KEEP);
    turns.on_upstream(Completed, None, None);
    assert_eq!(turns.on_create(&with_state("a")), STRIP);
    turns.on_upstream(Completed, None, None);
    assert_eq!(turns.on_create(&Create { turn_state: TurnState::Unclear, ..turn() }), STRIP);
    turns.on_upstream(Completed, None, None);
    // After a move nothing that the first issued is good any more.
    assert_eq!(turns.on_create(&with_state("b")), KEEP);
    assert_eq!(turns.after_failure(no_drops), AfterFailure::Resend { strips_turn_state: true });
    turns.on_upstream(Completed, None, None);
    assert_eq!(turns.on_create(&with_state("b")), STRIP);
}

#[test]
fn it_ends_between_turns() {
    use UpstreamEvent::*;
    let close = Some(Close::RESTART);
    for why in [Boundary::Credential, Boundary::Service] {
        let (mut turns, _) = turns();
        assert_eq!(turns.end_at_boundary(why), close);
        assert_eq!(turns.end_at_boundary(why), None);
        assert_eq!(turns.on_create(&turn()), OnCreate::Closed);
    }
    let (mut turns, _) = turns();
    turns.on_create(&turn());
    assert_eq!(turns.end_at_boundary(Boundary::Service), None);
    assert_eq!(turns.on_upstream(Output, None, None).close, None);
    assert_eq!(turns.on_upstream(Completed, None, None).close, close);
    let (mut turns, _) = self::turns();
    turns.on_create(&turn());
    turns.end_at_boundary(Boundary::Service);
    assert_eq!(turns.refuse(), (Some(end(TurnOutcome::Refused)), close));
}

#[test]
fn a_credentials_end_is_not_that_of_the_turn_that_left_it() {
    use UpstreamEvent::*;
    let (mut turns, _) = turns();
    turns.on_create(&turn());
    turns.end_at_boundary(Boundary::Credential);
    assert!(matches!(turns.after_failure(no_drops), AfterFailure::Resend { .. }));
    assert_eq!(turns.on_upstream(Completed, None, None).close, None);
    turns.on_create(&turn());
    turns.end_at_boundary(Boundary::Service);
    turns.end_at_boundary(Boundary::Credential);
    turns.after_failure(no_drops);
    assert_eq!(turns.on_upstream(Completed, None, None).close, Some(Close::RESTART));
}

#[test]
fn the_drains_deadline_cuts_a_turn() {
    let (mut turns, _) = turns();
    turns.on_create(&prewarm());
    let cut = TurnEnd { outcome: TurnOutcome::Cut, is_prewarm: true };
    assert_eq!(turns.end_now(), (Some(cut), Some(Close::RESTART)));
    assert_eq!(turns.end_now(), (None, None));
}

#[test]
fn silence_ends_it_and_pings_do_not_keep_it() {
    let (mut turns, start) = turns();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    assert_eq!(turns.next_tick(), Some(at(30)));
    assert_eq!(turns.on_time(at(29)), None);
    assert_eq!(turns.on_time(at(30)), Some(Tick::Ping));
    assert_eq!(turns.next_tick(), Some(at(60)));
    assert_eq!(turns.on_time(at(3_599)), Some(Tick::Ping));
    turns.on_frame(at(3_599));
    assert_eq!(turns.on_time(at(3_600)), None);
    turns.on_create(&turn());
    assert_eq!(turns.on_time(at(4_198)), Some(Tick::Ping));
    assert_eq!(turns.next_tick(), Some(at(4_199)));
    assert_eq!(turns.on_time(at(4_199)), Some(Tick::Close(Close::IDLE, Some(end(TurnOutcome::Cut)))));
    assert_eq!((turns.next_tick(), turns.on_time(at(9_999))), (None, None));
    let (mut idle, start) = self::turns();
    assert_eq!(idle.on_time(start + IDLE_BETWEEN_TURNS), Some(Tick::Close(Close::IDLE, None)));
    // An endless wait is none that overflows.
    let options = Options { limits: LimitEvents::Aggregate, idle: Duration::MAX, is_other_credential: false };
    let mut endless = Turns::new(options, start);
    endless.on_create(&turn());
    assert_eq!(endless.next_tick(), Some(start + PING_EVERY));
}

fn key(session: &str) -> SessionKey {
    SessionKey::new(ServiceId(0), Some(UserId(0)), session).unwrap()
}

#[test]
fn two_drops_of_a_session_within_a_minute() {
    let mut drops = Drops::new();
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    assert!(drops.take(&key("a"), at(0)) && drops.take(&key("a"), at(30)));
    assert!(!drops.take(&key("a"), at(59)));
    assert!(drops.take(&key("b"), at(59)));
    assert!(drops.take(&key("a"), at(60)));
    assert!(!drops.take(&key("a"), at(89)));
    assert!(drops.take(&key("a"), at(90)));
}

#[test]
fn sessions_that_drop_are_not_remembered_without_bound() {
    let mut drops = Drops::new();
    let start = Instant::now();
    for index in 0..10_000 {
        assert!(drops.take(&key(&index.to_string()), start));
    }
    assert!(!drops.take(&key("more"), start));
    assert!(drops.take(&key("7"), start));
    assert!(drops.take(&key("more"), start + PER));
}

#[derive(Debug, Clone)]
enum Op {
    Create(Create),
    Refuse,
    Upstream(UpstreamEvent, u8, Option<u8>),
    /// A failure that another credential would not have, as an event; whether there is a drop left.
    Failure(bool),
    Boundary(Boundary),
    EndNow,
    Closed,
    Frame,
    Time(u64),
}

fn op() -> impl Strategy<Value = Op> {
    use UpstreamEvent::*;
    let event =
        prop::sample::select(vec![Limits, Metadata, Preamble, Error, Completed, Incomplete, Failed, Output]);
    let create = (any::<bool>(), any::<bool>(), prop::option::of(0_u8..3)).prop_map(
        |(is_prewarm, has_previous, state)| {
            let turn_state =
                state.map_or(TurnState::Absent, |state| TurnState::Value(Secret::new(state.to_string())));
            Op::Create(Create { is_prewarm, has_previous, turn_state, ..Create::default() })
        },
    );
    prop_oneof![
        6 => create,
        1 => Just(Op::Refuse),
        12 => (event, 0_u8..3, prop::option::of(0_u8..3)).prop_map(|(event, percent, state)| Op::Upstream(event, percent, state)),
        3 => any::<bool>().prop_map(Op::Failure),
        1 => prop::sample::select(vec![Boundary::Credential, Boundary::Service]).prop_map(Op::Boundary),
        1 => Just(Op::EndNow),
        1 => Just(Op::Closed),
        2 => Just(Op::Frame),
        3 => (0_u64..400).prop_map(Op::Time),
    ]
}

/// What an observer of the connection knows of it, told apart from how the machine keeps it.
#[derive(Default)]
struct Observer {
    in_turn: Option<Create>,
    output: bool,
    limits: bool,
    closed: bool,
    ends: usize,
    begun: usize,
    asked: Option<Boundary>,
    last_seen: Option<ShownLimits>,
}

impl Observer {
    fn end(&mut self, end: Option<TurnEnd>) {
        if let Some(end) = end {
            let turn = self.in_turn.take().expect("a turn that ends has begun");
            assert_eq!(end.is_prewarm, turn.is_prewarm);
            self.ends += 1;
        }
    }

    fn close(&mut self, close: Option<Close>) {
        if close.is_some() {
            assert!(!self.closed, "closed once");
            self.closed = true;
        }
    }
}

proptest! {
    #[test]
    fn every_interleaving_keeps_the_promises(ops in prop::collection::vec(op(), 0..80), foreign: bool) {
        let start = Instant::now();
        let options = Options { limits: LimitEvents::Aggregate, idle: IDLE, is_other_credential: foreign };
        let mut turns = Turns::new(options, start);
        let mut seen = Observer::default();
        let (mut now, mut last_frame) = (start, start);
        // Which states the present credential is known not to have issued.
        let (mut other, mut issued) = (foreign, None::<String>);
        for op in ops {
            match op {
                Op::Create(create) => match turns.on_create(&create) {
                    OnCreate::Closed => prop_assert!(seen.closed),
                    OnCreate::Busy => prop_assert!(seen.in_turn.is_some()),
                    OnCreate::Begin { strips_turn_state } => {
                        prop_assert!(!seen.closed && seen.in_turn.is_none() && seen.asked.is_none());
                        let state = match &create.turn_state {
                            TurnState::Value(state) => Some(state.expose().to_owned()),
                            _ => None,
                        };
                        prop_assert_eq!(strips_turn_state, other && state.is_some() && state != issued);
                        seen.in_turn = Some(create);
                        (seen.output, seen.limits) = (false, false);
                        seen.begun += 1;
                    }
                },
                Op::Refuse => {
                    let (end, close) = turns.refuse();
                    prop_assert_eq!(end.is_some(), seen.in_turn.is_some());
                    seen.end(end);
                    seen.close(close);
                }
                Op::Upstream(event, percent, state) => {
                    let aggregate = shown(f64::from(percent));
                    let state = state.filter(|_| event == UpstreamEvent::Metadata).map(|state| state.to_string());
                    let before = seen.in_turn.clone();
                    let passing = turns.on_upstream(event, Some(&aggregate), state.clone().map(Secret::new));
                    if seen.closed {
                        prop_assert_eq!(passing, AS_IS);
                        continue;
                    }
                    issued = state.or(issued);
                    prop_assert_eq!(passing.message == Message::Aggregate, event == UpstreamEvent::Limits);
                    let is_turn = before.as_ref().is_some_and(|turn| !turn.is_prewarm);
                    let changed = seen.last_seen.as_ref() != Some(&aggregate);
                    prop_assert_eq!(
                        passing.inserts_limits,
                        event == UpstreamEvent::Completed && is_turn && !seen.limits && changed
                    );
                    let is_seen = event == UpstreamEvent::Limits && (is_turn || before.is_none());
                    if passing.inserts_limits || is_seen {
                        seen.last_seen = Some(aggregate);
                        seen.limits = true;
                    }
                    seen.output |= event == UpstreamEvent::Output;
                    let ends = matches!(event, UpstreamEvent::Completed | UpstreamEvent::Incomplete | UpstreamEvent::Failed | UpstreamEvent::Error);
                    prop_assert_eq!(passing.end.is_some(), ends && before.is_some());
                    seen.end(passing.end);
                    prop_assert_eq!(passing.close.is_some(), passing.end.is_some() && seen.asked.is_some());
                    seen.close(passing.close);
                }
                Op::Failure(has_drop) => {
                    let mut asked = false;
                    let after = turns.after_failure(|| { asked = true; has_drop });
                    let turn = seen.in_turn.clone().filter(|_| !seen.output && !seen.closed);
                    prop_assert_eq!(asked, turn.as_ref().is_some_and(|turn| turn.has_previous));
                    match after {
                        AfterFailure::PassOn => prop_assert!(turn.is_none_or(|turn| turn.has_previous && !has_drop)),
                        AfterFailure::DropClient(end) => {
                            prop_assert!(turn.is_some_and(|turn| turn.has_previous) && has_drop);
                            seen.end(Some(end));
                            seen.closed = true;
                        }
                        AfterFailure::Resend { strips_turn_state } => {
                            let turn = turn.unwrap();
                            prop_assert!(!turn.has_previous && turns.keeps_request());
                            prop_assert_eq!(strips_turn_state, turn.turn_state != TurnState::Absent);
                            (other, issued) = (true, None);
                            if seen.asked == Some(Boundary::Credential) {
                                seen.asked = None;
                            }
                        }
                    }
                }
                Op::Boundary(why) => {
                    let close = turns.end_at_boundary(why);
                    if !seen.closed {
                        if seen.asked != Some(Boundary::Service) {
                            seen.asked = Some(why);
                        }
                        prop_assert_eq!(close.is_some(), seen.in_turn.is_none());
                    }
                    seen.close(close);
                }
                Op::EndNow => {
                    let (end, close) = turns.end_now();
                    prop_assert_eq!(close.is_some(), !seen.closed);
                    seen.end(end);
                    seen.close(close);
                }
                Op::Closed => {
                    seen.end(turns.on_closed());
                    seen.closed = true;
                }
                Op::Frame => {
                    turns.on_frame(now);
                    last_frame = now;
                }
                Op::Time(seconds) => {
                    now += Duration::from_secs(seconds);
                    let tick = turns.on_time(now);
                    let wait = if seen.in_turn.is_some() { IDLE } else { IDLE_BETWEEN_TURNS };
                    let is_due = !seen.closed && now.duration_since(last_frame) >= wait;
                    prop_assert_eq!(matches!(tick, Some(Tick::Close(..))), is_due);
                    if let Some(Tick::Close(close, end)) = tick {
                        seen.end(end);
                        seen.close(Some(close));
                    }
                }
            }
            prop_assert_eq!(turns.is_in_turn(), seen.in_turn.is_some());
            prop_assert_eq!(turns.next_tick().is_none(), seen.closed);
        }
        prop_assert_eq!(seen.begun, seen.ends + usize::from(seen.in_turn.is_some()));
    }

    #[test]
    fn never_more_drops_than_allowed(times in prop::collection::vec(0_u64..40, 0..60)) {
        let (start, mut drops, mut taken, mut now) = (Instant::now(), Drops::new(), Vec::new(), 0);
        for wait in times {
            now += wait;
            if drops.take(&key("s"), start + Duration::from_secs(now)) {
                taken.push(now);
            }
        }
        for three in taken.windows(MAX_DROPS + 1) {
            prop_assert!(three[MAX_DROPS] - three[0] >= PER.as_secs());
        }
    }
}
