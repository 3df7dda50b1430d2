use super::*;
use crate::limits::readings::{Reading, Readings, ReportedWindow};
use crate::limits::windows::Source;
use proptest::prelude::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
}

const NOW: u64 = 1000;

type Used = Option<(f64, Option<u64>)>;

fn windows(five_hour: Used, weekly: Used) -> Windows {
    let reading = |used: Used| {
        used.map_or(Reading::Absent, |(percent, reset)| {
            Reading::Value(ReportedWindow {
                utilization: Utilization::from_percent(percent).unwrap(),
                resets_at: reset.map(at),
                length: None,
            })
        })
    };
    let mut windows = Windows::new();
    let base = WindowPair { five_hour: reading(five_hour), weekly: reading(weekly) };
    windows.observe(&Readings { base, ..Readings::default() }, Source::InBand, at(0));
    windows
}

fn login(windows: &Windows) -> Member<'_> {
    Member {
        kind: MemberKind::Login,
        standing: Standing::Ready,
        windows,
        caps: Caps::DEFAULT,
        weight: Weight::ONE,
        refused: None,
    }
}

fn percent(aggregate: &Aggregate) -> (f64, f64) {
    let round = |number: f64| (number * 1e6).round() / 1e6;
    (
        round(aggregate.windows.five_hour.utilization.percent()),
        round(aggregate.windows.weekly.utilization.percent()),
    )
}

