//! Limits: what answers and polls say of the windows, what refusals make of the credential, and when to poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::sync::oneshot;
use trunkline_core::auth_recovery::{CheckAnswer, Tries, is_auth_failure};
use trunkline_core::availability::{Availability, RequestEnd};
use trunkline_core::failure::ErrorFields;
use trunkline_core::limits::credential_state::{capped_windows, is_below_cap, rate_limit};
use trunkline_core::limits::poll_schedule::{Due, INTERVAL, PollResult, PollSchedule, PollState};
use trunkline_core::limits::{Caps, Readings, Refusal, Source, Windows};
use trunkline_core::login::{Login, LoginKind};
use trunkline_core::provider::{Authorization, Probe, Provider};
use trunkline_core::retry_after::retry_after;

use super::{Done, Keeper, Refused};
use crate::credential::live::Ways;
use crate::credential::probe::{self, Checked};
use crate::credential::told::{Message, Told};
use crate::own_request::OwnAnswer;

/// How much of the reason for a failed poll is kept, in characters: it is shown on one line.
const MAX_PROBLEM: usize = 300;

/// Messages taken in one go, before what is known is published.
const AT_ONCE: usize = 256;

/// What a credential is that the provider says is disabled.
pub(super) const DISABLED: &str =
    "the provider says that the account is disabled: see to it there, or log in with another account";

/// What the keeper knows of limits.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) windows: Windows,
    schedule: PollSchedule,
    /// Whether there is anything to ask: not for keys, nor for tokens that may not.
    is_polled: bool,
    /// Whether the provider has said that the account is disabled, and a poll is to tell.
    is_suspected: bool,
    is_interrupting: bool,
    /// Values that were ignored, since they can be none.
    pub(super) ignored: u64,
    /// Who waits for what it told to count, and how many messages that were.
    waiting: Vec<oneshot::Sender<()>>,
    taken: usize,
    /// Why the last poll failed, if it did. Never a secret: a status, or what became of the connection.
    poll_problem: Option<Arc<str>>,
}

/// How a poll ended.
#[derive(Debug)]
pub(super) enum PollEnd {
    /// With data, or without any.
    Answered(Box<Readings>),
    /// 429.
    RateLimited(Option<Duration>),
    /// 401, or 403 revoked.
    TokenRefused,
    /// The account is disabled.
    Disabled,
    /// 403: this login may not ask.
    Forbidden,
    /// Anything else: why.
    Failed(String),
}

impl Limits {
    pub(super) fn new(is_polled: bool) -> Self {
        Self {
            windows: Windows::new(),
            schedule: PollSchedule::new(INTERVAL),
            is_polled,
            is_suspected: false,
            is_interrupting: false,
            ignored: 0,
            waiting: Vec::new(),
            taken: 0,
            poll_problem: None,
        }
    }

    /// Why the last poll failed, if it did.
    pub(super) fn poll_problem(&self) -> Option<Arc<str>> {
        self.poll_problem.clone()
    }

    /// What was taken so far has been published.
    pub(super) fn tell_that_it_counts(&mut self, untold: &AtomicUsize) {
        untold.fetch_sub(std::mem::take(&mut self.taken), Ordering::AcqRel);
        for waiting in self.waiting.drain(..) {
            // One that has gone needs not be told.
            let _ = waiting.send(());
        }
    }

    /// Another login, perhaps of another account: a poll tells what it has used.
    pub(super) fn on_other_login(&mut self) {
        // The one before may have been a key.
        self.is_polled = true;
        self.schedule.on_login_change();
    }

    /// Notes whether requests are to be interrupted; whether that is new.
    pub(super) fn begins_to_interrupt(&mut self, interrupts: bool) -> bool {
        let before = std::mem::replace(&mut self.is_interrupting, interrupts);
        interrupts && !before
    }

    fn observe(&mut self, readings: &Readings, source: Source, now: SystemTime) {
        let observed = self.windows.observe(readings, source, now);
        self.ignored = self.ignored.saturating_add(u64::from(observed.ignored));
        if observed.is_fresh {
            self.schedule.on_fresh_data(fastrand::f64(), now);
        }
    }
}

impl Keeper {
    fn observe(&mut self, readings: &Readings, source: Source, now: SystemTime) {
        self.limits.observe(readings, source, now);
        if let Some(plan_type) = &readings.plan_type {
            self.on_plan_seen(plan_type);
        }
    }

    /// The state at `now`, caps included.
    pub(super) fn state(&self, caps: Caps, now: SystemTime) -> Availability {
        self.facts.state(now, &capped_windows(&self.limits.windows, caps, now))
    }

