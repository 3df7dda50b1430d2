use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::Strategy;
use super::*;
use crate::availability::BlockReason;
use crate::ids::{ServiceId, UserId};
use crate::sessions::SessionKey;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn hours(hours: f64) -> SystemTime {
    now() - Duration::from_secs(360_000) + Duration::from_secs_f64(hours * 3_600.0 + 360_000.0)
}

const TAGS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A login of weight 1 that has used this much of its week, with half of the week to go.
fn login(n: u32, used: f64) -> Candidate<'static> {
    Candidate {
        id: CredentialId(n),
        tag: TAGS[n as usize],
        kind: CredentialKind::Login,
        users: None,
        models: &[],
        weight: 1.0,
        weight_is_set: false,
        weekly: WindowUse::new(99.0, Some(used), Some(hours(84.0))),
        five_hour: WindowUse::new(99.0, None, None),
        facts: &[],
        carries_websocket: true,
    }
}

fn key(n: u32) -> Candidate<'static> {
    Candidate { kind: CredentialKind::ApiKey, weekly: WindowUse::new(100.0, None, None), ..login(n, 0.0) }
}

fn with(candidate: Candidate<'static>, facts: Vec<Fact>) -> Candidate<'static> {
    Candidate { facts: facts.leak(), ..candidate }
}

fn limited(window: Window, until: Option<f64>) -> Fact {
    Fact::RateLimited { window, scope: Scope::All, until: until.map(hours) }
}

fn opus(until: f64) -> Fact {
    let family = ModelFamily { name: "opus".to_owned(), models: vec!["*opus*".to_owned()] };
    Fact::RateLimited {
        window: Window::Named("7d_opus".to_owned()),
        scope: Scope::ModelFamily(family),
        until: Some(hours(until)),
    }
}

fn blocked(reason: BlockReason) -> Fact {
    Fact::Blocked { reason, until: Some(now() + Duration::from_secs(10)) }
}

fn unavailable() -> Fact {
    Fact::Unavailable { why: "login expired".to_owned() }
}

const REQUEST: RequestFacts<'static> = RequestFacts {
    user: Some("alice"),
    allows_external: true,
    external_credential: None,
    model: Some("claude-opus-4-8"),
    transport: Transport::Http,
    needs_api_key: false,
    quota: Quota::Usual,
    session: None,
    tried: &[],
    has_awaited_refresh: false,
};