fn of(members: &[Member<'_>]) -> Aggregate {
    Aggregate::of(members, at(NOW))
}

#[test]
fn the_used_part_of_what_is_offered() {
    let (a, b) = (
        windows(Some((20.0, Some(2000))), Some((49.5, Some(9000)))),
        windows(Some((0.0, None)), Some((0.0, None))),
    );
    let one = of(&[login(&a)]);
    assert_eq!(percent(&one), ((20.0 / 0.99 * 1e6_f64).round() / 1e6, 50.0));
    assert_eq!(
        (one.windows.five_hour.resets_at, one.windows.weekly.resets_at),
        (Some(at(2000)), Some(at(9000)))
    );
    assert!((one.plan_weight - 0.99).abs() < 1e-9 && one.is_usable && !one.has_only_api_keys);
    // By weight and cap: 0.5 of 10 × 50, none of 1 × 99.
    let limit = WindowPair { five_hour: 50, weekly: 50 };
    let caps = Caps::from_options(WindowPair::default(), limit);
    let half = windows(Some((25.0, Some(2000))), Some((25.0, Some(9000))));
    let heavy = Member { caps, weight: Weight::new(10.0).unwrap(), ..login(&half) };
    let two = of(&[heavy, login(&b)]);
    let expected = (100.0 * (1.0 - (250.0 + 99.0) / (500.0 + 99.0)) * 1e6_f64).round() / 1e6;
    assert_eq!(percent(&two), (expected, expected));
    assert!((two.plan_weight - (5.0 + 0.99)).abs() < 1e-9);
}

#[test]
fn a_fresh_pool_shows_nothing_and_one_at_its_caps_everything() {
    let unseen = Windows::new();
    let fresh = of(&[login(&unseen), login(&unseen)]);
    assert_eq!(percent(&fresh), (0.0, 0.0));
    assert!(!fresh.windows.five_hour.is_known && fresh.windows.five_hour.resets_at.is_none());
    let full = windows(Some((99.0, Some(2000))), Some((99.0, Some(9000))));
    let capped = of(&[login(&full), login(&full)]);
    assert_eq!(percent(&capped), (100.0, 100.0));
    assert!(!capped.is_usable);
    let frees = Limited { claim: Some(Claim::Base(BaseWindow::Weekly)), until: Some(at(9000)) };
    assert_eq!((capped.frees, capped.claim), (Some(frees), BaseWindow::Weekly));
}

#[test]
fn windows_that_are_not_there_are_left_out() {
    // A plan with a weekly window alone beside one with both.
    let (weekly, both) =
        (windows(None, Some((49.5, Some(9000)))), windows(Some((49.5, Some(2000))), Some((0.0, Some(9000)))));
    let alone = of(&[login(&weekly)]);
    assert!(alone.windows.five_hour.is_absent && !alone.windows.weekly.is_absent);
    assert_eq!((percent(&alone), alone.claim), ((0.0, 50.0), BaseWindow::Weekly));
    let two = of(&[login(&weekly), login(&both)]);
    assert_eq!(percent(&two), (50.0, 25.0));
    assert!(!two.windows.five_hour.is_absent);
    // One that has not begun offers what it has, and is not shown where no other stands beside it.
    let idle = windows(Some((0.0, None)), Some((49.5, Some(9000))));
    let fresh = of(&[login(&idle)]);
    assert!(fresh.windows.five_hour.is_absent && !fresh.windows.five_hour.is_known);
    assert_eq!(percent(&of(&[login(&idle), login(&both)])), (25.0, 25.0));
    // Of a login never observed nothing is known, and of a key there is nothing to know.
    let (unseen, none) = (Windows::new(), Windows::new());
    assert!(!of(&[login(&unseen), login(&weekly)]).windows.five_hour.is_absent);
    let key = Member { kind: MemberKind::ApiKey, ..login(&none) };
    assert!(of(&[key, login(&weekly)]).windows.five_hour.is_absent);
    // A refusal of it is shown all the same.
    let until = Some(at(5000));
    let refused = Some(Limited { claim: Some(Claim::Base(BaseWindow::FiveHour)), until });
    let refused = of(&[Member { refused, ..login(&weekly) }]);
    assert_eq!((refused.windows.five_hour.is_absent, percent(&refused).0), (false, 100.0));
}

#[test]
fn resets_that_have_come_count_without_a_poll() {
    let old = windows(Some((100.0, Some(NOW))), Some((50.0, Some(NOW + 1))));
    let aggregate = of(&[login(&old)]);
    assert!(aggregate.is_usable);
    assert_eq!(aggregate.windows.five_hour.utilization, Utilization::ZERO);
    assert_eq!(aggregate.windows.five_hour.resets_at, None);
    assert_eq!(aggregate.windows.weekly.resets_at, Some(at(NOW + 1)));
}

#[test]
fn the_reset_is_the_earliest_of_a_used_window() {
    let (unused, used) = (windows(Some((0.0, Some(1500))), None), windows(Some((5.0, Some(3000))), None));
    assert_eq!(of(&[login(&unused), login(&used)]).windows.five_hour.resets_at, Some(at(3000)));
}

#[test]
fn who_counts() {
    let half = windows(Some((49.5, Some(2000))), Some((49.5, Some(9000))));
    let unseen = Windows::new();
    let gone = || Member { standing: Standing::Gone, ..login(&unseen) };
    let blocked = |windows| Member { standing: Standing::Blocked { until: None }, ..login(windows) };
    let key = |standing| Member { kind: MemberKind::ApiKey, standing, ..login(&unseen) };
    // Gone: not there. Blocked and never seen: not counted. Blocked: by its utilization.
    assert_eq!(percent(&of(&[login(&half), gone(), blocked(&unseen)])), (50.0, 50.0));
    assert_eq!(percent(&of(&[login(&half), blocked(&half)])), (50.0, 50.0));
    // A key counts 100 of 100 while it is usable.
    let expected = (100.0 * (1.0 - (49.5 + 100.0) / 199.0) * 1e6_f64).round() / 1e6;
    let mixed = of(&[login(&half), key(Standing::Ready)]);
    assert_eq!(percent(&mixed), (expected, expected));
    assert!(!mixed.has_only_api_keys);
    assert_eq!(percent(&of(&[login(&half), key(Standing::Blocked { until: None })])), (50.0, 50.0));
    let keys = of(&[key(Standing::Ready)]);
    assert!(keys.has_only_api_keys && keys.is_usable && (keys.plan_weight - 1.0).abs() < 1e-9);
    let spent =
        Member { refused: Some(Limited { claim: None, until: Some(at(5000)) }), ..key(Standing::Ready) };
    let spent = of(&[spent]);
    assert!(spent.has_only_api_keys && !spent.is_usable);
    assert_eq!(spent.frees, Some(Limited { claim: None, until: Some(at(5000)) }));
    for nothing in [of(&[]), of(&[gone()]), of(&[blocked(&unseen)])] {
        assert_eq!(percent(&nothing), (100.0, 100.0));
        assert!(nothing.plan_weight.abs() < 1e-9 && !nothing.is_usable);
    }
}

#[test]
fn a_refused_window_has_nothing_left() {
    let half = windows(Some((49.5, Some(2000))), Some((49.5, Some(9000))));
    let refused = |until| Member {
        refused: Some(Limited { claim: Some(Claim::Base(BaseWindow::FiveHour)), until }),
        ..login(&half)
    };
    let both = of(&[refused(Some(at(1300))), login(&half)]);
    assert_eq!(percent(&both), (75.0, 50.0));
    assert!(both.is_usable);
    // A refusal that is over does not count.
    assert_eq!(percent(&of(&[refused(Some(at(NOW)))])), (50.0, 50.0));
    let alone = of(&[refused(Some(at(1300)))]);
    assert_eq!(percent(&alone), (100.0, 50.0));
    assert_eq!(alone.frees.unwrap().until, Some(at(1300)));
}

#[test]
fn what_frees_first_speaks_and_shows_100() {
    let short = windows(Some((99.0, Some(2000))), Some((10.0, Some(9000))));
    let long = windows(Some((10.0, Some(1500))), Some((99.0, Some(8000))));
    let unknown = windows(Some((99.0, None)), None);
    let aggregate = of(&[login(&long), login(&unknown), login(&short)]);
    assert_eq!(aggregate.claim, BaseWindow::FiveHour);
    assert_eq!(aggregate.frees.as_ref().unwrap().until, Some(at(2000)));
    assert!(aggregate.windows.five_hour.is_full() && !aggregate.windows.weekly.is_full());
    // Of two that end together the short window speaks, whatever the order.
    let (a, b) = (windows(Some((99.0, Some(2000))), None), windows(None, Some((99.0, Some(2000)))));
    assert_eq!(of(&[login(&a), login(&b)]).claim, BaseWindow::FiveHour);
    assert_eq!(of(&[login(&b), login(&a)]).claim, BaseWindow::FiveHour);
    let only_unknown = of(&[login(&unknown)]);
    assert_eq!(only_unknown.frees.unwrap().until, None);
}

#[test]
fn warnings_are_of_use_and_time() {
    let window = |percent: f64, left: u64| AggregateWindow {
        utilization: Utilization::from_percent(percent).unwrap(),
        resets_at: Some(at(NOW + left)),
        length: None,
        is_known: true,
        is_absent: false,
    };
    let five = |percent, left| window(percent, left).warning(BaseWindow::FiveHour, at(NOW));
    assert_eq!(five(90.0, 5040), Some("0.9"));
    assert_eq!(five(90.0, 5041), None);
    assert_eq!(five(89.9, 10), None);
    let week = 604_800.0_f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
    let weekly = |percent, gone: f64| {
        window(percent, (week * (1.0 - gone)) as u64).warning(BaseWindow::Weekly, at(NOW))
    };
    assert_eq!(weekly(75.0, 0.61), Some("0.75"));
    assert_eq!(weekly(80.0, 0.40), Some("0.5"));
    assert_eq!(weekly(80.0, 0.16), Some("0.25"));
    assert_eq!(weekly(30.0, 0.90), Some("0.25"));
    assert_eq!(weekly(24.9, 0.90), None);
    assert_eq!(weekly(99.0, 0.10), None);
    let timeless = AggregateWindow { resets_at: None, ..window(99.0, 0) };
    assert_eq!(timeless.warning(BaseWindow::FiveHour, at(NOW)), None);
}

#[test]
fn the_claim_is_the_warned_then_the_higher_then_the_short() {
    let claim = |five, weekly| of(&[login(&windows(Some(five), Some(weekly)))]).claim;
    let soon = Some(NOW + 100);
    let late = Some(NOW + 17_000);
    assert_eq!(claim((95.0, soon), (97.0, None)), BaseWindow::FiveHour);
    assert_eq!(claim((95.0, late), (30.0, soon)), BaseWindow::Weekly);
    assert_eq!(claim((10.0, late), (12.0, None)), BaseWindow::Weekly);
    assert_eq!(claim((12.0, late), (12.0, None)), BaseWindow::FiveHour);
}

#[test]
fn the_heaviest_tells_the_length() {
    let with = |minutes: u64| {
        let mut windows = Windows::new();
        let five_hour = Reading::Value(ReportedWindow {
            utilization: Utilization::ZERO,
            resets_at: None,
            length: Some(Duration::from_secs(minutes * 60)),
        });
        let base = WindowPair { five_hour, weekly: Reading::Absent };
        windows.observe(&Readings { base, ..Readings::default() }, Source::InBand, at(0));
        windows
    };
    let (light, heavy, silent) = (with(60), with(180), Windows::new());
    let weigh = |windows, weight| Member { weight: Weight::new(weight).unwrap(), ..login(windows) };
    let aggregate = of(&[weigh(&light, 1.0), weigh(&heavy, 5.0), weigh(&silent, 20.0)]);
    assert_eq!(aggregate.windows.five_hour.length, Some(Duration::from_secs(180 * 60)));
    assert_eq!(aggregate.windows.weekly.length_or_usual(BaseWindow::Weekly).as_secs(), 10_080 * 60);
}

#[derive(Debug, Clone)]
struct Any {
    kind: MemberKind,
    standing: Standing,
    windows: Windows,
    cap: u8,
    weight: f64,
    refused: Option<Limited>,
}

impl Any {
    fn member(&self) -> Member<'_> {
        let limit = WindowPair { five_hour: self.cap, weekly: self.cap };
        Member {
            kind: self.kind,
            standing: self.standing,
            windows: &self.windows,
            caps: Caps::from_options(WindowPair::default(), limit),
            weight: Weight::new(self.weight).unwrap(),
            refused: self.refused.clone(),
        }
    }
}

