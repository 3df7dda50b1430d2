//! Ports of this machine that a test can rely on, though other programs take ports meanwhile.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

/// Where [`free_port`] looks. Below the ports that systems give to whoever asks for any (Linux from 32768, others from 49152):
/// one of those may be some connection's own port before a test listens on it.
const FREE_PORTS: std::ops::Range<u16> = 10_000..30_000;

/// An address that refuses every connection, for as long as this is kept.
///
/// A port that was merely free a moment ago may be another test's by the time it is connected to.
#[derive(Debug)]
pub struct ClosedPort {
    addr: SocketAddr,
    _bound: Socket,
}

impl ClosedPort {
    /// Takes a port on the loopback address, and does not listen on it.
    pub fn new() -> io::Result<Self> {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let addr = bound.local_addr()?.as_socket();
        let addr = addr.ok_or_else(|| io::Error::other("a socket without an address"))?;
        Ok(Self { addr, _bound: bound })
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// A port that is free on every address, for a program that cannot be told to choose one. This process gets each only once.
pub fn free_port() -> io::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let _ = NEXT.compare_exchange(0, fastrand::u16(FREE_PORTS), Ordering::Relaxed, Ordering::Relaxed);
    for _ in FREE_PORTS {
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let span = FREE_PORTS.end - FREE_PORTS.start;
        let port = FREE_PORTS.start + at % span;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_closed_port_refuses_and_stays_taken() {
        let closed = ClosedPort::new().unwrap();
        let error = TcpStream::connect(closed.addr()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(TcpListener::bind(closed.addr()).is_err());
    }

    #[test]
    fn free_ports_are_given_once_and_can_be_listened_on() {
        let (one, other) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(one, other);
        for port in [one, other] {
            assert!(FREE_PORTS.contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
