//! Login files: what each holds, who can read it, whether a refreshed token could be written, and what lies beside it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use trunkline_config::model::{Credential, CredentialKind, ProviderKind};
use trunkline_config::{Config, LoginLocation, default_login};
use trunkline_core::login::LoginError;
use trunkline_core::provider::LoginFormat;
use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::codex::Codex;
use trunkline_login_store::{Inspection, LockProtocol, LoginStore, ReadError, WhyInPlace, Writing};

use super::data_directory::Instance;
use super::finding::{Finding, Group};
use super::flock;
use super::shared_logins::{Known, SharedLogins};
use super::tokens::Tokens;
use super::{journals, locks, shared_logins, tokens, words};
use crate::environment::Process;
use crate::exposed::others_can_read;

/// What findings follow from. Nothing in it is secret.
pub(super) struct Facts {
    pub(super) provider: ProviderKind,
    pub(super) content: Content,
    pub(super) file: Option<FileFacts>,
    /// Whether a directory stands in its place.
    pub(super) is_directory: bool,
    pub(super) disk: Inspection,
    /// What tells the owner to log in.
    pub(super) hint: String,
    /// Whether journals could be kept in the data directory.
    pub(super) keeps_journals: bool,
    /// Whether an instance runs that should have refreshed it.
    pub(super) is_served: bool,
    /// Whether nobody asked for it by name, and there is another one.
    pub(super) is_optional: bool,
    pub(super) now: SystemTime,
}

/// What is in the file.
pub(super) enum Content {
    /// It could not be read.
    Unread(ReadError),
    /// It holds no login.
    Refused(LoginError),
    /// A login.
    Login(Tokens),
}

/// The file as such.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileFacts {
    mode: u32,
    owner: u32,
    /// Who asks.
    user: u32,
    /// Whether everybody can read it.
    is_exposed: bool,
}

/// A group for each login file that the configuration leads to. `is_default`: there is no configuration file, so that both
/// providers' logins are looked for; who uses one of them lacks nothing.
pub(super) fn examine(
    config: &Config,
    is_default: bool,
    instance: &Instance,
    keeps_journals: bool,
) -> Vec<Group> {
    let is_there = |credential: &Credential| match &credential.kind {
        CredentialKind::LoginFile(location) => location.path.exists(),
        _ => false,
    };
    let has_any = config.services.iter().flat_map(|service| &service.credentials).any(is_there);
    let mut groups = Vec::new();
    let mut known = SharedLogins::default();
    for service in &config.services {
        for credential in &service.credentials {
            let CredentialKind::LoginFile(location) = &credential.kind else { continue };
            let name = format!("{}/{}", service.tag, credential.tag);
            let is_served = instance.status().is_some_and(|status| {
                let service = status.services.iter().find(|running| running.tag == service.tag);
                service.is_some_and(|running| running.credentials.iter().any(|one| one.tag == credential.tag))
            });
            let data_directory = keeps_journals.then(|| config.data_directory.clone());
            let (mut facts, identity) = gather(service.provider, location, data_directory, is_served);
            facts.is_optional = is_default && has_any;
            let mut findings = findings(&facts);
            findings.extend(known.add(&name, identity).map(|shared| shared_logins::finding(&shared)));
            let about = Some(location.path.display().to_string());
            groups.push(Group { section: "login", subject: Some(name), about, findings });
        }
    }
    groups
}

/// What follows. Pure, but that locks and journals are looked for in the list of the system's locks.
fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![of_content(facts)];
    if facts.disk.is_link {
        let leads = if facts.disk.writing.is_some() { "it leads to" } else { "it should lead to" };
        findings.push(Finding::ok(
            "login.link",
            format!("a symbolic link; {leads} {}", facts.disk.real.display()),
        ));
    }
    if let Some(file) = facts.file {
        findings.extend(of_permissions(file, facts));
    }
    let tokens = match &facts.content {
        Content::Login(tokens) => Some(tokens),
        _ => None,
    };
    if let Some(tokens) = tokens {
        findings.extend(tokens::findings(tokens, facts));
        if tokens.is_renewable {
            findings.extend(facts.disk.writing.map(|writing| of_writing(writing, facts)));
        }
    }
    findings.extend(locks::findings(&facts.disk.locks, flock::of, facts.now));
    findings.extend(journals::findings(&facts.disk, flock::of, facts.now));
    findings
}

