//! The content of a login file, which is a secret as a whole.

use std::fmt;

use zeroize::Zeroizing;

/// The bytes of a login file. Wiped on drop; `Debug` shows how many there are.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginText(Zeroizing<Vec<u8>>);

impl LoginText {
    /// Takes ownership of a text.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The text itself, for reading a login from it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for LoginText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginText({} bytes)", self.0.len())
    }
}
