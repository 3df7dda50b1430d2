//! Where things lie on a machine: login files, configuration files, and what a path in a configuration means.
//!
//! Pure: everything is asked of an [`Environment`].

use std::path::{Path, PathBuf};

use trunkline_core::provider::claude::keychain_service;

use crate::Environment;
use crate::model::ProviderKind;

/// The file in a provider's directory that holds the login.
const CLAUDE_LOGIN: &str = ".credentials.json";
const CODEX_LOGIN: &str = "auth.json";

/// A login file, and the configuration directory whose locks guard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginLocation {
    /// The file.
    pub path: PathBuf,
    /// The directory that stands for the client's own configuration directory.
    pub directory: PathBuf,
    /// Where the client keeps the login instead on a system with a keychain (macOS), if no path was named.
    pub keychain: Option<KeychainName>,
}

/// The name of a keychain item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeychainName {
    /// Which program's it is.
    pub service: String,
    /// Whose it is.
    pub account: String,
}

impl LoginLocation {
    /// The login of `provider` in `directory`.
    pub fn in_directory(provider: ProviderKind, directory: PathBuf) -> Self {
        let name = match provider {
            ProviderKind::Claude => CLAUDE_LOGIN,
            ProviderKind::Codex => CODEX_LOGIN,
        };
        Self { path: directory.join(name), directory, keychain: None }
    }

    /// The login in `path`; its directory stands for the configuration directory.
    pub fn at(path: PathBuf) -> Self {
        let directory = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        Self { path, directory, keychain: None }
    }
}

/// Where the provider's own client keeps its login: `$CLAUDE_CONFIG_DIR` or `~/.claude`, `$CODEX_HOME` or `~/.codex`.
///
/// `None` when the variable is not set and the home is not known.
pub fn default_login(provider: ProviderKind, env: &dyn Environment) -> Option<LoginLocation> {
    let (variable, directory) = match provider {
        ProviderKind::Claude => ("CLAUDE_CONFIG_DIR", ".claude"),
        ProviderKind::Codex => ("CODEX_HOME", ".codex"),
    };
    // The clients take the variable as it is: `~` has no meaning in it.
    let named = env.var(variable).map(|value| absolute(Path::new(&value), env));
    let default = env.home().map(|home| home.join(directory));
    let keychain = match (provider, &default, env.var("USER")) {
        (ProviderKind::Claude, Some(default), Some(account)) => Some(KeychainName {
            service: keychain_service(env.var(variable).as_deref(), &default.to_string_lossy()),
            account,
        }),
        _ => None,
    };
    let directory = named.or(default)?;
    Some(LoginLocation { keychain, ..LoginLocation::in_directory(provider, directory) })
}

