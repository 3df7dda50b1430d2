//! The scripted API and the real binary in front of it.

use serde_json::{Value, json};
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::claude::Account;
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::{ClaudeApi, TempDir, Trunkline, Upstream};

/// What kind of credential the service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ApiKey,
    LoginFile,
}

pub(crate) struct Setup {
    pub(crate) access: Access,
    pub(crate) api: ClaudeApi,
    pub(crate) upstream: Upstream,
    pub(crate) trunkline: Trunkline,
    pub(crate) user_token: Canary,
    /// The API key or access token.
    pub(crate) credential: Canary,
    refresh: Canary,
}

impl Setup {
    pub(crate) async fn start(access: Access) -> Self {
        Self::start_for(access, &json!({})).await
    }

    /// The same, with further options of the one user.
    pub(crate) async fn start_for(access: Access, options: &Value) -> Self {
        let user_token = Canary::new("user");
        let refresh = Canary::with_prefix("sk-ant-ort01-", "refresh");
        let home = TempDir::new().expect("a temporary directory");
        let (credential, account, entry) = match access {
            Access::ApiKey => {
                let key = Canary::with_prefix("sk-ant-api03-", "key");
                let account = Account::new("a").api_key(key.token());
                let entry = json!({"tag": "a", "type": "api_key", "api_key": key.token()});
                (key, account, entry)
            }
            Access::LoginFile => {
                let token = Canary::with_prefix("sk-ant-oat01-", "access");
                let account = Account::new("a").access_token(token.token()).refresh_token(refresh.token());
                let path = ClaudeLogin::new(token.token(), refresh.token())
                    .write_to(&home.join("login"))
                    .expect("a login file");
                (token, account, json!({"tag": "a", "credential_path": path}))
            }
        };
        let api = ClaudeApi::new([account]);
        let upstream = Upstream::start(api.clone()).await.expect("the scripted API");
        let mut user = json!({"name": "alice", "token": user_token.token()});
        for (name, value) in options.as_object().expect("options") {
            user[name] = value.clone();
        }
        let config = json!({
            "log": {"level": "debug"},
            "services": [{
                "type": "claude",
                "listen_port": 0,
                "path": "/claude",
                "upstream": {"api_url": upstream.url()},
                "users": [user],
                "credentials": [entry],
            }],
        });
        let trunkline = Trunkline::builder(env!("CARGO_BIN_EXE_trunkline"))
            .config(&config)
            .home(home)
            .start()
            .await
            .expect("trunkline starts");
        Self { access, api, upstream, trunkline, user_token, credential, refresh }
    }

    /// What `ANTHROPIC_BASE_URL` is set to.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/claude", self.trunkline.addr().expect("an address"))
    }

    /// The requests for an answer of the model that the provider received.
    pub(crate) fn message_requests(&self) -> Vec<ReceivedRequest> {
        let mut requests = self.upstream.requests();
        requests.retain(|request| request.path() == "/v1/messages");
        requests
    }

    /// Fails if the user's token, or a part of it, is in `bytes`.
    pub(crate) fn check_no_user_token(&self, what: &str, bytes: &[u8]) {
        let leaks = find_leaks(bytes, std::slice::from_ref(&self.user_token));
        assert!(leaks.is_empty(), "{what}: {leaks:?}");
    }

    /// Fails if any secret, or a part of one, is in `bytes`.
    pub(crate) fn check_no_secret(&self, what: &str, bytes: &[u8]) {
        let secrets = [self.user_token.clone(), self.credential.clone(), self.refresh.clone()];
        let leaks = find_leaks(bytes, &secrets);
        assert!(leaks.is_empty(), "{what}: {leaks:?}");
    }
}
