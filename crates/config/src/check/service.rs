//! A service as a whole.

use std::net::SocketAddr;
use std::time::Duration;

use super::listener::Listener;
use super::login::Login;
use super::{Context, credential, pool, tls, upstream, user};
use crate::defaults;
use crate::model::{ProviderKind, Service, Timeouts};
use crate::record::Record;

/// A service, and what of it has to be compared with others.
pub(super) struct Checked {
    /// `None` if something about it is wrong or not available.
    pub(super) model: Option<Service>,
    pub(super) listener: Listener,
    pub(super) logins: Vec<Login>,
}

/// The part of every API path that clients add themselves.
const VERSION: &str = "v1";

/// What describes the single credential of a service that lists none.
const SHORTHAND: [&str; 4] = ["credential_path", "claude_directory", "usages_path", "detour"];

/// Checks a service by itself.
pub(super) fn check(record: &Record, tag: String, context: &mut Context<'_>) -> Checked {
    let provider = match record.choice("type") {
        Some("ocm" | "codex") => ProviderKind::Codex,
        _ => ProviderKind::Claude,
    };
    let tls = tls::check(record.record("tls"), context);
    let listen = record.address("listen").unwrap_or(defaults::LISTEN);
    let listen_port = match record.integer("listen_port") {
        Some(port) => u16::try_from(port).ok(),
        None if record.stated("listen_port").is_some() => None,
        None => Some(defaults::LISTEN_PORT),
    };
    let readable = record.stated("listen").is_none() || record.entry("listen").is_some();
    let address = listen_port.filter(|_| readable).map(|port| SocketAddr::new(listen, port));
    let path = record.text("path").unwrap_or_default().to_owned();
    let listener = Listener {
        address,
        path: Some(path.clone()),
        tls: tls.clone(),
        spot: conflict_spot(record),
        name: record.spot.path.clone(),
    };

    if path.split('/').any(|segment| segment == VERSION) {
        let message = "has /v1 in it, which clients add to their base URL themselves: their requests would have it twice; \
                       leave it out here";
        context.report.warn(&record.spot_of("path"), message);
    }
    authentication(record, address, context);
    let detour = context.outbounds.detour(record, context.report);
    if let Some(layer) = record.record("upstream") {
        upstream::check(layer, None, provider, context.report);
    }

    let mut logins = Vec::new();
    let listed = record.entry("credentials").is_some_and(|entry| !entry.value.is_idle());
    let drafts = if listed {
        for name in SHORTHAND {
            if let Some(spot) = record.stated(name) {
                let message = "stands beside credentials; move it into the credential that it is about";
                context.report.error(spot, message);
            }
        }
        credential::listed(record, provider, &mut logins, context)
    } else {
        vec![credential::single(record, provider, detour, &mut logins, context)]
    };
    pool::check(&drafts, context);
    let users = user::check(record, &drafts, context);
    let pools = pool::build(&drafts);
    let credentials: Option<Vec<_>> = drafts
        .into_iter()
        .filter(|draft| draft.kind != credential::Kind::Balancer)
        .map(|draft| draft.build(record, provider))
        .collect();

    let number =
        |name, default| record.integer(name).map_or(Some(default), |number| usize::try_from(number).ok());
    let build = || {
        Some(Service {
            tag,
            provider,
            listen,
            listen_port: listen_port?,
            path,
            paths: record.owned_texts("paths"),
            tls: tls.ok()?,
            allow_unauthenticated: record.flag("allow_unauthenticated").unwrap_or(false),
            users: users?,
            credentials: credentials?,
            pools: pools?,
            headers: record.headers("headers").to_vec(),
            timeouts: timeouts(record.record("timeouts")),
            wait_for_capacity: record.duration("wait_for_capacity").unwrap_or_default(),
            max_body: record.integer("max_body").unwrap_or(defaults::MAX_BODY),
            replay_buffer: record.integer("replay_buffer").unwrap_or(defaults::REPLAY_BUFFER),
            max_connections: number("max_connections", defaults::MAX_CONNECTIONS)?,
            max_connections_per_address: number(
                "max_connections_per_address",
                defaults::MAX_CONNECTIONS_PER_ADDRESS,
            )?,
            max_header: number("max_header", defaults::MAX_HEADER)?,
        })
    };
    let model = build();
    if record.choice("type").is_none() {
        // What it is could not be read, so that its default login may be another.
        logins.clear();
    }
    Checked { model, listener, logins }
}

/// The field to change when this service is in another's way.
fn conflict_spot(record: &Record) -> crate::diagnostic::Spot {
    let stated = ["path", "listen_port", "listen"].into_iter().find_map(|name| record.stated(name));
    stated.unwrap_or(&record.spot).clone()
}

/// Without users anyone may use the service, which is for loopback only.
fn authentication(record: &Record, address: Option<SocketAddr>, context: &mut Context<'_>) {
    let open = record.entry("users").map_or(record.stated("users").is_none(), |entry| entry.value.is_idle());
    let allowed = record.flag("allow_unauthenticated").unwrap_or(false);
    let beyond_loopback = address.is_some_and(|address| !address.ip().to_canonical().is_loopback());
    if open && beyond_loopback && !allowed {
        let message = "listening beyond loopback without users is open to everyone; \
                       add users, or set allow_unauthenticated";
        context.report.error(&record.spot_of("listen"), message);
    }
    if !open && allowed {
        let message = "has no effect on a service with users: their tokens are needed all the same";
        context.report.warn(&record.spot_of("allow_unauthenticated"), message);
    }
}

fn timeouts(record: Option<&Record>) -> Timeouts {
    let or = |name, default: Duration| record.and_then(|record| record.duration(name)).unwrap_or(default);
    Timeouts {
        connect: or("connect", defaults::TIMEOUTS.connect),
        response_head: or("response_head", defaults::TIMEOUTS.response_head),
        idle: or("idle", defaults::TIMEOUTS.idle),
        request_body: or("request_body", defaults::TIMEOUTS.request_body),
    }
}
