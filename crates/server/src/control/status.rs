//! What a running instance says of itself.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use trunkline_engine::credential::CredentialSource;

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
    /// Its credentials, in the order of the configuration.
    pub credentials: Vec<CredentialStatus>,
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
    /// Requests under way.
    pub in_flight: u64,
    /// Requests since the start.
    pub requests: u64,
}

/// The state of services.
pub(super) fn of_services(running: &[Bound], now: SystemTime) -> Vec<ServiceStatus> {
    running.iter().map(|bound| of_service(bound, now)).collect()
}

fn of_service(bound: &Bound, now: SystemTime) -> ServiceStatus {
    let service = &bound.service;
    let settings = service.settings();
    let credentials = settings.credentials.iter().map(|credential| {
        let state = credential.live().state(now);
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
            in_flight: credential.activity().in_flight(),
            requests: credential.activity().total(),
        }
    });
    ServiceStatus {
        tag: settings.tag.to_string(),
        provider: service.provider().name().to_owned(),
        url: bound.url(),
        users: settings.users.len(),
        in_flight: service.activity().in_flight(),
        requests: service.activity().total(),
        credentials: credentials.collect(),
    }
}
