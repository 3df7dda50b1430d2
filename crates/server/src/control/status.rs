//! What a running instance says of itself.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use trunkline_core::availability::{Availability, FailureCounts};
use trunkline_core::limits::{BaseWindow, Window};
use trunkline_engine::credential::{Credential, CredentialSource};
use trunkline_engine::failovers::Failover;

use crate::server::Bound;

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Its configuration file, if it has one.
    pub configuration: Option<String>,
    /// Whether it is ending.
    pub draining: bool,
    /// Its services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its tag.
    pub tag: String,
    /// Whose protocol it speaks.
    pub provider: String,
    /// The base URL for clients on this machine.
    pub url: String,
    /// How many users it has; with none, nobody authenticates.
    pub users: usize,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests since the start.
    pub requests: u64,
    /// Requests that went on to another credential, since the start.
    pub failovers: u64,
    /// The latest of these, the last one first.
    pub recent_failovers: Vec<FailoverStatus>,
    /// Its credentials, in the order of the configuration.
    pub credentials: Vec<CredentialStatus>,
}

/// A request that went on to another credential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailoverStatus {
    /// When, in seconds since 1970.
    pub at: u64,
    /// The credential that failed it.
    pub from: String,
    /// The credential that it was sent to instead, if that is known.
    #[serde(default)]
    pub to: Option<String>,
    /// Why: a line of the table of failures.
    pub reason: String,
    /// The request's id.
    pub request: String,
}

/// A window of a credential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowStatus {
    /// `5h`, `weekly`, or the name of a scoped limit.
    pub window: String,
    /// How much of it is used, in percent, if that is known.
    pub used_percent: Option<f64>,
    /// Up to where it is used, in percent.
    pub cap_percent: f64,
    /// When it starts anew, in seconds since 1970, if that is known.
    pub resets_at: Option<u64>,
}

/// A credential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CredentialStatus {
    /// Its tag.
    pub tag: String,
    /// What it is: `login file`, `long-lived token` or `API key`.
    pub kind: String,
    /// `usable`, `unavailable`, `refreshing`, `blocked`, `rate_limited` or `capped`.
    pub state: String,
    /// Why it is in that state.
    pub why: Option<String>,
    /// The plan of its account, where it is known.
    pub plan: Option<String>,
    /// What it weighs among others.
    pub weight: f64,
    /// When its state ends by itself, in seconds since 1970, if it does.
    pub until: Option<u64>,
    /// Since when it is in that state, in seconds since 1970.
    pub since: u64,
    /// How often it came into each state since the start, by the name of the state.
    pub entered: BTreeMap<String, u64>,
    /// Sessions bound to it.
    pub sessions: usize,
    /// Its windows: both base ones of a login, and the scoped ones that are known. Keys have none.
    pub windows: Vec<WindowStatus>,
    /// Values of limits that its provider sent and that can be none, since the start: they were ignored.
    pub ignored_observations: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests since the start.
    pub requests: u64,
    /// Failures that changed no state, since the start.
    pub failures: FailuresStatus,
}

/// Failures of a credential's requests that changed no state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailuresStatus {
    /// The provider had no capacity.
    pub overloaded: u64,
    /// The connection was lost before the answer began.
    pub lost: u64,
    /// No answer began in time.
    pub no_head: u64,
    /// The answer was cut.
    pub cut: u64,
}

/// The state of services.
pub(super) fn of_services(running: &[Bound], now: SystemTime) -> Vec<ServiceStatus> {
    running.iter().map(|bound| of_service(bound, now)).collect()
}

fn of_service(bound: &Bound, now: SystemTime) -> ServiceStatus {
    let service = &bound.service;
    let settings = service.settings();
    let sessions = settings.bindings.bound_to(settings.credentials.iter().map(|credential| credential.id()));
    let credentials = settings.credentials.iter().zip(sessions).map(|(credential, sessions)| {
        let state = credential.live().state(now);
        let windows = windows(credential, now);
        let reset_of = |name: &str| windows.iter().find(|window| window.window == name)?.resets_at;
        let until = match &state {
            // A cap ends with its window.
            Availability::Capped { window, .. } => reset_of(window),
            state => state.until().map(seconds),
        };
        CredentialStatus {
            tag: credential.tag().to_string(),
            kind: match credential.live().source() {
                CredentialSource::LoginFile(_) => "login file",
                CredentialSource::OAuthToken(_) => "long-lived token",
                CredentialSource::ApiKey(_) => "API key",
            }
            .to_owned(),
            state: state.label().to_owned(),
            why: credential.live().why_not(now),
            plan: credential.live().plan().and_then(|plan| plan.subscription),
            weight: credential.weight(),
            until,
            since: seconds(credential.live().states().since()),
            entered: credential
                .live()
                .states()
                .entered()
                .map(|(state, count)| (state.to_owned(), count))
                .collect(),
            sessions,
            windows,
            ignored_observations: credential.live().ignored_observations(),
            in_flight: credential.activity().in_flight(),
            requests: credential.activity().total(),
            failures: of_failures(credential.live().failure_counts()),
        }
    });
    let (failovers, recent) = service.failovers().latest();
    ServiceStatus {
        tag: settings.tag.to_string(),
        provider: service.provider().name().to_owned(),
        url: bound.url(),
        users: settings.users.len(),
        in_flight: service.activity().in_flight(),
        requests: service.activity().total(),
        failovers,
        recent_failovers: recent.iter().map(of_failover).collect(),
        credentials: credentials.collect(),
    }
}

fn of_failures(counts: FailureCounts) -> FailuresStatus {
    FailuresStatus {
        overloaded: counts.overloaded,
        lost: counts.lost,
        no_head: counts.no_head,
        cut: counts.cut,
    }
}

fn of_failover(failover: &Failover) -> FailoverStatus {
    FailoverStatus {
        at: seconds(failover.at),
        from: failover.from.to_string(),
        to: failover.to.as_deref().map(str::to_owned),
        reason: failover.reason.to_owned(),
        request: failover.request.to_string(),
    }
}

fn windows(credential: &Credential, now: SystemTime) -> Vec<WindowStatus> {
    if credential.is_api_key() {
        return Vec::new();
    }
    let known = credential.live().windows();
    let caps = credential.settings().caps;
    let of = |window: String, which: BaseWindow, known: Option<&Window>| WindowStatus {
        window,
        used_percent: known.map(|known| known.effective(now).percent()),
        cap_percent: caps.percent(which),
        resets_at: known.and_then(|known| known.reset_ahead(now)).map(seconds),
    };
    // One that is not known is listed all the same, without a number; two of a class are two.
    let base = BaseWindow::BOTH.into_iter().flat_map(|which| {
        let mut windows: Vec<_> = known.of_class(which).map(Some).collect();
        if windows.is_empty() {
            windows.push(None);
        }
        windows.into_iter().map(move |window| (which, window))
    });
    let base = base.map(|(which, window)| of(which.name().to_owned(), which, window));
    let scoped =
        known.scoped().map(|(scope, _, window)| of(scope.to_string(), BaseWindow::Weekly, Some(window)));
    base.chain(scoped).collect()
}

pub(super) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
