use proptest::prelude::*;

use super::*;
use ForcedRefresh::{Allowed, Impossible, NotNow};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000 + seconds)
}

fn token(name: &str) -> TokenDigest {
    TokenDigest::of(name.as_bytes())
}

const FIRST: Tries = Tries { with_other_token: false, after_refresh: false };

/// A refusal of `a`, which is the token in use, at a moment.
fn fail(recovery: &mut AuthRecovery, refresh: ForcedRefresh, seconds: u64) -> Next {
    recovery.on_failure(token("a"), FIRST, Some(token("a")), refresh, at(seconds)).next
}

fn settled(outcome: Outcome) -> Advance {
    Next::Settled(outcome).into()
}

fn checked(
    recovery: &mut AuthRecovery,
    begun: u64,
    answer: CheckAnswer,
    refresh: ForcedRefresh,
) -> Option<Advance> {
    recovery.on_checked(token("a"), at(begun), answer, refresh, at(begun + 1))
}

/// A recovery that waits for its check, begun at 0.
fn at_check() -> AuthRecovery {
    let mut recovery = AuthRecovery::new(true);
    assert_eq!(fail(&mut recovery, Allowed, 0), Next::Do(Step::ReadFile));
    assert_eq!(recovery.on_file_read(token("a"), Some(token("a"))), Some(Next::Do(Step::Check).into()));
    recovery
}

#[test]
fn what_counts_as_an_auth_failure() {
    assert!(is_auth_failure(401, None));
    assert!(is_auth_failure(403, Some("OAuth token has been revoked. Please obtain a new token.")));
    assert!(!is_auth_failure(403, Some("It says: OAuth token has been revoked")));
    assert!(!is_auth_failure(403, None));
    assert!(!is_auth_failure(400, Some("OAuth token has been revoked")));
}

#[test]
fn a_token_in_the_file_that_differs_is_tried_once() {
    let mut recovery = AuthRecovery::new(true);
    assert_eq!(fail(&mut recovery, Allowed, 0), Next::Do(Step::ReadFile));
    assert_eq!(fail(&mut recovery, Allowed, 0), Next::Wait, "once for all that fail together");
    let outcome = Outcome::Retry { after_refresh: false };
    assert_eq!(recovery.on_file_read(token("a"), Some(token("b"))), Some(settled(outcome)));
    assert_eq!(recovery.step(), None);
    // One that fails late with the old token is told the same.
    let late = recovery.on_failure(token("a"), FIRST, Some(token("b")), Allowed, at(50));
    assert_eq!(late, settled(outcome));
    let again = Tries { with_other_token: true, after_refresh: false };
    let third = recovery.on_failure(token("b"), again, Some(token("c")), Allowed, at(51));
    assert_eq!(third, settled(Outcome::NextCandidate), "once");
    assert_eq!(outcome.for_request(again), Outcome::NextCandidate);
    assert_eq!(outcome.for_request(FIRST), outcome);
    // The other token may be looked into in its turn.
    let next = recovery.on_failure(token("b"), again, Some(token("b")), Allowed, at(52));
    assert_eq!(next.next, Next::Do(Step::ReadFile));
}

#[test]
fn no_login_any_more() {
    let mut recovery = AuthRecovery::new(true);
    fail(&mut recovery, Allowed, 0);
    assert_eq!(recovery.on_file_read(token("a"), None), Some(settled(Outcome::NextCandidate)));
    let gone = recovery.on_failure(token("a"), FIRST, None, Allowed, at(1));
    assert_eq!(gone, settled(Outcome::NextCandidate));
}

#[test]
fn answered_200_the_failure_is_the_requests_own_for_a_minute() {
    let mut recovery = at_check();
    assert_eq!(
        checked(&mut recovery, 1, CheckAnswer::Accepted, Allowed),
        Some(settled(Outcome::PassThrough)),
        "nothing changes"
    );
    assert_eq!(
        fail(&mut recovery, Allowed, 61),
        Next::Settled(Outcome::PassThrough),
        "it holds for this token"
    );
    assert_eq!(fail(&mut recovery, Allowed, 62), Next::Do(Step::ReadFile), "60 s after its answer");
    let mut recovery = at_check();
    checked(&mut recovery, 1, CheckAnswer::Accepted, Allowed);
    let other = recovery.on_failure(token("b"), FIRST, Some(token("b")), Allowed, at(2));
    assert_eq!(other.next, Next::Do(Step::ReadFile), "and for no other");
}

