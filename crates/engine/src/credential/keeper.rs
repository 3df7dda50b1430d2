//! The one task that owns what is known of a credential: events come in, decisions are core's, work goes out, and what is
//! known is published after each.

mod limits;
mod profile;
mod recovery;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use trunkline_core::auth_recovery::{Advance, AuthRecovery, CheckAnswer, ForcedRefresh, Outcome, Tries};
use trunkline_core::availability::{
    Availability, Facts, LoginChange, LoginFacts, Source, StateLog, Unavailable,
};
use trunkline_core::limits::Caps;
use trunkline_core::login::{Login, LoginError, LoginIdentity, LoginKind};
use trunkline_core::provider::{Authorization, Profile, Provider};
use trunkline_core::refresh::{RefreshKind, RefreshPolicy};
use trunkline_core::secret::{Secret, TokenDigest};
use trunkline_login_store::{
    Committed, Finished, LoginStore, LoginText, ReadError, UNAVAILABLE_POLL, WriteOutstanding, fault,
};

use self::limits::{DISABLED, Limits, PollEnd};
use self::profile::PlanFacts;
use self::recovery::{Settled, Waiting};
use super::current::Current;
use super::live::{Held, LiveCredential, Ways};
use super::probe::{self, Checked};
use super::refresh::{End, Heart, Job, blocking, report};
use super::source::CredentialSource;
use super::token_answer::TokenFormat;
use super::told::Message;
use super::waiter::Waits;

/// How often a write that failed is repeated (credentials.md, step 6).
const WRITE_AGAIN: Duration = Duration::from_secs(10);

/// The longest sleep: whatever the system's clock does, the moment that was waited for is noticed soon after it has come.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// The shortest, so that a moment that has come but leads to nothing does not keep a processor busy.
const MIN_SLEEP: Duration = Duration::from_millis(20);

/// A request whose token the provider refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) token: TokenDigest,
    pub(super) tries: Tries,
    pub(super) reply: oneshot::Sender<Outcome>,
}

/// The keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    provider: &'static dyn Provider,
    store: Option<LoginStore>,
    /// Of a credential without a file.
    fixed: Option<Authorization>,
    facts: Facts,
    policy: RefreshPolicy,
    recovery: AuthRecovery,
    log: StateLog,
    limits: Limits,
    login: Option<Login>,
    plan: PlanFacts,
    held: Option<Arc<Held>>,
    /// Whether a refresh that is under way has given a login that is not in the file yet.
    is_ahead_of_file: bool,
    /// An answer that could not be written, and when it is tried again.
    outstanding: Option<Outstanding>,
    /// Why the last refresh gave no login.
    refresh_problem: Option<Arc<str>>,
    /// When the login is to be read again though nothing says that it changed.
    look_at: Option<Instant>,
    is_looking: bool,
    /// Whether the file changed again while it was being read.
    looks_again: bool,
    is_rechecking: bool,
    /// Whether the file had another login, which has not been told yet.
    has_other_login: bool,
    waiting: Vec<Waiting>,
    /// What is to be told to requests once what it comes from has been published.
    settled: Vec<Settled>,
    refused: mpsc::Receiver<Refused>,
    file_changed: Arc<Notify>,
    ways_changed: Arc<Notify>,
    told: mpsc::Receiver<Message>,
    work: JoinSet<Done>,
    /// Logins of refreshes that are not in the file yet.
    renewed: (mpsc::UnboundedSender<Login>, mpsc::UnboundedReceiver<Login>),
    waits: Waits,
}

#[derive(Debug)]
struct Outstanding {
    /// `None` while it is being written.
    write: Option<Box<WriteOutstanding>>,
    try_at: Instant,
    _heart: Heart,
}

/// What work came to.
#[derive(Debug)]
enum Done {
    Finished(Vec<Finished>),
    Read(Result<LoginText, ReadError>),
    ReadFor(TokenDigest, Result<LoginText, ReadError>),
    Checked {
        token: TokenDigest,
        begun_at: SystemTime,
        checked: Checked,
    },
    Profile(Option<Profile>),
    Rechecked {
        begun_at: SystemTime,
        checked: Checked,
    },
    Refreshed(RefreshKind, End),
    /// What was outstanding. `None`: it panicked.
    Written(Option<Result<Committed, Box<WriteOutstanding>>>),
    Polled {
        begun_at: SystemTime,
        end: PollEnd,
    },
}

