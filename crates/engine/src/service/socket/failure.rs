//! A turn that fails in a way that another credential would not (codex.md, *A limit inside a turn*).

use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};

use http::StatusCode;
use trunkline_core::auth_recovery::Tries as AuthTries;
use trunkline_core::failure::{
    self, Action, Effect, ErrorFields, Failure, Repeat, Verdict, after_interrupt, judge,
};
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::final_answer::{FinalAnswer, final_answer};
use trunkline_core::limits::error_body::ErrorBody;
use trunkline_core::limits::{Refusal, RefusedAnswer};
use trunkline_core::selection::Outcome;
use trunkline_core::socket::AfterFailure;

use super::relay::{Event, Flow, Relay};
use super::signals::Signals;
use crate::credential::Told;
use crate::service::attempt::{self, Ended, Tries};
use crate::service::failed::{effect_of, recover};
use crate::websocket::{Data, Incoming};

/// What becomes of a turn that was to move.
enum Moved {
    /// That was done, or something else in its place.
    Done(Flow),
    /// Nothing: it stays where it is.
    Stays,
    /// There was nobody to take it.
    Refused(Box<Ended>),
}

impl Relay {
    /// An event of the provider's says that the turn has failed. `None`: it is passed on.
    pub(super) async fn on_failure(&mut self, data: &Data) -> Option<Flow> {
        let error = ErrorFields::from_body(&data.bytes);
        if self.facts.is_connection_age(&error) {
            return None;
        }
        let now = SystemTime::now();
        let provider = self.service.provider;
        let status = error.status.or_else(|| provider.failure_texts().status_of(&error));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let refusal = self.refusal(data, status, now);
        let mut situation = self.situation();
        situation.is_replayable = self.may_move();
        let verdict = judge(
            provider.failure_texts(),
            &Failure::Answer(failure::Answer {
                status: status.map_or(0, |status| status.as_u16()),
                error: &error,
                is_first_event: true,
                refusal: refusal.as_ref().map(|refusal| refusal.kind(now)),
            }),
            &situation,
        );
        tracing::debug!(
            credential = &**self.credential.tag(),
            reason = verdict.reason,
            action = ?verdict.action,
            status = status.map(|status| status.as_u16()),
            "a turn failed"
        );
        self.tell(data, &verdict, refusal, now).await;
        let turn = self.turn.as_mut()?;
        if let Some(status) = status {
            turn.set_status(status);
        }
        turn.tries.attempts.note(&verdict);
        if verdict.effect == Effect::MaybeDisabled {
            turn.tries.suspects.push(Arc::clone(&self.credential));
        }
        let mut action = verdict.action;
        if action == Action::AuthRecovery {
            action = recover(&self.credential, self.token, &mut turn.tries, &situation).await;
        } else if verdict.effect == Effect::AuthFailed {
            self.credential.live().on_refused(self.token, turn.tries.tokens);
        }
        match action {
            Action::Next | Action::Hop => {
                turn.tries.has_hopped |= action == Action::Hop;
                turn.tries.leave(&self.credential);
            }
            Action::Repeat(Repeat::NewToken) => {}
            Action::End if !turn.has_output => return self.on_last_failure(),
            _ => return None,
        }
        match self.move_turn(verdict.reason, action == Action::Hop).await {
            Moved::Done(flow) => Some(flow),
            Moved::Stays => None,
            Moved::Refused(ended) => match *ended {
                Ended::NoCandidate(none) => {
                    let refusal = self.service.no_candidate(&none, &self.asked, "").ok()?;
                    Some(self.refuse_turn_for(refusal))
                }
                // The provider's own words say more than that nobody else could be reached.
                Ended::Fault(_) | Ended::Answered(..) | Ended::Opened(..) => None,
            },
        }
    }

