use std::time::{Duration, SystemTime};

use super::facts::MAX_BURSTS;
use super::*;
use crate::login::{Login, LoginIdentity};
use crate::refresh::AfterFailure;
use crate::secret::Secret;

mod properties;
mod words;

const HINT: &str = "run \"claude /login\"";

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000 + seconds)
}

/// A login whose access token ends at a moment, and is refreshed ahead.
fn login(name: &str, expires_at: Option<SystemTime>) -> LoginFacts {
    let mut login = Login::of_token(Secret::new(name));
    login.refresh_token = Some(Secret::new(format!("refresh-{name}")));
    login.expires_at = expires_at;
    login.refresh_due = expires_at.map(|end| end - Duration::from_secs(300));
    LoginFacts::of(&login)
}

fn usable() -> Facts {
    let mut facts = Facts::new(Source::LoginFile, HINT);
    facts.on_login_read(login("a", Some(at(1_000))));
    facts
}

fn capped(window: &str, scope: Scope, until: Option<SystemTime>) -> CappedWindow {
    CappedWindow { window: window.into(), scope, until }
}

fn family(name: &str) -> Scope {
    Scope::ModelFamily(name.into())
}

fn label(facts: &Facts, now: SystemTime) -> String {
    match facts.state(now, &[]) {
        Availability::Blocked { reason, .. } => reason.label().to_owned(),
        state => state.label().to_owned(),
    }
}

#[test]
fn the_order_of_the_table_is_kept() {
    // Everything at once; then the causes are taken away from the top.
    let now = at(2_000);
    let mut facts = Facts::new(Source::Reverse, HINT);
    facts.source = Source::LoginFile;
    facts.on_login_gone("the login file is gone");
    facts.on_refused("revoked", now);
    facts.refresh_refused = true;
    facts.cannot_keep = Some("the disk is full".into());
    facts.on_refresh_started(now);
    facts.on_upstream_rejected(now);
    facts.refresh_cooldown = Some(crate::span::Span::lasting(now, Duration::from_secs(60)));
    for _ in 0..3 {
        facts.on_request_ended(&RequestEnd::NotConnected, now);
        facts.on_poll_failed();
    }
    for _ in 0..3 {
        facts.on_request_ended(&RequestEnd::ServerError, now);
    }
    facts.on_request_ended(&RequestEnd::Burst(None), now);
    facts.on_rate_limited("7d_opus", family("opus"), now + Duration::from_secs(90), now);
    facts.on_rate_limited("5h", Scope::All, now + Duration::from_secs(50), now);
    facts.on_rate_limited("weekly", Scope::All, now + Duration::from_secs(70), now);
    let capped = [capped("7d_opus", family("opus"), None), capped("weekly", Scope::All, None)];

    let why = |facts: &Facts| match facts.state(now, &capped) {
        Availability::Unavailable { why } => why.to_string(),
        state => panic!("{state:?}"),
    };
    assert_eq!(why(&facts), "reverse connection not established");
    facts.is_connected = true;
    assert_eq!(why(&facts), "the login file is gone");
    facts.login = Ok(login("a", Some(at(1_000))));
    assert_eq!(why(&facts), "revoked");
    facts.refused = None;
    assert_eq!(why(&facts), "login expired, run \"claude /login\"");
    facts.refresh_refused = false;
    assert_eq!(why(&facts), "login expired, and a new one could not be kept: the disk is full");
    facts.cannot_keep = None;
    assert_eq!(facts.state(now, &capped), Availability::Refreshing { since: now });
    facts.refreshing_since = None;
    let next = |facts: &Facts| facts.state(now, &capped);
    let blocked = |reason: BlockReason, seconds: Option<u64>| Availability::Blocked {
        reason,
        scope: reason.scope(),
        until: seconds.map(|seconds| now + Duration::from_secs(seconds)),
    };
    assert_eq!(next(&facts), blocked(BlockReason::UpstreamRejected, Some(3_600)));
    facts.upstream_rejected = None;
    assert_eq!(next(&facts), blocked(BlockReason::RefreshCooldown, Some(60)));
    facts.login = Ok(login("a", Some(at(9_000))));
    assert_eq!(
        next(&facts),
        blocked(BlockReason::Connection, Some(10)),
        "the cooldown counts only once expired"
    );
    facts.connection = None;
    assert_eq!(next(&facts), blocked(BlockReason::PollFailed, None));
    facts.poll_failures = 0;
    assert_eq!(next(&facts), blocked(BlockReason::Overloaded, Some(10)));
    facts.overloaded = None;
    assert_eq!(next(&facts), blocked(BlockReason::Burst, Some(10)));
    facts.bursts.clear();
    let limited = |seconds, window: &str, scope| Availability::RateLimited {
        until: now + Duration::from_secs(seconds),
        window: window.into(),
        scope,
    };
    assert_eq!(next(&facts), limited(70, "weekly", Scope::All), "of those for all, the one that ends last");
    facts.rate_limited.retain(|limited| limited.scope != Scope::All);
    assert_eq!(next(&facts), limited(90, "7d_opus", family("opus")));
    facts.rate_limited.clear();
    assert_eq!(next(&facts), Availability::Capped { window: "weekly".into(), scope: Scope::All });
    assert_eq!(
        facts.state(now, &capped[..1]),
        Availability::Capped { window: "7d_opus".into(), scope: family("opus") }
    );
    assert_eq!(facts.state(now, &[]), Availability::Usable);
}

