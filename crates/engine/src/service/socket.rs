//! A client asks for a WebSocket: the upstream's is opened first, and then the client's answered (codex.md, *Connecting*).

mod ending;
mod failure;
pub(super) mod opened;
mod relay;
mod signals;
mod turn;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response};
use hyper::upgrade::OnUpgrade;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::headers;
use trunkline_core::selection::{Quota, Transport};
use trunkline_core::sessions::SessionKey;
use trunkline_core::socket::SocketFacts;

use self::opened::Opened;
use self::relay::{Relay, Start};
use super::accept::ApiCall;
use super::asked::Asked;
use super::attempt::{self, Ended, Tries};
use super::show::with_view;
use super::{OWN_HEADERS, Service, Under, own};
use crate::client_connection::{Continued, RequestGuard};
use crate::client_headers::ClientHeaders;
use crate::forward::Outgoing;
use crate::handshake::{self, Asked as Wanted};
use crate::record::Outcome;
use crate::relay::ResponseBody;
use crate::upload::Upload;
use crate::websocket::MAX_MESSAGE;

/// How an upstream's WebSocket is opened: at first, and again for another credential.
struct Way {
    facts: &'static dyn SocketFacts,
    target: PathAndQuery,
    headers: HeaderMap,
    upload: Arc<Upload>,
}

impl Way {
    fn outgoing<'a>(&'a self, service: &'a Service) -> Outgoing<'a> {
        Outgoing {
            method: Method::GET,
            target: self.target.clone(),
            headers: ClientHeaders::new(self.headers.clone(), None, service.provider.credential_state()),
            overrides: &service.settings.headers,
            socket: Some(self.facts),
        }
    }
}

