//! A service: what one configured front does with a request, stage by stage.
//!
//! `accept` (may it come in) → `authenticate` (whose is it) → `select` (which credential) → forward → relay → record.
//! Each stage takes what the one before it made, so that none can be left out.

mod accept;
mod authenticate;
mod select;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use trunkline_core::auth::TokenTable;
use trunkline_core::auth_recovery::{Outcome as Recovered, Tries};
use trunkline_core::client_address::Network;
use trunkline_core::fault::Fault;
use trunkline_core::provider::{OwnAnswer, Provider};
use trunkline_core::throttle::AuthThrottle;
use trunkline_core::{client_address, headers, request_id};

use crate::activity::Activity;
use crate::client_connection::{ClientConnection, RequestGuard};
use crate::credential::Credential;
use crate::forward::{Answer, Outgoing, forward, upload_fault};
use crate::record::{Outcome, Record};
use crate::refused_token::refuses_authorization;
use crate::relay::{Relay, ResponseBody};
use crate::upload::{ReplayBudget, Upload, UploadLimits};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const REQUEST_ID: HeaderName = HeaderName::from_static(request_id::RESPONSE_HEADER);

/// Room for the headers that are set by us on a request or an answer.
const OWN_HEADERS: usize = 4;

/// What a user may do about modes that cost the account extra (claude.md, *Fast mode*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastMode {
    /// Only with a pool of one login or key.
    Single,
    /// Always.
    Allow,
    /// Never.
    Deny,
}

/// A user of a service.
#[derive(Debug)]
pub struct User {
    /// The name, in logs.
    pub name: Arc<str>,
    /// The position of the credential.
    pub credential: usize,
    /// Models allowed, as globs; empty: all.
    pub models: Vec<String>,
    /// Further API paths allowed, as globs.
    pub paths: Vec<String>,
    /// When the token stops being valid.
    pub expires: Option<SystemTime>,
    /// Whether the user is switched off.
    pub disabled: bool,
    /// What about modes that cost extra.
    pub fast_mode: FastMode,
    /// Whether the account's own limit headers are passed on.
    pub passthrough_limits: bool,
}

/// What a service is made of.
#[derive(Debug)]
pub struct ServiceSettings {
    /// Its name in logs.
    pub tag: Arc<str>,
    /// The prefix removed from paths, or empty.
    pub prefix: String,
    /// The TLS name it answers to.
    pub server_name: Option<String>,
    /// Its users, in order.
    pub users: Vec<Arc<User>>,
    /// Users by token: positions in `users`.
    pub tokens: TokenTable<usize>,
    /// Its credentials; at least one.
    pub credentials: Vec<Arc<Credential>>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Headers set on requests to the provider.
    pub headers: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// Longest head, in bytes of names and values.
    pub max_header: usize,
    /// Bounds of bodies and waits.
    pub upload: UploadLimits,
    /// Longest silence in the middle of an answer.
    pub idle: Duration,
    /// What the process may keep for repeats.
    pub replay_budget: Arc<ReplayBudget>,
}

/// A service, as one configuration has it.
#[derive(Debug)]
pub struct Service {
    provider: &'static dyn Provider,
    settings: ServiceSettings,
    live: Arc<LiveService>,
}

/// What of a service outlives a change of the configuration.
#[derive(Debug, Default)]
pub struct LiveService {
    throttle: Mutex<AuthThrottle>,
    activity: Arc<Activity>,
}

/// The request under way, as far as every stage needs it.
struct Under {
    /// An answer to HEAD has no body, which HTTP/2 leaves to us.
    is_head: bool,
    id: Arc<str>,
    record: Option<Box<Record>>,
}

impl Service {
    /// A service of this provider; `live` is that of the configuration before, if it was there.
    pub fn new(
        provider: &'static dyn Provider,
        settings: ServiceSettings,
        live: Arc<LiveService>,
    ) -> Arc<Self> {
        Arc::new(Self { provider, settings, live })
    }

