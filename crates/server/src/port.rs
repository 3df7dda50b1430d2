//! Whether a port could be listened on, for whoever asks before serving begins.

use std::io;
use std::net::SocketAddr;

use crate::listener;
use crate::port_holder::{self, Holder};

/// What stands in the way of listening on an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortState {
    /// Nothing.
    Free,
    /// Somebody listens there already; `None`: the system does not show who.
    Held(Option<Holder>),
    /// The system does not allow it.
    Refused(io::ErrorKind),
}

/// Looks, without listening: nobody can connect meanwhile.
pub fn port_state(address: SocketAddr, reuse_port: bool) -> PortState {
    let error = match listener::bound(address.ip(), address.port(), reuse_port) {
        Ok(_) => return PortState::Free,
        Err(error) => error.kind(),
    };
    match error {
        io::ErrorKind::AddrInUse => PortState::Held(port_holder::find(address)),
        kind => PortState::Refused(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_or_held_or_refused() {
        // No other test has this address, so that the port is free afterwards.
        let own = if cfg!(target_os = "linux") { "127.0.0.79:0" } else { "127.0.0.1:0" };
        let listener = std::net::TcpListener::bind(own).unwrap();
        let address = listener.local_addr().unwrap();
        let PortState::Held(holder) = port_state(address, false) else { panic!("free") };
        if cfg!(target_os = "linux") {
            assert_eq!(holder.map(|holder| holder.process), Some(std::process::id()));
        }
        drop(listener);
        assert_eq!(port_state(address, false), PortState::Free);
        // Looking leaves nothing behind.
        std::net::TcpListener::bind(address).unwrap();
        let foreign = "192.0.2.1:8787".parse().unwrap();
        assert_eq!(port_state(foreign, false), PortState::Refused(io::ErrorKind::AddrNotAvailable));
    }
}