impl Service {
    /// Answers a request for a WebSocket, and relays it.
    pub(super) async fn open_socket(
        self: &Arc<Self>,
        parts: &Parts,
        call: ApiCall,
        upgrade: Option<OnUpgrade>,
        address: IpAddr,
        mut under: Under,
        mut guard: RequestGuard,
    ) -> Response<ResponseBody> {
        let (Some(facts), Some(upgrade)) = (self.provider.sockets(), upgrade) else {
            let fault = Fault::new(FaultKind::UpgradeRequired, "there is no WebSocket here: use HTTP");
            return self.refuse(&fault, under, guard);
        };
        let authed = match self.authenticate(&parts.headers, call, address).await {
            Ok(authed) => authed,
            Err(fault) => return self.refuse_socket(facts, &fault, under, guard),
        };
        let user = authed.user.as_deref();
        if let Some(record) = &mut under.record {
            record.user = user.map(|user| Arc::clone(&user.name));
        }
        let wanted = Wanted::read(parts);
        let pool = self.pool_of(user);
        let (wanted, pool) = match (wanted, pool) {
            (Ok(wanted), Ok(pool)) => (wanted, pool),
            (Err(fault), _) | (_, Err(fault)) => return self.refuse_socket(facts, &fault, under, guard),
        };
        if let Err(fault) = self.check_fast_mode(user, pool, &parts.headers) {
            return self.refuse_socket(facts, &fault, under, guard);
        }
        let session = self.provider.session(&parts.headers, &[]);
        let session =
            session.and_then(|session| SessionKey::new(self.settings.id, user.map(|user| user.id), &session));
        let asked = Asked {
            user: authed.user.clone(),
            pool: Arc::clone(pool),
            model: None,
            session,
            needs_api_key: authed.call.needs_api_key,
            quota: Quota::Usual,
            transport: Transport::WebSocket,
            accepts_stream: false,
            wait: user.and_then(|user| user.wait_for_capacity).unwrap_or(self.settings.wait_for_capacity),
            explain: false,
        };
        let way = Way {
            facts,
            // A copy, since the target of a request keeps the whole buffer alive that its head was read into.
            target: authed.call.target.as_str().parse().unwrap_or(authed.call.target),
            headers: handshake::without_own(&parts.headers),
            upload: Upload::none(self.settings.upload),
        };
        guard.count_for_service(&self.live.activity);
        let configured = *self.live.configured.borrow();
        // Turn state that the client brings belongs to the credential that served its session last.
        let last = self.last_credential(&asked);
        let mut tries = Tries::new(Arc::clone(&under.id));
        let outgoing = way.outgoing(self);
        let request = attempt::Request { asked: &asked, upload: &way.upload, outgoing: &outgoing };
        let ended = Box::pin(self.attempt(&request, &mut tries, &mut guard)).await;
        drop(outgoing);
        self.describe(&mut under, &asked, &way.upload, &tries);
        let (opened, credential) = match ended {
            Ended::Opened(opened, credential) => (opened, credential),
            Ended::Answered(answer, credential) => {
                let status = answer.response.status();
                if facts.passes_refusal(status) {
                    return self.pass_on(answer, credential, true, &asked, way.upload, under, guard, None);
                }
                attempt::discard(answer);
                let message = format!("the provider refused the WebSocket with {status}: use HTTP");
                let fault = Fault::new(FaultKind::UpgradeRequired, message);
                return self.refuse_socket(facts, &fault, under, guard);
            }
            Ended::NoCandidate(none) => {
                return self.refuse_socket_for(facts, &none, &asked, under, guard);
            }
            Ended::Fault(fault) => return self.refuse_socket(facts, &fault, under, guard),
        };
        let Some(token) = tries.token else {
            let fault = Fault::new(FaultKind::UpstreamConnection, "the credential was lost");
            return self.refuse_socket(facts, &fault, under, guard);
        };
        let Opened { headers: provided, socket: upstream, .. } = *opened;
        let mut response = Response::new(ResponseBody::Nothing);
        *response.headers_mut() = self.granted_headers(provided, &asked, &under);
        facts.bound_messages(response.headers_mut(), MAX_MESSAGE);
        *response.status_mut() = wanted.grant(response.headers_mut());
        if let Some(mut record) = under.record.take() {
            record.status = response.status();
            record.answered = Some(Instant::now());
            record.finish(Outcome::Ok);
        }
        guard.connection().on_given(1);
        guard.count_no_more();
        let client = Arc::clone(guard.connection());
        let start = Box::new(Start {
            service: Arc::clone(self),
            way,
            asked,
            is_other_credential: last.is_some_and(|last| last != credential.id()),
            credential,
            token,
            id: Arc::clone(&under.id),
            address,
            guard,
            configured,
        });
        let continued = async move {
            // It fails when the client has gone.
            if let Ok(upgraded) = upgrade.await {
                Relay::new(*start, upgraded, upstream).run().await;
            }
        };
        match wanted {
            Wanted::Upgrade(_) => client.continue_as(Continued(Box::pin(continued))),
            // The connection goes on beside it, and takes it along when it ends.
            Wanted::Connect => drop(tokio::spawn(continued)),
        }
        response
    }

    /// The provider's headers that a client may see, with ours.
    fn granted_headers(&self, provided: HeaderMap, asked: &Asked, under: &Under) -> HeaderMap {
        let passthrough = asked.user.as_ref().is_some_and(|user| user.passthrough_limits);
        let is_ours = |name: &str| {
            name.starts_with("sec-websocket-")
                || name == CONTENT_LENGTH.as_str()
                || (!passthrough && self.provider.is_limit_header(name))
        };
        let mut granted = headers::forwarded_response(provided, is_ours, OWN_HEADERS, &mut HeaderMap::new());
        if !passthrough {
            let shown = with_view(asked, |view| self.provider.limit_facts().shown_headers(view));
            for (name, value) in shown {
                granted.insert(name, value);
            }
        }
        own::set_request_id(&mut granted, &under.id);
        granted
    }

    /// The credential that serves a session.
    fn last_credential(&self, asked: &Asked) -> Option<trunkline_core::ids::CredentialId> {
        let session = asked.session.as_ref()?;
        let table = self.settings.bindings.table();
        table.get(session, std::time::SystemTime::now()).map(|bound| bound.credential)
    }
}
