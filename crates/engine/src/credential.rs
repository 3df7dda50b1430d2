//! Credentials: where an upstream's authorization comes from, and whether it can be had now.
//!
//! Spec: credentials.md, *Availability*, as far as reading goes: a login file is read at start and whenever it changes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use trunkline_core::login::Login;
use trunkline_core::provider::{Authorization, PreparedAuthorization, Provider};
use trunkline_core::secret::Secret;

use crate::activity::Activity;
use crate::upstream::Upstream;

/// Largest login file read. Real ones have a few kilobytes.
const MAX_LOGIN_FILE: u64 = 1024 * 1024;

/// What a credential is, from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A login file.
    LoginFile(PathBuf),
    /// A long-lived OAuth token.
    OAuthToken(Secret),
    /// An API key.
    ApiKey(Secret),
}

/// A credential of a service, as one configuration has it.
#[derive(Debug)]
pub struct Credential {
    tag: Arc<str>,
    upstream: Arc<Upstream>,
    models: Vec<String>,
    users: Option<Vec<usize>>,
    live: Arc<LiveCredential>,
}

/// What of a credential outlives a change of the configuration: what is known of its login, and what is under way on it.
#[derive(Debug)]
pub struct LiveCredential {
    source: CredentialSource,
    state: ArcSwap<State>,
    file: Option<LoginFile>,
    activity: Arc<Activity>,
}

#[derive(Debug)]
enum State {
    Usable { authorization: PreparedAuthorization, expires_at: Option<SystemTime> },
    Unavailable(String),
}

#[derive(Debug)]
struct LoginFile {
    path: PathBuf,
    seen: Mutex<Option<Stamp>>,
}

/// What tells that a file has changed. An atomic replace within one tick of the clock still changes the inode.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl LiveCredential {
    /// What `source` gives; a login file is read at once.
    pub fn new(source: CredentialSource, provider: &dyn Provider) -> Arc<Self> {
        let (state, file) = match &source {
            CredentialSource::LoginFile(path) => {
                let seen = Mutex::new(stamp(path));
                (read(path, provider), Some(LoginFile { path: path.clone(), seen }))
            }
            CredentialSource::OAuthToken(token) => {
                (prepared(provider, &Authorization::OAuth(token.clone()), None), None)
            }
            CredentialSource::ApiKey(key) => {
                (prepared(provider, &Authorization::ApiKey(key.clone()), None), None)
            }
        };
        Arc::new(Self { source, state: ArcSwap::from_pointee(state), file, activity: Arc::default() })
    }

    /// What it was made of.
    pub fn source(&self) -> &CredentialSource {
        &self.source
    }
}

impl Credential {
    /// A credential. `users`: the positions of the users who may use it, if not all may.
    pub fn new(
        tag: &str,
        live: Arc<LiveCredential>,
        upstream: Arc<Upstream>,
        models: Vec<String>,
        users: Option<Vec<usize>>,
    ) -> Self {
        Self { tag: tag.into(), upstream, models, users, live }
    }

    /// What outlives a change of the configuration.
    pub fn live(&self) -> &Arc<LiveCredential> {
        &self.live
    }

    /// What is under way on it.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.live.activity
    }

    /// Its name.
    pub fn tag(&self) -> &Arc<str> {
        &self.tag
    }

    /// Where its requests go.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The models it may serve, as globs; empty: all.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Whether the user at this position may use it. Nobody in particular: only if it is not kept for some.
    pub fn admits_user(&self, user: Option<usize>) -> bool {
        self.users.as_ref().is_none_or(|users| user.is_some_and(|user| users.contains(&user)))
    }

    /// What to authenticate with at `now`, or why there is nothing: tags and reasons only, no paths.
    pub fn authorization(&self, now: SystemTime) -> Result<PreparedAuthorization, String> {
        match &**self.live.state.load() {
            State::Usable { expires_at: Some(at), .. } if *at <= now => {
                Err("its login has expired and this version does not refresh logins: start the client once"
                    .to_owned())
            }
            State::Usable { authorization, .. } => Ok(authorization.clone()),
            State::Unavailable(why) => Err(why.clone()),
        }
    }

    /// Looks whether the login file has changed, and reads it again if so. Returns a line for the log when the credential's
    /// state changed. Blocks on the file system.
    pub fn look_at_file(&self, provider: &dyn Provider) -> Option<String> {
        let file = self.live.file.as_ref()?;
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.live.state.load();
        let found = stamp(&file.path);
        if *seen == found && !matches!(&**before, State::Unavailable(_)) {
            return None;
        }
        let changed = *seen != found;
        *seen = found;
        let after = read(&file.path, provider);
        let line = match (&**before, &after) {
            (State::Usable { .. }, State::Unavailable(why)) => Some(format!("usable → unavailable: {why}")),
            (State::Unavailable(_), State::Usable { .. }) => {
                Some("unavailable → usable: login found".to_owned())
            }
            (State::Unavailable(was), State::Unavailable(is)) if was != is => {
                Some(format!("unavailable: {is}"))
            }
            (State::Usable { .. }, State::Usable { .. }) if changed => {
                Some("login file changed, read again".to_owned())
            }
            _ => None,
        };
        self.live.state.store(Arc::new(after));
        line
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Stamp { modified: metadata.modified().ok(), length: metadata.len(), inode })
}

fn read(path: &Path, provider: &dyn Provider) -> State {
    match read_login(path, provider) {
        Ok(login) => prepared(provider, &Authorization::OAuth(login.access_token), login.expires_at),
        Err(why) => State::Unavailable(why),
    }
}

fn read_login(path: &Path, provider: &dyn Provider) -> Result<Login, String> {
    let hint = provider.login_hint();
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("no login file: {hint}"),
        kind => unreadable(kind),
    })?;
    let mut text = Vec::new();
    file.take(MAX_LOGIN_FILE + 1).read_to_end(&mut text).map_err(|error| unreadable(error.kind()))?;
    if text.len() as u64 > MAX_LOGIN_FILE {
        return Err(format!("the login file is larger than {MAX_LOGIN_FILE} bytes"));
    }
    provider.read_login(&text).map_err(|error| format!("{error}: {hint}"))
}

/// Says what to do, without the path: clients are told this too.
fn unreadable(kind: std::io::ErrorKind) -> String {
    let remedy = match kind {
        std::io::ErrorKind::PermissionDenied => "run trunkline as the user who owns it",
        std::io::ErrorKind::IsADirectory => "credential_path names the file, claude_directory its directory",
        _ => "correct its path",
    };
    format!("the login file cannot be read ({kind}): {remedy}")
}

fn prepared(provider: &dyn Provider, authorization: &Authorization, expires_at: Option<SystemTime>) -> State {
    match provider.prepare(authorization) {
        Some(authorization) => State::Usable { authorization, expires_at },
        None => State::Unavailable("its token has characters that no header can carry".to_owned()),
    }
}
