//! The real Codex client and the scripted API, without anything in between: what the API answers is what the client wants.
//!
//! Runs where `TRUNKLINE_CODEX` names the client's binary (`scripts/real-codex --install`), and says so where it is left out.

#![expect(clippy::expect_used, clippy::print_stderr, reason = "what fails here fails the test")]

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use trunkline_testkit::codex::{Account, CodexApi, LimitEvents, Limits, Transport, TurnScript};
use trunkline_testkit::{TempDir, Upstream};

/// How long a run of the client may take. It takes a second or two; on a machine that is busy with other programs several times
/// that.
const PATIENCE: Duration = Duration::from_secs(240);

fn binary() -> Option<OsString> {
    let binary = std::env::var_os("TRUNKLINE_CODEX").filter(|path| !path.is_empty());
    if binary.is_none() {
        eprintln!("left out: TRUNKLINE_CODEX does not name the real client");
    }
    binary
}

/// What the client said, event by event; as a provider of its own with a token in the file.
async fn exec(binary: &OsString, upstream: &Upstream, sockets: bool, prompt: &str) -> Vec<Value> {
    let home = TempDir::new().expect("a home");
    let config = format!(
        "model_provider = \"scripted\"\nmodel = \"gpt-5.5\"\ncheck_for_update_on_startup = false\n\n\
         [analytics]\nenabled = false\n\n\
         [model_providers.scripted]\nname = \"Scripted\"\nbase_url = \"{}/v1\"\nwire_api = \"responses\"\n\
         experimental_bearer_token = \"user-token\"\nsupports_websockets = {sockets}\n",
        upstream.url()
    );
    home.write("config.toml", config).expect("a configuration");
    run(binary, upstream, &home, prompt).await
}

