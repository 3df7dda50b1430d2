//! A service: what one configured front does with a request, stage by stage.
//!
//! `accept` (may it come in) → `authenticate` (whose is it) → `asked` (what the selection has to know) → `attempt` (`select`,
//! send, `examine`; again elsewhere) → relay → record.
//! Each stage takes what the one before it made, so that none can be left out.

mod accept;
mod asked;
mod attempt;
mod authenticate;
mod discard;
mod examine;
mod failed;
mod own;
mod pool;
pub mod rest;
mod select;
mod shortcut;
mod show;
mod socket;

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::watch;
use trunkline_core::auth::TokenTable;
use trunkline_core::client_address::Network;
use trunkline_core::event_cut::StreamLimits;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::ids::{ServiceId, UserId};
use trunkline_core::issued_states::IssuedStates;
use trunkline_core::misdirected::Mounted;
use trunkline_core::provider::{Provider, WANTED_SESSION};
use trunkline_core::scan::Wanted;
use trunkline_core::socket::Drops;
use trunkline_core::throttle::AuthThrottle;
use trunkline_core::{client_address, headers, request_id};

use self::asked::Asked;
use self::attempt::{Ended, Tries};
use self::examine::is_event_stream;
pub use self::pool::Pool;
use self::rest::Rest;
use crate::activity::Activity;
use crate::bindings::Bindings;
use crate::client_connection::{ClientConnection, RequestGuard};
use crate::client_headers::ClientHeaders;
use crate::credential::Credential;
use crate::decode::{BodyDecoder, ContentCoding, DecodeError, coding_of};
use crate::failovers::Failovers;
use crate::forward::{Answer, Outgoing, upload_fault};
use crate::memory_budget::{Holder, MemoryBudget, MemoryShare};
use crate::received_body::ReceivedBody;
use crate::record::Record;
use crate::relay::{Relay, ResponseBody};
use crate::upload::{Upload, UploadLimits};

/// Room for the headers that are set by us on an answer.
const OWN_HEADERS: usize = 16;

/// Largest map of headers that is kept for the next answer.
const MAX_SPARE: usize = 128;

thread_local! {
    /// An empty map of headers, whose memory the next answer takes, leaving that of its own.
    static SPARE: RefCell<HeaderMap> = RefCell::default();
}

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
    /// The number in the table of sessions.
    pub id: UserId,
    /// The position of the pool.
    pub pool: usize,
    /// Whether requests may go to external credentials.
    pub allow_external_usage: bool,
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
    /// How long a request may wait for a credential to become usable, if not as long as the service says.
    pub wait_for_capacity: Option<Duration>,
    /// Whether the user may ask how a credential was picked.
    pub explain: bool,
    /// Whether another instance stands behind the user (limits.md, *To a peer*).
    pub is_peer: bool,
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
    /// Whether its address speaks TLS.
    pub is_tls: bool,
    /// The services of its address, for hints to clients that ask at the wrong one.
    pub mounted: Arc<[Mounted]>,
    /// The position of this one among them.
    pub own_mount: usize,
    /// Further API paths allowed to everybody, as globs.
    pub paths: Vec<String>,
    /// Its users, in order.
    pub users: Vec<Arc<User>>,
    /// Users by token: positions in `users`.
    pub tokens: TokenTable<usize>,
    /// Its number in the table of sessions.
    pub id: ServiceId,
    /// Which credential serves which session.
    pub bindings: Arc<Bindings>,
    /// Its credentials; at least one.
    pub credentials: Vec<Arc<Credential>>,
    /// What users' requests go to; at least one.
    pub pools: Vec<Arc<Pool>>,
    /// How long a request may wait for a credential to become usable.
    pub wait_for_capacity: Duration,
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
    /// The memory that request bodies of all services share.
    pub memory: Arc<MemoryBudget>,
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
    failovers: Failovers,
    issued_states: Mutex<IssuedStates>,
    /// Changes when bindings were dropped so that their sessions go elsewhere.
    rebalanced: watch::Sender<u64>,
    /// Changes when another configuration is in force.
    configured: watch::Sender<u64>,
    /// Clients' WebSockets that were dropped so that they come again.
    drops: Mutex<Drops>,
}

