use super::*;
use crate::limits::readings::ScopedReading;
use crate::limits::refusal::{NO_RESET_WAIT, OUT_OF_CREDITS_WAIT, RefusedWindow};
use crate::limits::{Claim, RefusedWindows};
use proptest::prelude::*;
use std::time::Duration;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds)
}

fn value(percent: f64, resets_at: Option<u64>) -> Reading {
    Reading::Value(ReportedWindow {
        utilization: Utilization::from_percent(percent).unwrap(),
        resets_at: resets_at.map(at),
        length: None,
    })
}

fn five_hour(reading: Reading) -> Readings {
    Readings { base: WindowPair { five_hour: reading, weekly: Reading::Absent }, ..Readings::default() }
}

fn scoped(scope: &LimitScope, reading: Reading) -> Readings {
    let windows = WindowPair { five_hour: Reading::Absent, weekly: reading };
    Readings { scoped: vec![ScopedReading { scope: scope.clone(), windows }], ..Readings::default() }
}

/// What is known after these readings, one second apart: percent and reset of the short window.
fn after(readings: &[(Source, Reading)]) -> Option<(f64, Option<SystemTime>)> {
    let mut windows = Windows::new();
    for ((source, reading), second) in readings.iter().zip(0..) {
        windows.observe(&five_hour(*reading), *source, at(second));
    }
    windows.base(BaseWindow::FiveHour, at(0)).map(|window| (window.utilization.percent(), window.resets_at))
}

const BAND: Source = Source::InBand;

#[test]
fn in_band_within_a_window_only_rises() {
    let reset = Some(1000);
    for (readings, expected) in [
        (vec![value(40.0, reset), value(30.0, reset)], Some((40.0, Some(at(1000))))),
        (vec![value(40.0, reset), value(50.0, Some(1060))], Some((50.0, Some(at(1060))))),
        (vec![value(40.0, reset), value(30.0, Some(940))], Some((40.0, Some(at(1000))))),
        // A later reset is a new window, an earlier one is an old one.
        (vec![value(40.0, reset), value(3.0, Some(1061))], Some((3.0, Some(at(1061))))),
        (vec![value(40.0, reset), value(90.0, Some(939))], Some((40.0, Some(at(1000))))),
        // No reset stated: the known window; and `null` or nothing changes nothing.
        (vec![value(40.0, reset), value(50.0, None)], Some((50.0, Some(at(1000))))),
        (vec![value(40.0, reset), value(30.0, None)], Some((40.0, Some(at(1000))))),
        (vec![value(40.0, None), value(30.0, reset)], Some((40.0, Some(at(1000))))),
        (vec![value(40.0, reset), Reading::Unknown, Reading::Absent], Some((40.0, Some(at(1000))))),
        (vec![Reading::Unknown], None),
    ] {
        let readings: Vec<_> = readings.into_iter().map(|reading| (BAND, reading)).collect();
        assert_eq!(after(&readings), expected, "{readings:?}");
    }
}

fn of_length(percent: f64, reset: u64, days: u64) -> Reading {
    let length = Some(Duration::from_secs(days * 86_400));
    match value(percent, Some(reset)) {
        Reading::Value(window) => Reading::Value(ReportedWindow { length, ..window }),
        other => other,
    }
}

fn long(first: Reading, second: Reading) -> Readings {
    let of = |weekly| WindowPair { five_hour: Reading::Absent, weekly };
    Readings { base: of(first), second: of(second), ..Readings::default() }
}

/// The windows of the long class: percent and reset, in order.
fn known(windows: &Windows) -> Vec<(f64, Option<SystemTime>)> {
    let of_class = windows.of_class(BaseWindow::Weekly);
    of_class.map(|window| (window.utilization.percent(), window.resets_at)).collect()
}

