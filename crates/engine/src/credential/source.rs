//! What a credential is made of.

use std::path::PathBuf;

use trunkline_core::secret::Secret;
use trunkline_login_store::{KeychainItem, LockProtocol, LoginStore};

/// What a credential is, from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A login file.
    LoginFile(LoginFile),
    /// A long-lived OAuth token.
    OAuthToken(Secret),
    /// An API key.
    ApiKey(Secret),
}

/// A login file, with all that says how it is shared with the provider's own client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFile {
    /// Where it is.
    pub path: PathBuf,
    /// The locks that the client takes.
    pub locks: LockProtocol,
    /// The keychain item that comes before the file, on a system that has a keychain.
    pub keychain: Option<KeychainItem>,
    /// Where an answer is kept if the file's own directory admits nothing new.
    pub data_directory: PathBuf,
}

impl LoginFile {
    pub(super) fn store(&self) -> LoginStore {
        #[cfg(target_os = "macos")]
        if let Some(item) = &self.keychain {
            return LoginStore::with_keychain(
                std::sync::Arc::new(trunkline_login_store::SecurityTool::system()),
                item.clone(),
                self.path.clone(),
                self.locks.clone(),
                Some(self.data_directory.clone()),
            );
        }
        LoginStore::new(self.path.clone(), self.locks.clone(), Some(self.data_directory.clone()))
    }
}
