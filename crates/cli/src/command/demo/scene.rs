//! Who plays: the credentials of two simulated providers, each provider's as one pool, the users, and the configuration that
//! joins them.
//!
//! Two users are driven by the demo, and the third is whoever is watching.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline_core::provider::codex::Codex;
use trunkline_core::provider::{ClientToken, Provider as _};
use trunkline_testkit::claude::{Account as ClaudeAccount, Limits};
use trunkline_testkit::codex::{Account as CodexAccount, LimitEvents};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::{ClaudeApi, CodexApi, TempDir, Upstream};

use super::accounts::{Of, Providers, tags};
use crate::command::Failure;
use crate::command::token::random;

/// What the simulated model says.
const REPLY: &str = "This answer is simulated: no model was asked.";

/// How long it thinks before each piece of that.
const PAUSE: Duration = Duration::from_millis(40);

/// How long the simulated login is good, in seconds: longer than anybody watches, as nothing refreshes it.
const LOGIN_FOR: i64 = 365 * 86_400;

/// A user.
pub(super) struct Client {
    /// The user's name.
    pub(super) name: &'static str,
    /// The user's token.
    pub(super) token: String,
    /// Whether the demo sends requests as this user.
    pub(super) is_driven: bool,
}

/// Where the services listen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listen {
    pub(super) claude: SocketAddr,
    pub(super) codex: SocketAddr,
}

/// All of it. What is on disk goes when it is dropped.
pub(super) struct Scene {
    pub(super) clients: Vec<Client>,
    pub(super) providers: Providers,
    pub(super) claude: Upstream,
    pub(super) codex: Upstream,
    pub(super) directory: TempDir,
    oauth_token: String,
    api_key: String,
    codex_api_key: String,
}

impl Scene {
    pub(super) async fn new() -> Result<Self, Failure> {
        let directory = TempDir::named("trunkline-demo").map_err(|error| {
            let root = std::env::temp_dir();
            Failure::other(format!(
                "no temporary directory can be made in {} ({error}): set TMPDIR to one that this user may write to",
                root.display()
            ))
        })?;
        let client = |name, is_driven| Ok(Client { name, token: random("tl-")?, is_driven });
        let clients = vec![client("alice", true)?, client("bob", true)?, client("you", false)?];
        let oauth_token = random("sk-ant-oat01-simulated-")?;
        let api_key = random("sk-ant-api03-simulated-")?;
        let codex_api_key = random("sk-proj-simulated-")?;
        let claude = claude_api(&directory, &oauth_token, &api_key)?;
        let codex = codex_api(&directory, &codex_api_key)?;
        Ok(Self {
            clients,
            claude: listening(claude.clone()).await?,
            codex: listening(codex.clone()).await?,
            providers: Providers { claude, codex },
            directory,
            oauth_token,
            api_key,
            codex_api_key,
        })
    }

    /// The configuration.
    pub(super) fn configuration(&self, listen: Listen, log: bool) -> Value {
        let users: Vec<Value> = self
            .clients
            .iter()
            .map(|client| {
                let (name, token) = (client.name, &client.token);
                json!({ "name": name, "token": token, "credential": "pool", "explain": !client.is_driven })
            })
            .collect();
        let pool = |of| json!({ "tag": "pool", "type": "balancer", "credentials": tags(of) });
        let codex = self.codex.url();
        json!({
            "log": { "level": if log { "info" } else { "warn" } },
            "drain_timeout": "5s",
            "data_directory": self.directory.join("data"),
            "ledger": { "type": "none" },
            "services": [
                {
                    "type": "claude",
                    "listen": listen.claude.ip().to_string(),
                    "listen_port": listen.claude.port(),
                    "path": "/claude",
                    "max_body": "32MiB",
                    "upstream": { "api_url": self.claude.url() },
                    "users": users,
                    "credentials": [
                        { "tag": "login", "claude_directory": self.directory.join("login") },
                        { "tag": "token", "oauth_token": self.oauth_token },
                        { "tag": "key", "type": "api_key", "api_key": self.api_key },
                        pool(Of::Claude),
                    ],
                },
                {
                    "type": "codex",
                    "listen": listen.codex.ip().to_string(),
                    "listen_port": listen.codex.port(),
                    "path": "/codex",
                    "max_body": "32MiB",
                    "upstream": {
                        "api_url": format!("{codex}/backend-api/codex"),
                        "usage_url": format!("{codex}/backend-api/wham/usage"),
                        "token_url": format!("{codex}/oauth/token"),
                        "openai_url": codex,
                    },
                    "users": users,
                    "credentials": [
                        { "tag": "codex-login", "credential_path": self.directory.join("auth.json") },
                        { "tag": "codex-key", "type": "api_key", "api_key": self.codex_api_key },
                        pool(Of::Codex),
                    ],
                },
            ],
        })
    }