impl Keeper {
    /// A keeper that does nothing yet, with what can be known at once.
    pub(super) fn new(
        source: &CredentialSource,
        provider: &'static dyn Provider,
        refused: mpsc::Receiver<Refused>,
        told: mpsc::Receiver<Message>,
        (file_changed, ways_changed): (Arc<Notify>, Arc<Notify>),
    ) -> (Self, Current) {
        let (store, fixed) = match source {
            CredentialSource::LoginFile(file) => (Some(file.store()), None),
            CredentialSource::OAuthToken(token) => (None, Some(Authorization::OAuth(token.clone()))),
            CredentialSource::ApiKey(key) => (None, Some(Authorization::ApiKey(key.clone()))),
        };
        let kind = if store.is_some() { Source::LoginFile } else { Source::Fixed };
        let hint =
            if store.is_some() { provider.login_hint() } else { "put a new one into the configuration" };
        let now = SystemTime::now();
        let mut keeper = Self {
            provider,
            facts: Facts::new(kind, hint),
            policy: RefreshPolicy::new(),
            recovery: AuthRecovery::new(store.is_some()),
            log: StateLog::new(Availability::Usable),
            limits: Limits::new(!matches!(source, CredentialSource::ApiKey(_))),
            login: None,
            plan: PlanFacts::default(),
            held: None,
            is_ahead_of_file: false,
            outstanding: None,
            refresh_problem: None,
            look_at: None,
            is_looking: false,
            looks_again: false,
            is_rechecking: false,
            has_other_login: false,
            waiting: Vec::new(),
            settled: Vec::new(),
            refused,
            file_changed,
            ways_changed,
            told,
            work: JoinSet::new(),
            renewed: mpsc::unbounded_channel(),
            waits: Waits::default(),
            store,
            fixed,
        };
        match (&keeper.store, &keeper.fixed) {
            (Some(store), _) => {
                let read = store.read();
                keeper.on_read(read, now);
            }
            (None, Some(authorization)) => {
                let authorization = authorization.clone();
                keeper.hold(&authorization, None, now);
            }
            (None, None) => {}
        }
        keeper.log = StateLog::new(keeper.facts.state(now, &[]));
        let current = keeper.current(Caps::DEFAULT, now);
        (keeper, current)
    }

    /// Runs until `stop` ends or nobody has the credential any more; then until what must not be interrupted has ended.
    pub(super) async fn run(mut self, live: Weak<LiveCredential>, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        // A refresh finishes what was left itself. Both at once would each take the other for the owner of the journal.
        let is_due = live.upgrade().is_some_and(|live| live.ways.load().is_some())
            && self.next_start(SystemTime::now()).is_some_and(|(_, at)| at <= SystemTime::now());
        if let Some(store) = self.store.clone().filter(|_| !is_due) {
            let (format, waits) = (TokenFormat(self.provider), self.waits.clone());
            self.work.spawn(async move {
                Done::Finished(blocking(move || store.finish(&format, &waits)).await.unwrap_or_default())
            });
        }
        loop {
            let Some(alive) = live.upgrade() else { break };
            let now = SystemTime::now();
            if let Some(ways) = alive.ways.load_full() {
                self.begin_what_is_due(&ways, now);
            }
            self.publish(&alive, now);
            self.tell_settled();
            self.limits.tell_that_it_counts(&alive.untold);
            let caps = alive.ways.load().as_ref().map_or(Caps::DEFAULT, |ways| ways.caps);
            // It must be able to go while this waits.
            drop(alive);
            let sleep = tokio::time::sleep(self.until_next(caps, now));
            let event = tokio::select! {
                () = &mut stop => None,
                refused = self.refused.recv() => Some(Event::Refused(refused)),
                Some(message) = self.told.recv() => Some(Event::Told(message)),
                Some(done) = self.work.join_next(), if !self.work.is_empty() => Some(Event::Done(done.ok())),
                Some(login) = self.renewed.1.recv() => Some(Event::Renewed(login)),
                () = self.file_changed.notified() => Some(Event::FileChanged),
                () = self.ways_changed.notified() => Some(Event::Time),
                () = sleep => Some(Event::Time),
            };
            let now = SystemTime::now();
            match event {
                None | Some(Event::Refused(None)) => break,
                Some(Event::Refused(Some(refused))) => {
                    let ways = live.upgrade().and_then(|live| live.ways.load_full());
                    self.on_refused(refused, ways.as_ref(), now);
                }
                Some(Event::Done(done)) => {
                    let ways = live.upgrade().and_then(|live| live.ways.load_full());
                    self.on_done(done, ways.as_ref(), now);
                }
                Some(Event::Told(message)) => self.on_messages(message, now),
                Some(Event::Renewed(login)) => self.on_renewed(&login, now),
                Some(Event::FileChanged) => self.read_file(),
                Some(Event::Time) => {}
            }
        }
        self.end(&live).await;
    }

