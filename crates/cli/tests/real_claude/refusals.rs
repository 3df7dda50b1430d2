//! What a user may not have, as the client takes it: it goes on without it where it can, and else says once what is wrong.

use serde_json::{Value, json};

use crate::client::Claude;
use crate::conversation::claude_binary;
use crate::setup::{Access, Setup};

/// A model that has the fast mode, of which the client then makes use.
const FAST_MODEL: &str = "claude-opus-5";

#[tokio::test]
async fn a_model_that_is_denied_is_said_once_in_our_words() {
    let Some(binary) = claude_binary() else { return };
    let mut setup = Setup::start_for(Access::ApiKey, &json!({"models": ["claude-sonnet-*"]})).await;
    let claude = Claude::new(&binary, &setup.base_url(), setup.user_token.token());
    let denied = claude.run(&["-p", "say hi", "--model", FAST_MODEL]).await;
    assert!(!denied.success, "{denied:?}");
    let words = "API Error: 400 model: claude-opus-5 is not available to alice; available: claude-sonnet-*";
    assert_eq!(denied.stdout.trim(), words, "{denied:?}");

    let native = Claude::new(&binary, &setup.base_url(), setup.user_token.token())
        .env("CLAUDE_CODE_USE_GATEWAY", "1")
        .run(&["-p", "say hi", "--model", FAST_MODEL])
        .await;
    assert_eq!(native.text(), (false, words), "{native:?}");

    assert!(setup.message_requests().is_empty(), "the provider saw a request");
    let allowed = claude.run(&["-p", "say hi", "--model", "claude-sonnet-5-5"]).await;
    assert!(allowed.success, "{allowed:?}");
    assert_eq!(refused(&mut setup).await, [400, 400], "each is asked once");
}

#[tokio::test]
async fn a_denied_fast_mode_is_done_without() {
    let Some(binary) = claude_binary() else { return };
    let mut setup = Setup::start_for(Access::ApiKey, &json!({"fast_mode": "deny"})).await;
    setup.api.set_reply("Slowly then.");
    // The mode itself, which the client asks the provider about first unless it is told not to.
    let fast = Claude::new(&binary, &setup.base_url(), setup.user_token.token())
        .env("CLAUDE_CODE_SKIP_FAST_MODE_ORG_CHECK", "1");
    let run = fast.run(&["-p", "say hi", "--model", FAST_MODEL, "--settings", r#"{"fastMode":true}"#]).await;
    assert_eq!(run.text(), (true, "Slowly then."), "{run:?}");
    // The beta alone.
    let beta = Claude::new(&binary, &setup.base_url(), setup.user_token.token())
        .env("ANTHROPIC_BETAS", "fast-mode-2026-02-01");
    let run = beta.run(&["-p", "say hi"]).await;
    assert_eq!(run.text(), (true, "Slowly then."), "{run:?}");

    let requests = setup.message_requests();
    assert_eq!(requests.len(), 2, "one for each");
    for request in requests {
        let betas = request.headers.get("anthropic-beta").unwrap_or_default();
        assert!(!betas.contains("fast-mode"), "{betas}");
        let body: Value = serde_json::from_slice(&request.body()).expect("a body");
        assert_ne!(body["speed"], "fast");
    }
    assert_eq!(refused(&mut setup).await, [400, 400], "each is refused once");
}

/// The statuses of what Trunkline refused, by its log.
async fn refused(setup: &mut Setup) -> Vec<u64> {
    let output = setup.trunkline.stop().await.expect("it stops");
    let lines = output.text();
    let refused = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    refused.filter(|line| line["outcome"] == "refused").filter_map(|line| line["status"].as_u64()).collect()
}
