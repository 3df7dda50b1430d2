//! Any events in any order, under a clock of our own.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    Read { token: u8, lasts: Option<u64>, renewed: bool },
    Gone,
    TokenRefused(u8),
    Refused,
    Started,
    Answered { token: u8, lasts: u64 },
    Failed(u8, u64),
    Deferred(u64),
    Request(RequestEnd),
    Limited { window: u8, scope: u8, lasts: u64 },
    Polled { ago: u64, below: bool },
    PollFailed,
    Rejected,
    Tunnel(bool),
    Rechecked(Option<bool>),
}

fn ends() -> impl Strategy<Value = RequestEnd> {
    prop_oneof![
        1 => Just(RequestEnd::Good),
        1 => Just(RequestEnd::Answered),
        1 => Just(RequestEnd::Overloaded),
        3 => Just(RequestEnd::ServerError),
        1 => prop::option::of(0..200_u64).prop_map(|wait| RequestEnd::Burst(wait.map(Duration::from_secs))),
        3 => Just(RequestEnd::NotConnected),
        1 => Just(RequestEnd::Lost),
        1 => Just(RequestEnd::NoHead),
        1 => Just(RequestEnd::Cut),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (0..4_u8, prop::option::of(0..2_000_u64), any::<bool>())
            .prop_map(|(token, lasts, renewed)| Event::Read { token, lasts, renewed }),
        1 => Just(Event::Gone),
        1 => (0..4_u8).prop_map(Event::TokenRefused),
        1 => Just(Event::Refused),
        1 => Just(Event::Started),
        1 => (0..4_u8, 0..2_000_u64).prop_map(|(token, lasts)| Event::Answered { token, lasts }),
        1 => (0..3_u8, 0..4_000_u64).prop_map(|(kind, lasts)| Event::Failed(kind, lasts)),
        1 => (0..400_u64).prop_map(Event::Deferred),
        4 => ends().prop_map(Event::Request),
        2 => (0..5_u8, 0..4_u8, 0..100_000_u64)
            .prop_map(|(window, scope, lasts)| Event::Limited { window, scope, lasts }),
        1 => (0..400_u64, any::<bool>()).prop_map(|(ago, below)| Event::Polled { ago, below }),
        1 => Just(Event::PollFailed),
        1 => Just(Event::Rejected),
        1 => any::<bool>().prop_map(Event::Tunnel),
        1 => prop::option::of(any::<bool>()).prop_map(Event::Rechecked),
    ]
}

fn sources() -> impl Strategy<Value = Source> {
    prop_oneof![
        3 => Just(Source::LoginFile),
        1 => Just(Source::Fixed),
        1 => Just(Source::External),
        1 => Just(Source::Reverse),
    ]
}

