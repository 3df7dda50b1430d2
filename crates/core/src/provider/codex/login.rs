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

/// What kind of login a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Tokens,
    Key,
    /// Of a kind that cannot be used here, by its name.
    Other(&'static str),
}

/// The login of an agent, which signs each of its requests with a key of its own.
const AGENT_IDENTITY: &str = "an agent identity";

/// A token that somebody made for a program, and that the provider's own client sends to other places than ours.
const ACCESS_TOKEN: &str = "a personal access token";

impl Mode {
    /// `auth_mode` decides. One that is not there or not known leaves it to what the file holds: the client of before had none.
    fn of(members: &Map<String, Value>) -> Self {
        let said = text(members, "auth_mode").unwrap_or_default();
        // Its names have been written in more than one way.
        let said: String = said.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        match said.to_ascii_lowercase().as_str() {
            "apikey" => Self::Key,
            "chatgpt" | "chatgptauthtokens" => Self::Tokens,
            "agentidentity" => Self::Other(AGENT_IDENTITY),
            "personalaccesstoken" => Self::Other(ACCESS_TOKEN),
            _ => Self::by_content(members),
        }
    }

    fn by_content(members: &Map<String, Value>) -> Self {
        let is_there = |name: &str| members.get(name).is_some_and(|value| !is_empty(value));
        let has_tokens = match members.get("tokens") {
            Some(Value::Object(tokens)) => tokens.values().any(|token| !is_empty(token)),
            // No login, but no absence of one either: it is told as what it is.
            Some(tokens) => !tokens.is_null(),
            None => false,
        };
        if has_tokens {
            Self::Tokens
        } else if is_there("OPENAI_API_KEY") {
            Self::Key
        } else if is_there("agent_identity") {
            Self::Other(AGENT_IDENTITY)
        } else if is_there("personal_access_token") {
            Self::Other(ACCESS_TOKEN)
        } else {
            Self::Tokens
        }
    }
}

/// Whether there is nothing in a member that could be a token or key.
fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

/// Reads the ChatGPT login or the API key, whichever the file is for.
pub(super) fn read(file: &[u8]) -> Result<Login, LoginError> {
    let document = Document::parse(file)?;
    let members = document.members();
    match Mode::of(members) {
        Mode::Key => return read_key(members),
        Mode::Other(kind) => return Err(LoginError::OtherKind(kind)),
        Mode::Tokens => {}
    }
    let tokens = match members.get("tokens") {
        None | Some(Value::Null) => return Err(LoginError::LoggedOut),
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
