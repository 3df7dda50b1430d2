//! A try that failed: what its credential becomes, and what is done about the request. Both are decided by [`judge`] and what
//! belongs to it, and nowhere here.

use std::sync::Arc;

use trunkline_core::auth_recovery::Outcome as Recovered;
use trunkline_core::availability::{RequestEnd, Scope};
use trunkline_core::failure::{
    self, Action, Counter, Effect, ErrorFields, Failure, LimitScope, MAX_TRIES, Recovery, Repeat, Situation,
    Verdict, after_recovery, judge,
};
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::limits::credential_state::ACCOUNT;
use trunkline_core::limits::{self, Refusal};
use trunkline_core::secret::TokenDigest;
use trunkline_core::selection::Outcome;

use super::Service;
use super::attempt::{Ended, Next, Request, Tries, discard, finish, may_wait};
use crate::credential::{Credential, Told};
use crate::forward::{Answer, LostBy, NotSentBy};

/// What is named as used up where a login's workspace is none of its account's.
const WORKSPACE: &str = "workspace";

/// A try that failed.
pub(super) struct Failed {
    pub(super) what: What,
    /// The answer, if there is one.
    pub(super) answer: Option<Answer>,
    /// The token that it was tried with.
    pub(super) token: TokenDigest,
}

/// What it failed by.
pub(super) enum What {
    Answer { error: ErrorFields, is_first_event: bool, refusal: Option<Refusal> },
    NotSent { by: NotSentBy, detail: String },
    Lost { how: LostBy, detail: String },
    NoHead,
}

impl Service {
    /// A try failed: what the credential becomes, and what is done about it.
    pub(super) async fn on_failed(
        &self,
        request: &Request<'_>,
        credential: &Arc<Credential>,
        tries: &mut Tries,
        failed: Failed,
    ) -> Next {
        let situation = self.situation(request, credential, tries);
        let failure = match (&failed.what, &failed.answer) {
            (What::Answer { error, is_first_event, refusal }, Some(answer)) => {
                Failure::Answer(failure::Answer {
                    status: answer.response.status().as_u16(),
                    error,
                    is_first_event: *is_first_event,
                    refusal: refusal.as_ref().map(|refusal| refusal.kind(situation.now)),
                })
            }
            (What::NotSent { .. }, _) => Failure::NotSent,
            (What::NoHead, _) => Failure::NoHead,
            (What::Lost { .. } | What::Answer { .. }, _) => Failure::Lost,
        };
        let verdict = judge(self.provider.failure_texts(), &failure, &situation);
        tries.attempts.note(&verdict);
        let Failed { what, answer, token } = failed;
        tracing::debug!(
            id = &*tries.id,
            credential = &**credential.tag(),
            reason = verdict.reason,
            action = ?verdict.action,
            status = answer.as_ref().map(|answer| answer.response.status().as_u16()),
            detail = what.detail(),
            "a try failed"
        );
        self.tell(request, credential, &verdict, &what, answer.as_ref(), &situation).await;
        if verdict.effect == Effect::MaybeDisabled {
            tries.suspects.push(Arc::clone(credential));
        }
        if verdict.effect == Effect::AuthFailed && verdict.action != Action::AuthRecovery {
            // Too late for this request, but not for the next.
            credential.live().on_refused(token, tries.tokens);
        }
        if answer.is_none() {
            tries.last_fault = Some(what.fault(credential.tag()));
        }
        let mut action = verdict.action;
        if action == Action::AuthRecovery {
            action = recover(credential, token, tries, &situation).await;
        }
        match (action, answer) {
            (Action::PassThrough, Some(answer)) => {
                Next::Ended(Box::new(Ended::Answered(answer, Arc::clone(credential))))
            }
            (Action::Repeat(repeat), answer) => {
                if let Some(answer) = answer {
                    discard(answer);
                }
                Next::Again { fresh: repeat == Repeat::NewConnection }
            }
            (Action::Next | Action::Hop, answer) => {
                tries.has_hopped |= action == Action::Hop;
                if let Some(answer) = answer {
                    tries.keep(answer, credential);
                }
                self.note_failover(tries, credential, verdict.reason);
                Next::Other
            }
            (Action::GatewayTimeout, _) => Next::Ended(Box::new(Ended::Fault(what.fault(credential.tag())))),
            (Action::End | Action::PassThrough | Action::AuthRecovery, answer) => {
                if let Some(answer) = answer {
                    tries.keep(answer, credential);
                }
                tries.leave(credential);
                let none = match self.look(request.asked, &tries.tried) {
                    Outcome::None(none) => Some(none),
                    Outcome::Picked(_) | Outcome::AwaitRefresh(_) => None,
                };
                // One that becomes usable in time is worth the wait, unless the request has failed too often.
                if request.upload.can_repeat()
                    && tries.attempts.failed < MAX_TRIES
                    && none.as_ref().is_some_and(|none| may_wait(none, request.asked, tries).is_some())
                {
                    return Next::Wait;
                }
                Next::Ended(Box::new(finish(tries, none)))
            }
        }
    }

