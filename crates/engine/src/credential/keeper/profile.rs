//! The plan of a credential's account: what the provider said last, else from its login, else asked of the provider once, and
//! kept in memory (credentials.md, *Profile and plan weight*).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_core::login::{Login, Plan};
use trunkline_core::provider::{Authorization, LoginFormat, Probe, Profile};
use trunkline_core::secret::TokenDigest;

use super::{Done, Keeper, digest};
use crate::credential::live::Ways;
use crate::credential::probe;

/// When it is asked for again, if there was no answer.
const ASK_AGAIN: Duration = Duration::from_secs(60 * 60);

/// What is known of the plan.
#[derive(Debug, Default)]
pub(super) struct PlanFacts {
    /// What polls, headers and events said last: plans change while a login stays.
    seen: Option<Plan>,
    /// What the provider said.
    profile: Option<Plan>,
    is_asking: bool,
    /// The token that it was asked with, and when it may be asked with that again.
    asked: Option<(TokenDigest, Instant)>,
}

impl PlanFacts {
    /// The plan in force.
    pub(super) fn plan<'a>(&'a self, login: Option<&'a Login>) -> Option<&'a Plan> {
        let told = login.map(|login| &login.plan).filter(|plan| plan.subscription.is_some());
        self.seen.as_ref().or(told).or(self.profile.as_ref())
    }

    /// The login is another one, perhaps of another account.
    pub(super) fn on_other_login(&mut self) {
        self.seen = None;
    }
}

impl Keeper {
    /// Asks for the profile, where the plan matters and the login does not tell it.
    pub(super) fn ask_for_profile(&mut self, ways: &Arc<Ways>) {
        if !ways.wants_plan {
            return;
        }
        let login = match (&self.login, &self.fixed) {
            (Some(login), _) if login.plan.subscription.is_none() => login.clone(),
            (None, Some(Authorization::OAuth(token))) => Login::of_token(token.clone()),
            _ => return,
        };
        let token = digest(&login.access_token);
        let is_early =
            self.plan.asked.is_some_and(|(asked, again)| asked.same(&token) && Instant::now() < again);
        if self.plan.is_asking || is_early {
            return;
        }
        let Some(probe) = self.provider.profile_request(&login) else { return };
        self.plan.is_asking = true;
        self.plan.asked = Some((token, Instant::now() + ASK_AGAIN));
        let (ways, provider) = (Arc::clone(ways), self.provider);
        self.work.spawn(async move { Done::Profile(ask(probe, &ways, provider).await) });
    }

    /// The provider has said which plan the account has.
    pub(super) fn on_plan_seen(&mut self, plan_type: &str) {
        let known = self.plan.plan(self.login.as_ref());
        if known.is_some_and(|known| known.subscription.as_deref() == Some(plan_type)) {
            return;
        }
        if let Some(before) = known.and_then(|known| known.subscription.as_deref()) {
            tracing::info!(before, plan = plan_type, "the account has another plan");
        }
        self.plan.seen = Some(Plan { subscription: Some(plan_type.to_owned()), tier: None });
    }

    pub(super) fn on_profile(&mut self, profile: Option<Profile>) {
        self.plan.is_asking = false;
        if let Some(profile) = profile {
            self.plan.profile = Some(profile.plan);
        }
    }
}

async fn ask(probe: Probe, ways: &Ways, provider: &'static dyn LoginFormat) -> Option<Profile> {
    match probe::ask(probe, ways).await {
        Ok(answer) if answer.status == 200 => provider.read_profile(&answer.body).ok(),
        _ => {
            tracing::debug!(credential = &*ways.tag, "the account's plan is not known");
            None
        }
    }
}
