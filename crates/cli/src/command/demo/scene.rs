//! Who plays: three credentials of a simulated provider as one pool, the users, and the configuration that joins them.
//!
//! Two users are driven by the demo, and the third is whoever is watching.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline_testkit::claude::{Account as Simulated, Limits};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::{ClaudeApi, TempDir, Upstream};

use crate::command::Failure;
use crate::command::token::random;

use super::accounts::ACCOUNTS;

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

/// All of it. What is on disk goes when it is dropped.
pub(super) struct Scene {
    pub(super) clients: Vec<Client>,
    pub(super) api: ClaudeApi,
    pub(super) upstream: Upstream,
    pub(super) directory: TempDir,
    oauth_token: String,
    api_key: String,
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
        let access = random("sk-ant-oat01-simulated-")?;
        let oauth_token = random("sk-ant-oat01-simulated-")?;
        let api_key = random("sk-ant-api03-simulated-")?;
        let refresh = random("sk-ant-ort01-simulated-")?;
        ClaudeLogin::new(&*access, &*refresh)
            .expires_in(LOGIN_FOR)
            .write_to(&directory.join("login"))
            .map_err(|error| unwritable(&error))?;
        let api = ClaudeApi::new([
            Simulated::new("login").access_token(&access).refresh_token(&refresh),
            Simulated::new("token").access_token(&oauth_token),
            Simulated::new("key").api_key(&api_key).limits(Limits::none()),
        ]);
        api.set_reply(REPLY);
        api.set_pause(PAUSE);
        let upstream = Upstream::start(api.clone())
            .await
            .map_err(|error| Failure::other(format!("the simulated provider cannot listen: {error}")))?;
        // A record of everything would grow for as long as it runs.
        upstream.set_recording(false);
        Ok(Self { clients, api, upstream, directory, oauth_token, api_key })
    }

    /// The configuration.
    pub(super) fn configuration(&self, listen: SocketAddr, log: bool) -> Value {
        let users: Vec<Value> = self
            .clients
            .iter()
            .map(|client| {
                let (name, token) = (client.name, &client.token);
                json!({ "name": name, "token": token, "credential": "pool", "explain": !client.is_driven })
            })
            .collect();
        json!({
            "log": { "level": if log { "info" } else { "warn" } },
            "drain_timeout": "5s",
            "data_directory": self.directory.join("data"),
            "ledger": { "type": "none" },
            "services": [{
                "type": "claude",
                "listen": listen.ip().to_string(),
                "listen_port": listen.port(),
                "path": "/claude",
                "max_body": "32MiB",
                "upstream": { "api_url": self.upstream.url() },
                "users": users,
                "credentials": [
                    { "tag": "login", "claude_directory": self.directory.join("login") },
                    { "tag": "token", "oauth_token": self.oauth_token },
                    { "tag": "key", "type": "api_key", "api_key": self.api_key },
                    { "tag": "pool", "type": "balancer", "credentials": ACCOUNTS.map(|account| account.tag) },
                ],
            }],
        })
    }

    /// Writes it, and returns where it is.
    pub(super) fn write_configuration(&self, listen: SocketAddr, log: bool) -> Result<PathBuf, Failure> {
        let text = format!("{:#}\n", self.configuration(listen, log));
        self.directory.write("trunkline.json", text).map_err(|error| unwritable(&error))
    }
}

fn unwritable(error: &std::io::Error) -> Failure {
    Failure::other(format!("the temporary directory cannot be written to ({error}): set TMPDIR to another"))
}
