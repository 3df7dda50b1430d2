//! What a selection is made from.

use std::time::SystemTime;

use super::Fact;
use crate::ids::CredentialId;
use crate::sessions::{PoolScope, SessionKey};

/// How a usable candidate is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// The one with the most weekly capacity left for the time until its reset.
    LeastUsed,
    /// One after the other.
    RoundRobin,
    /// By chance.
    Random,
    /// The first in order, at every request.
    Fallback,
}

impl Strategy {
    /// Its name in the configuration.
    pub fn label(self) -> &'static str {
        match self {
            Self::LeastUsed => "least_used",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::Fallback => "fallback",
        }
    }
}

/// The credentials that a user's requests go to.
#[derive(Debug, Clone, Copy)]
pub struct Pool<'a> {
    /// How one is picked. For a single credential it does not matter.
    pub strategy: Strategy,
    /// Percent; 0: never rebalance.
    pub rebalance_threshold: f64,
    /// The credentials in the order of the configuration.
    pub candidates: &'a [Candidate<'a>],
    /// What was last picked from this pool for [`super::PickReason::Strategy`]; where [`Strategy::RoundRobin`] goes on.
    pub last_picked: Option<CredentialId>,
}

/// What kind of credential this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// A login: its windows are paid already.
    Login,
    /// An API key: no windows, and every request costs money.
    ApiKey,
    /// Another instance.
    External,
}

/// A credential of a pool, with what is known about it now.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its number.
    pub id: CredentialId,
    /// Its tag.
    pub tag: &'a str,
    /// Its kind.
    pub kind: CredentialKind,
    /// The names of the users who may use it; `None`: all.
    pub users: Option<&'a [String]>,
    /// Globs of the models that it may serve; none: all.
    pub models: &'a [String],
    /// Its weight: the plan's, or what the configuration says.
    pub weight: f64,
    /// Whether the configuration says it.
    pub weight_is_set: bool,
    /// Its weekly window.
    pub weekly: WindowUse,
    /// Its 5-hour window.
    pub five_hour: WindowUse,
    /// Everything that keeps it from being usable, in any order. Facts whose time is over do no harm.
    pub facts: &'a [Fact],
    /// Whether it can carry a WebSocket.
    pub carries_websocket: bool,
}

impl Candidate<'_> {
    pub(super) fn admits_user(&self, request: &RequestFacts<'_>) -> bool {
        (self.kind != CredentialKind::External || request.allows_external)
            && request.external_credential != Some(self.id)
            && self
                .users
                .is_none_or(|users| request.user.is_some_and(|user| users.iter().any(|one| one == user)))
    }

    pub(super) fn costs_extra(&self) -> bool {
        self.kind == CredentialKind::ApiKey && !self.weight_is_set
    }

    /// The weight as a number to calculate with: weights are above 0, and one that is none counts as 1.
    pub(super) fn sound_weight(&self) -> f64 {
        if self.weight.is_finite() && self.weight > 0.0 { self.weight } else { 1.0 }
    }
}

/// The least part of a window that counts as left.
const LEAST_PART: f64 = 0.001;

/// How much of a window a credential has used, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowUse {
    /// Up to where it may be used; 100 for credentials without windows.
    pub cap: f64,
    /// What was last observed; `None`: nothing yet, which counts as unused.
    pub utilization: Option<f64>,
    /// When it resets, if known.
    pub resets_at: Option<SystemTime>,
    /// The utilization that counts; filled by [`Self::at`].
    pub(super) effective: f64,
}

impl WindowUse {
    /// A window as observed.
    pub fn new(cap: f64, utilization: Option<f64>, resets_at: Option<SystemTime>) -> Self {
        Self { cap, utilization, resets_at, effective: utilization.unwrap_or(0.0) }
    }

    /// The part of the cap that is not used: 1 for a window that nothing is known of, and never quite 0, so that what is
    /// nearly used up is still told apart by its other factors.
    pub(super) fn part_left(&self) -> f64 {
        let left = (self.cap - self.effective) / self.cap;
        if left.is_finite() { left.clamp(LEAST_PART, 1.0) } else { 1.0 }
    }

    /// The window as it is at `now`: after its reset nothing is used and no reset is known.
    pub(super) fn at(self, now: SystemTime) -> Self {
        let resets_at = self.resets_at.filter(|reset| *reset > now);
        let is_over = self.resets_at.is_some() && resets_at.is_none();
        let utilization = self.utilization.filter(|value| value.is_finite() && !is_over);
        Self { resets_at, effective: utilization.unwrap_or(0.0), ..self }
    }
}

/// What a request takes of a credential's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quota {
    /// What requests take.
    #[default]
    Usual,
    /// It goes on at low priority where the 5-hour window is used up (claude.md, *What the gateway contract asks besides*).
    Slow,
    /// Nothing: limits do not concern it (routing.md, *Failures*).
    Nothing,
}

/// What a request travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// An HTTP request.
    Http,
    /// A WebSocket, or a turn on one.
    WebSocket,
}

/// What a selection needs to know about a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The user's name; `None` where no users are configured.
    pub user: Option<&'a str>,
    /// The user's `allow_external_usage`; true where no users are configured.
    pub allows_external: bool,
    /// The user's own `external_credential`, which its requests never go to.
    pub external_credential: Option<CredentialId>,
    /// The model asked; `None` if the request asks none.
    pub model: Option<&'a str>,
    /// What it travels in.
    pub transport: Transport,
    /// Whether only an API key can serve it ([`Route::ForwardWithApiKey`](crate::provider::Route::ForwardWithApiKey)).
    pub needs_api_key: bool,
    /// What it takes of a credential's windows.
    pub quota: Quota,
    /// Its session, if it names one.
    pub session: Option<&'a SessionKey>,
    /// The credentials that were tried for it. They are not picked again.
    pub tried: &'a [CredentialId],
    /// Whether it has waited for a refresh already, or cannot wait: credentials being refreshed then count as unavailable.
    pub has_awaited_refresh: bool,
}

impl RequestFacts<'_> {
    /// Whether its session is bound to what is picked for it. What takes nothing of a credential warms no cache there either,
    /// and may be served by one that the session's turns cannot go to.
    pub fn binds(&self) -> bool {
        self.quota != Quota::Nothing
    }

    /// The part of the pool that this request may use.
    pub fn pool_scope(&self) -> PoolScope {
        if self.allows_external { PoolScope::All } else { PoolScope::NoExternals }
    }
}
