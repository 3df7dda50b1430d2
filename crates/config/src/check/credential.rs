//! Credentials: each by itself, before anything refers to it.

use std::collections::HashMap;

use trunkline_core::limits::Caps;
use trunkline_core::limits::window::WindowPair;
use trunkline_core::secret::TokenDigest;

use super::login::{self, Login};
use super::{Context, limit, upstream};
use crate::defaults;
use crate::diagnostic::{did_you_mean, quoted};
use crate::model::{Credential, CredentialKind, Detour, ProviderKind, UserId};
use crate::record::Record;

/// A credential while the rest of its service is being checked.
pub(super) struct Draft<'r> {
    pub(super) record: &'r Record,
    pub(super) tag: Option<&'r str>,
    pub(super) kind: Kind,
    /// The users who may use it; `None` for all.
    pub(super) users: Option<Vec<UserId>>,
    /// The way out that it names.
    detour: Option<Detour>,
    /// What it is to the model; `None` if that was wrong or is nothing there.
    built: Option<CredentialKind>,
}

/// What a credential is, as far as others are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Login,
    ApiKey,
    External,
    Balancer,
    /// Of a type that there is not: reported, and to be left alone.
    Unknown,
}

/// Windows, each with what is left unused and what is used at most.
const WINDOWS: [(&str, &str); 2] = [("reserve_5h", "limit_5h"), ("reserve_weekly", "limit_weekly")];

/// Fields that every credential has, but that mean nothing to one which has no access of its own.
const NOT_OF_A_BALANCER: [&str; 6] = ["detour", "usages_path", "upstream", "weight", "models", "users"];

/// The single credential of a service that lists none.
pub(super) fn single<'r>(
    service: &'r Record,
    provider: ProviderKind,
    detour: Option<Detour>,
    logins: &mut Vec<Login>,
    context: &mut Context<'_>,
) -> Draft<'r> {
    let login = login::locate(service, provider, context);
    let built = login.as_ref().map(|login| CredentialKind::LoginFile(login.location.clone()));
    logins.extend(login);
    let tag = Some(defaults::CREDENTIAL_TAG);
    Draft { record: service, tag, kind: Kind::Login, users: None, detour, built }
}

/// The credentials that a service lists.
pub(super) fn listed<'r>(
    service: &'r Record,
    provider: ProviderKind,
    logins: &mut Vec<Login>,
    context: &mut Context<'_>,
) -> Vec<Draft<'r>> {
    let names: Vec<&str> =
        service.records("users").map(|user| user.text("name").unwrap_or_default()).collect();
    let mut drafts: Vec<Draft<'r>> = Vec::new();
    let mut receivers = HashMap::new();
    for record in service.records("credentials") {
        let tag = record.text("tag");
        if tag.is_some() && drafts.iter().any(|other| other.tag == tag) {
            context
                .report
                .error(&record.spot_of("tag"), "another credential has this tag; tags must be unique");
        }
        let (kind, built) = match record.section.name {
            "credential_default" => (Kind::Login, login_or_token(record, provider, logins, context)),
            "credential_api_key" => {
                limit::check(record, context);
                (Kind::ApiKey, record.secret("api_key").cloned().map(CredentialKind::ApiKey))
            }
            "credential_external" => {
                external(record, &mut receivers, context);
                (Kind::External, None)
            }
            "credential_balancer" => (Kind::Balancer, None),
            _ => (Kind::Unknown, None),
        };
        if kind == Kind::Balancer {
            for name in NOT_OF_A_BALANCER {
                if let Some(spot) = record.stated(name) {
                    context.report.warn(spot, "has no effect on a balancer; set it on its members");
                }
            }
        }
        let users = if kind == Kind::Unknown { None } else { admitted(record, &names, context) };
        let mut detour = None;
        if kind != Kind::Unknown {
            detour = context.outbounds.detour(record, context.report);
            if let Some(layer) = record.record("upstream") {
                upstream::check(layer, service.record("upstream"), provider, context.report);
            }
        }
        drafts.push(Draft { record, tag, kind, users, detour, built });
    }
    drafts
}

