//! Listeners that would be in each other's way.

use std::net::{IpAddr, SocketAddr};

use super::Reported;
use crate::diagnostic::{Report, Spot};
use crate::model::Tls;

/// What one listens on.
pub(super) struct Listener {
    /// `None` if that could not be read.
    pub(super) address: Option<SocketAddr>,
    /// The path prefix of a service; the admin listener shares its address with nobody.
    pub(super) path: Option<String>,
    pub(super) tls: Result<Option<Tls>, Reported>,
    /// Where to report a conflict.
    pub(super) spot: Spot,
    /// How to name it in a conflict that is reported elsewhere.
    pub(super) name: String,
}

/// Compares each with those before it, and reports the first conflict.
pub(super) fn check<'a>(listeners: impl Iterator<Item = &'a Listener>, report: &mut Report) {
    let mut before: Vec<&Listener> = Vec::new();
    for listener in listeners {
        if let Some(message) = before.iter().find_map(|other| conflict(listener, other)) {
            report.error(&listener.spot, message);
        }
        before.push(listener);
    }
}

fn conflict(new: &Listener, old: &Listener) -> Option<String> {
    let (address, taken) = (new.address?, old.address?);
    // With port 0 the system gives each its own.
    if address.port() != taken.port() || address.port() == 0 {
        return None;
    }
    let name = &old.name;
    if address.ip() != taken.ip() {
        return overlap(address.ip(), taken.ip()).then(|| {
            format!("{address} overlaps with {taken} of {name}; use another port, or the same address")
        });
    }
    match (&new.path, &old.path) {
        (Some(path), Some(used)) if path == used => Some(format!(
            "{name} listens on {address} too, with the same path; give each a path of its own, or another port"
        )),
        (Some(_), Some(_)) => match (&new.tls, &old.tls) {
            (Ok(tls), Ok(used)) if tls != used => Some(format!(
                "{name} listens on {address} too, with other TLS settings; they must be the same"
            )),
            _ => None,
        },
        _ => Some(format!("{name} listens on {address} already; use another port")),
    }
}

/// Whether listening on one address takes the other too. `::` is dual-stack.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    covers(one, other) || covers(other, one) || one.to_canonical() == other.to_canonical()
}