#[test]
fn only_a_poll_begun_after_the_failure_counts() {
    let mut recovery = AuthRecovery::new(true);
    fail(&mut recovery, Allowed, 10);
    assert_eq!(checked(&mut recovery, 11, CheckAnswer::Accepted, Allowed), None, "none was asked for yet");
    recovery.on_file_read(token("a"), Some(token("a")));
    assert_eq!(checked(&mut recovery, 9, CheckAnswer::Accepted, Allowed), Some(Next::Do(Step::Check).into()));
    let other = recovery.on_checked(token("b"), at(11), CheckAnswer::Accepted, Allowed, at(12));
    assert_eq!(other, None, "a poll with another token");
    assert_eq!(
        checked(&mut recovery, 11, CheckAnswer::Accepted, Allowed),
        Some(settled(Outcome::PassThrough))
    );
    // A clock that was set back cannot hold up everybody.
    let mut recovery = AuthRecovery::new(true);
    fail(&mut recovery, Allowed, 10);
    recovery.on_file_read(token("a"), Some(token("a")));
    for _ in 0..2 {
        assert_eq!(
            checked(&mut recovery, 5, CheckAnswer::Accepted, NotNow),
            Some(Next::Do(Step::Check).into())
        );
    }
    let last = checked(&mut recovery, 5, CheckAnswer::Accepted, NotNow).unwrap();
    assert_eq!(last.next, Next::Settled(Outcome::NextCandidate));
}

#[test]
fn anything_but_200_makes_the_token_count_as_expired_and_is_followed_by_one_forced_refresh() {
    for answer in [CheckAnswer::Refused, CheckAnswer::NoAnswer] {
        let mut recovery = at_check();
        let advance = checked(&mut recovery, 1, answer, Allowed).unwrap();
        assert_eq!(advance, Advance { next: Next::Do(Step::Refresh), mark: Some(Mark::TokenRefused) });
        assert_eq!(fail(&mut recovery, Allowed, 5), Next::Wait);
        assert_eq!(
            recovery.on_refreshed(token("a"), RefreshEnd::NewToken),
            Some(settled(Outcome::Retry { after_refresh: true }))
        );
        // Refused for good, or not to be had.
        let mut recovery = at_check();
        checked(&mut recovery, 1, answer, Allowed);
        let end = recovery.on_refreshed(token("a"), RefreshEnd::Failed);
        assert_eq!(end, Some(settled(Outcome::NextCandidate)));
    }
}

#[test]
fn where_no_refresh_is_allowed_the_request_goes_to_the_next() {
    let mut recovery = at_check();
    let advance = checked(&mut recovery, 1, CheckAnswer::Refused, NotNow).unwrap();
    let next = Advance { mark: Some(Mark::TokenRefused), ..settled(Outcome::NextCandidate) };
    assert_eq!(advance, next);
    // The check is not repeated within its minute, and a refresh begins as soon as it may.
    assert_eq!(recovery.on_failure(token("a"), FIRST, Some(token("a")), NotNow, at(30)), next);
    assert_eq!(fail(&mut recovery, Allowed, 31), Next::Do(Step::Refresh));
}

#[test]
fn a_refusal_after_a_refresh_is_the_requests_own() {
    let mut recovery = AuthRecovery::new(true);
    let tries = Tries { with_other_token: false, after_refresh: true };
    for current in [Some(token("a")), Some(token("b")), None] {
        let advance = recovery.on_failure(token("a"), tries, current, Allowed, at(0));
        assert_eq!(advance, settled(Outcome::PassThrough));
    }
}

#[test]
fn what_the_policy_says_of_a_forced_refresh() {
    use crate::refresh::Denied;
    for (answer, refresh) in [
        (Ok(()), Allowed),
        (Err(Denied::UnderWay), Allowed),
        (Err(Denied::NoRefreshToken), Impossible),
        (Err(Denied::Until(at(0))), NotNow),
        (Err(Denied::RefusedForGood), NotNow),
        (Err(Denied::WriteOutstanding), NotNow),
    ] {
        assert_eq!(ForcedRefresh::from(answer), refresh);
    }
}

