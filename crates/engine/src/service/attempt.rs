//! Fourth stage: tries, until one is answered in a way that goes to the client, or nothing is left to try.
//!
//! Spec: routing.md, *Failures before the first response byte has been sent to the client*. What is done about a failed
//! try: `failed`.

use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, StatusCode};
use trunkline_core::auth_recovery::Tries as AuthTries;
use trunkline_core::availability::Availability;
use trunkline_core::capacity_wait::wait_until;
use trunkline_core::failure::{Action, Attempts, Situation, after_interrupt};
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::final_answer::{FinalAnswer, final_answer};
use trunkline_core::ids::CredentialId;
use trunkline_core::secret::TokenDigest;
use trunkline_core::selection::{NoCandidate, Outcome, Quota, moves_binding};

use super::Service;
use super::asked::Asked;
use super::examine::{AnswerTo, Examined, examine};
use super::failed::{Failed, What};
use super::socket::opened::{Opened, open};
use crate::client_connection::RequestGuard;
use crate::credential::{Credential, Held, Told};
use crate::failovers::Failover;
use crate::forward::{Answer, How, LostBy, Outgoing, Unanswered, forward};
use crate::upload::Upload;
use crate::upstream::Source;

/// What a request has tried.
pub(super) struct Tries {
    pub(super) id: Arc<str>,
    /// The credentials that are done with.
    pub(super) tried: Vec<CredentialId>,
    pub(super) was_bound: bool,
    /// How the credential was picked, if its user wants to know.
    pub(super) explanation: Option<String>,
    /// How often the request was sent, or was about to be.
    pub(super) count: u32,
    /// The credential that it was sent to last.
    pub(super) last: Option<Arc<str>>,
    pub(super) attempts: Attempts,
    /// With which tokens the present credential was tried.
    pub(super) tokens: AuthTries,
    /// The token that was used last.
    pub(super) token: Option<TokenDigest>,
    pub(super) has_hopped: bool,
    /// The last answer that the provider gave, and whose it was.
    last_answer: Option<(Answer, Arc<Credential>)>,
    /// What the client is told if there was no answer at all.
    pub(super) last_fault: Option<Fault>,
    /// Since when no credential has been usable.
    pub(super) waiting_since: Option<SystemTime>,
    /// Credentials that the provider calls disabled.
    pub(super) suspects: Vec<Arc<Credential>>,
}

/// How the tries ended.
pub(super) enum Ended {
    /// With an answer for the client.
    Answered(Answer, Arc<Credential>),
    /// With the WebSocket that was asked for.
    Opened(Box<Opened>, Arc<Credential>),
    /// With nothing that could be used.
    NoCandidate(NoCandidate),
    /// With an answer of ours.
    Fault(Fault),
}

/// How a try came out.
enum Came {
    Fine(Answer),
    Opened(Box<Opened>),
    Failed(Failed),
    Interrupted,
    /// A WebSocket was asked for where there is none.
    NoSocket,
    Fault(Fault),
}

/// What is done next.
pub(super) enum Next {
    /// The same credential, over a new connection or not.
    Again { fresh: bool },
    /// Another one.
    Other,
    /// Whatever becomes usable while the request may wait.
    Wait,
    /// Nothing.
    Ended(Box<Ended>),
}

/// What all tries of a request have in common.
pub(super) struct Request<'a> {
    pub(super) asked: &'a Asked,
    pub(super) upload: &'a Arc<Upload>,
    pub(super) outgoing: &'a Outgoing<'a>,
}

impl Tries {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            tried: Vec::new(),
            was_bound: false,
            explanation: None,
            count: 0,
            last: None,
            attempts: Attempts::default(),
            tokens: AuthTries::default(),
            token: None,
            has_hopped: false,
            last_answer: None,
            last_fault: None,
            waiting_since: None,
            suspects: Vec::new(),
        }
    }

    /// The present credential is done with.
    pub(super) fn leave(&mut self, credential: &Credential) {
        self.tried.push(credential.id());
        self.tokens = AuthTries::default();
    }

    /// Keeps the last answer, for the client if there is no better one. One that is replaced and has been read whole gives
    /// its connection back.
    pub(super) fn keep(&mut self, answer: Answer, credential: &Arc<Credential>) {
        if let Some((before, _)) = self.last_answer.replace((answer, Arc::clone(credential))) {
            discard(before);
        }
    }
}

