//! Credentials: where an upstream's authorization comes from, and whether it can be had now.
//!
//! A [`Credential`] is what one configuration says; the [`LiveCredential`] in it is what outlives a change of the
//! configuration. Each has a keeper, one task that owns all that is known of the credential: it reads and watches the login,
//! refreshes it, and finds out what a refused token means. What it knows is published whole after every event, so that a
//! request reads it without waiting.
//!
//! Spec: credentials.md.

mod call;
mod current;
mod keeper;
mod live;
mod probe;
mod refresh;
mod source;
mod token_answer;
mod told;
mod waiter;

use std::sync::Arc;

pub(crate) use current::{Current, refused, standing};
pub use live::{Held, LiveCredential, NotReady, Ways};
pub use source::{CredentialSource, LoginFile};
pub(crate) use told::Told;
use trunkline_core::ids::CredentialId;
use trunkline_core::limits::Caps;
use trunkline_core::plan::{self, WeightSource};
use trunkline_core::selection::CredentialKind;

use trunkline_core::provider::Provider;

use crate::activity::Activity;
use crate::upstream::Endpoints;

/// A credential of a service, as one configuration has it.
#[derive(Debug)]
pub struct Credential {
    settings: CredentialSettings,
    provider: &'static dyn Provider,
    live: Arc<LiveCredential>,
}

/// What a configuration says of a credential.
#[derive(Debug)]
pub struct CredentialSettings {
    /// Its number in the table of sessions.
    pub id: CredentialId,
    /// Its name.
    pub tag: Arc<str>,
    /// Where its requests go.
    pub endpoints: Endpoints,
    /// The models it may serve, as globs; empty: all.
    pub models: Vec<String>,
    /// The names of the users who may use it, if not all may.
    pub users: Option<Vec<String>>,
    /// What it weighs, if that is not for its plan to say.
    pub weight: Option<f64>,
    /// How much of its windows is offered.
    pub caps: Caps,
}

impl Credential {
    /// A credential.
    pub fn new(
        settings: CredentialSettings,
        live: Arc<LiveCredential>,
        provider: &'static dyn Provider,
    ) -> Self {
        Self { settings, provider, live }
    }

    /// What the configuration says of it.
    pub fn settings(&self) -> &CredentialSettings {
        &self.settings
    }

    /// What outlives a change of the configuration.
    pub fn live(&self) -> &Arc<LiveCredential> {
        &self.live
    }

    /// What is under way on it.
    pub fn activity(&self) -> &Arc<Activity> {
        self.live.activity()
    }

    /// Its number.
    pub fn id(&self) -> CredentialId {
        self.settings.id
    }

    /// Its name.
    pub fn tag(&self) -> &Arc<str> {
        &self.settings.tag
    }

    /// Where its requests go.
    pub fn endpoints(&self) -> &Endpoints {
        &self.settings.endpoints
    }

    /// Whether it is a key, which has no windows and costs money: by its own, or as what stands in its login file now.
    pub fn is_api_key(&self) -> bool {
        self.live.is_api_key()
    }

    /// What it is to the selection.
    pub fn kind(&self) -> CredentialKind {
        if self.is_api_key() { CredentialKind::ApiKey } else { CredentialKind::Login }
    }

    /// What it weighs, by what is known of its plan.
    pub fn weight(&self) -> f64 {
        self.weight_by(&self.live.current())
    }

    pub(crate) fn weight_by(&self, current: &Current) -> f64 {
        let source = if self.is_api_key() {
            WeightSource::ApiKey
        } else {
            WeightSource::Plan(current.plan.as_ref().map_or(1, |plan| self.provider.plan_weight(plan)))
        };
        plan::weight(self.settings.weight, source)
    }

    /// Whether the user of this name may use it. Nobody in particular: only if it is not kept for some.
    pub fn admits_user(&self, user: Option<&str>) -> bool {
        let users = self.settings.users.as_ref();
        users.is_none_or(|users| user.is_some_and(|user| users.iter().any(|one| one == user)))
    }
}
