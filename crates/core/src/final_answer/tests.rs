use super::*;
use crate::selection::{Counts, Window};

/// 2026-11-23 14:28:00 UTC, a Monday.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_444_080)
}

fn none(why: WhyNone, limited: usize, unavailable: usize, free_in: Option<u64>) -> NoCandidate {
    NoCandidate {
        why,
        counts: Counts { limited, unavailable, ..Counts::default() },
        free_at: free_in.map(|seconds| now() + Duration::from_secs(seconds)),
        window: Some((Window::FiveHour, now())),
        limited_family: None,
        reasons: vec![("a".to_owned(), "unavailable: login expired".to_owned())],
    }
}

fn said(none: &NoCandidate) -> (u16, String, Option<u64>, bool) {
    let refused = refuse(none, Some("alice"), Some("claude-opus-4-8"), now());
    (refused.reason.status().as_u16(), refused.message, refused.retry_after, refused.is_final)
}

#[test]
fn all_limited() {
    let text =
        "All 3 credentials for alice are at their limit; the next one is free at 15:40 UTC (in 1 h 12 m).";
    assert_eq!(
        said(&none(WhyNone::AllLimited, 3, 0, Some(4_320))),
        (429, text.to_owned(), Some(4_320), true)
    );
    let text = "The credential for alice is at its limit; it is free at 14:29 UTC (in 40 s).";
    assert_eq!(said(&none(WhyNone::AllLimited, 1, 0, Some(40))), (429, text.to_owned(), Some(40), false));
    assert!(!refuse(&none(WhyNone::AllLimited, 1, 0, Some(60)), None, None, now()).is_final);
    assert!(refuse(&none(WhyNone::AllLimited, 1, 0, Some(61)), None, None, now()).is_final);
    let text = "All 2 credentials for alice are at their limit; when that changes is not known.";
    assert_eq!(said(&none(WhyNone::AllLimited, 2, 0, None)), (429, text.to_owned(), None, true));
    let text = "All 2 credentials for alice are at their limit; the next one is free at 14:28 UTC on 1 Dec (in 8 d 0 h).";
    assert_eq!(said(&none(WhyNone::AllLimited, 2, 0, Some(8 * 86_400))).1, text);
    let free = NoCandidate {
        free_at: Some(now() + Duration::from_millis(1_500)),
        ..none(WhyNone::AllLimited, 1, 0, None)
    };
    assert_eq!(said(&free).2, Some(2));
    assert_eq!(
        refuse(&none(WhyNone::AllLimited, 2, 0, None), None, None, now()).message,
        "All 2 credentials are at their limit; when that changes is not known."
    );
}

#[test]
fn limited_for_a_model_alone() {
    let opus =
        NoCandidate { limited_family: Some("opus".to_owned()), ..none(WhyNone::AllLimited, 2, 0, Some(600)) };
    let text = "All 2 credentials for alice are at their limit for claude-opus-4-8; the next one is free at 14:38 UTC (in 10 m).";
    assert_eq!(said(&opus).1, text);
    let long = "x".repeat(5_000);
    assert!(refuse(&opus, None, Some(&long), now()).message.len() < 300);
}

#[test]
fn throttled() {
    let throttled = |why, limited, unavailable, model: Option<&str>| {
        let counts = Counts { limited, throttled: limited, unavailable, ..Counts::default() };
        let limited_family = model.map(str::to_owned);
        NoCandidate { counts, window: None, limited_family, ..none(why, limited, unavailable, Some(7)) }
    };
    let one = throttled(WhyNone::AllLimited, 1, 0, None);
    let text = "The credential for alice is throttled by the provider; it is free at 14:29 UTC (in 7 s).";
    assert_eq!(said(&one), (429, text.to_owned(), Some(7), false));
    // Nobody is told of a window.
    let answer = refuse(&one, None, None, now()).to_answer(&one);
    assert!(answer.is_limit && answer.is_throttle() && answer.limited.is_none());
    let text = "All 2 credentials for alice are throttled by the provider for claude-opus-4-8; \
                the next one is free at 14:29 UTC (in 7 s).";
    assert_eq!(said(&throttled(WhyNone::AllLimited, 2, 0, Some("opus"))).1, text);
    let text = "1 of 2 credentials for alice is throttled by the provider and 1 is unavailable; \
                the next one is free at 14:29 UTC (in 7 s).";
    assert_eq!(said(&throttled(WhyNone::SomeLimited, 1, 1, None)).1, text);
    // Where a window stands behind one of them, that is what is told.
    let mut mixed = throttled(WhyNone::AllLimited, 2, 0, None);
    mixed.counts.throttled = 1;
    assert!(said(&mixed).1.starts_with("All 2 credentials for alice are at their limit; "));
    assert!(!refuse(&mixed, None, None, now()).to_answer(&mixed).is_throttle());
}

