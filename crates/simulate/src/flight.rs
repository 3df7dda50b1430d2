//! A request between its first try and its end, and the session that made it.

use std::time::{Duration, SystemTime};

use trunkline_core::failure::Attempts;
use trunkline_core::ids::CredentialId;
use trunkline_core::sessions::SessionKey;

use crate::workload::SessionSpec;

/// How long a prompt cache stays warm. Subscribers' clients ask for an hour.
pub(crate) const CACHE_LASTS: Duration = Duration::from_secs(60 * 60);

/// A session at work.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) spec: SessionSpec,
    pub(crate) key: SessionKey,
    /// Turns done.
    pub(crate) turn: u32,
    /// Who answered last, and when.
    pub(crate) last: Option<(usize, SystemTime)>,
    /// When the turn under way was first asked for.
    pub(crate) asked_at: Option<SystemTime>,
    /// How often it has been refused since.
    pub(crate) refusals: u32,
}

/// What a turn takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// What it costs with a warm cache, before scaling.
    pub(crate) warm: f64,
    /// What it costs more with a cold one.
    pub(crate) rewrite: f64,
    /// Until the head of the answer.
    pub(crate) head_after: Duration,
    /// From there to the end.
    pub(crate) ends_after: Duration,
    /// From the end to the next turn.
    pub(crate) pause: Duration,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) session: usize,
    pub(crate) account: usize,
    pub(crate) units: f64,
    /// The part of that which a cold cache cost that would have been warm elsewhere.
    pub(crate) rewritten: f64,
    pub(crate) tries: Tries,
    pub(crate) has_head: bool,
}

/// A request's tries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tries {
    pub(crate) attempts: Attempts,
    pub(crate) tried: Vec<CredentialId>,
    pub(crate) was_bound: bool,
    pub(crate) hopped: bool,
    /// Why it is not where its session was before, if the table or the selection had a reason.
    pub(crate) moved_for: Option<&'static str>,
}
