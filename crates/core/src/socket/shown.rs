//! What a connection was last shown of the limits.

use http::{HeaderName, HeaderValue};

use crate::limits::{LimitFacts, View};

/// A pool's aggregate as a user sees it, to be compared: without what changes by the passing of time alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownLimits(Vec<(HeaderName, HeaderValue)>);

impl ShownLimits {
    /// What `view` shows. `None`: nothing, as with a pool of API keys.
    pub fn of<F: LimitFacts + ?Sized>(facts: &F, view: &View<'_>) -> Option<Self> {
        let headers = facts.shown_headers(view);
        (!headers.is_empty()).then_some(Self(headers))
    }
}