fn used() -> impl Strategy<Value = Used> {
    prop::option::of((0.0..150.0_f64, prop::option::of(0_u64..3000)))
}

fn member() -> impl Strategy<Value = Any> {
    let kind = prop_oneof![4 => Just(MemberKind::Login), 1 => Just(MemberKind::ApiKey)];
    let standing = prop_oneof![
        4 => Just(Standing::Ready),
        1 => Just(Standing::Gone),
        1 => prop::option::of(0_u64..3000).prop_map(|until| Standing::Blocked { until: until.map(at) }),
    ];
    let claim = prop_oneof![
        Just(None),
        Just(Some(Claim::Base(BaseWindow::FiveHour))),
        Just(Some(Claim::Base(BaseWindow::Weekly)))
    ];
    let refused = prop::option::weighted(
        0.2,
        (claim, prop::option::of(0_u64..3000))
            .prop_map(|(claim, until)| Limited { claim, until: until.map(at) }),
    );
    let weight = prop_oneof![Just(1e-300), Just(1.0), Just(10.0), Just(1e300), 0.1..20.0_f64];
    (kind, standing, used(), used(), 0_u8..=100, weight, refused).prop_map(
        |(kind, standing, five_hour, weekly, cap, weight, refused)| Any {
            kind,
            standing,
            windows: windows(five_hour, weekly),
            cap,
            weight,
            refused,
        },
    )
}

