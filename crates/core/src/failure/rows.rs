//! The lines of the table, in order.

use std::time::{Duration, SystemTime};

use super::{Answer, Counter, Effect, Failure, LimitScope, Meaning, RefusalKind, Seen, Situation};
use crate::availability::BlockReason;

/// The row for all else.
pub(super) const OTHER: &str = "other";

/// The row for streams that begin with an error.
pub(super) const FIRST_EVENT: &str = "first_event";

/// How long a credential is left alone that refused without saying until when.
const NO_RESET: Duration = Duration::from_secs(5 * 60);

/// How long one is left alone that has no credit or does not serve the model.
const NO_CREDIT: Duration = Duration::from_secs(60 * 60);

/// How long a burst lasts when nothing is said, and at most.
const BURST: Duration = Duration::from_secs(10);
const LONGEST_BURST: Duration = Duration::from_secs(60);

/// A reset further away than this is no reset. Spec: limits.md, *Windows*.
const FURTHEST_RESET: Duration = Duration::from_secs(40 * 24 * 60 * 60);

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name.
    pub reason: &'static str,
    pub(super) matches: fn(&Seen<'_>, &Situation) -> bool,
    becomes: Becomes,
    pub(super) then: Then,
}

/// What the credential becomes, before times are known.
#[derive(Debug, Clone, Copy)]
enum Becomes {
    Unchanged,
    AuthFailed,
    MaybeDisabled,
    NotServing(LimitScope),
    RateLimited,
    ScopeLimited,
    OutOfCredit,
    Burst,
    Counted(Counter),
}

/// What the request does, before it is known what is left to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    PassThrough,
    Recover,
    Next,
    Hop,
    HopUnlessBound,
    Reconnect,
    TimeOut,
}

/// The table, from the top.
pub const ROWS: [Row; 16] = [
    // Before the rows about tokens: a dead account refuses every token, and a refresh of it is spent for nothing.
    Row { reason: "disabled", matches: is_disabled, becomes: Becomes::MaybeDisabled, then: Then::Next },
    Row {
        reason: "wrong_workspace",
        matches: |seen, _| seen.means(Meaning::WrongWorkspace),
        becomes: Becomes::NotServing(LimitScope::Workspace),
        then: Then::Next,
    },
    Row {
        reason: "model_not_served",
        matches: |seen, _| seen.means(Meaning::ModelNotServed),
        becomes: Becomes::NotServing(LimitScope::Model),
        then: Then::Next,
    },
    Row { reason: "auth", matches: is_auth, becomes: Becomes::AuthFailed, then: Then::Recover },
    Row {
        reason: "entitlement",
        matches: is_entitlement,
        becomes: Becomes::Unchanged,
        then: Then::PassThrough,
    },
    Row { reason: "rate_limited", matches: is_base_limit, becomes: Becomes::RateLimited, then: Then::Next },
    Row {
        reason: "scope_limited",
        matches: is_scoped_limit,
        becomes: Becomes::ScopeLimited,
        then: Then::Next,
    },
    Row { reason: "burst", matches: is_429, becomes: Becomes::Burst, then: Then::Hop },
    Row { reason: "credit", matches: is_out_of_credit, becomes: Becomes::OutOfCredit, then: Then::Next },
    Row {
        reason: "overloaded",
        matches: is_overloaded,
        becomes: Becomes::Counted(Counter::Overloaded),
        then: Then::HopUnlessBound,
    },
    Row {
        reason: "server_error",
        matches: is_server_error,
        becomes: Becomes::Counted(Counter::ServerError),
        then: Then::Hop,
    },
    Row {
        reason: "connection",
        matches: |seen, _| matches!(seen.failure, Failure::NotSent),
        becomes: Becomes::Counted(Counter::Connection),
        then: Then::Reconnect,
    },
    Row {
        reason: "lost",
        matches: |seen, _| matches!(seen.failure, Failure::Lost),
        becomes: Becomes::Counted(Counter::Lost),
        then: Then::Hop,
    },
    Row {
        reason: "no_head",
        matches: |seen, _| matches!(seen.failure, Failure::NoHead),
        becomes: Becomes::Counted(Counter::NoHead),
        then: Then::TimeOut,
    },
    Row {
        reason: OTHER,
        matches: |seen, _| seen.status().is_some(),
        becomes: Becomes::Unchanged,
        then: Then::PassThrough,
    },
    Row {
        reason: FIRST_EVENT,
        matches: |seen, _| matches!(seen.failure, Failure::Answer(Answer { is_first_event: true, .. })),
        becomes: Becomes::Unchanged,
        then: Then::PassThrough,
    },
];

fn is_auth(seen: &Seen<'_>, _: &Situation) -> bool {
    match seen.status() {
        Some(401) => true,
        Some(403) if seen.recovers_any_403 => !seen.is_foreign,
        Some(403) => seen.meaning == Some(Meaning::TokenRevoked),
        _ => false,
    }
}

