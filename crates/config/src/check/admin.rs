//! The admin listener.

use std::net::SocketAddr;

use super::listener::Listener;
use super::{Context, tls};
use crate::defaults;
use crate::record::Record;

/// Checks it, and tells where it would listen.
pub(super) fn check(record: &Record, context: &mut Context<'_>) -> Listener {
    let listen = record.address("listen").unwrap_or(defaults::LISTEN);
    let tls = tls::check(record.record("tls"), context);
    let (token, digest) = (record.stated("token"), record.stated("token_sha256"));
    if let (Some(_), Some(spot)) = (token, digest) {
        context.report.error(spot, "stands beside token; give one of them");
    }
    if token.is_none() && digest.is_none() && !listen.to_canonical().is_loopback() {
        let message = "listening beyond loopback needs a token: set token or token_sha256";
        context.report.error(&record.spot_of("listen"), message);
    }
    let port = record.integer("listen_port").and_then(|port| u16::try_from(port).ok());
    Listener {
        address: port.map(|port| SocketAddr::new(listen, port)),
        path: None,
        tls,
        spot: record.spot_of("listen_port"),
        name: "the admin listener".to_owned(),
    }
}
