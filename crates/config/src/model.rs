//! The checked configuration: what the rest of the program sees.
//!
//! Everything is resolved here: paths are absolute, references are indices, secrets are types that do not print.
//! A value of these types was checked as a whole; there is nothing left to look up or to refuse.

mod outbound;
mod pool;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use trunkline_core::client_address::Network;
use trunkline_core::limits::Caps;
use trunkline_core::secret::{Secret, TokenDigest};

pub use outbound::{
    Detour, HttpProxy, Outbound, OutboundKind, OutboundName, ProxyLogin, ProxyServer, ProxyTls, SocksProxy,
    SocksVersion,
};

pub use pool::{Pool, PoolId};

use crate::paths::LoginLocation;
use crate::url::BaseUrl;

/// One whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where and how to log.
    pub log: Log,
    /// Where state is kept, and the control socket lies; one running instance each.
    pub data_directory: PathBuf,
    /// Whether anything is stored there about requests: which credential serves which session.
    pub has_ledger: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// How long requests under way may take to finish at shutdown.
    pub drain_timeout: Duration,
    /// Whether listening sockets are opened with `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// The services, in the order of the file. Never empty.
    pub services: Vec<Service>,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// Whether nothing is logged at all.
    pub disabled: bool,
    /// Whether lines carry a timestamp.
    pub timestamp: bool,
    /// The shape of a line.
    pub format: LogFormat,
    /// The file that lines go to; `None` is standard error.
    pub output: Option<PathBuf>,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// With the reasons of decisions.
    Debug,
    /// One line per request and per change of state.
    Info,
    /// Only what may need attention.
    Warn,
    /// Only failures.
    Error,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Which provider's protocol a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// Claude Code and the Anthropic API.
    Claude,
    /// Codex and the OpenAI API.
    Codex,
}

/// One protocol front with its users and credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its name in logs and metrics; unique.
    pub tag: String,
    /// The protocol.
    pub provider: ProviderKind,
    /// The address to listen on.
    pub listen: IpAddr,
    /// The port to listen on; 0 lets the system choose.
    pub listen_port: u16,
    /// The prefix that is removed before routing: empty, or `/x` without a trailing slash.
    pub path: String,
    /// Globs of API paths allowed to everybody beyond those that clients need.
    pub paths: Vec<String>,
    /// TLS, if it is on. The same for all services of an address.
    pub tls: Option<Tls>,
    /// Whether being open to anyone was asked for.
    pub allow_unauthenticated: bool,
    /// Who may use it; empty for no authentication.
    pub users: Vec<User>,
    /// Where upstream access comes from. Never empty.
    pub credentials: Vec<Credential>,
    /// What the tags of the list stand for, in its order: each credential by itself, and each balancer. Never empty.
    pub pools: Vec<Pool>,
    /// Headers set on requests to the provider: lower-case name, one or more values, which may be secret.
    pub headers: Vec<(String, Vec<Secret>)>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How long a request may wait for a credential to become usable.
    pub wait_for_capacity: Duration,
    /// The largest request body, in bytes.
    pub max_body: u64,
    /// How much of a request body is kept for a retry, in bytes.
    pub replay_buffer: u64,
    /// The most connections at once.
    pub max_connections: usize,
    /// The most connections at once of one client address.
    pub max_connections_per_address: usize,
    /// The largest request head, in bytes.
    pub max_header: usize,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PemSource,
    /// Its private key.
    pub key: PemSource,
    /// The name that clients use.
    pub server_name: Option<String>,
    /// Protocols offered besides those that are always offered.
    pub alpn: Vec<String>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
}

/// Where PEM text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PemSource {
    /// A file, read when serving begins.
    Path(PathBuf),
    /// The text itself.
    Inline(Secret),
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// How long a service waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to the upstream.
    pub connect: Duration,
    /// For the head of an upstream's response.
    pub response_head: Duration,
    /// In the middle of a response, without a byte.
    pub idle: Duration,
    /// For the next bytes of a client's request body.
    pub request_body: Duration,
}

/// The place of a credential in [`Service::credentials`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialId(pub usize);

/// The place of a user in [`Service::users`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub usize);

