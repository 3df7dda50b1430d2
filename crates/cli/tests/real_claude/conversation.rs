//! What is said, and what came of it at both ends.

use trunkline_testkit::upstream::BodyEnd;

use crate::client::Claude;
use crate::setup::{Access, Setup};

/// The most requests of a client that asks once and is refused for good. One that tries again and again makes eleven.
pub(crate) const MOST_REQUESTS: usize = 4;

/// The client's binary; `None` if these tests are skipped.
pub(crate) fn claude_binary() -> Option<String> {
    if let Some(binary) = std::env::var("TRUNKLINE_CLAUDE").ok().filter(|binary| !binary.is_empty()) {
        return Some(binary);
    }
    let how = "TRUNKLINE_CLAUDE does not name the real client; run scripts/real-claude";
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"), "{how}");
    println!("SKIPPED: {how}");
    None
}

#[tokio::test]
async fn with_an_api_key() {
    conversation(Access::ApiKey).await;
}

#[tokio::test]
async fn with_a_login_file() {
    conversation(Access::LoginFile).await;
}

/// Two turns of one session, and a turn with a tool.
async fn conversation(access: Access) {
    let Some(binary) = claude_binary() else { return };
    let mut setup = Setup::start(access).await;
    let claude = Claude::new(&binary, &setup.base_url(), setup.user_token.token());

    setup.api.set_reply("Hi there, first.");
    let first = claude.run(&["-p", "say hi"]).await;
    assert_eq!(first.text(), (true, "Hi there, first."), "{first:?}");

    setup.api.set_reply("And again.");
    let second = claude.run(&["-p", "again", "--continue"]).await;
    assert_eq!(second.text(), (true, "And again."), "{second:?}");

    let before_tool = setup.message_requests().len();
    let session = |at: usize| {
        let requests = setup.message_requests();
        requests[at].headers.get("x-claude-code-session-id").expect("a session id").to_owned()
    };
    assert!(before_tool >= 2, "{before_tool} requests for two turns");
    assert_eq!(session(0), session(before_tool - 1), "--continue keeps the session");

    let third = claude.run(&["-p", "run: echo tru''nk''line", "--allowedTools", "Bash"]).await;
    assert_eq!(third.text(), (true, "The command printed: trunkline"), "{third:?}");
    let of_tool = setup.message_requests().split_off(before_tool);
    assert!(of_tool.len() >= 2, "a tool takes two requests, and there were {}", of_tool.len());
    assert!(of_tool.last().expect("a request").body_text().contains("tool_result"));
    assert_ne!(session(0), session(before_tool), "a run of its own is a session of its own");

    setup.check_upstream().await;
    let output = setup.trunkline.stop().await.expect("it stops");
    assert!(output.status.success(), "{output:?}");
    setup.check_no_secret("its output", output.text().as_bytes());
    for run in [&first, &second, &third] {
        setup.check_no_secret("the client's output", run.all().as_bytes());
    }
}

#[tokio::test]
async fn with_a_wrong_token() {
    let Some(binary) = claude_binary() else { return };
    let setup = Setup::start(Access::ApiKey).await;
    let claude = Claude::new(&binary, &setup.base_url(), "not-a-token-of-anybody");
    let run = claude.run(&["-p", "say hi"]).await;
    assert!(!run.success, "{run:?}");
    let lines = setup.trunkline.stderr();
    let asked = lines.iter().filter(|line| line.contains("trunkline::request")).count();
    assert!(asked <= MOST_REQUESTS, "it asked {asked} times: {run:?}");
    let message = run.all();
    assert!(message.contains("401"), "{run:?}");
    assert_eq!(message.matches("API Error").count(), 1, "one message: {run:?}");
    assert!(setup.message_requests().is_empty(), "the provider saw a request");
    println!("a wrong token ended the client after {:?}: {}", run.took, message.trim());
}

impl Setup {
    /// What the provider saw: the credential's own authorization only, and whole bodies.
    async fn check_upstream(&self) {
        for request in self.upstream.requests() {
            let head = String::from_utf8_lossy(&request.raw);
            assert_eq!(request.body_ended().await.expect("a bounded wait"), BodyEnd::Complete, "{head}");
            self.check_no_user_token(&head, &request.raw);
            self.check_no_user_token(&head, &request.body());
        }
        for request in self.message_requests() {
            assert_eq!(request.target, "/v1/messages?beta=true");
            assert_eq!(
                request.headers.get("content-length"),
                Some(request.body().len().to_string().as_str()),
                "the length that the client gave"
            );
            serde_json::from_slice::<serde_json::Value>(&request.body()).expect("a whole body");
            let names = ["authorization", "x-api-key"].map(|name| request.headers.get_all(name).count());
            match self.access {
                Access::ApiKey => {
                    assert_eq!(names, [0, 1]);
                    assert_eq!(request.headers.get("x-api-key"), Some(self.credential.token()));
                    assert!(!request.headers.lists("anthropic-beta", "oauth-2025-04-20"));
                }
                Access::LoginFile => {
                    assert_eq!(names, [1, 0]);
                    let bearer = format!("Bearer {}", self.credential.token());
                    assert_eq!(request.headers.get("authorization"), Some(bearer.as_str()));
                    let betas = request.headers.get("anthropic-beta").unwrap_or_default();
                    assert_eq!(betas.matches("oauth-2025-04-20").count(), 1, "{betas}");
                }
            }
        }
    }
}
