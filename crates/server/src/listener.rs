//! A listening socket and its accept loop.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use trunkline_core::client_address;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_engine::client_connection::ClientConnection;

use crate::connection::Protocol;
use crate::connection_limit::{ConnectionLimit, Slot};
use crate::drain::Drain;
use crate::front::{CurrentFront, Front};
use crate::workers::Workers;

/// Connections that the system may hold ready for us.
const BACKLOG: i32 = 1_024;

/// Longest time for a TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// The wait after a failure to accept, such as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Opens a listening socket.
pub(crate) fn bind(address: IpAddr, port: u16, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = bound(address, port, reuse_port)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// A socket with an address, which does not listen yet.
pub(crate) fn bound(address: IpAddr, port: u16, reuse_port: bool) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(SocketProtocol::TCP))?;
    if matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified()) {
        // `::` takes IPv4 as well.
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the last connections of the process before; on Windows the option means another thing.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(unix))]
    let _ = reuse_port;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Opens a listening socket for an address of which another one of ours, which is about to close, holds a part: moving
/// from 127.0.0.1 to all addresses, say. Both must agree to share the port for that moment.
pub(crate) fn bind_beside(address: IpAddr, port: u16, held: &TcpListener) -> io::Result<TcpListener> {
    #[cfg(unix)]
    {
        socket2::SockRef::from(held).set_reuse_port(true)?;
        let socket = bind(address, port, true);
        let _ = socket2::SockRef::from(held).set_reuse_port(false);
        socket
    }
    #[cfg(not(unix))]
    {
        let _ = held;
        bind(address, port, false)
    }
}

/// How often refused connections are told: whoever makes them must not fill the log.
const TELL_REFUSED_EVERY: Duration = Duration::from_secs(1);

/// Connections that were refused since that was told last.
#[derive(Debug, Default)]
struct Refused {
    told: Option<Instant>,
    untold: u64,
}

impl Refused {
    /// Another one, at `now`. How many there were since the last line, this one included, if it is time for a line.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_REFUSED_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// A listener with everything its connections need.
pub(crate) struct Listener {
    pub(crate) socket: Arc<TcpListener>,
    pub(crate) fronts: CurrentFront,
    pub(crate) limit: Arc<ConnectionLimit>,
    pub(crate) workers: Arc<Workers>,
}

impl Listener {
    /// Accepts until `drain` is stopped. Connections run in `tasks`.
    pub(crate) async fn run(self, tasks: TaskTracker, drain: Drain) {
        let mut refused = Refused::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = drain.stopped() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let front = self.fronts.load_full();
            let address = peer.ip().to_canonical();
            let counted = (!client_address::is_trusted(address, &front.trusted_proxies)).then_some(address);
            let Some(slot) = self.limit.take(counted) else {
                if let Some(connections) = refused.count(Instant::now()) {
                    tracing::warn!(%peer, connections, "too many connections: refused");
                }
                refuse(&front, &stream);
                continue;
            };
            // Without it the p99 of a paced event grows by 20 ms (performance.md).
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "no TCP_NODELAY");
            }
            self.serve(stream, peer, slot, &tasks, &front);
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, slot: Slot, tasks: &TaskTracker, front: &Front) {
        // The socket moves to its worker's runtime.
        let Some((worker, placed)) = self.workers.place() else { return };
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%peer, %error, "a connection could not be taken over"),
        };
        let client = ClientConnection::new(peer);
        let (http, fronts, drain) = (front.http.clone(), Arc::clone(&self.fronts), front.connections.clone());
        match front.tls.clone() {
            None => {
                let serve = async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => http.serve(stream, client, fronts, Protocol::Sniff, drain).await,
                        Err(error) => tracing::warn!(%peer, %error, "a connection could not be taken over"),
                    }
                    drop((slot, placed));
                };
                tasks.spawn_on(serve, worker);
            }
            Some(acceptor) => {
                let serve = async move {
                    let stream = match TcpStream::from_std(stream) {
                        Ok(stream) => stream,
                        Err(error) => {
                            return tracing::warn!(%peer, %error, "a connection could not be taken over");
                        }
                    };
                    let handshake = tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream));
                    let shaken = tokio::select! {
                        shaken = handshake => shaken,
                        () = drain.aborted() => return,
                    };
                    let stream = match shaken {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
                        Err(_) => return tracing::debug!(%peer, "TLS handshake timed out"),
                    };
                    let protocol = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => Protocol::Http2,
                        Some(_) => Protocol::Http1,
                        None => Protocol::Sniff,
                    };
                    http.serve(stream, client, fronts, protocol, drain).await;
                    drop((slot, placed));
                };
                tasks.spawn_on(serve, worker);
            }
        }
    }
}

/// One write, as far as the socket takes it at once; nobody over the limit is waited for.
fn refuse(front: &Front, stream: &TcpStream) {
    if front.tls.is_none() {
        let fault =
            Fault::new(FaultKind::Overloaded, "this trunkline has too many connections: try again later");
        let _ = stream.try_write(&front.mounts.first().raw_refusal(&fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_connections_are_told_once_in_a_while_and_all_counted() {
        let (mut refused, now) = (Refused::default(), Instant::now());
        assert_eq!(refused.count(now), Some(1));
        assert_eq!([refused.count(now), refused.count(now)], [None, None]);
        assert_eq!(refused.count(now + TELL_REFUSED_EVERY), Some(3));
        assert_eq!(refused.count(now + TELL_REFUSED_EVERY), None);
    }
}