#[test]
fn two_windows_of_a_class_are_two() {
    let (week, month) = (|percent| of_length(percent, 1_000, 7), |percent| of_length(percent, 5_000, 30));
    for source in [BAND, Source::Poll, Source::External] {
        let mut windows = Windows::new();
        windows.observe(&long(month(20.0), week(90.0)), source, at(0));
        assert_eq!(known(&windows), [(20.0, Some(at(5_000))), (90.0, Some(at(1_000)))], "{source:?}");
        // The fuller one counts, until its own reset.
        let fuller = |second| windows.base(BaseWindow::Weekly, at(second)).unwrap().effective(at(second));
        assert_eq!((fuller(999).percent(), fuller(1_000).percent()), (90.0, 20.0));
    }
    let mut windows = Windows::new();
    windows.observe(&long(month(20.0), week(90.0)), BAND, at(0));
    // In whatever order they come, each is its own.
    windows.observe(&long(week(91.0), month(21.0)), BAND, at(1));
    assert_eq!(known(&windows), [(21.0, Some(at(5_000))), (91.0, Some(at(1_000)))]);
    // One alone leaves the other; its length is known to the minute.
    let minute = Duration::from_secs(60);
    let Reading::Value(month_now) = month(99.0) else { panic!() };
    let month_now =
        ReportedWindow { length: month_now.length.map(|length| length.saturating_sub(minute)), ..month_now };
    windows.observe(&long(Reading::Value(month_now), Reading::Absent), BAND, at(2));
    assert_eq!(known(&windows), [(99.0, Some(at(5_000))), (91.0, Some(at(1_000)))]);
    let until = |windows: &Windows, second| {
        windows.capped(Caps::DEFAULT, None, at(second)).and_then(|limited| limited.until)
    };
    assert_eq!(until(&windows, 3), Some(at(5_000)), "a cap is for each");
    // A refusal is of the one with its reset.
    let mut refused = windows.clone();
    let refusal = |reset| Refusal::Base {
        windows: RefusedWindows {
            five_hour: None,
            weekly: Some(RefusedWindow { resets_at: Some(at(reset)) }),
        },
        until: Some(at(reset)),
        out_of_credits: false,
    };
    refused.refuse(&refusal(1_030), None, at(3));
    assert_eq!(known(&refused), [(99.0, Some(at(5_000))), (100.0, Some(at(1_030)))]);
    // A poll knows what there is.
    windows.observe(&long(week(5.0), Reading::Absent), Source::Poll, at(4));
    assert_eq!(known(&windows), [(5.0, Some(at(1_000)))]);
}

#[test]
fn windows_vanish_and_appear() {
    let both = |five_hour, weekly| Readings { base: WindowPair { five_hour, weekly }, ..Readings::default() };
    let mut windows = Windows::new();
    windows.observe(&both(value(100.0, Some(100)), value(10.0, Some(900))), BAND, at(0));
    let percent = |windows: &Windows, second| {
        windows.base(BaseWindow::FiveHour, at(second)).map(|window| window.effective(at(second)).percent())
    };
    // What says nothing of it while it runs leaves it; once it has ended it is gone.
    let weekly_alone = both(Reading::Absent, value(11.0, Some(900)));
    windows.observe(&weekly_alone, BAND, at(50));
    assert_eq!(percent(&windows, 50), Some(100.0));
    windows.observe(&weekly_alone, BAND, at(100));
    assert_eq!(percent(&windows, 100), None);
    // It appears again, and a poll that does not name it takes it away at once, null or not.
    for gone in [Reading::Absent, Reading::Unknown] {
        windows.observe(&both(value(100.0, Some(200)), Reading::Absent), BAND, at(110));
        assert_eq!(percent(&windows, 110), Some(100.0));
        windows.observe(&both(gone, value(12.0, Some(900))), Source::Poll, at(120));
        assert_eq!(percent(&windows, 120), None, "{gone:?}");
    }
    // One that says nothing at all is no word on it.
    windows.observe(&Readings::default(), Source::Poll, at(130));
    assert_eq!(windows.base(BaseWindow::Weekly, at(130)).map(|w| w.utilization.percent()), Some(12.0));
    // An early reset: the new window ends later, or a poll shows it; one that has not begun limits nothing.
    windows.observe(&both(Reading::Absent, value(100.0, Some(900))), BAND, at(140));
    windows.observe(&both(Reading::Absent, value(1.0, Some(2_000))), BAND, at(150));
    assert_eq!(known(&windows), [(1.0, Some(at(2_000)))]);
    windows.observe(&both(Reading::Absent, value(100.0, Some(2_000))), BAND, at(160));
    windows.observe(&both(Reading::Absent, value(0.0, None)), Source::Poll, at(170));
    let window = windows.base(BaseWindow::Weekly, at(170)).unwrap();
    assert!(!window.has_begun() && windows.capped(Caps::DEFAULT, None, at(170)).is_none());
}