    /// Nothing new is begun; what waits for a lock gives up; what has been sent is waited for and kept.
    async fn end(mut self, live: &Weak<LiveCredential>) {
        self.waits.end();
        self.tell_settled();
        while let Some(done) = self.work.join_next().await {
            let now = SystemTime::now();
            while let Ok(login) = self.renewed.1.try_recv() {
                self.on_renewed(&login, now);
            }
            self.on_done(done.ok(), None, now);
            if let Some(live) = live.upgrade() {
                self.publish(&live, now);
            }
            self.tell_settled();
        }
    }

    // --- what is due ---

    fn begin_what_is_due(&mut self, ways: &Arc<Ways>, now: SystemTime) {
        if !self.is_looking && self.look_at.is_some_and(|at| at <= Instant::now()) {
            self.look_at = None;
            self.read_file();
        }
        self.ask_for_profile(ways);
        let is_refused = self.facts.is_token_refused();
        if let Some((kind, at)) = self.next_start(now)
            && let Some(login) = &self.login
        {
            if at <= now {
                self.begin_refresh(kind, ways, now);
            } else if login.expires_at.is_some_and(|end| end <= now) || is_refused {
                // Nobody waits for what may not begin.
                self.facts.on_refresh_deferred(at, now);
            }
        }
        if let Some(outstanding) = &mut self.outstanding
            && outstanding.try_at <= Instant::now()
            && let Some(write) = outstanding.write.take()
        {
            let (format, waits) = (TokenFormat(self.provider), self.waits.clone());
            self.work.spawn(async move {
                let written = blocking(move || write.answered.commit(&format, &waits)).await;
                Done::Written(written.ok())
            });
        }
        self.begin_poll_if_due(ways, now);
        let is_due = self.facts.next_recheck(now).is_some_and(|at| at <= now);
        if !self.is_rechecking && (is_due || self.is_to_be_confirmed(now)) {
            self.is_rechecking = true;
            let (probe, ways, provider) = (self.probe(), Arc::clone(ways), self.provider);
            self.work.spawn(async move {
                Done::Rechecked { begun_at: now, checked: probe::check(probe, &ways, provider).await }
            });
        }
    }

    /// The refresh that is next, and when it begins.
    fn next_start(&self, now: SystemTime) -> Option<(RefreshKind, SystemTime)> {
        let login = self.login.as_ref()?;
        self.policy.next_start(login, self.facts.is_token_refused(), now)
    }

    fn begin_refresh(&mut self, kind: RefreshKind, ways: &Arc<Ways>, now: SystemTime) {
        let (Some(store), Some(login)) = (self.store.clone(), self.login.clone()) else { return };
        self.policy.on_started(now);
        self.facts.on_refresh_started(now);
        let job = Job {
            store,
            provider: self.provider,
            kind,
            login,
            ways: Arc::clone(ways),
            waits: self.waits.clone(),
            renewed: self.renewed.0.clone(),
        };
        self.work.spawn(async move { Done::Refreshed(kind, job.run().await) });
    }

    fn read_file(&mut self) {
        let Some(store) = self.store.clone() else { return };
        if std::mem::replace(&mut self.is_looking, true) {
            // This look may have come too early.
            self.looks_again = true;
            return;
        }
        let (format, waits) = (TokenFormat(self.provider), self.waits.clone());
        self.work.spawn(async move {
            let read = blocking(move || store.read_patiently(&format, &waits)).await;
            Done::Read(read.unwrap_or(Err(ReadError::Io(std::io::ErrorKind::Other))))
        });
    }

