//! Users.

use std::collections::HashMap;

use trunkline_core::secret::{Secret, TokenDigest};

use super::credential::{Draft, Kind};
use super::{Context, limit, pool};
use crate::diagnostic::{Spot, quoted};
use crate::model::{FastMode, PoolId, RateLimitHeaders, User, UserId};
use crate::record::Record;

/// Checks the users of a service. `None` if one of them could not be built.
pub(super) fn check(service: &Record, drafts: &[Draft<'_>], context: &mut Context<'_>) -> Option<Vec<User>> {
    let mut names: HashMap<&str, &Spot> = HashMap::new();
    let mut tokens: HashMap<TokenDigest, &Spot> = HashMap::new();
    let mut users = Some(Vec::new());
    for (index, record) in service.records("users").enumerate() {
        if let Some(name) = record.text("name")
            && names.insert(name, &record.spot).is_some()
        {
            let message = format!("another user is called {} too; names must be unique", quoted(name));
            context.report.error(&record.spot_of("name"), message);
        }
        let token = token(record, context);
        if let Some((digest, _)) = &token
            && let Some(other) = tokens.insert(*digest, &record.spot)
        {
            let field = if record.stated("token").is_some() { "token" } else { "token_sha256" };
            let message = format!("{} has the same token; each user needs one of their own", other.path);
            context.report.error(&record.spot_of(field), message);
        }
        limit::check(record, context);
        let pool = pool_of(record, service, drafts, context);
        feeds(record, drafts, context);
        if let Some((_, pool)) = pool {
            pool_is_usable(record, UserId(index), pool, drafts, context);
        }
        passthrough(record, pool.map(|(_, pool)| pool), context);
        let user = build(record, token, pool.map(|(id, _)| id));
        users = users.zip(user).map(|(mut users, user)| {
            users.push(user);
            users
        });
    }
    users
}

fn build(
    record: &Record,
    token: Option<(TokenDigest, Option<Secret>)>,
    pool: Option<PoolId>,
) -> Option<User> {
    let (digest, plain_token) = token?;
    Some(User {
        name: record.text("name")?.to_owned(),
        token: digest,
        plain_token,
        pool: pool?,
        allow_external_usage: record.flag("allow_external_usage").unwrap_or(false),
        models: record.owned_texts("models"),
        paths: record.owned_texts("paths"),
        expires: record.timestamp("expires"),
        disabled: record.flag("disabled").unwrap_or(false),
        fast_mode: match record.choice("fast_mode") {
            Some("allow") => FastMode::Allow,
            Some("deny") => FastMode::Deny,
            _ => FastMode::Single,
        },
        rate_limit_headers: match record.choice("rate_limit_headers") {
            Some("passthrough") => RateLimitHeaders::Passthrough,
            _ => RateLimitHeaders::Computed,
        },
        wait_for_capacity: record.duration("wait_for_capacity"),
        explain: record.flag("explain").unwrap_or(false),
        is_peer: record.flag("peer").unwrap_or(false),
    })
}

/// The token, as its digest and, if it stands there, itself.
fn token(record: &Record, context: &mut Context<'_>) -> Option<(TokenDigest, Option<Secret>)> {
    match (record.stated("token"), record.stated("token_sha256")) {
        (Some(_), Some(spot)) => {
            context.report.error(spot, "stands beside token; give one of them");
            None
        }
        (None, None) => {
            let message = "required, but missing; `trunkline token` makes one (or set token_sha256)";
            context.report.error(&record.spot.absent("token"), message);
            None
        }
        (Some(_), None) => {
            let token = record.secret("token")?;
            Some((TokenDigest::of(token.expose().as_bytes()), Some(token.clone())))
        }
        (None, Some(_)) => record.digest("token_sha256").map(|digest| (digest, None)),
    }
}

/// The credential that a user's requests go to.
fn pool_of<'d, 'r>(
    record: &Record,
    service: &Record,
    drafts: &'d [Draft<'r>],
    context: &mut Context<'_>,
) -> Option<(PoolId, &'d Draft<'r>)> {
    if record.stated("credential").is_none() {
        if let [only] = drafts {
            return Some((PoolId(0), only));
        }
        let tags: Vec<_> = drafts.iter().filter_map(|draft| draft.tag).map(quoted).collect();
        let message = format!(
            "required, since {} has several; one of {}",
            service.spot.member("credentials", 0).path,
            tags.join(", ")
        );
        context.report.error(&record.spot.absent("credential"), message);
        return None;
    }
    let tag = record.text("credential")?;
    let found =
        drafts.iter().position(|draft| draft.tag == Some(tag)).map(PoolId).zip(pool::find(tag, drafts));
    if found.is_none() {
        context.report.error(&record.spot_of("credential"), pool::no_such(tag, drafts));
    }
    found
}

/// `external_credential` names the external credential by which the user's own instance feeds us.
fn feeds(record: &Record, drafts: &[Draft<'_>], context: &mut Context<'_>) {
    let Some(tag) = record.text("external_credential") else { return };
    match pool::find(tag, drafts) {
        None => context.report.error(&record.spot_of("external_credential"), pool::no_such(tag, drafts)),
        Some(draft) if !matches!(draft.kind, Kind::External | Kind::Unknown) => {
            let message = format!("{} is no external credential", quoted(tag));
            context.report.error(&record.spot_of("external_credential"), message);
        }
        Some(_) => {}
    }
}

/// A pool of which a user may use nothing is a warning: it may be meant for later.
fn pool_is_usable(
    record: &Record,
    user: UserId,
    pool: &Draft<'_>,
    drafts: &[Draft<'_>],
    context: &mut Context<'_>,
) {
    let externals = record.flag("allow_external_usage").unwrap_or(false);
    let own = record.text("external_credential");
    let members = pool::members(pool, drafts);
    let usable = |member: &&Draft<'_>| {
        let reachable = member.kind != Kind::External || (externals && (own.is_none() || member.tag != own));
        reachable && member.users.as_ref().is_none_or(|users| users.contains(&user))
    };
    if !members.is_empty() && !members.iter().any(usable) {
        let message =
            "this user may use none of the credentials there; see their users, and allow_external_usage";
        context.report.warn(&record.spot_of("credential"), message);
    }
}

/// The provider's own headers make sense only while one login is behind them.
fn passthrough(record: &Record, pool: Option<&Draft<'_>>, context: &mut Context<'_>) {
    if record.choice("rate_limit_headers") != Some("passthrough") {
        return;
    }
    if pool.is_some_and(|pool| !matches!(pool.kind, Kind::Login | Kind::Unknown)) {
        let message = "passthrough is only for a user whose credential is one of type default";
        context.report.error(&record.spot_of("rate_limit_headers"), message);
    } else if record.flag("peer") == Some(true) {
        let message = "passthrough is not for peers, which need the headers of the whole pool";
        context.report.error(&record.spot_of("rate_limit_headers"), message);
    }
}
