//! Limits, as the one who works with the client sees them: not at all while another credential serves, and then once.

use serde_json::json;
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::claude::{Account, Limits};
use trunkline_testkit::{ClaudeApi, Trunkline, Upstream};

use crate::client::Claude;
use crate::conversation::{MOST_REQUESTS, claude_binary};

pub(crate) const ACCOUNTS: [&str; 2] = ["a", "b"];

/// Two subscriptions as one pool.
pub(crate) struct Pool {
    pub(crate) api: ClaudeApi,
    _upstream: Upstream,
    trunkline: Trunkline,
    secrets: Vec<Canary>,
    pub(crate) claude: Claude,
}

impl Pool {
    pub(crate) async fn start(binary: &str) -> Self {
        let user = Canary::new("user");
        let tokens = ACCOUNTS.map(|label| Canary::with_prefix("sk-ant-oat01-", label));
        let accounts = ACCOUNTS.iter().zip(&tokens);
        let api = ClaudeApi::new(
            accounts.clone().map(|(label, token)| Account::new(label).access_token(token.token())),
        );
        let upstream = Upstream::start(api.clone()).await.expect("the scripted API");
        let mut credentials: Vec<_> =
            accounts.map(|(label, token)| json!({"tag": label, "oauth_token": token.token()})).collect();
        credentials.push(json!({"tag": "pool", "type": "balancer", "credentials": ACCOUNTS}));
        let config = json!({
            "log": {"level": "debug"},
            "services": [{
                "type": "claude",
                "listen_port": 0,
                "path": "/claude",
                "upstream": {"api_url": upstream.url()},
                "users": [{"name": "alice", "token": user.token(), "credential": "pool"}],
                "credentials": credentials,
            }],
        });
        let trunkline = Trunkline::builder(env!("CARGO_BIN_EXE_trunkline"))
            .config(&config)
            .start()
            .await
            .expect("trunkline starts");
        let base_url = format!("http://{}/claude", trunkline.addr().expect("an address"));
        let claude = Claude::new(binary, &base_url, user.token());
        let secrets = tokens.into_iter().chain([user]).collect();
        Self { api, _upstream: upstream, trunkline, secrets, claude }
    }

    /// How many requests have come to trunkline.
    fn asked(&self) -> usize {
        self.trunkline.stderr().iter().filter(|line| line.contains("trunkline::request")).count()
    }

    pub(crate) fn served(&self) -> [usize; 2] {
        ACCOUNTS.map(|label| self.api.served(label))
    }

    pub(crate) async fn end(mut self) {
        let output = self.trunkline.stop().await.expect("it stops");
        assert!(output.status.success(), "{output:?}");
        let leaks = find_leaks(output.text().as_bytes(), &self.secrets);
        assert!(leaks.is_empty(), "{leaks:?}");
    }
}

#[tokio::test]
async fn a_limit_in_the_middle_of_a_session_shows_nothing() {
    let Some(binary) = claude_binary() else { return };
    let pool = Pool::start(&binary).await;
    pool.api.set_reply("Hi there, first.");
    let first = pool.claude.run(&["-p", "say hi"]).await;
    assert_eq!(first.text(), (true, "Hi there, first."), "{first:?}");
    let [of_a, of_b] = pool.served();
    assert!(of_a == 0 || of_b == 0, "one session, one credential: {:?}", pool.served());
    let (used, other) = if of_a > 0 { (0, 1) } else { (1, 0) };

    // It finds out by being refused.
    pool.api.set_limits(ACCOUNTS[used], Limits::five_hour_rejected());
    pool.api.set_reply("And again.");
    let again = pool.claude.run(&["-p", "again", "--continue"]).await;
    assert_eq!((again.text(), again.stderr.as_str()), ((true, "And again."), ""), "{again:?}");
    assert!(pool.served()[other] > 0, "{:?}", pool.served());

    // The rest of the session, tools included, is the other one's.
    let before = pool.served()[used];
    let tool =
        pool.claude.run(&["-p", "run: echo tru''nk''line", "--allowedTools", "Bash", "--continue"]).await;
    assert_eq!(
        (tool.text(), tool.stderr.as_str()),
        ((true, "The command printed: trunkline"), ""),
        "{tool:?}"
    );
    assert_eq!(pool.served()[used], before, "it is not asked again before its reset");
    pool.end().await;
}

#[tokio::test]
async fn everything_used_up_is_one_message_with_the_time() {
    let Some(binary) = claude_binary() else { return };
    let pool = Pool::start(&binary).await;
    for label in ACCOUNTS {
        pool.api.set_limits(label, Limits::five_hour_rejected());
    }
    let run = pool.claude.run(&["-p", "say hi"]).await;
    println!("everything used up, after {:?}: {}", run.took, run.all().trim());
    assert!(!run.success, "{run:?}");
    assert!(pool.asked() <= MOST_REQUESTS, "it asked {} times: {run:?}", pool.asked());
    let message = run.all();
    assert_eq!(message.matches("API Error").count(), 1, "one message: {run:?}");
    assert!(
        message.contains("All 2 credentials for alice are at their limit; the next one is free at"),
        "{run:?}"
    );
    pool.end().await;
}