    /// How long nothing has to be done.
    fn until_next(&self, caps: Caps, now: SystemTime) -> Duration {
        let moments = [
            self.next_moment(caps, now),
            self.next_start(now).map(|(_, at)| at),
            self.facts.next_recheck(now),
            self.poll_at(now),
        ];
        let mut wait = MAX_SLEEP;
        for at in moments.into_iter().flatten() {
            wait = wait.min(at.duration_since(now).unwrap_or_default());
        }
        let look_at = self.look_at.filter(|_| !self.is_looking);
        let write_at = self.outstanding.as_ref().filter(|outstanding| outstanding.write.is_some());
        for at in [look_at, write_at.map(|outstanding| outstanding.try_at)].into_iter().flatten() {
            wait = wait.min(at.saturating_duration_since(Instant::now()));
        }
        wait.max(MIN_SLEEP)
    }

    /// What asks whether the provider takes the authorization. `None`: there is nothing to ask with.
    fn probe(&self) -> Option<trunkline_core::provider::Probe> {
        if let Some(login) = &self.login
            && let Some(probe) = self.provider.usage_poll(login)
        {
            return Some(probe);
        }
        let authorization = self.fixed.clone().or_else(|| self.login.as_ref().map(authorization_of))?;
        if let Authorization::OAuth(token) = &authorization
            && let Some(probe) = self.provider.usage_poll(&Login::of_token(token.clone()))
        {
            return Some(probe);
        }
        self.provider.authorization_check(&authorization)
    }

    // --- what has happened ---

    fn on_done(&mut self, done: Option<Done>, ways: Option<&Arc<Ways>>, now: SystemTime) {
        match done {
            // It panicked, which the panic itself has told. Whatever was under way counts as over after a while.
            None => {
                self.is_looking = false;
                self.is_rechecking = false;
            }
            Some(Done::Polled { begun_at, end }) => self.on_polled(begun_at, end, ways, now),
            Some(Done::Finished(found)) => {
                let tag = ways.map_or("", |ways| &*ways.tag).to_owned();
                for finished in found {
                    report(&tag, &finished);
                    if let Finished::Outstanding(outstanding) = finished {
                        self.on_outstanding(outstanding, now);
                    }
                }
                self.read_file();
            }
            Some(Done::Read(read)) => {
                self.is_looking = false;
                self.on_read(read, now);
                if std::mem::take(&mut self.looks_again) {
                    self.read_file();
                }
            }
            Some(Done::ReadFor(token, read)) => {
                self.on_read(read, now);
                let current = self.held.as_ref().filter(|_| self.login.is_some()).map(|held| held.token);
                let advance = self.recovery.on_file_read(token, current);
                self.advance(token, advance, ways, now);
            }
            Some(Done::Checked { token, begun_at, checked }) => {
                if checked.answer == CheckAnswer::Accepted {
                    self.facts.on_poll_answered(begun_at, &|_| false);
                }
                // No refresh is spent on a dead account, and its token is not what is wrong.
                let refresh =
                    if checked.is_disabled { ForcedRefresh::NotNow } else { self.forced_refresh(now) };
                let advance = self.recovery.on_checked(token, begun_at, checked.answer, refresh, now);
                let mark = advance.and_then(|advance| advance.mark);
                if checked.is_disabled && mark.is_some() {
                    self.facts.on_refused(DISABLED, now);
                }
                let advance = advance.map(|advance| Advance {
                    mark: advance.mark.filter(|_| !checked.is_disabled),
                    ..advance
                });
                self.advance(token, advance, ways, now);
            }
            Some(Done::Profile(profile)) => self.on_profile(profile),
            Some(Done::Rechecked { begun_at, checked }) => {
                self.is_rechecking = false;
                self.on_confirmed(checked, now);
                let is_accepted = match checked.answer {
                    CheckAnswer::Accepted => Some(true),
                    CheckAnswer::Refused => Some(false),
                    CheckAnswer::NoAnswer => None,
                };
                self.facts.on_rechecked(is_accepted, begun_at);
            }
            Some(Done::Refreshed(kind, end)) => self.on_refreshed(kind, end, ways, now),
            Some(Done::Written(written)) => {
                self.outstanding = None;
                self.policy.set_write_outstanding(false);
                let tag = ways.map(|ways| &*ways.tag);
                match written {
                    Some(Err(left)) => self.on_outstanding(left, now),
                    Some(Ok(Committed::SetAside(reason))) => {
                        tracing::warn!(credential = tag, "the new token is kept aside: {reason}");
                        self.read_file();
                    }
                    Some(Ok(Committed::Written(_) | Committed::AlreadyWritten(_))) => {
                        tracing::info!(credential = tag, "the new token is in the login file now");
                        self.read_file();
                    }
                    None => self.read_file(),
                }
            }
        }
    }

