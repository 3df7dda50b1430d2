//! JSON documents that hold secrets: read without quoting them in an error, and wiped when dropped.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::json_edit::Edit;
use crate::login::LoginError;
use crate::secret::Secret;

/// Longest token taken from a file or an answer, in bytes. Real ones have up to some kilobytes.
pub(crate) const MAX_TOKEN: usize = 64 * 1024;

/// A document whose top is an object.
pub(crate) struct Document(Map<String, Value>);

impl Document {
    /// Reads it. The error tells the position only: the parser's own message could quote what stands there.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, LoginError> {
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            LoginError::Invalid(format!("not JSON at line {}, column {}", error.line(), error.column()))
        })?;
        match value {
            Value::Object(members) => Ok(Self(members)),
            mut other => {
                wipe(&mut other);
                Err(LoginError::Invalid("not a JSON object".to_owned()))
            }
        }
    }

    /// The members at the top.
    pub(crate) fn members(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Overwrites every text in a value. Names of members are no secrets.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Changes to a login file. They carry tokens: nothing of them is shown, and each wipes itself.
pub struct Edits(Vec<Edit>);

impl Edits {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn set(&mut self, path: &[&str], value: Value) {
        self.0.push(Edit::new(path, value));
    }

    /// The changes.
    pub fn as_slice(&self) -> &[Edit] {
        &self.0
    }
}

impl fmt::Debug for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|edit| edit.path.join("."))).finish()
    }
}

/// A text that is there and not empty; other types count as absent.
pub(crate) fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A token that is there, not empty and not absurdly long; other types count as absent.
pub(crate) fn token(members: &Map<String, Value>, name: &str) -> Option<Secret> {
    text(members, name).filter(|token| token.len() <= MAX_TOKEN).map(Secret::new)
}

/// A token that an `Authorization` header can carry.
pub(crate) fn access_token(members: &Map<String, Value>, name: &str) -> Option<Secret> {
    token(members, name).filter(|token| token.expose().bytes().all(|byte| byte.is_ascii_graphic()))
}
