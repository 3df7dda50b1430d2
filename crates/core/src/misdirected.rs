//! What a request was probably meant for that nothing serves: clients whose base URL has `/v1` or a service's prefix twice or
//! not at all, or that is another service's.
//!
//! Only a hint for a person follows from it; no request is served because of it.
//!
//! Spec: config.md, *Hints instead of silence*.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use crate::provider::{Provider, Route};

/// How many segments of a path are looked at. The longest that clients send has six.
const MAX_SEGMENTS: usize = 12;

/// How many characters of a path are repeated to the client, which sent it.
const MAX_SHOWN_PATH: usize = 200;

/// The part of every provider's paths that a base URL often has already, or lacks.
const VERSION: &str = "/v1";

/// A service of an address.
#[derive(Clone)]
pub struct Mounted {
    /// Its tag.
    pub tag: Arc<str>,
    /// The prefix of its paths, or empty.
    pub prefix: String,
    /// What it serves.
    pub provider: &'static dyn Provider,
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("tag", &self.tag)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What was probably meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant<'a> {
    /// A call of this service, by the position among those given, with this path behind its prefix.
    Service(usize, &'a str),
    /// The same, for whose path `/v1` has to be put in front.
    WithoutVersion(usize, &'a str),
    /// The path is right, and is served for this method.
    Method(&'static str),
}

/// What was probably meant by a request for `path`, which is normal and as the client sent it. `own`: the position of the
/// service that the path belongs to, which counts before the others.
pub fn meant<'a>(method: &Method, path: &'a str, services: &[Mounted], own: usize) -> Option<Meant<'a>> {
    let in_order = || {
        let others = (0..services.len()).filter(move |at| *at != own);
        std::iter::once(own).chain(others).filter_map(|at| services.get(at).map(|service| (at, service)))
    };
    for from in path.match_indices('/').map(|(at, _)| at).take(MAX_SEGMENTS) {
        let (before, rest) = path.split_at(from);
        for (at, service) in in_order() {
            let is_there = before == service.prefix;
            if !is_there && serves(service, method, rest) && can_go(before, rest, services) {
                return Some(Meant::Service(at, rest));
            }
            if is_there && let Some(method) = other_method(service, method, rest) {
                return Some(Meant::Method(method));
            }
        }
        for (at, service) in in_order() {
            if serves(service, method, &format!("{VERSION}{rest}")) && can_go(before, rest, services) {
                return Some(Meant::WithoutVersion(at, rest));
            }
        }
    }
    None
}

fn serves(service: &Mounted, method: &Method, path: &str) -> bool {
    matches!(
        service.provider.route(method, path),
        Route::Forward { .. } | Route::ForwardWithApiKey | Route::Socket | Route::Usage | Route::Discard
    )
}

/// The method for which a path is served that is not served for this one.
fn other_method(service: &Mounted, method: &Method, path: &str) -> Option<&'static str> {
    let served = |other: &Method| {
        other != method
            && matches!(service.provider.route(other, path), Route::Forward { .. } | Route::ForwardWithApiKey)
    };
    [(Method::POST, "POST"), (Method::GET, "GET")]
        .into_iter()
        .find(|(other, _)| served(other))
        .map(|(_, name)| name)
}

/// Whether what stands before a path that is served can be there by mistake. Below `/v1` there is much that is nobody's
/// mistake: `/v1/files/models` is a file.
fn can_go(before: &str, rest: &str, services: &[Mounted]) -> bool {
    let is_of_clients = |segment: &str| {
        let of_prefix = |service: &Mounted| service.prefix.split('/').any(|part| part == segment);
        matches!(segment, "" | "v1" | "messages" | "responses" | "chat" | "completions")
            || services.iter().any(of_prefix)
    };
    let is_below_version = before.split('/').any(|segment| segment == "v1");
    let starts_anew = rest == VERSION || rest.starts_with("/v1/");
    (!is_below_version && starts_anew) || before.split('/').all(is_of_clients)
}

/// The refusal of a path that is not served, as one sentence for what happened and one for what to do.
///
/// `path` is normal and as the client sent it; `may_be_allowed`: whether the option `paths` could admit it.
pub fn refusal(
    method: &Method,
    path: &str,
    services: &[Mounted],
    own: usize,
    origin: Option<&str>,
    may_be_allowed: bool,
) -> String {
    // What a client sent goes back to it only in part, and escaped by the envelope.
    let shown: String = path.chars().take(MAX_SHOWN_PATH).filter(|c| !c.is_control()).collect();
    let mut text = format!("trunkline does not serve {shown}");
    let meant = meant(method, path, services, own);
    let (at, right) = match meant {
        Some(Meant::Service(at, rest)) => (at, Cow::Borrowed(rest)),
        Some(Meant::WithoutVersion(at, rest)) => (at, Cow::Owned(format!("{VERSION}{rest}"))),
        Some(Meant::Method(method)) => {
            text.push_str(" by this method: use ");
            text.push_str(method);
            return text;
        }
        None => {
            if may_be_allowed {
                text.push_str(
                    ": clients do not need this path; the option \"paths\" of the user or of the service can allow it",
                );
            }
            return text;
        }
    };
    let Some(service) = services.get(at) else { return text };
    let mistake = mistake(path, &service.prefix, &right);
    let base = format!("{}{}", service.prefix, service.provider.base_path());
    let right: String = right.chars().take(MAX_SHOWN_PATH).filter(|c| !c.is_control()).collect();
    let _ = write!(
        text,
        ": {mistake}; the path of service {} is {}{right}, and its clients' base URL is {}{base}",
        service.tag,
        service.prefix,
        origin.unwrap_or("that of this address with the path "),
    );
    if base.is_empty() && origin.is_none() {
        text.push('/');
    }
    text
}

/// What is wrong with the path, in words.
fn mistake(path: &str, prefix: &str, right: &str) -> &'static str {
    let has_prefix = prefix.is_empty() || path == prefix || path.starts_with(&format!("{prefix}/"));
    let count = |part: &str| path.split('/').filter(|segment| *segment == part).count();
    if has_prefix && !prefix.is_empty() && path.starts_with(&format!("{prefix}{prefix}/")) {
        "it has the service's prefix twice"
    } else if count("v1") > 1 {
        "it has /v1 twice, since clients add it to their base URL themselves"
    } else if count("v1") == 0 && right.starts_with("/v1/") {
        if has_prefix { "it lacks /v1" } else { "it lacks /v1 and the service's prefix" }
    } else if !has_prefix && path == right {
        "it lacks the service's prefix"
    } else {
        "it has another path before the one that is served"
    }
}

/// Scheme and authority that a client used, as far as the request tells: for a message to that client alone.
pub fn origin(headers: &HeaderMap, uri: &Uri, is_tls: bool) -> Option<String> {
    let of_host = || headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(http::uri::Authority::as_str).or_else(of_host)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if host.is_empty() || host.len() > MAX_SHOWN_PATH || !host.bytes().all(is_plain) {
        return None;
    }
    // A proxy that speaks TLS for us says so.
    let is_tls = is_tls || headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    Some(format!("{}://{host}", if is_tls { "https" } else { "http" }))
}

#[cfg(test)]
mod tests;