#[test]
fn a_login_file_that_was_not_read_and_one_that_ends() {
    let mut facts = Facts::new(Source::LoginFile, HINT);
    assert_eq!(label(&facts, at(0)), "unavailable");
    facts.on_login_read(login("a", Some(at(100))));
    assert_eq!(label(&facts, at(99)), "usable");
    assert_eq!(facts.next_change(at(99), &[]), Some(at(100)));
    assert_eq!(facts.state(at(101), &[]), Availability::Refreshing { since: at(100) }, "due, not yet begun");
    facts.on_refresh_started(at(102));
    assert_eq!(facts.state(at(103), &[]), Availability::Refreshing { since: at(102) });
    assert_eq!(facts.on_refresh_answered(login("b", Some(at(9_000)))), LoginChange::Changed);
    assert_eq!(label(&facts, at(104)), "usable");
}

#[test]
fn a_background_refresh_takes_nothing_away_while_the_token_lasts() {
    let mut facts = usable();
    facts.on_refresh_started(at(701));
    assert_eq!(label(&facts, at(800)), "usable");
    facts.on_refresh_failed(&AfterFailure::Cooldown { until: at(1_100) }, at(801));
    assert_eq!(label(&facts, at(999)), "usable", "the old token is used while it lasts");
    assert_eq!(label(&facts, at(1_000)), "refresh_cooldown");
    assert_eq!(label(&facts, at(1_100)), "refreshing", "the next try is due");
}

#[test]
fn a_refresh_refused_for_good_counts_once_the_token_is_used_up() {
    let mut facts = usable();
    facts.on_refresh_failed(&AfterFailure::LoginExpired, at(701));
    assert_eq!(label(&facts, at(999)), "usable");
    assert_eq!(
        facts.state(at(1_000), &[]),
        Availability::Unavailable { why: Unavailable::LoginExpired(HINT) }
    );
    assert_eq!(facts.way_out(at(1_000), &[]), Some(WayOut::LoginChange));
    // Or refused.
    let mut refused = usable();
    refused.on_refresh_failed(&AfterFailure::LoginExpired, at(701));
    refused.on_token_refused(&login("a", None).identity, at(702));
    assert_eq!(label(&refused, at(702)), "unavailable");
    // The same login read again changes nothing, also after it was gone for a while.
    facts.on_login_gone("gone");
    assert_eq!(facts.on_login_read(login("a", Some(at(1_000)))), LoginChange::Same);
    assert_eq!(label(&facts, at(1_001)), "unavailable");
    assert_eq!(facts.on_login_read(login("a", Some(at(1_500)))), LoginChange::Changed, "another end");
    assert_eq!(label(&facts, at(1_001)), "usable");
    assert_eq!(label(&facts, at(1_500)), "refreshing", "it may be refreshed in its turn");
}

