//! A scripted upstream: answers byte for byte as told, and records what it was asked.

mod behaviour;
mod event;
mod h1;
mod h2;
mod play;
mod request;
mod script;
mod tap;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub use behaviour::{Behaviour, Canned, Intake, on_head};
pub use event::{Event, EventKind};
pub(crate) use h2::reset_reason;
pub use request::{BodyEnd, ReceivedRequest, RequestHead, Version};
pub use script::{Cut, Script};

use crate::log::{Log, lock};
use crate::signal::bounded;
use crate::socket::Socket;
use crate::tls::{Alpn, Authority};

/// A server on a loopback port of its own, which ends when dropped.
pub struct Upstream {
    addr: SocketAddr,
    authority: Option<Authority>,
    /// What it calls itself, where that is not `localhost`.
    name: Option<String>,
    shared: Arc<Shared>,
    /// The next request for [`Upstream::next_head`].
    cursor: Mutex<usize>,
    accepting: JoinHandle<()>,
}

/// What the connections of an upstream share.
struct Shared {
    behaviour: Box<dyn Behaviour>,
    requests: Log<ReceivedRequest>,
    events: Arc<Log<Event>>,
    recording: AtomicBool,
}

impl Shared {
    fn events(&self) -> Option<Arc<Log<Event>>> {
        self.recording.load(Ordering::Relaxed).then(|| Arc::clone(&self.events))
    }

    fn admit(&self, head: RequestHead) -> ReceivedRequest {
        let events = self.events();
        let recorded = events.is_some();
        let request = ReceivedRequest::new(head, events);
        if recorded {
            request.event(EventKind::Head);
            self.requests.push(request.clone());
        }
        request
    }
}

#[derive(Clone)]
enum Wire {
    Http1,
    H2c,
    Tls(TlsAcceptor),
}

impl Upstream {
    /// HTTP/1.1 in clear text.
    pub async fn start(behaviour: impl Behaviour) -> io::Result<Self> {
        Self::listen(behaviour, Wire::Http1, None).await
    }

    /// HTTP/2 in clear text, by prior knowledge.
    pub async fn start_h2c(behaviour: impl Behaviour) -> io::Result<Self> {
        Self::listen(behaviour, Wire::H2c, None).await
    }

    /// TLS with a certificate for `localhost` and `127.0.0.1` of a new [`Authority`]; the protocol is what is
    /// agreed on among `alpn`, and HTTP/1.1 if nothing is.
    pub async fn start_tls(behaviour: impl Behaviour, alpn: &[Alpn]) -> io::Result<Self> {
        Self::start_tls_by(behaviour, alpn, &Authority::new()?).await
    }

    /// TLS with a certificate of an authority that others use too.
    pub async fn start_tls_by(
        behaviour: impl Behaviour,
        alpn: &[Alpn],
        authority: &Authority,
    ) -> io::Result<Self> {
        let acceptor = TlsAcceptor::from(authority.server_config(alpn)?);
        Self::listen(behaviour, Wire::Tls(acceptor), Some(authority.clone())).await
    }

    /// TLS with a certificate for a name, or an address, that is not this machine's: for what goes through a proxy that
    /// connects to [`Upstream::addr`] whatever it is asked for. It calls itself by that name and port 443.
    pub async fn start_tls_named(behaviour: impl Behaviour, alpn: &[Alpn], name: &str) -> io::Result<Self> {
        let authority = Authority::new()?;
        let acceptor = TlsAcceptor::from(authority.server_config_for(&[name], alpn)?);
        let mut upstream = Self::listen(behaviour, Wire::Tls(acceptor), Some(authority)).await?;
        upstream.name = Some(name.to_owned());
        Ok(upstream)
    }