#[test]
fn a_window_without_a_reset_follows_one_that_has_ended() {
    let mut windows = Windows::new();
    windows.observe(&five_hour(value(100.0, Some(10))), BAND, at(0));
    windows.observe(&five_hour(value(7.0, None)), BAND, at(10));
    let window = windows.base(BaseWindow::FiveHour, at(11)).unwrap();
    assert_eq!((window.effective(at(11)).percent(), window.resets_at), (7.0, None));
}

#[test]
fn polls_replace_and_forget() {
    let poll = Source::Poll;
    assert_eq!(
        after(&[(BAND, value(40.0, Some(1000))), (poll, value(5.0, Some(1000)))]),
        Some((5.0, Some(at(1000))))
    );
    assert_eq!(after(&[(BAND, value(40.0, Some(1000))), (poll, value(5.0, None))]), Some((5.0, None)));
    assert_eq!(after(&[(BAND, value(40.0, Some(1000))), (poll, Reading::Unknown)]), None);
    assert_eq!(
        after(&[(BAND, value(40.0, Some(1000))), (poll, Reading::Absent)]),
        Some((40.0, Some(at(1000))))
    );
}

#[test]
fn of_externals_the_newest_wins() {
    let mut windows = Windows::new();
    let observe = |windows: &mut Windows, percent, second| {
        windows.observe(&five_hour(value(percent, Some(5000))), Source::External, at(second)).is_fresh
    };
    assert!(observe(&mut windows, 80.0, 10));
    assert!(observe(&mut windows, 20.0, 11));
    assert!(!observe(&mut windows, 90.0, 5));
    assert!(
        (windows.base(BaseWindow::FiveHour, at(1)).unwrap().utilization.percent() - 20.0).abs()
            < f64::EPSILON
    );
}

#[test]
fn only_data_is_fresh_and_ignored_values_are_reported() {
    let mut windows = Windows::new();
    let nothing = Readings { ignored: 3, ..Readings::default() };
    assert_eq!(windows.observe(&nothing, BAND, at(0)), Observed { is_fresh: false, ignored: 3 });
    assert!(!windows.observe(&five_hour(Reading::Unknown), Source::Poll, at(0)).is_fresh);
    assert!(windows.observe(&five_hour(value(0.0, None)), BAND, at(0)).is_fresh);
    windows.observe(&five_hour(value(1.0, Some(1000))), BAND, at(0));
    // Of a window that is over.
    assert!(!windows.observe(&five_hour(value(9.0, Some(100))), BAND, at(1)).is_fresh);
    // Confirmed, though lower.
    assert!(windows.observe(&five_hour(value(0.5, Some(1000))), BAND, at(1)).is_fresh);
}

#[test]
fn caps_hold_until_the_reset_comes() {
    let mut windows = Windows::new();
    windows.observe(&five_hour(value(99.0, Some(100))), BAND, at(0));
    let limited = windows.capped(Caps::DEFAULT, None, at(99)).unwrap();
    assert_eq!(limited, Limited { claim: Some(Claim::Base(BaseWindow::FiveHour)), until: Some(at(100)) });
    assert_eq!(windows.capped(Caps::DEFAULT, None, at(100)), None);
    assert_eq!(windows.capped(Caps::ALL, None, at(0)), None);
}

#[test]
fn scoped_limits_bind_their_models_only() {
    let opus = LimitScope::family("opus").unwrap();
    let mut windows = Windows::new();
    windows.observe(&scoped(&opus, value(99.0, Some(900))), BAND, at(0));
    let capped = |model| windows.capped(Caps::DEFAULT, model, at(1));
    assert_eq!(capped(None), None);
    assert_eq!(capped(Some("claude-sonnet-5")), None);
    let expected = Limited { claim: Some(Claim::Scope(opus.clone())), until: Some(at(900)) };
    assert_eq!(capped(Some("claude-opus-4-8")), Some(expected));
    // The one that ends last speaks.
    windows.observe(&five_hour(value(100.0, Some(950))), BAND, at(2));
    let limited = windows.capped(Caps::DEFAULT, Some("claude-opus-4-8"), at(3)).unwrap();
    assert_eq!(limited.until, Some(at(950)));
}

