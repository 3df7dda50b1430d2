//! The TLS side of outgoing connections: to providers, and to proxies that want it.
//!
//! The system's authorities, with a bundled fallback, are loaded when the first connection needs them.

mod any_certificate;
mod authorities;
mod pinned;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

pub use authorities::{Authorities, SystemAuthorities};
use pinned::Pinned;

use super::dial::{DialError, chain};
use super::stream::Stream;

/// Whose certificates are accepted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those of the system's authorities, and perhaps of more, which count as servers' own certificates too.
    System(Arc<SystemAuthorities>, Option<Authorities>),
    /// Those of these authorities alone, and theirs themselves.
    Only(Authorities),
    /// Anyone's: the connection is then safe from listeners on the way, but not from whoever answers.
    Anyone,
}

/// TLS settings, made ready at first use.
#[derive(Debug)]
pub(crate) struct LazyTls {
    trust: Trust,
    alpn: Vec<Vec<u8>>,
    tls13_only: bool,
    config: OnceCell<Arc<ClientConfig>>,
    /// The same for HTTP/1.1 alone.
    http1: OnceCell<Arc<ClientConfig>>,
}

/// What is offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// What the settings say.
    Usual,
    /// HTTP/1.1 alone, for what HTTP/2 has no way for.
    Http1,
}

/// TLS to a proxy.
#[derive(Debug)]
pub struct ProxyTls {
    name: Option<String>,
    tls: LazyTls,
}

impl ProxyTls {
    /// TLS to a proxy whose certificate is for `name`, or else for its host. `alpn`: the protocols to offer, or none.
    pub fn new(name: Option<String>, trust: Trust, alpn: &[String], tls13_only: bool) -> Self {
        let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self { name, tls: LazyTls::new(trust, alpn, tls13_only) }
    }

    /// The handshake with the proxy at `host`.
    pub(crate) async fn connect(&self, stream: Stream, host: &str) -> Result<Stream, DialError> {
        self.tls
            .connect(stream, self.name.as_deref().unwrap_or(host), Offer::Usual)
            .await
            .map_err(|error| error.before("TLS with the proxy failed"))
    }
}

impl LazyTls {
    /// TLS to a provider.
    pub(crate) fn to_provider(trust: Trust) -> Self {
        let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::new(trust, alpn, false)
    }

    fn new(trust: Trust, alpn: Vec<Vec<u8>>, tls13_only: bool) -> Self {
        Self { trust, alpn, tls13_only, config: OnceCell::new(), http1: OnceCell::new() }
    }

    /// The handshake with a server called `name`, a host name or an address without brackets.
    pub(crate) async fn connect(
        &self,
        stream: Stream,
        name: &str,
        offer: Offer,
    ) -> Result<Stream, DialError> {
        let config = match offer {
            Offer::Usual => self.get().await,
            Offer::Http1 => self.http1().await,
        };
        let config = config.map_err(|why| DialError::new("TLS is not usable", why))?;
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| DialError::new("bad server name", error.to_string()))?;
        let tls = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| DialError::new("TLS handshake failed", chain(&error)))?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    /// The settings for HTTP/1.1 alone: the same, with the same authorities in memory.
    async fn http1(&self) -> Result<Arc<ClientConfig>, String> {
        let make = async {
            let mut config = ClientConfig::clone(&*self.get().await?);
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        };
        self.http1.get_or_try_init(|| make).await.cloned()
    }

    /// The settings; an error says which file could not be used.
    pub(crate) async fn get(&self) -> Result<Arc<ClientConfig>, String> {
        let make = async {
            let (trust, alpn, tls13_only) = (self.trust.clone(), self.alpn.clone(), self.tls13_only);
            // Reading the system's store takes tens of milliseconds of file access.
            tokio::task::spawn_blocking(move || client_config(&trust, alpn, tls13_only))
                .await
                .map_err(|_| "the certificate store could not be read".to_owned())?
        };
        self.config.get_or_try_init(|| make).await.cloned()
    }
}

/// Trust in `authorities`, and in each of their certificates itself, besides `roots`.
fn pinned(
    authorities: &Authorities,
    mut roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<Pinned>, String> {
    authorities.add_to(&mut roots);
    Pinned::new(authorities.clone(), roots, provider).map(Arc::new)
}

fn client_config(trust: &Trust, alpn: Vec<Vec<u8>>, tls13_only: bool) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = if tls13_only { &[&rustls::version::TLS13][..] } else { rustls::DEFAULT_VERSIONS };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match trust {
        Trust::System(system, None) => builder.with_root_certificates(RootCertStore::clone(&*system.load()?)),
        Trust::System(system, Some(more)) => {
            let roots = RootCertStore::clone(&*system.load()?);
            let verifier = pinned(more, roots, &provider)?;
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        Trust::Only(authorities) => {
            let verifier = pinned(authorities, RootCertStore::empty(), &provider)?;
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        Trust::Anyone => {
            let verifier = any_certificate::AnyCertificate::new(&provider);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = alpn;
    Ok(Arc::new(config))
}
