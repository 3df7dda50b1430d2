//! What a failure makes of a credential, and what a request does next.

use std::time::{Duration, SystemTime};

use crate::availability::BlockReason;

/// What the credential becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What it was.
    Unchanged,
    /// Its token was refused: credentials.md, *Auth failure*.
    AuthFailed,
    /// Unavailable, once a usage poll or another credential's success confirms that the account is disabled.
    MaybeDisabled,
    /// Rate-limited.
    RateLimited {
        /// For what.
        scope: LimitScope,
        /// Until when.
        until: SystemTime,
        /// Whether that is a guess of ours, and a poll is to tell.
        needs_poll: bool,
    },
    /// Blocked.
    Blocked {
        /// Why; the scope follows from it.
        reason: BlockReason,
        /// Until when.
        until: SystemTime,
    },
    /// Counted: the credential's state keeps the counters, and [`Counter::blocks_after`] says when one blocks it.
    Counted(Counter),
}

/// What a rate limit concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Every request.
    All,
    /// Every request, though no window of the account is used up: its login names a workspace that is none of its own. No poll
    /// clears it.
    Workspace,
    /// The scope that the refusal named; the provider's parser has it.
    Named,
    /// The model of the request.
    Model,
}

/// Failures that a credential's state counts. A good answer ends every row of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// The provider has no capacity for the model.
    Overloaded,
    /// A server error.
    ServerError,
    /// Could not be reached.
    Connection,
    /// The connection was lost.
    Lost,
    /// No answer in time.
    NoHead,
}

/// So many failures in a row block a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streak {
    /// How many.
    pub failures: u32,
    /// Within what time, if that matters.
    pub within: Option<Duration>,
    /// What the credential is then blocked for.
    pub reason: BlockReason,
    /// For how long.
    pub lasts: Duration,
}

impl Counter {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Connection => "connection",
            Self::Lost => "lost",
            Self::NoHead => "no_head",
        }
    }

    /// When so many in a row block the credential; `None`: never.
    pub fn blocks_after(self) -> Option<Streak> {
        let streak = |within, reason| Streak { failures: 3, within, reason, lasts: Duration::from_secs(10) };
        match self {
            Self::ServerError => Some(streak(Some(Duration::from_secs(60)), BlockReason::Overloaded)),
            Self::Connection => Some(streak(None, BlockReason::Connection)),
            Self::Overloaded | Self::Lost | Self::NoHead => None,
        }
    }
}

/// What the request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The provider's answer goes to the client.
    PassThrough,
    /// It waits for the token to be checked; then [`super::after_recovery`].
    AuthRecovery,
    /// Once more with the same credential.
    Repeat(Repeat),
    /// The next candidate.
    Next,
    /// The next candidate, by the one hop that a request has. The session's binding stays where it is, if it had one.
    Hop,
    /// 504.
    GatewayTimeout,
    /// Nothing more is tried: [`crate::final_answer`] says what the client gets.
    End,
}

/// What is different when a request is repeated with the same credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The token.
    NewToken,
    /// The connection.
    NewConnection,
}
