//! First stage: may this request come in at all, and what is it for?

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::provider::Route;
use trunkline_core::{misdirected, request_head, target, web_guard};

use super::Service;
use crate::client_connection::ClientConnection;

/// A request that may come in.
pub(super) enum Accepted {
    /// Somebody looks whether we are there.
    Hello,
    /// A call of the provider's API.
    Api(ApiCall),
    /// A WebSocket is asked for.
    Socket(ApiCall),
}

/// A call of the provider's API.
pub(super) struct ApiCall {
    /// As the client sent it, without the service's prefix.
    pub(super) target: PathAndQuery,
    /// The bytes that it was read from, if they are known.
    pub(super) head: Option<Vec<u8>>,
    /// The path that an option must admit, where it is none of the clients' own.
    pub(super) needs_path: Option<NeededPath>,
    pub(super) asks_model: bool,
    /// Whether only an API key can serve it.
    pub(super) needs_api_key: bool,
    /// Whether the answer shows the limits of the user's pool.
    pub(super) shows_limits: bool,
    /// Whether it takes of a credential's windows. What only `paths` allow takes none of those that are known.
    pub(super) uses_quota: bool,
    /// Whether it asks for what the user's pool has used, which is not forwarded.
    pub(super) asks_usage: bool,
    /// Whether it is a report of the client's, which nobody reads.
    pub(super) is_discarded: bool,
}

/// A path that an option must admit.
pub(super) struct NeededPath {
    /// The path, without the service's prefix.
    pub(super) path: String,
    /// What is answered if none does.
    pub(super) refusal: Fault,
}

impl Service {
    pub(super) fn accept(&self, parts: &Parts, client: &Arc<ClientConnection>) -> Result<Accepted, Fault> {
        let invalid = |message: String| Fault::new(FaultKind::InvalidRequest, message);
        let head = (parts.version != http::Version::HTTP_2).then(|| client.take_head());
        if let Some(head) = &head
            && parts.headers.contains_key(TRANSFER_ENCODING)
            && head.is_contradictory()
        {
            return Err(Fault::new(
                FaultKind::Framing,
                "the request states the length of its body in two ways that contradict each other",
            ));
        }
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        request_head::check(parts.version, authority, &parts.headers)
            .map_err(|bad| Fault::new(FaultKind::Framing, bad.to_string()))?;
        let size: usize =
            parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if size > self.settings.max_header {
            return Err(Fault::new(
                FaultKind::HeadTooLarge,
                format!("the request's headers are over the limit of {} bytes", self.settings.max_header),
            ));
        }
        let check_host = self.settings.tokens.is_empty();
        web_guard::check(&parts.headers, authority, self.settings.server_name.as_deref(), check_host)
            .map_err(|foreign| Fault::new(FaultKind::WebPage, foreign.to_string()))?;

        let path = target::normal_path(parts.uri.path()).map_err(|bad| invalid(bad.to_string()))?;
        let whole = &path;
        let Some(path) = target::strip_prefix(whole, &self.settings.prefix) else {
            return Err(self.unknown(parts, whole, false));
        };
        let needed = || Some(NeededPath { path: path.to_owned(), refusal: self.unknown(parts, whole, true) });
        let (mut shows_limits, mut uses_quota, mut is_discarded) = (false, false, false);
        let (mut asks_usage, mut wants_socket, mut needs_api_key) = (false, false, false);
        let (asks_model, needs_path) = match self.provider.route(&parts.method, path) {
            Route::Hello => return Ok(Accepted::Hello),
            Route::Unknown => return Err(self.unknown(parts, whole, false)),
            Route::Forward { asks_model, shows_limits: shows, uses_quota: uses } => {
                (shows_limits, uses_quota) = (shows, uses);
                (asks_model, None)
            }
            Route::Usage => {
                asks_usage = true;
                (false, None)
            }
            Route::Discard => {
                is_discarded = true;
                (false, None)
            }
            Route::ForwardWithApiKey => {
                (needs_api_key, uses_quota) = (true, true);
                (true, None)
            }
            Route::Socket if asks_for_websocket(parts) => {
                // Where the body ends and the WebSocket begins would be a matter of opinion.
                if parts.version != http::Version::HTTP_2 && has_body(parts) {
                    return Err(invalid("a request for a WebSocket has no body".to_owned()));
                }
                (wants_socket, uses_quota) = (true, true);
                // Its messages name the model.
                (false, None)
            }
            Route::Socket => (false, needed()),
            // Whatever it is, if its body names a model then that model must be allowed.
            Route::OnlyIfAllowed => (parts.method == http::Method::POST, needed()),
        };
        // Of a tunnel's end nobody would know: its bytes are no messages (RFC 9110, 9.3.6).
        if parts.method == http::Method::CONNECT && !wants_socket {
            return Err(Fault::new(FaultKind::Framing, "CONNECT is served for WebSockets over HTTP/2 alone"));
        }
        let target =
            self.target(parts).ok_or_else(|| invalid("the request target is not valid".to_owned()))?;
        let given = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let head = head.and_then(|head| head.into_bytes_of(parts.method.as_str(), given));
        let call = ApiCall {
            target,
            head,
            needs_path,
            asks_model,
            needs_api_key,
            shows_limits,
            uses_quota,
            asks_usage,
            is_discarded,
        };
        Ok(if wants_socket { Accepted::Socket(call) } else { Accepted::Api(call) })
    }

    /// The refusal of a path that is not served, `path` with the service's prefix. `may_be_allowed`: whether an option could
    /// admit it.
    fn unknown(&self, parts: &Parts, path: &str, may_be_allowed: bool) -> Fault {
        let settings = &self.settings;
        let origin = misdirected::origin(&parts.headers, &parts.uri, settings.is_tls);
        let (mounted, own) = (&settings.mounted, settings.own_mount);
        let message =
            misdirected::refusal(&parts.method, path, mounted, own, origin.as_deref(), may_be_allowed);
        Fault::new(FaultKind::NotFound, message)
    }

    /// The target as received, without the prefix.
    fn target(&self, parts: &Parts) -> Option<PathAndQuery> {
        let target = parts.uri.path_and_query()?;
        if self.settings.prefix.is_empty() {
            return Some(target.clone());
        }
        let rest = target::strip_prefix(target.path(), &self.settings.prefix)?;
        match target.query() {
            Some(query) => format!("{rest}?{query}").try_into().ok(),
            None => rest.try_into().ok(),
        }
    }
}

/// Whether the request asks for a WebSocket: by `Upgrade` (RFC 6455), or over HTTP/2 by an extended CONNECT (RFC 8441).
pub(super) fn asks_for_websocket(parts: &Parts) -> bool {
    if parts.method == http::Method::CONNECT {
        return parts
            .extensions
            .get::<hyper::ext::Protocol>()
            .is_some_and(|protocol| protocol.as_str() == "websocket");
    }
    let upgrades = parts.headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    parts.version != http::Version::HTTP_2
        && upgrades.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case("websocket"))
}

/// Whether an HTTP/1.1 request has a body.
fn has_body(parts: &Parts) -> bool {
    parts.headers.contains_key(TRANSFER_ENCODING)
        || parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}
