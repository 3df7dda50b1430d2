//! The table of credentials.md, *Availability*, row by row: the first that holds is the state.

use std::cmp::Reverse;
use std::time::SystemTime;

use super::facts::{CappedWindow, Facts, RateLimited, Renewal, Source};
use super::state::{Availability, BlockReason, Scope, Unavailable};
use crate::span::Span;

impl Facts {
    /// The state at `now`: the first row of the table that holds. `capped`: the windows at their caps at `now`.
    pub fn state(&self, now: SystemTime, capped: &[CappedWindow]) -> Availability {
        self.first(now, capped, &|_| true, true).unwrap_or(Availability::Usable)
    }

    /// The first row that holds and is about what `is_about` admits. Without `with_polls`, failed polls are left out.
    pub(super) fn first(
        &self,
        now: SystemTime,
        capped: &[CappedWindow],
        is_about: &dyn Fn(&Scope) -> bool,
        with_polls: bool,
    ) -> Option<Availability> {
        if let Some(why) = self.unavailable(now) {
            return Some(Availability::Unavailable { why });
        }
        if let Some(since) = self.refreshing(now) {
            return Some(Availability::Refreshing { since });
        }
        self.blocked(now, is_about, with_polls)
            .or_else(|| self.limited(now, is_about))
            .or_else(|| first_capped(now, capped, is_about))
    }

    /// Since when the access token is used up at `now`: past its end, or refused. Only those of a login file end.
    pub(super) fn used_up_since(&self, now: SystemTime) -> Option<SystemTime> {
        if self.source != Source::LoginFile {
            return None;
        }
        let expired = self.login.as_ref().ok().and_then(|login| login.expires_at).filter(|at| *at <= now);
        match (expired, self.token_refused) {
            (Some(expired), Some(refused)) => Some(expired.min(refused)),
            (expired, refused) => expired.or(refused),
        }
    }

    pub(super) fn unavailable(&self, now: SystemTime) -> Option<Unavailable> {
        if !self.is_connected {
            return Some(Unavailable::NotConnected);
        }
        let login = match &self.login {
            Ok(login) => login,
            Err(why) => return Some(Unavailable::NoLogin(why.clone())),
        };
        if let Some((why, _)) = &self.refused {
            return Some(Unavailable::Refused(why.clone()));
        }
        self.used_up_since(now)?;
        let can_renew = match login.renewal {
            Renewal::Ahead => true,
            Renewal::WhenRefused => self.token_refused.is_some(),
            Renewal::Never => false,
        };
        if self.refresh_refused || !can_renew {
            return Some(Unavailable::LoginExpired(self.hint));
        }
        self.cannot_keep.clone().map(Unavailable::CannotKeep)
    }

    /// A refresh that is due and may begin counts as one that runs: whoever owns the credential begins it at once.
    pub(super) fn refreshing(&self, now: SystemTime) -> Option<SystemTime> {
        let used_up = self.used_up_since(now)?;
        match self.refreshing_since {
            Some(since) => Some(since),
            None => (!counts(self.refresh_cooldown, now)).then_some(used_up),
        }
    }

    fn blocked(
        &self,
        now: SystemTime,
        is_about: &dyn Fn(&Scope) -> bool,
        with_polls: bool,
    ) -> Option<Availability> {
        self.blocks(now, with_polls).find_map(|(reason, until)| {
            let scope = reason.scope();
            is_about(&scope).then_some(Availability::Blocked { reason, scope, until })
        })
    }

    /// Every block that counts, in the order of the table, with its end if time alone ends it.
    pub(super) fn blocks(
        &self,
        now: SystemTime,
        with_polls: bool,
    ) -> impl Iterator<Item = (BlockReason, Option<SystemTime>)> + use<> {
        let cooldown = self.refresh_cooldown.filter(|_| self.used_up_since(now).is_some());
        let until = |span: Option<Span>| span.filter(|span| span.counts(now)).map(|span| Some(span.until()));
        let rows = [
            (BlockReason::UpstreamRejected, until(self.upstream_rejected)),
            (BlockReason::RefreshCooldown, until(cooldown)),
            (BlockReason::Connection, until(self.connection)),
            (BlockReason::PollFailed, (with_polls && self.poll_failures > 0).then_some(None)),
            (BlockReason::Overloaded, until(self.overloaded)),
            (BlockReason::Burst, self.bursts(now).map(|burst| burst.span.until()).max().map(Some)),
        ];
        rows.into_iter().filter_map(|(reason, until)| Some((reason, until?)))
    }

    /// The refusal for most requests, and of these the one that ends last: the credential is of use again only then.
    fn limited(&self, now: SystemTime, is_about: &dyn Fn(&Scope) -> bool) -> Option<Availability> {
        let first = self.rate_limits(now).filter(|limited| is_about(&limited.scope)).min_by(|a, b| {
            let rank = |limited: &RateLimited| (width(&limited.scope), Reverse(limited.span.until()));
            rank(a).cmp(&rank(b)).then_with(|| a.window.cmp(&b.window))
        })?;
        Some(Availability::RateLimited {
            until: first.span.until(),
            window: first.window.clone(),
            scope: first.scope.clone(),
        })
    }
}

/// The capped window for most requests.
fn first_capped(
    now: SystemTime,
    capped: &[CappedWindow],
    is_about: &dyn Fn(&Scope) -> bool,
) -> Option<Availability> {
    capped
        .iter()
        .filter(|capped| capped.until.is_none_or(|until| now < until) && is_about(&capped.scope))
        .min_by(|a, b| width(&a.scope).cmp(&width(&b.scope)).then_with(|| a.window.cmp(&b.window)))
        .map(|capped| Availability::Capped { window: capped.window.clone(), scope: capped.scope.clone() })
}

/// The order in which scopes are named: the widest first.
fn width(scope: &Scope) -> u8 {
    match scope {
        Scope::All => 0,
        Scope::NewSessions => 1,
        Scope::ModelFamily(_) => 2,
    }
}

/// Whether there is a span and it counts.
pub(super) fn counts(span: Option<Span>, now: SystemTime) -> bool {
    span.is_some_and(|span| span.counts(now))
}
