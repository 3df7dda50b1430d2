//! What is known of a credential, for whoever wants to use it.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::fast::FixedState;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use trunkline_core::auth_recovery::{Outcome, Tries};
use trunkline_core::availability::{Availability, BlockReason, Change, FailureCounts, RequestEnd};
use trunkline_core::limits::{Caps, Windows};
use trunkline_core::login::{LoginKind, Plan};
use trunkline_core::provider::{PreparedAuthorization, Provider};
use trunkline_core::secret::TokenDigest;
use trunkline_core::selection::{Fact, Scope};
use trunkline_core::socket::SocketHealth;

use super::current::Current;
use super::keeper::{Keeper, Refused};
use super::source::CredentialSource;
use super::told::{MAX_TOLD, Message, Told};
use crate::activity::Activity;
use crate::changed_members::ChangedMembers;
use crate::state_changes::{StateChange, StateChanges, StateCounts};
use crate::upstream::{Endpoints, Upstream};

/// How long a request waits for a refresh that is under way (credentials.md).
const REFRESH_PATIENCE: Duration = Duration::from_secs(15);

/// How long a request waits to be told what became of a refused token: a poll with its connections, and a refresh.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(90);

/// Refused tokens that can wait to be looked into. More at once find out nothing more.
const MAX_REFUSED: usize = 1_024;

/// How long a request waits until what it told counts. The keeper only has to be run.
const TELLING_PATIENCE: Duration = Duration::from_secs(1);

/// For how many seconds headers that say the same as before are not told again: they only say that they still hold.
const SAME_AGAIN: u64 = 60;

/// How often anything was published of any credential of the process.
static PUBLISHED: AtomicU64 = AtomicU64::new(0);

/// What of a credential outlives a change of the configuration.
#[derive(Debug)]
pub struct LiveCredential {
    source: CredentialSource,
    activity: Arc<Activity>,
    states: StateCounts,
    /// Values of limits that were ignored, since they can be none.
    pub(super) ignored: AtomicU64,
    pub(super) ways: ArcSwapOption<Ways>,
    current: ArcSwap<Current>,
    changed: watch::Sender<()>,
    /// The orders of pools that it is in, each with its place there.
    orders: Mutex<Vec<(Weak<ChangedMembers>, usize)>>,
    refused: mpsc::Sender<Refused>,
    told: mpsc::Sender<Message>,
    /// Messages that are not in `current` yet.
    pub(super) untold: AtomicUsize,
    /// What the limit headers were that were told last, as a hash, and when: seconds since 1970.
    last_headers: AtomicU64,
    last_headers_at: AtomicU64,
    /// Changes when requests that wait for a head are to go elsewhere.
    pub(super) interrupted: watch::Sender<u64>,
    /// What became of its last WebSockets. It is none of the keeper's, since nothing but opening another one depends on it.
    sockets: Mutex<SocketHealth>,
    file_changed: Arc<Notify>,
    ways_changed: Arc<Notify>,
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
    /// The provider's addresses.
    pub endpoints: Endpoints,
    /// The token endpoint.
    pub token: Arc<Upstream>,
    /// Our own `User-Agent`.
    pub user_agent: HeaderValue,
    /// Whether it matters what its account's plan is: there are others beside it.
    pub wants_plan: bool,
    /// How much of its windows its owner offers.
    pub caps: Caps,
    /// Where changes of its state are told.
    pub changes: StateChanges,
}

/// What to authenticate with.
#[derive(Debug)]
pub struct Held {
    /// As headers.
    pub authorization: PreparedAuthorization,
    /// What tells the token from others.
    pub token: TokenDigest,
}

impl Held {
    /// What kind of access it gives.
    pub(crate) fn kind(&self) -> LoginKind {
        if self.authorization.is_oauth { LoginKind::OAuth } else { LoginKind::ApiKey }
    }
}

/// Why there is nothing to authenticate with now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotReady(pub String);