#[test]
fn a_key_is_given_up_only_when_its_refusal_is_confirmed() {
    for (answer, mark, outcome) in [
        (CheckAnswer::Refused, Some(Mark::CredentialRefused), Outcome::NextCandidate),
        (CheckAnswer::NoAnswer, None, Outcome::NextCandidate),
        (CheckAnswer::Accepted, None, Outcome::PassThrough),
    ] {
        let mut recovery = AuthRecovery::new(false);
        assert_eq!(fail(&mut recovery, Impossible, 0), Next::Do(Step::Check), "there is no file to read");
        let advance = checked(&mut recovery, 1, answer, Impossible);
        assert_eq!(advance, Some(Advance { next: Next::Settled(outcome), mark }));
    }
}

#[test]
fn what_is_about_no_open_case_changes_nothing() {
    let mut recovery = AuthRecovery::new(true);
    assert_eq!(recovery.on_file_read(token("a"), None), None);
    assert_eq!(recovery.on_refreshed(token("a"), RefreshEnd::NewToken), None);
    let mut recovery = at_check();
    assert_eq!(recovery.on_refreshed(token("a"), RefreshEnd::NewToken), None);
    assert_eq!(recovery.on_file_read(token("a"), None), None, "the file was read already");
    assert_eq!(recovery.step(), Some((token("a"), Step::Check)));
    // A case that nobody ended is begun anew.
    assert_eq!(fail(&mut recovery, Allowed, 599), Next::Wait);
    assert_eq!(fail(&mut recovery, Allowed, 600), Next::Do(Step::ReadFile));
}

proptest! {
    /// Whatever comes in whatever order: whoever is told to wait waits for a step that is under way, every step that is done
    /// leads on or settles, and at most five steps settle it.
    #[test]
    fn it_always_settles(
        has_file in any::<bool>(),
        noise in prop::collection::vec((0..4_u8, 0..3_u8, any::<bool>(), 0..90_u64), 0..40),
        answers in prop::collection::vec((0..3_u8, any::<bool>()), 5),
    ) {
        let names = ["a", "b", "c"];
        let answer = |n: u8| [CheckAnswer::Accepted, CheckAnswer::Refused, CheckAnswer::NoAnswer][usize::from(n)];
        let forced = |n: u8, flag| if flag { Allowed } else { [NotNow, Impossible][usize::from(n % 2)] };
        let mut recovery = AuthRecovery::new(has_file);
        let mut now = at(0);
        for (event, n, flag, wait) in noise {
            let about = token(names[usize::from(n)]);
            match event {
                0 => {
                    let current = if flag { about } else { token("b") };
                    let next = recovery.on_failure(about, FIRST, Some(current), forced(n, flag), now).next;
                    prop_assert_eq!(next == Next::Wait || matches!(next, Next::Do(_)), recovery.step().is_some_and(|(token, _)| token == about && current == about));
                }
                1 => { recovery.on_file_read(about, flag.then_some(token("b"))); }
                2 => { recovery.on_checked(about, now, answer(n), forced(n, flag), now); }
                _ => { recovery.on_refreshed(about, if flag { RefreshEnd::NewToken } else { RefreshEnd::Failed }); }
            }
            now += Duration::from_secs(wait);
        }
        let mut next = recovery.on_failure(token("a"), FIRST, Some(token("a")), Allowed, now).next;
        if next == Next::Wait {
            next = Next::Do(recovery.step().unwrap().1);
        }
        for (n, flag) in answers {
            let Next::Do(step) = next else { break };
            prop_assert_eq!(recovery.step(), Some((token("a"), step)));
            let advance = match step {
                Step::ReadFile => recovery.on_file_read(token("a"), flag.then_some(token("a"))),
                Step::Check => recovery.on_checked(token("a"), now, answer(n), forced(n, flag), now),
                Step::Refresh => recovery.on_refreshed(token("a"), if flag { RefreshEnd::NewToken } else { RefreshEnd::Failed }),
            };
            next = advance.expect("an open case").next;
        }
        prop_assert!(matches!(next, Next::Settled(_)), "{next:?}");
        prop_assert_eq!(recovery.step(), None);
    }
}
