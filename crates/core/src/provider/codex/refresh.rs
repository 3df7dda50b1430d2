//! Refreshing a login (credentials.md, *Login file: Codex*; fact sheet, section 6).

use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use super::login::read_claims;
use crate::civil_time::rfc3339;
use crate::document::{Document, Edits, access_token, token};
use crate::login::{Login, LoginKind};
use crate::refresh::{AccountFacts, AnswerError, RefreshAnswer, RefreshKind, RefreshRequest, posted_json};

/// The client that logins belong to.
const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// The members in the client's order.
#[derive(Serialize)]
struct Body<'a> {
    client_id: &'a str,
    grant_type: &'a str,
    refresh_reason: &'a str,
    refresh_token: &'a str,
}

pub(super) fn request(login: &Login, kind: RefreshKind) -> Option<RefreshRequest> {
    if login.kind == LoginKind::ApiKey {
        return None;
    }
    posted_json(&Body {
        client_id: CLIENT_ID,
        grant_type: "refresh_token",
        refresh_reason: match kind {
            RefreshKind::Proactive => "proactive_expiry",
            RefreshKind::Forced => "unauthorized_recovery",
        },
        refresh_token: login.refresh_token.as_ref()?.expose(),
    })
}

/// Each token is optional, and what is missing stays; one of them must be there. An access token that no header can carry
/// makes the answer unusable.
pub(super) fn read_answer(before: &Login, raw: &[u8], now: SystemTime) -> Result<RefreshAnswer, AnswerError> {
    let document = Document::parse(raw).map_err(|_| AnswerError::NotAnObject)?;
    let answer = document.members();
    let said = token(answer, "access_token");
    let access = access_token(answer, "access_token");
    if said.is_some() && access.is_none() {
        return Err(AnswerError::NoToken);
    }
    let (id, refresh) = (token(answer, "id_token"), token(answer, "refresh_token"));

    let mut edits = Edits::new();
    for (name, token) in [("id_token", &id), ("access_token", &access), ("refresh_token", &refresh)] {
        if let Some(token) = token {
            edits.set(&["tokens", name], Value::from(token.expose()));
        }
    }
    if edits.as_slice().is_empty() {
        return Err(AnswerError::NoToken);
    }
    edits.set(&["last_refresh"], Value::from(rfc3339(now)));

    let mut login = before.clone();
    login.access_token = access.unwrap_or(login.access_token);
    login.refresh_token = refresh.or(login.refresh_token);
    login.id_token = id.or(login.id_token);
    read_claims(&mut login, Some(now));
    let account = AccountFacts { account_id: login.account_id.clone(), ..AccountFacts::default() };
    Ok(RefreshAnswer { login, edits, account })
}
