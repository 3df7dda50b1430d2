use super::*;
use crate::limits::{BaseWindow, LimitScope, timestamp};
use proptest::prelude::*;

fn now() -> SystemTime {
    timestamp::parse("2026-11-24T14:28:00Z").unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "it is what takes it that may be without")]
fn after(seconds: u64) -> Option<SystemTime> {
    Some(now() + Duration::from_secs(seconds))
}

fn limited(which: BaseWindow, seconds: Option<u64>) -> Obstacle {
    Obstacle::Limited(Limited { claim: Some(Claim::Base(which)), until: seconds.and_then(after) })
}

fn opus(seconds: u64) -> Obstacle {
    let scope = LimitScope::family("opus").unwrap();
    Obstacle::Limited(Limited { claim: Some(Claim::Scope(scope)), until: after(seconds) })
}

fn blocked(seconds: Option<u64>) -> Obstacle {
    Obstacle::Blocked { reason: "connection".to_owned(), until: seconds.and_then(after) }
}

fn unavailable() -> Obstacle {
    Obstacle::Unavailable { reason: "login expired, run \"claude /login\"".to_owned() }
}

fn answer(candidates: &[(&str, Obstacle)]) -> NoCandidate {
    NoCandidate::new(Some("alice"), Some("claude-opus-5"), candidates, now())
}

const SHORT: BaseWindow = BaseWindow::FiveHour;
const LONG: BaseWindow = BaseWindow::Weekly;

#[test]
fn all_limited() {
    let three = answer(&[
        ("a", limited(LONG, Some(90_000))),
        ("b", limited(SHORT, Some(72 * 60))),
        ("c", limited(LONG, None)),
    ]);
    assert_eq!(
        three.message,
        "All 3 credentials for alice are at their limit; the next one is free at 15:40 UTC (in 1 h 12 m)."
    );
    assert_eq!((three.status().as_u16(), three.retry_after, three.is_final), (429, Some(4320), true));
    assert_eq!(three.limited, Some(Limited { claim: Some(Claim::Base(SHORT)), until: after(4320) }));
    let one = NoCandidate::new(None, None, &[("a", limited(SHORT, Some(60)))], now());
    assert_eq!(one.message, "The only credential is at its limit; it is free again at 14:29 UTC (in 1 m).");
    assert_eq!((one.retry_after, one.is_final), (Some(60), false));
    let over = answer(&[("a", limited(SHORT, Some(61)))]);
    assert_eq!((over.retry_after, over.is_final), (Some(61), true));
}

#[test]
fn no_reset_known() {
    let unknown = answer(&[("a", limited(SHORT, None)), ("b", limited(SHORT, None))]);
    assert_eq!((unknown.status().as_u16(), unknown.retry_after, unknown.is_final), (429, None, true));
    assert_eq!(
        unknown.message,
        "All 2 credentials for alice are at their limit; when the next one is free is not known."
    );
    // A reset that has come is none.
    let over =
        NoCandidate::new(None, None, &[("a", limited(SHORT, Some(10)))], now() + Duration::from_secs(10));
    assert_eq!(over.retry_after, None);
}

#[test]
fn for_one_model_alone() {
    let answer = answer(&[("a", opus(7200)), ("b", limited(LONG, Some(90_000)))]);
    assert_eq!(
        answer.message,
        "All 2 credentials for alice are at their limit for claude-opus-5; the next one is free at 16:28 UTC (in 2 h)."
    );
    let scope = LimitScope::family("opus").unwrap();
    assert_eq!(answer.limited.unwrap().claim, Some(Claim::Scope(scope)));
}

#[test]
fn counts_are_named() {
    let mixed =
        answer(&[("a", limited(SHORT, Some(7200))), ("b", unavailable()), ("c", limited(SHORT, Some(9000)))]);
    assert_eq!(
        mixed.message,
        "2 of the 3 credentials for alice are at their limit and 1 is unavailable; the next one is free at 16:28 UTC (in 2 h)."
    );
    let one = answer(&[
        ("a", limited(SHORT, Some(7200))),
        ("b", unavailable()),
        ("c", unavailable()),
        ("d", blocked(None)),
    ]);
    assert!(one.message.starts_with(
        "1 of the 4 credentials for alice is at its limit and 1 is blocked and 2 are unavailable; the next one is free"
    ));
    // A block that ends first is what is waited for; the window still speaks.
    let block = answer(&[("a", limited(SHORT, Some(7200))), ("b", blocked(Some(10)))]);
    assert_eq!((block.status().as_u16(), block.retry_after, block.is_final), (429, Some(10), false));
    assert_eq!(block.limited.unwrap().until, after(7200));
}

#[test]
fn nothing_but_faults() {
    let out = answer(&[("a", unavailable()), ("b", blocked(None))]);
    assert_eq!((out.status().as_u16(), out.retry_after, out.is_final), (503, None, true));
    assert_eq!(
        out.message,
        "No credential for alice can be used now: a is unavailable (login expired, run \"claude /login\"); b is blocked (connection)."
    );
    let soon = answer(&[("a", unavailable()), ("b", blocked(Some(60)))]);
    assert_eq!((soon.status().as_u16(), soon.retry_after, soon.is_final), (503, Some(60), false));
    let late = answer(&[("b", blocked(Some(61)))]);
    assert_eq!((late.retry_after, late.is_final), (None, true));
    let many: Vec<(&str, Obstacle)> = (0..20).map(|_| ("t", unavailable())).collect();
    assert!(answer(&many).message.ends_with("; and 12 more."));
    let long = Obstacle::Unavailable { reason: "x\n".repeat(1000) };
    assert!(answer(&[("a", long)]).message.len() < 300);
}

fn obstacle() -> impl Strategy<Value = Obstacle> {
    let until = || prop::option::of(0_u64..1_000_000);
    prop_oneof![
        until().prop_map(|until| limited(SHORT, until)),
        until().prop_map(|until| limited(LONG, until)),
        (0_u64..1_000_000).prop_map(opus),
        until().prop_map(blocked),
        Just(unavailable()),
    ]
}

proptest! {
    #[test]
    fn the_answer_is_consistent(obstacles in prop::collection::vec(obstacle(), 1..10), late in 0_u64..2_000_000) {
        let candidates: Vec<(&str, Obstacle)> = obstacles.into_iter().map(|obstacle| ("t", obstacle)).collect();
        let answer = NoCandidate::new(Some("u"), Some("m"), &candidates, now() + Duration::from_secs(late));
        let has_limit = candidates.iter().any(|(_, obstacle)| matches!(obstacle, Obstacle::Limited(_)));
        prop_assert_eq!(answer.is_limit, has_limit);
        prop_assert_eq!(answer.limited.is_some(), has_limit);
        // Either the client waits, or it is told not to.
        prop_assert_eq!(answer.is_final, answer.retry_after.is_none_or(|seconds| seconds > 60));
        prop_assert!(answer.retry_after.is_none_or(|seconds| seconds >= 1));
        prop_assert!(answer.message.ends_with('.'));
    }
}