async fn run(binary: &OsString, upstream: &Upstream, home: &TempDir, prompt: &str) -> Vec<Value> {
    let mut command = tokio::process::Command::new(binary);
    command
        .args([
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            prompt,
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("CODEX_HOME", home.path())
        .env("CODEX_REFRESH_TOKEN_URL_OVERRIDE", format!("{}/oauth/token", upstream.url()))
        .current_dir(home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn texts(said: &[Value], kind: &str) -> Vec<String> {
    let items =
        said.iter().filter(|event| event["type"] == "item.completed" && event["item"]["type"] == kind);
    let text = |item: &Value| {
        item["text"].as_str().or_else(|| item["aggregated_output"].as_str()).unwrap_or_default().to_owned()
    };
    items.map(|event| text(&event["item"])).collect()
}

fn ended(said: &[Value]) -> Option<&str> {
    said.iter().rev().find_map(|event| event["type"].as_str().filter(|kind| kind.starts_with("turn.")))
}

async fn started() -> (CodexApi, Upstream) {
    let api = CodexApi::new([Account::new("a").bearer("user-token")]);
    let upstream = Upstream::start(api.clone()).await.expect("a port");
    (api, upstream)
}

#[tokio::test]
async fn a_prompt_is_answered_over_http() {
    let Some(binary) = binary() else { return };
    let (api, upstream) = started().await;
    let said = exec(&binary, &upstream, false, "say something").await;
    assert_eq!(texts(&said, "agent_message"), ["hi from the scripted API"], "{said:#?}");
    assert_eq!(ended(&said), Some("turn.completed"));
    assert!(api.asked().iter().all(|asked| asked.transport == Transport::Http));
    assert_eq!((api.served("a"), api.violations()), (1, Vec::new()));
}

#[tokio::test]
async fn a_prompt_is_answered_over_a_websocket() {
    let Some(binary) = binary() else { return };
    let (api, upstream) = started().await;
    api.set_limit_events(LimitEvents::BeforeEnd);
    let said = exec(&binary, &upstream, true, "say something").await;
    assert_eq!(texts(&said, "agent_message"), ["hi from the scripted API"], "{said:#?}");
    let asked = api.asked();
    let seen: Vec<_> = asked
        .iter()
        .map(|asked| {
            let body = &asked.body;
            (asked.transport, body["generate"] == false, body["previous_response_id"].is_string())
        })
        .collect();
    assert_eq!(seen, [(Transport::Socket(1), true, false), (Transport::Socket(1), false, true)]);
    assert_eq!(api.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_tool_runs_over_either() {
    let Some(binary) = binary() else { return };
    for sockets in [false, true] {
        let (api, upstream) = started().await;
        let said = exec(&binary, &upstream, sockets, "run: echo tool-$((40+2))").await;
        assert_eq!(texts(&said, "command_execution"), ["tool-42\n"], "{said:#?}");
        let texts = texts(&said, "agent_message");
        assert!(texts.len() == 1 && texts[0].contains("tool-42"), "{texts:?}");
        // The turn's state came back, and was ours.
        let last = api.asked().pop().expect("a turn");
        let state = &last.body["client_metadata"]["x-codex-turn-state"];
        assert_eq!(state.is_string(), sockets, "{state}");
        assert_eq!(api.violations(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_limit_is_one_clean_message() {
    let Some(binary) = binary() else { return };
    for sockets in [false, true] {
        let (api, upstream) = started().await;
        api.set_limits("a", Limits::primary_reached());
        let said = exec(&binary, &upstream, sockets, "say something").await;
        assert_eq!(ended(&said), Some("turn.failed"), "{said:#?}");
        assert!(said.iter().any(|event| event.to_string().contains("hit your usage limit")), "{said:#?}");
        assert_eq!(api.served("a"), 1);
    }
}

#[tokio::test]
async fn a_socket_that_is_cut_or_refused_is_not_the_end() {
    let Some(binary) = binary() else { return };
    let (api, upstream) = started().await;
    // Between the preamble and the output: sent again with everything, over a new connection.
    let preamble = serde_json::json!({"type": "response.created", "response": {"id": "resp_cut"}});
    api.next_turn("a", TurnScript::new().event(preamble).close(1012, "connect again"));
    let said = exec(&binary, &upstream, true, "say something").await;
    assert_eq!(texts(&said, "agent_message"), ["hi from the scripted API"], "{said:#?}");
    let last = api.asked().pop().expect("a turn");
    assert_eq!(
        (last.transport, last.body["previous_response_id"].is_string()),
        (Transport::Socket(2), false)
    );
    // An upgrade that is refused with 426 is not tried again.
    for _ in 0..4 {
        api.next_upgrade(
            "a",
            trunkline_testkit::codex::error(426, "invalid_request_error", None, "use HTTP"),
        );
    }
    let said = exec(&binary, &upstream, true, "say something").await;
    assert_eq!(texts(&said, "agent_message"), ["hi from the scripted API"], "{said:#?}");
    let last = api.asked().pop().expect("a turn");
    assert_eq!(last.transport, Transport::Http);
}

#[tokio::test]
async fn a_second_preamble_in_a_turn_is_no_matter() {
    let Some(binary) = binary() else { return };
    let (api, upstream) = started().await;
    // As a turn looks that was sent again to another credential after its first events had been passed on.
    let response = serde_json::json!({"id": "resp_first", "status": "in_progress", "output": []});
    let [created, in_progress] = ["response.created", "response.in_progress"]
        .map(|kind| serde_json::json!({"type": kind, "response": response}));
    api.next_turn("a", TurnScript::new().event(created).event(in_progress).go_on());
    let said = exec(&binary, &upstream, true, "run: echo once").await;
    assert_eq!(texts(&said, "command_execution"), ["once\n"], "{said:#?}");
    assert_eq!(ended(&said), Some("turn.completed"));
    // The tool's output goes on from the response that was completed.
    let last = api.asked().pop().expect("a turn");
    let previous = last.body["previous_response_id"].as_str().unwrap_or_default();
    assert!(previous.starts_with("resp_scripted"), "{previous}");
}

#[tokio::test]
async fn a_login_is_used_and_refreshed() {
    let Some(binary) = binary() else { return };
    for sockets in [false, true] {
        let api = CodexApi::new([Account::new("a").access_token("access-a").refresh_token("rt-a")]);
        let upstream = Upstream::start(api.clone()).await.expect("a port");
        let home = TempDir::new().expect("a home");
        let base = format!("{}/backend-api", upstream.url());
        let config = format!(
            "model_provider = \"scripted\"\nmodel = \"gpt-5.5\"\nchatgpt_base_url = \"{base}/\"\n\
             check_for_update_on_startup = false\n\n[analytics]\nenabled = false\n\n\
             [model_providers.scripted]\nname = \"Scripted\"\nbase_url = \"{base}/codex\"\n\
             wire_api = \"responses\"\nrequires_openai_auth = true\nsupports_websockets = {sockets}\n"
        );
        home.write("config.toml", config).expect("a configuration");
        let login = api.login_file("a").expect("an account").to_string();
        home.write("auth.json", login).expect("a login");
        // Refused at the first request, so that the client refreshes.
        api.revoke_access("a");
        let said = run(&binary, &upstream, &home, "say something").await;
        assert_eq!(texts(&said, "agent_message"), ["hi from the scripted API"], "{said:#?}");
        // Over WebSockets the prewarm may find out at the same time as the turn, and then both refresh, one after the other.
        let most = if sockets { 2 } else { 1 };
        assert!((1..=most).contains(&api.refreshes("a")), "sockets: {sockets}: {}", api.refreshes("a"));
        assert_eq!(api.violations(), Vec::<String>::new(), "sockets: {sockets}");
        let file = std::fs::read(home.join("auth.json")).expect("the login");
        let file: Value = serde_json::from_slice(&file).expect("JSON");
        assert_eq!(file["tokens"]["refresh_token"].as_str(), api.tokens("a").1.as_deref());
    }
}