impl Service {
    /// Tries until the request has its answer.
    pub(super) async fn attempt(
        &self,
        request: &Request<'_>,
        tries: &mut Tries,
        guard: &mut RequestGuard,
    ) -> Ended {
        let mut again: Option<(Arc<Credential>, bool)> = None;
        loop {
            let (credential, fresh, now) = match again.take() {
                Some((credential, fresh)) => (credential, fresh, SystemTime::now()),
                None => match self.pick(request.asked, tries).await {
                    Ok((credential, now)) => {
                        guard.count_for_credential(credential.activity());
                        tries.last = Some(Arc::clone(credential.tag()));
                        if !tries.tried.is_empty() {
                            self.live.failovers.went_to(&tries.id, credential.tag());
                        }
                        (credential, false, now)
                    }
                    Err(none) => return finish(tries, Some(none)),
                },
            };
            let held = match credential.live().held(now) {
                Some(held) => Ok(held),
                None => credential.live().authorization().await,
            };
            let Ok(held) = held else {
                tries.leave(&credential);
                continue;
            };
            tries.count += 1;
            tries.token = Some(held.token);
            let next = match self.try_once(request, &credential, &held, tries, guard, fresh).await {
                Came::Fine(answer) => {
                    self.on_answer_passed_on(request.asked, tries, &answer, &credential);
                    return Ended::Answered(answer, credential);
                }
                Came::Opened(opened) => {
                    let status = StatusCode::SWITCHING_PROTOCOLS;
                    self.on_passed_on(
                        request.asked,
                        tries,
                        (status, &opened.headers, opened.at),
                        &credential,
                    );
                    return Ended::Opened(opened, credential);
                }
                Came::Fault(fault) => return Ended::Fault(fault),
                Came::NoSocket => {
                    tries.attempts.act(Action::Next);
                    self.note_failover(tries, &credential, "no_websocket");
                    tries.last_fault = Some(Fault::new(
                        FaultKind::UpgradeRequired,
                        "no credential can carry a WebSocket: use HTTP",
                    ));
                    Next::Other
                }
                Came::Interrupted => {
                    tries.attempts.act(Action::Next);
                    self.note_failover(tries, &credential, "interrupted");
                    Next::Other
                }
                // Rare, and large.
                Came::Failed(failed) => Box::pin(self.on_failed(request, &credential, tries, failed)).await,
            };
            match next {
                Next::Again { fresh } => again = Some((credential, fresh)),
                Next::Other => tries.leave(&credential),
                // It was left already, and the selection waits.
                Next::Wait => {}
                Next::Ended(ended) => {
                    if let Ended::Answered(answer, credential) = &*ended {
                        self.on_answer_passed_on(request.asked, tries, answer, credential);
                    }
                    return *ended;
                }
            }
        }
    }

