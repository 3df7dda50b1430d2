//! A scripted upstream: answers byte for byte as told, and records what it was asked.

mod behaviour;
mod bodies;
mod event;
#[cfg(feature = "testing")]
mod go_away;
mod h1;
#[cfg(feature = "testing")]
mod h2;
mod play;
mod request;
mod script;
#[cfg(feature = "testing")]
mod tap;
#[cfg(feature = "testing")]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
#[cfg(feature = "testing")]
use tokio_rustls::TlsAcceptor;

pub use behaviour::{Behaviour, Canned, Intake, TakesPolls, on_head};
use bodies::Bodies;
pub use event::{Event, EventKind};
#[cfg(feature = "testing")]
pub use go_away::GoAway;
#[cfg(feature = "testing")]
pub(crate) use h2::reset_reason;
pub use request::{BodyEnd, ReceivedRequest, RequestHead, Version};
pub use script::{Cut, Script};

use crate::log::{Log, lock};
use crate::signal::bounded;
use crate::socket::Socket;
#[cfg(feature = "testing")]
use crate::tls::{Alpn, Authority};

/// Where an account's usage is polled.
const USAGE: [&str; 2] = ["/api/oauth/usage", "/wham/usage"];

/// Connections at once; more wait to be accepted. Far above what a proxy in front opens.
const MAX_CONNECTIONS: usize = 4096;

/// A server on a loopback port of its own, which ends when dropped.
pub struct Upstream {
    addr: SocketAddr,
    #[cfg(feature = "testing")]
    authority: Option<Authority>,
    #[cfg(feature = "testing")]
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
    /// The bodies of requests under way.
    bodies: Bodies,
}

impl Shared {
    fn events(&self) -> Option<Arc<Log<Event>>> {
        self.recording.load(Ordering::Relaxed).then(|| Arc::clone(&self.events))
    }

    /// Whether it is a poll that nobody is to notice.
    fn hides(&self, head: &RequestHead) -> bool {
        USAGE.iter().any(|path| head.path().ends_with(path)) && !self.behaviour.takes_polls()
    }

    fn intake(&self, head: &RequestHead) -> Intake {
        if self.hides(head) {
            Intake::early(Script::json(200, &serde_json::json!({})))
        } else {
            self.behaviour.on_head(head)
        }
    }

    fn admit(&self, head: RequestHead) -> ReceivedRequest {
        let events = self.events().filter(|_| !self.hides(&head));
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
    #[cfg(feature = "testing")]
    H2c,
    #[cfg(feature = "testing")]
    Tls(TlsAcceptor),
}

impl Upstream {
    /// HTTP/1.1 in clear text.
    pub async fn start(behaviour: impl Behaviour) -> io::Result<Self> {
        Self::listen(behaviour, Wire::Http1).await
    }

    async fn listen(behaviour: impl Behaviour, wire: Wire) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            behaviour: Box::new(behaviour),
            requests: Log::new(),
            events: Arc::new(Log::new()),
            recording: AtomicBool::new(true),
            bodies: Bodies::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), wire));
        Ok(Self {
            addr,
            #[cfg(feature = "testing")]
            authority: None,
            #[cfg(feature = "testing")]
            name: None,
            shared,
            cursor: Mutex::new(0),
            accepting,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its base URL, without a slash at the end. With TLS the host is `localhost`, or the name that it was given.
    pub fn url(&self) -> String {
        #[cfg(feature = "testing")]
        if let Some(name) = &self.name {
            return format!("https://{name}");
        }
        #[cfg(feature = "testing")]
        if self.authority.is_some() {
            return format!("https://localhost:{}", self.addr.port());
        }
        format!("http://{}", self.addr)
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

    /// Over how many connections requests have come so far.
    pub fn connections(&self) -> usize {
        let mut seen: Vec<u64> = self
            .events()
            .iter()
            .filter(|event| event.kind == EventKind::Head)
            .map(|event| event.connection)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len()
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
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                // A client that is gone again before it was accepted is not worth a record; a lack of file handles
                // passes.
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
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
        #[cfg(feature = "testing")]
        Wire::H2c => {
            let _presence = event::Presence::new(shared.events(), number);
            h2::serve(&shared, Box::new(socket.clone()), socket, number).await;
        }
        #[cfg(feature = "testing")]
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
