//! The command line: exit codes, and what it prints.

use serde_json::{Value, json};
use trunkline_testkit::process::Output;
use trunkline_testkit::{Script, Upstream};

use crate::support::{Current, Protocol, body, config, message, service, sha256, trunkline, with};

const UPSTREAM: &str = "http://127.0.0.1:9";

async fn run(args: &[&str], config: &Value) -> Output {
    trunkline().args(args).config(config).run().await.unwrap()
}

#[tokio::test]
async fn a_valid_configuration_is_told_to_be_valid() {
    let output = run(&["check"], &config(&service(UPSTREAM))).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let [line] = output.stdout.as_slice() else { panic!("{output:?}") };
    assert!(line.ends_with("trunkline.json: valid: 1 service, 1 credential, 1 user"), "{line}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn an_invalid_configuration_is_refused_with_all_its_problems() {
    let bad = json!({
        "services": [with(service("ftp://x"), json!({ "listen_port": 70_000, "max_body": "many" }))],
        "drain_timeout": "soon",
    });
    let checked = run(&["check"], &bad).await;
    let served = trunkline().config(&bad).run().await.unwrap();
    for output in [checked, served] {
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        let text = output.stderr.join("\n");
        for field in ["api_url", "listen_port", "max_body", "drain_timeout", "4 problems"] {
            assert!(text.contains(field), "{field}: {text}");
        }
        assert!(output.stderr.iter().all(|line| line.starts_with("trunkline: ")), "{text}");
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_a_usage_error() {
    for args in [
        &[][..],
        &["nothing"],
        &["serve", "--nothing"],
        &["env", "another"],
        &["env", "codex", "--shell", "json"],
        &["env", "codex", "--native-limits"],
        &["serve", "--listen", "x"],
    ] {
        let output = trunkline().args(args).run().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}: {output:?}");
    }
    let output = run(&["env", "claude", "--user", "nobody"], &config(&service(UPSTREAM))).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test]
async fn a_new_token_comes_with_its_entry() {
    let output = trunkline().args(["token", "--user", "carol"]).run().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let [told, token, blank, entry_for, entry] = output.stdout.as_slice() else { panic!("{output:?}") };
    assert_eq!(told, "token (give it to the user; it is shown only now):");
    assert_eq!((blank.as_str(), entry_for.as_str()), ("", "entry for \"users\" in the configuration:"));
    let token = token.trim();
    assert!(token.starts_with("tl-") && token.len() == 67, "{token}");
    let entry: Value = serde_json::from_str(entry).unwrap();
    assert_eq!(entry, json!({ "name": "carol", "token_sha256": sha256(token) }));
    let again = trunkline().args(["token", "--user", "carol"]).run().await.unwrap();
    assert_ne!(again.stdout, output.stdout);

    // And it works.
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let config = config(&with(service(&upstream.url()), json!({ "users": [entry] })));
    let trunkline = trunkline().config(&config).start().await.unwrap();
    let request = message(body()).set_header("Authorization", &format!("Bearer {token}"));
    assert_eq!(Protocol::Http1.send(trunkline.addr().unwrap(), &request).await.status(), 200);
}

#[tokio::test]
async fn serving_begins_with_what_a_client_needs() {
    let mut trunkline = trunkline()
        .config(&config(&with(service(UPSTREAM), json!({ "path": "/claude" }))))
        .start()
        .await
        .unwrap();
    let url = format!("http://{}/claude", trunkline.addr().unwrap());
    let file = trunkline.home().join("trunkline.json");
    let output = trunkline.stop().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = [
        format!("trunkline {}, configured by {}", env!("CARGO_PKG_VERSION"), file.display()),
        String::new(),
        format!("service claude at {url} (1 user)"),
        "  credential main: long-lived token: ready".to_owned(),
        "  a client needs:".to_owned(),
        format!("    export ANTHROPIC_BASE_URL='{url}'"),
        "    export ANTHROPIC_AUTH_TOKEN='TOKEN-OF-alice'".to_owned(),
        String::new(),
    ];
    assert_eq!(output.stdout, expected);
}

#[tokio::test]
async fn the_schema_is_json() {
    let output = trunkline().args(["schema"]).run().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let schema: Value = serde_json::from_str(&output.stdout.join("\n")).unwrap();
    assert!(schema["properties"]["services"].is_object());
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for (shell, words) in [
        ("bash", "complete -F _trunkline"),
        ("elvish", "edit:completion"),
        ("fish", "complete -c trunkline"),
        ("powershell", "Register-ArgumentCompleter"),
        ("zsh", "#compdef trunkline"),
    ] {
        let output = trunkline().args(["completions", shell]).run().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = output.stdout.join("\n");
        assert!(text.contains(words) && text.contains("native-limits"), "{shell}: {text}");
    }
}

#[tokio::test]
async fn the_manual_has_a_page_for_each_command() {
    let output = trunkline().args(["man"]).run().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let main = output.stdout.join("\n");
    for command in ["serve", "check", "schema", "demo", "env", "token", "completions", "man"] {
        assert!(main.contains(&format!("trunkline\\-{command}(1)")), "{command}: {main}");
        let page = trunkline().args(["man", command]).run().await.unwrap();
        assert_eq!(page.status.code(), Some(0), "{page:?}");
        let title = format!(".TH trunkline-{command} 1 ");
        assert!(page.stdout.iter().any(|line| line.starts_with(&title)), "{title}: {page:?}");
    }
    let unknown = trunkline().args(["man", "nothing"]).run().await.unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}