    async fn try_once(
        &self,
        request: &Request<'_>,
        credential: &Arc<Credential>,
        held: &Held,
        tries: &Tries,
        guard: &RequestGuard,
        fresh: bool,
    ) -> Came {
        let token = held.token;
        let mut sent = pin!(forward(
            self.provider,
            credential,
            held,
            request.outgoing,
            request.upload,
            guard.connection(),
            How { fresh, left_out: self.foreign_state(request, credential, tries) },
        ));
        let answer = if request.asked.pool.members().len() > 1 {
            tokio::select! {
                biased;
                answer = &mut sent => answer,
                () = self.interrupted(request, credential, tries) => return Came::Interrupted,
            }
        } else {
            sent.await
        };
        let failed = |what| Came::Failed(Failed { what, answer: None, token });
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(Unanswered::Fault(fault)) => return Came::Fault(fault),
            Err(Unanswered::NotSent { by, detail }) => {
                return failed(What::NotSent { by, detail });
            }
            Err(Unanswered::Lost { how, detail }) => return failed(What::Lost { how, detail }),
            Err(Unanswered::NoHead) => return failed(What::NoHead),
        };
        if request.outgoing.socket.is_some() {
            match answer.response.status() {
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Box::pin(open(answer, credential)).await.map_or(Came::NoSocket, Came::Opened);
                }
                status if is_without_sockets(status) => return Came::NoSocket,
                _ => {}
            }
        }
        let model = || request.asked.model.clone().or_else(|| request.upload.model());
        let to = AnswerTo {
            method: &request.outgoing.method,
            accepts_stream: request.asked.accepts_stream,
            upload: request.upload,
            is_api_key: credential.is_api_key(),
        };
        match examine(self.provider, &mut answer, to, model).await {
            Examined::Fine => Came::Fine(answer),
            Examined::Lost => failed(What::Lost {
                how: LostBy::EmptyStream,
                detail: "the stream ended before it began".to_owned(),
            }),
            Examined::Failed { error, is_first_event, refusal } => Came::Failed(Failed {
                what: What::Answer { error, is_first_event, refusal },
                answer: Some(answer),
                token,
            }),
        }
    }

    /// The header whose value another credential issued, if the request has one (codex.md, *Turn state*). Where it is not
    /// known who did, it was the one that the session is bound to.
    fn foreign_state(
        &self,
        request: &Request<'_>,
        credential: &Credential,
        tries: &Tries,
    ) -> Option<&'static HeaderName> {
        let name = self.provider.credential_state()?;
        let state = request.outgoing.headers.credential_state()?;
        let is_own = match self.live.issued_states().issuer(state.as_bytes()) {
            Some(issuer) => issuer == credential.id(),
            None => tries.tried.is_empty() && (tries.was_bound || request.asked.pool.members().len() == 1),
        };
        (!is_own).then_some(name)
    }

    /// Ends when the request is to be tried elsewhere, since its credential would refuse it or let it wait for nothing.
    async fn interrupted(&self, request: &Request<'_>, credential: &Credential, tries: &Tries) {
        let mut interrupts = credential.live().interrupts();
        loop {
            // Also what happened since it was picked and was told before anybody listened.
            let (now, live) = (SystemTime::now(), credential.live());
            let would_be_refused = match request.asked.quota {
                Quota::Usual => live.is_interrupting(now),
                // Limits do not concern it.
                Quota::Slow | Quota::Nothing => matches!(live.state(now), Availability::Unavailable { .. }),
            };
            if would_be_refused
                && after_interrupt(&self.situation(request, credential, tries)) == Action::Next
            {
                return;
            }
            // The sender lives in the credential.
            let _ = interrupts.changed().await;
        }
    }

    pub(super) fn situation(
        &self,
        request: &Request<'_>,
        credential: &Credential,
        tries: &Tries,
    ) -> Situation {
        let mut tried = tries.tried.clone();
        tried.push(credential.id());
        Situation {
            attempts: tries.attempts,
            was_bound: tries.was_bound,
            is_replayable: request.upload.can_repeat(),
            has_others: matches!(self.look(request.asked, &tried), Outcome::Picked(_)),
            is_api_key: credential.is_api_key(),
            is_free: request.asked.quota == Quota::Nothing,
            now: SystemTime::now(),
        }
    }

    pub(super) fn note_failover(&self, tries: &Tries, credential: &Credential, reason: &'static str) {
        self.live.failovers.note(Failover {
            at: SystemTime::now(),
            from: Arc::clone(credential.tag()),
            to: None,
            reason,
            request: Arc::clone(&tries.id),
        });
    }

    fn on_answer_passed_on(
        &self,
        asked: &Asked,
        tries: &Tries,
        answer: &Answer,
        credential: &Arc<Credential>,
    ) {
        let head = (answer.response.status(), answer.response.headers(), answer.at);
        self.on_passed_on(asked, tries, head, credential);
    }

    /// An answer goes to the client: what that says of the credentials, and of the session's binding. `head`: its status and
    /// headers, and when they came.
    fn on_passed_on(
        &self,
        asked: &Asked,
        tries: &Tries,
        head: (StatusCode, &HeaderMap, SystemTime),
        credential: &Arc<Credential>,
    ) {
        let (status, headers, now) = head;
        if let Some(name) = self.provider.credential_state()
            && let Some(state) = headers.get(name)
        {
            self.live.issued_states().note(state.as_bytes(), credential.id());
        }
        let is_free = asked.quota == Quota::Nothing;
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            // What takes nothing may work where the rest does not.
            if !is_free {
                credential.live().on_answered(true);
            }
            credential.live().on_headers(self.provider, status, headers, now);
            for suspect in tries.suspects.iter().filter(|suspect| suspect.id() != credential.id()) {
                suspect.live().tell(Told::Disabled);
            }
        }
        if let Some(session) = &asked.session
            && !is_free
            && !tries.tried.is_empty()
            && moves_binding(tries.was_bound, tries.has_hopped)
        {
            let mut table = self.settings.bindings.table();
            if table.get(session, now).is_none_or(|bound| bound.credential != credential.id()) {
                let scope = asked.facts(&[], false).pool_scope();
                table.bind(session.clone(), credential.id(), scope, now);
            }
        }
    }
}

/// Whether this answer to a request for a WebSocket says that there is none (codex.md, *Connecting*), be it by serving
/// something else.
fn is_without_sockets(status: StatusCode) -> bool {
    !(status.is_client_error() || status.is_server_error())
        || matches!(
            status,
            StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::UPGRADE_REQUIRED
                | StatusCode::NOT_IMPLEMENTED
        )
}

/// Until when a request waits that found no candidate, if it may. The time runs from the first time.
pub(super) fn may_wait(none: &NoCandidate, asked: &Asked, tries: &mut Tries) -> Option<SystemTime> {
    let now = SystemTime::now();
    let began = *tries.waiting_since.get_or_insert(now);
    wait_until(none, asked.wait, began, now)
}

/// Nothing more is tried.
pub(super) fn finish(tries: &mut Tries, none: Option<NoCandidate>) -> Ended {
    let has_tried = tries.count > 0;
    let answer = tries.last_answer.take();
    match (final_answer(none.as_ref(), has_tried, answer.is_some()), none, answer) {
        (FinalAnswer::NoCandidate, Some(none), _) => Ended::NoCandidate(none),
        (FinalAnswer::LastUpstream, _, Some((answer, credential))) => Ended::Answered(answer, credential),
        _ => {
            Ended::Fault(tries.last_fault.take().unwrap_or_else(|| {
                Fault::new(FaultKind::UpstreamConnection, "no credential could be reached")
            }))
        }
    }
}

/// Lets go of an answer. If it has been read whole, its connection may serve others.
pub(super) fn discard(answer: Answer) {
    let is_whole = !answer.was_cut && http_body::Body::is_end_stream(answer.response.body());
    if let Source::Http1(connection) = answer.source
        && is_whole
    {
        answer.upstream.put_back(connection);
    }
}
