//! Files with secrets in them that other users of the machine can read.
//!
//! Spec: config.md, *Errors at start*.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use trunkline_config::Config;
use trunkline_config::model::CredentialKind;

/// The bits of a mode that let others read a file, and enter a directory.
const READ: u32 = 0o004;
const ENTER: u32 = 0o001;

/// A warning for the configuration file and for each login file that others can read.
pub(crate) fn warnings(file: Option<&Path>, config: &Config) -> Vec<String> {
    let logins = config.services.iter().flat_map(|service| &service.credentials).filter_map(|credential| {
        match &credential.kind {
            CredentialKind::LoginFile(login) => Some(("login file", login.path.as_path())),
            _ => None,
        }
    });
    file.map(|file| ("configuration", file))
        .into_iter()
        .chain(logins)
        .filter(|(_, path)| others_can_read(path))
        .map(|(what, path)| {
            let path = path.display();
            format!("{path}: other users of this machine can read this {what}: chmod 600 {path}")
        })
        .collect()
}

/// Whether anyone can: the file lets them, and so does every directory on the way.
pub(crate) fn others_can_read(path: &Path) -> bool {
    let allows =
        |path: &Path, bit| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & bit != 0);
    let Ok(path) = path.canonicalize() else { return false };
    path.is_file()
        && allows(&path, READ)
        && path.ancestors().skip(1).all(|directory| allows(directory, ENTER))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_file_and_its_directories_count() {
        let directory = trunkline_testkit::TempDir::new().unwrap();
        let file: PathBuf = directory.write("inner/file", "x").unwrap();
        with_mode(&directory.join("inner"), 0o755);
        for (of_directory, of_file, readable) in
            [(0o755, 0o644, true), (0o755, 0o640, false), (0o700, 0o644, false), (0o711, 0o604, true)]
        {
            with_mode(directory.path(), of_directory);
            with_mode(&file, of_file);
            assert_eq!(others_can_read(&file), readable, "{of_directory:o} {of_file:o}");
        }
        with_mode(directory.path(), 0o755);
        assert!(!others_can_read(directory.path()), "a directory");
        assert!(!others_can_read(&directory.join("gone")));
    }
}