#[test]
fn an_answer_that_cannot_be_kept_counts_once_the_token_is_used_up() {
    let mut facts = usable();
    let after = AfterFailure::CannotKeep { why: "the directory is read-only".into(), until: at(761) };
    facts.on_refresh_failed(&after, at(701));
    assert_eq!(label(&facts, at(900)), "usable");
    assert_eq!(label(&facts, at(1_000)), "unavailable");
    assert_eq!(facts.way_out(at(1_000), &[]), Some(WayOut::Refresh));
    facts.on_refresh_answered(login("b", Some(at(9_000))));
    assert_eq!(label(&facts, at(1_001)), "usable");
}

#[test]
fn a_refused_token_counts_as_expired_while_it_is_the_one_in_use() {
    let mut facts = usable();
    facts.on_token_refused(&login("old", None).identity, at(1));
    assert_eq!(label(&facts, at(1)), "usable");
    facts.on_token_refused(&LoginIdentity::NONE, at(1));
    assert_eq!(label(&facts, at(1)), "usable");
    facts.on_token_refused(&login("a", None).identity, at(2));
    assert!(facts.is_token_refused());
    assert_eq!(facts.state(at(3), &[]), Availability::Refreshing { since: at(2) });
    facts.on_refresh_deferred(at(200), at(3));
    assert_eq!(label(&facts, at(4)), "refresh_cooldown");
    facts.on_refresh_deferred(at(100), at(5));
    assert_eq!(label(&facts, at(150)), "refresh_cooldown", "the later end stays");
    facts.on_login_read(login("b", Some(at(1_000))));
    assert_eq!(label(&facts, at(6)), "usable");
}

#[test]
fn a_login_that_nothing_renews_is_unavailable_when_it_ends() {
    let mut scopeless = Login::of_token(Secret::new("a"));
    scopeless.refresh_token = Some(Secret::new("r"));
    scopeless.expires_at = Some(at(10));
    let mut facts = Facts::new(Source::LoginFile, HINT);
    facts.on_login_read(LoginFacts::of(&scopeless));
    assert_eq!(label(&facts, at(10)), "unavailable");
    facts.on_token_refused(&LoginIdentity::of(&scopeless), at(11));
    assert_eq!(label(&facts, at(11)), "refreshing", "a forced refresh is possible");
    scopeless.refresh_token = None;
    facts.on_login_read(LoginFacts::of(&scopeless));
    assert_eq!(label(&facts, at(9)), "usable");
    assert_eq!(label(&facts, at(10)), "unavailable");
    // An API key in a login file: refused, it is tried again every five minutes like one of the configuration.
    let key = Login::of_token(Secret::new("key"));
    facts.on_login_read(LoginFacts::of(&key));
    facts.on_token_refused(&LoginIdentity::of(&key), at(20));
    let why = Unavailable::Refused("refused by the provider, run \"claude /login\"".into());
    assert_eq!(facts.state(at(20), &[]), Availability::Unavailable { why });
    assert_eq!(facts.way_out(at(20), &[]), Some(WayOut::Recheck(at(320))));
}

#[test]
fn failures_in_a_row_block_and_anything_else_ends_the_row() {
    let mut facts = usable();
    let end = |facts: &mut Facts, end, seconds| facts.on_request_ended(&end, at(seconds));
    end(&mut facts, RequestEnd::ServerError, 0);
    end(&mut facts, RequestEnd::ServerError, 1);
    end(&mut facts, RequestEnd::Answered, 2);
    end(&mut facts, RequestEnd::ServerError, 3);
    end(&mut facts, RequestEnd::ServerError, 4);
    assert_eq!(label(&facts, at(4)), "usable");
    end(&mut facts, RequestEnd::ServerError, 5);
    assert_eq!(label(&facts, at(14)), "overloaded");
    assert_eq!(label(&facts, at(15)), "usable");
    assert_eq!(facts.next_change(at(5), &[]), Some(at(15)));

    let mut facts = usable();
    end(&mut facts, RequestEnd::NotConnected, 0);
    end(&mut facts, RequestEnd::NotConnected, 300);
    assert_eq!(label(&facts, at(300)), "usable");
    end(&mut facts, RequestEnd::NotConnected, 600);
    assert_eq!(label(&facts, at(609)), "connection");
    assert_eq!(label(&facts, at(610)), "usable");
    end(&mut facts, RequestEnd::NotConnected, 611);
    assert_eq!(label(&facts, at(611)), "connection", "one more is enough while nothing has come through");
    end(&mut facts, RequestEnd::Good, 612);
    end(&mut facts, RequestEnd::NotConnected, 630);
    assert_eq!(label(&facts, at(630)), "usable");
}