#[test]
fn some_unavailable() {
    let text = "2 of 3 credentials for alice are at their limit and 1 is unavailable; the next one is free at 14:38 UTC (in 10 m).";
    assert_eq!(said(&none(WhyNone::SomeLimited, 2, 1, Some(600))), (429, text.to_owned(), Some(600), true));
    let text =
        "1 of 3 credentials for alice is at its limit and 2 are unavailable; when that changes is not known.";
    assert_eq!(said(&none(WhyNone::SomeLimited, 1, 2, None)).1, text);
}

#[test]
fn all_unavailable() {
    let text = "No credential for alice is usable: a (unavailable: login expired) and 1 more.";
    assert_eq!(said(&none(WhyNone::AllUnavailable, 0, 2, None)), (503, text.to_owned(), None, true));
    let soon = said(&none(WhyNone::AllUnavailable, 0, 2, Some(60)));
    assert_eq!((soon.2, soon.3), (Some(60), false));
    let late = said(&none(WhyNone::AllUnavailable, 0, 2, Some(61)));
    assert_eq!((late.2, late.3), (None, true));
}

#[test]
fn none_for_this_request() {
    let of = |why| said(&none(why, 0, 0, None));
    assert_eq!(of(WhyNone::NotForUser).1, "No credential of this pool may be used by alice.");
    assert_eq!((of(WhyNone::NotForUser).0, of(WhyNone::NotForUser).3), (403, true));
    assert_eq!(of(WhyNone::NotForModel).1, "No credential for alice serves the model claude-opus-4-8.");
    assert_eq!(of(WhyNone::NotForModel).0, 400);
    assert_eq!(of(WhyNone::NoApiKey).0, 400);
    assert_eq!(of(WhyNone::NotForTransport).0, 426);
}

#[test]
fn which_answer() {
    let limited = none(WhyNone::AllLimited, 1, 0, None);
    let some = none(WhyNone::SomeLimited, 1, 1, None);
    let tried = none(WhyNone::AllTried, 0, 0, None);
    let gone = none(WhyNone::AllUnavailable, 0, 1, None);
    for none in [&limited, &some, &tried, &gone] {
        assert_eq!(final_answer(Some(none), false, false), FinalAnswer::NoCandidate);
    }
    assert_eq!(final_answer(Some(&limited), true, true), FinalAnswer::NoCandidate);
    assert_eq!(final_answer(Some(&some), true, true), FinalAnswer::NoCandidate);
    assert_eq!(final_answer(Some(&gone), true, true), FinalAnswer::LastUpstream);
    assert_eq!(final_answer(Some(&tried), true, true), FinalAnswer::LastUpstream);
    assert_eq!(final_answer(Some(&tried), true, false), FinalAnswer::BadGateway);
    assert_eq!(final_answer(None, true, true), FinalAnswer::LastUpstream);
    assert_eq!(final_answer(None, true, false), FinalAnswer::BadGateway);
}

#[test]
fn a_time_that_no_calendar_holds_does_no_harm() {
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60);
    let none = NoCandidate { free_at: Some(far), ..none(WhyNone::AllLimited, 1, 0, None) };
    assert!(refuse(&none, None, None, now()).message.contains("it is free at "));
    let past = NoCandidate { free_at: Some(SystemTime::UNIX_EPOCH), ..none };
    assert_eq!(refuse(&past, None, None, now()).retry_after, None);
}