    /// Tells the credential's keeper what became of it, and waits until that counts where the next selection depends on it.
    async fn tell(
        &self,
        request: &Request<'_>,
        credential: &Credential,
        verdict: &Verdict,
        what: &What,
        answer: Option<&Answer>,
        situation: &Situation,
    ) {
        let (live, now) = (credential.live(), situation.now);
        let readings = |answer: &Answer| {
            self.provider.limit_facts().read_headers(answer.response.status(), answer.limit_headers(), now)
        };
        let refusal = match what {
            What::Answer { refusal, .. } => refusal.as_ref(),
            _ => None,
        };
        if let (Some(refusal), Some(answer)) = (refusal, answer)
            && matches!(verdict.effect, Effect::RateLimited { .. } | Effect::Blocked { .. })
        {
            let model = request.asked.model.clone().or_else(|| request.upload.model());
            let (readings, refusal) = (readings(answer), refusal.clone());
            return live.tell_and_wait(Told::Refused { readings, refusal, model }).await;
        }
        let model = request.asked.model.clone().or_else(|| request.upload.model());
        let is_stale = matches!(what, What::NotSent { by: NotSentBy::StaleConnection, .. });
        if situation.is_free && verdict.effect == Effect::Unchanged {
            // It says nothing of the requests that count.
            return;
        }
        let told = match effect_of(verdict, model.as_deref()) {
            // A kept connection that was too old says nothing of the provider.
            Some(_) if is_stale => return,
            Some(told) => told,
            None => {
                live.on_answered(false);
                if let Some(answer) = answer {
                    live.on_headers(self.provider, answer.response.status(), answer.limit_headers(), now);
                }
                return;
            }
        };
        live.tell_and_wait(told).await;
    }
}

/// What the keeper is told of a verdict that no refusal of the provider's stands behind.
pub(super) fn effect_of(verdict: &Verdict, model: Option<&str>) -> Option<Told> {
    Some(match verdict.effect {
        Effect::Unchanged | Effect::AuthFailed => return None,
        Effect::MaybeDisabled => Told::MaybeDisabled,
        Effect::RateLimited { scope: LimitScope::Model, until, needs_poll } => {
            // Where the model is not known, nothing can be said of other requests.
            let name: Arc<str> = limits::LimitScope::model(model?)?.to_string().into();
            Told::Limited { window: Arc::clone(&name), scope: Scope::ModelFamily(name), until, needs_poll }
        }
        Effect::RateLimited { scope, until, needs_poll } => {
            let window = if scope == LimitScope::Workspace { WORKSPACE } else { ACCOUNT };
            Told::Limited { window: window.into(), scope: Scope::All, until, needs_poll }
        }
        // Without a refusal nothing says for how long.
        Effect::Blocked { .. } => Told::Ended(RequestEnd::Burst(None)),
        Effect::Counted(counter) => Told::Ended(match counter {
            Counter::Overloaded => RequestEnd::Overloaded,
            Counter::ServerError => RequestEnd::ServerError,
            Counter::Connection => RequestEnd::NotConnected,
            Counter::Lost => RequestEnd::Lost,
            Counter::NoHead => RequestEnd::NoHead,
        }),
    })
}

/// The provider refused the token: what the request does once it is known why.
pub(super) async fn recover(
    credential: &Credential,
    token: TokenDigest,
    tries: &mut Tries,
    situation: &Situation,
) -> Action {
    // The failed try has been noted since.
    let situation = Situation { attempts: tries.attempts, ..*situation };
    let recovered = credential.live().recover(token, tries.tokens).await;
    let recovery = match recovered {
        Recovered::Retry { .. } => Recovery::NewToken,
        Recovered::PassThrough => Recovery::RequestsOwn,
        Recovered::NextCandidate => Recovery::NoToken,
    };
    let action = after_recovery(recovery, &situation);
    match recovered {
        // One that another process had got is checked like any other, if it is refused as well.
        Recovered::Retry { after_refresh: false } => tries.tokens.with_other_token = true,
        Recovered::Retry { after_refresh: true } => {
            tries.tokens.after_refresh = true;
            tries.attempts.act(action);
        }
        Recovered::PassThrough | Recovered::NextCandidate => tries.attempts.act(action),
    }
    action
}

impl What {
    fn detail(&self) -> Option<&str> {
        match self {
            Self::NotSent { detail, .. } | Self::Lost { detail, .. } => Some(detail),
            Self::Answer { .. } | Self::NoHead => None,
        }
    }

    /// What the client is told if nothing else comes of the request.
    fn fault(&self, tag: &str) -> Fault {
        let (kind, message) = match self {
            Self::NotSent { by: NotSentBy::Dialling, .. } => (
                FaultKind::UpstreamConnection,
                format!("trunkline could not connect to the provider for credential {tag}"),
            ),
            Self::NotSent { by: NotSentBy::Provider, .. } => (
                FaultKind::UpstreamConnection,
                format!("the provider did not take the request of credential {tag}"),
            ),
            Self::NoHead => {
                (FaultKind::UpstreamTimeout, format!("the provider did not answer credential {tag} in time"))
            }
            Self::Lost { how: LostBy::Reset, .. } => (
                FaultKind::UpstreamConnection,
                format!("the provider reset the request of credential {tag} without an answer"),
            ),
            Self::Lost { how: LostBy::EmptyStream, .. } => (
                FaultKind::UpstreamConnection,
                format!("the provider ended its answer to credential {tag} before the first event"),
            ),
            Self::Lost { how: LostBy::OtherProtocol, .. } => (
                FaultKind::UpstreamConnection,
                format!("the provider changed to a protocol that credential {tag} did not ask for"),
            ),
            Self::NotSent { .. } | Self::Lost { how: LostBy::Closing, .. } | Self::Answer { .. } => (
                FaultKind::UpstreamConnection,
                format!("the provider closed the connection of credential {tag} without an answer"),
            ),
        };
        let fault = Fault::new(kind, message);
        match self.detail() {
            Some(detail) => fault.with_detail(detail.to_owned()),
            None => fault,
        }
    }
}