#[test]
fn overload_and_lost_connections_are_only_counted() {
    let mut facts = usable();
    for _ in 0..5 {
        for end in [RequestEnd::Overloaded, RequestEnd::Lost, RequestEnd::NoHead, RequestEnd::Cut] {
            facts.on_request_ended(&end, at(0));
        }
    }
    assert_eq!(label(&facts, at(0)), "usable");
    assert_eq!(facts.failure_counts(), FailureCounts { overloaded: 5, lost: 5, no_head: 5, cut: 5 });
}

#[test]
fn a_burst_blocks_as_long_as_it_says_and_at_most_a_minute() {
    for (retry_after, seconds) in [(None, 10), (Some(3), 3), (Some(0), 0), (Some(3_000), 60)] {
        let mut facts = usable();
        facts.on_request_ended(&RequestEnd::Burst(retry_after.map(Duration::from_secs)), at(0));
        let until = (seconds > 0).then(|| at(seconds));
        assert_eq!(facts.next_change(at(0), &[]).filter(|at_| *at_ < at(500)), until, "{retry_after:?}");
    }
    let mut facts = usable();
    facts.on_request_ended(&RequestEnd::Burst(Some(Duration::from_secs(60))), at(0));
    facts.on_request_ended(&RequestEnd::Burst(None), at(1));
    assert_eq!(label(&facts, at(59)), "burst", "a shorter one does not shorten it");
}

#[test]
fn what_the_provider_says_of_a_burst_counts_apart_from_a_guess_and_by_family() {
    let mut facts = usable();
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    facts.on_burst(None, None, at(0));
    facts.on_burst(Some("7d_opus"), seconds(3), at(0));
    facts.on_burst(Some("7d_opus"), seconds(2), at(0));
    facts.on_burst(None, seconds(5), at(0));
    let at_ = |second| {
        let bursts = facts.bursts(at(second));
        bursts.map(|burst| (burst.family.as_deref(), burst.is_stated)).collect::<Vec<_>>()
    };
    assert_eq!(at_(2), [(None, false), (Some("7d_opus"), true), (None, true)]);
    assert_eq!(at_(3), [(None, false), (None, true)]);
    assert_eq!(at_(5), [(None, false)]);
    assert_eq!(at_(10), []);
    assert_eq!((label(&facts, at(9)), label(&facts, at(10))), ("burst".to_owned(), "usable".to_owned()));
    for n in 0..200 {
        facts.on_burst(Some(&format!("model m{n}")), seconds(60), at(20));
    }
    assert_eq!(facts.bursts(at(21)).count(), MAX_BURSTS);
}

#[test]
fn failed_polls_block_from_the_first_and_a_good_answer_clears_them() {
    let new = Asking { is_bound: false, in_family: &|_| false };
    let mut facts = usable();
    facts.on_poll_failed();
    assert_eq!(facts.consecutive_poll_failures(), 1);
    assert_eq!(label(&facts, at(0)), "poll_failed");
    assert_eq!(facts.pickable(at(0), &[], &new), Pickable::IfNothingElse);
    assert!(facts.keeps_bindings(at(0), &[]));
    facts.on_rate_limited("5h", Scope::All, at(50), at(0));
    assert!(matches!(facts.pickable(at(0), &[], &new), Pickable::No(Availability::RateLimited { .. })));
    assert_eq!(facts.free_at(at(0), &[], &new), Some(at(50)));
    facts.on_request_ended(&RequestEnd::Good, at(60));
    assert_eq!(facts.pickable(at(60), &[], &new), Pickable::Yes);
    facts.on_poll_failed();
    facts.on_poll_answered(at(61), &|_| true);
    assert_eq!(label(&facts, at(61)), "usable");
}