    /// The provider was the first to end the connection. A turn of which nothing has come yet goes on elsewhere, as a request
    /// does whose connection was lost before its answer began; but not where the provider only does what ends any connection:
    /// it is over (1000), or the server goes away (1001), and the client comes again by itself.
    pub(super) async fn on_upstream_gone(&mut self, end: Incoming) -> Flow {
        let is_usual = match &end {
            Incoming::Close(payload) => {
                matches!(payload.first_chunk().map(|code| u16::from_be_bytes(*code)), Some(1000 | 1001))
            }
            Incoming::Lost => false,
            _ => true,
        };
        if is_usual || self.turn.is_none() {
            return Flow::Ended(Event::Upstream(end));
        }
        let mut situation = self.situation();
        situation.is_replayable = self.may_move();
        let verdict = judge(self.service.provider.failure_texts(), &Failure::Lost, &situation);
        if let Some(turn) = &mut self.turn
            && verdict.action == Action::Hop
        {
            turn.tries.attempts.note(&verdict);
            turn.tries.has_hopped = true;
            turn.tries.leave(&self.credential);
            if let Some(told) = effect_of(&verdict, self.asked.model.as_deref()) {
                self.credential.live().tell_and_wait(told).await;
            }
            if let Moved::Done(flow) = self.move_turn(verdict.reason, true).await {
                return flow;
            }
        }
        Flow::Ended(Event::Upstream(end))
    }

    /// Nobody else is there. Where all are limited, it is told as it is for all of them; else in the provider's own words.
    fn on_last_failure(&mut self) -> Option<Flow> {
        let turn = self.turn.as_mut()?;
        turn.tries.leave(&self.credential);
        let Outcome::None(none) = self.service.look(&self.asked, &turn.tries.tried) else { return None };
        if final_answer(Some(&none), true, true) != FinalAnswer::NoCandidate {
            return None;
        }
        let refusal = self.service.no_candidate(&none, &self.asked, "").ok()?;
        Some(self.refuse_turn_for(refusal))
    }

    /// The credential would refuse the turn, or let it wait for nothing.
    pub(super) async fn on_interrupt(&mut self) -> Flow {
        let mut situation = self.situation();
        situation.is_replayable = self.may_move();
        if after_interrupt(&situation) != Action::Next {
            return Flow::On;
        }
        if let Some(turn) = &mut self.turn {
            turn.tries.attempts.act(Action::Next);
            turn.tries.leave(&self.credential);
        }
        match self.move_turn("interrupted", false).await {
            Moved::Done(flow) => flow,
            // What it waits for may still come.
            Moved::Stays | Moved::Refused(_) => Flow::On,
        }
    }

    /// The credential cannot serve the turn that has just begun.
    pub(super) async fn on_unusable(&mut self) -> Flow {
        let tried = [self.credential.id()];
        if let Outcome::None(_) = self.service.look(&self.asked, &tried) {
            return match self.service.look(&self.asked, &[]) {
                Outcome::None(none) => self.refuse_ended(Ended::NoCandidate(none)),
                // It is usable again.
                Outcome::Picked(_) | Outcome::AwaitRefresh(_) => self.refuse_ended(lost()),
            };
        }
        if !self.may_move() {
            return self.refuse_ended(lost());
        }
        if let Some(turn) = &mut self.turn {
            turn.tries.leave(&self.credential);
        }
        match self.move_turn("unusable", false).await {
            Moved::Done(flow) => flow,
            Moved::Stays => self.refuse_ended(lost()),
            Moved::Refused(ended) => self.refuse_ended(*ended),
        }
    }

    fn refuse_ended(&mut self, ended: Ended) -> Flow {
        let fault = match ended {
            Ended::NoCandidate(none) => match self.service.no_candidate(&none, &self.asked, "") {
                Ok(refusal) => return self.refuse_turn_for(refusal),
                Err(fault) => fault,
            },
            Ended::Fault(fault) => fault,
            Ended::Answered(answer, _) => Fault::new(
                FaultKind::UpstreamConnection,
                format!("the provider refused the WebSocket: {}", answer.response.status()),
            ),
            Ended::Opened(..) => return self.refuse_ended(lost()),
        };
        self.refuse_turn(&fault)
    }

    fn refusal(&self, data: &Data, status: Option<StatusCode>, now: SystemTime) -> Option<Refusal> {
        let status = status.filter(|status| *status == StatusCode::TOO_MANY_REQUESTS)?;
        let answer = RefusedAnswer {
            status,
            headers: &self.facts.event_headers(&data.bytes),
            error: &ErrorBody::parse(&data.bytes),
            model: self.asked.model.as_deref(),
            is_api_key: self.credential.is_api_key(),
        };
        self.service.provider.limit_facts().refusal(&answer, now)
    }

