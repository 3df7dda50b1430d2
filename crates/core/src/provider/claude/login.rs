//! Reading `.credentials.json` (credentials.md, *Login file: Claude*; fact sheet, section 3).

use serde_json::Value;

use crate::login::{Login, LoginError, from_unix_millis};
use crate::secret::Secret;

/// Reads the `claudeAiOauth` login. Everything else in the file belongs to others and is not looked at.
pub(super) fn read(text: &[u8]) -> Result<Login, LoginError> {
    // The position only: the parser's own message could quote what stands there.
    let document: Value = serde_json::from_slice(text).map_err(|error| {
        LoginError::Invalid(format!("not JSON at line {}, column {}", error.line(), error.column()))
    })?;
    let Some(document) = document.as_object() else {
        return Err(LoginError::Invalid("not a JSON object".to_owned()));
    };
    let login = match document.get("claudeAiOauth") {
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
    Ok(Login { access_token, expires_at })
}

/// A fraction of a millisecond says nothing; what does not fit into 64 bits is no time.
fn whole(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    (value.is_finite() && value.abs() < 9.0e18).then_some(value as i64)
}