#[test]
fn scopes_keep_away_only_what_they_are_about() {
    let opus = |name: &str| name == "opus";
    let none = |_: &str| false;
    let new = Asking { is_bound: false, in_family: &none };
    let bound = Asking { is_bound: true, in_family: &none };
    let bound_opus = Asking { is_bound: true, in_family: &opus };
    let is_no = |facts: &Facts, capped: &[CappedWindow], asking| {
        matches!(facts.pickable(at(0), capped, asking), Pickable::No(_))
    };
    let mut facts = usable();
    facts.on_request_ended(&RequestEnd::Burst(None), at(0));
    assert!(is_no(&facts, &[], &new) && !is_no(&facts, &[], &bound));
    assert!(facts.keeps_bindings(at(0), &[]));

    let mut facts = usable();
    facts.on_rate_limited("7d_opus", family("opus"), at(100), at(0));
    assert!(!is_no(&facts, &[], &new) && is_no(&facts, &[], &bound_opus));
    assert!(facts.keeps_bindings(at(0), &[]) && !facts.interrupts(at(0)));
    facts.on_request_ended(&RequestEnd::Burst(None), at(0));
    facts.on_rate_limited("5h", Scope::All, at(100), at(0));
    assert_eq!(label(&facts, at(0)), "burst", "the first row that holds for anybody");
    assert!(is_no(&facts, &[], &bound), "what a request meets is what is about it");
    assert!(facts.interrupts(at(0)) && !facts.keeps_bindings(at(0), &[]));

    let facts = usable();
    let window = [capped("7d_opus", family("opus"), Some(at(70)))];
    assert!(is_no(&facts, &window, &bound_opus) && !is_no(&facts, &window, &new));
    assert_eq!(facts.free_at(at(0), &window, &bound_opus), Some(at(70)));
    assert_eq!(facts.free_at(at(0), &[capped("weekly", Scope::All, None)], &new), None);
    assert!(!facts.interrupts(at(0)));
}

#[test]
fn refusals_with_a_reset() {
    let mut facts = usable();
    facts.on_rate_limited("5h", Scope::All, at(500), at(0));
    facts.on_rate_limited("5h", Scope::All, at(300), at(1));
    assert_eq!(facts.state(at(2), &[]).until(), Some(at(300)), "the latest word of the provider counts");
    facts.on_rate_limited("weekly", Scope::All, at(0) + Duration::from_secs(41 * 86_400), at(2));
    assert_eq!(facts.rate_limits(at(2)).count(), 1, "too far away to be true");
    for n in 0..200 {
        facts.on_rate_limited(&format!("w{n}"), Scope::All, at(1_000 + n), at(3));
    }
    assert_eq!(facts.rate_limits(at(3)).count(), MAX_RATE_LIMITED);
    assert_eq!(facts.state(at(3), &[]).until(), Some(at(1_199)));
    // Whatever models clients make up, what is known of the account stays.
    for n in 0..200 {
        let model: std::sync::Arc<str> = format!("model m{n}").into();
        facts.on_rate_limited(&model, Scope::ModelFamily(model.clone()), at(9_000 + n), at(3));
    }
    let of_all = facts.rate_limits(at(3)).filter(|limited| limited.scope == Scope::All).count();
    assert_eq!((of_all, facts.rate_limits(at(3)).count()), (MAX_RATE_LIMITED - 1, MAX_RATE_LIMITED));
}

#[test]
fn a_poll_clears_refusals_it_began_a_minute_after() {
    let mut facts = usable();
    facts.on_rate_limited("5h", Scope::All, at(900), at(0));
    facts.on_rate_limited("weekly", Scope::All, at(950), at(0));
    facts.on_poll_answered(at(59), &|_| true);
    assert_eq!(facts.rate_limits(at(60)).count(), 2);
    facts.on_poll_answered(at(60), &|limited| &*limited.window == "weekly");
    assert_eq!(facts.state(at(60), &[]).until(), Some(at(900)), "only those that it shows below the cap");
    facts.on_poll_answered(at(61), &|_| true);
    assert_eq!(label(&facts, at(61)), "usable");
}