    /// When anything that is known begins or ends to count.
    pub(super) fn next_moment(&self, caps: Caps, now: SystemTime) -> Option<SystemTime> {
        self.facts.next_moment(now, &capped_windows(&self.limits.windows, caps, now))
    }

    // --- what requests tell ---

    /// Takes a message and those that wait behind it.
    pub(super) fn on_messages(&mut self, first: Message, now: SystemTime) {
        let mut message = Some(first);
        while let Some(Message { told, done }) = message.take() {
            self.on_told(told, now);
            self.limits.taken += 1;
            self.limits.waiting.extend(done);
            if self.limits.taken < AT_ONCE {
                message = self.told.try_recv().ok();
            }
        }
    }

    fn on_told(&mut self, told: Told, now: SystemTime) {
        match told {
            Told::Readings(readings) => self.observe(&readings, Source::InBand, now),
            Told::Ended(end) => self.facts.on_request_ended(&end, now),
            Told::Refused { readings, refusal, model } => {
                self.observe(&readings, Source::InBand, now);
                self.on_refusal(&refusal, model.as_deref(), now);
            }
            Told::Limited { window, scope, until, needs_poll } => {
                self.facts.on_request_ended(&RequestEnd::Answered, now);
                self.facts.on_rate_limited(&window, scope, until, now);
                if needs_poll {
                    self.limits.schedule.force();
                }
            }
            Told::MaybeDisabled => {
                self.limits.is_suspected = true;
                self.limits.schedule.force();
            }
            Told::Disabled => {
                self.limits.is_suspected = false;
                self.facts.on_refused(DISABLED, now);
            }
        }
    }