    fn on_refreshed(&mut self, kind: RefreshKind, end: End, ways: Option<&Arc<Ways>>, now: SystemTime) {
        let tag = ways.map(|ways| &*ways.tag);
        let before = self.held.as_ref().map(|held| held.token);
        // What came before the file was written is told in order, but perhaps not yet read.
        while let Ok(login) = self.renewed.1.try_recv() {
            self.on_renewed(&login, now);
        }
        self.is_ahead_of_file = false;
        self.refresh_problem = end.problem();
        match end {
            End::Needless(login) => {
                self.policy.on_needless();
                self.take(&login, true, now);
            }
            End::Renewed => {
                self.policy.on_answered(kind, now);
                tracing::info!(credential = tag, "login refreshed");
                if let Some(login) = self.login.clone() {
                    self.take(&login, true, now);
                }
                // What was heard of the file meanwhile was put off; and somebody else may have logged in or out.
                self.read_file();
            }
            End::Outstanding(outstanding) => {
                self.policy.on_answered(kind, now);
                tracing::warn!(credential = tag, "{}", outstanding.problem);
                self.on_outstanding(outstanding, now);
            }
            End::Failed(failure) => {
                tracing::warn!(
                    credential = tag,
                    result = failure.label(),
                    "the login could not be refreshed"
                );
                let after = self.policy.on_failed(failure, now);
                self.facts.on_refresh_failed(&after, now);
            }
            End::LockedOut(why) => {
                tracing::info!(credential = tag, why, "the login is refreshed later");
                let after = self.policy.on_locked_out(now);
                self.facts.on_refresh_failed(&after, now);
            }
            End::CannotKeep(why) => {
                tracing::warn!(credential = tag, why, "the login is not refreshed");
                let after = self.policy.on_cannot_keep(why, now);
                self.facts.on_refresh_failed(&after, now);
            }
            End::NoLogin => {
                let after = self.policy.on_locked_out(now);
                self.facts.on_refresh_failed(&after, now);
                self.read_file();
            }
        }
        self.after_refresh(before, ways, now);
    }

    /// A new login that is in use before it is in the file.
    fn on_renewed(&mut self, login: &Login, now: SystemTime) {
        self.is_ahead_of_file = true;
        self.take(login, true, now);
    }

    fn on_outstanding(&mut self, outstanding: Box<WriteOutstanding>, now: SystemTime) {
        let login = outstanding.answered.login().map(|text| self.provider.read_login(text.as_bytes()));
        if let Some(Ok(login)) = login {
            self.take(&login, true, now);
        }
        self.policy.set_write_outstanding(true);
        self.outstanding = Some(Outstanding {
            _heart: Heart::beat(outstanding.answered.heartbeat()),
            write: Some(outstanding),
            try_at: Instant::now() + WRITE_AGAIN,
        });
    }

    fn on_read(&mut self, read: Result<LoginText, ReadError>, now: SystemTime) {
        if self.is_ahead_of_file {
            return;
        }
        let hint = self.provider.login_hint();
        let polled = self
            .store
            .as_ref()
            .and_then(|store| store.poll_after(read.as_ref().err().copied(), self.login.is_some()));
        self.look_at = polled.map(|after| Instant::now() + after);
        let text = match read {
            Ok(text) => text,
            // A locked screen takes nobody's token away.
            Err(ReadError::Keychain(_)) if self.login.is_some() => return,
            Err(ReadError::Missing) => return self.on_gone(format!("no login file: {hint}")),
            // The new token is good, and this is where it is to be written as soon as that is possible.
            Err(_) if self.outstanding.is_some() => return leave_alone(),
            Err(error) => return self.on_gone(error.to_string()),
        };
        if let Some(Outstanding { write, .. }) = &self.outstanding {
            // The new token is not in there yet: what is, is spent.
            let format = TokenFormat(self.provider);
            if write.as_ref().is_none_or(|write| write.answered.is_newer_than(&text, &format)) {
                return leave_alone();
            }
        }
        match self.provider.read_login(text.as_bytes()) {
            Ok(login) => self.take(&login, false, now),
            Err(LoginError::LoggedOut) => self.on_gone(format!("{}: {hint}", LoginError::LoggedOut)),
            Err(error) => self.on_gone(format!("{error}: {hint}")),
        }
    }