#[test]
fn another_account_has_limits_of_its_own() {
    let of = |account: &str, token: &str| {
        let mut facts = login(token, None);
        facts.account = Some(account.into());
        facts
    };
    let mut facts = Facts::new(Source::LoginFile, HINT);
    facts.on_login_read(of("one", "a"));
    facts.on_rate_limited("5h", Scope::All, at(900), at(0));
    facts.on_login_read(of("one", "b"));
    assert_eq!(label(&facts, at(1)), "rate_limited");
    facts.on_login_read(of("two", "c"));
    assert_eq!(label(&facts, at(1)), "usable");
}

#[test]
fn a_credential_without_a_file_is_tried_again_every_five_minutes() {
    let mut facts = Facts::new(Source::Fixed, HINT);
    assert_eq!(label(&facts, at(0)), "usable");
    facts.on_token_refused(&LoginIdentity::NONE, at(0));
    assert_eq!(label(&facts, at(0)), "unavailable");
    assert_eq!(facts.next_recheck(at(1)), Some(at(300)));
    assert_eq!(facts.way_out(at(1), &[]), Some(WayOut::Recheck(at(300))));
    assert_eq!(facts.next_recheck(at(0) - Duration::from_secs(90_000)).map(|due| due < at(0)), Some(true));
    facts.on_rechecked(Some(false), at(300));
    facts.on_rechecked(None, at(600));
    assert_eq!(facts.next_recheck(at(601)), Some(at(900)));
    facts.on_rechecked(Some(true), at(900));
    assert_eq!(label(&facts, at(901)), "usable");
    assert_eq!(facts.next_recheck(at(901)), None);
    // A poll is a retry as well, once it is late enough to be one.
    facts.on_refused("disabled", at(1_000));
    facts.on_poll_answered(at(1_001), &|_| true);
    assert_eq!(label(&facts, at(1_002)), "unavailable");
    facts.on_poll_answered(at(1_300), &|_| true);
    assert_eq!(label(&facts, at(1_301)), "usable");
}

#[test]
fn tunnels_and_refusals_of_the_other_side() {
    let mut facts = Facts::new(Source::Reverse, HINT);
    assert_eq!(facts.way_out(at(0), &[]), Some(WayOut::Tunnel));
    facts.on_tunnel(true);
    assert_eq!(label(&facts, at(0)), "usable");
    facts.on_upstream_rejected(at(0));
    assert_eq!(label(&facts, at(3_599)), "upstream_rejected");
    assert_eq!(label(&facts, at(3_600)), "usable", "at most an hour");
    facts.on_upstream_rejected(at(3_601));
    facts.on_poll_answered(at(3_602), &|_| true);
    assert_eq!(label(&facts, at(3_603)), "usable", "until the next good status");
    facts.on_tunnel(false);
    assert!(facts.interrupts(at(3_604)));
    let mut file = usable();
    file.on_tunnel(false);
    assert_eq!(label(&file, at(0)), "usable");
}

#[test]
fn a_clock_that_is_set_back_frees_what_it_would_keep_for_years() {
    let mut facts = usable();
    facts.on_rate_limited("5h", Scope::All, at(900), at(0));
    let years_ago = at(0) - Duration::from_secs(3 * 365 * 86_400);
    assert_eq!(label(&facts, years_ago), "usable");
    assert_eq!(label(&facts, at(0) - Duration::from_secs(2)), "rate_limited", "a small step changes nothing");
    assert_eq!(facts.next_change(years_ago, &[]), Some(at(0) - crate::span::CLOCK_SLACK));
    // Another fact lasts until the refusal counts again; what is free then is asked of its end as well.
    let new = Asking { is_bound: false, in_family: &|_| false };
    let window = [capped("weekly", Scope::All, Some(at(10)))];
    assert_eq!(facts.free_at(years_ago, &window, &new), Some(at(900)));
}
