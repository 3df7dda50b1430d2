//! The seam between the one engine and the providers: everything that differs between them, as facts and pure
//! functions. No code outside `provider/` asks which provider it serves.

pub mod claude;
pub mod codex;
mod login_format;

use std::fmt::{self, Debug};
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::failure::Texts;
use crate::fault::Fault;
use crate::first_event::Hold;
use crate::limits::LimitFacts;
use crate::login::LoginKind;
use crate::request_hints::RequestHints;
use crate::scan::{Found, Wanted};
use crate::secret::Secret;
use crate::selection::Quota;
use crate::socket::SocketFacts;

pub use login_format::{LoginFormat, Probe, ProbeTarget, Profile};

/// What a request to a service is for, by method and path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// One of the client's own API calls: forwarded.
    Forward {
        /// Whether the body names the model that is asked.
        asks_model: bool,
        /// Whether the answer shows the limits of the user's pool.
        shows_limits: bool,
        /// Whether it takes of a credential's windows.
        uses_quota: bool,
    },
    /// The same, with a body that names a model, for API keys alone: where logins go there is no such path. Refused with 400
    /// to others.
    ForwardWithApiKey,
    /// A WebSocket, if the request asks for one (`Upgrade: websocket`, or an extended CONNECT); else as
    /// [`Route::OnlyIfAllowed`].
    Socket,
    /// The provider's usage endpoint, answered by us with the aggregate.
    Usage,
    /// What a client reports of itself: read, dropped and answered as taken.
    Discard,
    /// Another path of the provider's API, which only a user whose `paths` admit it may use.
    OnlyIfAllowed,
    /// A client looks whether something is there: a small 200, for anybody.
    Hello,
    /// Nothing of ours.
    Unknown,
}

/// What a credential gives a request to authenticate with.
#[derive(Debug, Clone)]
pub enum Authorization {
    /// An OAuth access token.
    OAuth(Secret),
    /// An API key.
    ApiKey(Secret),
}

/// The strings that routing and the log want from a request body, by position: the model, and where a session id may
/// stand.
pub const WANTED_MODEL: usize = 0;

/// The positions of the session's places among a provider's wanted strings, the one that counts first at the front.
pub const WANTED_SESSION: Range<usize> = 1..WANTED_COUNT;

/// Longest session id that is one, in bytes. Clients send UUIDs; what is longer would only fill logs and tables.
pub const MAX_SESSION_ID: usize = 256;

/// How many strings are wanted.
pub const WANTED_COUNT: usize = 3;

/// An answer of our own, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its content type.
    pub content_type: &'static str,
    /// Its body.
    pub body: Bytes,
}

/// What a client takes a service for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientMode {
    /// A gateway: the client retries what it is refused, and shows no limits.
    Gateway,
    /// The provider itself, with a login of the client's own: the client shows limits in its own words.
    Subscriber,
    /// A gateway of the client's own kind: the client shows limits in its own words, and budgets.
    OwnGateway,
}

/// An environment variable of a client that gets in the way of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disturbance {
    /// The variable.
    pub name: &'static str,
    /// Whether it only counts with a value that means yes; else with any that is not empty.
    pub is_switch: bool,
    /// What the client does then.
    pub effect: &'static str,
}

/// Under which of a service's URLs a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamBase {
    /// `api_url`.
    Api,
    /// `openai_url`.
    OpenAi,
}

/// Where a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTarget<'a> {
    /// The URL it goes under.
    pub base: UpstreamBase,
    /// Path and query, to be appended to it.
    pub target: &'a str,
}

/// Where a client's configuration file has the user's token. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ClientToken<'a> {
    /// In the file.
    Value(&'a str),
    /// In the environment, under this name.
    Variable(&'static str),
}

impl Debug for ClientToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(…)"),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
        }
    }
}

/// A part of a client's configuration file. `Debug` does not show the text: a user's token is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientFile {
    /// Where the file is, as its owner would write it.
    pub path: &'static str,
    /// What belongs into it.
    pub text: String,
    /// What of it is to be deleted to undo it, each in one line.
    pub undo: &'static [&'static str],
}

impl Debug for ClientFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A provider, as facts. Implementations are zero-sized; every function is pure. What concerns its logins is in
/// [`LoginFormat`].
pub trait Provider: LoginFormat {
    /// Its name in logs and on the command line.
    fn name(&self) -> &'static str;

    /// What a request is for. `path` is decoded, normal, and without the service's prefix.
    fn route(&self, method: &Method, path: &str) -> Route;

