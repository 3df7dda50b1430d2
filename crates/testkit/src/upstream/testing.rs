//! Upstreams of the kinds that only tests need.

use std::io;

use tokio_rustls::TlsAcceptor;

use super::behaviour::Behaviour;
use super::{Upstream, Wire};
use crate::tls::{Alpn, Authority};

impl Upstream {
    /// HTTP/2 in clear text, by prior knowledge.
    pub async fn start_h2c(behaviour: impl Behaviour) -> io::Result<Self> {
        Self::listen(behaviour, Wire::H2c).await
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
        let mut upstream = Self::listen(behaviour, Wire::Tls(acceptor)).await?;
        upstream.authority = Some(authority.clone());
        Ok(upstream)
    }

    /// TLS with a certificate for a name, or an address, that is not this machine's: for what goes through a proxy that
    /// connects to [`Upstream::addr`] whatever it is asked for. It calls itself by that name and port 443.
    pub async fn start_tls_named(behaviour: impl Behaviour, alpn: &[Alpn], name: &str) -> io::Result<Self> {
        let authority = Authority::new()?;
        let acceptor = TlsAcceptor::from(authority.server_config_for(&[name], alpn)?);
        let mut upstream = Self::listen(behaviour, Wire::Tls(acceptor)).await?;
        upstream.authority = Some(authority);
        upstream.name = Some(name.to_owned());
        Ok(upstream)
    }

    /// Who signed its certificate, if it speaks TLS.
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }
}