impl LiveService {
    /// Another configuration is in force: what was begun under the one before ends at its next boundary.
    pub fn on_configured(&self) {
        self.configured.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Which credential issued which state.
    pub(crate) fn issued_states(&self) -> MutexGuard<'_, IssuedStates> {
        // Nothing in it can panic half way.
        self.issued_states.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// The requests that went on to another credential.
    pub fn failovers(&self) -> &Failovers {
        &self.live.failovers
    }

    /// Its settings.
    pub fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// The share of the memory for bodies that a request takes from.
    fn memory_of(&self, user: Option<&User>, address: IpAddr) -> MemoryShare {
        self.settings.memory.share_of(Holder::at(user.map(|user| user.id), address))
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
        let (parts, body) = request.into_parts();
        let mut rest = Rest::new(ReceivedBody::new(body, parts.version), &parts.headers);
        let mut response = self.respond(parts, &mut rest, client).await;
        if matches!(response.body(), ResponseBody::Own { .. }) {
            rest.settle(&mut response, client).await;
        }
        response
    }

    async fn respond(
        self: &Arc<Self>,
        mut parts: Parts,
        rest: &mut Rest,
        client: &Arc<ClientConnection>,
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let mut guard = client.begin_request(parts.version == http::Version::HTTP_2);
        let address = client_address::of(client.peer().ip(), &parts.headers, &self.settings.trusted_proxies);
        let id: Arc<str> = match request_id::from_client(&parts.headers) {
            Some(id) => id.into(),
            None => request_id::from_random(fastrand::u64(..)),
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
                return own::answer(self.provider.hello(), &under, guard);
            }
            Ok(accept::Accepted::Api(accepted)) => accepted,
            Ok(accept::Accepted::Socket(call)) => {
                let upgrade = parts.extensions.remove::<OnUpgrade>();
                // Large, and rare.
                return Box::pin(self.open_socket(&parts, call, upgrade, address, under, guard)).await;
            }
            Err(fault) => {
                if fault.kind == FaultKind::Framing {
                    rest.refuse();
                }
                // What a browser asks for a page is refused as operations.md has it.
                let facts = self
                    .provider
                    .sockets()
                    .filter(|_| fault.kind != FaultKind::WebPage && accept::asks_for_websocket(&parts));
                return match facts {
                    Some(facts) => self.refuse_socket(facts, &fault, under, guard),
                    None => self.refuse(&fault, under, guard),
                };
            }
        };
        let authed = match self.authenticate(&parts.headers, accepted, address).await {
            Ok(authed) => authed,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        if let Some(record) = &mut under.record {
            record.user = authed.user.as_ref().map(|user| Arc::clone(&user.name));
        }
        if authed.call.asks_usage {
            return self.tell_usage(&authed, under, guard);
        }
        if authed.call.is_discarded {
            return self.discard(&parts.headers, rest.untouched(), under, guard).await;
        }
        if let Some(record) = &mut under.record {
            record.hints = self.provider.hints(&parts.headers);
        }
        let session = self.provider.session(&parts.headers, &[]);
        let mut wanted = self.provider.wanted();
        if session.is_some() {
            // What a header says need not be looked for in the body.
            wanted[WANTED_SESSION].fill(Wanted::Nothing);
        }
        let Some(body) = rest.take() else {
            let fault = Fault::new(FaultKind::InvalidRequest, "the request's body was read already");
            return self.refuse(&fault, under, guard);
        };
        let upload = Upload::new(
            body,
            coding_of(&parts.headers),
            wanted,
            self.settings.upload,
            &self.memory_of(authed.user.as_deref(), address),
            under.record.is_some() || authed.call.asks_model,
        );
        let upload = match upload {
            Ok(upload) => upload,
            Err(error) => return self.refuse(&upload_fault(error), under, guard),
        };
        rest.is_in(&upload);
        let asked = match self.ask(&authed, session, &upload, &parts.headers).await {
            Ok(asked) => asked,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        guard.count_for_service(&self.live.activity);
        // Large, and over when the answer begins: boxed, a connection does not hold room for it while it streams.
        Box::pin(self.exchange(authed.call, asked, upload, under, parts.method, parts.headers, guard)).await
    }

    fn tell_usage(
        &self,
        authed: &authenticate::Authed,
        mut under: Under,
        guard: RequestGuard,
    ) -> Response<ResponseBody> {
        let user = authed.user.as_deref();
        let pool = match self.pool_of(user) {
            Ok(pool) => pool,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        let usage = self.usage(pool, user.map(|user| &*user.name));
        if let Some(mut record) = under.record.take() {
            record.status = usage.status;
            record.bytes_out = usage.body.len() as u64;
            record.finish(crate::record::Outcome::Ok);
        }
        own::answer(usage, &under, guard)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a request, which go different ways from here"
    )]
    async fn exchange(
        &self,
        call: accept::ApiCall,
        asked: Asked,
        upload: Arc<Upload>,
        mut under: Under,
        method: http::Method,
        headers: HeaderMap,
        mut guard: RequestGuard,
    ) -> Response<ResponseBody> {
        let mut tries = Tries::new(Arc::clone(&under.id));
        let outgoing = Outgoing {
            method,
            target: call.target,
            headers: ClientHeaders::new(headers, call.head, self.provider.credential_state()),
            overrides: &self.settings.headers,
            socket: None,
        };
        let request = attempt::Request { asked: &asked, upload: &upload, outgoing: &outgoing };
        let ended = self.attempt(&request, &mut tries, &mut guard).await;
        self.describe(&mut under, &asked, &upload, &tries);
        let explanation = tries.explanation.take();
        let mut response = match ended {
            Ended::Answered(answer, credential) => {
                // Nothing is repeated once an answer is accepted.
                upload.release();
                let (shows, explanation) = (call.shows_limits, explanation.as_deref());
                return self.pass_on(answer, credential, shows, &asked, upload, under, guard, explanation);
            }
            Ended::NoCandidate(none) => self.refuse_for(&none, &asked, under, guard),
            Ended::Fault(fault) => self.refuse(&fault, under, guard),
            // What was asked for is none.
            Ended::Opened(..) => {
                let message = "the provider opened a WebSocket that nobody asked for";
                self.refuse(&Fault::new(FaultKind::UpstreamConnection, message), under, guard)
            }
        };
        own::set_explanation(response.headers_mut(), explanation.as_deref());
        response
    }

    /// An answer of the provider's, on its way to the client. `shows`: whether limits are shown on it.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of an answer, each of which has an owner of its own"
    )]
    fn pass_on(
        &self,
        mut answer: Answer,
        credential: Arc<Credential>,
        shows: bool,
        asked: &Asked,
        upload: Arc<Upload>,
        mut under: Under,
        guard: RequestGuard,
        explanation: Option<&str>,
    ) -> Response<ResponseBody> {
        let status = answer.response.status();
        let passthrough = asked.user.as_ref().is_some_and(|user| user.passthrough_limits);
        let cut = match self.limits_to_cut(&answer, credential.tag(), passthrough, &upload) {
            Ok(cut) => cut,
            Err(fault) => return self.refuse(&fault, under, guard),
        };
        let provided = std::mem::take(answer.response.headers_mut());
        let reason = answer.response.extensions_mut().remove::<hyper::ext::ReasonPhrase>();
        let mut record = under.record.take();
        if let Some(record) = &mut record {
            record.status = status;
            record.credential = Some(Arc::clone(credential.tag()));
            record.answered = Some(Instant::now());
        }
        // A pool of one stands for one account, as its client does.
        let is_alone = asked.pool.members().len() == 1;
        let is_limit_header = |name: &str| {
            !passthrough
                && self.provider.is_limit_header(name)
                && !(is_alone && self.provider.limit_facts().is_slow_header(name))
        };
        let mut response_headers = SPARE.with_borrow_mut(|spare| {
            let kept = headers::forwarded_response(provided, is_limit_header, OWN_HEADERS, spare);
            if spare.capacity() > MAX_SPARE {
                *spare = HeaderMap::new();
            }
            kept
        });
        if shows && !passthrough {
            for (name, value) in self.shown_headers(asked, status, answer.at).headers() {
                response_headers.insert(name, value.clone());
            }
        }
        own::set_request_id(&mut response_headers, &under.id);
        own::set_explanation(&mut response_headers, explanation);
        if !upload.is_received() && !guard.connection().is_http2() {
            // The provider answered early: what is still to come of the request may not come to its end before the answer does.
            rest::announce_end(&mut response_headers, guard.connection());
        }
        guard.connection().on_given(1);
        let mut relay = Relay::new(answer, credential, upload, self.settings.idle, record, guard);
        if !passthrough {
            relay.hide_limits(self.provider);
        }
        if let Some((limits, decoder)) = cut {
            // It becomes shorter, and is decoded where it has to be: the one case in which an encoding changes.
            response_headers = headers::without(response_headers, &CONTENT_LENGTH);
            if decoder.is_some() {
                response_headers = headers::without(response_headers, &CONTENT_ENCODING);
            }
            relay.cut_limits(limits, self.provider, decoder);
        }
        let mut response = Response::new(ResponseBody::Relay(Box::new(relay)));
        *response.status_mut() = status;
        *response.headers_mut() = response_headers;
        // The provider's own reason phrase, if it is not the usual one.
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        response
    }

