//! The SHA-256 of a refresh token: what a journal knows it by.

use std::fmt;

use sha2::{Digest, Sha256};
use trunkline_core::secret::Secret;

/// A digest; `Debug` does not show it, since a guess could be checked against it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenHash(pub(crate) [u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &Secret) -> Self {
        Self(Sha256::digest(token.expose().as_bytes()).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}