#[test]
fn refusals_raise_what_refused() {
    let refused = |resets_at: Option<u64>| Some(RefusedWindow { resets_at: resets_at.map(at) });
    let mut windows = Windows::new();
    windows.observe(&five_hour(value(40.0, Some(1000))), BAND, at(0));
    let base = |five_hour, weekly, until: Option<u64>| Refusal::Base {
        windows: RefusedWindows { five_hour, weekly },
        until: until.map(at),
        out_of_credits: false,
    };
    windows.refuse(&base(refused(None), refused(Some(9000)), Some(9000)), None, at(1));
    for (which, reset) in [(BaseWindow::FiveHour, 1000), (BaseWindow::Weekly, 9000)] {
        let window = windows.base(which, at(1)).unwrap();
        assert_eq!((window.utilization, window.resets_at), (Utilization::FULL, Some(at(reset))));
    }
    // More than 100 stays, and nothing is raised for ever.
    let mut windows = Windows::new();
    windows.refuse(&base(refused(None), refused(Some(0)), None), None, at(1));
    assert!(windows.is_unobserved());
    windows.observe(&five_hour(value(108.0, Some(1000))), BAND, at(0));
    windows.refuse(&base(refused(Some(1000)), None, Some(1000)), None, at(1));
    assert!(
        (windows.base(BaseWindow::FiveHour, at(1)).unwrap().utilization.percent() - 108.0).abs()
            < f64::EPSILON
    );
}

#[test]
fn a_refused_model_is_bound_from_then_on() {
    let limit = LimitScope::limit("codex_bengalfox").unwrap();
    let mut windows = Windows::new();
    windows.observe(&scoped(&limit, value(100.0, Some(900))), BAND, at(0));
    assert!(windows.capped(Caps::DEFAULT, Some("gpt-5.5-spark"), at(1)).is_none());
    let refusal = Refusal::Scoped { scope: limit.clone(), until: Some(at(900)) };
    windows.refuse(&refusal, Some("gpt-5.5-spark"), at(1));
    assert!(windows.capped(Caps::DEFAULT, Some("gpt-5.5-spark"), at(2)).is_some());
    assert!(windows.binds(&limit, "gpt-5.5-spark") && !windows.binds(&limit, "gpt-5.5"));
    // A poll that lists all limits without it forgets its windows.
    let poll = Readings { lists_all_limits: true, ..Readings::default() };
    windows.observe(&poll, Source::Poll, at(3));
    assert!(windows.capped(Caps::DEFAULT, Some("gpt-5.5-spark"), at(4)).is_none());
    for number in 0..MAX_BOUND_MODELS + 3 {
        windows.refuse(&refusal, Some(&format!("m{number}")), at(5));
    }
    assert!(!windows.binds(&limit, "m1") && windows.binds(&limit, &format!("m{}", MAX_BOUND_MODELS + 2)));
    assert_eq!(windows.scoped[0].models.len(), MAX_BOUND_MODELS);
}

#[test]
fn scoped_limits_are_bounded() {
    let mut windows = Windows::new();
    let scope = |n: usize| LimitScope::family(&format!("f{n}")).unwrap();
    for n in 0..MAX_SCOPED_LIMITS {
        windows.observe(&scoped(&scope(n), value(50.0, Some(100))), BAND, at(0));
    }
    let more = scoped(&scope(99), value(50.0, Some(100)));
    assert_eq!(windows.observe(&more, BAND, at(1)), Observed { is_fresh: false, ignored: 1 });
    // Once the others have ended there is room.
    let later = scoped(&scope(99), value(50.0, Some(900)));
    assert!(windows.observe(&later, BAND, at(100)).is_fresh);
    assert_eq!(windows.scoped.len(), MAX_SCOPED_LIMITS);
    // What is only known to be unknown takes no room.
    let mut windows = Windows::new();
    windows.observe(&scoped(&scope(1), Reading::Unknown), Source::Poll, at(0));
    assert!(windows.scoped.is_empty());
}