proptest! {
    #[test]
    fn between_nothing_and_all_and_whatever_the_order(
        pools in prop::collection::vec(member(), 0..8).prop_flat_map(|pool| (Just(pool.clone()), Just(pool).prop_shuffle())),
    ) {
        let of = |pool: &[Any]| of(&pool.iter().map(Any::member).collect::<Vec<_>>());
        let (a, b) = (of(&pools.0), of(&pools.1));
        for which in BaseWindow::BOTH {
            let (a, b) = (a.windows.get(which), b.windows.get(which));
            prop_assert!((0.0..=100.0).contains(&a.utilization.percent()));
            prop_assert!((a.utilization.percent() - b.utilization.percent()).abs() < 1e-6);
            prop_assert_eq!(a.resets_at, b.resets_at);
            prop_assert!(a.resets_at.is_none_or(|reset| reset > at(NOW)));
            prop_assert_eq!(a.is_known, b.is_known);
        }
        prop_assert!(a.plan_weight.is_finite() && a.plan_weight >= 0.0);
        prop_assert!((a.plan_weight - b.plan_weight).abs() <= 1e-9 * a.plan_weight.max(1.0));
        prop_assert_eq!(a.is_usable, b.is_usable);
        prop_assert_eq!(a.frees.as_ref().map(|f| f.until), b.frees.as_ref().map(|f| f.until));
        prop_assert_eq!(a.frees.is_some() && a.is_usable, false);
    }

    /// Whatever else is in the pool: a usable key keeps it usable, so that only the numbers count.
    #[test]
    fn more_use_of_one_never_shows_less_of_all(
        pool in prop::collection::vec(member(), 0..6),
        use_of_one in (0.0..120.0_f64, 0.0..120.0_f64),
        more in (0.0..40.0_f64, 0.0..40.0_f64),
    ) {
        let (five_hour, weekly) = use_of_one;
        let reset = Some(5000);
        let before = windows(Some((five_hour, reset)), Some((weekly, reset)));
        let after = windows(Some((five_hour + more.0, reset)), Some((weekly + more.1, reset)));
        let key = Windows::new();
        let with = |windows: &Windows| {
            let mut members: Vec<_> = pool.iter().map(Any::member).collect();
            members.push(login(windows));
            members.push(Member { kind: MemberKind::ApiKey, ..login(&key) });
            of(&members)
        };
        let (before, after) = (with(&before), with(&after));
        for which in BaseWindow::BOTH {
            let (before, after) = (before.windows.get(which).utilization, after.windows.get(which).utilization);
            prop_assert!(after.percent() >= before.percent() - 1e-9);
        }
    }

    #[test]
    fn a_pool_of_one_is_its_credential(five_hour in 0.0..120.0_f64, weekly in 0.0..120.0_f64, cap in 1_u8..=100) {
        let one = Any {
            kind: MemberKind::Login,
            standing: Standing::Ready,
            windows: windows(Some((five_hour, Some(5000))), Some((weekly, Some(9000)))),
            cap,
            weight: 3.0,
            refused: None,
        };
        let aggregate = of(&[one.member()]);
        for (which, used) in [(BaseWindow::FiveHour, five_hour), (BaseWindow::Weekly, weekly)] {
            let own = (100.0 * used / f64::from(cap)).min(100.0);
            let shown = aggregate.windows.get(which).utilization.percent();
            prop_assert!((shown - own).abs() < 1e-9 || (!aggregate.is_usable && aggregate.claim == which && shown >= own));
        }
        prop_assert_eq!(aggregate.is_usable, five_hour < f64::from(cap) && weekly < f64::from(cap));
    }
}
