//! How often a login is to be read though nothing says that it changed.
//!
//! A file's directory is watched, and read again only while the credential is unavailable, since watches can fail
//! (credentials.md, *Watching*). A keychain cannot be watched at all, and each look starts a process.

use std::time::Duration;

use crate::read::ReadError;
use crate::store::LoginStore;

/// A file, while its credential is unavailable.
pub const UNAVAILABLE_POLL: Duration = Duration::from_secs(2);

/// A keychain, while its credential is usable: how late a login by the client is seen. A token that was replaced but still
/// works may be used meanwhile; before a refresh, and when a token is refused, the login is read anyway.
pub const KEYCHAIN_POLL: Duration = Duration::from_secs(30);

/// A keychain, while its credential is unavailable: somebody may be logging in.
pub const KEYCHAIN_UNAVAILABLE_POLL: Duration = Duration::from_secs(5);

/// A keychain that is locked, refuses, or does not answer: each look may put a dialogue on somebody's screen.
pub const KEYCHAIN_RETRY: Duration = Duration::from_secs(60);

impl LoginStore {
    /// How soon the login is to be read again. `last`: why it could not be read the last time, if so. `None`: when the watch of
    /// the file's directory says so. A login that may be in the keychain is polled also while it comes from the file.
    pub fn poll_after(&self, last: Option<ReadError>, is_available: bool) -> Option<Duration> {
        match (self.keychain(), last) {
            (Some(_), Some(ReadError::Keychain(_))) => Some(KEYCHAIN_RETRY),
            (Some(_), _) if is_available => Some(KEYCHAIN_POLL),
            (Some(_), _) => Some(KEYCHAIN_UNAVAILABLE_POLL),
            (None, _) if is_available => None,
            (None, _) => Some(UNAVAILABLE_POLL),
        }
    }
}