    fn situation(&self) -> failure::Situation {
        let outgoing = self.way.outgoing(&self.service);
        let request = attempt::Request { asked: &self.asked, upload: &self.way.upload, outgoing: &outgoing };
        match &self.turn {
            Some(turn) => self.service.situation(&request, &self.credential, &turn.tries),
            None => self.service.situation(&request, &self.credential, &Tries::new("".into())),
        }
    }

    /// Whether the turn could go on elsewhere without the client noticing.
    fn may_move(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| {
            let can = if turn.has_previous { self.asked.session.is_some() } else { turn.kept.is_some() };
            can && !turn.has_output
        })
    }

    /// Tells the credential's keeper what became of it, and waits until that counts.
    async fn tell(&mut self, data: &Data, verdict: &Verdict, refusal: Option<Refusal>, now: SystemTime) {
        let live = self.credential.live();
        let readings = self.service.provider.limit_facts().read_event(&data.bytes, now);
        let model = self.asked.model.clone();
        let told = match refusal {
            Some(refusal)
                if matches!(verdict.effect, Effect::RateLimited { .. } | Effect::Blocked { .. }) =>
            {
                Some(Told::Refused { readings, refusal, model })
            }
            _ => {
                let has_readings = readings.is_worth_telling();
                effect_of(verdict, model.as_deref())
                    .or_else(|| has_readings.then_some(Told::Readings(readings)))
            }
        };
        if let Some(told) = told {
            live.tell_and_wait(told).await;
        }
    }

    /// Has the turn go on with another credential, or with another token of the same.
    async fn move_turn(&mut self, reason: &'static str, is_hop: bool) -> Moved {
        if !self.may_move() {
            return Moved::Stays;
        }
        let session = self.asked.session.clone();
        let drops = &self.service.live.drops;
        let may_drop = || {
            session.as_ref().is_some_and(|session| {
                drops.lock().unwrap_or_else(PoisonError::into_inner).take(session, Instant::now())
            })
        };
        let strips = match self.turns.after_failure(may_drop) {
            AfterFailure::PassOn => return Moved::Stays,
            AfterFailure::DropClient(end) => {
                if let (true, Some(session)) = (is_hop, &session) {
                    // It comes again at once, and would come here.
                    self.service.settings.bindings.table().unbind(session);
                }
                if let Some(turn) = &mut self.turn {
                    self.service.note_failover(&turn.tries, &self.credential, reason);
                    turn.set_detail(format!("dropped to come again elsewhere: {reason}"));
                }
                self.end_turn(Some(end), false);
                return Moved::Done(Flow::Drop);
            }
            AfterFailure::Resend { strips_turn_state } => strips_turn_state,
        };
        let Some(turn) = &mut self.turn else { return Moved::Stays };
        self.service.note_failover(&turn.tries, &self.credential, reason);
        turn.tries.tokens = AuthTries::default();
        let (service, abort) = (Arc::clone(&self.service), self.ending.abort.clone());
        let outgoing = self.way.outgoing(&service);
        let request = attempt::Request { asked: &self.asked, upload: &self.way.upload, outgoing: &outgoing };
        let attempt = Box::pin(service.attempt(&request, &mut turn.tries, &mut self.guard));
        let ended = tokio::select! {
            biased;
            () = abort.cancelled() => Ended::Fault(Fault::new(FaultKind::Unavailable, "trunkline is stopping")),
            ended = attempt => ended,
        };
        self.guard.count_no_more();
        match ended {
            Ended::Opened(opened, credential) => {
                let token = turn.tries.token;
                let Some(kept) = &turn.kept else { return Moved::Refused(Box::new(lost())) };
                let data = kept.data.clone();
                turn.set_status(StatusCode::OK);
                turn.set_credential(&credential);
                self.token = token.unwrap_or(self.token);
                self.signals = Signals::new(self.ending.clone(), &service.live, &credential);
                self.credential = credential;
                self.upstream = opened.socket;
                self.has_spoken = false;
                self.end_if_configured();
                let stripped = if strips { self.facts.without_turn_state(&data.bytes) } else { None };
                self.upstream.send(match stripped {
                    Some(bytes) => Data { is_text: data.is_text, bytes: bytes.into() },
                    None => data,
                });
                Moved::Done(Flow::On)
            }
            ended => Moved::Refused(Box::new(ended)),
        }
    }
}

/// The fault where something went that was there a moment ago.
fn lost() -> Ended {
    Ended::Fault(Fault::new(
        FaultKind::Unavailable,
        "the credential of this connection is not usable: connect again",
    ))
}
