use super::*;
use crate::availability::BlockReason;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn after(seconds: u64) -> SystemTime {
    now() + Duration::from_secs(seconds)
}

/// A first try of a new session, with all that a retry needs.
const FREE: Situation = Situation {
    attempts: Attempts { failed: 0, has_hopped: false, has_reconnected: false, has_new_token: false },
    was_bound: false,
    is_replayable: true,
    has_others: true,
    is_api_key: false,
    is_free: false,
    now: SystemTime::UNIX_EPOCH,
};

fn free() -> Situation {
    Situation { now: now(), ..FREE }
}

fn hopped() -> Situation {
    Situation { attempts: Attempts { has_hopped: true, failed: 1, ..Attempts::default() }, ..free() }
}

fn says(kind: &str, message: &str) -> ErrorFields {
    ErrorFields {
        kind: (!kind.is_empty()).then(|| kind.to_owned()),
        message: (!message.is_empty()).then(|| message.to_owned()),
        ..ErrorFields::default()
    }
}

fn answer(status: u16, error: &ErrorFields, refusal: Option<RefusalKind>) -> Failure<'_> {
    Failure::Answer(Answer { status, error, is_first_event: false, refusal })
}

fn of(texts: &Texts, failure: &Failure<'_>, situation: &Situation) -> (&'static str, Effect, Action) {
    let verdict = judge(texts, failure, situation);
    (verdict.reason, verdict.effect, verdict.action)
}

fn claude(status: u16, kind: &str, message: &str, situation: &Situation) -> (&'static str, Effect, Action) {
    of(&CLAUDE, &answer(status, &says(kind, message), None), situation)
}

fn codex(status: u16, name: &str, situation: &Situation) -> (&'static str, Effect, Action) {
    of(&CODEX, &answer(status, &says(name, "any words"), None), situation)
}

fn refused(kind: RefusalKind, situation: &Situation) -> (&'static str, Effect, Action) {
    of(&CLAUDE, &answer(429, &says("rate_limit_error", "This request would exceed"), Some(kind)), situation)
}

const fn limited(scope: LimitScope, until: SystemTime, needs_poll: bool) -> Effect {
    Effect::RateLimited { scope, until, needs_poll }
}

use Action::{AuthRecovery, End, GatewayTimeout, Hop, Next, PassThrough};
use Effect::{AuthFailed, Counted, MaybeDisabled, Unchanged};

fn no_others() -> Situation {
    Situation { has_others: false, ..free() }
}

fn gone_body() -> Situation {
    Situation { is_replayable: false, ..free() }
}

#[test]
fn the_rows_are_those_of_the_table() {
    let names: Vec<&str> = ROWS.iter().map(|row| row.reason).collect();
    assert_eq!(
        names,
        [
            "disabled",
            "wrong_workspace",
            "model_not_served",
            "auth",
            "entitlement",
            "rate_limited",
            "scope_limited",
            "burst",
            "credit",
            "overloaded",
            "server_error",
            "connection",
            "lost",
            "no_head",
            "other",
            "first_event"
        ]
    );
}

#[test]
fn auth() {
    assert_eq!(claude(401, "authentication_error", "x", &free()), ("auth", AuthFailed, AuthRecovery));
    assert_eq!(claude(403, "permission_error", "OAuth token has been revoked.", &free()).0, "auth");
    assert_eq!(
        claude(403, "permission_error", "forbidden by policy", &free()),
        ("other", Unchanged, PassThrough)
    );
    // Only the start of the message counts, and with its type.
    assert_eq!(claude(403, "permission_error", "No: OAuth token has been revoked", &free()).0, "other");
    assert_eq!(claude(403, "x", "OAuth token has been revoked", &free()).0, "other");
    assert_eq!(codex(403, "mock_error", &free()), ("auth", AuthFailed, AuthRecovery));
    // The token is checked whatever can be retried; the request is not always.
    assert_eq!(claude(401, "", "", &no_others()), ("auth", AuthFailed, AuthRecovery));
    assert_eq!(claude(401, "", "", &gone_body()), ("auth", AuthFailed, PassThrough));
    let again =
        Situation { attempts: Attempts { has_new_token: true, failed: 1, ..Attempts::default() }, ..free() };
    assert_eq!(claude(401, "", "", &again), ("auth", Unchanged, PassThrough));
}

