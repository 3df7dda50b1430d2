use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::login::{Login, LoginIdentity};
use crate::provider::LoginFormat;
use crate::provider::claude::Claude;
use crate::provider::codex::Codex;
use crate::secret::Secret;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000 + seconds)
}

/// A login that ends at `end` and is due 300 s before.
fn login(token: &str, end: u64) -> Login {
    let mut login = Login::of_token(Secret::new(token));
    login.refresh_token = Some(Secret::new(format!("refresh-{token}")));
    login.expires_at = Some(at(end));
    login.refresh_due = Some(at(end - 300));
    login
}

fn policy_with(login: &Login) -> RefreshPolicy {
    let mut policy = RefreshPolicy::new();
    policy.on_login(LoginIdentity::of(login));
    policy
}

fn cooldown(after: &AfterFailure) -> SystemTime {
    match after {
        AfterFailure::Cooldown { until } | AfterFailure::CannotKeep { until, .. } => *until,
        AfterFailure::LoginExpired => panic!("refused for good"),
    }
}

use RefreshKind::{Forced, Proactive};

#[test]
fn a_login_is_due_five_minutes_before_its_end() {
    let login = login("a", 1_000);
    let policy = policy_with(&login);
    assert_eq!(policy.may_start(Proactive, &login, at(699)), Err(Denied::NotDue));
    assert_eq!(policy.next_start(&login, false, at(0)), Some((Proactive, at(700))));
    assert_eq!(policy.may_start(Proactive, &login, at(700)), Ok(()));
    assert_eq!(policy.next_start(&login, false, at(5_000)), Some((Proactive, at(5_000))));
    assert_eq!(policy.may_start(Forced, &login, at(0)), Ok(()), "a forced one needs no due time");
    assert_eq!(policy.next_start(&login, true, at(0)), Some((Forced, at(0))));
    let mut bare = login.clone();
    bare.refresh_token = None;
    assert_eq!(policy.may_start(Forced, &bare, at(9_000)), Err(Denied::NoRefreshToken));
    assert_eq!(policy.next_start(&bare, false, at(0)), None);
    let mut never = login;
    never.refresh_due = None;
    assert_eq!(policy.may_start(Proactive, &never, at(9_000)), Err(Denied::NotDue));
    assert_eq!(policy.next_start(&never, false, at(0)), None);
}

#[test]
fn the_rates_count_refreshes_that_were_answered_with_a_token() {
    // A server whose tokens are due as soon as they are given.
    let login = login("a", 300);
    let mut policy = policy_with(&login);
    policy.on_started(at(0));
    assert_eq!(policy.may_start(Forced, &login, at(0)), Err(Denied::UnderWay));
    assert_eq!(policy.next_start(&login, false, at(0)), None);
    policy.on_answered(Proactive, at(1));
    assert_eq!(policy.may_start(Proactive, &login, at(60)), Err(Denied::Until(at(61))));
    assert_eq!(policy.next_start(&login, false, at(30)), Some((Proactive, at(61))));
    assert_eq!(policy.may_start(Proactive, &login, at(61)), Ok(()));
    assert_eq!(policy.may_start(Forced, &login, at(2)), Ok(()), "each kind has its rate");
    policy.on_answered(Forced, at(2));
    assert_eq!(policy.may_start(Forced, &login, at(301)), Err(Denied::Until(at(302))));
    assert_eq!(policy.next_start(&login, true, at(100)), Some((Forced, at(302))));
    policy.on_login(LoginIdentity::of(&self::login("b", 300)));
    assert_eq!(
        policy.may_start(Forced, &login, at(301)),
        Err(Denied::Until(at(302))),
        "also for another login"
    );
    assert_eq!(policy.may_start(Forced, &login, at(302)), Ok(()));
    // One that found a login in the file costs nothing.
    policy.on_started(at(400));
    policy.on_needless();
    assert_eq!(policy.may_start(Proactive, &login, at(400)), Ok(()));
    policy.set_write_outstanding(true);
    assert_eq!(policy.may_start(Forced, &login, at(9_000)), Err(Denied::WriteOutstanding));
    assert_eq!(policy.next_start(&login, false, at(9_000)), None);
    policy.set_write_outstanding(false);
    assert_eq!(policy.may_start(Forced, &login, at(9_000)), Ok(()));
}

