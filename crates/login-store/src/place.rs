//! Where a login really lies, links followed, and where its journal goes.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::medium::{InKeychain, Medium};

/// How many links are followed to a file that is not there.
const MAX_LINKS: usize = 8;

/// The places that belong to one login, found anew for each refresh.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// What the login is kept in.
    pub(crate) medium: Medium,
    /// The directory of the file itself; of a login in a keychain, the configured one.
    pub(crate) directory: PathBuf,
    /// The directory of the path that was configured.
    pub(crate) configured_directory: PathBuf,
    /// Whether the configured path is a symbolic link.
    pub(crate) is_link: bool,
}

impl Place {
    /// Of a login file.
    pub(crate) fn find(path: &Path) -> Self {
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let real = follow(path);
        Self {
            directory: directory_of(&real).to_owned(),
            configured_directory: self::real(directory_of(path)),
            is_link,
            medium: Medium::File(real),
        }
    }

    /// Of a login in a keychain. Its locks are those of the configuration directory, where `path` would be its file.
    pub(crate) fn in_keychain(kept: &InKeychain, path: &Path) -> Self {
        let directory = real(directory_of(path));
        Self {
            medium: Medium::Keychain(kept.clone()),
            configured_directory: directory.clone(),
            directory,
            is_link: false,
        }
    }

    /// The journal of a login in a keychain, or of one whose directory admits no new files.
    pub(crate) fn journal_in(&self, data_directory: &Path) -> PathBuf {
        let digest = match &self.medium {
            Medium::File(real) => Sha256::digest(real.as_os_str().as_encoded_bytes()),
            // No path has a zero byte, and neither have the names.
            Medium::Keychain(InKeychain { item, .. }) => Sha256::new()
                .chain_update([0])
                .chain_update(item.service())
                .chain_update([0])
                .chain_update(item.account())
                .finalize(),
        };
        let mut name = String::from("login-");
        for byte in digest.iter().take(16) {
            let _ = write!(name, "{byte:02x}");
        }
        name.push_str(".trunkline-refresh");
        data_directory.join(name)
    }
}

/// The journal beside a login file: it follows the account when links are switched.
pub(crate) fn journal_beside(real: &Path) -> PathBuf {
    suffixed(real, ".trunkline-refresh")
}

/// A path with something behind its last name.
pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The real path, or the path itself if there is nothing.
pub(crate) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The directory that a file lies in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The real path of a file, also of one that is not there yet, as far as its directory is.
fn follow(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => break,
        }
    }
    match path.file_name() {
        Some(name) => real(directory_of(&path)).join(name),
        None => path,
    }
}
