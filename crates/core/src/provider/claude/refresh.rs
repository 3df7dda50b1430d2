//! Refreshing a login (credentials.md, *Login file: Claude*; fact sheet, section 3).

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use super::login::{INFERENCE, set_refresh_due, split_scopes};
use crate::document::{Document, Edits, access_token, text, token};
use crate::login::{Login, from_unix_millis, to_unix_millis};
use crate::refresh::{AccountFacts, AnswerError, RefreshAnswer, RefreshRequest, json_body};
use crate::secret::Secret;

/// The client that logins belong to.
const CLIENT_ID: &str = "9d1c250a-e61b-44d9-88ed-5944d1962f5e";

/// The scopes that the client asks for, in its order. The server requires the field.
const DEFAULT_SCOPES: &str =
    "user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload user:plugins";

/// The life of a token whose answer tells none, or nonsense.
const DEFAULT_LIFE: Duration = Duration::from_secs(60 * 60);

/// The longest life believed. What is longer would not fit into everybody's clock.
const MAX_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The members in the client's order.
#[derive(Serialize)]
struct Body<'a> {
    grant_type: &'a str,
    refresh_token: &'a str,
    client_id: &'a str,
    scope: &'a str,
}

/// A login with scopes of its own that are asked for the client's may be older than one of those: then its own are asked for,
/// as the client does.
pub(super) fn request(login: &Login) -> Option<RefreshRequest> {
    let refresh_token = login.refresh_token.as_ref()?.expose();
    let body = |scope: &str| {
        json_body(&Body { grant_type: "refresh_token", refresh_token, client_id: CLIENT_ID, scope })
    };
    let own = login.scopes.join(" ");
    let is_default = login.scopes.is_empty() || login.scopes.iter().any(|scope| scope == INFERENCE);
    Some(RefreshRequest {
        content_type: "application/json",
        body: body(if is_default { DEFAULT_SCOPES } else { &own })?,
        with_own_scopes: if is_default && !own.is_empty() && own != DEFAULT_SCOPES {
            body(&own)
        } else {
            None
        },
    })
}

/// Only the access token is required. Whatever else is missing or of another type counts as not said: a token that was
/// received must not be lost for the sake of what stands beside it.
pub(super) fn read_answer(before: &Login, raw: &[u8], now: SystemTime) -> Result<RefreshAnswer, AnswerError> {
    let document = Document::parse(raw).map_err(|_| AnswerError::NotAnObject)?;
    let answer = document.members();
    let access_token = access_token(answer, "access_token").ok_or(AnswerError::NoToken)?;
    let refresh_token = token(answer, "refresh_token");
    let scopes = text(answer, "scope").map(split_scopes).filter(|scopes| !scopes.is_empty());
    // The end as the file will have it, so that reading it back gives the same login.
    let expires_at = to_unix_millis(now.checked_add(life(answer)).unwrap_or(now));

    let mut edits = Edits::new();
    let set = |edits: &mut Edits, name, value| edits.set(&["claudeAiOauth", name], value);
    set(&mut edits, "accessToken", Value::from(access_token.expose()));
    if let Some(token) = &refresh_token {
        set(&mut edits, "refreshToken", Value::from(token.expose()));
    }
    set(&mut edits, "expiresAt", Value::from(expires_at));
    if let Some(scopes) = &scopes {
        set(&mut edits, "scopes", Value::from(scopes.clone()));
    }

    let mut login = Login {
        access_token,
        expires_at: i64::try_from(expires_at).ok().and_then(from_unix_millis),
        refresh_token: refresh_token.or_else(|| before.refresh_token.clone()),
        scopes: scopes.unwrap_or_else(|| before.scopes.clone()),
        ..before.clone()
    };
    set_refresh_due(&mut login);
    Ok(RefreshAnswer { login, edits, account: account(answer) })
}

fn life(answer: &Map<String, Value>) -> Duration {
    answer
        .get("expires_in")
        .and_then(Value::as_f64)
        .filter(|seconds| *seconds > 0.0)
        .map_or(DEFAULT_LIFE, |seconds| {
            Duration::try_from_secs_f64(seconds).unwrap_or(MAX_LIFE).min(MAX_LIFE)
        })
}

fn account(answer: &Map<String, Value>) -> AccountFacts {
    let of = |object: &str, name: &str| {
        answer.get(object).and_then(Value::as_object).and_then(|object| text(object, name)).map(str::to_owned)
    };
    AccountFacts {
        account_id: of("account", "uuid"),
        email: of("account", "email_address").map(Secret::new),
        organization_id: of("organization", "uuid"),
    }
}