#[test]
fn refusals_say_until_when() {
    let mut windows = Windows::new();
    let refused = RefusedWindows { five_hour: Some(RefusedWindow { resets_at: None }), weekly: None };
    let base = |until, out_of_credits| Refusal::Base { windows: refused, until, out_of_credits };
    assert_eq!(base(None, false).limited_until(&windows, at(0)), Some(at(0) + NO_RESET_WAIT));
    assert!(base(None, false).wants_poll() && !base(None, true).wants_poll());
    assert_eq!(base(None, true).limited_until(&windows, at(0)), Some(at(0) + OUT_OF_CREDITS_WAIT));
    assert_eq!(base(Some(at(7)), true).limited_until(&windows, at(0)), Some(at(7)));
    windows.observe(&five_hour(value(100.0, Some(50))), BAND, at(0));
    assert_eq!(base(None, false).limited_until(&windows, at(0)), Some(at(50)));
    let opus = LimitScope::family("opus").unwrap();
    let limited = Refusal::Scoped { scope: opus.clone(), until: None };
    assert_eq!(limited.limited_until(&windows, at(0)), Some(at(0) + NO_RESET_WAIT));
    windows.observe(&scoped(&opus, value(100.0, Some(70))), BAND, at(0));
    assert_eq!(limited.limited_until(&windows, at(0)), Some(at(70)));
    let burst = |seconds: Option<u64>| {
        Refusal::Burst { retry_after: seconds.map(Duration::from_secs) }
            .burst_wait()
            .map(|wait| wait.as_secs())
    };
    assert_eq!([burst(None), burst(Some(3)), burst(Some(7200))], [Some(10), Some(3), Some(60)]);
    assert_eq!(Refusal::Entitlement.limited_until(&windows, at(0)), None);
    assert_eq!(Refusal::Entitlement.burst_wait(), None);
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        Just(Reading::Absent),
        Just(Reading::Unknown),
        (0.0..300.0_f64, prop::option::of(0_u64..4_000_000))
            .prop_map(|(percent, reset)| value(percent, reset)),
    ]
}

fn any_source() -> impl Strategy<Value = Source> {
    prop_oneof![Just(Source::Poll), Just(Source::InBand), Just(Source::External)]
}

proptest! {
    #[test]
    fn within_a_window_the_order_does_not_matter(
        readings in prop::collection::vec((0.0..120.0_f64, prop::option::of(1000_u64..=1060)), 1..8)
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
    ) {
        let merged = |list: &[(f64, Option<u64>)]| {
            let list: Vec<_> = list.iter().map(|(percent, reset)| (BAND, value(*percent, *reset))).collect();
            after(&list)
        };
        prop_assert_eq!(merged(&readings.0), merged(&readings.1));
    }

    #[test]
    fn in_band_never_falls_before_the_reset(
        readings in prop::collection::vec((0.0..120.0_f64, prop::option::of(0_u64..3000)), 1..20),
        now in 0_u64..2000,
    ) {
        let mut windows = Windows::new();
        let mut before: Option<Window> = None;
        for (percent, reset) in readings {
            windows.observe(&five_hour(value(percent, reset)), BAND, at(now));
            let window = *windows.base(BaseWindow::FiveHour, at(now)).unwrap();
            if let Some(before) = before && before.resets_at == window.resets_at && before.resets_at.is_some_and(|r| r > at(now)) {
                prop_assert!(window.utilization >= before.utilization);
            }
            before = Some(window);
        }
    }

    #[test]
    fn reading_late_equals_reading_on_time(
        readings in prop::collection::vec((any_source(), any_reading(), any_reading(), 0_u64..2_000_000), 0..12),
        times in prop::collection::vec(0_u64..4_000_000, 1..8),
        last in 0_u64..4_000_000,
    ) {
        let mut windows = Windows::new();
        for (source, five_hour, weekly, when) in readings {
            let readings = Readings { base: WindowPair { five_hour, weekly }, ..Readings::default() };
            windows.observe(&readings, source, at(when));
        }
        let untouched = windows.clone();
        for time in times {
            windows.capped(Caps::DEFAULT, Some("claude-opus-5"), at(time));
        }
        prop_assert_eq!(&windows, &untouched);
        prop_assert_eq!(
            windows.capped(Caps::DEFAULT, None, at(last)),
            untouched.capped(Caps::DEFAULT, None, at(last))
        );
        // And nothing blocks past its reset.
        if let Some(Limited { until: Some(until), .. }) = windows.capped(Caps::DEFAULT, None, at(last)) {
            prop_assert!(until > at(last));
            let then = windows.capped(Caps::DEFAULT, None, until);
            prop_assert!(then.is_none(), "still {then:?}");
        }
    }
}
