//! What is run, what is served, and what is left out.

use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;
use trunkline_testkit::{TempDir, Trunkline, bounded};

use crate::lines::{Line, all};

/// How the documents spell the binary when it has to be built first.
const BUILT: &str = "cargo run --release -p trunkline -- ";

/// What is not run: the beginning of the line, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("./test", "runs this test, and needs npm"),
    ("CLAUDE_CONFIG_DIR=~/.claude-b claude", "needs the real client and an account"),
    ("scripts/bench ", "takes minutes, and needs nginx and HAProxy"),
    ("cargo test --release -p trunkline --test attacks ", "is one of this package's tests"),
    ("cargo run -p trunkline-simulate ", "is what the tests of that crate run"),
];

/// What serves until it is stopped.
const SERVES: [&str; 2] = ["trunkline serve", "trunkline demo"];

/// The configuration of those who have one: with the users of the documents.
fn configuration() -> String {
    let service = |kind: &str| {
        json!({
            "type": kind,
            "path": format!("/{kind}"),
            "users": [
                { "name": "alice", "token": "token-of-alice" },
                { "name": "bob", "token": "token-of-bob" },
            ],
            "credentials": [{ "tag": "key", "type": "api_key", "api_key": "sk-ant-api03-of-the-documents" }],
        })
    };
    json!({ "services": [service("claude"), service("codex")] }).to_string()
}

/// A home with a configuration where the line needs one: it speaks of a user, or of the file.
fn home(text: &str) -> TempDir {
    let home = TempDir::new().unwrap();
    if text.contains("--user") || text.contains("-c ") {
        home.write("trunkline.json", configuration()).unwrap();
    }
    home
}

async fn run(line: &Line, text: &str) {
    let home = home(text);
    let binary = Path::new(env!("CARGO_BIN_EXE_trunkline")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let child = Command::new("/bin/sh")
        .args(["-ec", text])
        .env_clear()
        .env("PATH", path)
        .env("HOME", home.path())
        .current_dir(home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = bounded(text, child.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{line:?}: {output:?}");
}

/// On a free port, which is the only thing that is changed. The banner is out once it can be stopped.
async fn serve(line: &Line, text: &str) {
    let mut args: Vec<&str> = text.split_whitespace().skip(1).collect();
    args.extend(["--listen", "127.0.0.1:0"]);
    let builder = Trunkline::builder(env!("CARGO_BIN_EXE_trunkline")).args(args).home(home(text));
    let mut process = builder.spawn().unwrap();
    process.stdout_line(|said| said.contains("export ANTHROPIC_BASE_URL='http://127.0.0.1:")).await.unwrap();
    let output = process.stop().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{line:?}: {output:?}");
}

#[tokio::test]
async fn every_command_line_works() {
    let (mut ran, mut served) = (0, 0);
    let mut left_out = vec![0; LEFT_OUT.len()];
    for line in all() {
        if let Some(at) = LEFT_OUT.iter().position(|(start, _)| line.text.starts_with(start)) {
            left_out[at] += 1;
            continue;
        }
        let text = match line.text.strip_prefix(BUILT) {
            Some(args) => format!("trunkline {args}"),
            None => line.text.clone(),
        };
        if SERVES.iter().any(|start| text.starts_with(start)) {
            serve(&line, &text).await;
            served += 1;
        } else {
            run(&line, &text).await;
            ran += 1;
        }
    }
    assert!(ran >= 8 && served >= 2, "{ran} commands were run and {served} were served");
    for ((start, why), count) in LEFT_OUT.iter().zip(left_out) {
        assert!(count > 0, "no document has {start} any more, which was left out because it {why}");
    }
}
