//! What happens to a credential, and the facts that follow. Polls and rechecks: `poll.rs`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::facts::{Burst, Facts, LoginFacts, MAX_BURSTS, MAX_RATE_LIMITED, RateLimited, Renewal, Source};
use super::state::Scope;
use super::streak::ROW_LASTS;
use crate::login::LoginIdentity;
use crate::refresh::AfterFailure;
use crate::retry_after::MAX_RETRY_AFTER;
use crate::span::{Span, later};

/// How long failures in a row block a credential (routing.md, *Failures*).
const BLOCK: Duration = Duration::from_secs(10);

/// The longest that a refusal of the moment blocks new sessions (routing.md, *Failures*).
const MAX_BURST: Duration = Duration::from_secs(60);

/// The longest that a refusal by the instance behind an external credential counts (federation.md).
const MAX_UPSTREAM_REJECTED: Duration = Duration::from_secs(60 * 60);

/// Whether what was read is another login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginChange {
    /// The same tokens and the same end.
    Same,
    /// Another access token, refresh token or end.
    Changed,
}

/// How a request to the provider ended, as far as the credential is concerned (the rows of routing.md, *Failures*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestEnd {
    /// A good answer (2xx).
    Good,
    /// An answer that says nothing about the credential.
    Answered,
    /// 529, or 503 overloaded.
    Overloaded,
    /// Another 5xx.
    ServerError,
    /// 429 that names no window; what `Retry-After` says.
    Burst(Option<Duration>),
    /// The connection could not be made, or refused the request before it was sent.
    NotConnected,
    /// The connection was lost after the request was sent, before the head.
    Lost,
    /// No head within the time for it.
    NoHead,
    /// The answer was cut after its first byte had gone to the client.
    Cut,
}

impl Facts {
    /// A login was read, from its file or from the answer to a refresh. A change of the login clears what was held
    /// against the old one: every cooldown, its refusals and its failed refresh; a change of the account also its limits.
    pub fn on_login_read(&mut self, login: LoginFacts) -> LoginChange {
        let before = self.known.as_ref();
        let is_same = before.is_some_and(|before| before.identity == login.identity);
        let other_account = before.is_some_and(|before| {
            before.account.is_some() && login.account.is_some() && before.account != login.account
        });
        self.known = Some(login.clone());
        self.login = Ok(login);
        if is_same {
            return LoginChange::Same;
        }
        self.token_refused = None;
        self.refresh_refused = false;
        self.refresh_cooldown = None;
        self.cannot_keep = None;
        self.refused = None;
        if other_account {
            self.rate_limited.clear();
        }
        LoginChange::Changed
    }

    /// The login is gone, empty or not valid: `why`, which names no path. If the same one comes back, so does what was held
    /// against it. Of no effect on credentials that are not from a file.
    pub fn on_login_gone(&mut self, why: impl Into<Arc<str>>) {
        if self.source == Source::LoginFile {
            self.login = Err(why.into());
        }
    }

    /// The provider refused the access token, and a poll has confirmed that (credentials.md, *Auth failure*): it counts as
    /// expired. Refusals of a token that is no longer in use change nothing. What nothing can
    /// renew (a fixed token, a key) is refused as a whole, and tried again like all that is.
    pub fn on_token_refused(&mut self, token: &LoginIdentity, now: SystemTime) {
        let is_fixed = self.source != Source::LoginFile;
        match &self.login {
            Ok(login) if !is_fixed && !login.identity.same_access_token(token) => {}
            Ok(login) if !is_fixed && login.renewal != Renewal::Never => {
                self.token_refused.get_or_insert(now);
            }
            Ok(_) => self.on_refused(format!("refused by the provider, {}", self.hint), now),
            Err(_) => {}
        }
    }

    /// The provider refused the credential as a whole: revoked, disabled, or a key that it does not know.
    pub fn on_refused(&mut self, why: impl Into<Arc<str>>, now: SystemTime) {
        self.refused = Some((why.into(), now));
    }

    /// A refresh has begun.
    pub fn on_refresh_started(&mut self, now: SystemTime) {
        self.refreshing_since.get_or_insert(now);
    }

    /// The refresh has ended with a login: the provider's answer, or one that another process had got.
    pub fn on_refresh_answered(&mut self, login: LoginFacts) -> LoginChange {
        self.refreshing_since = None;
        self.cannot_keep = None;
        self.on_login_read(login)
    }

