//! What is known of a credential, for whoever wants to use it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use trunkline_core::auth_recovery::{Outcome, Tries};
use trunkline_core::availability::{Availability, BlockReason, Facts};
use trunkline_core::login::Plan;
use trunkline_core::provider::{PreparedAuthorization, Provider};
use trunkline_core::secret::TokenDigest;

use super::keeper::{Keeper, Refused};
use super::source::CredentialSource;
use crate::activity::Activity;
use crate::upstream::Upstream;

/// How long a request waits for a refresh that is under way (credentials.md).
const REFRESH_PATIENCE: Duration = Duration::from_secs(15);

/// How long a request waits to be told what became of a refused token: a poll with its connections, and a refresh.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(90);

/// Refused tokens that can wait to be looked into. More at once find out nothing more.
const MAX_REFUSED: usize = 1_024;

/// What of a credential outlives a change of the configuration.
#[derive(Debug)]
pub struct LiveCredential {
    source: CredentialSource,
    activity: Arc<Activity>,
    pub(super) ways: ArcSwapOption<Ways>,
    current: ArcSwap<Current>,
    changed: watch::Sender<()>,
    refused: mpsc::Sender<Refused>,
    file_changed: Arc<Notify>,
    /// Until it is started.
    keeper: Mutex<Option<Keeper>>,
}

/// How a credential reaches its provider for requests of its own, and what it is called there and in the log.
#[derive(Debug)]
pub struct Ways {
    /// The service's tag.
    pub service: Arc<str>,
    /// The credential's tag.
    pub tag: Arc<str>,
    /// The provider's API.
    pub api: Arc<Upstream>,
    /// The token endpoint.
    pub token: Arc<Upstream>,
    /// Our own `User-Agent`.
    pub user_agent: HeaderValue,
    /// Whether it matters what its account's plan is: there are others beside it.
    pub wants_plan: bool,
}

/// What to authenticate with.
#[derive(Debug)]
pub struct Held {
    /// As headers.
    pub authorization: PreparedAuthorization,
    /// What tells the token from others.
    pub token: TokenDigest,
}

/// Everything that is known at one time.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) facts: Facts,
    pub(super) held: Option<Arc<Held>>,
    /// Why the last refresh gave no login, where that is worth telling.
    pub(super) refresh_problem: Option<Arc<str>>,
    /// As long as this is ahead, nothing has to be looked at; `None`: something has.
    pub(super) good_until: Option<SystemTime>,
    /// The account's plan, where it is known.
    pub(super) plan: Option<Plan>,
}

/// Why there is nothing to authenticate with now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotReady(pub String);

impl LiveCredential {
    /// What `source` gives; a login file is read at once, without waiting for anybody.
    pub fn new(source: CredentialSource, provider: &'static dyn Provider) -> Arc<Self> {
        let (refused, refusals) = mpsc::channel(MAX_REFUSED);
        let file_changed = Arc::<Notify>::default();
        let (keeper, current) = Keeper::new(&source, provider, refusals, Arc::clone(&file_changed));
        Arc::new(Self {
            source,
            activity: Arc::default(),
            ways: ArcSwapOption::empty(),
            current: ArcSwap::from_pointee(current),
            changed: watch::Sender::new(()),
            refused,
            file_changed,
            keeper: Mutex::new(Some(keeper)),
        })
    }

    /// What it was made of.
    pub fn source(&self) -> &CredentialSource {
        &self.source
    }

    /// What is under way on it.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// How it reaches its provider from now on.
    pub fn set_ways(&self, ways: Ways) {
        self.ways.store(Some(Arc::new(ways)));
    }

