//! Answers of our own.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use trunkline_core::availability::BlockReason;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::final_answer::{RefusedFor, refuse};
use trunkline_core::limits::provider::answer_headers;
use trunkline_core::provider::OwnAnswer;
use trunkline_core::request_id;
use trunkline_core::selection::{Fact, NoCandidate};
use trunkline_core::socket::SocketFacts;

use super::asked::{Asked, EXPLAIN};
use super::show::Headers;
use super::{Service, Under};
use crate::client_connection::RequestGuard;
use crate::handshake;
use crate::record::Outcome;
use crate::relay::ResponseBody;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const REQUEST_ID: HeaderName = HeaderName::from_static(request_id::RESPONSE_HEADER);

/// An answer of our own to what no credential can serve.
pub(super) struct Refusal {
    pub(super) answer: OwnAnswer,
    pub(super) headers: Headers,
    /// What the client is told.
    pub(super) message: String,
    /// What the log says.
    pub(super) detail: String,
}

impl Service {
    pub(super) fn refuse(&self, fault: &Fault, under: Under, guard: RequestGuard) -> Response<ResponseBody> {
        let own = self.provider.error(fault, &under.id);
        Self::refuse_with(own, fault, under, guard)
    }

    /// Refuses a request for a WebSocket by the status on which its client acts at once.
    pub(super) fn refuse_socket(
        &self,
        facts: &dyn SocketFacts,
        fault: &Fault,
        under: Under,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        let own = self.provider.error(fault, &under.id);
        let status = facts.refusal_status(fault.kind);
        Self::refuse_with(OwnAnswer { status, ..own }, fault, under, guard)
    }

    fn refuse_with(
        own: OwnAnswer,
        fault: &Fault,
        mut under: Under,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        note(&mut under, &own, || match &fault.detail {
            Some(detail) => format!("{}: {}: {detail}", fault.kind.label(), fault.message),
            None => format!("{}: {}", fault.kind.label(), fault.message),
        });
        let mut response = answer(own, &under, guard);
        if fault.kind.is_final() {
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response
    }

    /// The answer to a request that no credential of its user's pool can serve (routing.md, *No candidate usable*).
    pub(super) fn refuse_for(
        &self,
        none: &NoCandidate,
        asked: &Asked,
        under: Under,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        match self.no_candidate(none, asked, &under.id) {
            Err(fault) => self.refuse(&fault, under, guard),
            Ok(refusal) => refused(refusal, under, guard),
        }
    }

    /// The same to a request for a WebSocket: that all are limited is told; where none can be used for another reason, the
    /// client is sent to HTTP, which has words for it.
    pub(super) fn refuse_socket_for(
        &self,
        facts: &dyn SocketFacts,
        none: &NoCandidate,
        asked: &Asked,
        under: Under,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        match self.no_candidate(none, asked, &under.id) {
            Err(fault) => self.refuse_socket(facts, &fault, under, guard),
            Ok(refusal) if facts.passes_refusal(refusal.answer.status) => refused(refusal, under, guard),
            Ok(refusal) => {
                let fault = Fault::new(FaultKind::Unavailable, refusal.message);
                self.refuse_socket(facts, &fault, under, guard)
            }
        }
    }

    /// The same, apart from how it is sent.
    pub(super) fn no_candidate(&self, none: &NoCandidate, asked: &Asked, id: &str) -> Result<Refusal, Fault> {
        let now = SystemTime::now();
        let none = &in_words(none, asked, now);
        let refused = refuse(none, asked.user_name(), asked.model.as_deref(), now);
        let kind = match refused.reason {
            RefusedFor::Limit | RefusedFor::Unavailable => None,
            RefusedFor::Permission => Some(FaultKind::Permission),
            RefusedFor::Model => Some(FaultKind::ModelNotServed),
            RefusedFor::NoApiKey => Some(FaultKind::InvalidRequest),
            RefusedFor::Transport => Some(FaultKind::UpgradeRequired),
        };
        if let Some(kind) = kind {
            return Err(Fault::new(kind, refused.message));
        }
        let refusal = refused.to_answer(none);
        let mut headers = answer_headers(&refusal);
        if refusal.is_limit {
            headers.extend(self.refusal_headers(asked, &refusal));
        }
        Ok(Refusal {
            answer: self.provider.limit_facts().no_candidate(&refusal, id, now),
            headers,
            detail: format!("{}: {}", none.why.label(), refusal.message),
            message: refusal.message,
        })
    }

    /// A refusal as raw bytes of HTTP/1.1, for a connection that is not served, or whose request has no readable head.
    pub fn raw_refusal(&self, fault: &Fault) -> Bytes {
        let answer = self.provider.error(fault, &request_id::from_random(fastrand::u64(..)));
        raw(&answer, fault.kind.is_final())
    }
}

fn refused(refusal: Refusal, mut under: Under, guard: RequestGuard) -> Response<ResponseBody> {
    note(&mut under, &refusal.answer, || refusal.detail);
    let mut response = answer(refusal.answer, &under, guard);
    for (name, value) in refusal.headers {
        response.headers_mut().insert(name, value);
    }
    response
}

fn note(under: &mut Under, own: &OwnAnswer, detail: impl FnOnce() -> String) {
    if let Some(mut record) = under.record.take() {
        record.status = own.status;
        record.detail = Some(detail());
        record.finish(Outcome::Refused);
    }
}

/// The same, with what the keepers know of refreshes that failed: their owners can do something about it.
fn in_words(none: &NoCandidate, asked: &Asked, now: SystemTime) -> NoCandidate {
    let cooldown = Fact::Blocked { reason: BlockReason::RefreshCooldown, until: None }.to_string();
    let mut none = none.clone();
    for (tag, state) in none.reasons.iter_mut().filter(|(_, state)| *state == cooldown) {
        let credential = asked.pool.members().iter().find(|member| **member.tag() == **tag);
        if let Some(why) = credential.and_then(|credential| credential.live().why_not(now)) {
            *state = why;
        }
    }
    none
}

/// An answer of our own to a request.
pub(super) fn answer(own: OwnAnswer, under: &Under, guard: RequestGuard) -> Response<ResponseBody> {
    guard.connection().on_given(1);
    let is_http2 = guard.connection().is_http2();
    let mut response = Response::new(ResponseBody::Own { bytes: None, guard });
    *response.status_mut() = own.status;
    let headers = response.headers_mut();
    if own.status == StatusCode::UPGRADE_REQUIRED {
        handshake::offer(headers, is_http2);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(own.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(own.body.len()));
    set_request_id(headers, &under.id);
    if let ResponseBody::Own { bytes, .. } = response.body_mut() {
        *bytes = (!under.is_head && !own.body.is_empty()).then_some(own.body);
    }
    response
}

fn raw(answer: &OwnAnswer, is_final: bool) -> Bytes {
    let status = answer.status;
    let mut raw = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n{}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or(""),
        answer.content_type,
        answer.body.len(),
        if is_final { "x-should-retry: false\r\n" } else { "" },
    )
    .into_bytes();
    raw.extend_from_slice(&answer.body);
    raw.into()
}

pub(super) fn set_request_id(headers: &mut HeaderMap, id: &Arc<str>) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
}

/// Tells a user who asked how the credential was picked.
pub(super) fn set_explanation(headers: &mut HeaderMap, explanation: Option<&str>) {
    if let Some(Ok(value)) = explanation.map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static(EXPLAIN), value);
    }
}