    /// What has to be taken out of an answer, and what decodes it for that. An answer that has to be decoded and cannot be
    /// does not go to the client: nobody knows what of the account is in it.
    fn limits_to_cut(
        &self,
        answer: &Answer,
        tag: &str,
        passthrough: bool,
        upload: &Upload,
    ) -> Result<Option<(&'static StreamLimits, Option<BodyDecoder>)>, Fault> {
        let headers = answer.response.headers();
        let is_stream = answer.is_stream || is_event_stream(headers);
        let Some(limits) = self.provider.limit_facts().stream_limits().filter(|_| is_stream && !passthrough)
        else {
            return Ok(None);
        };
        let coding = coding_of(headers);
        if coding == ContentCoding::Identity {
            return Ok(Some((limits, None)));
        }
        if answer.unreadable() == Some(DecodeError::NoRoom) {
            return Err(Fault::new(
                FaultKind::Overloaded,
                "there is no room to decode the provider's answer at present",
            ));
        }
        if answer.unreadable().is_none() && coding != ContentCoding::Unknown {
            let decoder = BodyDecoder::new(coding, u64::MAX, upload.memory());
            return Ok(Some((limits, Some(decoder))));
        }
        let stated = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("none");
        let shown: String = stated.chars().take(100).collect();
        Err(Fault::new(
            FaultKind::UpstreamConnection,
            format!(
                "the provider answered credential {tag} in an encoding that trunkline cannot read: {shown}"
            ),
        ))
    }

    /// What the log wants to know of the request, as far as it has been seen in passing.
    fn describe(&self, under: &mut Under, asked: &Asked, upload: &Upload, tries: &Tries) {
        if let Some(record) = &mut under.record {
            let (_, model, places) = upload.facts();
            record.model = model.text().map(str::to_owned);
            record.session = match &asked.session {
                Some(session) => Some(session.session().to_owned()),
                None => self.provider.session(&HeaderMap::new(), &places),
            };
            record.bytes_in = upload.received();
            record.attempts = tries.count;
            record.credential.clone_from(&tries.last);
        }
    }
}
