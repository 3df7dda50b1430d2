//! Going the way to a provider once, stage by stage and timed, to see how far it leads: for a person to read.
//!
//! It is the way that requests go, proxies and certificates included, but nothing secret goes over it: the one request is
//! a `HEAD` without authorization.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, DATE, HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::UpstreamSettings;
use super::dial::{DialError, Limit, chain};
use super::outbound::Target;
use super::stream::Stream;
use super::tls::{LazyTls, Offer};

/// Addresses of a name that are tried, all at once. Real names have up to eight.
const MAX_ADDRESSES: usize = 16;

/// How far it went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The stages that were passed, in order.
    pub passed: Vec<Passed>,
    /// The stage at which it ended, unless an answer came.
    pub failed: Option<Failed>,
}

/// A stage that was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which, and what came of it.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
}

/// What came of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The name that is dialled, the provider's or that of the first proxy, has these addresses. Left out for an address.
    Lookup {
        /// The name.
        host: String,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// A TCP connection, to the first of the addresses that took one.
    Connect {
        /// To where.
        address: SocketAddr,
    },
    /// A proxy opened the way to what lies behind it.
    Proxy {
        /// The outbound, as it is called in messages.
        outbound: Arc<str>,
    },
    /// TLS with the provider.
    Tls {
        /// Whether HTTP/2 was agreed on.
        is_http2: bool,
    },
    /// An answer to the request.
    Answer {
        /// Its status.
        status: u16,
        /// What the provider's clock shows, to the second; `None`: it does not say.
        date: Option<SystemTime>,
        /// What ours showed when the answer came.
        received: SystemTime,
    },
}

/// Which stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// The name.
    Lookup,
    /// The TCP connection.
    Connect,
    /// A proxy.
    Proxy,
    /// TLS with the provider.
    Tls,
    /// The request.
    Answer,
}

/// Where it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// At which stage.
    pub at: StageKind,
    /// Why: one line, without secrets.
    pub why: String,
}

/// Goes the way once. The connection has the time of `settings.connect`, and the answer as much again.
pub async fn probe(settings: &UpstreamSettings, user_agent: &str) -> Report {
    let mut walk = Walk { report: Report::default(), stage: StageKind::Lookup, begun: Instant::now() };
    if let Err(error) = walk.go(settings, user_agent).await {
        walk.report.failed = Some(Failed { at: walk.stage, why: error.to_string() });
    }
    walk.report
}

struct Walk {
    report: Report,
    stage: StageKind,
    begun: Instant,
}

impl Walk {
    fn begin(&mut self, stage: StageKind) {
        self.stage = stage;
        self.begun = Instant::now();
    }

    fn passed(&mut self, stage: Stage) {
        self.report.passed.push(Passed { stage, took: self.begun.elapsed() });
    }

    async fn go(&mut self, settings: &UpstreamSettings, user_agent: &str) -> Result<(), DialError> {
        let (origin, way) = (&settings.origin, &settings.way);
        let tls = LazyTls::to_provider(settings.trust.clone());
        if origin.is_https() {
            // Reading the system's authorities is no part of the way.
            self.begin(StageKind::Tls);
            tls.get().await.map_err(|why| DialError::new("TLS is not usable", why))?;
        }
        let limit = Limit::new(settings.connect);
        // As when dialling: an outbound's own time is for all that lies before its server.
        let before = |from: usize| {
            way.iter().skip(from).fold(limit, |limit, hop| limit.tightened(hop.connect_timeout))
        };
        let target = Target { host: origin.host(), port: origin.port() };
        let proxies: Vec<_> =
            way.iter().enumerate().filter_map(|(nth, hop)| Some((nth, hop, hop.server()?))).collect();

        let first = proxies.first().map_or(target, |(_, _, server)| *server);
        let mut stream = self.dial(first, before(0)).await?;
        for (place, (nth, hop, _)) in proxies.iter().enumerate() {
            self.begin(StageKind::Proxy);
            let next = proxies.get(place + 1).map_or(target, |(_, _, server)| *server);
            let asked = before(nth + 1).hold("no answer of the proxy", hop.ask(stream, next)).await;
            stream = asked.map_err(|error| error.at(&hop.name))?;
            self.passed(Stage::Proxy { outbound: Arc::clone(&hop.name) });
        }
        if origin.is_https() {
            self.begin(StageKind::Tls);
            stream = limit.hold("no TLS handshake", tls.connect(stream, origin.host(), Offer::Usual)).await?;
            self.passed(Stage::Tls { is_http2: stream.alpn() == Some(b"h2") });
        }
        self.begin(StageKind::Answer);
        let answer =
            Limit::new(settings.connect).hold("no answer", ask(settings, user_agent, stream)).await?;
        let date =
            answer.headers().get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        self.passed(Stage::Answer { status: answer.status().as_u16(), date, received: SystemTime::now() });
        Ok(())
    }