    /// What outlives a change of the configuration.
    pub fn live(&self) -> &Arc<LiveService> {
        &self.live
    }

    /// What is under way in it.
    pub fn activity(&self) -> &Activity {
        &self.live.activity
    }

    /// Its settings.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Its provider.
    pub fn provider(&self) -> &'static dyn Provider {
        self.provider
    }

    /// Answers a request.
    pub async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        client: &Arc<ClientConnection>,
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let mut guard = client.begin_request(request.version() == http::Version::HTTP_2);
        let (parts, body) = request.into_parts();
        let address = client_address::of(client.peer().ip(), &parts.headers, &self.settings.trusted_proxies);
        let id: Arc<str> = match request_id::from_client(&parts.headers) {
            Some(id) => id.into(),
            None => request_id::from_random(fastrand::u64(..)).into(),
        };
        let mut under = Under {
            is_head: parts.method == http::Method::HEAD,
            record: Record::begin(&id, &self.settings.tag, address, started),
            id,
        };
        let accepted = match self.accept(&parts, client) {
            Ok(accept::Accepted::Hello) => {
                if let Some(mut record) = under.record.take() {
                    // Not worth a line: every client does it at every start.
                    record.discard();
                }
                return own_answer(self.provider.hello(), None, &under.id, under.is_head, guard);
            }
            Ok(accept::Accepted::Api(accepted)) => accepted,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        let authed = match self.authenticate(&parts.headers, accepted, address).await {
            Ok(authed) => authed,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        if let Some(record) = &mut under.record {
            record.user = authed.user.as_ref().map(|user| Arc::clone(&user.name));
        }
        let encoding = parts.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        let upload = Upload::new(
            body,
            encoding,
            self.provider.wanted(),
            self.settings.upload,
            Arc::clone(&self.settings.replay_budget),
            under.record.is_some(),
        );
        let upload = match upload {
            Ok(upload) => upload,
            Err(error) => return self.refuse(&upload_fault(error), under, guard),
        };
        let leased = match self.select(authed, &upload, &parts.headers).await {
            Ok(leased) => leased,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        guard.count_for(&self.live.activity, leased.credential.activity());
        if let Some(record) = &mut under.record {
            record.credential = Some(Arc::clone(leased.credential.tag()));
        }
        self.exchange(leased, upload, under, parts.method, parts.headers, guard).await
    }

    async fn exchange(
        &self,
        leased: select::Leased,
        upload: Arc<Upload>,
        mut under: Under,
        method: http::Method,
        headers: HeaderMap,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        // The session's place in the headers is read now, its place in the body once that has been seen.
        let session = under.record.as_ref().and_then(|_| self.provider.session(&headers, &[]));
        let mut outgoing = Outgoing {
            method,
            target: leased.target,
            headers: &headers,
            overrides: &self.settings.headers,
            held: leased.held,
        };
        let (answer, attempts) =
            self.send(&leased.credential, &mut outgoing, &upload, guard.connection()).await;
        self.describe(&mut under, session, &upload, attempts);
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        // Nothing is repeated once an answer is accepted.
        upload.release();
        let (head, incoming) = answer.response.into_parts();
        let mut record = under.record.take();
        if let Some(record) = &mut record {
            record.status = head.status;
            record.answered = Some(Instant::now());
        }
        let passthrough = leased.passthrough_limits;
        let mut response_headers = headers::forwarded_response(
            head.headers,
            |name| !passthrough && self.provider.is_limit_header(name),
            OWN_HEADERS,
        );
        set_request_id(&mut response_headers, &under.id);
        guard.connection().on_given(1);
        let upstream = Arc::clone(leased.credential.upstream());
        let relay = Relay::new(
            incoming,
            answer.source,
            answer.read_ahead,
            upstream,
            upload,
            self.settings.idle,
            record,
            guard,
        );
        let mut response = Response::new(ResponseBody::Relay(Box::new(relay)));
        *response.status_mut() = head.status;
        *response.headers_mut() = response_headers;
        // The provider's own reason phrase, if it is not the usual one.
        if let Some(reason) = head.extensions.get::<hyper::ext::ReasonPhrase>() {
            response.extensions_mut().insert(reason.clone());
        }
        response
    }

    /// Sends a request, and again on the same credential if its token was refused and another can be had. Gives the number
    /// of tries as well.
    async fn send(
        &self,
        credential: &Credential,
        outgoing: &mut Outgoing<'_>,
        upload: &Arc<Upload>,
        client: &Arc<ClientConnection>,
    ) -> (Result<Answer, Fault>, u32) {
        let mut total = 0;
        let mut tries = Tries::default();
        loop {
            let mut attempts = 0;
            let sent = forward(self.provider, credential, outgoing, upload, client, &mut attempts).await;
            total += attempts;
            let mut answer = match sent {
                Ok(answer) => answer,
                Err(fault) => return (Err(fault), total),
            };
            if !refuses_authorization(&mut answer).await {
                return (Ok(answer), total);
            }
            let (live, token) = (credential.live(), outgoing.held.token);
            if !upload.can_repeat() {
                // Too late for this request, but not for the next.
                live.on_refused(token, tries);
                return (Ok(answer), total);
            }
            match live.recover(token, tries).await {
                Recovered::Retry { after_refresh } => {
                    tries.after_refresh |= after_refresh;
                    tries.with_other_token |= !after_refresh;
                    match live.authorization().await {
                        Ok(held) => outgoing.held = held,
                        Err(_) => return (Ok(answer), total),
                    }
                }
                // There is no other credential to go to.
                Recovered::PassThrough | Recovered::NextCandidate => return (Ok(answer), total),
            }
        }
    }

    /// What the log wants to know of the body, as far as it has been seen in passing.
    fn describe(&self, under: &mut Under, session: Option<String>, upload: &Upload, attempts: u32) {
        if let Some(record) = &mut under.record {
            let (_, model, places) = upload.facts();
            record.model = model.text().map(str::to_owned);
            record.session = session.or_else(|| self.provider.session(&HeaderMap::new(), &places));
            record.bytes_in = upload.received();
            record.attempts = attempts;
        }
    }

    fn refuse(&self, fault: &Fault, under: Under, guard: RequestGuard) -> Response<ResponseBody> {
        if let Some(mut record) = under.record {
            record.status = fault.kind.status();
            record.detail = Some(match &fault.detail {
                Some(detail) => format!("{}: {}: {detail}", fault.kind.label(), fault.message),
                None => format!("{}: {}", fault.kind.label(), fault.message),
            });
            record.finish(Outcome::Refused);
        }
        own_answer(self.provider.error(fault, &under.id), Some(fault), &under.id, under.is_head, guard)
    }

    /// A refusal as raw bytes of HTTP/1.1, for a connection that is not served, or whose request has no readable head.
    pub fn raw_refusal(&self, fault: &Fault) -> Bytes {
        let answer = self.provider.error(fault, &request_id::from_random(fastrand::u64(..)));
        raw_answer(&answer, fault.kind.is_final())
    }
}

fn own_answer(
    answer: OwnAnswer,
    fault: Option<&Fault>,
    id: &Arc<str>,
    is_head: bool,
    guard: RequestGuard,
) -> Response<ResponseBody> {
    guard.connection().on_given(1);
    let mut response = Response::new(ResponseBody::Own { bytes: None, guard });
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    if fault.is_some_and(|fault| fault.kind.is_final()) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    set_request_id(headers, id);
    if let ResponseBody::Own { bytes, .. } = response.body_mut() {
        *bytes = (!is_head && !answer.body.is_empty()).then_some(answer.body);
    }
    response
}

fn raw_answer(answer: &OwnAnswer, is_final: bool) -> Bytes {
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

fn set_request_id(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
}
