//! Reading `.credentials.json` (credentials.md, *Login file: Claude*; fact sheet, section 3).

use serde_json::{Map, Value};

use crate::document::{Document, text, token};
use crate::login::{Login, LoginError, LoginKind, Plan, REFRESH_AHEAD, from_unix_millis};
use crate::secret::Secret;

/// The scope without which a login is not refreshed ahead of its end.
pub(super) const INFERENCE: &str = "user:inference";

/// Most scopes read; real logins have five.
const MAX_SCOPES: usize = 64;

/// Reads the `claudeAiOauth` login. Everything else in the file belongs to others and is not looked at.
pub(super) fn read(file: &[u8]) -> Result<Login, LoginError> {
    let document = Document::parse(file)?;
    let login = match document.members().get("claudeAiOauth") {
        None | Some(Value::Null) => return Err(LoginError::LoggedOut),
        Some(Value::Object(login)) => login,
        Some(_) => return Err(LoginError::Invalid("claudeAiOauth is not an object".to_owned())),
    };
    let access_token = match login.get("accessToken") {
        // Empty means logged out, whatever `expiresAt` says: the client leaves it so when a refresh was refused.
        None | Some(Value::Null) => return Err(LoginError::LoggedOut),
        Some(Value::String(token)) if token.is_empty() => return Err(LoginError::LoggedOut),
        Some(Value::String(token)) => Secret::new(token.clone()),
        Some(_) => return Err(LoginError::Invalid("claudeAiOauth.accessToken is not a string".to_owned())),
    };
    let expires_at = match login.get("expiresAt") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_i64().or_else(|| whole(value.as_f64()?)) {
            Some(millis) => from_unix_millis(millis),
            None => {
                return Err(LoginError::Invalid(
                    "claudeAiOauth.expiresAt is not a number of milliseconds".to_owned(),
                ));
            }
        },
    };
    let mut read = Login {
        kind: LoginKind::OAuth,
        access_token,
        expires_at,
        refresh_token: token(login, "refreshToken"),
        id_token: None,
        refresh_due: None,
        scopes: scopes(login),
        plan: Plan {
            subscription: text(login, "subscriptionType").map(str::to_owned),
            tier: text(login, "rateLimitTier").map(str::to_owned),
        },
        account_id: None,
    };
    set_refresh_due(&mut read);
    Ok(read)
}

/// Five minutes before its end, if it may be refreshed ahead at all.
pub(super) fn set_refresh_due(login: &mut Login) {
    let is_renewed = login.refresh_token.is_some() && login.scopes.iter().any(|scope| scope == INFERENCE);
    login.refresh_due =
        login.expires_at.filter(|_| is_renewed).and_then(|end| end.checked_sub(REFRESH_AHEAD));
}

fn scopes(login: &Map<String, Value>) -> Vec<String> {
    let Some(scopes) = login.get("scopes").and_then(Value::as_array) else { return Vec::new() };
    scopes.iter().filter_map(Value::as_str).take(MAX_SCOPES).map(str::to_owned).collect()
}

/// Splits the `scope` of an answer.
pub(super) fn split_scopes(scope: &str) -> Vec<String> {
    scope.split_whitespace().take(MAX_SCOPES).map(str::to_owned).collect()
}

/// A fraction of a millisecond says nothing; what does not fit into 64 bits is no time.
fn whole(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    (value.is_finite() && value.abs() < 9.0e18).then_some(value as i64)
}
