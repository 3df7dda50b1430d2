//! Making a connection to a provider: the way out, TLS, and all of it in time.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::outbound::{self, Direct, Outbound, Target};
use super::stream::Stream;
use super::tls::{LazyTls, Offer};
use super::{Origin, UpstreamSettings};

/// Why there is no connection. One line, for the log: names outbounds, hosts and files, and no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialError {
    /// The outbound at which it failed, or through which it was tried.
    outbound: Option<Arc<str>>,
    /// What was being done.
    stage: Cow<'static, str>,
    /// What came of it.
    why: String,
}

impl DialError {
    pub(crate) fn new(stage: impl Into<Cow<'static, str>>, why: impl Into<String>) -> Self {
        Self { outbound: None, stage: stage.into(), why: why.into() }
    }

    pub(crate) fn handshake(error: impl std::error::Error) -> Self {
        Self::new("HTTP handshake failed", chain(&error))
    }

    /// Says at which outbound this was, unless that is known already.
    #[must_use]
    pub(crate) fn at(mut self, outbound: &Arc<str>) -> Self {
        self.outbound.get_or_insert_with(|| Arc::clone(outbound));
        self
    }

    /// Puts it under a wider stage, unless it belongs to an outbound already, which says enough.
    #[must_use]
    pub(crate) fn before(self, stage: &'static str) -> Self {
        match self.outbound {
            Some(_) => self,
            None => {
                Self { outbound: None, stage: stage.into(), why: format!("{}: {}", self.stage, self.why) }
            }
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outbound) = &self.outbound {
            write!(f, "{outbound}: ")?;
        }
        write!(f, "{}: {}", self.stage, self.why)
    }
}

impl std::error::Error for DialError {}

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

/// Until when something has to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    deadline: Instant,
    within: Duration,
}

impl Limit {
    pub(crate) fn new(within: Duration) -> Self {
        let now = Instant::now();
        // Further away than the clock goes: as good as never, and still bounded.
        Self { deadline: now.checked_add(within).unwrap_or(now + MAX_LIMIT), within }
    }

    /// The same, or sooner.
    pub(crate) fn tightened(self, within: Option<Duration>) -> Self {
        match within.map(Self::new) {
            Some(other) if other.deadline < self.deadline => other,
            _ => self,
        }
    }

    /// Waits for `work` until then; `lack` is what is missing if it takes longer.
    pub(crate) async fn hold<T>(
        self,
        lack: &'static str,
        work: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        match tokio::time::timeout_at(self.deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(DialError::new("connection timed out", format!("{lack} within {:?}", self.within))),
        }
    }
}

/// The longest wait where the clock has no room for the one asked for.
const MAX_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

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
    direct: Direct,
    way: Arc<[Outbound]>,
    tls: LazyTls,
    connect: Duration,
}

impl Dialer {
    pub(crate) fn new(settings: &UpstreamSettings) -> Self {
        Self {
            direct: Direct::new(),
            way: Arc::clone(&settings.way),
            tls: LazyTls::to_provider(settings.trust.clone()),
            connect: settings.connect,
        }
    }

    /// Connects within the time given by `timeouts.connect`.
    pub(crate) async fn dial(&self, origin: &Origin, offer: Offer) -> Result<Dialled, DialError> {
        let limit = Limit::new(self.connect);
        let target = Target { host: origin.host(), port: origin.port() };
        let stream = outbound::reach(&self.direct, &self.way, target, limit).await?;
        if !origin.is_https() {
            return Ok(Dialled { stream, is_http2: false });
        }
        let handshake = limit.hold("no TLS handshake", self.tls.connect(stream, origin.host(), offer));
        let stream = handshake.await.map_err(|error| match self.way.last() {
            // The proxy may be what spoiled it: some let a connection stand that they could not make.
            Some(hop) => error.before("to the provider through it").at(&hop.name),
            None => error,
        })?;
        let is_http2 = stream.alpn() == Some(b"h2");
        Ok(Dialled { stream, is_http2 })
    }
}
