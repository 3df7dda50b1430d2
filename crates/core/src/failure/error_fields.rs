//! What an error says of itself: read from a body, or from an event of a stream.

use std::fmt;

use serde_json::Value;

/// Longest body that is looked into, in bytes. Errors are a few hundred bytes; a page of HTML says nothing to us.
pub const MAX_ERROR_BODY: usize = 64 * 1024;

/// How much of a field is kept, in bytes: only its start is compared.
pub const MAX_FIELD: usize = 512;

/// The fields of an error that decide anything.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ErrorFields {
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`.
    pub code: Option<String>,
    /// `error.details.error_code`.
    pub details_code: Option<String>,
    /// `error.message`, its start.
    pub message: Option<String>,
    /// The status that an event states, if it does.
    pub status: Option<u16>,
    /// Whether the body is no answer of the provider's API at all, such as a firewall's page. One that is empty or was not
    /// read is not known to be.
    pub is_foreign: bool,
}

impl fmt::Debug for ErrorFields {
    /// Without the words of the message: a provider may repeat in them what it was sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorFields")
            .field("kind", &self.kind)
            .field("code", &self.code)
            .field("details_code", &self.details_code)
            .field("message", &self.message.as_ref().map(String::len))
            .field("status", &self.status)
            .field("is_foreign", &self.is_foreign)
            .finish()
    }
}

impl ErrorFields {
    /// Reads the body of an answer, or what there is of it. One that is no error in JSON has no fields.
    pub fn from_body(body: &[u8]) -> Self {
        Self::from_json(body).unwrap_or_else(|| {
            // Both APIs answer in objects of JSON, also where the body is too long to be read.
            let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
            Self { is_foreign: first.is_some_and(|byte| *byte != b'{'), ..Self::default() }
        })
    }

    /// Reads the data of an event. Claude: `{"type":"error","error":{…}}`; Codex: the same with a `status` (older
    /// servers: `status_code`), and `{"type":"response.failed","response":{"error":{…}}}`.
    pub(crate) fn from_json(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_ERROR_BODY {
            return None;
        }
        let value: Value = serde_json::from_slice(text).ok()?;
        let places: Vec<&Value> = [value.get("error"), value.pointer("/response/error"), value.get("detail")]
            .into_iter()
            .flatten()
            .filter(|error| !error.is_null())
            .collect();
        let error = *places.first()?;
        // The backend's own refusals stand in `detail`, also beside an `error`.
        let text =
            |name: &str| places.iter().find_map(|place| place.get(name).and_then(Value::as_str)).map(start);
        let status = value.get("status").or_else(|| value.get("status_code")).and_then(Value::as_u64);
        Some(Self {
            kind: text("type"),
            code: text("code"),
            details_code: places
                .iter()
                .find_map(|place| place.pointer("/details/error_code").and_then(Value::as_str))
                .map(start),
            message: text("message").or_else(|| error.as_str().map(start)),
            status: status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status >= 400),
            is_foreign: false,
        })
    }

    /// Whether its code or type, or the code of its details, is `name`.
    pub fn is_named(&self, name: &str) -> bool {
        [&self.code, &self.kind, &self.details_code].into_iter().any(|own| own.as_deref() == Some(name))
    }
}

/// The first [`MAX_FIELD`] bytes, at a boundary of characters.
fn start(text: &str) -> String {
    let mut end = text.len().min(MAX_FIELD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
