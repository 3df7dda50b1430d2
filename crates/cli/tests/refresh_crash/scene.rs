//! A login that has expired, its provider, and a process that refreshes it and dies.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use trunkline_login_store::{JournalState, LockProtocol, LoginStore};
use trunkline_testkit::claude::Account;
use trunkline_testkit::client::{Request, send};
use trunkline_testkit::process::{Builder, listening_addr};
use trunkline_testkit::tmp::{ClaudeLogin, read_claude_tokens};
use trunkline_testkit::{ClaudeApi, TempDir, Trunkline, Upstream};

use crate::tally::Round;

const ACCESS: &str = "sk-ant-oat01-first";
const REFRESH: &str = "sk-ant-ort01-first";
const TOKEN_PATH: &str = "/v1/oauth/token";

/// Some user who is not root.
const NOBODY: u32 = 65_534;

/// Where the login lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A file in a directory.
    Plain,
    /// A link to a file in another directory.
    Link,
    /// A file in a directory that admits no new ones, of a user who is not root.
    InPlace,
}

impl Layout {
    /// Those that can be made here.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Plain, Self::Link];
        if TempDir::new().is_ok_and(|dir| chown(dir.path(), Some(NOBODY), Some(NOBODY)).is_ok()) {
            all.push(Self::InPlace);
        } else {
            println!("left out: logins that are rewritten in place, which need another user, so root");
        }
        all
    }
}

/// One of each.
pub(crate) struct Scene {
    layout: Layout,
    pub(crate) api: ClaudeApi,
    pub(crate) upstream: Upstream,
    root: TempDir,
    login: PathBuf,
    others: Value,
}

impl Scene {
    pub(crate) async fn new(layout: Layout) -> Self {
        let api = ClaudeApi::new([Account::new("a").access_token(ACCESS).refresh_token(REFRESH)]);
        let upstream = Upstream::start(api.clone()).await.unwrap();
        let root = TempDir::in_memory("trunkline-crash").unwrap();
        fs::create_dir(root.join("data")).unwrap();
        let others = json!({ "mcpOAuth": { "kept": [1, 2.5, "x"] } });
        let mut content = ClaudeLogin::new(ACCESS, REFRESH).expires_in(-60);
        content.others = others.as_object().unwrap().clone();
        let mut login = content.write_to(&root.join(".claude")).unwrap();
        match layout {
            Layout::Plain => {}
            Layout::Link => {
                fs::create_dir(root.join("accounts")).unwrap();
                fs::rename(&login, root.join("accounts/one.json")).unwrap();
                symlink("../accounts/one.json", &login).unwrap();
            }
            Layout::InPlace => {
                let mode =
                    |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
                mode(root.path(), 0o755);
                mode(&root.join(".claude"), 0o755);
                for path in [root.path(), &root.join("data"), &login] {
                    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
                }
                login = root.join(".claude/.credentials.json");
            }
        }
        Self { layout, api, upstream, root, login, others }
    }

    fn builder(&self) -> Builder {
        let url = self.upstream.url();
        let config = json!({
            "data_directory": self.root.join("data"),
            "services": [{
                "type": "claude",
                "listen_port": 0,
                "credentials": [{ "tag": "main", "credential_path": self.login }],
                "upstream": { "api_url": url, "token_url": format!("{url}{TOKEN_PATH}") },
            }],
        });
        let builder = Trunkline::builder(env!("CARGO_BIN_EXE_trunkline"))
            .home(TempDir::in_memory("trunkline-home").unwrap())
            .env("TRUNKLINE_FAULT_LOG", self.fault_log())
            .config(&config);
        if self.layout == Layout::InPlace { builder.user(NOBODY) } else { builder }
    }

    fn fault_log(&self) -> PathBuf {
        self.root.join("data/points")
    }

    /// The names of the points that were passed since the last call.
    pub(crate) fn take_points(&self) -> Vec<String> {
        let names = fs::read_to_string(self.fault_log()).unwrap_or_default();
        let _ = fs::remove_file(self.fault_log());
        names.lines().map(str::to_owned).collect()
    }

    /// Starts it, to die at a point if one is named.
    pub(crate) fn spawn(&self, dies_at: Option<u64>) -> Trunkline {
        let builder = match dies_at {
            Some(at) => self.builder().env("TRUNKLINE_ABORT_AT", at.to_string()),
            None => self.builder(),
        };
        builder.spawn().unwrap()
    }

    /// Starts it and waits for its death at a point, or for the end of the refresh. Whether it died.
    pub(crate) async fn dies_at(&self, at: u64) -> bool {
        let mut process = self.spawn(Some(at));
        let listening = process.stderr_line_or_end(|line| listening_addr(line).is_some()).await.unwrap();
        if let Some(addr) = listening.as_deref().and_then(listening_addr) {
            // Whatever comes of it, it waits for a refresh that is under way.
            let _ = send(addr, &request()).await;
            let _ = process.signal("TERM").await;
        }
        let status = process.wait_exit().await.unwrap().status;
        let died = std::os::unix::process::ExitStatusExt::signal(&status);
        assert!(died == Some(6) || status.success(), "{status}: {:#?}", process.stderr());
        died.is_some()
    }