#[test]
fn a_refresh_that_never_ended_does_not_stand_in_the_way_for_ever() {
    let login = login("a", 300);
    let mut policy = policy_with(&login);
    policy.on_started(at(0));
    assert_eq!(policy.may_start(Proactive, &login, at(599)), Err(Denied::UnderWay));
    assert_eq!(policy.may_start(Proactive, &login, at(600)), Ok(()));
}

#[test]
fn cooldowns_double_up_to_their_ceilings() {
    for (failure, waits) in [
        (RefreshFailure::TooManyRequests(None), vec![60, 120, 240, 480, 960, 1_920, 3_600, 3_600]),
        (RefreshFailure::Unusable, vec![300, 600, 1_200, 2_400, 3_600, 3_600]),
        (RefreshFailure::Unread(Unread::Cut), vec![300, 600, 1_200, 2_400, 3_600, 3_600]),
        (RefreshFailure::Unreachable, vec![5, 10, 20, 40, 80, 160, 300, 300]),
        (RefreshFailure::TooManyRequests(Some(Duration::from_secs(77))), vec![77, 77]),
        (RefreshFailure::TooManyRequests(Some(Duration::ZERO)), vec![5, 5]),
    ] {
        let login = login("a", 300);
        let mut policy = policy_with(&login);
        let mut now = at(1_000);
        for wait in waits {
            policy.on_started(now);
            let until = cooldown(&policy.on_failed(failure, now));
            assert_eq!(until, now + Duration::from_secs(wait), "{failure:?}");
            assert_eq!(policy.cooldown(now), Some(until));
            for kind in [Proactive, Forced] {
                assert_eq!(
                    policy.may_start(kind, &login, until - Duration::from_secs(1)),
                    Err(Denied::Until(until)),
                    "no request triggers one meanwhile"
                );
                assert_eq!(
                    policy.may_start(kind, &login, until),
                    Ok(()),
                    "failures do not count for the rates"
                );
            }
            assert_eq!(policy.next_start(&login, false, now), Some((Proactive, until)));
            now = until;
        }
        policy.on_answered(Proactive, now);
        let first = cooldown(&policy.on_failed(failure, now));
        policy.on_login(LoginIdentity::of(&self::login("b", 300)));
        assert_eq!(policy.cooldown(now), None);
        let again = cooldown(&policy.on_failed(failure, now));
        assert_eq!((first, again), (first, first), "both an answer and another login begin anew");
    }
}

#[test]
fn only_a_change_of_the_login_clears_what_came_of_a_failure() {
    let login = login("a", 300);
    let changes: [fn(&mut Login); 3] = [
        |login| login.access_token = Secret::new("b"),
        |login| login.refresh_token = Some(Secret::new("b")),
        |login| login.expires_at = Some(at(301)),
    ];
    for change in changes {
        let mut policy = policy_with(&login);
        policy.on_failed(RefreshFailure::Unusable, at(0));
        assert_eq!(policy.on_failed(RefreshFailure::RefusedForGood, at(0)), AfterFailure::LoginExpired);
        assert_eq!(policy.may_start(Forced, &login, at(99_999)), Err(Denied::RefusedForGood));
        assert_eq!(policy.next_start(&login, true, at(99_999)), None);
        let mut same = login.clone();
        same.plan.tier = Some("other".into());
        same.scopes.push("other".into());
        policy.on_login(LoginIdentity::of(&same));
        assert_eq!(policy.may_start(Forced, &login, at(99_999)), Err(Denied::RefusedForGood));
        let mut other = login.clone();
        change(&mut other);
        policy.on_login(LoginIdentity::of(&other));
        assert_eq!(policy.may_start(Forced, &other, at(1)), Ok(()));
    }
}

