//! What a 429 of Claude's means (routing.md, *Failures*; fact sheet, *429 classification*).

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::headers::{Unified, UnifiedWindow};
use crate::failure::{CLAUDE, Meaning};
use crate::limits::number;
use crate::limits::readings::Field;
use crate::limits::window::WindowPair;
use crate::limits::{Claim, LimitScope, Refusal, RefusedAnswer, RefusedWindow};

/// The utilization, as a fraction, from which on a window is taken to have refused.
const REFUSED_FROM: f64 = 0.99;

pub(super) fn classify(answer: &RefusedAnswer<'_>, now: SystemTime) -> Option<Refusal> {
    if answer.status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let meaning = CLAUDE.meaning(answer.status.as_u16(), &answer.error.fields());
    if meaning == Some(Meaning::ExtraUsageRequired) {
        return Some(Refusal::Entitlement);
    }
    let unified = Unified::read(answer.headers);
    if !answer.is_api_key
        && let Some(refusal) = base(&unified, now).or_else(|| scoped(&unified, answer.model, now))
    {
        // Where no window says when it ends, the rest of the answer may.
        let stated = || {
            answer.error.reset_ahead(now).or_else(|| later_than(now, answer.error.wait(answer.headers, now)?))
        };
        return Some(refusal.or_until(stated));
    }
    Some(Refusal::Burst { retry_after: answer.error.wait(answer.headers, now) })
}

fn base(unified: &Unified, now: SystemTime) -> Option<Refusal> {
    let windows = WindowPair::from_fn(|which| refused(unified, &Claim::Base(which), now));
    let out_of_credits = is(&unified.overage_disabled_reason, "out_of_credits");
    if windows.five_hour.is_none() && windows.weekly.is_none() {
        // An account that is billed by credits has no windows at all, and without this would be asked again every few
        // seconds.
        let has_no_windows = unified.windows.is_empty() && !matches!(unified.claim, Some(Claim::Scope(_)));
        let is_spent = out_of_credits && has_no_windows && is(&unified.status, "rejected");
        return is_spent.then(|| Refusal::Base { windows, until: unified.reset_ahead(now), out_of_credits });
    }
    let resets = [windows.five_hour, windows.weekly];
    let until = resets.into_iter().flatten().filter_map(|window| window.resets_at).max();
    Some(Refusal::Base { windows, until, out_of_credits })
}

fn scoped(unified: &Unified, model: Option<&str>, now: SystemTime) -> Option<Refusal> {
    let claimed = unified.claim.as_ref().filter(|claim| matches!(claim, Claim::Scope(_)));
    // The claim speaks first; then the bucket of the model that was asked for; then any.
    let mut candidates: Vec<&LimitScope> = claimed
        .into_iter()
        .chain(unified.windows.iter().map(|window| &window.claim))
        .filter_map(|claim| match claim {
            Claim::Scope(scope) => Some(scope),
            Claim::Base(_) => None,
        })
        .collect();
    candidates.sort_by_key(|scope| {
        let is_claimed = matches!(claimed, Some(Claim::Scope(claimed)) if claimed == *scope);
        (!is_claimed, !model.is_some_and(|model| scope.binds_by_name(model)))
    });
    candidates.into_iter().find_map(|scope| {
        let window = refused(unified, &Claim::Scope(scope.clone()), now)?;
        let until = window.resets_at.or_else(|| unified.reset_ahead(now));
        Some(Refusal::Scoped { scope: scope.clone(), until })
    })
}

/// Whether a window refused: its own status says so, or nearly all of it is used, or the claim names it and it has
/// neither header.
fn refused(unified: &Unified, claim: &Claim, now: SystemTime) -> Option<RefusedWindow> {
    let window = unified.window(claim);
    let is_claimed = unified.claim.as_ref() == Some(claim);
    let is_silent =
        window.is_none_or(|window| window.status == Field::Absent && window.utilization == Field::Absent);
    let says_so = window.is_some_and(|window| is(&window.status, "rejected") || is_used_up(window));
    let is_only_claimed = is_claimed && is_silent;
    if !(says_so || is_only_claimed) {
        return None;
    }
    let resets_at = window
        .and_then(|window| window.reset_ahead(now))
        .or_else(|| unified.reset_ahead(now).filter(|_| is_claimed));
    Some(RefusedWindow { resets_at })
}

/// A moment after `now`, if it is one.
fn later_than(now: SystemTime, wait: Duration) -> Option<SystemTime> {
    now.checked_add(wait).filter(|at| *at > now)
}

fn is_used_up(window: &UnifiedWindow) -> bool {
    let Field::Text(text) = &window.utilization else { return false };
    number::parse(text).is_some_and(|fraction| fraction >= REFUSED_FROM)
}

fn is(field: &Field, word: &str) -> bool {
    matches!(field, Field::Text(text) if text == word)
}