/// How to get a login file where there is none.
fn missing(facts: &Facts) -> String {
    match facts.provider {
        ProviderKind::Claude => facts.hint.clone(),
        ProviderKind::Codex => format!(
            "{}; a login that it keeps in a keyring is not read: set cli_auth_credentials_store = \"file\" in its \
             config.toml before",
            facts.hint
        ),
    }
}

fn of_content(facts: &Facts) -> Finding {
    let check = "login.file";
    let hint = facts.hint.as_str();
    match &facts.content {
        Content::Login(_) => Finding::ok(check, "present, and holds a login"),
        Content::Refused(LoginError::LoggedOut) => {
            Finding::problem(check, "logged out: the file holds no login", hint)
        }
        Content::Refused(error) => Finding::problem(
            check,
            error.to_string(),
            format!("{hint}; if it refuses, remove the file first"),
        ),
        Content::Unread(ReadError::Missing) if facts.is_optional => {
            Finding::ok(check, format!("there is no login file; to use this service, {}", missing(facts)))
        }
        Content::Unread(ReadError::Missing) => {
            Finding::problem(check, "there is no login file", missing(facts))
        }
        Content::Unread(ReadError::NoPermission) => Finding::problem(
            check,
            "this user may not read it",
            "give this user read and write permission, or run as its owner",
        ),
        Content::Unread(ReadError::Keychain(problem)) => {
            Finding::problem(check, "the keychain does not give it", problem.to_string())
        }
        Content::Unread(ReadError::Io(kind)) => Finding::problem(
            check,
            format!("it could not be read: {}", words::failure(*kind)),
            "check its disk",
        ),
        Content::Unread(ReadError::NotAFile) if facts.is_directory => Finding::problem(
            check,
            "a directory stands where the login file should be",
            "let credential_path name the file in it, or remove an empty directory and log in",
        ),
        Content::Unread(other) => {
            let found = match other {
                ReadError::NotAFile => "what stands in its place is not a file",
                ReadError::TooLarge => "it is larger than 1 MiB, so it is no login",
                ReadError::Empty => "it is empty",
                _ => "it is not text",
            };
            Finding::problem(check, found, format!("remove it, and {hint}"))
        }
    }
}

fn of_permissions(file: FileFacts, facts: &Facts) -> Vec<Finding> {
    const ROOT: u32 = 0;
    let check = "login.permissions";
    let mode = file.mode & 0o7777;
    let real = facts.disk.real.display();
    let mut findings = vec![if file.is_exposed {
        let found = format!("mode {mode:04o}: other users of this machine can read it");
        Finding::warning(check, found, format!("chmod 600 {real}"))
    } else if mode & 0o077 != 0 {
        let found = format!("mode {mode:04o}: more than its owner needs");
        Finding::warning(check, found, format!("chmod 600 {real}"))
    } else {
        Finding::ok(check, format!("mode {mode:04o}"))
    }];
    if file.owner != file.user && file.user != ROOT {
        findings.push(Finding::warning(
            "login.owner",
            format!("it belongs to user {}, this is user {}", file.owner, file.user),
            "run trunkline as the user whose login it is",
        ));
    }
    findings
}