#[test]
fn without_locks_or_a_place_for_the_answer_nothing_is_sent_and_it_is_tried_again() {
    let login = login("a", 300);
    let mut policy = policy_with(&login);
    assert_eq!(cooldown(&policy.on_locked_out(at(0))), at(10));
    assert_eq!(policy.may_start(Proactive, &login, at(10)), Ok(()));
    let after = policy.on_cannot_keep("the disk is full", at(10));
    assert_eq!(after, AfterFailure::CannotKeep { why: "the disk is full".into(), until: at(70) });
    assert_eq!(policy.may_start(Proactive, &login, at(69)), Err(Denied::Until(at(70))));
    assert_eq!(policy.may_start(Proactive, &login, at(70)), Ok(()));
}

#[test]
fn a_clock_that_was_set_back_does_not_forbid_refreshes() {
    let login = login("a", 300);
    let mut policy = policy_with(&login);
    policy.on_failed(RefreshFailure::TooManyRequests(Some(Duration::from_secs(86_400))), at(1_000_000));
    policy.on_answered(Forced, at(1_000_000));
    assert_eq!(policy.may_start(Forced, &login, at(5_000)), Ok(()));
}

#[test]
fn what_the_file_holds_when_it_is_read_again() {
    let (sent, same_fresh) = (login("a", 300), login("a", 9_000));
    let (other_fresh, other_due) = (login("b", 9_000), login("b", 300));
    let now = at(100);
    for (read, proactive, forced, after_proactive, after_forced) in [
        (&sent, false, false, false, false),
        (&same_fresh, true, false, true, false),
        (&other_fresh, true, true, true, true),
        (&other_due, false, true, true, true),
    ] {
        assert_eq!(settled_by(read, Proactive, &sent, now), proactive);
        assert_eq!(settled_by(read, Forced, &sent, now), forced, "only another token counts");
        assert_eq!(is_settled_after_failure(read, Proactive, &sent, now), after_proactive);
        assert_eq!(is_settled_after_failure(read, Forced, &sent, now), after_forced);
    }
}

#[test]
fn a_call_is_tried_thrice_unsent_and_once_more_unanswered() {
    let millis = |wait| NextTry::After(Duration::from_millis(wait));
    let mut call = TokenCall::new();
    assert_eq!(call.on_not_sent(), millis(200));
    assert_eq!(call.on_not_sent(), millis(400));
    assert_eq!(call.on_not_sent(), NextTry::GiveUp);

    let mut call = TokenCall::new();
    assert_eq!(call.on_not_sent(), millis(200));
    assert_eq!(call.on_no_answer(), millis(10_000));
    assert_eq!(call.on_not_sent(), millis(200), "the repetition has tries of its own");
    assert_eq!(call.on_not_sent(), millis(400));
    assert_eq!(call.on_no_answer(), NextTry::GiveUp);
    assert_eq!(CALL_LASTS, Duration::from_secs(60));
}

fn judged(format: &dyn LoginFormat, status: u16, retry_after: Option<&str>, body: &str) -> RefreshFailure {
    let answer = TokenAnswer { status, retry_after, body: body.as_bytes() };
    judge(format, &login("a", 300), &answer, at(0)).expect_err("a failure")
}

