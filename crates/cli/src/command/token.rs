//! `trunkline token`.

use trunkline_core::secret::TokenDigest;

use super::{Failure, print};

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// A new token: the prefix and 64 random hexadecimal digits.
pub(super) fn random(prefix: &str) -> Result<String, Failure> {
    let mut bytes = [0; TOKEN_BYTES];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Failure::other("the system gives no random numbers"))?;
    Ok(bytes.iter().fold(String::from(prefix), |token, byte| format!("{token}{byte:02x}")))
}

pub(super) fn run(user: &str) -> Result<(), Failure> {
    let token = random("tl-")?;
    let digest = TokenDigest::of(token.as_bytes()).to_hex();
    let entry = serde_json::json!({ "name": user, "token_sha256": digest });
    print(&format!(
        "token (give it to the user; it is shown only now):\n  {token}\n\nentry for \"users\" in the configuration:\n  {entry}\n"
    ))
}