    fn is_api_key(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.kind() == LoginKind::ApiKey)
    }

    fn on_refusal(&mut self, refusal: &Refusal, model: Option<&str>, now: SystemTime) {
        self.limits.windows.refuse(refusal, model, now);
        match refusal {
            Refusal::Burst { retry_after } => {
                self.facts.on_request_ended(&RequestEnd::Answered, now);
                // A key is limited by model.
                let family = model.filter(|_| self.is_api_key());
                let family = family.and_then(|model| self.provider.limit_facts().key_scope(model));
                self.facts.on_burst(family.map(|family| family.to_string()).as_deref(), *retry_after, now);
            }
            _ => self.facts.on_request_ended(&RequestEnd::Answered, now),
        }
        if let Some(limit) = rate_limit(refusal, &self.limits.windows, now) {
            self.facts.on_rate_limited(&limit.window, limit.scope, limit.until, now);
        }
        if refusal.wants_poll() {
            self.limits.schedule.force();
        }
    }

    // --- disabled accounts ---

    /// Whether a check is to tell if the account is disabled: where there is no usage to be polled, which would tell.
    pub(super) fn is_to_be_confirmed(&self, now: SystemTime) -> bool {
        self.limits.is_suspected && !self.limits.is_polled && self.facts.has_good_token(now)
    }

    /// A check has told whether a suspicion is right. No answer leaves it to the next request.
    pub(super) fn on_confirmed(&mut self, checked: Checked, now: SystemTime) {
        if std::mem::take(&mut self.limits.is_suspected) && checked.answer == CheckAnswer::Refused {
            self.facts.on_refused(DISABLED, now);
        }
    }

    // --- polls ---

    /// When the next poll is due, if there may be one.
    pub(super) fn poll_at(&self, now: SystemTime) -> Option<SystemTime> {
        if !self.may_poll(now) {
            return None;
        }
        match self.limits.schedule.due(now) {
            Due::Now => Some(now),
            Due::At(at) => Some(at),
        }
    }

    /// Not with a token that is known to be bad, nor for a credential that was refused as a whole: these are rechecked.
    fn may_poll(&self, now: SystemTime) -> bool {
        self.limits.is_polled
            && self.held.is_some()
            && self.facts.has_good_token(now)
            && !matches!(self.facts.state(now, &[]), Availability::Unavailable { .. })
    }

    pub(super) fn begin_poll_if_due(&mut self, ways: &Arc<Ways>, now: SystemTime) {
        let out_of_use = match self.state(ways.caps, now) {
            Availability::RateLimited { until, .. } => Some(until),
            Availability::Capped { .. } => self.next_moment(ways.caps, now),
            _ => None,
        };
        self.limits.schedule.on_out_of_use(out_of_use, now);
        if !self.may_poll(now) || self.limits.schedule.due(now) != Due::Now {
            return;
        }
        let Some(probe) = self.usage_probe() else {
            self.limits.is_polled = false;
            return;
        };
        if self.limits.schedule.begin(now) {
            let (provider, ways) = (self.provider, Arc::clone(ways));
            self.work.spawn(async move {
                Done::Polled { begun_at: now, end: end_of(provider, probe::ask(probe, &ways).await) }
            });
        }
    }

    fn usage_probe(&self) -> Option<Probe> {
        match (&self.login, &self.fixed) {
            (Some(login), _) => self.provider.usage_poll(login),
            (None, Some(Authorization::OAuth(token))) => {
                self.provider.usage_poll(&Login::of_token(token.clone()))
            }
            (None, _) => None,
        }
    }

    pub(super) fn on_polled(
        &mut self,
        begun_at: SystemTime,
        end: PollEnd,
        ways: Option<&Arc<Ways>>,
        now: SystemTime,
    ) {
        let caps = ways.map_or(Caps::DEFAULT, |ways| ways.caps);
        let is_suspected = std::mem::take(&mut self.limits.is_suspected);
        let mut why = String::new();
        let result = match end {
            PollEnd::Answered(readings) => {
                let is_fresh = readings.carries_data();
                self.observe(&readings, Source::Poll, now);
                let windows = &self.limits.windows;
                self.facts
                    .on_poll_answered(begun_at, &|limited| is_below_cap(windows, caps, &limited.window, now));
                PollResult::Answered { is_fresh }
            }
            PollEnd::RateLimited(wait) => PollResult::RateLimited { retry_after: wait },
            // An account that is said to be dead has its tokens refused: another one would be spent for nothing.
            PollEnd::TokenRefused | PollEnd::Forbidden if is_suspected => {
                self.facts.on_refused(DISABLED, now);
                PollResult::Answered { is_fresh: false }
            }
            PollEnd::TokenRefused => PollResult::TokenRefused,
            PollEnd::Disabled => {
                self.facts.on_refused(DISABLED, now);
                PollResult::Answered { is_fresh: false }
            }
            PollEnd::Forbidden if self.store.is_none() => {
                // A token for inference alone (credentials.md, `oauth_token`).
                self.limits.is_polled = false;
                PollResult::Answered { is_fresh: false }
            }
            PollEnd::Forbidden => {
                "it was answered 403".clone_into(&mut why);
                PollResult::Failed
            }
            PollEnd::Failed(text) => {
                why = text;
                PollResult::Failed
            }
        };
        if result == PollResult::Failed {
            self.facts.on_poll_failed();
            let shown: String = why.chars().filter(|c| !c.is_control()).take(MAX_PROBLEM).collect();
            self.limits.poll_problem = Some(shown.into());
        } else {
            self.limits.poll_problem = None;
        }
        let followup = self.limits.schedule.end(result, fastrand::f64(), now);
        if let (Some(state), Some(ways)) = (followup.log, ways) {
            let (service, tag) = (&*ways.service, &ways.tag);
            match state {
                PollState::Fine => tracing::info!(service, "credential {tag}: its usage can be polled again"),
                PollState::RateLimited => {
                    tracing::info!(
                        service,
                        "credential {tag}: polls of its usage are rate-limited themselves"
                    );
                }
                PollState::TokenRefused => {
                    tracing::info!(
                        service,
                        "credential {tag}: its token was refused when its usage was polled"
                    );
                }
                PollState::Failing => {
                    tracing::info!(service, "credential {tag}: its usage cannot be polled: {why}");
                }
            }
        }
        if followup.recovers_token
            && let Some(held) = &self.held
        {
            let (token, (reply, _)) = (held.token, oneshot::channel());
            self.on_refused(Refused { token, tries: Tries::default(), reply }, ways, now);
        }
    }
}

fn end_of(provider: &dyn Provider, answer: Result<OwnAnswer, String>) -> PollEnd {
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return PollEnd::Failed(why),
    };
    let now = SystemTime::now();
    if answer.status == StatusCode::OK {
        return match provider.limit_facts().read_usage(&answer.body, now) {
            Some(readings) => PollEnd::Answered(Box::new(readings)),
            None => PollEnd::Failed("the answer is not a usage report".to_owned()),
        };
    }
    let error = ErrorFields::from_body(&answer.body);
    let status = answer.status.as_u16();
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        let wait = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        return PollEnd::RateLimited(wait.and_then(|text| retry_after(text, now)));
    }
    if probe::is_account_disabled(provider, status, &error) {
        return PollEnd::Disabled;
    }
    if is_auth_failure(status, error.message.as_deref()) {
        return PollEnd::TokenRefused;
    }
    // The page of a firewall says nothing of the login.
    if answer.status == StatusCode::FORBIDDEN && !error.is_foreign {
        return PollEnd::Forbidden;
    }
    PollEnd::Failed(format!("it was answered {status}"))
}