#[test]
fn every_row_of_the_table() {
    use RefreshFailure::{RefusedForGood, TooManyRequests, Unreachable, Unread, Unusable};
    let (claude, codex): (&dyn LoginFormat, &dyn LoginFormat) = (&Claude, &Codex);
    let date = httpdate::fmt_http_date(at(90));
    for format in [claude, codex] {
        let judge = |status, retry_after: Option<&str>, body: &str| judged(format, status, retry_after, body);
        assert_eq!(judge(429, Some("30"), ""), TooManyRequests(Some(Duration::from_secs(30))));
        assert_eq!(judge(429, Some(&date), ""), TooManyRequests(Some(Duration::from_secs(90))));
        assert_eq!(judge(429, Some("soon"), "{}"), TooManyRequests(None));
        assert_eq!(judge(429, None, r#"{"error":"invalid_grant"}"#), TooManyRequests(None));
        for status in [400, 401] {
            for code in [
                "invalid_grant",
                "refresh_token_expired",
                "refresh_token_reused",
                "refresh_token_invalidated",
            ] {
                for body in [
                    format!(r#"{{"error":"{code}"}}"#),
                    format!(r#"{{"error":{{"code":"{code}","type":"x"}}}}"#),
                    format!(r#"{{"error":{{"type":"{code}"}}}}"#),
                    format!(r#"{{"code":"{code}","error":{{"code":"x"}}}}"#),
                ] {
                    assert_eq!(judge(status, None, &body), RefusedForGood, "{status} {body}");
                }
                assert_eq!(judge(403, None, &format!(r#"{{"error":"{code}"}}"#)), Unusable);
            }
        }
        for (status, body) in [
            (400, r#"{"error":"invalid_client"}"#),
            (400, ""),
            (403, "<html>blocked</html>"),
            (404, "{}"),
            (302, ""),
            (200, ""),
            (200, "[]"),
            (200, "{}"),
            (200, r#"{"access_token":""}"#),
            (200, r#"{"access_token":7}"#),
            (200, r#"{"access_token":"a\nb"}"#),
        ] {
            let expected = match (status, body) {
                (200, "" | "[]") => Unread(super::Unread::NotAnObject),
                (200, _) => Unread(super::Unread::NoToken),
                _ => Unusable,
            };
            assert_eq!(judge(status, None, body), expected, "{status} {body}");
        }
        for status in [500, 502, 503, 529, 599] {
            assert_eq!(judge(status, Some("30"), r#"{"error":"invalid_grant"}"#), Unreachable);
        }
    }
    assert_eq!(judged(claude, 401, None, "{}"), Unusable);
    assert_eq!(judged(codex, 401, None, "{}"), RefusedForGood, "any 401 of Codex");
    let unread = Unread(super::Unread::Cut);
    let all = [TooManyRequests(None), RefusedForGood, Unusable, unread, Unreachable];
    assert_eq!(
        all.map(RefreshFailure::label),
        ["too_many_requests", "refused", "unusable", "unread", "unreachable"]
    );
}

proptest! {
    /// However refreshes end, the policy never denies one for longer than its longest ceiling, but for what needs an event.
    #[test]
    fn it_is_never_denied_for_longer_than_the_ceilings(ends in prop::collection::vec((0..8_u8, 0..8_000_u64), 0..60)) {
        let login = login("a", 300);
        let mut policy = policy_with(&login);
        let mut now = at(1_000);
        for (end, wait) in ends {
            match end {
                0 => { policy.on_failed(RefreshFailure::TooManyRequests(None), now); }
                1 => { policy.on_failed(RefreshFailure::Unusable, now); }
                2 => { policy.on_failed(RefreshFailure::Unreachable, now); }
                3 => policy.on_answered(Proactive, now),
                4 => policy.on_answered(Forced, now),
                5 => { policy.on_locked_out(now); }
                6 => { policy.on_cannot_keep("full", now); }
                _ => policy.on_started(now),
            }
            for (kind, is_refused) in [(Proactive, false), (Forced, true)] {
                let later = now + Duration::from_secs(3_600);
                prop_assert_eq!(policy.may_start(kind, &login, later), Ok(()));
                match (policy.may_start(kind, &login, now), policy.next_start(&login, is_refused, now)) {
                    (Ok(()), next) => prop_assert_eq!(next, Some((kind, now))),
                    (Err(Denied::Until(until)), next) => {
                        prop_assert_eq!(next, Some((kind, until)));
                        prop_assert_eq!(policy.may_start(kind, &login, until), Ok(()));
                    }
                    (Err(Denied::UnderWay), next) => prop_assert_eq!(next, None),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            now += Duration::from_secs(wait);
        }
    }
}
