//! Codex for the first time: without a configuration, the client's lines, and what is told of its logins.

use serde_json::{Value, json};
use trunkline_testkit::client::{Request, send};
use trunkline_testkit::ports::free_port;
use trunkline_testkit::{TempDir, Trunkline};

use crate::support::codex::{body, codex_refusal};
use crate::support::{USER_TOKEN, config, refusal, trunkline};

/// An instance without a configuration, in a home with this Codex login. None of them may lead to a provider.
async fn without_a_configuration(login: Option<&str>) -> Trunkline {
    // Another process may take the port first.
    for _ in 0..10 {
        let home = TempDir::new().unwrap();
        if let Some(login) = login {
            home.write(".codex/auth.json", login).unwrap();
        }
        let args = ["serve", "--no-watch", "--listen", &free_port().unwrap().to_string()].map(str::to_owned);
        if let Ok(running) = trunkline().args(args).home(home).start().await {
            return running;
        }
    }
    panic!("no port was free");
}

#[tokio::test]
async fn both_services_run_on_one_port_without_a_configuration() {
    let running = without_a_configuration(None).await;
    let addr = running.addr().unwrap();
    let claude = Request::post("/claude/v1/messages", r#"{"model":"m","messages":[]}"#);
    let text = refusal(&send(addr, &claude).await.unwrap(), 503, "api_error");
    assert!(text.contains("claude /login"), "{text}");
    let codex = Request::post("/codex/v1/responses", body());
    let error = codex_refusal(&send(addr, &codex).await.unwrap(), 503, "server_error");
    assert!(error["message"].as_str().unwrap().contains("codex login"), "{error}");
    for path in ["/", "/v1/responses", "/codexx/v1/responses"] {
        assert_eq!(send(addr, &Request::post(path, body())).await.unwrap().status(), 404, "{path}");
    }
    let told = running.stdout().join("\n");
    for line in [
        format!(
            "service claude at http://{addr}/claude (no users: anyone who reaches this address may use it)"
        ),
        format!(
            "service codex at http://{addr}/codex (no users: anyone who reaches this address may use it)"
        ),
        "no login file: run \"codex login\" (waiting for it)".to_owned(),
        "    # in ~/.codex/config.toml:".to_owned(),
        "    model_provider = \"trunkline\"".to_owned(),
        format!("    base_url = \"http://{addr}/codex/v1\""),
        "    experimental_bearer_token = \"any\"".to_owned(),
        "    supports_websockets = true".to_owned(),
    ] {
        assert!(told.contains(&line), "{line}: {told}");
    }
}

#[tokio::test]
async fn a_login_that_is_there_is_found() {
    let running = without_a_configuration(Some(r#"{"OPENAI_API_KEY":"sk-of-nobody"}"#)).await;
    let told = running.stdout().join("\n");
    assert!(told.contains("/.codex/auth.json: found"), "{told}");
    assert!(!told.contains("sk-of-nobody"), "{told}");
}

fn settled(users: &Value) -> Value {
    let credential = json!({ "tag": "k", "type": "api_key", "api_key": "sk" });
    config(&json!({
        "type": "codex", "listen_port": 8787, "path": "/codex", "users": users, "credentials": [credential],
    }))
}

#[tokio::test]
async fn the_clients_lines_are_a_block_of_its_file() {
    let config = settled(&json!([{ "name": "alice", "token": USER_TOKEN }]));
    let output = trunkline().args(["env", "codex"]).config(&config).run().await.unwrap();
    assert_eq!(
        output.stdout,
        [
            "model_provider = \"trunkline\"",
            "",
            "[model_providers.trunkline]",
            "name = \"Trunkline\"",
            "base_url = \"http://127.0.0.1:8787/codex/v1\"",
            "wire_api = \"responses\"",
            &format!("experimental_bearer_token = \"{USER_TOKEN}\""),
            "supports_websockets = true",
        ]
    );
    let [note] = output.stderr.as_slice() else { panic!("{output:?}") };
    assert!(note.contains("~/.codex/config.toml"), "{note}");
    // The client's own directory, if it has another one.
    let output = trunkline()
        .args(["env", "codex"])
        .env("CODEX_HOME", "/srv/codex")
        .config(&config)
        .run()
        .await
        .unwrap();
    assert!(output.stderr[0].contains("/srv/codex/config.toml"), "{output:?}");
}

#[tokio::test]
async fn the_token_can_stay_in_the_environment() {
    let config = settled(&json!([{ "name": "alice", "token": USER_TOKEN }]));
    for (shell, set, unset) in [
        ("bash", format!("export TRUNKLINE_TOKEN='{USER_TOKEN}'"), "unset TRUNKLINE_TOKEN"),
        ("fish", format!("set -gx TRUNKLINE_TOKEN '{USER_TOKEN}'"), "set -e TRUNKLINE_TOKEN"),
    ] {
        let output =
            trunkline().args(["env", "codex", "--shell", shell]).config(&config).run().await.unwrap();
        let text = output.stdout.join("\n");
        assert!(text.contains("env_key = \"TRUNKLINE_TOKEN\""), "{text}");
        assert!(text.ends_with(&format!("# in the shell:\n# {set}")), "{text}");
        assert!(!text.contains("experimental_bearer_token"), "{text}");
        let undo = trunkline().args(["env", "codex", "--undo", "--shell", shell]).run().await.unwrap();
        assert_eq!(undo.stdout.last().map(String::as_str), Some(unset));
    }
    let undo = trunkline().args(["env", "codex", "--undo"]).run().await.unwrap();
    assert_eq!(
        undo.stdout,
        [
            "# delete from ~/.codex/config.toml:",
            "#   model_provider = \"trunkline\"",
            "#   the table [model_providers.trunkline]",
        ]
    );
}

#[tokio::test]
async fn a_token_that_is_not_known_has_a_place() {
    let digest = crate::support::sha256(USER_TOKEN);
    let config = settled(&json!([{ "name": "alice", "token_sha256": digest }]));
    let output = trunkline().args(["env", "codex"]).config(&config).run().await.unwrap();
    assert!(
        output.stdout.join("\n").contains("experimental_bearer_token = \"TOKEN-OF-alice\""),
        "{output:?}"
    );
    assert!(output.stderr[0].contains("only the hash of alice's token"), "{output:?}");
}

#[tokio::test]
async fn doctor_knows_codex() {
    let home = TempDir::new().unwrap();
    home.write(".codex/auth.json", r#"{"OPENAI_API_KEY":"sk-of-nobody"}"#).unwrap();
    let output = trunkline().args(["doctor", "--offline"]).home(home).run().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = output.stdout.join("\n");
    assert!(text.contains("login codex/default") && text.contains("an API key, which has no end"), "{text}");
    assert!(text.contains("to use this service, run \"claude /login\""), "{text}");
    // Without any there is nothing to serve with.
    let output = trunkline().args(["doctor", "--offline"]).home(TempDir::new().unwrap()).run().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = output.stdout.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("cli_auth_credentials_store = \"file\""), "{text}");
}
