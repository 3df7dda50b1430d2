//! What to do when the provider refuses an authorization on a request: once for all requests that fail together.
//!
//! Spec: credentials.md, *Auth failure on a request*. [`AuthRecovery`] is the state of one credential. Whoever owns the
//! credential does what it says (read the file, poll, refresh), tells it what came of that, and gives every waiting request
//! the outcome. The steps are driven by the credential's owner, not by one of the requests, so that a client that goes away
//! takes none of them with it.

mod outcome;

use std::time::{Duration, SystemTime};

use crate::secret::TokenDigest;
use crate::span::Span;

pub use outcome::{Advance, CheckAnswer, ForcedRefresh, Mark, Next, Outcome, RefreshEnd, Step, Tries};

/// How long the result of a check holds for the token that was checked.
pub const CHECK_HOLDS: Duration = Duration::from_secs(60);

/// After what time a recovery that never ended is begun anew: far beyond a poll (5 s, three connections) and a refresh.
const LASTS_AT_MOST: Duration = Duration::from_secs(10 * 60);

/// How many checks are asked for that turn out to have begun too early; then they count as not answered.
const MAX_EARLY_CHECKS: u8 = 2;

/// What a 403 begins with that is about the token (fact sheet `claude-code.md`, 2.1; the client refreshes on it).
const REVOKED: &str = "OAuth token has been revoked";

/// Whether an answer of the provider refuses the authorization: 401, or 403 whose `error.message` says revoked.
pub fn is_auth_failure(status: u16, message: Option<&str>) -> bool {
    status == 401 || (status == 403 && message.is_some_and(|message| message.starts_with(REVOKED)))
}

/// The recovery of one credential.
#[derive(Debug, Clone)]
pub struct AuthRecovery {
    has_file: bool,
    case: Option<Case>,
    checked: Option<Checked>,
}

/// A token that was refused and is being looked into.
#[derive(Debug, Clone)]
struct Case {
    token: TokenDigest,
    failed_at: SystemTime,
    lasts: Span,
    step: Step,
    early_checks: u8,
}

/// The last check that had a result.
#[derive(Debug, Clone)]
struct Checked {
    token: TokenDigest,
    holds: Span,
    answer: CheckAnswer,
}

impl AuthRecovery {
    /// For a credential with a login file, or (`has_file` false) with a fixed token or key.
    pub fn new(has_file: bool) -> Self {
        Self { has_file, case: None, checked: None }
    }

    /// A request with `token` was refused at `now`. `current`: the token that the credential has now, if it has one.
    pub fn on_failure(
        &mut self,
        token: TokenDigest,
        tries: Tries,
        current: Option<TokenDigest>,
        refresh: ForcedRefresh,
        now: SystemTime,
    ) -> Advance {
        if tries.after_refresh {
            return Next::Settled(Outcome::PassThrough).into();
        }
        match current {
            None => return Next::Settled(Outcome::NextCandidate).into(),
            Some(current) if !current.same(&token) => {
                return Next::Settled(Outcome::Retry { after_refresh: false }.for_request(tries)).into();
            }
            Some(_) => {}
        }
        if self.case.as_ref().is_some_and(|case| case.token.same(&token) && case.lasts.counts(now)) {
            return Next::Wait.into();
        }
        self.case = None;
        let held = self
            .checked
            .as_ref()
            .filter(|checked| checked.token.same(&token) && checked.holds.counts(now))
            .map(|checked| checked.answer);
        if let Some(answer) = held {
            return self.after_check(token, answer, refresh, now);
        }
        self.begin(token, if self.has_file { Step::ReadFile } else { Step::Check }, now)
    }

    /// The file was read again for the case about `token`: the token in it, or `None` if it has none any more. `None` is
    /// returned for what is about no open case.
    pub fn on_file_read(&mut self, token: TokenDigest, read: Option<TokenDigest>) -> Option<Advance> {
        let case = self.at(token, Step::ReadFile)?;
        Some(match read {
            Some(read) if read.same(&token) => {
                case.step = Step::Check;
                Next::Do(Step::Check).into()
            }
            Some(_) => self.settle(Outcome::Retry { after_refresh: false }),
            None => self.settle(Outcome::NextCandidate),
        })
    }

    /// A check of `token` begun at `begun_at` has ended. Only one begun after the failure counts: for an earlier one another
    /// is asked for.
    pub fn on_checked(
        &mut self,
        token: TokenDigest,
        begun_at: SystemTime,
        answer: CheckAnswer,
        refresh: ForcedRefresh,
        now: SystemTime,
    ) -> Option<Advance> {
        let case = self.at(token, Step::Check)?;
        let mut answer = answer;
        if begun_at < case.failed_at {
            // Bounded, since a clock that was set back makes every check look early.
            if case.early_checks < MAX_EARLY_CHECKS {
                case.early_checks += 1;
                return Some(Next::Do(Step::Check).into());
            }
            answer = CheckAnswer::NoAnswer;
        }
        self.checked = Some(Checked { token, holds: Span::lasting(now, CHECK_HOLDS), answer });
        Some(self.after_check(token, answer, refresh, now))
    }

    /// The refresh for the case about `token` has ended.
    pub fn on_refreshed(&mut self, token: TokenDigest, end: RefreshEnd) -> Option<Advance> {
        self.at(token, Step::Refresh)?;
        Some(match end {
            RefreshEnd::NewToken => self.settle(Outcome::Retry { after_refresh: true }),
            RefreshEnd::Failed => self.settle(Outcome::NextCandidate),
        })
    }

    /// The step that is under way, with the token it is about.
    pub fn step(&self) -> Option<(TokenDigest, Step)> {
        self.case.as_ref().map(|case| (case.token, case.step))
    }

    fn after_check(
        &mut self,
        token: TokenDigest,
        answer: CheckAnswer,
        refresh: ForcedRefresh,
        now: SystemTime,
    ) -> Advance {
        match (answer, refresh) {
            (CheckAnswer::Accepted, _) => self.settle(Outcome::PassThrough),
            // What cannot be renewed is given up only when the refusal is confirmed.
            (CheckAnswer::NoAnswer, ForcedRefresh::Impossible) => self.settle(Outcome::NextCandidate),
            (CheckAnswer::Refused, ForcedRefresh::Impossible) => {
                let settled = self.settle(Outcome::NextCandidate);
                Advance { mark: Some(Mark::CredentialRefused), ..settled }
            }
            (CheckAnswer::Refused | CheckAnswer::NoAnswer, _) => {
                let next = if refresh == ForcedRefresh::Allowed {
                    self.begin(token, Step::Refresh, now)
                } else {
                    self.settle(Outcome::NextCandidate)
                };
                Advance { mark: Some(Mark::TokenRefused), ..next }
            }
        }
    }

    fn begin(&mut self, token: TokenDigest, step: Step, now: SystemTime) -> Advance {
        let lasts = Span::lasting(now, LASTS_AT_MOST);
        self.case = Some(Case { token, failed_at: now, lasts, step, early_checks: 0 });
        Next::Do(step).into()
    }

    fn settle(&mut self, outcome: Outcome) -> Advance {
        self.case = None;
        Next::Settled(outcome).into()
    }

    fn at(&mut self, token: TokenDigest, step: Step) -> Option<&mut Case> {
        self.case.as_mut().filter(|case| case.token.same(&token) && case.step == step)
    }
}

#[cfg(test)]
mod tests;
