//! Ways out: the outbounds of the file, and what proxies the environment names.

use std::fmt;
use std::time::Duration;

use trunkline_core::secret::Secret;

use super::{PemSource, TlsVersion};

/// A way to a provider, hop by hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detour {
    /// The outbound that is dialled first comes first, the one that a `detour` names comes last. Never empty.
    pub outbounds: Vec<Outbound>,
}

/// One hop of a way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// What it is called in messages.
    pub name: OutboundName,
    /// How long reaching its server may take, or for `direct` reaching the target; `None` for as long as the whole.
    pub connect_timeout: Option<Duration>,
    /// What it is.
    pub kind: OutboundKind,
}

/// Where an outbound was described.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OutboundName {
    /// In the file, under this tag.
    Tag(String),
    /// In this environment variable.
    Variable(&'static str),
}

/// What an outbound is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundKind {
    /// No proxy.
    Direct,
    /// An HTTP proxy, asked with CONNECT.
    Http(HttpProxy),
    /// A SOCKS proxy.
    Socks(SocksProxy),
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProxy {
    /// Where it is.
    pub server: ProxyServer,
    /// The path that is asked for instead of the target, which then stands in `Host` alone.
    pub path: Option<String>,
    /// Headers of requests to it: lower-case name, one or more values, which may be secret.
    pub headers: Vec<(String, Vec<Secret>)>,
    /// TLS to the proxy itself, if it is on.
    pub tls: Option<ProxyTls>,
}

/// A SOCKS proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocksProxy {
    /// Where it is.
    pub server: ProxyServer,
    /// The version of the protocol.
    pub version: SocksVersion,
}

/// A version of SOCKS, and who looks up the names of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocksVersion {
    /// SOCKS 4: IPv4 addresses only, looked up by us.
    V4,
    /// SOCKS 4a: names are looked up by the proxy.
    V4a,
    /// SOCKS 5: names are looked up by the proxy.
    V5,
    /// SOCKS 5 with names looked up by us, which `socks5://` means in the environment.
    V5Local,
}

/// Address and login of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyServer {
    /// A host name or an address, IPv6 without brackets.
    pub host: String,
    /// The port, above 0.
    pub port: u16,
    /// Who we are to it.
    pub login: Option<ProxyLogin>,
}

/// A login at a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLogin {
    /// The user.
    pub username: Secret,
    /// The password; may be empty.
    pub password: Secret,
}

/// TLS to a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyTls {
    /// The name that its certificate is checked for; `None` for its host.
    pub server_name: Option<String>,
    /// Whether any certificate is accepted.
    pub insecure: bool,
    /// Protocols offered by ALPN; empty for none.
    pub alpn: Vec<String>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The authorities trusted for it, instead of the system's.
    pub certificate: Option<PemSource>,
}

// === impl Detour ===

impl Detour {
    /// What tells it from other ways out of the same file: the tag that was named.
    pub fn name(&self) -> Option<&OutboundName> {
        self.outbounds.last().map(|outbound| &outbound.name)
    }
}

impl fmt::Display for Detour {
    /// The way from its last hop back to its first: what it was asked for, and through what that is reached.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, outbound) in self.outbounds.iter().rev().enumerate() {
            let joint = if nth == 0 { "" } else { ", reached through " };
            write!(f, "{joint}{outbound}")?;
        }
        Ok(())
    }
}

// === impl Outbound ===

impl fmt::Display for Outbound {
    /// Its name and its address, with the login masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, server) = match &self.kind {
            OutboundKind::Direct => return write!(f, "{} (direct)", self.name),
            OutboundKind::Http(proxy) => (if proxy.tls.is_some() { "https" } else { "http" }, &proxy.server),
            OutboundKind::Socks(proxy) => (proxy.version.scheme(), &proxy.server),
        };
        let login = if server.login.is_some() { "***:***@" } else { "" };
        let host = &server.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "{} ({scheme}://{login}{host}:{})", self.name, server.port)
    }
}

impl fmt::Display for OutboundName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "outbound {tag}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

// === impl SocksVersion ===

impl SocksVersion {
    /// The scheme of its URLs: `socks4`, `socks4a`, `socks5h` or `socks5`.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::V4 => "socks4",
            Self::V4a => "socks4a",
            Self::V5 => "socks5h",
            Self::V5Local => "socks5",
        }
    }
}
