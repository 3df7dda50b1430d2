//! Secrets as types: nothing prints them, they are wiped on drop, and comparing takes constant time.
//!
//! Spec: credentials.md, *Secrets in memory*.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A token, key or password.
///
/// `Debug` and `Display` never show more than the last four characters, and only of secrets long enough that
/// four characters tell nothing.
#[derive(Clone)]
pub struct Secret(String);

/// Below this length in bytes not even the tail of a secret is shown.
const SHOW_TAIL_FROM: usize = 16;

impl Secret {
    /// Takes ownership of a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself: only for putting it on the wire or into a login file.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() >= SHOW_TAIL_FROM {
            // Tokens are ASCII; for anything else the tail is counted in characters, never cut inside one.
            let tail = self.0.char_indices().rev().nth(3).and_then(|(at, _)| self.0.get(at..)).unwrap_or("");
            write!(f, "…{tail}")
        } else {
            f.write_str("…")
        }
    }
}

/// The SHA-256 of a user token: what is kept of it, and what it is looked up by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

/// By its first bytes: they are as evenly distributed as all of it.
impl Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(first) = self.0.first_chunk() {
            state.write_u64(u64::from_le_bytes(*first));
        }
    }
}

impl TokenDigest {
    /// The digest of a token as a client sends it.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads 64 hexadecimal digits, upper or lower case. `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return None;
        }
        let mut digest = [0; 32];
        for (out, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *out = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(digest))
    }

    /// The digest in lower-case hexadecimal, as `token_sha256` takes it.
    pub fn to_hex(self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Whether both are the same, in constant time.
    pub fn same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_tail_at_most() {
        assert_eq!(format!("{:?}", Secret::new("sk-ant-api03-canary-1234")), "…1234");
        assert_eq!(format!("{:?}", Secret::new("short")), "…");
        assert_eq!(format!("{:?}", Secret::new("")), "…");
        assert_eq!(format!("{:?}", Secret::new("ääääääääääääääääää")), "…ääää");
    }

    #[test]
    fn digests_round_trip_through_hex() {
        let digest = TokenDigest::of(b"abc");
        assert_eq!(digest.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(
            TokenDigest::from_hex(&digest.to_hex().to_uppercase()).is_some_and(|read| read.same(&digest))
        );
        assert!(TokenDigest::from_hex("ba78").is_none());
        assert!(TokenDigest::from_hex(&"é".repeat(32)).is_none());
        assert!(TokenDigest::from_hex(&"g".repeat(64)).is_none());
    }

    #[test]
    fn comparison_is_by_content() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("aa"));
    }
}