fn scope(n: u8) -> Scope {
    match n {
        0 => Scope::All,
        1 => Scope::NewSessions,
        n => family(&format!("f{n}")),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn apply(facts: &mut Facts, event: &Event, now: SystemTime) {
    match event {
        Event::Read { token, lasts, renewed } => {
            let mut login = login(&token.to_string(), lasts.map(|lasts| now + seconds(lasts)));
            if !renewed {
                login.renewal = Renewal::Never;
            }
            facts.on_login_read(login);
        }
        Event::Gone => facts.on_login_gone("gone"),
        Event::TokenRefused(token) => {
            facts.on_token_refused(&login(&token.to_string(), None).identity, now);
        }
        Event::Refused => facts.on_refused("disabled", now),
        Event::Started => facts.on_refresh_started(now),
        Event::Answered { token, lasts } => {
            facts.on_refresh_answered(login(&token.to_string(), Some(now + seconds(*lasts))));
        }
        Event::Failed(kind, lasts) => {
            let until = now + seconds(*lasts);
            let after = match kind {
                0 => AfterFailure::Cooldown { until },
                1 => AfterFailure::LoginExpired,
                _ => AfterFailure::CannotKeep { why: "full".into(), until },
            };
            facts.on_refresh_failed(&after, now);
        }
        Event::Deferred(wait) => facts.on_refresh_deferred(now + seconds(*wait), now),
        Event::Request(end) => facts.on_request_ended(end, now),
        Event::Limited { window, scope: n, lasts } => {
            facts.on_rate_limited(&format!("w{window}"), scope(*n), now + seconds(*lasts), now);
        }
        Event::Polled { ago, below } => facts.on_poll_answered(now - seconds(*ago), &|_| *below),
        Event::PollFailed => facts.on_poll_failed(),
        Event::Rejected => facts.on_upstream_rejected(now),
        Event::Tunnel(is_connected) => facts.on_tunnel(*is_connected),
        Event::Rechecked(answer) => facts.on_rechecked(*answer, now),
    }
}

fn steps() -> impl Strategy<Value = Vec<(Event, u64)>> {
    prop::collection::vec((events(), prop_oneof![3 => 0..5_u64, 2 => 0..500_u64, 1 => 0..50_000_u64]), 0..60)
}

fn windows() -> impl Strategy<Value = Vec<(u8, u8, Option<u64>)>> {
    prop::collection::vec((0..5_u8, 0..4_u8, prop::option::of(0..100_000_u64)), 0..3)
}

/// The row of the table that a state is.
fn row(state: &Availability) -> usize {
    let labels = ["unavailable", "refreshing", "blocked", "rate_limited", "capped", "usable"];
    labels.iter().position(|label| *label == state.label()).unwrap()
}

/// Runs the events; gives the facts and the time at the end.
fn run(source: Source, steps: &[(Event, u64)]) -> (Facts, SystemTime) {
    let (mut facts, mut now) = (Facts::new(source, HINT), at(0));
    for (event, wait) in steps {
        apply(&mut facts, event, now);
        now += seconds(*wait);
    }
    (facts, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_derived_holds_together(source in sources(), steps in steps(), windows in windows(), later in 0..200_000_u64, back in prop_oneof![Just(0), 0..100_u64, 0..200_000_u64]) {
        let (facts, now) = run(source, &steps);
        // The clock may be set back at any time.
        let now = now - seconds(back);
        let capped: Vec<_> = windows
            .iter()
            .map(|(name, n, until)| capped(&format!("w{name}"), scope(*n), until.map(|wait| now + seconds(wait))))
            .collect();
        let state = facts.state(now, &capped);

        // An end that is told is ahead, and nothing keeps away without saying from what.
        prop_assert!(state.until().is_none_or(|until| until > now), "{state:?}");
        prop_assert_eq!(state.scope().is_none(), state == Availability::Usable);
        prop_assert!(facts.rate_limited.len() <= MAX_RATE_LIMITED);

        // Nothing that is about a request comes before the state, which is the first row for any request.
        for is_bound in [false, true] {
            for n in 0..4_u8 {
                let is_in = |name: &str| name == format!("f{n}");
                let asking = Asking { is_bound, in_family: &is_in };
                match facts.pickable(now, &capped, &asking) {
                    Pickable::No(why) => prop_assert!(row(&state) <= row(&why), "{state:?} {why:?}"),
                    Pickable::IfNothingElse => prop_assert_eq!(facts.consecutive_poll_failures() > 0, true),
                    Pickable::Yes => {
                        prop_assert!(facts.keeps_bindings(now, &capped));
                        prop_assert!(!facts.interrupts(now));
                        prop_assert!(state.scope() != Some(Scope::All), "{state:?}");
                    }
                }
                // When it says that it is free, it is, and it was not before.
                let free = facts.free_at(now, &capped, &asking);
                let is_free = |at| !matches!(facts.pickable(at, &capped, &asking), Pickable::No(_));
                if let Some(free) = free {
                    prop_assert!(is_free(free));
                    prop_assert!(free == now || !is_free(now));
                }
                if free.is_none_or(|free| now + seconds(later) < free) {
                    prop_assert!(!is_free(now + seconds(later)), "{free:?}");
                }
            }
        }
        if facts.interrupts(now) {
            prop_assert!(!facts.keeps_bindings(now, &capped));
        }

        // It does not change before it says so, and then it does: a read at any time is right without a timer.
        let then = now + seconds(later);
        let change = facts.next_change(now, &capped);
        if let Some(change) = change {
            prop_assert!(change > now);
            prop_assert_ne!(&facts.state(change, &capped), &state);
        }
        if change.is_none_or(|change| then < change) {
            prop_assert_eq!(facts.state(then, &capped), state);
        }
    }

    /// Following what each state says of its end leads to a usable credential in a bounded number of steps, without a restart.
    #[test]
    fn every_state_has_a_way_out(source in sources(), steps in steps()) {
        let (mut facts, mut now) = run(source, &steps);
        let mut taken = Vec::new();
        while let Some(way) = facts.way_out(now, &[]) {
            prop_assert!(taken.len() < 100, "{taken:?}");
            let before = facts.state(now, &[]);
            match way {
                WayOut::At(until) => {
                    prop_assert!(until > now);
                    now = until;
                }
                WayOut::Poll => facts.on_poll_answered(now, &|_| true),
                WayOut::LoginChange => {
                    prop_assert_eq!(facts.source, Source::LoginFile);
                    facts.on_login_read(login("new", Some(now + seconds(10_000_000))));
                }
                WayOut::Recheck(due) => {
                    now = now.max(due);
                    facts.on_rechecked(Some(true), now);
                }
                WayOut::Refresh => {
                    facts.on_refresh_answered(login("newer", Some(now + seconds(10_000_000))));
                }
                WayOut::Tunnel => {
                    prop_assert_eq!(facts.source, Source::Reverse);
                    facts.on_tunnel(true);
                }
            }
            prop_assert!(facts.state(now, &[]) != before, "{way:?} does not end {before:?}");
            taken.push(way);
        }
        prop_assert_eq!(facts.state(now, &[]), Availability::Usable);
    }

    /// Reading changes nothing, and whether it was read in between makes no difference.
    #[test]
    fn reading_late_is_reading_on_time(source in sources(), steps in steps()) {
        let (facts, now) = run(source, &steps);
        let (mut read, mut time) = (Facts::new(source, HINT), at(0));
        for (event, wait) in &steps {
            let _ = (read.state(time, &[]), read.next_change(time, &[]), read.way_out(time, &[]));
            apply(&mut read, event, time);
            for part in 0..4 {
                let _ = read.state(time + seconds(wait * part / 4), &[]);
            }
            time += seconds(*wait);
        }
        prop_assert_eq!(format!("{facts:?}"), format!("{read:?}"));
        prop_assert_eq!(facts.state(now, &[]), read.state(time, &[]));
    }
}
