//! Why an address cannot be listened on, and what to do about it: one line.

use std::io;
use std::net::SocketAddr;

use crate::port_holder;

/// Where another address or port is chosen.
const CHOOSE: &str = "choose another with --listen or listen_port";

/// Says why.
pub(crate) fn explain(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => match port_holder::find(address) {
            Some(holder) if holder.process == std::process::id() => {
                "the port is in use by another service of this configuration: change listen_port of one of them"
                    .to_owned()
            }
            Some(holder) => format!(
                "the port is in use by {} (process {}): stop it, or {CHOOSE}",
                holder.name, holder.process
            ),
            None => format!("the port is in use, perhaps by another trunkline: stop that, or {CHOOSE}"),
        },
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 need a privilege that this user does not have: {CHOOSE}, or grant CAP_NET_BIND_SERVICE"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address: change --listen or listen".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_what_to_do() {
        let address = "127.0.0.1:80".parse().unwrap();
        for (kind, words) in [
            (io::ErrorKind::PermissionDenied, "choose another with --listen or listen_port"),
            (io::ErrorKind::AddrNotAvailable, "change --listen or listen"),
        ] {
            let text = explain(address, &kind.into());
            assert!(text.contains(words) && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn a_port_of_our_own_is_told_to_be_one() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = explain(taken.local_addr().unwrap(), &io::ErrorKind::AddrInUse.into());
        if cfg!(target_os = "linux") {
            assert!(text.contains("another service of this configuration"), "{text}");
        }
        drop(taken);
    }
}
