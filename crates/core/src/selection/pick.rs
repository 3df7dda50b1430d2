//! What is picked, why, and what that does to the session's binding.

use crate::ids::CredentialId;

/// A credential picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// The credential.
    pub credential: CredentialId,
    /// Why this one.
    pub reason: PickReason,
    /// What is to be done about the session's binding, at once.
    pub binding: BindingChange,
    /// Whether the session was bound to this credential before this request.
    pub was_bound: bool,
}

/// Why a credential was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PickReason {
    /// The session is bound to it.
    Bound,
    /// The strategy.
    Strategy,
    /// The strategy, after the session's credential had become too much more used than this one.
    Rebalanced,
    /// The strategy, among API keys: they cost money, and nothing else is usable.
    LastResort,
    /// Its last poll failed, and nothing else is usable.
    PollFailed,
    /// It refused a moment ago without saying for how long, and nothing else is usable.
    Throttled,
}

impl PickReason {
    /// A short stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Strategy => "strategy",
            Self::Rebalanced => "rebalanced",
            Self::LastResort => "last_resort",
            Self::PollFailed => "poll_failed",
            Self::Throttled => "burst",
        }
    }
}

/// What happens to a session's binding when a credential is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingChange {
    /// There is no session, or this is not the first pick for the request: see [`moves_binding`].
    Leave,
    /// It stays, and counts as used.
    Touch,
    /// It is bound to the picked credential.
    Bind,
}

/// Whether a session is to be bound to the credential whose answer is passed on, when that is not the one it is bound
/// to. `was_bound`: as in the first [`Pick`] for the request; `hopped`: it was reached by a hop
/// ([`crate::failure::Action::Hop`]).
pub fn moves_binding(was_bound: bool, hopped: bool) -> bool {
    !(was_bound && hopped)
}
