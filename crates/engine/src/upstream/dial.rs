//! Making a connection: name, TCP (both families), TLS.

use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tower_service::Service as _;

use super::stream::Stream;
use super::tls::LazyTls;
use super::{Origin, UpstreamSettings};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{stage}: {why}")]
pub struct DialError {
    /// What was being done.
    stage: &'static str,
    /// What came of it. Names hosts and files, no secrets.
    why: String,
}

impl DialError {
    fn new(stage: &'static str, why: impl Into<String>) -> Self {
        Self { stage, why: why.into() }
    }

    pub(crate) fn handshake(error: impl std::error::Error) -> Self {
        Self::new("HTTP handshake failed", chain(&error))
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// A connection just made.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    /// What was agreed by ALPN.
    pub(crate) is_http2: bool,
}

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Dialer {
    connector: HttpConnector,
    tls: LazyTls,
    connect: Duration,
}

impl Dialer {
    pub(crate) fn new(settings: &UpstreamSettings) -> Self {
        let mut connector = HttpConnector::new();
        // Without it the p99 of a paced event grows by 20 ms (performance.md).
        connector.set_nodelay(true);
        connector.enforce_http(false);
        Self { connector, tls: LazyTls::new(settings.ca_path.clone()), connect: settings.connect }
    }

    /// Connects within the time given by `timeouts.connect`.
    pub(crate) async fn dial(&self, origin: &Origin) -> Result<Dialled, DialError> {
        match tokio::time::timeout(self.connect, self.connect_to(origin)).await {
            Ok(dialled) => dialled,
            Err(_) => Err(DialError::new(
                "connection timed out",
                format!("no connection within {:?}", self.connect),
            )),
        }
    }

    async fn connect_to(&self, origin: &Origin) -> Result<Dialled, DialError> {
        let root = http::uri::PathAndQuery::from_static("/");
        let uri: Uri =
            origin.target(&root, true).map_err(|error| DialError::new("bad address", error.to_string()))?;
        let mut connector = self.connector.clone();
        let tcp = connector
            .call(uri)
            .await
            .map_err(|error| DialError::new("connection failed", chain(&error)))?
            .into_inner();
        if !origin.is_https() {
            return Ok(Dialled { stream: Stream::Plain(tcp), is_http2: false });
        }
        let config = self.tls.get().await.map_err(|why| DialError::new("TLS is not usable", why))?;
        let name = ServerName::try_from(origin.host().to_owned())
            .map_err(|error| DialError::new("bad server name", error.to_string()))?;
        let tls = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|error| DialError::new("TLS handshake failed", chain(&error)))?;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Dialled { stream: Stream::Tls(Box::new(tls)), is_http2 })
    }
}
