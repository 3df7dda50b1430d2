//! The log line of a change.

use super::*;

/// 13:48 UTC.
const NOW: u64 = 1_795_528_080;

fn line(to: Availability) -> String {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    Change { from: Availability::Usable, to, at: now }.line("a")
}

fn limited(seconds: u64, scope: Scope) -> Availability {
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + seconds);
    Availability::RateLimited { until, window: "5h".into(), scope }
}

#[test]
fn every_state_has_its_line() {
    assert_eq!(
        line(limited(4_320, Scope::All)),
        "credential a: usable → rate_limited (5h), until 15:00, in 1h 12m"
    );
    for (seconds, end) in [
        (0, "until 13:48:00, in 0s"),
        (10, "until 13:48:10, in 10s"),
        (59, "until 13:48:59, in 59s"),
        (60, "until 13:49, in 1m"),
        (3_599, "until 14:47, in 59m"),
        (3_600, "until 14:48, in 1h"),
        (86_400, "until 13:48, in 1d"),
        (86_460, "until 2026-11-25 13:49, in 1d"),
        (183_600, "until 2026-11-26 16:48, in 2d 3h"),
    ] {
        assert_eq!(
            line(limited(seconds, Scope::All)),
            format!("credential a: usable → rate_limited (5h), {end}")
        );
    }
    assert_eq!(
        line(limited(60, family("opus"))),
        "credential a: usable → rate_limited (5h, opus models), until 13:49, in 1m"
    );
    let blocked = |reason: BlockReason, until| Availability::Blocked { reason, scope: reason.scope(), until };
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 10);
    assert_eq!(
        line(blocked(BlockReason::Overloaded, Some(until))),
        "credential a: usable → blocked (overloaded, new sessions), until 13:48:10, in 10s"
    );
    assert_eq!(line(blocked(BlockReason::PollFailed, None)), "credential a: usable → blocked (poll_failed)");
    assert_eq!(line(Availability::Refreshing { since: until }), "credential a: usable → refreshing");
    assert_eq!(
        line(Availability::Capped { window: "weekly".into(), scope: Scope::All }),
        "credential a: usable → capped (weekly)"
    );
    assert_eq!(
        line(Availability::Unavailable { why: Unavailable::LoginExpired("run \"claude /login\"") }),
        "credential a: usable → unavailable: login expired, run \"claude /login\""
    );
    assert_eq!(line(Availability::Usable), "credential a: usable → usable");
}

#[test]
fn a_change_is_told_once() {
    let mut log = StateLog::new(Availability::Usable);
    let now = at(0);
    assert_eq!(log.observe(Availability::Usable, now), None);
    let change = log.observe(limited(60, Scope::All), now).unwrap();
    assert_eq!((change.from, change.at), (Availability::Usable, now));
    assert_eq!(log.observe(limited(90, Scope::All), now), None, "its end moved");
    assert!(log.observe(limited(90, family("opus")), now).is_some());
    assert!(log.observe(Availability::Capped { window: "5h".into(), scope: family("opus") }, now).is_some());
    assert!(
        log.observe(Availability::Capped { window: "weekly".into(), scope: family("opus") }, now).is_some()
    );
    assert!(log.observe(Availability::Usable, now).is_some());
}
