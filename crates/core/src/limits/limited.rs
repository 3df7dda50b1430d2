//! By which window a credential is out of use, and until when.

use std::time::SystemTime;

use crate::limits::{BaseWindow, LimitScope};

/// The window that speaks for a limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A base window.
    Base(BaseWindow),
    /// A scoped limit.
    Scope(LimitScope),
}

/// A limit that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limited {
    /// The window; `None` if none is to blame (an API key, an account without windows).
    pub claim: Option<Claim>,
    /// When it ends, if that is known.
    pub until: Option<SystemTime>,
}

impl Limited {
    /// Both limits at once: the one that ends last. One whose end is not known outlasts every other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.until, other.until) {
            (Some(a), Some(b)) if b > a => other,
            (Some(_), None) => other,
            _ => self,
        }
    }

    /// The one of several credentials' limits that ends first; an end that is not known comes last. Of those that end
    /// together a base window speaks, the short one first, whatever the order of the credentials.
    pub fn first(limits: impl IntoIterator<Item = Self>) -> Option<Self> {
        limits.into_iter().min_by(|a, b| {
            let ends = (a.until.is_none(), a.until).cmp(&(b.until.is_none(), b.until));
            ends.then_with(|| (a.claim.is_none(), &a.claim).cmp(&(b.claim.is_none(), &b.claim)))
        })
    }

    /// Whether it still is in force at `now`.
    pub fn holds(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}
