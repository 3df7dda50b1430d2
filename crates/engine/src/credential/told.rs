//! What requests tell the keeper of their credential.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;
use trunkline_core::availability::{RequestEnd, Scope};
use trunkline_core::limits::{Readings, Refusal};

/// Messages that can wait for the keeper. Readings beyond that are left out, since the next answer has newer ones; so are
/// failures: as many are being told already.
pub(super) const MAX_TOLD: usize = 1_024;

/// Something that a request found out.
#[derive(Debug)]
pub(crate) enum Told {
    /// What the headers of an answer say of its windows.
    Readings(Readings),
    /// How the request ended.
    Ended(RequestEnd),
    /// The provider refused by a limit.
    Refused {
        /// What the headers of the refusal say.
        readings: Readings,
        /// What the refusal means.
        refusal: Refusal,
        /// The model that was asked for.
        model: Option<String>,
    },
    /// It is of no use for a while, by a failure that names no window.
    Limited {
        /// The name of what is used up.
        window: Arc<str>,
        /// For which requests.
        scope: Scope,
        /// Until when.
        until: SystemTime,
        /// Whether that is a guess, and a poll is to tell.
        needs_poll: bool,
    },
    /// The provider says that the account is disabled, which a poll or another credential's success has to confirm.
    MaybeDisabled,
    /// Another credential served what this one was refused as disabled.
    Disabled,
}

/// A message, and whom to tell once it counts.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) told: Told,
    pub(super) done: Option<oneshot::Sender<()>>,
}
