//! Scripted proxies: HTTP CONNECT, SOCKS 4 with 4a, and SOCKS 5. They record what they were asked.

mod http;
mod socks;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::headers::Headers;
use crate::log::{Log, lock};
use crate::socket::{Io, Socket};
use crate::tls::{Alpn, Authority};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP, with CONNECT.
    Http,
    /// SOCKS 4 and 4a.
    Socks4,
    /// SOCKS 5.
    Socks5,
}

/// How a proxy answers a request for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It connects.
    Connect,
    /// It refuses with this status, or this reply code of SOCKS.
    Refuse(u16),
    /// It never answers the request.
    Stall,
    /// It connects, but of everything that it says before the tunnel stands only as many bytes go out, and then the
    /// connection is closed.
    CutAfter(usize),
    /// These bytes are its answer, then the connection is closed.
    Raw(Bytes),
}

/// What a proxy was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Host and port, with brackets around IPv6.
    pub target: String,
    /// User and password as they were sent; SOCKS 4 has no passwords.
    pub login: Option<(String, String)>,
    /// HTTP: the request line.
    pub line: String,
    /// HTTP: the headers.
    pub headers: Headers,
}

/// A proxy on a loopback port of its own, which ends when dropped.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What a [`Proxy`] is started with.
#[must_use]
pub struct Builder {
    kind: ProxyKind,
    login: Option<(String, String)>,
    to: Option<SocketAddr>,
    tls: Option<Authority>,
}

/// What the connections of a proxy share.
struct Shared {
    kind: ProxyKind,
    /// What it demands.
    login: Option<(String, String)>,
    to: Option<SocketAddr>,
    tls: Option<TlsAcceptor>,
    reaction: Mutex<Reaction>,
    asked: Log<Asked>,
}

impl Proxy {
    /// A proxy of this kind, to be described further.
    pub fn builder(kind: ProxyKind) -> Builder {
        Builder { kind, login: None, to: None, tls: None }
    }

    /// A proxy that connects to wherever it is asked to.
    pub async fn start(kind: ProxyKind) -> io::Result<Self> {
        Self::builder(kind).start().await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How it answers from now on.
    pub fn react(&self, reaction: Reaction) {
        *lock(&self.shared.reaction) = reaction;
    }

    /// Everything that it was asked for so far: requests that came in whole, with the right login.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.snapshot()
    }

    /// Waits until it has been asked `count` times in all.
    pub async fn asked_reached(&self, count: usize) -> io::Result<()> {
        if count > 0 {
            self.shared.asked.nth("a request to a proxy", count - 1).await?;
        }
        Ok(())
    }
}

impl Builder {
    /// It wants this user and password; SOCKS 4 only the user.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// It connects there, whatever it is asked for.
    pub fn to(mut self, addr: SocketAddr) -> Self {
        self.to = Some(addr);
        self
    }

    /// It is spoken to over TLS, with a certificate of this authority for `localhost`.
    pub fn tls(mut self, authority: &Authority) -> Self {
        self.tls = Some(authority.clone());
        self
    }

    /// Starts it.
    pub async fn start(self) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let tls = match self.tls {
            Some(authority) => Some(TlsAcceptor::from(authority.server_config(&[Alpn::Http1])?)),
            None => None,
        };
        let shared = Arc::new(Shared {
            kind: self.kind,
            login: self.login,
            to: self.to,
            tls,
            reaction: Mutex::new(Reaction::Connect),
            asked: Log::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Proxy { addr, shared, accepting })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are tasks of the accepting task's set, and end with it.
        self.accepting.abort();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("kind", &self.shared.kind)
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("kind", &self.kind).finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                // How a connection ended is for the one at its other end to tell.
                connections.spawn(async move { drop(connection(stream, &shared).await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let socket = Socket::new(stream)?;
    let stream: Box<dyn Io> = match &shared.tls {
        Some(acceptor) => Box::new(acceptor.accept(socket).await?),
        None => Box::new(socket),
    };
    let left = match *lock(&shared.reaction) {
        Reaction::CutAfter(count) => Some(count),
        _ => None,
    };
    let mut wire = Wire { stream, left };
    match shared.kind {
        ProxyKind::Http => http::serve(&mut wire, shared).await,
        ProxyKind::Socks4 => socks::serve_4(&mut wire, shared).await,
        ProxyKind::Socks5 => socks::serve_5(&mut wire, shared).await,
    }
}

/// The connection to a client, before it is a tunnel.
struct Wire {
    stream: Box<dyn Io>,
    /// How many bytes may still go out.
    left: Option<usize>,
}

impl Wire {
    async fn read<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_vec(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    /// Reads up to and including `end`.
    async fn read_until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            bytes.extend(self.read::<1>().await?);
        }
        Ok(bytes)
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let kept = self.left.map_or(bytes.len(), |left| left.min(bytes.len()));
        self.stream.write_all(bytes.get(..kept).unwrap_or_default()).await?;
        self.stream.flush().await?;
        if let Some(left) = &mut self.left {
            *left -= kept;
            if *left == 0 {
                self.stream.shutdown().await?;
                return Err(io::Error::other("cut as the script says"));
            }
        }
        Ok(())
    }

    /// Records a request, and answers it as the script says.
    async fn answer(
        &mut self,
        shared: &Shared,
        asked: Asked,
        granted: &[u8],
        refused: impl Fn(u16) -> Vec<u8>,
    ) -> io::Result<()> {
        let addr = shared.to.map_or_else(|| asked.target.clone(), |addr| addr.to_string());
        shared.asked.push(asked);
        let reaction = lock(&shared.reaction).clone();
        match reaction {
            Reaction::Connect | Reaction::CutAfter(_) => {
                let mut there = TcpStream::connect(addr).await?;
                there.set_nodelay(true)?;
                self.say(granted).await?;
                copy_bidirectional(&mut self.stream, &mut there).await?;
            }
            Reaction::Refuse(code) => self.say(&refused(code)).await?,
            Reaction::Raw(bytes) => self.say(&bytes).await?,
            // Until the client gives up.
            Reaction::Stall => drop(self.read::<1>().await),
        }
        self.stream.shutdown().await
    }
}
