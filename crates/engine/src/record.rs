//! What is written down of a request: one log line when its answer has ended.
//!
//! Spec: operations.md, *Observability*.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use tracing::Level;
use trunkline_core::request_hints::{RequestClass, RequestHints};

/// The target of request lines, for filters.
pub const TARGET: &str = "trunkline::request";

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer went through to its end.
    Ok,
    /// So did an answer that is an error of the provider's.
    UpstreamError,
    /// We answered, with an error of our own.
    Refused,
    /// The provider cut its answer, or fell silent.
    Cut,
    /// The client went before the end.
    ClientGone,
}

impl Outcome {
    /// The outcome of an answer that went through to its end.
    pub fn of_whole(status: StatusCode) -> Self {
        if status.is_client_error() || status.is_server_error() { Self::UpstreamError } else { Self::Ok }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::UpstreamError => "upstream_error",
            Self::Refused => "refused",
            Self::Cut => "cut",
            Self::ClientGone => "client_gone",
        }
    }
}

/// What is known of a request. Written when [`Record::finish`] is called, or else when dropped, as `client_gone`.
#[derive(Debug)]
pub struct Record {
    /// Its id.
    pub id: Arc<str>,
    /// The service's tag.
    pub service: Arc<str>,
    /// The client's address.
    pub client: IpAddr,
    /// The user's name, where there are users.
    pub user: Option<Arc<str>>,
    /// The session, as the client names it.
    pub session: Option<String>,
    /// What the client says of the request's place in its work.
    pub hints: RequestHints,
    /// The model asked for.
    pub model: Option<String>,
    /// The tag of the credential that answered.
    pub credential: Option<Arc<str>>,
    /// The status sent to the client.
    pub status: StatusCode,
    /// Tries made.
    pub attempts: u32,
    /// When it came in.
    pub started: Instant,
    /// When the head of the answer was in.
    pub answered: Option<Instant>,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// What went wrong, for the log alone.
    pub detail: Option<String>,
    written: bool,
}

impl Record {
    /// A record of a request that has just come in; `None` if nobody would read it.
    pub fn begin(id: &Arc<str>, service: &Arc<str>, client: IpAddr, started: Instant) -> Option<Box<Self>> {
        tracing::enabled!(target: TARGET, Level::INFO).then(|| {
            Box::new(Self {
                id: Arc::clone(id),
                service: Arc::clone(service),
                client,
                user: None,
                session: None,
                hints: RequestHints::default(),
                model: None,
                credential: None,
                status: StatusCode::OK,
                attempts: 0,
                started,
                answered: None,
                bytes_in: 0,
                bytes_out: 0,
                detail: None,
                written: false,
            })
        })
    }

    /// Lets it go unwritten.
    pub fn discard(&mut self) {
        self.written = true;
    }

    /// Writes it down.
    pub fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        let millis = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
        };
        tracing::info!(
            target: TARGET,
            id = &*self.id,
            service = &*self.service,
            client = %self.client,
            user = self.user.as_deref(),
            session = self.session.as_deref(),
            class = self.hints.class.map(RequestClass::name),
            agent = self.hints.agent.as_deref(),
            parent_agent = self.hints.parent_agent.as_deref(),
            agent_type = self.hints.agent_type.as_deref(),
            prompt = self.hints.prompt.as_deref(),
            model = self.model.as_deref(),
            credential = self.credential.as_deref(),
            status = self.status.as_u16(),
            outcome = outcome.label(),
            attempts = self.attempts,
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            first_byte_ms = self.answered.map(|answered| millis(self.started, answered)),
            total_ms = millis(self.started, Instant::now()),
            detail = self.detail.as_deref(),
            "request"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.finish(Outcome::ClientGone);
    }
}
