//! Ways out: nothing but TCP, or proxies one behind another.
//!
//! A way is a list of hops, the one that is dialled first in front. Each proxy is asked, over a connection to it that the
//! hops before it made, for a connection to the next one, and the last for one to the provider.

mod direct;
mod http_connect;
mod socks;
mod socks4;
mod socks5;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use trunkline_core::secret::Secret;

pub(crate) use direct::Direct;
pub use http_connect::HttpConnect;
pub use socks4::Socks4;
pub use socks5::Socks5;

use super::dial::{DialError, Limit};
use super::stream::Stream;

/// One hop of a way out.
#[derive(Debug)]
pub struct Outbound {
    /// What it is called in messages: `outbound TAG`, or the name of an environment variable. No secrets.
    pub name: Arc<str>,
    /// How long reaching its server may take, or without a proxy reaching the target; within `timeouts.connect`.
    pub connect_timeout: Option<Duration>,
    /// What it is.
    pub kind: OutboundKind,
}

/// What an outbound is.
#[derive(Debug)]
pub enum OutboundKind {
    /// No proxy.
    Direct,
    /// An HTTP proxy, asked with CONNECT.
    HttpConnect(Box<HttpConnect>),
    /// A SOCKS proxy of version 4 or 4a.
    Socks4(Socks4),
    /// A SOCKS proxy of version 5.
    Socks5(Socks5),
}

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyServer {
    /// A host name or an address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Who we are to a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The user.
    pub username: Secret,
    /// The password; may be empty.
    pub password: Secret,
}

/// Who looks up the name of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameLookup {
    /// We, through the system.
    Here,
    /// The proxy.
    AtProxy,
}

/// Where a connection is to lead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// A host name or an address, IPv6 without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

impl fmt::Display for Target<'_> {
    /// As an authority: with brackets around IPv6.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Outbound {
    /// Where its proxy is, if it has one.
    pub(super) fn server(&self) -> Option<Target<'_>> {
        let server = match &self.kind {
            OutboundKind::Direct => return None,
            OutboundKind::HttpConnect(proxy) => proxy.server(),
            OutboundKind::Socks4(proxy) => &proxy.server,
            OutboundKind::Socks5(proxy) => &proxy.server,
        };
        Some(Target { host: &server.host, port: server.port })
    }

    /// Asks the proxy at the other end of `stream` for a connection to `target`.
    pub(super) async fn ask(&self, stream: Stream, target: Target<'_>) -> Result<Stream, DialError> {
        match &self.kind {
            OutboundKind::Direct => Ok(stream),
            OutboundKind::HttpConnect(proxy) => proxy.ask(stream, target).await,
            OutboundKind::Socks4(proxy) => proxy.ask(stream, target).await,
            OutboundKind::Socks5(proxy) => proxy.ask(stream, target).await,
        }
    }
}

/// Makes a connection to `target` by way of `hops`. An error names the hop at which it failed.
pub(crate) fn reach<'a>(
    direct: &'a Direct,
    hops: &'a [Outbound],
    target: Target<'a>,
    limit: Limit,
) -> Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send + 'a>> {
    Box::pin(async move {
        let Some((hop, before)) = hops.split_last() else {
            return limit.hold("no TCP connection", direct.connect(target)).await;
        };
        let nearer = limit.tightened(hop.connect_timeout);
        let Some(server) = hop.server() else {
            return reach(direct, before, target, nearer).await.map_err(|error| error.at(&hop.name));
        };
        let stream = reach(direct, before, server, nearer)
            .await
            .map_err(|error| error.before("the proxy cannot be reached").at(&hop.name))?;
        limit
            .hold("no answer of the proxy", hop.ask(stream, target))
            .await
            .map_err(|error| error.at(&hop.name))
    })
}