impl LiveCredential {
    /// What `source` gives; a login file is read at once, without waiting for anybody.
    pub fn new(source: CredentialSource, provider: &'static dyn Provider) -> Arc<Self> {
        let (refused, refusals) = mpsc::channel(MAX_REFUSED);
        let (told, messages) = mpsc::channel(MAX_TOLD);
        let (file_changed, ways_changed) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let wakes = (Arc::clone(&file_changed), Arc::clone(&ways_changed));
        let (keeper, current) = Keeper::new(&source, provider, refusals, messages, wakes);
        Arc::new(Self {
            source,
            activity: Arc::default(),
            states: StateCounts::new(SystemTime::now()),
            ignored: AtomicU64::new(0),
            ways: ArcSwapOption::empty(),
            current: ArcSwap::from_pointee(current),
            changed: watch::Sender::new(()),
            orders: Mutex::default(),
            refused,
            told,
            untold: AtomicUsize::new(0),
            last_headers: AtomicU64::new(0),
            last_headers_at: AtomicU64::new(0),
            interrupted: watch::Sender::new(0),
            sockets: Mutex::default(),
            file_changed,
            ways_changed,
            keeper: Mutex::new(Some(keeper)),
        })
    }

    /// What it was made of.
    pub fn source(&self) -> &CredentialSource {
        &self.source
    }

    /// Whether it is an API key, or its login file holds one instead of a login.
    pub fn is_api_key(&self) -> bool {
        match &self.source {
            CredentialSource::ApiKey(_) => true,
            CredentialSource::OAuthToken(_) => false,
            CredentialSource::LoginFile(_) => self.current.load().is_api_key(),
        }
    }

    /// What is under way on it.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// What became of its last WebSockets.
    pub(crate) fn sockets(&self) -> MutexGuard<'_, SocketHealth> {
        // Nothing in it can panic half way.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of its state.
    pub fn states(&self) -> &StateCounts {
        &self.states
    }

    /// How many values of limits were ignored, in headers and polls, since they can be none (limits.md): negative, not finite,
    /// unreadable, contradictory, or of a window that would end too far ahead.
    pub fn ignored_observations(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// How it reaches its provider from now on.
    pub fn set_ways(&self, ways: Ways) {
        self.ways.store(Some(Arc::new(ways)));
        self.ways_changed.notify_one();
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
        self.current.load().state(now)
    }

    /// What is known of its windows.
    pub fn windows(&self) -> Windows {
        self.current.load().windows.clone()
    }

    /// Failures of its requests that changed no state, since the start.
    pub fn failure_counts(&self) -> FailureCounts {
        self.current.load().facts.failure_counts()
    }

    /// A number that changes whenever anything is published of any credential: while it stays, all of them are what they
    /// were, but for what time does.
    pub(crate) fn published() -> u64 {
        PUBLISHED.load(Ordering::Acquire)
    }

    /// Everything that is known.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// To be woken at every change of what is known.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether requests that wait for a head are to go elsewhere (routing.md, *Interrupts*).
    pub(crate) fn is_interrupting(&self, now: SystemTime) -> bool {
        self.current.load().facts.interrupts(now)
    }

    /// To be woken when that begins.
    pub(crate) fn interrupts(&self) -> watch::Receiver<u64> {
        self.interrupted.subscribe()
    }

    /// Why it cannot be used at `now`; `None` if it can. Tags and reasons only, no paths.
    pub fn why_not(&self, now: SystemTime) -> Option<String> {
        let current = self.current.load();
        let state = current.state(now);
        (state != Availability::Usable).then(|| reason(&state, &current))
    }

    /// The plan of its account, where it is known: from the login, else from the provider's profile.
    pub fn plan(&self) -> Option<Plan> {
        self.current.load().plan.clone()
    }

    /// Marks it in this order at its place there whenever what is known of it changes, as long as there is that order.
    pub(crate) fn mark_changes_in(&self, order: &Arc<ChangedMembers>, place: usize) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // Each change of the configuration makes new ones.
        orders.retain(|(order, _)| order.strong_count() > 0);
        orders.push((Arc::downgrade(order), place));
    }