    /// Where the configuration of a real Codex client lies that is [whoever watches](Client::is_driven).
    pub(super) fn codex_home(&self) -> PathBuf {
        self.directory.join("codex")
    }

    /// Writes that.
    pub(super) fn write_codex_home(&self, base_url: &str) -> Result<(), Failure> {
        let Some(you) = self.clients.iter().find(|client| !client.is_driven) else { return Ok(()) };
        let Some(file) = Codex.client_file(base_url, ClientToken::Value(&you.token)) else { return Ok(()) };
        let written = self.directory.write("codex/config.toml", file.text);
        written.map(drop).map_err(|error| unwritable(&error))
    }

    /// Writes it, and returns where it is.
    pub(super) fn write_configuration(&self, listen: Listen, log: bool) -> Result<PathBuf, Failure> {
        let text = format!("{:#}\n", self.configuration(listen, log));
        self.directory.write("trunkline.json", text).map_err(|error| unwritable(&error))
    }
}

fn claude_api(directory: &TempDir, oauth_token: &str, api_key: &str) -> Result<ClaudeApi, Failure> {
    let access = random("sk-ant-oat01-simulated-")?;
    let refresh = random("sk-ant-ort01-simulated-")?;
    ClaudeLogin::new(&*access, &*refresh)
        .expires_in(LOGIN_FOR)
        .write_to(&directory.join("login"))
        .map_err(|error| unwritable(&error))?;
    let api = ClaudeApi::new([
        ClaudeAccount::new("login").access_token(&access).refresh_token(&refresh),
        ClaudeAccount::new("token").access_token(oauth_token),
        ClaudeAccount::new("key").api_key(api_key).limits(Limits::none()),
    ]);
    api.set_reply(REPLY);
    api.set_pause(PAUSE);
    Ok(api)
}

fn codex_api(directory: &TempDir, api_key: &str) -> Result<CodexApi, Failure> {
    let access = random("simulated-access-")?;
    let refresh = random("rt_simulated-")?;
    let api = CodexApi::new([
        CodexAccount::new("codex-login").access_token(&access).refresh_token(&refresh),
        CodexAccount::new("codex-key").api_key(api_key),
    ]);
    api.set_reply(REPLY);
    api.set_pause(PAUSE);
    api.set_limit_events(LimitEvents::First);
    // A record of everything would grow for as long as it runs.
    api.set_recording(false);
    let login = api.login_file("codex-login").unwrap_or_default();
    directory.write("auth.json", login.to_string()).map_err(|error| unwritable(&error))?;
    Ok(api)
}

async fn listening(api: impl trunkline_testkit::upstream::Behaviour) -> Result<Upstream, Failure> {
    let upstream = Upstream::start(api)
        .await
        .map_err(|error| Failure::other(format!("the simulated provider cannot listen: {error}")))?;
    upstream.set_recording(false);
    Ok(upstream)
}

fn unwritable(error: &std::io::Error) -> Failure {
    Failure::other(format!("the temporary directory cannot be written to ({error}): set TMPDIR to another"))
}
