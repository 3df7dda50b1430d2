//! What ends a state. Every state has a way out that needs no restart (credentials.md, *Availability*).

use std::time::SystemTime;

use super::facts::{CappedWindow, Facts};
use super::state::{Availability, Unavailable};

/// What ends a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// Time alone, at this moment at the latest.
    At(SystemTime),
    /// The next good poll.
    Poll,
    /// Another login in the file, which is watched and also looked at every 2 s meanwhile.
    LoginChange,
    /// A recheck, due at this moment, or another login where there is a file.
    Recheck(SystemTime),
    /// The end of the refresh, or its next try.
    Refresh,
    /// The other side connects its tunnel.
    Tunnel,
}

impl Facts {
    /// What ends the state at `now`; `None` for a credential that is usable.
    pub fn way_out(&self, now: SystemTime, capped: &[CappedWindow]) -> Option<WayOut> {
        Some(match self.state(now, capped) {
            Availability::Usable => return None,
            Availability::Unavailable { why } => match why {
                Unavailable::NotConnected => WayOut::Tunnel,
                Unavailable::NoLogin(_) | Unavailable::LoginExpired(_) => WayOut::LoginChange,
                Unavailable::Refused(_) => WayOut::Recheck(self.next_recheck(now).unwrap_or(now)),
                Unavailable::CannotKeep(_) => WayOut::Refresh,
            },
            Availability::Refreshing { .. } => WayOut::Refresh,
            Availability::Blocked { until: Some(until), .. } | Availability::RateLimited { until, .. } => {
                WayOut::At(until)
            }
            Availability::Blocked { until: None, .. } => WayOut::Poll,
            Availability::Capped { window, scope } => capped
                .iter()
                .find(|capped| capped.window == window && capped.scope == scope)
                .and_then(|capped| capped.until)
                .map_or(WayOut::Poll, WayOut::At),
        })
    }
}