#[test]
fn after_a_recovery() {
    assert_eq!(after_recovery(Recovery::NewToken, &free()), Action::Repeat(Repeat::NewToken));
    assert_eq!(after_recovery(Recovery::NewToken, &gone_body()), PassThrough);
    assert_eq!(after_recovery(Recovery::RequestsOwn, &free()), PassThrough);
    assert_eq!(after_recovery(Recovery::NoToken, &free()), Next);
    assert_eq!(after_recovery(Recovery::NoToken, &no_others()), End);
    let often = Situation { attempts: Attempts { failed: MAX_TRIES, ..Attempts::default() }, ..free() };
    assert_eq!(after_recovery(Recovery::NoToken, &often), End);
}

#[test]
fn disabled() {
    for (status, kind, message) in [
        (400, "invalid_request_error", "This organization has been disabled."),
        (401, "authentication_error", "This organization has been disabled."),
        (403, "permission_error", "This organization has been disabled."),
        (400, "invalid_request_error", "Your account has been disabled"),
        (401, "authentication_error", "Your account has been disabled after a review"),
        (403, "permission_error", "Your account has been disabled after a review"),
        (402, "billing_error", "Your account has been disabled after a review"),
        (404, "not_found_error", "This organization has been disabled."),
        (403, "permission_error", "OAuth authentication is currently not allowed for this organization."),
    ] {
        assert_eq!(claude(status, kind, message, &free()), ("disabled", MaybeDisabled, Next), "{message}");
        assert_eq!(claude(status, kind, message, &no_others()).2, End);
        assert_eq!(claude(status, kind, message, &gone_body()).2, PassThrough);
    }
    for code in ["account_deactivated", "deactivated_workspace"] {
        let error = ErrorFields { code: Some(code.to_owned()), ..ErrorFields::default() };
        // No token is asked for anew, whatever the status.
        for status in [400, 401, 402, 403, 404] {
            assert_eq!(of(&CODEX, &answer(status, &error, None), &free()), ("disabled", MaybeDisabled, Next));
        }
        let event = Answer { status: 200, error: &error, is_first_event: true, refusal: None };
        assert_eq!(of(&CODEX, &Failure::Answer(event), &free()), ("disabled", MaybeDisabled, Next));
    }
    assert_eq!(
        claude(400, "invalid_request_error", "messages.0: This organization has been disabled", &free()).0,
        "other"
    );
}

/// What the backend says in `detail`.
fn detail(status: u16, detail: &str, situation: &Situation) -> (&'static str, Effect, Action) {
    let error = ErrorFields::from_body(format!("{{\"detail\":{detail}}}").as_bytes());
    of(&CODEX, &answer(status, &error, None), situation)
}