    async fn listen(behaviour: impl Behaviour, wire: Wire, authority: Option<Authority>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            behaviour: Box::new(behaviour),
            requests: Log::new(),
            events: Arc::new(Log::new()),
            recording: AtomicBool::new(true),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), wire));
        Ok(Self { addr, authority, name: None, shared, cursor: Mutex::new(0), accepting })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its base URL, without a slash at the end. With TLS the host is `localhost`, or the name that it was given.
    pub fn url(&self) -> String {
        if let Some(name) = &self.name {
            return format!("https://{name}");
        }
        match self.authority {
            Some(_) => format!("https://localhost:{}", self.addr.port()),
            None => format!("http://{}", self.addr),
        }
    }

    /// Who signed its certificate, if it speaks TLS.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// All requests so far, in the order in which their heads came in.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.requests.snapshot()
    }

    /// The next request in that order, as soon as its head is in.
    pub async fn next_head(&self) -> io::Result<ReceivedRequest> {
        loop {
            let index = *lock(&self.cursor);
            let request = self.shared.requests.nth("a request", index).await?;
            let mut cursor = lock(&self.cursor);
            // Someone else may have taken it meanwhile.
            if *cursor == index {
                *cursor += 1;
                return Ok(request);
            }
        }
    }

    /// The next request in that order, when its body has ended.
    pub async fn next_request(&self) -> io::Result<ReceivedRequest> {
        let request = self.next_head().await?;
        request.body_ended().await?;
        Ok(request)
    }

    /// Waits until there have been `count` requests in all.
    pub async fn requests_reached(&self, count: usize) -> io::Result<()> {
        if count > 0 {
            self.shared.requests.nth("requests", count - 1).await?;
        }
        Ok(())
    }

    /// What happened so far, in order.
    pub fn events(&self) -> Vec<Event> {
        self.shared.events.snapshot()
    }

    /// The first event, past or future, that `wanted` picks.
    pub async fn event(&self, wanted: impl Fn(&Event) -> bool) -> io::Result<Event> {
        self.shared.events.wait_for("an event at the upstream", wanted).await
    }

    /// Puts a mark among the events, to tell what was before it and what behind.
    pub fn mark(&self, label: &str) {
        let kind = EventKind::Mark(label.to_owned());
        self.shared.events.push_with(|seq| Event { seq, connection: 0, nth: 0, kind });
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.events().iter().filter(|event| event.kind == EventKind::Connected).count()
    }

    /// Waits until no connection is open.
    pub async fn idle(&self) -> io::Result<()> {
        let open = || {
            let events = self.events();
            let count = |kind: &EventKind| events.iter().filter(|event| event.kind == *kind).count();
            (count(&EventKind::Connected) > count(&EventKind::Disconnected)).then_some(events.len())
        };
        bounded("connections to be closed", async {
            while let Some(seen) = open() {
                self.shared.events.nth("an event", seen).await?;
            }
            Ok(())
        })
        .await?
    }

    /// Whether requests and events are recorded, which they are at first. Under load the record would grow
    /// without bound.
    pub fn set_recording(&self, recording: bool) {
        self.shared.recording.store(recording, Ordering::Relaxed);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // The connections are tasks of the accepting task's set, and end with it.
        self.accepting.abort();
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("url", &self.url()).finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, wire: Wire) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that is gone again before it was accepted is not worth a record.
                let Ok((stream, _)) = accepted else { continue };
                number += 1;
                connections.spawn(connection(stream, Arc::clone(&shared), wire.clone(), number));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, wire: Wire, number: u64) {
    let Ok(socket) = Socket::new(stream) else { return };
    match wire {
        Wire::Http1 => {
            let _presence = event::Presence::new(shared.events(), number);
            h1::serve(&shared, Box::new(socket.clone()), socket, number).await;
        }
        Wire::H2c => {
            let _presence = event::Presence::new(shared.events(), number);
            h2::serve(&shared, Box::new(socket.clone()), socket, number).await;
        }
        Wire::Tls(acceptor) => {
            let Ok(stream) = acceptor.accept(socket.clone()).await else { return };
            let _presence = event::Presence::new(shared.events(), number);
            let h2 = stream.get_ref().1.alpn_protocol() == Some(Alpn::H2.id());
            if h2 {
                h2::serve(&shared, Box::new(stream), socket, number).await;
            } else {
                h1::serve(&shared, Box::new(stream), socket, number).await;
            }
        }
    }
}