    /// The refresh has ended without a login, or could not be begun: what the policy makes of it.
    pub fn on_refresh_failed(&mut self, after: &AfterFailure, now: SystemTime) {
        self.refreshing_since = None;
        self.cannot_keep = None;
        match after {
            AfterFailure::Cooldown { until } => self.refresh_cooldown = Some(Span::new(now, *until)),
            AfterFailure::LoginExpired => self.refresh_refused = true,
            AfterFailure::CannotKeep { why, .. } => self.cannot_keep = Some(Arc::clone(why)),
        }
    }

    /// The refresh that is due may not begin before `until`, because of its rate.
    pub fn on_refresh_deferred(&mut self, until: SystemTime, now: SystemTime) {
        self.refresh_cooldown = Some(later(self.refresh_cooldown, Span::new(now, until), now));
    }

    /// A request ended.
    pub fn on_request_ended(&mut self, end: &RequestEnd, now: SystemTime) {
        match end {
            RequestEnd::Good => {
                self.poll_failures = 0;
                self.server_errors.end();
                self.failed_connections.end();
            }
            RequestEnd::Answered | RequestEnd::Burst(_) => {
                self.server_errors.end();
                self.failed_connections.end();
            }
            RequestEnd::Overloaded => {
                self.failed_connections.end();
                self.counts.overloaded = self.counts.overloaded.saturating_add(1);
            }
            RequestEnd::ServerError => {
                self.failed_connections.end();
                if self.server_errors.add(now, Some(ROW_LASTS)) {
                    self.overloaded = Some(later(self.overloaded, Span::lasting(now, BLOCK), now));
                }
            }
            RequestEnd::NotConnected => {
                if self.failed_connections.add(now, None) {
                    self.connection = Some(later(self.connection, Span::lasting(now, BLOCK), now));
                }
            }
            RequestEnd::Lost => self.counts.lost = self.counts.lost.saturating_add(1),
            RequestEnd::NoHead => self.counts.no_head = self.counts.no_head.saturating_add(1),
            RequestEnd::Cut => self.counts.cut = self.counts.cut.saturating_add(1),
        }
        if let RequestEnd::Burst(retry_after) = end {
            self.on_burst(None, *retry_after, now);
        }
    }

    /// The provider refused for the moment, requests for the models of `family` or all. What it says counts apart from what
    /// is guessed, and of each what ends later.
    pub fn on_burst(&mut self, family: Option<&str>, retry_after: Option<Duration>, now: SystemTime) {
        let span = Span::lasting(now, retry_after.unwrap_or(BLOCK).min(MAX_BURST));
        let is_stated = retry_after.is_some();
        let known = self
            .bursts
            .iter_mut()
            .find(|known| known.family.as_deref() == family && known.is_stated == is_stated);
        if let Some(known) = known {
            known.span = later(Some(known.span), span, now);
            return;
        }
        self.bursts.retain(|known| known.span.until() > now);
        if self.bursts.len() >= MAX_BURSTS
            && let Some((first, _)) =
                self.bursts.iter().enumerate().min_by_key(|(_, known)| known.span.until())
        {
            self.bursts.swap_remove(first);
        }
        self.bursts.push(Burst { span, family: family.map(Arc::from), is_stated });
    }

    /// The provider refused a window of the account until `until`. The latest refusal of a window is the one that counts; an
    /// end over 40 days away is none and is ignored.
    pub fn on_rate_limited(&mut self, window: &str, scope: Scope, until: SystemTime, now: SystemTime) {
        if until.duration_since(now).is_ok_and(|wait| wait > MAX_RETRY_AFTER) {
            return;
        }
        let limited = RateLimited { span: Span::new(now, until), window: window.into(), scope };
        let is_known =
            |known: &&mut RateLimited| known.window == limited.window && known.scope == limited.scope;
        if let Some(known) = self.rate_limited.iter_mut().find(is_known) {
            *known = limited;
            return;
        }
        self.rate_limited.retain(|known| known.span.until() > now);
        // Those of some models make room first: their names may be any that clients ask for.
        let rank = |known: &RateLimited| (known.scope == Scope::All, known.span.until());
        if self.rate_limited.len() >= MAX_RATE_LIMITED
            && let Some((first, _)) =
                self.rate_limited.iter().enumerate().min_by_key(|(_, known)| rank(known))
        {
            self.rate_limited.swap_remove(first);
        }
        self.rate_limited.push(limited);
    }

    /// The instance behind an external credential has nothing to serve us with, until it says otherwise.
    pub fn on_upstream_rejected(&mut self, now: SystemTime) {
        self.upstream_rejected = Some(Span::lasting(now, MAX_UPSTREAM_REJECTED));
    }

    /// The tunnel that leads to it was connected or lost. Of no effect on other credentials.
    pub fn on_tunnel(&mut self, is_connected: bool) {
        if self.source == Source::Reverse {
            self.is_connected = is_connected;
        }
    }
}