    pub(super) fn publish(&self, current: Current) {
        self.current.store(Arc::new(current));
        // After it, so that whoever has seen this number sees what it counts.
        PUBLISHED.fetch_add(1, Ordering::Release);
        for (order, place) in self.orders.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(order) = order.upgrade() {
                order.mark(*place);
            }
        }
        self.changed.send_replace(());
    }

    /// The state that is published is another one than before.
    pub(super) fn on_state_changed(&self, change: Change, ways: Option<&Ways>) {
        self.states.count(&change);
        if let Some(ways) = ways {
            let (service, credential) = (Arc::clone(&ways.service), Arc::clone(&ways.tag));
            ways.changes.tell(StateChange { service, credential, change });
        }
    }

    /// What to authenticate with, if that is good at `now`.
    pub(crate) fn held(&self, now: SystemTime) -> Option<Arc<Held>> {
        self.current.load().held(now).map(Arc::clone)
    }

    /// Whether anything that is known to be in the way concerns some models only; of what is over that may still be said.
    pub(crate) fn may_be_limited_by_model(&self) -> bool {
        self.current.load().facts_published().iter().any(|fact| {
            matches!(
                fact,
                Fact::RateLimited { scope: Scope::ModelFamily(_), .. }
                    | Fact::Capped { scope: Scope::ModelFamily(_), .. }
                    | Fact::Throttled { family: Some(_), .. }
            )
        })
    }

    /// What to authenticate with now, once a refresh that is under way has ended; or why there is nothing: tags and
    /// reasons only, no paths.
    pub async fn authorization(&self) -> Result<Arc<Held>, NotReady> {
        if let Some(held) = self.held(SystemTime::now()) {
            return Ok(held);
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
                let (current, now) = (self.current.load(), SystemTime::now());
                // Blocks and limits are a matter of selection.
                if let Some(held) = current.held(now) {
                    return Ok(Arc::clone(held));
                }
                match current.facts.state(now, &[]) {
                    Availability::Refreshing { .. } => {}
                    state => return Err(NotReady(reason(&state, &current))),
                }
            }
            // The sender lives in `self`.
            let _ = changed.changed().await;
        }
    }

    /// Tells what a request found out, and does not wait for it to count.
    pub(crate) fn tell(&self, told: Told) {
        self.send(Message { told, done: None });
    }

    /// Tells what a request found out, and waits until it counts: what is selected next is selected by it.
    pub(crate) async fn tell_and_wait(&self, told: Told) {
        let (done, counts) = oneshot::channel();
        if self.send(Message { told, done: Some(done) }) {
            // Not in time, or the keeper has ended: it is then selected by what is known.
            let _ = tokio::time::timeout(TELLING_PATIENCE, counts).await;
        }
    }

    fn send(&self, message: Message) -> bool {
        self.untold.fetch_add(1, Ordering::AcqRel);
        let is_sent = self.told.try_send(message).is_ok();
        if !is_sent {
            self.untold.fetch_sub(1, Ordering::AcqRel);
        }
        is_sent
    }

    /// An answer came whose status says that the credential works, or says nothing about it. Told only where that changes
    /// anything, which is nearly never.
    pub(crate) fn on_answered(&self, is_good: bool) {
        if self.untold.load(Ordering::Acquire) > 0 || !self.current.load().facts.is_untroubled() {
            self.tell(Told::Ended(if is_good { RequestEnd::Good } else { RequestEnd::Answered }));
        }
    }

    /// Looks at the headers of an answer for what they say of limits. Nothing is read or told if they say the same as those
    /// of a moment ago.
    pub(crate) fn on_headers(
        &self,
        provider: &dyn Provider,
        status: StatusCode,
        headers: &HeaderMap,
        now: SystemTime,
    ) {
        // A key has no windows.
        if matches!(self.source, CredentialSource::ApiKey(_)) {
            return;
        }
        let facts = provider.limit_facts();
        let mut hasher = FixedState::default().build_hasher();
        let mut has_any = false;
        for (name, value) in headers {
            if facts.is_read(name.as_str()) {
                has_any = true;
                hasher.write(name.as_str().as_bytes());
                hasher.write(value.as_bytes());
            }
        }
        if !has_any {
            return;
        }
        let hash = hasher.finish();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let since = self.last_headers_at.load(Ordering::Relaxed);
        if self.last_headers.load(Ordering::Relaxed) == hash && (since..since + SAME_AGAIN).contains(&seconds)
        {
            return;
        }
        self.last_headers.store(hash, Ordering::Relaxed);
        self.last_headers_at.store(seconds, Ordering::Relaxed);
        let readings = facts.read_headers(status, headers, now);
        if readings.is_worth_telling() {
            self.tell(Told::Readings(readings));
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

/// A state in words: why a request cannot be served.
fn reason(state: &Availability, current: &Current) -> String {
    match state {
        Availability::Unavailable { why } => why.to_string(),
        Availability::Blocked { reason: BlockReason::RefreshCooldown, .. } => {
            let problem = current.refresh_problem.as_deref().unwrap_or("it is tried again");
            format!("its login has expired and could not be refreshed: {problem}")
        }
        Availability::Blocked { reason: reason @ BlockReason::PollFailed, .. } => {
            match current.poll_problem.as_deref() {
                Some(problem) => format!("{}: {problem}", reason.label()),
                None => reason.label().to_owned(),
            }
        }
        Availability::Blocked { reason, .. } => reason.label().to_owned(),
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