#[test]
fn accounts_that_do_not_serve_it() {
    assert_eq!(
        detail(402, r#"{"code":"deactivated_workspace"}"#, &free()),
        ("disabled", MaybeDisabled, Next)
    );
    assert_eq!(detail(401, r#"{"code":"account_deactivated"}"#, &free()).0, "disabled");
    let hour = |scope| limited(scope, after(3_600), false);
    assert_eq!(
        detail(403, r#"{"code":"invalid_workspace_selected"}"#, &free()),
        ("wrong_workspace", hour(LimitScope::Workspace), Next)
    );
    let text = "The 'gpt-6.2-sol' model is not supported when using Codex with a ChatGPT account.";
    let not_served = |text: &str| detail(400, &format!("{text:?}"), &free());
    assert_eq!(not_served(text), ("model_not_served", hour(LimitScope::Model), Next));
    let often = Situation { attempts: Attempts { failed: 3, ..Attempts::default() }, ..free() };
    assert_eq!(detail(400, &format!("{text:?}"), &often).2, End, "it counts as a failure");
    // The model is the client's own word, and says nothing by itself.
    for other in [
        "The 'x' model is not supported when using Codex with a ChatGPT account' model does not exist",
        "The model is not supported when using Codex with a ChatGPT account",
        "x The 'y' model is not supported when using Codex with a ChatGPT account.",
        "The 'x' model does not exist.",
    ] {
        assert_eq!(not_served(other), ("other", Unchanged, PassThrough), "{other}");
    }
}

#[test]
fn pages_of_a_firewall() {
    let page = |status| {
        let error = ErrorFields::from_body(b" \n<!DOCTYPE html><title>Just a moment...</title>");
        [&CLAUDE, &CODEX].map(|texts| of(texts, &answer(status, &error, None), &free()))
    };
    assert_eq!(page(403), [("server_error", Counted(Counter::ServerError), Hop); 2]);
    assert_eq!(page(404), [("other", Unchanged, PassThrough); 2]);
    assert_eq!(page(401), [("auth", AuthFailed, AuthRecovery); 2]);
    // What has no body, or could not be read, may well be the provider's.
    let empty = ErrorFields::from_body(b"");
    assert_eq!(of(&CODEX, &answer(403, &empty, None), &free()).0, "auth");
    assert_eq!(of(&CLAUDE, &answer(403, &empty, None), &free()).0, "other");
}

#[test]
fn entitlement() {
    let long = "Extra usage is required for long context requests.";
    assert_eq!(claude(429, "rate_limit_error", long, &free()), ("entitlement", Unchanged, PassThrough));
    assert_eq!(refused(RefusalKind::Entitlement, &free()), ("entitlement", Unchanged, PassThrough));
    assert_eq!(claude(400, "rate_limit_error", long, &free()).0, "other");
}

#[test]
fn rate_limited() {
    let until = after(7_200);
    let stated = limited(LimitScope::All, until, false);
    let base = RefusalKind::Base { until: Some(until) };
    assert_eq!(refused(base, &free()), ("rate_limited", stated, Next));
    assert_eq!(refused(base, &hopped()).2, Next);
    assert_eq!(refused(base, &no_others()), ("rate_limited", stated, End));
    assert_eq!(refused(base, &gone_body()), ("rate_limited", stated, PassThrough));
    // Nothing stated, a moment past, or one that is no reset.
    for until in [None, Some(now()), Some(after(41 * 86_400))] {
        let guessed = limited(LimitScope::All, after(300), true);
        assert_eq!(refused(RefusalKind::Base { until }, &free()), ("rate_limited", guessed, Next));
    }
    assert_eq!(
        codex(429, "usage_limit_reached", &free()),
        ("rate_limited", limited(LimitScope::All, after(300), true), Next)
    );
    let key = Situation { is_api_key: true, ..free() };
    assert_eq!(
        codex(429, "insufficient_quota", &key),
        ("rate_limited", limited(LimitScope::All, after(3_600), false), Next)
    );
    assert_eq!(codex(429, "insufficient_quota", &free()).0, "burst");
}

#[test]
fn scope_limited() {
    let scoped = RefusalKind::Scoped { until: Some(after(60)) };
    assert_eq!(
        refused(scoped, &free()),
        ("scope_limited", limited(LimitScope::Named, after(60), false), Next)
    );
    let unknown = limited(LimitScope::Named, after(300), true);
    assert_eq!(refused(RefusalKind::Scoped { until: None }, &free()), ("scope_limited", unknown, Next));
    let model = limited(LimitScope::Model, after(3_600), false);
    assert_eq!(codex(429, "usage_not_included", &free()), ("scope_limited", model, Next));
}

#[test]
fn burst() {
    let block = |seconds| Effect::Blocked { reason: BlockReason::Burst, until: after(seconds) };
    let burst = |seconds: Option<u64>| RefusalKind::Burst { retry_after: seconds.map(Duration::from_secs) };
    assert_eq!(refused(burst(None), &free()), ("burst", block(10), Hop));
    assert_eq!(refused(burst(Some(3)), &free()).1, block(3));
    assert_eq!(refused(burst(Some(7_200)), &free()).1, block(60));
    assert_eq!(claude(429, "rate_limit_error", "Error", &free()), ("burst", block(10), Hop));
    assert_eq!(codex(429, "rate_limit_exceeded", &free()), ("burst", block(10), Hop));
    // A bound session hops too; refused the same way again, the answer is passed through.
    assert_eq!(refused(burst(None), &Situation { was_bound: true, ..free() }).2, Hop);
    assert_eq!(refused(burst(None), &hopped()).2, PassThrough);
    assert_eq!(refused(burst(None), &no_others()).2, PassThrough);
    assert_eq!(refused(burst(None), &gone_body()).2, PassThrough);
}

#[test]
fn credit() {
    let key = Situation { is_api_key: true, ..free() };
    let message = "Your credit balance is too low to access the Anthropic API.";
    for status in [400, 402] {
        let out = limited(LimitScope::All, after(3_600), false);
        assert_eq!(claude(status, "invalid_request_error", message, &key), ("credit", out, Next));
    }
    assert_eq!(claude(402, "billing_error", "", &key).0, "credit");
    assert_eq!(claude(400, "invalid_request_error", message, &free()), ("other", Unchanged, PassThrough));
}

#[test]
fn overloaded() {
    let counted = Counted(Counter::Overloaded);
    assert_eq!(claude(529, "overloaded_error", "Overloaded", &free()), ("overloaded", counted, Hop));
    assert_eq!(claude(529, "", "", &free()).0, "overloaded");
    assert_eq!(claude(503, "overloaded_error", "", &free()).0, "overloaded");
    assert_eq!(codex(503, "server_is_overloaded", &free()), ("overloaded", counted, Hop));
    assert_eq!(codex(503, "slow_down", &free()).0, "overloaded");
    for stays in [Situation { was_bound: true, ..free() }, hopped(), no_others(), gone_body()] {
        assert_eq!(claude(529, "", "", &stays), ("overloaded", counted, PassThrough));
    }
    assert_eq!(Counter::Overloaded.blocks_after(), None);
}

#[test]
fn server_error() {
    let counted = Counted(Counter::ServerError);
    for status in [500, 502, 503, 504] {
        assert_eq!(claude(status, "api_error", "unavail", &free()), ("server_error", counted, Hop));
    }
    assert_eq!(claude(500, "", "", &Situation { was_bound: true, ..free() }).2, Hop);
    assert_eq!(claude(500, "", "", &hopped()).2, PassThrough);
    let streak = Counter::ServerError.blocks_after().unwrap();
    assert_eq!(
        (streak.failures, streak.within, streak.reason),
        (3, Some(Duration::from_secs(60)), BlockReason::Overloaded)
    );
}

#[test]
fn connection() {
    let counted = Counted(Counter::Connection);
    let not_sent = |situation: &Situation| of(&CLAUDE, &Failure::NotSent, situation);
    assert_eq!(not_sent(&free()), ("connection", counted, Action::Repeat(Repeat::NewConnection)));
    assert_eq!(not_sent(&no_others()).2, Action::Repeat(Repeat::NewConnection));
    let repeated = Attempts { has_reconnected: true, failed: 1, ..Attempts::default() };
    assert_eq!(not_sent(&Situation { attempts: repeated, ..free() }).2, Next);
    assert_eq!(not_sent(&Situation { attempts: repeated, ..no_others() }).2, End);
    assert_eq!(not_sent(&gone_body()).2, End);
    let streak = Counter::Connection.blocks_after().unwrap();
    assert_eq!((streak.failures, streak.within, streak.reason), (3, None, BlockReason::Connection));
    assert_eq!(streak.lasts, Duration::from_secs(10));
}

#[test]
fn lost_and_no_head() {
    let lost = |situation: &Situation| of(&CLAUDE, &Failure::Lost, situation);
    assert_eq!(lost(&free()), ("lost", Counted(Counter::Lost), Hop));
    for ends in [hopped(), no_others(), gone_body()] {
        assert_eq!(lost(&ends).2, End);
    }
    assert_eq!(of(&CLAUDE, &Failure::NoHead, &free()), ("no_head", Counted(Counter::NoHead), GatewayTimeout));
}

#[test]
fn other() {
    for status in [400, 402, 404, 408, 409, 413, 422, 302] {
        assert_eq!(
            claude(status, "invalid_request_error", "messages.0: bad", &free()),
            ("other", Unchanged, PassThrough)
        );
        assert_eq!(codex(status, "x", &free()), ("other", Unchanged, PassThrough));
    }
}

#[test]
fn first_events_are_judged_as_what_they_stand_for() {
    let first = |texts: &Texts, error: &ErrorFields, refusal| {
        of(texts, &Failure::Answer(Answer { status: 200, error, is_first_event: true, refusal }), &free())
    };
    for (kind, reason) in [
        ("rate_limit_error", "burst"),
        ("overloaded_error", "overloaded"),
        ("api_error", "server_error"),
        ("authentication_error", "auth"),
        ("invalid_request_error", "other"),
        ("never_heard_of", "other"),
    ] {
        assert_eq!(first(&CLAUDE, &says(kind, ""), None).0, reason, "{kind}");
    }
    let base = RefusalKind::Base { until: Some(after(9)) };
    assert_eq!(first(&CLAUDE, &says("rate_limit_error", ""), Some(base)).0, "rate_limited");
    for (code, reason) in [
        ("usage_limit_reached", "rate_limited"),
        ("usage_not_included", "scope_limited"),
        ("rate_limit_exceeded", "burst"),
        ("server_is_overloaded", "overloaded"),
        ("server_error", "server_error"),
        ("context_length_exceeded", "other"),
    ] {
        let error = ErrorFields { code: Some(code.to_owned()), ..ErrorFields::default() };
        assert_eq!(first(&CODEX, &error, None).0, reason, "{code}");
    }
    // A status that the event states itself.
    let stated = ErrorFields { status: Some(503), ..says("x", "") };
    assert_eq!(first(&CODEX, &stated, None).0, "server_error");
    assert_eq!(first(&CLAUDE, &ErrorFields::default(), None), ("other", Unchanged, PassThrough));
}

#[test]
fn what_takes_nothing_changes_nothing_and_hops_once() {
    let free_of = |situation: Situation| Situation { is_free: true, ..situation };
    let (first, second) = (free_of(free()), free_of(hopped()));
    let burst = RefusalKind::Burst { retry_after: Some(Duration::from_secs(3)) };
    for kind in
        [burst, RefusalKind::Base { until: Some(after(60)) }, RefusalKind::Scoped { until: Some(after(60)) }]
    {
        let (_, effect, action) = refused(kind, &first);
        assert_eq!((effect, action), (Unchanged, Hop), "{kind:?}");
        assert_eq!(refused(kind, &second).2, PassThrough, "{kind:?}");
    }
    for (status, kind) in [(500, "api_error"), (529, "overloaded_error"), (503, "overloaded_error")] {
        let bound = Situation { was_bound: true, ..first };
        for situation in [&first, &bound] {
            let (_, effect, action) = claude(status, kind, "x", situation);
            assert_eq!((effect, action), (Unchanged, Hop), "{status}");
        }
        assert_eq!(claude(status, kind, "x", &second).2, PassThrough, "{status}");
    }
    let not_sent = |situation: &Situation| of(&CLAUDE, &Failure::NotSent, situation);
    assert_eq!(not_sent(&first), ("connection", Unchanged, Action::Repeat(Repeat::NewConnection)));
    let again = Attempts { has_reconnected: true, failed: 1, ..Attempts::default() };
    assert_eq!(not_sent(&Situation { attempts: again, ..first }).2, Hop);
    assert_eq!(not_sent(&Situation { attempts: Attempts { has_hopped: true, ..again }, ..first }).2, End);
    let lost = of(&CLAUDE, &Failure::Lost, &first);
    assert_eq!((lost.1, lost.2), (Unchanged, Hop));
    // What is said of the credential counts whatever was asked for.
    assert_eq!(claude(401, "", "", &first), ("auth", AuthFailed, AuthRecovery));
    let disabled = "This organization has been disabled.";
    assert_eq!(claude(401, "", disabled, &second), ("disabled", MaybeDisabled, Next));
}

/// Everything that can be seen, more or less.
fn samples() -> Vec<(u16, ErrorFields, Option<RefusalKind>)> {
    let mut samples = Vec::new();
    let messages: Vec<String> = CLAUDE
        .list
        .iter()
        .chain(CODEX.list)
        .map(|text| example(text.message))
        .filter(|text| !text.is_empty())
        .chain(["x".to_owned()])
        .collect();
    let names: Vec<&str> = CLAUDE
        .list
        .iter()
        .chain(CODEX.list)
        .map(|text| text.name)
        .chain(["rate_limit_error", "api_error", "x"])
        .collect();
    for status in [200, 400, 401, 402, 403, 404, 429, 500, 503, 529] {
        for name in &names {
            for message in &messages {
                for refusal in [
                    None,
                    Some(RefusalKind::Base { until: None }),
                    Some(RefusalKind::Scoped { until: None }),
                    Some(RefusalKind::Burst { retry_after: None }),
                    Some(RefusalKind::Entitlement),
                ] {
                    samples.push((status, says(name, message), refusal));
                }
            }
        }
    }
    samples
}

/// A message that is like that.
fn example(words: Words) -> String {
    match words {
        Words::Any => String::new(),
        Words::Start(start) => format!("{start}."),
        Words::AroundModel { before, after } => format!("{before}'gpt'{after}."),
    }
}

#[test]
fn the_rows_are_tried_from_the_top() {
    let mut overlaps = std::collections::BTreeSet::new();
    for (status, error, refusal) in samples() {
        for texts in [&CLAUDE, &CODEX] {
            for is_api_key in [false, true] {
                let situation = Situation { is_api_key, ..free() };
                let failure = answer(status, &error, refusal);
                let seen = Seen::new(texts, &failure);
                let matching: Vec<&str> = ROWS
                    .iter()
                    .filter(|row| (row.matches)(&seen, &situation))
                    .map(|row| row.reason)
                    .collect();
                assert_eq!(Some(&judge(texts, &failure, &situation).reason), matching.first());
                overlaps.extend(matching.windows(2).map(|pair| (pair[0], pair[1])));
                // Upside down, the last would decide: the order is what makes the difference.
                let mut reversed = ROWS;
                reversed.reverse();
                assert_eq!(Some(&judge_by(&reversed, &seen, &situation).reason), matching.last());
            }
        }
    }
    for pair in [
        ("disabled", "auth"),
        ("disabled", "other"),
        ("wrong_workspace", "auth"),
        ("model_not_served", "other"),
        ("auth", "other"),
        ("entitlement", "rate_limited"),
        ("entitlement", "scope_limited"),
        ("rate_limited", "burst"),
        ("scope_limited", "burst"),
        ("overloaded", "server_error"),
        ("server_error", "other"),
        ("credit", "other"),
        ("burst", "other"),
    ] {
        assert!(
            overlaps.contains(&pair),
            "nothing shows that {} goes before {}: {overlaps:?}",
            pair.0,
            pair.1
        );
    }
}

#[test]
fn every_failure_ends_within_a_bounded_number_of_tries() {
    // Whatever comes, in whatever order: at most four tries that no reset ends, one hop, and no try after the end.
    let failures: Vec<(u16, ErrorFields)> = [401, 429, 500, 529].map(|status| (status, says("x", ""))).into();
    for choice in 0..4_usize.pow(6) {
        let mut attempts = Attempts::default();
        let (mut tries, mut hops) = (0, 0);
        for turn in 0..6 {
            let at = choice / 4_usize.pow(turn) % 4;
            let situation = Situation { attempts, ..free() };
            let (status, error) = &failures[at];
            let failure = if at == 3 { Failure::NotSent } else { answer(*status, error, None) };
            let verdict = judge(&CLAUDE, &failure, &situation);
            tries += 1;
            attempts.note(&verdict);
            let mut action = verdict.action;
            if action == AuthRecovery {
                action = after_recovery(Recovery::NewToken, &Situation { attempts, ..free() });
                attempts.act(action);
            }
            hops += u32::from(action == Hop);
            if !matches!(action, Next | Hop | Action::Repeat(_)) {
                break;
            }
        }
        assert!(tries <= MAX_TRIES && hops <= 1, "{choice}: {tries} tries, {hops} hops");
    }
}

#[test]
fn refusals_with_a_reset_do_not_count() {
    let mut attempts = Attempts::default();
    for n in 1..=20 {
        let error = says("rate_limit_error", "");
        let failure = answer(429, &error, Some(RefusalKind::Base { until: Some(after(n)) }));
        let verdict = judge(&CLAUDE, &failure, &Situation { attempts, ..free() });
        assert_eq!(verdict.action, Next);
        attempts.note(&verdict);
    }
    assert_eq!(attempts.failed, 0);
    // Without a reset they do.
    let error = says("rate_limit_error", "");
    let failure = answer(429, &error, Some(RefusalKind::Base { until: None }));
    let ends = (0..20).position(|_| {
        let verdict = judge(&CLAUDE, &failure, &Situation { attempts, ..free() });
        attempts.note(&verdict);
        verdict.action == End
    });
    assert_eq!(ends, Some(3));
}

#[test]
fn another_credential_may_be_reconnected_to_again() {
    let mut attempts = Attempts::default();
    let mut actions = Vec::new();
    for _ in 0..4 {
        let verdict = judge(&CLAUDE, &Failure::NotSent, &Situation { attempts, ..free() });
        attempts.note(&verdict);
        actions.push(verdict.action);
    }
    let again = Action::Repeat(Repeat::NewConnection);
    assert_eq!(actions, [again, Next, again, End]);
}

#[test]
fn interrupted_requests_go_elsewhere() {
    assert_eq!(after_interrupt(&free()), Next);
    assert_eq!(after_interrupt(&no_others()), End);
    assert_eq!(after_interrupt(&gone_body()), End);
}

#[test]
fn error_bodies() {
    let read = |body: &str| ErrorFields::from_body(body.as_bytes());
    assert_eq!(
        read(r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#),
        says("api_error", "m")
    );
    assert_eq!(read(r#"{"error":{"code":"c"}}"#).code.as_deref(), Some("c"));
    assert_eq!(
        read(r#"{"detail":{"code":"deactivated_workspace"}}"#).code.as_deref(),
        Some("deactivated_workspace")
    );
    assert_eq!(read(r#"{"detail":"Unauthorized"}"#), says("", "Unauthorized"));
    assert_eq!(read(r#"{"error":"invalid_grant"}"#), says("", "invalid_grant"));
    assert_eq!(
        read(r#"{"error":{"message":"m"},"detail":{"code":"deactivated_workspace"}}"#).code.as_deref(),
        Some("deactivated_workspace")
    );
    for nothing in ["", "{}", " {", r#"{"error":null}"#, r#"{"error":{"type":1}}"#] {
        assert_eq!(read(nothing), ErrorFields::default(), "{nothing}");
    }
    for foreign in ["<html>", "[]", "null", " error code: 1020"] {
        assert_eq!(read(foreign), ErrorFields { is_foreign: true, ..ErrorFields::default() }, "{foreign}");
    }
    let long = read(&format!(r#"{{"error":{{"message":"x{}"}}}}"#, "é".repeat(MAX_FIELD)));
    assert_eq!(long.message.unwrap().len(), MAX_FIELD - 1);
    let huge = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(MAX_ERROR_BODY));
    assert_eq!(read(&huge), ErrorFields::default());
}

#[test]
fn every_text_has_a_source_and_can_be_reached() {
    for (texts, name) in [(&CLAUDE, "claude"), (&CODEX, "codex")] {
        for text in texts.list {
            let statuses = match text.statuses {
                Statuses::These(statuses) => statuses,
                Statuses::AnyRefusal => &[400, 401, 402, 403, 404, 499],
            };
            assert!(!text.source.is_empty() && !statuses.is_empty(), "{name}: {text:?}");
            for status in statuses {
                assert_eq!(
                    texts.meaning(*status, &says(text.name, &example(text.message))),
                    Some(text.meaning),
                    "{name}: {text:?}"
                );
            }
        }
    }
}