/// Where the configuration is looked for when none is named on the command line, in this order.
///
/// With `$TRUNKLINE_CONFIG` set that file is the only one: if it is missing, another must not take its place.
pub fn config_locations(env: &dyn Environment) -> Vec<PathBuf> {
    if let Some(named) = env.var("TRUNKLINE_CONFIG") {
        return vec![absolute(Path::new(&named), env)];
    }
    let user = env
        .var("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env.home().map(|home| home.join(".config")));
    let mut locations = vec![absolute(Path::new("trunkline.json"), env)];
    locations.extend(user.map(|directory| directory.join("trunkline/config.json")));
    locations.push("/etc/trunkline/config.json".into());
    locations
}

/// Where state is kept when the configuration does not say: `$STATE_DIRECTORY` (set by systemd),
/// `$XDG_DATA_HOME/trunkline`, `~/.local/share/trunkline`; `/var/lib/trunkline` for a user without a home.
pub(crate) fn default_data_directory(env: &dyn Environment) -> PathBuf {
    // systemd names several as a list; the first is ours.
    let given = env
        .var("STATE_DIRECTORY")
        .and_then(|list| list.split(':').next().map(PathBuf::from))
        .filter(|path| path.is_absolute());
    let of_user = || {
        env.var("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| env.home().map(|home| home.join(".local/share")))
            .map(|directory| directory.join("trunkline"))
    };
    given.or_else(of_user).unwrap_or_else(|| PathBuf::from("/var/lib/trunkline"))
}

/// A path as it is written in a configuration: `~` is the home, and a relative one starts at the working directory.
pub(crate) fn resolve(text: &str, env: &dyn Environment) -> Result<PathBuf, String> {
    if text.contains('\0') {
        return Err("a path must not contain a NUL character".to_owned());
    }
    let below_home = if text == "~" { Some("") } else { text.strip_prefix("~/") };
    match below_home {
        None => Ok(absolute(Path::new(text), env)),
        Some(below) => match env.home() {
            Some(home) => Ok(absolute(&home.join(below), env)),
            None => Err("the home directory is not known; write the path without ~".to_owned()),
        },
    }
}

/// What tells two login files apart: the real path, as far as there is one.
pub(crate) fn identity(path: &Path, env: &dyn Environment) -> PathBuf {
    let through_parent = || {
        // A login that does not exist yet may still lie in a directory that is known under two names.
        let parent = env.real_path(path.parent()?)?;
        Some(parent.join(path.file_name()?))
    };
    env.real_path(path).or_else(through_parent).unwrap_or_else(|| path.to_path_buf())
}

fn absolute(path: &Path, env: &dyn Environment) -> PathBuf {
    let full = match env.working_directory() {
        Some(directory) if path.is_relative() => directory.join(path),
        _ => path.to_path_buf(),
    };
    // Drops `.` and doubled slashes; `..` stays, since it cannot be resolved without looking at symlinks.
    full.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeEnvironment;

    #[test]
    fn paths_start_at_home_or_working_directory() {
        let env = FakeEnvironment::new();
        let resolved = |text| resolve(text, &env).unwrap();
        assert_eq!(resolved("~"), Path::new("/home/me"));
        assert_eq!(resolved("~/.claude-b//x"), Path::new("/home/me/.claude-b/x"));
        assert_eq!(resolved("./a/../b"), Path::new("/here/a/../b"));
        assert_eq!(resolved("~other/x"), Path::new("/here/~other/x"));
        assert_eq!(resolved("/x"), Path::new("/x"));
        assert!(resolve("~/x", &FakeEnvironment::new().without_home()).is_err());
        assert!(resolve("a\0b", &env).is_err());
    }

    #[test]
    fn logins_follow_the_clients_own_variables() {
        let env = FakeEnvironment::new().with_var("CODEX_HOME", "").with_var("CLAUDE_CONFIG_DIR", "b");
        let claude = default_login(ProviderKind::Claude, &env).unwrap();
        assert_eq!(claude.path, Path::new("/here/b/.credentials.json"));
        assert_eq!(claude.directory, Path::new("/here/b"));
        let codex = default_login(ProviderKind::Codex, &env).unwrap();
        assert_eq!(codex.path, Path::new("/home/me/.codex/auth.json"));
        assert_eq!(default_login(ProviderKind::Codex, &env.without_home()), None);
    }

    #[test]
    fn a_named_configuration_is_the_only_one() {
        let env = FakeEnvironment::new();
        let usual =
            ["/here/trunkline.json", "/home/me/.config/trunkline/config.json", "/etc/trunkline/config.json"];
        assert_eq!(config_locations(&env), usual.map(PathBuf::from));
        let env = env.with_var("XDG_CONFIG_HOME", "/xdg");
        assert_eq!(config_locations(&env)[1], Path::new("/xdg/trunkline/config.json"));
        let env = env.with_var("TRUNKLINE_CONFIG", "mine.json");
        assert_eq!(config_locations(&env), [PathBuf::from("/here/mine.json")]);
    }

    #[test]
    fn identity_sees_through_links_of_the_file_or_its_directory() {
        let env = FakeEnvironment::new().with_link("/a/login", "/real/login").with_link("/b", "/real");
        assert_eq!(identity(Path::new("/a/login"), &env), Path::new("/real/login"));
        assert_eq!(identity(Path::new("/b/login"), &env), Path::new("/real/login"));
        assert_eq!(identity(Path::new("/c/login"), &env), Path::new("/c/login"));
    }

    #[test]
    fn state_is_kept_where_the_system_says() {
        let env = FakeEnvironment::new();
        let at = |env: &FakeEnvironment| default_data_directory(env).display().to_string();
        assert_eq!(at(&env), "/home/me/.local/share/trunkline");
        let env = env.with_var("XDG_DATA_HOME", "relative");
        assert_eq!(at(&env), "/home/me/.local/share/trunkline");
        let env = env.with_var("XDG_DATA_HOME", "/data");
        assert_eq!(at(&env), "/data/trunkline");
        let env = env.with_var("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
        assert_eq!(at(&env), "/var/lib/a");
        assert_eq!(at(&FakeEnvironment::new().without_home()), "/var/lib/trunkline");
    }

    #[test]
    fn only_the_default_login_may_lie_in_a_keychain() {
        let env = FakeEnvironment::new().with_var("USER", "me");
        let name = |env: &FakeEnvironment| {
            default_login(ProviderKind::Claude, env)
                .unwrap()
                .keychain
                .map(|name| (name.service, name.account))
        };
        assert_eq!(name(&env), Some(("Claude Code-credentials".to_owned(), "me".to_owned())));
        let elsewhere = env.with_var("CLAUDE_CONFIG_DIR", "/elsewhere/claude");
        assert!(name(&elsewhere).unwrap().0.starts_with("Claude Code-credentials-"));
        assert_eq!(default_login(ProviderKind::Codex, &elsewhere).unwrap().keychain, None);
        assert_eq!(name(&FakeEnvironment::new()), None, "nobody's");
        assert_eq!(LoginLocation::at("/x".into()).keychain, None);
    }
}
