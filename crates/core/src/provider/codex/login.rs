//! Reading `auth.json` (credentials.md, *Login file: Codex*; fact sheet, section 6).

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::jwt::Claims;
use crate::civil_time::from_rfc3339;
use crate::document::{Document, text, token};
use crate::login::{Login, LoginError, LoginKind, Plan, REFRESH_AHEAD};
use crate::secret::Secret;

/// How old a login may get whose access token does not say when it ends.
const OLD: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Reads the ChatGPT login, or the API key where there is no login.
pub(super) fn read(file: &[u8]) -> Result<Login, LoginError> {
    let document = Document::parse(file)?;
    let members = document.members();
    let tokens = match members.get("tokens") {
        None | Some(Value::Null) => return read_key(members),
        Some(Value::Object(tokens)) => tokens,
        Some(_) => return Err(LoginError::Invalid("tokens is not an object".to_owned())),
    };
    let access_token = match tokens.get("access_token") {
        None | Some(Value::Null) => return Err(LoginError::LoggedOut),
        Some(Value::String(token)) if token.is_empty() => return Err(LoginError::LoggedOut),
        Some(Value::String(token)) => Secret::new(token.clone()),
        Some(_) => return Err(LoginError::Invalid("tokens.access_token is not a string".to_owned())),
    };
    let mut login = Login {
        refresh_token: token(tokens, "refresh_token"),
        id_token: token(tokens, "id_token"),
        account_id: text(tokens, "account_id").map(str::to_owned),
        ..Login::of_token(access_token)
    };
    read_claims(&mut login, text(members, "last_refresh").and_then(from_rfc3339));
    Ok(login)
}

fn read_key(members: &Map<String, Value>) -> Result<Login, LoginError> {
    match members.get("OPENAI_API_KEY") {
        None | Some(Value::Null) => Err(LoginError::LoggedOut),
        Some(Value::String(key)) if key.is_empty() => Err(LoginError::LoggedOut),
        Some(Value::String(key)) => {
            Ok(Login { kind: LoginKind::ApiKey, ..Login::of_token(Secret::new(key.clone())) })
        }
        Some(_) => Err(LoginError::Invalid("OPENAI_API_KEY is not a string".to_owned())),
    }
}

/// Sets what the tokens tell of themselves: the end of the access token and with it when it is to be refreshed, the plan,
/// and the account where the file does not name it.
pub(super) fn read_claims(login: &mut Login, last_refresh: Option<SystemTime>) {
    login.expires_at = Claims::of(login.access_token.expose()).and_then(|claims| claims.expires_at());
    let due = match login.expires_at {
        Some(end) => end.checked_sub(REFRESH_AHEAD),
        None => last_refresh.and_then(|at| at.checked_add(OLD)),
    };
    login.refresh_due = due.filter(|_| login.refresh_token.is_some());
    let Some(claims) = login.id_token.as_ref().and_then(|token| Claims::of(token.expose())) else { return };
    login.plan = Plan { subscription: claims.plan().map(str::to_owned), tier: None };
    if login.account_id.is_none() {
        login.account_id = claims.account_id().map(str::to_owned);
    }
}
