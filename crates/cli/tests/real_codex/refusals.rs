//! What the client makes of being refused: one message at once, or nothing where there is another way.

use serde_json::json;
use trunkline_testkit::Script;
use trunkline_testkit::codex::{Transport, TurnScript, error};
use trunkline_testkit::upstream::{Behaviour as _, ReceivedRequest};
use trunkline_testkit::websocket::{Frame, Link, accept, is_upgrade};

use crate::client::Codex;
use crate::setup::Setup;

#[tokio::test]
async fn a_denied_model_is_one_clean_message() {
    for by_socket in [false, true] {
        let mut setup = Setup::with_logins("fallback").await;
        setup.user_options = json!({ "models": ["gpt-6*"] });
        let instance = setup.start().await;
        let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
        let run = codex.run(&["say hi"]).await;
        run.assert_fails_at_once("model: gpt-5.5 is not available to alice; available: gpt-6*");
        assert_eq!(setup.served(), [0, 0]);
        setup.finish(instance, &[&run.all]).await;
    }
}

#[tokio::test]
async fn a_model_that_no_credential_serves_is_one_clean_message() {
    for by_socket in [false, true] {
        let mut setup = Setup::with_logins("fallback").await;
        setup.restrict_credentials("models", &json!(["gpt-6*"]));
        let instance = setup.start().await;
        let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
        let run = codex.run(&["say hi"]).await;
        run.assert_fails_at_once("serves the model gpt-5.5");
        assert_eq!(setup.served(), [0, 0]);
        setup.finish(instance, &[&run.all]).await;
    }
}

#[tokio::test]
async fn a_user_who_may_use_no_credential_is_told_in_one_clean_message() {
    for by_socket in [false, true] {
        let mut setup = Setup::with_logins("fallback").await;
        setup.restrict_credentials("users", &json!(["bob"]));
        setup.other_users = vec!["bob".to_owned()];
        let instance = setup.start().await;
        let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
        let run = codex.run(&["say hi"]).await;
        run.assert_fails_at_once("may be used by alice");
        setup.finish(instance, &[&run.all]).await;
    }
}

#[tokio::test]
async fn a_user_disabled_in_mid_session_is_told_in_one_clean_message() {
    for by_socket in [false, true] {
        let mut setup = Setup::with_logins("fallback").await;
        let instance = setup.start().await;
        let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
        // The tool runs until the user is disabled.
        let go = codex.home.join("go");
        let child =
            codex.start(&[&format!("run: until [ -e {} ]; do sleep 0.05; done; echo went on", go.display())]);
        setup.api.asked_nth(usize::from(by_socket)).await.expect("a turn");
        setup.user_options = json!({ "disabled": true });
        setup.reconfigure(&instance).await;
        std::fs::write(&go, "").expect("a file");
        let run = codex.end(child).await;
        assert_eq!(run.texts("command_execution"), ["went on\n"], "{run:?}");
        run.assert_fails_at_once("user alice is disabled");
        assert_eq!(setup.served(), [1, 0]);
        setup.finish(instance, &[&run.all]).await;
    }
}

/// Over HTTP a wrong token is a 401, which the client tries six times: the status is for others too.
#[tokio::test]
async fn a_wrong_token_on_a_websocket_is_one_clean_message() {
    let setup = Setup::with_logins("fallback").await;
    let instance = setup.start().await;
    let lines = setup.client_lines_with_wrong_token(&instance).await;
    let Some(codex) = Codex::new(&lines, true) else { return };
    let run = codex.run(&["say hi"]).await;
    run.assert_fails_at_once("this token belongs to no user of this trunkline");
    setup.finish(instance, &[&run.all]).await;
}

/// That the client asks over HTTP at once, and says nothing of it.
async fn goes_on_over_http(setup: &Setup) {
    setup.api.set_reply("Hi there.");
    let instance = setup.start().await;
    let Some(codex) = Codex::new(&setup.client_lines(&instance).await, true) else { return };
    let run = codex.run(&["say hi"]).await;
    run.assert_says("Hi there.");
    // Once, at each credential, which may be asked twice; the client's own seven tries would be seven times as many.
    let upgrades = setup.upgrades();
    assert!((1..=4).contains(&upgrades), "{upgrades}");
    println!("over HTTP within {:?}, after {upgrades} upgrades", run.took);
    let asked = setup.api.asked();
    assert!(asked.iter().all(|asked| asked.transport == Transport::Http), "{asked:?}");
    setup.finish(instance, &[&run.all]).await;
}

#[tokio::test]
async fn upgrades_refused_everywhere_are_not_noticed() {
    for status in [401, 403, 404, 426, 500, 503] {
        for setup in [Setup::with_logins("fallback").await, Setup::with_key().await] {
            for label in ["a", "b"] {
                for _ in 0..8 {
                    setup.api.next_upgrade(label, error(status, "server_error", None, "scripted"));
                }
            }
            goes_on_over_http(&setup).await;
        }
    }
}

#[tokio::test]
async fn upgrades_accepted_and_closed_at_once_are_not_noticed() {
    for code in [None, Some(1011), Some(1012)] {
        for mut setup in [Setup::with_logins("fallback").await, Setup::with_key().await] {
            let api = setup.api.clone();
            setup
                .serve_by(move |request: &ReceivedRequest| {
                    if !is_upgrade(request) {
                        return api.respond(request);
                    }
                    accept(request).converse(move |mut link: Link| async move {
                        if let Some(code) = code {
                            let _ = link.send(Frame::close(code, "")).await;
                            let _ = link.message().await;
                        }
                    })
                })
                .await;
            goes_on_over_http(&setup).await;
        }
    }
}

/// A dead account in the shape that the backend uses: as the answer to a request and to an upgrade, and as an event.
#[tokio::test]
async fn a_dead_account_is_not_noticed_where_there_is_another() {
    let dead = json!({ "detail": { "code": "deactivated_workspace" } });
    for by_socket in [false, true] {
        for by_event in [false, true] {
            let setup = Setup::with_logins("fallback").await;
            setup.api.set_reply("Hi there.");
            let event = json!({ "type": "error", "status": 402, "detail": dead["detail"] });
            match (by_socket, by_event) {
                (true, true) => {
                    setup.api.next_prewarm("a", TurnScript::new().event(event.clone()));
                    setup.api.next_turn("a", TurnScript::new().event(event));
                }
                (true, false) => setup.api.next_upgrade("a", Script::json(402, &dead)),
                (false, false) => setup.api.next("a", Script::json(402, &dead)),
                (false, true) => continue,
            }
            let instance = setup.start().await;
            let Some(codex) = Codex::new(&setup.client_lines(&instance).await, by_socket) else { return };
            let run = codex.run(&["say hi"]).await;
            run.assert_says("Hi there.");
            assert_eq!(setup.served()[1], 1, "{by_socket} {by_event}");
            setup.finish(instance, &[&run.all]).await;
        }
    }
}