    /// The task that keeps it, to be run once; `None` if that was done already. It ends when `stop` does, after what must
    /// not be interrupted, or when nobody has the credential any more.
    pub fn start<S: Future<Output = ()> + Send>(
        self: &Arc<Self>,
        stop: S,
    ) -> Option<impl Future<Output = ()> + Send + use<S>> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(keeper.run(Arc::downgrade(self), stop))
    }

    /// The login file has changed, or may have.
    pub fn on_file_changed(&self) {
        self.file_changed.notify_one();
    }

    /// Its state at `now`.
    pub fn state(&self, now: SystemTime) -> Availability {
        self.current.load().facts.state(now, &[])
    }

    /// Why it cannot be used at `now`; `None` if it can. Tags and reasons only, no paths.
    pub fn why_not(&self, now: SystemTime) -> Option<String> {
        let current = self.current.load();
        let state = current.facts.state(now, &[]);
        (state != Availability::Usable).then(|| reason(&state, current.refresh_problem.as_deref()))
    }

    /// The plan of its account, where it is known: from the login, else from the provider's profile.
    pub fn plan(&self) -> Option<Plan> {
        self.current.load().plan.clone()
    }

    pub(super) fn publish(&self, current: Current) {
        self.current.store(Arc::new(current));
        self.changed.send_replace(());
    }

    /// What to authenticate with now, once a refresh that is under way has ended; or why there is nothing: tags and
    /// reasons only, no paths.
    pub async fn authorization(&self) -> Result<Arc<Held>, NotReady> {
        let now = SystemTime::now();
        {
            let current = self.current.load();
            if current.good_until.is_some_and(|until| now < until)
                && let Some(held) = &current.held
            {
                return Ok(Arc::clone(held));
            }
        }
        let waited = tokio::time::timeout(REFRESH_PATIENCE, self.settled()).await;
        waited
            .unwrap_or_else(|_| Err(NotReady("its login is being refreshed, and that takes long".to_owned())))
    }

    /// Waits until it is not being refreshed any more.
    async fn settled(&self) -> Result<Arc<Held>, NotReady> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let current = self.current.load();
                match (current.facts.state(SystemTime::now(), &[]), &current.held) {
                    (Availability::Usable, Some(held)) => return Ok(Arc::clone(held)),
                    (Availability::Refreshing { .. }, _) => {}
                    (state, _) => {
                        return Err(NotReady(reason(&state, current.refresh_problem.as_deref())));
                    }
                }
            }
            // The sender lives in `self`.
            let _ = changed.changed().await;
        }
    }

    /// The provider refused `token`, of a request that cannot be sent again: to be looked into for the next.
    pub fn on_refused(&self, token: TokenDigest, tries: Tries) {
        let (reply, _) = oneshot::channel();
        // As many as that are being looked into already.
        let _ = self.refused.try_send(Refused { token, tries, reply });
    }

    /// The provider refused `token`: what the request is to do. Found out once for all requests that fail together.
    pub async fn recover(&self, token: TokenDigest, tries: Tries) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        if self.refused.try_send(Refused { token, tries, reply }).is_err() {
            return Outcome::PassThrough;
        }
        match tokio::time::timeout(RECOVERY_PATIENCE, outcome).await {
            Ok(Ok(outcome)) => outcome,
            // Nobody keeps it any more, or it takes too long: the refusal is told as it is.
            Ok(Err(_)) | Err(_) => Outcome::PassThrough,
        }
    }
}

/// A state in words: why a request cannot be served. `refresh_problem`: why the last refresh gave no login.
fn reason(state: &Availability, refresh_problem: Option<&str>) -> String {
    match state {
        Availability::Unavailable { why } => why.to_string(),
        Availability::Blocked { reason: BlockReason::RefreshCooldown, .. } => {
            let problem = refresh_problem.unwrap_or("it is tried again");
            format!("its login has expired and could not be refreshed: {problem}")
        }
        Availability::Blocked { reason, .. } => format!("blocked ({})", reason.label()),
        Availability::RateLimited { window, .. } | Availability::Capped { window, .. } => {
            format!("at its limit ({window})")
        }
        Availability::Refreshing { .. } => "its login is being refreshed".to_owned(),
        Availability::Usable => "it has no authorization".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_core::provider::claude::Claude;
    use trunkline_core::secret::Secret;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn live() -> Arc<LiveCredential> {
        LiveCredential::new(CredentialSource::ApiKey(Secret::new("key")), &Claude)
    }

    #[tokio::test]
    async fn the_keeper_ends_with_the_credential_or_when_it_is_told() {
        let credential = live();
        let keeper = tokio::spawn(credential.start(std::future::pending()).unwrap());
        assert!(credential.start(std::future::pending()).is_none(), "one keeper each");
        tokio::task::yield_now().await;
        drop(credential);
        tokio::time::timeout(PATIENCE, keeper).await.unwrap().unwrap();

        let credential = live();
        let (stop, stopped) = oneshot::channel::<()>();
        let keeper = tokio::spawn(credential.start(async { drop(stopped.await) }).unwrap());
        stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, keeper).await.unwrap().unwrap();
        // What is known stays known, and nobody waits for somebody who has gone.
        let held = credential.authorization().await.unwrap();
        assert_eq!(credential.recover(held.token, Tries::default()).await, Outcome::PassThrough);
    }
}
