//! How often a client's socket may be dropped so that it comes back with its whole history.
//!
//! Spec: codex.md, *A limit inside a turn*. The client counts: after six failures in one turn it leaves WebSockets for the
//! rest of its session (fact sheet, 4), so that more than a few drops cost more than an error.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::sessions::SessionKey;

/// Most drops of one session within [`PER`].
pub const MAX_DROPS: usize = 2;

/// How long a drop counts.
pub const PER: Duration = Duration::from_secs(60);

/// Sessions that are remembered at once. A session is remembered for [`PER`] after a drop, and a drop needs a refusal by a
/// provider, so that this many are not reached but by somebody who tries.
const MAX_SESSIONS: usize = 10_000;

/// The drops of the last minute, by session.
#[derive(Debug, Default)]
pub struct Drops {
    sessions: HashMap<SessionKey, [Option<Instant>; MAX_DROPS]>,
}

impl Drops {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one drop of a session's. False: it has had its share, or there are too many sessions to know.
    pub fn take(&mut self, session: &SessionKey, now: Instant) -> bool {
        if self.sessions.len() >= MAX_SESSIONS && !self.sessions.contains_key(session) {
            self.sessions.retain(|_, drops| drops.iter().any(|at| counts(*at, now)));
            if self.sessions.len() >= MAX_SESSIONS {
                return false;
            }
        }
        let drops = self.sessions.entry(session.clone()).or_default();
        match drops.iter_mut().find(|at| !counts(**at, now)) {
            Some(free) => {
                *free = Some(now);
                true
            }
            None => false,
        }
    }
}

fn counts(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) < PER)
}