    /// Starts it again after a death, without faults, and sees whether the login is good and everything is tidy. `points`: what
    /// was passed before the death, the last of it last.
    pub(crate) async fn recovers(&self, points: &[String]) -> Round {
        let context = format!("{:?}, died at {:?}, points: {points:?}", self.layout, points.last());
        let is_safe = points.iter().any(|point| point == "answer.synced");
        let held = self.held();
        let context = format!("{context}, the journal held {held}");
        let before = fs::read(&self.login).unwrap();
        let mut process = match self.builder().start().await {
            Ok(process) => process,
            Err(error) => return Round::Lost(format!("{context}: {error}")),
        };
        let response = send(process.addr().unwrap(), &request()).await.unwrap();
        // A refresh that is under way is waited for.
        let output = process.stop().await.unwrap();
        let context = format!("{context}; then {:#?}", output.stderr);
        if output.status.code() != Some(0) {
            return Round::Lost(format!("{context}: it ended with {}", output.status));
        }
        let leftovers = self.leftovers();
        if response.status() != 200 {
            // Issued, but lost on its way: to anybody.
            let may_be_lost =
                !is_safe && held != AN_ANSWER && points.iter().any(|point| point == "call.connected");
            let is_told = response.status() == 503 && response.text().contains("login expired, run");
            let is_left_alone = fs::read(&self.login).unwrap() == before;
            let is_tidy = leftovers.iter().all(|left| left.ends_with(".superseded"));
            return if may_be_lost && is_told && is_left_alone && is_tidy && self.api.refreshes("a") == 1 {
                Round::NeverCame(held)
            } else {
                Round::Lost(format!(
                    "{context}: {} {}, left {leftovers:?}",
                    response.status(),
                    response.text()
                ))
            };
        }
        let (access, refresh) = self.api.tokens("a");
        let stored = read_claude_tokens(&self.login).ok();
        if stored != access.zip(refresh) {
            return Round::Lost(format!("{context}: the file holds another login"));
        }
        let file: Value = serde_json::from_slice(&fs::read(&self.login).unwrap()).unwrap();
        if file["mcpOAuth"] != self.others["mcpOAuth"] || file["claudeAiOauth"]["subscriptionType"] != "max" {
            return Round::Lost(format!("{context}: the file lost something: {file}"));
        }
        if fs::metadata(&self.login).unwrap().permissions().mode() & 0o7777 != 0o600 {
            return Round::Lost(format!("{context}: the file's mode was changed"));
        }
        if self.layout == Layout::Link && !self.login.is_symlink() {
            return Round::Lost(format!("{context}: the link was replaced"));
        }
        if self.api.refreshes("a") != 1 {
            return Round::Lost(format!("{context}: {} refreshes", self.api.refreshes("a")));
        }
        // Locks, too: nobody waits for those of the dead.
        if leftovers.is_empty() { Round::Kept } else { Round::Lost(format!("{context}: left {leftovers:?}")) }
    }

    /// What the journals hold.
    fn held(&self) -> &'static str {
        let protocol = LockProtocol::Claude { config_directory: None };
        let store = LoginStore::new(self.login.clone(), protocol, Some(self.root.join("data")));
        let states: Vec<_> = store.inspect().journals.iter().map(|journal| journal.state).collect();
        match states.as_slice() {
            [] => "no journal",
            [JournalState::Unanswered] => "a request without an answer",
            [JournalState::Damaged] => "half an answer",
            _ => AN_ANSWER,
        }
    }

    /// Everything that lies where something of a refresh may lie.
    fn paths(&self) -> Vec<PathBuf> {
        let directories = [
            self.root.path().to_owned(),
            self.root.join(".claude"),
            self.root.join("accounts"),
            self.root.join("data"),
        ];
        let entries = directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The names of what a refresh has left.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let is_left = |name: &String| {
            name.contains("trunkline-refresh")
                || name.contains("trunkline-new")
                || IS_LOCK.contains(&name.as_str())
        };
        self.paths().into_iter().map(name).filter(is_left).collect()
    }
}

/// What no login may be lost with.
const AN_ANSWER: &str = "an answer";

/// The locks of the provider's client, as they are called here.
const IS_LOCK: [&str; 4] = [".oauth_refresh.lock", ".claude.lock", "accounts.lock", ".storage-write.lock"];

fn request() -> Request {
    Request::post("/v1/messages?beta=true", r#"{"model":"claude-opus-4-8","max_tokens":1,"messages":[]}"#)
        .header("anthropic-version", "2023-06-01")
}

/// Whether a line of the log tells that the file holds the new login.
pub(crate) fn is_done(line: &str) -> bool {
    line.contains("login refreshed")
        || line.contains("in the login file now")
        || line.contains("unavailable: login expired")
}
