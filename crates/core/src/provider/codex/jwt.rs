//! The claims of a JSON Web Token, for reading only. Signatures are not checked: the token comes from the owner's own file
//! or from the provider, and nothing is granted for what it says (fact sheet, section 6: the client does the same).

use std::time::SystemTime;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::document::{Document, MAX_TOKEN, text};
use crate::login::from_unix_seconds;

/// Base64url, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The member in which OpenAI puts its own claims.
const OPENAI: &str = "https://api.openai.com/auth";

/// The claims of a token.
pub(super) struct Claims(Document);

impl Claims {
    /// Reads them. `None` for whatever is no such token.
    pub(super) fn of(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        if token.len() > MAX_TOKEN || parts.next().is_some() {
            return None;
        }
        let decoded = Zeroizing::new(BASE64.decode(payload).ok()?);
        Document::parse(&decoded).ok().map(Self)
    }

    /// When the token ends.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        from_unix_seconds(self.0.members().get("exp")?.as_f64()?)
    }

    /// The plan of the account, as the provider names it.
    pub(super) fn plan(&self) -> Option<&str> {
        text(self.openai()?, "chatgpt_plan_type")
    }

    /// The account.
    pub(super) fn account_id(&self) -> Option<&str> {
        text(self.openai()?, "chatgpt_account_id")
    }

    fn openai(&self) -> Option<&Map<String, Value>> {
        self.0.members().get(OPENAI)?.as_object()
    }
}