    fn on_gone(&mut self, why: String) {
        self.login = None;
        self.held = None;
        self.look_at = self.look_at.or_else(|| Some(Instant::now() + UNAVAILABLE_POLL));
        self.facts.on_login_gone(why);
    }

    /// Takes a login into use. `is_refreshed`: it ends a refresh.
    fn take(&mut self, login: &Login, is_refreshed: bool, now: SystemTime) {
        if !self.hold(&authorization_of(login), login.account_id.as_deref(), now) {
            return;
        }
        let facts = LoginFacts::of(login);
        self.policy.on_login(LoginIdentity::of(login));
        let change = if is_refreshed {
            self.facts.on_refresh_answered(facts)
        } else {
            self.facts.on_login_read(facts)
        };
        if change == LoginChange::Changed && !is_refreshed && self.login.is_some() {
            self.has_other_login = true;
            self.limits.on_other_login();
            self.plan.on_other_login();
        }
        self.login = Some(login.clone());
    }

    /// Makes the headers of an authorization. Whether that could be done.
    fn hold(&mut self, authorization: &Authorization, account_id: Option<&str>, now: SystemTime) -> bool {
        let (Authorization::OAuth(token) | Authorization::ApiKey(token)) = authorization;
        let digest = digest(token);
        if self.held.as_ref().is_some_and(|held| held.token.same(&digest)) {
            return true;
        }
        if let Some(prepared) = self.provider.prepare(authorization, account_id) {
            self.held = Some(Arc::new(Held { authorization: prepared, token: digest }));
            return true;
        }
        let why = "its token has characters that no header can carry";
        if self.store.is_some() {
            self.on_gone(why.to_owned());
        } else {
            self.facts.on_refused(why, now);
        }
        false
    }

    // --- what is told ---

    fn current(&self, caps: Caps, now: SystemTime) -> Current {
        let plan = self.plan.plan(self.login.as_ref()).cloned();
        let windows = self.limits.windows.clone();
        let problems = [self.refresh_problem.clone(), self.limits.poll_problem()];
        Current::new(self.facts.clone(), self.held.clone(), problems, (windows, caps), plan, now)
    }

    fn publish(&mut self, live: &LiveCredential, now: SystemTime) {
        let ways = live.ways.load_full();
        let caps = ways.as_ref().map_or(Caps::DEFAULT, |ways| ways.caps);
        let change = self.log.observe(self.state(caps, now), now);
        let has_other_login = std::mem::take(&mut self.has_other_login);
        if has_other_login
            && change.is_none()
            && let Some(ways) = &ways
        {
            tracing::info!(
                service = &*ways.service,
                "credential {}: login file changed, read again",
                ways.tag
            );
        }
        if let Some(change) = &change
            && let Some(ways) = &ways
        {
            let service = &*ways.service;
            if matches!(&change.to, Availability::Unavailable { why } if !matches!(why, Unavailable::NoLogin(_)))
            {
                tracing::warn!(service, "{}", change.line(&ways.tag));
            } else {
                tracing::info!(service, "{}", change.line(&ways.tag));
            }
        }
        if self.is_ahead_of_file {
            fault::pass("renewed.publishing");
        }
        live.ignored.store(self.limits.ignored, Ordering::Relaxed);
        live.publish(self.current(caps, now));
        if self.is_ahead_of_file {
            fault::pass("renewed.published");
        }
        if let Some(change) = change {
            // After that, so that whoever looks when it is told sees it.
            live.on_state_changed(change, ways.as_deref());
        }
        // After that, so that nobody who goes elsewhere is sent here again.
        if self.limits.begins_to_interrupt(self.facts.interrupts(now)) {
            live.interrupted.send_modify(|times| *times = times.wrapping_add(1));
        }
    }
}

#[derive(Debug)]
enum Event {
    Refused(Option<Refused>),
    Told(Message),
    Done(Option<Done>),
    Renewed(Login),
    FileChanged,
    Time,
}

fn leave_alone() {
    tracing::debug!("what stands in the login file is not used: a new token is to be written there");
}

fn authorization_of(login: &Login) -> Authorization {
    match login.kind {
        LoginKind::OAuth => Authorization::OAuth(login.access_token.clone()),
        LoginKind::ApiKey => Authorization::ApiKey(login.access_token.clone()),
    }
}

fn digest(token: &Secret) -> TokenDigest {
    TokenDigest::of(token.expose().as_bytes())
}