    /// The strings wanted from a request body, at [`WANTED_MODEL`] and [`WANTED_SESSION`].
    fn wanted(&self) -> [Wanted; WANTED_COUNT];

    /// The session a request belongs to, from its headers or what was found in its body at [`WANTED_SESSION`] (nothing:
    /// not looked at yet); at most [`MAX_SESSION_ID`] bytes.
    fn session(&self, headers: &HeaderMap, body: &[Found]) -> Option<String>;

    /// Where a request goes out, by the kind of its credential. `target`: path and query, without the service's prefix.
    /// What goes to an external credential is appended to its `url` as it is.
    fn upstream_target<'a>(&self, target: &'a str, kind: LoginKind) -> UpstreamTarget<'a>;

    /// The request header whose value belongs to the credential that issued it, if there is one: it is removed
    /// ([`crate::headers::without`]) when a request goes to another credential than its session's last.
    fn credential_state(&self) -> Option<&'static HeaderName>;

    /// What a request's headers say of its place in the client's work.
    fn hints(&self, headers: &HeaderMap) -> RequestHints;

    /// What a client's base URL has behind the path of the service, before what the client adds to it.
    fn base_path(&self) -> &'static str;

    /// Sets what an external credential needs to know a request's session by, where the client did not say it in the
    /// spelling that older instances read.
    fn name_session(&self, headers: &mut HeaderMap, session: &str);

    /// What is known of the provider's WebSockets, where it has them.
    fn sockets(&self) -> Option<&'static dyn SocketFacts>;

    /// Sets a credential's own headers, after everything else.
    fn authorize(&self, headers: &mut HeaderMap, prepared: &PreparedAuthorization);

    /// Makes the header values of an authorization once, for all requests that will carry it. `account_id`: the account
    /// that the login belongs to, where it tells. `None` if the token has characters that no header can carry.
    fn prepare(
        &self,
        authorization: &Authorization,
        account_id: Option<&str>,
    ) -> Option<PreparedAuthorization>;

    /// How long the head of a stream is held back at most, while nothing of the stream tells anything.
    fn hold(&self) -> Hold;

    /// How it states limits, and how its clients are told of them.
    fn limit_facts(&self) -> &'static dyn LimitFacts;

    /// What it writes into its errors, as far as that decides anything.
    fn failure_texts(&self) -> &'static Texts;

    /// Whether a response header tells of the account's limits, which are not the client's to see. `name` is in lower
    /// case.
    fn is_limit_header(&self, name: &str) -> bool;

    /// What a request with these headers takes of a credential's windows, where it takes any.
    fn quota(&self, headers: &HeaderMap) -> Quota;

    /// The message that refuses a request for the mode that costs its account extra (Claude: fast mode) for the reason
    /// `why`, in the words on which the client goes on without the mode. `None` if the request does not ask for it.
    fn refuse_extra_usage(&self, headers: &HeaderMap, why: &str) -> Option<String>;

    /// The environment variables that point a client at `base_url` with a user's `token`; the base URL comes first.
    /// None for clients that have a [`Provider::client_file`].
    fn client_variables(&self, mode: ClientMode, base_url: &str, token: &str) -> Vec<(&'static str, String)>;

    /// What a client's configuration file needs to point it at `base_url` (without `/v1`) with a user's `token`, for clients
    /// that are not configured by their environment.
    fn client_file(&self, base_url: &str, token: ClientToken<'_>) -> Option<ClientFile>;

    /// The environment variables that must be empty, or not set, for [`Provider::client_variables`] to count.
    fn cleared_variables(&self, mode: ClientMode) -> &'static [&'static str];

    /// Where a client keeps the user's token, for whoever looks why it is refused.
    fn client_token_place(&self) -> &'static str;

    /// What else in a client's environment gets in the way.
    fn disturbances(&self) -> &'static [Disturbance];

    /// A fault in the provider's error shape.
    fn error(&self, fault: &Fault, request_id: &str) -> OwnAnswer;

    /// The small answer to [`Route::Hello`].
    fn hello(&self) -> OwnAnswer;
}

/// Header values of a credential, made once and marked sensitive.
#[derive(Debug, Clone)]
pub struct PreparedAuthorization {
    /// The header that carries the token or key.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
    /// The header that names the account, and its value, where the provider wants one beside the token.
    pub account: Option<(HeaderName, HeaderValue)>,
    /// Whether it is an OAuth token (else an API key).
    pub is_oauth: bool,
}