/// Someone with a token.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// The name in logs and metrics; unique in its service.
    pub name: String,
    /// The digest that the token is looked up by; unique in its service.
    pub token: TokenDigest,
    /// The token itself, if the configuration holds it and not just its digest.
    pub plain_token: Option<Secret>,
    /// The pool that this user's requests go to.
    pub pool: PoolId,
    /// Whether they may go to external credentials.
    pub allow_external_usage: bool,
    /// Globs of the models allowed; empty for all.
    pub models: Vec<String>,
    /// Globs of API paths allowed beyond those that clients need.
    pub paths: Vec<String>,
    /// When the token stops being valid.
    pub expires: Option<Timestamp>,
    /// Whether the token is refused for now.
    pub disabled: bool,
    /// Whether requests that cost extra usage may pass.
    pub fast_mode: FastMode,
    /// Which rate-limit headers are shown.
    pub rate_limit_headers: RateLimitHeaders,
    /// How long a request may wait for a credential to become usable; `None`: as long as the service says.
    pub wait_for_capacity: Option<Duration>,
    /// Whether the user may ask how a credential was picked.
    pub explain: bool,
    /// Whether another instance stands behind the user.
    pub is_peer: bool,
}

/// Whether fast mode, which costs its account extra usage, may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastMode {
    /// If the user's pool is one credential with an owner.
    Single,
    /// Always.
    Allow,
    /// Never.
    Deny,
}

/// Which rate-limit headers a user is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitHeaders {
    /// Those of the pool as a whole.
    Computed,
    /// The provider's own.
    Passthrough,
}

/// A source of upstream access.
#[derive(Debug, Clone, PartialEq)]
pub struct Credential {
    /// Its name; unique in its service.
    pub tag: String,
    /// What it is.
    pub kind: CredentialKind,
    /// Where its requests go.
    pub upstream: Upstream,
    /// The way there, where one is named; else the environment may name a proxy.
    pub detour: Option<Detour>,
    /// Globs of the models it may serve; empty for all.
    pub models: Vec<String>,
    /// The users who may use it; `None` for all.
    pub users: Option<Vec<UserId>>,
    /// What it weighs in a pool, instead of what its plan says.
    pub weight: Option<f64>,
    /// How much of its windows may be used.
    pub caps: Caps,
}

/// What a credential is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// A login file that the provider's own client made.
    LoginFile(LoginLocation),
    /// A long-lived OAuth token.
    OauthToken(Secret),
    /// An API key.
    ApiKey(Secret),
}

/// Where requests go: the credential's own settings over the service's over the provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The base of API requests.
    pub api_url: BaseUrl,
    /// Where tokens are refreshed.
    pub token_url: BaseUrl,
    /// Where usage is polled; `None` where it lies under `api_url`.
    pub usage_url: Option<BaseUrl>,
    /// The base for API keys; `None` where it is `api_url`.
    pub openai_url: Option<BaseUrl>,
    /// Our `User-Agent` on requests of our own; `None` for the default one.
    pub user_agent: Option<String>,
    /// A file of certificate authorities to trust besides the system's.
    pub ca_path: Option<PathBuf>,
    /// Whether `http` beyond loopback was asked for.
    pub insecure_http: bool,
}

// === impl ProviderKind ===

impl ProviderKind {
    /// The name in log lines and in the command line: `claude` or `codex`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
        }
    }

    /// The name on sing-box's wire, which its paths and headers use: `ccm` or `ocm`.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::Claude => "ccm",
            Self::Codex => "ocm",
        }
    }
}

// === impl Credential ===

impl Credential {
    /// Where its requests go, as far as the configuration says: a login file may hold an API key.
    pub fn request_url(&self) -> &BaseUrl {
        let upstream = &self.upstream;
        match self.kind {
            CredentialKind::ApiKey(_) => upstream.openai_url.as_ref().unwrap_or(&upstream.api_url),
            CredentialKind::LoginFile(_) | CredentialKind::OauthToken(_) => &upstream.api_url,
        }
    }
}

// === impl Service ===

impl Service {
    /// The credential with this id; `None` only for an id of another service.
    pub fn credential(&self, id: CredentialId) -> Option<&Credential> {
        self.credentials.get(id.0)
    }

    /// The pool with this id; `None` only for an id of another service.
    pub fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(id.0)
    }

    /// The user with this id; `None` only for an id of another service.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(id.0)
    }
}