impl Draft<'_> {
    /// The credential of the model, if everything about it is good.
    pub(super) fn build(self, service: &Record, provider: ProviderKind) -> Option<Credential> {
        // The single credential has no upstream of its own: its record is the service.
        let own = if std::ptr::eq(self.record, service) { None } else { Some(self.record) };
        Some(Credential {
            tag: self.tag?.to_owned(),
            kind: self.built?,
            upstream: upstream::resolve(
                provider,
                [service.record("upstream"), own.and_then(|own| own.record("upstream"))],
            ),
            detour: self.detour,
            models: own.map(|own| own.owned_texts("models")).unwrap_or_default(),
            users: self.users,
            weight: own.and_then(|own| own.number("weight")),
            caps: match (self.kind, own) {
                (Kind::Login, Some(own)) => caps(own),
                (Kind::Login, None) => Caps::DEFAULT,
                _ => Caps::ALL,
            },
        })
    }
}

/// How much of its windows a login offers.
fn caps(record: &Record) -> Caps {
    let percent = |name| record.integer(name).and_then(|percent| u8::try_from(percent).ok()).unwrap_or(0);
    let [(reserve_short, limit_short), (reserve_long, limit_long)] = WINDOWS;
    Caps::from_options(
        WindowPair { five_hour: percent(reserve_short), weekly: percent(reserve_long) },
        WindowPair { five_hour: percent(limit_short), weekly: percent(limit_long) },
    )
}

fn login_or_token(
    record: &Record,
    provider: ProviderKind,
    logins: &mut Vec<Login>,
    context: &mut Context<'_>,
) -> Option<CredentialKind> {
    for (reserve, limit) in WINDOWS {
        let set = |name| record.integer(name).is_some_and(|percent| percent > 0);
        if set(reserve) && set(limit) {
            let message =
                format!("stands beside {reserve}, which says the same in another way; set one of them");
            context.report.error(&record.spot_of(limit), message);
        }
    }
    if let Some(spot) = record.stated("oauth_token") {
        if provider == ProviderKind::Codex {
            context.report.error(spot, "only for Claude; set credential_path");
        }
        for name in ["credential_path", "claude_directory"] {
            if let Some(beside) = record.stated(name) {
                context.report.error(
                    beside,
                    "stands beside oauth_token, which takes the place of a file; set one of them",
                );
            }
        }
        return record.secret("oauth_token").cloned().map(CredentialKind::OauthToken);
    }
    let login = login::locate(record, provider, context)?;
    let kind = CredentialKind::LoginFile(login.location.clone());
    logins.push(login);
    Some(kind)
}

/// Another instance: one that we reach, one that reaches us, or one that we let reach us.
fn external<'r>(
    record: &'r Record,
    receivers: &mut HashMap<TokenDigest, &'r Record>,
    context: &mut Context<'_>,
) {
    if let Some(url) = record.url("url") {
        if !url.is_https() && !url.is_loopback() {
            context
                .report
                .warn(&record.spot_of("url"), "with http the token and everything else is sent in the clear");
        }
        return;
    }
    if record.stated("url").is_some() {
        return;
    }
    if record.flag("reverse") == Some(true) {
        context.report.error(&record.spot_of("reverse"), "needs a url to connect to");
    }
    for name in ["server", "server_port"] {
        if record.entry(name).is_some_and(|entry| !entry.value.is_idle()) {
            context
                .report
                .error(&record.spot_of(name), "needs a url: without one, the other instance connects to us");
        }
    }
    let Some(token) = record.secret("token") else { return };
    if receivers.insert(TokenDigest::of(token.expose().as_bytes()), record).is_some() {
        let message = "another credential without a url has this token; a tunnel is told apart by its token";
        context.report.error(&record.spot_of("token"), message);
    }
}

/// The users named by a credential's `users`.
fn admitted(record: &Record, names: &[&str], context: &mut Context<'_>) -> Option<Vec<UserId>> {
    if record.entry("users").is_none_or(|entry| entry.value.is_idle()) {
        return None;
    }
    let mut users = Vec::new();
    for (name, spot) in record.texts("users") {
        if let Some(index) = names.iter().position(|known| *known == name) {
            users.push(UserId(index));
        } else {
            let hint = did_you_mean(name, names.iter().copied());
            context.report.error(spot, format!("there is no user {}{hint}", quoted(name)));
        }
    }
    Some(users)
}