fn is_disabled(seen: &Seen<'_>, _: &Situation) -> bool {
    seen.means(Meaning::AccountDisabled)
}

fn is_429(seen: &Seen<'_>, _: &Situation) -> bool {
    seen.status() == Some(429)
}

fn is_entitlement(seen: &Seen<'_>, situation: &Situation) -> bool {
    // The text decides before the headers: an account at a limit may be told of extra usage too.
    is_429(seen, situation)
        && (seen.means(Meaning::ExtraUsageRequired) || seen.refusal == Some(RefusalKind::Entitlement))
}

fn is_base_limit(seen: &Seen<'_>, situation: &Situation) -> bool {
    is_429(seen, situation)
        && match (seen.refusal, seen.meaning) {
            (Some(RefusalKind::Scoped { .. }), _) => false,
            (Some(RefusalKind::Base { .. }), _) | (_, Some(Meaning::LimitReached)) => true,
            (_, Some(Meaning::OutOfCredit)) => situation.is_api_key,
            _ => false,
        }
}

fn is_scoped_limit(seen: &Seen<'_>, situation: &Situation) -> bool {
    is_429(seen, situation)
        && (matches!(seen.refusal, Some(RefusalKind::Scoped { .. })) || seen.means(Meaning::ModelNotIncluded))
}

fn is_out_of_credit(seen: &Seen<'_>, situation: &Situation) -> bool {
    situation.is_api_key && seen.means(Meaning::OutOfCredit)
}

fn is_overloaded(seen: &Seen<'_>, _: &Situation) -> bool {
    seen.status() == Some(529) || (seen.status() == Some(503) && seen.means(Meaning::Overloaded))
}

fn is_server_error(seen: &Seen<'_>, _: &Situation) -> bool {
    // What comes before the provider refuses with 403 too, for a while.
    seen.status().is_some_and(|status| (500..600).contains(&status) || (status == 403 && seen.is_foreign))
}

impl Row {
    /// Whether its refusal may state a reset.
    pub(super) fn may_have_reset(&self) -> bool {
        matches!(self.becomes, Becomes::RateLimited | Becomes::ScopeLimited)
    }

    /// Whether it says something of the credential as a whole, whatever was asked for.
    pub(super) fn is_of_credential(&self) -> bool {
        matches!(self.becomes, Becomes::AuthFailed | Becomes::MaybeDisabled)
    }

    pub(super) fn effect(&self, seen: &Seen<'_>, situation: &Situation) -> Effect {
        let now = situation.now;
        match self.becomes {
            _ if situation.is_free && !self.is_of_credential() => Effect::Unchanged,
            Becomes::Unchanged => Effect::Unchanged,
            // What is refused with a new token too is the request's own.
            Becomes::AuthFailed if situation.attempts.has_new_token => Effect::Unchanged,
            Becomes::AuthFailed => Effect::AuthFailed,
            Becomes::MaybeDisabled => Effect::MaybeDisabled,
            Becomes::NotServing(scope) => known(scope, after(now, NO_CREDIT)),
            Becomes::RateLimited => match seen.refusal {
                Some(RefusalKind::Base { until }) => limited(LimitScope::All, until, now),
                _ if seen.means(Meaning::OutOfCredit) => known(LimitScope::All, after(now, NO_CREDIT)),
                _ => limited(LimitScope::All, None, now),
            },
            Becomes::ScopeLimited => match seen.refusal {
                Some(RefusalKind::Scoped { until }) => limited(LimitScope::Named, until, now),
                _ => known(LimitScope::Model, after(now, NO_CREDIT)),
            },
            Becomes::OutOfCredit => known(LimitScope::All, after(now, NO_CREDIT)),
            Becomes::Burst => {
                let asked = match seen.refusal {
                    Some(RefusalKind::Burst { retry_after }) => retry_after,
                    _ => None,
                };
                let lasts = asked.unwrap_or(BURST).min(LONGEST_BURST);
                Effect::Blocked { reason: BlockReason::Burst, until: after(now, lasts) }
            }
            Becomes::Counted(counter) => Effect::Counted(counter),
        }
    }
}

fn known(scope: LimitScope, until: SystemTime) -> Effect {
    Effect::RateLimited { scope, until, needs_poll: false }
}

/// Rate-limited until a stated reset, if it is one.
fn limited(scope: LimitScope, until: Option<SystemTime>, now: SystemTime) -> Effect {
    match until.filter(|until| *until > now && *until <= after(now, FURTHEST_RESET)) {
        Some(until) => known(scope, until),
        None => Effect::RateLimited { scope, until: after(now, NO_RESET), needs_poll: true },
    }
}

fn after(now: SystemTime, time: Duration) -> SystemTime {
    now.checked_add(time).unwrap_or(now)
}
