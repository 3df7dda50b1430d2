//! The scripted API and the real binary in front of it.

use std::time::Duration;

use serde_json::{Value, json};
use trunkline_server::control;
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::codex::{Account, CodexApi};
use trunkline_testkit::ports::free_port;
use trunkline_testkit::upstream::{Behaviour, TakesPolls};
use trunkline_testkit::websocket::is_upgrade;
use trunkline_testkit::{TempDir, Trunkline, Upstream, bounded};

/// The pause between two looks at the status.
const PAUSE: Duration = Duration::from_millis(10);

/// Two accounts in a pool of one user, with all that stays when the instance in front of them is started anew.
pub(crate) struct Setup {
    pub(crate) api: CodexApi,
    upstream: Upstream,
    home: TempDir,
    user: Canary,
    secrets: Vec<Canary>,
    credentials: Vec<Value>,
    /// What the user has besides name, token and pool.
    pub(crate) user_options: Value,
    /// The names of users of whom there is no client.
    pub(crate) other_users: Vec<String>,
}

impl Setup {
    /// The accounts `a` and `b`, with login files, picked in the way of `strategy`.
    pub(crate) async fn with_logins(strategy: &str) -> Self {
        let (mut accounts, mut secrets) = (Vec::new(), Vec::new());
        for label in ["a", "b"] {
            let access = Canary::new(&format!("access-{label}"));
            let refresh = Canary::with_prefix("rt_", &format!("refresh-{label}"));
            accounts.push(Account::new(label).access_token(access.token()).refresh_token(refresh.token()));
            secrets.extend([access, refresh]);
        }
        let api = CodexApi::new(accounts);
        let home = TempDir::new().expect("a home");
        let mut credentials: Vec<Value> = ["a", "b"]
            .iter()
            .map(|label| {
                let login = api.login_file(label).expect("an account").to_string();
                let path = home.write(format!("{label}/auth.json"), login).expect("a login file");
                json!({ "tag": label, "credential_path": path })
            })
            .collect();
        let pool = json!({
            "tag": "pool", "type": "balancer", "strategy": strategy, "credentials": ["a", "b"],
        });
        credentials.push(pool);
        Self::new(api, home, secrets, credentials).await
    }

    /// The account `a`, with an API key.
    pub(crate) async fn with_key() -> Self {
        let key = Canary::with_prefix("sk-", "key");
        let api = CodexApi::new([Account::new("a").api_key(key.token())]);
        let pool = json!({ "tag": "pool", "type": "api_key", "api_key": key.token() });
        Self::new(api, TempDir::new().expect("a home"), vec![key], vec![pool]).await
    }

    async fn new(api: CodexApi, home: TempDir, mut secrets: Vec<Canary>, credentials: Vec<Value>) -> Self {
        let upstream = Upstream::start(api.clone()).await.expect("the scripted API");
        let user = Canary::new("user");
        secrets.push(user.clone());
        Self {
            api,
            upstream,
            home,
            user,
            secrets,
            credentials,
            user_options: json!({}),
            other_users: Vec::new(),
        }
    }

    /// Puts something else in the place of the API, which may ask it.
    pub(crate) async fn serve_by(&mut self, behaviour: impl Behaviour) {
        self.upstream = Upstream::start(TakesPolls(behaviour)).await.expect("a port");
    }

    /// Sets what every credential has besides what it is.
    pub(crate) fn restrict_credentials(&mut self, option: &str, value: &Value) {
        for credential in self.credentials.iter_mut().filter(|one| one.get("credentials").is_none()) {
            credential[option] = value.clone();
        }
    }

    /// Has an instance read the configuration as it is now, and waits until it counts.
    pub(crate) async fn reconfigure(&self, instance: &Trunkline) {
        let port = instance.addr().expect("an address").port();
        instance.home().write("trunkline.json", self.config(port).to_string()).expect("a configuration");
        instance.signal("HUP").await.expect("a signal");
        instance.stderr_line(|line| line.contains("configuration reloaded")).await.expect("a line");
    }

    fn config(&self, port: u16) -> Value {
        let url = self.upstream.url();
        let mut user = json!({ "name": "alice", "token": self.user.token(), "credential": "pool" });
        for (name, value) in self.user_options.as_object().into_iter().flatten() {
            user[name] = value.clone();
        }
        let mut users = vec![user];
        users.extend(
            self.other_users.iter().map(
                |name| json!({ "name": name, "token": format!("token-of-{name}"), "credential": "pool" }),
            ),
        );
        json!({
            "log": { "level": "debug" },
            "data_directory": self.home.join("data"),
            "services": [{
                "type": "codex",
                "listen_port": port,
                "path": "/codex",
                "upstream": {
                    "api_url": format!("{url}/backend-api/codex"),
                    "usage_url": format!("{url}/backend-api/wham/usage"),
                    "token_url": format!("{url}/oauth/token"),
                    "openai_url": url,
                },
                "users": users,
                "credentials": self.credentials,
            }],
        })
    }

    /// An instance on a port of its own, which is still free when the instance has ended.
    pub(crate) async fn start(&self) -> Trunkline {
        self.start_at(free_port().expect("a free port")).await
    }

    /// An instance on this port, once it knows what every login has used: a poll that came later would find limits that a test
    /// sets meanwhile.
    pub(crate) async fn start_at(&self, port: u16) -> Trunkline {
        let builder = Trunkline::builder(env!("CARGO_BIN_EXE_trunkline"));
        let instance = builder.config(&self.config(port)).start().await.expect("trunkline starts");
        let data = self.home.join("data");
        let known = bounded("the polls at the start", async {
            loop {
                let status = control::ask(&data).await.expect("its status");
                let status = serde_json::to_value(status).expect("JSON");
                let credentials = status["services"][0]["credentials"].as_array().expect("credentials");
                let is_known =
                    |one: &Value| one["kind"] == "API key" || !one["windows"][0]["used_percent"].is_null();
                if credentials.iter().all(is_known) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        known.await.expect("known limits");
        instance
    }

    /// What `trunkline env codex` prints for an instance.
    pub(crate) async fn client_lines(&self, instance: &Trunkline) -> String {
        let port = instance.addr().expect("an address").port();
        let builder = Trunkline::builder(env!("CARGO_BIN_EXE_trunkline"));
        let output = builder
            .args(["env", "codex", "--user", "alice"])
            .config(&self.config(port))
            .run()
            .await
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        output.stdout.join("\n")
    }

    /// The same with a token that nobody has.
    pub(crate) async fn client_lines_with_wrong_token(&self, instance: &Trunkline) -> String {
        self.client_lines(instance).await.replace(self.user.token(), "nobodys-token")
    }

    /// How often the provider was asked for a WebSocket.
    pub(crate) fn upgrades(&self) -> usize {
        self.upstream.requests().iter().filter(|request| is_upgrade(request)).count()
    }

    /// How often each account was asked for a turn.
    pub(crate) fn served(&self) -> [usize; 2] {
        ["a", "b"].map(|label| self.api.served(label))
    }

    /// Ends an instance, and looks at what was said: nobody's secret, and nothing that the provider would not take.
    pub(crate) async fn finish(&self, mut instance: Trunkline, said: &[&str]) {
        let output = instance.stop().await.expect("it stops");
        assert!(output.status.success(), "{output:?}");
        for text in said.iter().copied().chain([output.text().as_str()]) {
            let leaks = find_leaks(text.as_bytes(), &self.secrets);
            assert!(leaks.is_empty(), "{leaks:?} in {text}");
        }
        assert_eq!(self.api.violations(), Vec::<String>::new());
    }
}
