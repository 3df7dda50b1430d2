//! A change of state, as an event and as the one line that the log has of it.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use super::state::{Availability, Scope};
use crate::civil_time;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A change of a credential's state: for the log, the metrics and the status stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: Availability,
    /// What it is.
    pub to: Availability,
    /// When it was seen.
    pub at: SystemTime,
}

/// What was last said of a credential's state.
#[derive(Debug, Clone)]
pub struct StateLog {
    last: Availability,
}

impl StateLog {
    /// A credential whose state at the start is known to everybody.
    pub fn new(state: Availability) -> Self {
        Self { last: state }
    }

    /// Takes the state as read at `now`. `Some` if it is another one than the last; an end that moved is not.
    pub fn observe(&mut self, state: Availability, now: SystemTime) -> Option<Change> {
        let is_same = self.last.is_same_state(&state);
        let from = std::mem::replace(&mut self.last, state.clone());
        (!is_same).then_some(Change { from, to: state, at: now })
    }
}

impl Change {
    /// What it is now, with what that is about and without times: `rate_limited (5h)`.
    pub fn text(&self) -> String {
        Named(&self.to).to_string()
    }

    /// The log line: `credential a: usable → rate_limited (5h), until 15:00, in 1h 12m`.
    pub fn line(&self, tag: &str) -> String {
        let mut line = format!("credential {tag}: {} → ", self.from.label());
        let _ = write!(line, "{}", Named(&self.to));
        if let Some(until) = self.to.until() {
            let wait = until.duration_since(self.at).unwrap_or_default();
            let _ = write!(line, ", until {}, in {}", time_of(until, wait), in_words(wait));
        }
        line
    }
}

/// A state with what it is about, without times.
struct Named<'a>(&'a Availability);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.label())?;
        let (what, scope): (&str, _) = match self.0 {
            Availability::Usable | Availability::Refreshing { .. } => return Ok(()),
            Availability::Unavailable { why } => return write!(f, ": {why}"),
            Availability::Blocked { reason, scope, .. } => (reason.label(), scope),
            Availability::RateLimited { window, scope, .. } | Availability::Capped { window, scope } => {
                (window, scope)
            }
        };
        match scope {
            Scope::All => write!(f, " ({what})"),
            Scope::NewSessions => write!(f, " ({what}, new sessions)"),
            Scope::ModelFamily(family) => write!(f, " ({what}, {family} models)"),
        }
    }
}

/// The time of day, in UTC; with seconds if it is less than a minute away, with the date if over a day.
fn time_of(at: SystemTime, wait: Duration) -> String {
    let civil = civil_time::utc(at);
    if wait > DAY {
        format!("{} {:02}:{:02}", civil.date(), civil.hour(), civil.minute())
    } else if wait < Duration::from_secs(60) {
        format!("{:02}:{:02}:{:02}", civil.hour(), civil.minute(), civil.second())
    } else {
        format!("{:02}:{:02}", civil.hour(), civil.minute())
    }
}

/// `2d 3h`, `1h 12m`, `5m`, `10s`: the two largest units, cut rather than rounded; a part of a second is a whole one.
fn in_words(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let pair = |large: u64, unit: char, small: u64, small_unit: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit} {small}{small_unit}") }
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, ..) => pair(hours, 'h', minutes, 'm'),
        _ => pair(days, 'd', hours, 'h'),
    }
}