fn of_writing(writing: Writing, facts: &Facts) -> Finding {
    let check = "login.writable";
    let why = match writing {
        Writing::Replace => return Finding::ok(check, "a refreshed login can be written"),
        Writing::No(why) => {
            let why = words::failure(why);
            return Finding::problem(
                check,
                format!(
                    "it cannot be written ({why}), so it is not refreshed and ends with its access token"
                ),
                "make the file and its directory writable for this user",
            );
        }
        Writing::InPlace(why) => why,
    };
    let (what, remedy) = match why {
        WhyInPlace::Mounted => (
            "it is mounted by itself".to_owned(),
            "mount the directory above its directory instead, so that the client's locks are shared too",
        ),
        WhyInPlace::Directory(why) => (
            format!("its directory admits no new file ({})", words::failure(why)),
            "make its directory writable for this user",
        ),
        WhyInPlace::Owner => {
            ("a new file could not be given its owner and group".to_owned(), "run trunkline as its owner")
        }
    };
    if facts.keeps_journals {
        let found = format!("it can only be written over, not replaced: {what}");
        Finding::warning(check, found, remedy)
    } else {
        let found = format!(
            "{what}, and the data directory admits no journal, so it is not refreshed and ends with its access token"
        );
        Finding::problem(check, found, format!("{remedy}, or the data directory"))
    }
}

// === gathering ===

fn gather(
    provider: ProviderKind,
    location: &LoginLocation,
    data_directory: Option<PathBuf>,
    is_served: bool,
) -> (Facts, Known) {
    let (format, protocol): (&dyn LoginFormat, _) = match provider {
        ProviderKind::Claude => {
            (&Claude, LockProtocol::Claude { config_directory: Some(location.directory.clone()) })
        }
        ProviderKind::Codex => (&Codex, LockProtocol::Codex),
    };
    let keeps_journals = data_directory.is_some();
    let store = store(location, protocol, data_directory);
    let disk = store.inspect();
    let found = fs::metadata(&disk.real).ok();
    let mut known = Known::new(found.as_ref().map(|found| (found.dev(), found.ino())));
    let content = match store.read() {
        Err(error) => Content::Unread(error),
        Ok(text) => match format.read_login(text.as_bytes()) {
            Err(error) => Content::Refused(error),
            Ok(login) => {
                known.note(&login);
                Content::Login(Tokens::of(&login))
            }
        },
    };
    let facts = Facts {
        provider,
        content,
        is_directory: found.as_ref().is_some_and(fs::Metadata::is_dir),
        file: found.filter(fs::Metadata::is_file).map(|found| FileFacts {
            mode: found.mode(),
            owner: found.uid(),
            user: rustix::process::geteuid().as_raw(),
            is_exposed: others_can_read(&disk.real),
        }),
        disk,
        hint: hint(provider, format, location),
        keeps_journals,
        is_served,
        is_optional: false,
        now: SystemTime::now(),
    };
    (facts, known)
}

/// The login as a service finds it: in the keychain first, on a system that has one.
fn store(location: &LoginLocation, protocol: LockProtocol, data_directory: Option<PathBuf>) -> LoginStore {
    let path = location.path.clone();
    #[cfg(target_os = "macos")]
    if let Some(name) = &location.keychain
        && let Ok(item) = trunkline_login_store::KeychainItem::new(&name.service, &name.account)
    {
        let keychain = std::sync::Arc::new(trunkline_login_store::SecurityTool::system());
        return LoginStore::with_keychain(keychain, item, path, protocol, data_directory);
    }
    LoginStore::new(path, protocol, data_directory)
}

/// How to log in there: a login that is not the usual one needs the client's variable.
fn hint(provider: ProviderKind, format: &dyn LoginFormat, location: &LoginLocation) -> String {
    let hint = format.login_hint();
    if default_login(provider, &Process).is_some_and(|usual| usual.path == location.path) {
        return hint.to_owned();
    }
    let variable = match provider {
        ProviderKind::Claude => "CLAUDE_CONFIG_DIR",
        ProviderKind::Codex => "CODEX_HOME",
    };
    let directory = location.path.parent().unwrap_or(&location.directory).display();
    format!("{hint} with {variable}={directory}")
}

#[cfg(test)]
mod tests;
