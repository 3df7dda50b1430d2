//! Credentials: where an upstream's authorization comes from, and whether it can be had now.
//!
//! A [`Credential`] is what one configuration says; the [`LiveCredential`] in it is what outlives a change of the
//! configuration. Each has a keeper, one task that owns all that is known of the credential: it reads and watches the login,
//! refreshes it, and finds out what a refused token means. What it knows is published whole after every event, so that a
//! request reads it without waiting.
//!
//! Spec: credentials.md.

mod call;
mod keeper;
mod live;
mod probe;
mod refresh;
mod source;
mod waiter;

use std::sync::Arc;

pub use live::{Held, LiveCredential, NotReady, Ways};
pub(crate) use probe::error_message;
pub use source::{CredentialSource, LoginFile};

use trunkline_core::provider::Provider;

use crate::activity::Activity;
use crate::upstream::Upstream;

/// A credential of a service, as one configuration has it.
#[derive(Debug)]
pub struct Credential {
    tag: Arc<str>,
    upstream: Arc<Upstream>,
    models: Vec<String>,
    users: Option<Vec<usize>>,
    weight: Option<f64>,
    provider: &'static dyn Provider,
    live: Arc<LiveCredential>,
}

impl Credential {
    /// A credential. `users`: the positions of the users who may use it, if not all may; `weight`: what it weighs, whatever
    /// its plan says.
    pub fn new(
        tag: &str,
        live: Arc<LiveCredential>,
        upstream: Arc<Upstream>,
        models: Vec<String>,
        users: Option<Vec<usize>>,
        weight: Option<f64>,
        provider: &'static dyn Provider,
    ) -> Self {
        Self { tag: tag.into(), upstream, models, users, weight, provider, live }
    }

    /// What it weighs among others: as configured, else by the plan of its account, else 1.
    pub fn weight(&self) -> f64 {
        let of_plan = || self.live.plan().map_or(1, |plan| self.provider.plan_weight(&plan));
        self.weight.unwrap_or_else(|| f64::from(of_plan()))
    }

    /// What outlives a change of the configuration.
    pub fn live(&self) -> &Arc<LiveCredential> {
        &self.live
    }

    /// What is under way on it.
    pub fn activity(&self) -> &Arc<Activity> {
        self.live.activity()
    }

    /// Its name.
    pub fn tag(&self) -> &Arc<str> {
        &self.tag
    }

    /// Where its requests go.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The models it may serve, as globs; empty: all.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Whether the user at this position may use it. Nobody in particular: only if it is not kept for some.
    pub fn admits_user(&self, user: Option<usize>) -> bool {
        self.users.as_ref().is_none_or(|users| user.is_some_and(|user| users.contains(&user)))
    }
}
