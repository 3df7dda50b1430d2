//! Login files: where they are, and that no two credentials are about one of them.

use std::collections::HashMap;
use std::path::Path;

use super::Context;
use crate::diagnostic::Spot;
use crate::model::ProviderKind;
use crate::paths::{self, LoginLocation};
use crate::record::Record;

/// A login file in use.
pub(super) struct Login {
    pub(super) location: LoginLocation,
    /// Where to report a conflict.
    pub(super) spot: Spot,
}

/// The login file that a credential, or a service with a single one, is about.
///
/// `claude_directory` says where login and locks lie; `credential_path` wins for the file.
pub(super) fn locate(record: &Record, provider: ProviderKind, context: &mut Context<'_>) -> Option<Login> {
    if provider == ProviderKind::Codex && record.stated("claude_directory").is_some() {
        context.report.error(&record.spot_of("claude_directory"), "only for Claude; set credential_path");
    }
    let stated =
        ["credential_path", "claude_directory"].into_iter().find(|name| record.stated(name).is_some());
    let spot = stated.map_or_else(|| record.spot.clone(), |name| record.spot_of(name));
    if stated.is_some_and(|name| record.entry(name).is_none()) {
        return None;
    }
    let (path, directory) = (record.path("credential_path"), record.path("claude_directory"));
    let location = match (path, directory.map(Path::to_path_buf)) {
        (Some(path), Some(directory)) => {
            Some(LoginLocation { path: path.to_path_buf(), directory, keychain: None })
        }
        (Some(path), None) => Some(LoginLocation::at(path.to_path_buf())),
        (None, Some(directory)) => Some(LoginLocation::in_directory(provider, directory)),
        (None, None) => paths::default_login(provider, context.env),
    };
    if location.is_none() {
        context.report.error(&spot, "the home directory is not known; set credential_path");
    }
    location.map(|location| Login { location, spot })
}

/// Two credentials on one login would refresh its token against each other.
pub(super) fn check<'a>(logins: impl Iterator<Item = &'a Login>, context: &mut Context<'_>) {
    let mut known: HashMap<_, &Login> = HashMap::new();
    for login in logins {
        let identity = paths::identity(&login.location.path, context.env);
        if let Some(other) = known.get(&identity) {
            let message = format!(
                "{} is the login file of {} too; one login is one credential",
                login.location.path.display(),
                other.spot.path
            );
            context.report.error(&login.spot, message);
        } else {
            known.insert(identity, login);
        }
    }
}