fn pool<'a>(strategy: Strategy, candidates: &'a [Candidate<'a>]) -> Pool<'a> {
    Pool { strategy, rebalance_threshold: 0.0, candidates, last_picked: None }
}

fn run<'a>(pool: &Pool<'a>, request: &RequestFacts<'_>, sessions: &SessionTable) -> Selection<'a> {
    select(pool, request, sessions, now(), 0)
}

fn picked(
    strategy: Strategy,
    candidates: &[Candidate<'_>],
    request: &RequestFacts<'_>,
) -> Option<(u32, PickReason)> {
    match run(&pool(strategy, candidates), request, &SessionTable::new()).outcome {
        Outcome::Picked(pick) => Some((pick.credential.0, pick.reason)),
        _ => None,
    }
}

fn none(candidates: &[Candidate<'_>], request: &RequestFacts<'_>) -> NoCandidate {
    match run(&pool(LeastUsed, candidates), request, &SessionTable::new()).outcome {
        Outcome::None(none) => none,
        other => panic!("{other:?}"),
    }
}

fn session() -> SessionKey {
    SessionKey::new(ServiceId(0), Some(UserId(0)), "s").unwrap()
}

fn bound_to(n: u32, scope: PoolScope) -> SessionTable {
    let mut table = SessionTable::new();
    table.bind(session(), CredentialId(n), scope, now());
    table
}

use PickReason::{Bound, LastResort, PollFailed, Rebalanced, Throttled};
use Strategy::{Fallback, LeastUsed, Random, RoundRobin};

#[test]
fn least_used_weighs_what_is_left_against_the_time_until_the_reset() {
    let fresh = WindowUse::new(99.0, None, None);
    let of = |weekly: WindowUse, weight: f64| score(&weekly, &fresh, weight, 0, now());
    let is =
        |score: f64, expected: f64| assert!((score - expected).abs() < 1e-6, "{score} is not {expected}");
    is(of(WindowUse::new(99.0, Some(59.0), Some(hours(42.0))), 5.0), 400.0);
    // Less than an hour counts as one; no known reset as a week.
    is(of(WindowUse::new(100.0, Some(0.0), Some(hours(0.1))), 1.0), 100.0 * 168.0_f64.sqrt());
    is(of(WindowUse::new(80.0, None, None), 1.0), 80.0);
    // A reset that is over: nothing is used, and the next reset is not known.
    is(of(WindowUse::new(99.0, Some(99.0), Some(hours(-1.0))), 1.0), 99.0);
    assert_eq!(picked(LeastUsed, &[login(0, 50.0), login(1, 40.0)], &REQUEST).unwrap().0, 1);
    let heavy = Candidate { weight: 5.0, ..login(0, 70.0) };
    assert_eq!(picked(LeastUsed, &[heavy, login(1, 40.0)], &REQUEST).unwrap().0, 0);
    let soon = Candidate { weekly: WindowUse::new(99.0, Some(70.0), Some(hours(20.0))), ..login(0, 0.0) };
    assert_eq!(picked(LeastUsed, &[soon, login(1, 40.0)], &REQUEST).unwrap().0, 0);
}

#[test]
fn the_short_window_and_the_sessions_that_use_it_count_against_a_credential() {
    let weekly = WindowUse::new(100.0, Some(0.0), None);
    let of = |five_hour: WindowUse, sessions| score(&weekly, &five_hour, 1.0, sessions, now());
    let half = WindowUse::new(100.0, Some(50.0), Some(hours(1.0)));
    assert!((of(half, 0) - 25.0).abs() < 1e-6);
    assert!((of(half, 4) - 5.0).abs() < 1e-6);
    // Once it is over, it is as new; one that is more than used up still leaves an order.
    assert!((of(WindowUse::new(100.0, Some(50.0), Some(hours(-1.0))), 0) - 100.0).abs() < 1e-6);
    assert!(of(WindowUse::new(100.0, Some(140.0), Some(hours(1.0))), 0) > 0.0);
    let busy = Candidate { five_hour: half, ..login(0, 10.0) };
    assert_eq!(picked(LeastUsed, &[busy, login(1, 40.0)], &REQUEST).unwrap().0, 1);
}

#[test]
fn ties_go_to_fewer_sessions_and_then_to_the_first() {
    let candidates = [login(0, 10.0), login(1, 10.0), login(2, 10.0)];
    assert_eq!(picked(LeastUsed, &candidates, &REQUEST).unwrap().0, 0);
    let table = bound_to(0, PoolScope::All);
    let selection = run(&pool(LeastUsed, &candidates), &REQUEST, &table);
    assert!(matches!(selection.outcome, Outcome::Picked(Pick { credential: CredentialId(1), .. })));
}

#[test]
fn numbers_that_are_none_do_no_harm() {
    let odd =
        Candidate { weight: f64::NAN, weekly: WindowUse::new(99.0, Some(f64::NAN), None), ..login(0, 0.0) };
    assert_eq!(picked(LeastUsed, &[odd, login(1, 98.0)], &REQUEST).unwrap().0, 0);
    let none = WindowUse::new(f64::NAN, Some(f64::NAN), None);
    assert!(score(&WindowUse::new(f64::INFINITY, Some(0.0), None), &none, 0.0, 0, now()).is_finite());
}

#[test]
fn round_robin_goes_on_after_the_last() {
    let candidates = [login(0, 0.0), with(login(1, 0.0), vec![unavailable()]), login(2, 0.0)];
    let next = |last: Option<u32>| {
        let pool = Pool { last_picked: last.map(CredentialId), ..pool(RoundRobin, &candidates) };
        match run(&pool, &REQUEST, &SessionTable::new()).outcome {
            Outcome::Picked(pick) => pick.credential.0,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([next(None), next(Some(0)), next(Some(1)), next(Some(2)), next(Some(7))], [0, 2, 2, 0, 0]);
}

#[test]
fn random_reaches_everyone() {
    let candidates = [login(0, 0.0), login(1, 0.0), login(2, 0.0)];
    let by = |random| match select(&pool(Random, &candidates), &REQUEST, &SessionTable::new(), now(), random)
        .outcome
    {
        Outcome::Picked(pick) => pick.credential.0,
        other => panic!("{other:?}"),
    };
    assert_eq!([by(0), by(u64::MAX / 2), by(u64::MAX)], [0, 1, 2]);
}

#[test]
fn fallback_decides_at_every_request_and_records_the_binding() {
    let candidates = [login(0, 90.0), login(1, 0.0)];
    let session = session();
    let request = RequestFacts { session: Some(&session), ..REQUEST };
    let selection = run(&pool(Fallback, &candidates), &request, &bound_to(1, PoolScope::All));
    let Outcome::Picked(pick) = selection.outcome else { panic!() };
    assert_eq!((pick.credential.0, pick.binding, pick.was_bound), (0, BindingChange::Bind, false));
    // A session with a recorded binding is not new.
    let candidates = [with(login(0, 0.0), vec![blocked(BlockReason::Burst)]), login(1, 0.0)];
    let selection = run(&pool(Fallback, &candidates), &request, &bound_to(0, PoolScope::All));
    let Outcome::Picked(pick) = selection.outcome else { panic!() };
    assert_eq!((pick.credential.0, pick.binding, pick.was_bound), (0, BindingChange::Touch, true));
    assert_eq!(picked(Fallback, &candidates, &request).unwrap().0, 1);
}

#[test]
fn sessions_stay_where_they_are_usable() {
    let session = session();
    let request = RequestFacts { session: Some(&session), ..REQUEST };
    let pick = |candidates: &[Candidate<'_>], scope| match run(
        &pool(LeastUsed, candidates),
        &request,
        &bound_to(0, scope),
    )
    .outcome
    {
        Outcome::Picked(pick) => pick,
        other => panic!("{other:?}"),
    };
    let stayed = pick(&[login(0, 98.0), login(1, 0.0)], PoolScope::All);
    assert_eq!((stayed.credential.0, stayed.reason, stayed.binding), (0, Bound, BindingChange::Touch));
    // What spares bound sessions.
    for reason in [BlockReason::Burst, BlockReason::Overloaded] {
        assert_eq!(
            pick(&[with(login(0, 98.0), vec![blocked(reason)]), login(1, 0.0)], PoolScope::All).credential.0,
            0
        );
    }
    // What does not.
    for fact in [
        unavailable(),
        Fact::Refreshing,
        limited(Window::FiveHour, Some(1.0)),
        opus(1.0),
        blocked(BlockReason::Connection),
        blocked(BlockReason::PollFailed),
        Fact::Capped { window: Window::Weekly, scope: Scope::All, until: None },
    ] {
        let moved = pick(&[with(login(0, 0.0), vec![fact.clone()]), login(1, 90.0)], PoolScope::All);
        assert_eq!(
            (moved.credential.0, moved.binding, moved.was_bound),
            (1, BindingChange::Bind, false),
            "{fact}"
        );
    }
    // Another scope binds anew.
    let rebound = pick(&[login(0, 98.0), login(1, 0.0)], PoolScope::NoExternals);
    assert_eq!((rebound.credential.0, rebound.binding), (1, BindingChange::Bind));
}

fn throttled(model: Option<&str>, is_stated: bool) -> Fact {
    let family =
        model.map(|model| ModelFamily { name: model.to_owned(), models: vec![format!("*{model}*")] });
    Fact::Throttled { family, until: now() + Duration::from_secs(10), is_stated }
}

#[test]
fn a_burst_is_a_preference_unless_the_provider_said_how_long() {
    let guess = || with(login(0, 0.0), vec![throttled(None, false)]);
    let strategies = [LeastUsed, RoundRobin, Random, Fallback];
    for strategy in strategies {
        let pick = |candidates: &[Candidate<'_>]| picked(strategy, candidates, &REQUEST);
        assert_eq!(pick(&[guess(), login(1, 98.0)]), Some((1, PickReason::Strategy)));
        assert_eq!(pick(&[guess(), key(1)]).unwrap().0, 1);
        assert_eq!(pick(&[guess()]), Some((0, Throttled)));
        let polls = vec![throttled(None, false), blocked(BlockReason::PollFailed)];
        assert_eq!(pick(&[with(login(0, 0.0), polls)]), Some((0, Throttled)));
        for worse in [throttled(None, true), blocked(BlockReason::Connection), unavailable(), opus(1.0)] {
            assert_eq!(pick(&[with(login(0, 0.0), vec![throttled(None, false), worse])]), None);
        }
    }
    // With a time the request waits for it, whatever else is in the way of the others.
    let stated = || with(login(0, 0.0), vec![throttled(None, true)]);
    let counts = |others: Fact| {
        let none = none(&[stated(), with(login(1, 0.0), vec![others])], &REQUEST);
        (none.why, none.counts.limited, none.counts.throttled, none.free_at, none.window)
    };
    let free = Some(now() + Duration::from_secs(10));
    let window = Some((Window::Weekly, hours(1.0)));
    assert_eq!(counts(throttled(None, true)), (WhyNone::AllLimited, 2, 2, free, None));
    assert_eq!(counts(unavailable()), (WhyNone::SomeLimited, 1, 1, free, None));
    let weekly = limited(Window::Weekly, Some(1.0));
    assert_eq!(counts(weekly), (WhyNone::AllLimited, 2, 1, free, window));
}

#[test]
fn a_key_is_throttled_for_a_family_of_models_alone() {
    let candidates = [with(key(0), vec![throttled(Some("opus"), true)])];
    let of = |model| RequestFacts { model, ..REQUEST };
    assert_eq!(none(&candidates, &of(Some("claude-opus-5"))).limited_family.as_deref(), Some("opus"));
    for model in [Some("claude-sonnet-5"), None] {
        assert_eq!(picked(LeastUsed, &candidates, &of(model)).unwrap().0, 0);
    }
    // And not for sessions that are bound to it.
    let session = session();
    let request = RequestFacts { session: Some(&session), ..REQUEST };
    let outcome = run(&pool(LeastUsed, &candidates), &request, &bound_to(0, PoolScope::All)).outcome;
    assert!(matches!(outcome, Outcome::Picked(pick) if pick.was_bound));
}

#[test]
fn what_takes_nothing_is_served_at_a_limit_and_binds_nothing() {
    let capped = Fact::Capped { window: Window::Weekly, scope: Scope::All, until: None };
    let spared = [limited(Window::FiveHour, Some(1.0)), opus(1.0), capped, throttled(None, true)];
    let session = session();
    let free = RequestFacts { quota: Quota::Nothing, session: Some(&session), ..REQUEST };
    for fact in &spared {
        let candidates = [with(login(0, 98.0), vec![fact.clone()])];
        assert!(picked(LeastUsed, &candidates, &REQUEST).is_none(), "{fact}");
        let Outcome::Picked(pick) = run(&pool(LeastUsed, &candidates), &free, &SessionTable::new()).outcome
        else {
            panic!("{fact}")
        };
        assert_eq!((pick.credential.0, pick.binding), (0, BindingChange::Leave), "{fact}");
    }
    for fact in [unavailable(), blocked(BlockReason::Connection), blocked(BlockReason::Overloaded)] {
        assert!(picked(LeastUsed, &[with(login(0, 0.0), vec![fact.clone()])], &free).is_none(), "{fact}");
    }
    let outcome = run(&pool(LeastUsed, &[login(0, 0.0)]), &free, &bound_to(0, PoolScope::All)).outcome;
    assert!(matches!(outcome, Outcome::Picked(pick) if pick.binding == BindingChange::Touch));
}

#[test]
fn a_slow_request_passes_a_5_hour_window_that_is_used_up() {
    let slow = RequestFacts { quota: Quota::Slow, ..REQUEST };
    let capped = |window| Fact::Capped { window, scope: Scope::All, until: None };
    for fact in [limited(Window::FiveHour, Some(1.0)), capped(Window::FiveHour)] {
        assert!(picked(LeastUsed, &[with(login(0, 99.0), vec![fact])], &slow).is_some());
    }
    for fact in [limited(Window::Weekly, Some(1.0)), capped(Window::Weekly), opus(1.0)] {
        assert!(picked(LeastUsed, &[with(login(0, 99.0), vec![fact])], &slow).is_none());
    }
}

#[test]
fn what_an_account_does_not_serve_is_no_limit() {
    let not_served = || {
        let family = ModelFamily { name: "m".to_owned(), models: vec!["claude-opus-4-8".to_owned()] };
        let window = Window::Named("model claude-opus-4-8".to_owned());
        Fact::RateLimited { window, scope: Scope::ModelFamily(family), until: Some(hours(1.0)) }
    };
    let nobody = with(login(0, 0.0), vec![not_served()]);
    assert_eq!(none(&[nobody], &REQUEST).why, WhyNone::NotForModel);
    let limited = with(login(1, 0.0), vec![limited(Window::Weekly, Some(2.0))]);
    let found = none(&[nobody, limited], &REQUEST);
    assert_eq!((found.why, found.free_at), (WhyNone::AllLimited, Some(hours(2.0))));
    assert_eq!(picked(LeastUsed, &[nobody], &RequestFacts { model: Some("other"), ..REQUEST }).unwrap().0, 0);
}

#[test]
fn an_api_key_is_the_last_resort_unless_weighted() {
    for strategy in [LeastUsed, RoundRobin, Random] {
        assert_eq!(picked(strategy, &[key(0), login(1, 98.0)], &REQUEST), Some((1, PickReason::Strategy)));
        let busy = with(login(1, 0.0), vec![limited(Window::Weekly, Some(1.0))]);
        assert_eq!(picked(strategy, &[key(0), busy], &REQUEST), Some((0, LastResort)));
        let weighted = Candidate { weight_is_set: true, ..key(0) };
        assert_eq!(picked(strategy, &[weighted, busy], &REQUEST), Some((0, PickReason::Strategy)));
    }
    let weighted = Candidate { weight_is_set: true, ..key(0) };
    assert_eq!(picked(LeastUsed, &[weighted, login(1, 98.0)], &REQUEST).unwrap().0, 0);
    assert_eq!(picked(Fallback, &[key(0), login(1, 0.0)], &REQUEST), Some((0, PickReason::Strategy)));
    // A session that an API key serves stays with it.
    let session = session();
    let request = RequestFacts { session: Some(&session), ..REQUEST };
    let selection =
        run(&pool(LeastUsed, &[key(0), login(1, 0.0)]), &request, &bound_to(0, PoolScope::All)).outcome;
    assert!(matches!(selection, Outcome::Picked(Pick { credential: CredentialId(0), reason: Bound, .. })));
}

#[test]
fn poll_failed_alone_is_picked_when_nothing_else_is() {
    let failed = || with(login(0, 0.0), vec![blocked(BlockReason::PollFailed)]);
    assert_eq!(picked(LeastUsed, &[failed(), login(1, 98.0)], &REQUEST).unwrap().0, 1);
    assert_eq!(picked(LeastUsed, &[failed(), key(1)], &REQUEST), Some((1, LastResort)));
    assert_eq!(
        picked(LeastUsed, &[failed(), with(login(1, 0.0), vec![unavailable()])], &REQUEST),
        Some((0, PollFailed))
    );
    let more =
        with(login(0, 0.0), vec![blocked(BlockReason::PollFailed), limited(Window::Weekly, Some(1.0))]);
    assert_eq!(picked(LeastUsed, &[more], &REQUEST), None);
}

#[test]
fn requests_wait_for_a_refresh_when_nothing_else_is_left() {
    let refreshing = || with(login(0, 0.0), vec![Fact::Refreshing]);
    assert_eq!(picked(LeastUsed, &[refreshing(), login(1, 98.0)], &REQUEST).unwrap().0, 1);
    let candidates = [refreshing(), with(login(1, 0.0), vec![limited(Window::Weekly, Some(1.0))])];
    let outcome = run(&pool(LeastUsed, &candidates), &REQUEST, &SessionTable::new()).outcome;
    assert_eq!(outcome, Outcome::AwaitRefresh(vec![CredentialId(0)]));
    let waited = none(&candidates, &RequestFacts { has_awaited_refresh: true, ..REQUEST });
    assert_eq!((waited.why, waited.counts.unavailable), (WhyNone::SomeLimited, 1));
}

#[test]
fn who_may_use_what() {
    let names = ["bob".to_owned()];
    let bobs = Candidate { users: Some(&names), ..login(0, 0.0) };
    assert_eq!(none(&[bobs], &REQUEST).why, WhyNone::NotForUser);
    assert_eq!(none(&[bobs], &RequestFacts { user: None, ..REQUEST }).why, WhyNone::NotForUser);
    assert!(picked(LeastUsed, &[bobs], &RequestFacts { user: Some("bob"), ..REQUEST }).is_some());
    let external = Candidate { kind: CredentialKind::External, ..login(0, 0.0) };
    assert!(picked(LeastUsed, &[external], &REQUEST).is_some());
    assert_eq!(
        none(&[external], &RequestFacts { allows_external: false, ..REQUEST }).why,
        WhyNone::NotForUser
    );
    let own = RequestFacts { external_credential: Some(CredentialId(0)), ..REQUEST };
    assert_eq!(none(&[external], &own).why, WhyNone::NotForUser);
    assert_eq!(none(&[], &REQUEST).why, WhyNone::NotForUser);
    let globs = ["*haiku*".to_owned()];
    let haiku = Candidate { models: &globs, ..login(0, 0.0) };
    assert_eq!(
        none(&[haiku, external], &RequestFacts { allows_external: false, ..REQUEST }).why,
        WhyNone::NotForModel
    );
    assert!(picked(LeastUsed, &[haiku], &RequestFacts { model: None, ..REQUEST }).is_some());
    let no_socket = Candidate { carries_websocket: false, ..login(0, 0.0) };
    let socket = RequestFacts { transport: Transport::WebSocket, ..REQUEST };
    assert_eq!(none(&[no_socket, haiku], &socket).why, WhyNone::NotForTransport);
}

#[test]
fn what_is_for_keys_alone_goes_to_no_login() {
    let request = RequestFacts { needs_api_key: true, ..REQUEST };
    for strategy in [LeastUsed, RoundRobin, Random, Fallback] {
        let picked = picked(strategy, &[login(0, 0.0), key(1)], &request).map(|(id, _)| id);
        assert_eq!(picked, Some(1), "{strategy:?}");
    }
    assert_eq!(none(&[login(0, 0.0)], &request).why, WhyNone::NoApiKey);
    // A key that cannot serve now is another matter.
    let limited = with(key(1), vec![limited(Window::FiveHour, Some(1.0))]);
    assert_eq!(none(&[login(0, 0.0), limited], &request).why, WhyNone::AllLimited);
}

#[test]
fn why_none_and_when_one_frees() {
    let week = with(login(0, 0.0), vec![limited(Window::Weekly, Some(50.0))]);
    let both =
        with(login(1, 0.0), vec![limited(Window::FiveHour, Some(1.0)), limited(Window::Weekly, Some(30.0))]);
    let all = none(&[week, both], &REQUEST);
    assert_eq!((all.why, all.free_at), (WhyNone::AllLimited, Some(hours(30.0))));
    assert_eq!(all.window, Some((Window::Weekly, hours(30.0))));
    assert_eq!(all.limited_family, None);
    assert_eq!(all.reasons[1], ("b".to_owned(), "rate_limited: 5h".to_owned()));

    let unknown = with(login(2, 0.0), vec![limited(Window::Weekly, None)]);
    assert_eq!(none(&[unknown], &REQUEST).free_at, None);

    // A block that ends first.
    let burst = with(login(2, 0.0), vec![blocked(BlockReason::Burst)]);
    let some = none(&[week, burst], &REQUEST);
    assert_eq!((some.why, some.free_at), (WhyNone::SomeLimited, Some(now() + Duration::from_secs(10))));
    assert_eq!(some.window, Some((Window::Weekly, hours(50.0))));

    let gone = with(login(3, 0.0), vec![unavailable()]);
    let some = none(&[week, gone], &REQUEST);
    assert_eq!(
        (some.why, some.counts),
        (WhyNone::SomeLimited, Counts { limited: 1, unavailable: 1, ..Counts::default() })
    );
    assert_eq!(none(&[gone, burst], &REQUEST).why, WhyNone::AllUnavailable);
    assert_eq!(none(&[gone], &REQUEST).free_at, None);
    // A limit that outlives nothing, since the login is gone anyway.
    let dead = with(login(4, 0.0), vec![limited(Window::Weekly, Some(1.0)), unavailable()]);
    assert_eq!(none(&[dead], &REQUEST).why, WhyNone::AllUnavailable);

    let family = none(&[with(login(0, 0.0), vec![opus(9.0)])], &REQUEST);
    assert_eq!(family.limited_family.as_deref(), Some("opus"));
    assert_eq!(family.window, Some((Window::Named("7d_opus".to_owned()), hours(9.0))));
    assert_eq!(none(&[with(login(0, 0.0), vec![opus(9.0)]), week], &REQUEST).limited_family, None);
    assert!(
        picked(
            LeastUsed,
            &[with(login(0, 0.0), vec![opus(9.0)])],
            &RequestFacts { model: Some("claude-haiku"), ..REQUEST }
        )
        .is_some()
    );

    let tried = RequestFacts { tried: &[CredentialId(5)], ..REQUEST };
    assert_eq!(none(&[login(5, 0.0), week], &tried).why, WhyNone::AllTried);
}

#[test]
fn facts_end_by_themselves() {
    for until in [-1.0, 0.0] {
        let over = with(
            login(0, 0.0),
            vec![
                limited(Window::Weekly, Some(until)),
                Fact::Blocked { reason: BlockReason::Connection, until: Some(hours(until)) },
            ],
        );
        assert!(picked(LeastUsed, &[over], &REQUEST).is_some());
    }
}

#[test]
fn rebalancing_drops_the_bindings_of_a_scope() {
    let session = session();
    let request = RequestFacts { session: Some(&session), ..REQUEST };
    let table = bound_to(0, PoolScope::All);
    let go = |threshold, used: f64, weight, request: &RequestFacts<'_>| {
        let candidates = [Candidate { weight, ..login(0, used) }, login(1, 10.0), login(2, 20.0)];
        let pool = Pool { rebalance_threshold: threshold, ..pool(LeastUsed, &candidates) };
        let selection = run(&pool, request, &table);
        let Outcome::Picked(pick) = selection.outcome else { panic!() };
        (pick.credential.0, pick.reason, selection.rebalanced)
    };
    assert_eq!(go(20.0, 30.0, 1.0, &request), (0, Bound, None));
    let dropped = Some((CredentialId(0), PoolScope::All));
    assert_eq!(go(20.0, 30.1, 1.0, &request), (1, Rebalanced, dropped));
    // The threshold is divided by the weight of the bound one.
    assert_eq!(go(20.0, 96.0, 2.0, &request), (1, Rebalanced, dropped));
    assert_eq!(go(20.0, 19.0, 2.0, &request), (0, Bound, None));
    assert_eq!(go(0.0, 98.0, 1.0, &request), (0, Bound, None));
    // Only when the request begins.
    let tried = RequestFacts { tried: &[CredentialId(2)], ..request };
    assert_eq!(go(20.0, 98.0, 1.0, &tried), (0, Bound, None));
}

#[test]
fn a_hop_leaves_an_existing_binding() {
    assert!(!moves_binding(true, true));
    assert!(moves_binding(true, false));
    assert!(moves_binding(false, true));
    let session = session();
    let request = RequestFacts { session: Some(&session), tried: &[CredentialId(0)], ..REQUEST };
    let candidates = [login(0, 0.0), login(1, 0.0)];
    let selection = run(&pool(LeastUsed, &candidates), &request, &bound_to(0, PoolScope::All));
    let Outcome::Picked(pick) = selection.outcome else { panic!() };
    assert_eq!((pick.credential.0, pick.binding), (1, BindingChange::Leave));
}

#[test]
fn explanations_are_bounded_and_fit_into_a_header() {
    let candidates =
        [login(0, 40.0), Candidate { tag: "büro\u{7f}", ..with(login(1, 0.0), vec![unavailable()]) }, key(2)];
    let line = run(&pool(LeastUsed, &candidates), &REQUEST, &SessionTable::new()).explain().to_line();
    assert_eq!(
        line,
        "picked=a reason=strategy strategy=least_used; a [usable, score 83.4, 0 sessions] \
         b?ro? [unavailable: login expired, 0 sessions] c [usable at a cost, score 100.0, 0 sessions]"
    );
    let tag = "x".repeat(500);
    let many: Vec<Candidate<'_>> =
        (0..40).map(|n| Candidate { id: CredentialId(n), tag: &tag, ..login(0, 0.0) }).collect();
    let explanation = run(&pool(LeastUsed, &many), &REQUEST, &SessionTable::new()).explain();
    let line = explanation.to_line();
    assert!(line.len() <= MAX_EXPLANATION && line.ends_with("more)"), "{line}");
    assert!(http::HeaderValue::from_str(&line).is_ok());
    assert_eq!(serde_json::to_value(&explanation).unwrap()["candidates"].as_array().unwrap().len(), 40);
}

fn any_fact() -> impl proptest::strategy::Strategy<Value = Fact> {
    let until = || prop::option::of(-2.0..60.0_f64).prop_map(|until| until.map(hours));
    let scope = || {
        prop_oneof![
            Just(Scope::All),
            Just(Scope::ModelFamily(ModelFamily { name: "opus".into(), models: vec!["*opus*".into()] }))
        ]
    };
    let reason = prop_oneof![
        Just(BlockReason::UpstreamRejected),
        Just(BlockReason::PollFailed),
        Just(BlockReason::Burst),
        Just(BlockReason::Overloaded),
        Just(BlockReason::Connection),
    ];
    prop_oneof![
        Just(unavailable()),
        Just(Fact::Refreshing),
        (reason, until()).prop_map(|(reason, until)| Fact::Blocked { reason, until }),
        (scope(), until()).prop_map(|(scope, until)| Fact::RateLimited {
            window: Window::Weekly,
            scope,
            until
        }),
        (scope(), until()).prop_map(|(scope, until)| Fact::Capped { window: Window::FiveHour, scope, until }),
    ]
}

proptest! {
    #[test]
    fn picks_a_usable_one_exactly_when_there_is_one(
        facts in prop::collection::vec(prop::collection::vec(any_fact(), 0..3), 1..6),
        keys in prop::collection::vec(any::<bool>(), 6),
        tried in prop::collection::vec(any::<bool>(), 6),
        strategy in prop_oneof![Just(LeastUsed), Just(RoundRobin), Just(Random), Just(Fallback)],
        bound in prop::option::of(0..6_u32),
        is_opus: bool,
        waited: bool,
        random: u64,
        threshold in prop_oneof![Just(0.0), 0.0..50.0_f64],
    ) {
        let candidates: Vec<Candidate<'_>> = facts.iter().enumerate().map(|(n, facts)| {
            let n = u32::try_from(n).unwrap();
            Candidate { facts, ..if keys[n as usize] { key(n) } else { login(n, f64::from(n) * 15.0) } }
        }).collect();
        let tried: Vec<CredentialId> = (0..6).filter(|n| tried[*n as usize]).map(CredentialId).collect();
        let session = session();
        let table = bound.map_or_else(SessionTable::new, |n| bound_to(n, PoolScope::All));
        let model = if is_opus { "claude-opus" } else { "claude-haiku" };
        let request = RequestFacts { model: Some(model), session: Some(&session), tried: &tried, has_awaited_refresh: waited, ..REQUEST };
        let pool = Pool { rebalance_threshold: threshold, last_picked: Some(CredentialId(2)), ..pool(strategy, &candidates) };
        let selection = select(&pool, &request, &table, now(), random);
        // Said a second time, in other words.
        let keeps = |candidate: &Candidate<'_>, fact: &Fact| {
            fact.until().is_none_or(|until| until > now()) && fact.concerns(Some(model), bound == Some(candidate.id.0))
        };
        let left = || candidates.iter().filter(|candidate| !tried.contains(&candidate.id));
        let usable: Vec<u32> = left().filter(|one| !one.facts.iter().any(|fact| keeps(one, fact))).map(|one| one.id.0).collect();
        match &selection.outcome {
            Outcome::Picked(pick) => {
                prop_assert!(!tried.contains(&pick.credential));
                prop_assert_eq!(usable.contains(&pick.credential.0), pick.reason != PollFailed);
                prop_assert_eq!(usable.is_empty(), pick.reason == PollFailed);
                if pick.reason == LastResort {
                    prop_assert!(usable.iter().all(|n| keys[*n as usize]));
                }
                if bound.is_some_and(|bound| usable.contains(&bound)) && strategy != Fallback && selection.rebalanced.is_none() {
                    prop_assert_eq!(Some(pick.credential.0), bound);
                }
            }
            Outcome::AwaitRefresh(who) => prop_assert!(usable.is_empty() && !waited && !who.is_empty()),
            Outcome::None(none) => {
                prop_assert!(usable.is_empty());
                prop_assert_eq!(none.counts.total(), candidates.len());
                prop_assert!(none.free_at.is_none_or(|at| at >= now()));
            }
        }
        // Without a look at the others the same is found.
        let threshold = if strategy == LeastUsed { threshold } else { 0.0 };
        if stays_without_a_look(strategy, threshold)
            && let Some(own) = candidates.iter().find(|candidate| Some(candidate.id.0) == bound)
        {
            let is_kept = matches!(&selection.outcome, Outcome::Picked(pick) if pick.reason == Bound);
            prop_assert_eq!(stays_with(own, strategy, &request, now()), is_kept);
        }
        let line = selection.explain().to_line();
        prop_assert!(line.len() <= MAX_EXPLANATION && line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
    }
}
