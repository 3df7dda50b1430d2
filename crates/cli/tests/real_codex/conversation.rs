//! What is said, and what came of it at both ends.

use trunkline_testkit::codex::{Limits, Transport};

use crate::client::Codex;
use crate::setup::Setup;

#[tokio::test]
async fn a_prompt_and_a_tool_with_a_login() {
    let setup = Setup::with_logins("fallback").await;
    talk(&setup, false).await;
    assert_eq!(setup.served(), [3, 0]);
    talk(&setup, true).await;
    assert_eq!(setup.served(), [6, 0]);
}

#[tokio::test]
async fn a_prompt_and_a_tool_with_a_key() {
    let setup = Setup::with_key().await;
    talk(&setup, false).await;
    assert_eq!(setup.served(), [3, 0]);
    talk(&setup, true).await;
    assert_eq!(setup.served(), [6, 0]);
}

/// Waits for the first turn; on a WebSocket a prewarm comes before it.
async fn begun(setup: &Setup, by_socket: bool) {
    setup.api.asked_nth(usize::from(by_socket)).await.expect("a turn");
}

async fn talk(setup: &Setup, by_socket: bool) {
    let instance = setup.start().await;
    let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
    setup.api.set_reply("Hi there.");
    let prompt = codex.run(&["say hi"]).await;
    prompt.assert_says("Hi there.");
    let tool = codex.run(&["run: echo tool-$((40+2))"]).await;
    assert_eq!(tool.texts("command_execution"), ["tool-42\n"], "{tool:?}");
    assert_eq!(tool.errors(), Vec::<String>::new(), "{tool:?}");
    let [text] = tool.texts("agent_message")[..] else { panic!("{tool:?}") };
    assert!(text.contains("tool-42"), "{tool:?}");
    let asked = setup.api.asked();
    let last = asked.last().expect("a turn");
    assert_eq!(last.transport != Transport::Http, by_socket, "{last:?}");
    setup.finish(instance, &[&prompt.all, &tool.all]).await;
}

/// The lines as they are printed: the client asks for a WebSocket.
#[tokio::test]
async fn the_printed_lines_work_as_they_are() {
    let setup = Setup::with_logins("fallback").await;
    let instance = setup.start().await;
    let Some(codex) = Codex::new(&setup.client_lines(&instance).await, true) else { return };
    setup.api.set_reply("Hi there.");
    let prompt = codex.run(&["say hi"]).await;
    prompt.assert_says("Hi there.");
    assert!(setup.api.asked().iter().all(|asked| asked.transport != Transport::Http));
    setup.finish(instance, &[&prompt.all]).await;
}

#[tokio::test]
async fn a_limit_in_the_middle_of_a_turn_is_not_seen() {
    for by_socket in [false, true] {
        a_limit_in_the_middle_of_a_turn_is_not_seen_over(by_socket).await;
    }
}

async fn a_limit_in_the_middle_of_a_turn_is_not_seen_over(by_socket: bool) {
    let setup = Setup::with_logins("fallback").await;
    let instance = setup.start().await;
    let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
    // The tool runs until the limit is reached.
    let go = codex.home.join("go");
    let child =
        codex.start(&[&format!("run: until [ -e {} ]; do sleep 0.05; done; echo went on", go.display())]);
    begun(&setup, by_socket).await;
    setup.api.set_limits("a", Limits::primary_reached());
    std::fs::write(&go, "").expect("a file");
    let run = codex.end(child).await;
    assert_eq!(run.texts("command_execution"), ["went on\n"], "{run:?}");
    assert_eq!(run.errors(), Vec::<String>::new(), "{run:?}");
    let [text] = run.texts("agent_message")[..] else { panic!("{run:?}") };
    assert!(text.contains("went on"), "{run:?}");
    assert_eq!(setup.served(), [2, 1], "refused by the one, and answered by the other");
    setup.finish(instance, &[&run.all]).await;
}

#[tokio::test]
async fn all_used_up_is_one_clean_message() {
    for by_socket in [false, true] {
        all_used_up_is_one_clean_message_over(by_socket).await;
    }
}

async fn all_used_up_is_one_clean_message_over(by_socket: bool) {
    let setup = Setup::with_logins("fallback").await;
    for label in ["a", "b"] {
        setup.api.set_limits(label, Limits::primary_reached());
    }
    let instance = setup.start().await;
    let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
    let run = codex.run(&["say hi"]).await;
    assert!(!run.success, "{run:?}");
    // The error as such, and the end of the turn by it: no retries before.
    let errors = run.errors();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    for error in &errors {
        assert!(error.contains("hit your usage limit") && error.contains("ry again at "), "{error}");
    }
    assert!(setup.served().iter().sum::<usize>() <= 2, "nobody is asked twice: {:?}", setup.served());
    setup.finish(instance, &[&run.all]).await;
}

#[tokio::test]
async fn a_restart_between_turns_is_not_seen() {
    for by_socket in [false, true] {
        a_restart_between_turns_is_not_seen_over(by_socket).await;
    }
}

async fn a_restart_between_turns_is_not_seen_over(by_socket: bool) {
    let setup = Setup::with_logins("round_robin").await;
    let first = setup.start().await;
    let port = first.addr().expect("an address").port();
    let Some(codex) = Codex::new(&setup.client_lines(&first).await, by_socket) else { return };
    setup.api.set_reply("One.");
    codex.run(&["something else"]).await.assert_says("One.");
    codex.run(&["begin"]).await.assert_says("One.");
    assert_eq!(setup.served(), [1, 1]);
    setup.finish(first, &[]).await;
    let second = setup.start_at(port).await;
    setup.api.set_reply("Two.");
    let run = codex.run(&["resume", "--last", "go on"]).await;
    run.assert_says("Two.");
    let last = setup.api.asked().pop().expect("a turn");
    assert!(last.body.to_string().contains("begin"), "it goes on with the same conversation: {}", last.body);
    assert_eq!(setup.served(), [1, 2], "with the account that it had");
    setup.finish(second, &[&run.all]).await;
}
