//! `trunkline env claude`: what it prints for each shell, and what it warns of.

use serde_json::{Value, json};
use trunkline_testkit::TempDir;
use trunkline_testkit::process::Output;

use crate::support::{USER_TOKEN, config, service, trunkline, with};

const URL: &str = "http://127.0.0.1:8787/claude";

fn settled(over: Value) -> Value {
    let service = with(service("http://127.0.0.1:9"), json!({ "listen_port": 8787, "path": "/claude" }));
    config(&with(service, over))
}

async fn env(args: &[&str], config: &Value) -> Output {
    let output = trunkline().args(["env", "claude"].iter().chain(args));
    let output = output.config(config).run().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    output
}

#[tokio::test]
async fn the_lines_are_those_of_each_shell() {
    let config = settled(json!({}));
    for (shell, lines) in [
        (
            "bash",
            vec![
                format!("export ANTHROPIC_BASE_URL='{URL}'"),
                format!("export ANTHROPIC_AUTH_TOKEN='{USER_TOKEN}'"),
                "# to undo: unset ANTHROPIC_BASE_URL ANTHROPIC_AUTH_TOKEN".to_owned(),
            ],
        ),
        (
            "fish",
            vec![
                format!("set -gx ANTHROPIC_BASE_URL '{URL}'"),
                format!("set -gx ANTHROPIC_AUTH_TOKEN '{USER_TOKEN}'"),
                "# to undo: set -e ANTHROPIC_BASE_URL ANTHROPIC_AUTH_TOKEN".to_owned(),
            ],
        ),
        (
            "powershell",
            vec![
                format!("$env:ANTHROPIC_BASE_URL = '{URL}'"),
                format!("$env:ANTHROPIC_AUTH_TOKEN = '{USER_TOKEN}'"),
                "# to undo: Remove-Item Env:ANTHROPIC_BASE_URL, Env:ANTHROPIC_AUTH_TOKEN -ErrorAction SilentlyContinue"
                    .to_owned(),
            ],
        ),
    ] {
        let output = env(&["--shell", shell], &config).await;
        assert_eq!(output.stdout, lines);
        assert!(output.stderr.is_empty(), "{output:?}");
        let undo = env(&["--shell", shell, "--undo"], &config).await;
        let [line] = undo.stdout.as_slice() else { panic!("{undo:?}") };
        assert_eq!(format!("# to undo: {line}"), lines[2]);
    }
}

#[tokio::test]
async fn json_is_a_settings_file_and_nothing_else() {
    let output = env(&["--shell", "json"], &settled(json!({}))).await;
    let printed: Value = serde_json::from_str(&output.stdout.join("\n")).unwrap();
    let variables = json!({ "ANTHROPIC_BASE_URL": URL, "ANTHROPIC_AUTH_TOKEN": USER_TOKEN });
    assert_eq!(printed, json!({ "env": variables }));
    let [told] = output.stderr.as_slice() else { panic!("{output:?}") };
    assert!(told.contains("~/.claude/settings.json") && told.contains("to undo, delete"), "{told}");
    let undo = trunkline().args(["env", "claude", "--shell", "json", "--undo"]).run().await.unwrap();
    assert_eq!(undo.status.code(), Some(2), "{undo:?}");
}

#[tokio::test]
async fn native_limits_are_another_variable_alone() {
    let config = settled(json!({}));
    let output = env(&["--native-limits"], &config).await;
    let [why, lines @ ..] = output.stdout.as_slice() else { panic!("{output:?}") };
    assert!(why.starts_with("# ") && why.contains("Sonnet"), "{why}");
    assert_eq!(
        lines,
        [
            "unset ANTHROPIC_AUTH_TOKEN ANTHROPIC_API_KEY".to_owned(),
            format!("export ANTHROPIC_BASE_URL='{URL}'"),
            format!("export CLAUDE_CODE_OAUTH_TOKEN='{USER_TOKEN}'"),
            "# to undo: unset ANTHROPIC_BASE_URL CLAUDE_CODE_OAUTH_TOKEN".to_owned(),
        ]
    );
    assert!(output.stderr.is_empty(), "{output:?}");
    let output = env(&["--native-limits", "--shell", "json"], &config).await;
    let printed: Value = serde_json::from_str(&output.stdout.join("\n")).unwrap();
    let variables = json!({
        "ANTHROPIC_BASE_URL": URL, "CLAUDE_CODE_OAUTH_TOKEN": USER_TOKEN,
        "ANTHROPIC_AUTH_TOKEN": "", "ANTHROPIC_API_KEY": "",
    });
    assert_eq!(printed, json!({ "env": variables }));
    let key = json!({ "tag": "key", "type": "api_key", "api_key": "sk-ant-api03-x" });
    let output = env(&["--native-limits"], &settled(json!({ "credentials": [key] }))).await;
    assert!(output.stderr.join("\n").contains("only API keys"), "{output:?}");
}

