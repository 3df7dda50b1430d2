//! What a refused token leads to: core decides, the keeper does, and everybody who waits is told.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;
use trunkline_core::auth_recovery::{Advance, ForcedRefresh, Mark, Next, Outcome, RefreshEnd, Step, Tries};
use trunkline_core::login::LoginIdentity;
use trunkline_core::refresh::RefreshKind;
use trunkline_core::secret::TokenDigest;
use trunkline_login_store::ReadError;

use super::{Done, Keeper, Refused};
use crate::credential::live::Ways;
use crate::credential::probe;
use crate::credential::refresh::blocking;
use crate::credential::token_answer::TokenFormat;

/// A request that waits to be told. At most as many as requests are under way.
#[derive(Debug)]
pub(super) struct Waiting {
    token: TokenDigest,
    tries: Tries,
    reply: oneshot::Sender<Outcome>,
}

/// A request with what it is to be told.
#[derive(Debug)]
pub(super) struct Settled {
    reply: oneshot::Sender<Outcome>,
    outcome: Outcome,
}

impl Keeper {
    pub(super) fn on_refused(&mut self, refused: Refused, ways: Option<&Arc<Ways>>, now: SystemTime) {
        let Refused { token, tries, reply } = refused;
        let current = self.held.as_ref().map(|held| held.token);
        let refresh = self.forced_refresh(now);
        let advance = self.recovery.on_failure(token, tries, current, refresh, now);
        self.waiting.push(Waiting { token, tries, reply });
        self.advance(token, Some(advance), ways, now);
    }

    /// Whether a forced refresh may begin.
    pub(super) fn forced_refresh(&self, now: SystemTime) -> ForcedRefresh {
        match &self.login {
            Some(login) => self.policy.may_start(RefreshKind::Forced, login, now).into(),
            None if self.store.is_some() => ForcedRefresh::NotNow,
            None => ForcedRefresh::Impossible,
        }
    }

    pub(super) fn advance(
        &mut self,
        token: TokenDigest,
        advance: Option<Advance>,
        ways: Option<&Arc<Ways>>,
        now: SystemTime,
    ) {
        let Some(Advance { next, mark }) = advance else { return };
        match mark {
            Some(Mark::TokenRefused | Mark::CredentialRefused) => {
                let identity = self.login.as_ref().map_or(LoginIdentity::NONE, LoginIdentity::of);
                self.facts.on_token_refused(&identity, now);
            }
            None => {}
        }
        match (next, ways) {
            (Next::Settled(outcome), _) => self.settle(token, outcome),
            (Next::Wait, _) => {}
            (Next::Do(step), Some(ways)) => self.begin_step(step, token, ways, now),
            // It is ending: nothing is begun any more.
            (Next::Do(_), None) => self.settle(token, Outcome::PassThrough),
        }
    }

    fn begin_step(&mut self, step: Step, token: TokenDigest, ways: &Arc<Ways>, now: SystemTime) {
        match (step, self.store.clone()) {
            (Step::ReadFile, Some(store)) => {
                let (format, waits) = (TokenFormat(self.provider), self.waits.clone());
                self.work.spawn(async move {
                    let read = blocking(move || store.read_patiently(&format, &waits)).await;
                    Done::ReadFor(token, read.unwrap_or(Err(ReadError::Io(std::io::ErrorKind::Other))))
                });
            }
            (Step::ReadFile, None) => {}
            (Step::Check, _) => {
                let (probe, ways, provider) = (self.probe(), Arc::clone(ways), self.provider);
                self.work.spawn(async move {
                    Done::Checked {
                        token,
                        begun_at: now,
                        checked: probe::check(probe, &ways, provider).await,
                    }
                });
            }
            (Step::Refresh, _) => {
                let may_start = self
                    .login
                    .as_ref()
                    .is_some_and(|login| self.policy.may_start(RefreshKind::Forced, login, now).is_ok());
                if may_start {
                    self.begin_refresh(RefreshKind::Forced, ways, now);
                }
            }
        }
    }

    /// A refresh has ended: whoever waits for it about a token that is not in use any more may go on.
    pub(super) fn after_refresh(
        &mut self,
        before: Option<TokenDigest>,
        ways: Option<&Arc<Ways>>,
        now: SystemTime,
    ) {
        let Some((token, Step::Refresh)) = self.recovery.step() else { return };
        let current = self.held.as_ref().map(|held| held.token);
        let is_new = current.is_some_and(|current| !current.same(&token));
        tracing::debug!(
            is_new,
            changed = before.zip(current).is_some_and(|(a, b)| !a.same(&b)),
            "refresh ended"
        );
        let end = if is_new { RefreshEnd::NewToken } else { RefreshEnd::Failed };
        let advance = self.recovery.on_refreshed(token, end);
        self.advance(token, advance, ways, now);
    }

    fn settle(&mut self, token: TokenDigest, outcome: Outcome) {
        let (settled, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.token.same(&token));
        self.waiting = left;
        self.settled.extend(
            settled
                .into_iter()
                .map(|waiting| Settled { reply: waiting.reply, outcome: outcome.for_request(waiting.tries) }),
        );
    }

    /// Tells requests what became of their tokens. What they do next goes by what has been published.
    pub(super) fn tell_settled(&mut self) {
        for Settled { reply, outcome } in self.settled.drain(..) {
            // One that has gone meanwhile needs no outcome.
            let _ = reply.send(outcome);
        }
    }
}