    async fn dial(&mut self, target: Target<'_>, limit: Limit) -> Result<Stream, DialError> {
        self.begin(StageKind::Lookup);
        let addresses: Vec<SocketAddr> = if let Ok(address) = target.host.parse::<IpAddr>() {
            vec![SocketAddr::new(address, target.port)]
        } else {
            let found = limit.hold("no addresses", lookup(target)).await?;
            self.passed(Stage::Lookup {
                host: target.host.to_owned(),
                addresses: found.iter().map(SocketAddr::ip).collect(),
            });
            found
        };
        self.begin(StageKind::Connect);
        let (stream, address) = limit.hold("no TCP connection", connect(&addresses)).await?;
        self.passed(Stage::Connect { address });
        Ok(Stream::Plain(stream))
    }
}

async fn lookup(target: Target<'_>) -> Result<Vec<SocketAddr>, DialError> {
    let failed = |why: String| DialError::new(format!("the name {} cannot be looked up", target.host), why);
    let found = tokio::net::lookup_host((target.host, target.port)).await;
    let found: Vec<_> = found.map_err(|error| failed(chain(&error)))?.take(MAX_ADDRESSES).collect();
    if found.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(found) }
}

/// Connects to whichever address takes a connection first.
async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut tries = JoinSet::new();
    for &address in addresses {
        tries.spawn(async move { TcpStream::connect(address).await.map_err(|error| (address, error)) });
    }
    let mut first = None;
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(stream)) => {
                let address = stream.peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
                return Ok((stream, address));
            }
            Ok(Err((address, error))) => {
                first.get_or_insert_with(|| format!("{address}: {}", chain(&error)));
            }
            Err(_) => {}
        }
    }
    Err(DialError::new("connection failed", first.unwrap_or_else(|| "there is no address".to_owned())))
}

async fn ask(
    settings: &UpstreamSettings,
    user_agent: &str,
    stream: Stream,
) -> Result<Response<Incoming>, DialError> {
    let failed = |error: &dyn std::error::Error| DialError::new("no answer", chain(error));
    let is_http2 = stream.alpn() == Some(b"h2");
    let target =
        settings.origin.target(&PathAndQuery::from_static("/"), is_http2).map_err(|error| failed(&error))?;
    let agent = HeaderValue::from_str(user_agent).map_err(|error| failed(&error))?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() = target;
    request.headers_mut().insert(USER_AGENT, agent);
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let stream = TokioIo::new(stream);
    if is_http2 {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .map_err(|error| failed(&error))?;
        driven(connection, sender.send_request(request)).await.map_err(|error| failed(&error))
    } else {
        request.headers_mut().insert(HOST, settings.origin.host_header().clone());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|error| failed(&error))?;
        driven(connection, sender.send_request(request)).await.map_err(|error| failed(&error))
    }
}

/// Waits for an answer and drives its connection meanwhile.
async fn driven<T>(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    answer: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, hyper::Error> {
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // Its end shows in the answer.
        _ = connection => answer.await,
    }
}
