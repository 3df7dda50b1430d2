//! Every way in which we ourselves say no to a request, and what the three audiences are told of it: the client
//! (a status and a message in the provider's shape), the log, and a metric label.

use std::borrow::Cow;

use http::StatusCode;

/// What went wrong, which decides the status and the provider's error type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The request cannot be understood, or asks for what is not allowed to anybody.
    InvalidRequest,
    /// Where the request ends, or whom it is for, is a matter of opinion: nothing behind it on its connection means anything.
    Framing,
    /// No token, or one that no user has.
    Authentication,
    /// The user is known, and is switched off or has expired.
    UserInactive,
    /// The user is known and may not do this.
    Permission,
    /// A web page asks, of another origin than ours.
    WebPage,
    /// There is no such path.
    NotFound,
    /// A model that the user may not use. It is 400, since a 404 is asked again by both clients and its text is replaced by
    /// Claude Code.
    ModelDenied,
    /// A model that no credential of the user's serves. Claude Code then offers to choose another model, which is why it is
    /// told in the way that the provider tells it: 404. The Codex client would ask a 404 five times more, so it gets 400.
    ModelNotServed,
    /// A WebSocket that nothing can carry: the client takes to HTTP.
    UpgradeRequired,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The body is over `max_body`.
    BodyTooLarge,
    /// The head is over `max_header`.
    HeadTooLarge,
    /// The credential cannot be used at present.
    Unavailable,
    /// We hold as much as we are allowed to hold.
    Overloaded,
    /// The provider could not be reached, or hung up before it answered.
    UpstreamConnection,
    /// The provider answered in a way that cannot be used.
    UpstreamAnswer,
    /// The provider did not answer in time.
    UpstreamTimeout,
}

impl FaultKind {
    /// Every kind there is.
    pub const ALL: [Self; 18] = [
        Self::InvalidRequest,
        Self::Framing,
        Self::Authentication,
        Self::UserInactive,
        Self::Permission,
        Self::WebPage,
        Self::NotFound,
        Self::ModelDenied,
        Self::ModelNotServed,
        Self::UpgradeRequired,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::HeadTooLarge,
        Self::Unavailable,
        Self::Overloaded,
        Self::UpstreamConnection,
        Self::UpstreamAnswer,
        Self::UpstreamTimeout,
    ];

    /// The HTTP status of the answer, where the provider's client does not need another.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::Framing | Self::ModelDenied => StatusCode::BAD_REQUEST,
            Self::Authentication | Self::UserInactive => StatusCode::UNAUTHORIZED,
            Self::Permission | Self::WebPage => StatusCode::FORBIDDEN,
            Self::NotFound | Self::ModelNotServed => StatusCode::NOT_FOUND,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamConnection | Self::UpstreamAnswer => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Whether the client is told not to try again.
    ///
    /// A lost or unreachable connection is the one kind that a client talking to the provider itself would ride out
    /// by its own retries, and that passes by itself; telling it to give up would end turns that need not end.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::UpstreamConnection | Self::UpstreamTimeout | Self::Overloaded)
    }

    /// A short stable name for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Framing => "framing",
            Self::Authentication => "authentication",
            Self::UserInactive => "user_inactive",
            Self::Permission => "permission",
            Self::WebPage => "web_page",
            Self::NotFound => "not_found",
            Self::ModelDenied => "model_denied",
            Self::ModelNotServed => "model_not_served",
            Self::UpgradeRequired => "upgrade_required",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::HeadTooLarge => "head_too_large",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::UpstreamConnection => "upstream_connection",
            Self::UpstreamAnswer => "upstream_answer",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }
}

/// A request that we answer ourselves, with an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// What the client is told: tags and reasons, never a path, an address of an account or a secret.
    pub message: Cow<'static, str>,
    /// What only the log is told.
    pub detail: Option<String>,
}

impl Fault {
    /// A fault of which the log is told the same as the client.
    pub fn new(kind: FaultKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), detail: None }
    }

    /// Adds what only the log is told.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}