#[tokio::test]
async fn the_clients_own_gateway_mode_is_one_variable_more() {
    let config = settled(json!({}));
    let output = env(&["--gateway"], &config).await;
    let [why, lines @ ..] = output.stdout.as_slice() else { panic!("{output:?}") };
    for part in ["limits in its own words", "dollars", "claude-opus-4-7", "87 KB instead of 49 KB"] {
        assert!(why.starts_with("# ") && why.contains(part), "{part}: {why}");
    }
    assert_eq!(
        lines,
        [
            format!("export ANTHROPIC_BASE_URL='{URL}'"),
            format!("export ANTHROPIC_AUTH_TOKEN='{USER_TOKEN}'"),
            "export CLAUDE_CODE_USE_GATEWAY='1'".to_owned(),
            "# to undo: unset ANTHROPIC_BASE_URL ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_USE_GATEWAY".to_owned(),
        ]
    );
    let undo = env(&["--gateway", "--undo"], &config).await;
    assert_eq!(undo.stdout, ["unset ANTHROPIC_BASE_URL ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_USE_GATEWAY"]);
    let output = env(&["--gateway", "--shell", "json"], &config).await;
    let printed: Value = serde_json::from_str(&output.stdout.join("\n")).unwrap();
    assert_eq!(printed["env"]["CLAUDE_CODE_USE_GATEWAY"], "1");
    assert!(output.stderr.join("\n").contains("claude-opus-4-7"), "{output:?}");
    for args in [&["env", "claude", "--gateway", "--native-limits"][..], &["env", "codex", "--gateway"][..]] {
        let output = trunkline().args(args).run().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[tokio::test]
async fn what_is_not_known_has_a_placeholder_and_a_note() {
    let user = json!({ "name": "alice", "token_sha256": "0".repeat(64) });
    let output = env(&[], &settled(json!({ "users": [user], "listen_port": 0 }))).await;
    assert_eq!(output.stdout[0], "export ANTHROPIC_BASE_URL='http://127.0.0.1:PORT/claude'");
    assert_eq!(output.stdout[1], "export ANTHROPIC_AUTH_TOKEN='TOKEN-OF-alice'");
    let [port, token] = output.stderr.as_slice() else { panic!("{output:?}") };
    assert!(port.contains("where PORT stands"), "{port}");
    assert!(token.contains("only the hash") && token.contains("TOKEN-OF-alice"), "{token}");
}

#[tokio::test]
async fn what_would_defeat_the_lines_is_warned_of() {
    let home = TempDir::new().unwrap();
    home.write(".claude/settings.json", r#"{"env": {"ANTHROPIC_BASE_URL": "https://elsewhere"}}"#).unwrap();
    let file = home.join(".claude/settings.json");
    let output = trunkline()
        .args(["env", "claude"])
        .home(home)
        .env("ANTHROPIC_API_KEY", "sk-ant-stray")
        .env("CLAUDE_CODE_USE_BEDROCK", "1")
        .env("HTTPS_PROXY", "http://proxy")
        .run()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        output.stderr,
        [
            "trunkline: warning: ANTHROPIC_API_KEY is set: the client sends it as well, although it goes no further than \
             Trunkline; unset it where the client runs"
                .to_owned(),
            "trunkline: warning: CLAUDE_CODE_USE_BEDROCK is set: the client talks to that provider instead; unset it where \
             the client runs"
                .to_owned(),
            "trunkline: warning: HTTPS_PROXY is set: the client sends its requests there, with the token in them; add \
             127.0.0.1 to NO_PROXY"
                .to_owned(),
            format!(
                "trunkline: warning: {} sets ANTHROPIC_BASE_URL in its \"env\", which wins over these lines; delete it there",
                file.display()
            ),
        ]
    );
}
