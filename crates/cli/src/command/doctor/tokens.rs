//! What is known of a login's tokens without showing them: until when they are good, and whether they are renewed.

use std::time::{Duration, SystemTime};

use trunkline_config::model::ProviderKind;
use trunkline_core::login::{Login, LoginKind};

use super::finding::Finding;
use super::login::Facts;
use super::words;

/// The scope that requests and refreshes of Claude need.
const INFERENCE: &str = "user:inference";

/// How long after its end a token may be unrefreshed while an instance runs: a refresh takes a moment, and one that failed
/// is tried again.
const GRACE: Duration = Duration::from_secs(60);

/// A login without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    /// What it is.
    pub(super) kind: LoginKind,
    /// When the access token ends.
    pub(super) expires_at: Option<SystemTime>,
    /// Whether there is a refresh token.
    pub(super) is_renewable: bool,
    /// Whether it names any scopes, and the one that is needed.
    pub(super) scopes: Scopes,
}

/// What a login may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scopes {
    /// The file does not say.
    Unsaid,
    /// For requests.
    Sufficient,
    /// For something else.
    Insufficient,
}

impl Tokens {
    /// Of a login.
    pub(super) fn of(login: &Login) -> Self {
        Self {
            kind: login.kind,
            expires_at: login.expires_at,
            is_renewable: login.refresh_token.is_some(),
            scopes: if login.scopes.is_empty() {
                Scopes::Unsaid
            } else if login.scopes.iter().any(|scope| scope == INFERENCE) {
                Scopes::Sufficient
            } else {
                Scopes::Insufficient
            },
        }
    }
}

/// What follows.
pub(super) fn findings(tokens: &Tokens, facts: &Facts) -> Vec<Finding> {
    if tokens.kind == LoginKind::ApiKey {
        return vec![Finding::ok("login.expiry", "an API key, which has no end")];
    }
    let mut findings = vec![of_end(tokens, facts)];
    if facts.provider == ProviderKind::Claude {
        findings.extend(of_scopes(tokens, facts));
    }
    findings
}

fn of_end(tokens: &Tokens, facts: &Facts) -> Finding {
    let check = "login.expiry";
    let Some(end) = tokens.expires_at else {
        let renewed = if tokens.is_renewable { "" } else { ", and no refresh token" };
        return Finding::ok(check, format!("the access token names no end{renewed}"));
    };
    match (end.duration_since(facts.now), tokens.is_renewable) {
        (Ok(left), true) => Finding::ok(
            check,
            format!("the access token is good for {}, and can be refreshed", words::long(left)),
        ),
        (Ok(left), false) => Finding::warning(
            check,
            format!("the access token is good for {}, and nothing renews it", words::long(left)),
            format!("{} before it ends: the file holds no refresh token", facts.hint),
        ),
        (Err(_), true) if !facts.is_served => Finding::ok(
            check,
            format!(
                "the access token ended {}; it is refreshed when trunkline starts",
                words::ago(end, facts.now)
            ),
        ),
        (Err(past), true) => {
            let found =
                format!("the access token ended {}, and was not refreshed", words::ago(end, facts.now));
            if past.duration() <= GRACE {
                Finding::ok(check, format!("{found} yet"))
            } else {
                let remedy =
                    format!("see \"trunkline status\" for the reason; if it is refused, {}", facts.hint);
                Finding::warning(check, found, remedy)
            }
        }
        (Err(_), false) => Finding::problem(
            check,
            format!("the access token ended {}, and there is no refresh token", words::ago(end, facts.now)),
            facts.hint.as_str(),
        ),
    }
}

fn of_scopes(tokens: &Tokens, facts: &Facts) -> Option<Finding> {
    let check = "login.scopes";
    Some(match tokens.scopes {
        Scopes::Sufficient => return None,
        Scopes::Unsaid if !tokens.is_renewable => return None,
        Scopes::Unsaid => Finding::warning(
            check,
            "the file names no scopes, so it is not refreshed before its end",
            facts.hint.as_str(),
        ),
        Scopes::Insufficient => Finding::problem(
            check,
            format!("the login is not for requests: its scopes lack {INFERENCE}"),
            facts.hint.as_str(),
        ),
    })
}
