//! `trunkline demo`: it works without an account, counts truly, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use trunkline_testkit::client::{Ended, Request, send};
use trunkline_testkit::process::{Builder, Output};
use trunkline_testkit::{TempDir, Trunkline};

use crate::support::{final_refusal, trunkline};

/// A demonstration with a temporary directory of its own, to see what is left in it.
fn demo(directory: &TempDir, args: &[&str]) -> Builder {
    trunkline().args(["demo"].iter().chain(args)).env("TMPDIR", directory.path())
}

fn is_empty(directory: &TempDir) -> bool {
    fs::read_dir(directory.path()).unwrap().next().is_none()
}

/// The value that a printed line `export NAME='…'` sets.
async fn exported(demo: &Trunkline, name: &str) -> String {
    let start = format!("export {name}='");
    let line = demo.stdout_line(|line| line.starts_with(&start)).await.unwrap();
    line.trim_start_matches(&start).trim_end_matches('\'').to_owned()
}

/// Requests, answers and failures, from the last line.
fn totals(output: &Output) -> [u64; 3] {
    let last = output.stdout.last().unwrap();
    let (_, counts) = last.split_once(": ").expect(last);
    let numbers: Vec<u64> = counts.split(' ').filter_map(|word| word.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|numbers| panic!("{last}: {numbers:?}"))
}

/// Requests that the simulated provider saw, on all credentials, from the last line of counts.
fn seen(output: &Output) -> u64 {
    let last = output.stdout.iter().rfind(|line| line.contains("the simulated providers saw")).unwrap();
    let (_, credentials) = last.split_once(" saw ").unwrap();
    credentials
        .split(", ")
        .map(|credential| credential.split(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

fn ask(token: &str) -> Request {
    let body = json!({ "model": "claude-sonnet-5", "max_tokens": 64, "messages": [{ "role": "user", "content": "hi" }] });
    Request::post("/claude/v1/messages", body.to_string())
        .bearer(token)
        .header("anthropic-version", "2023-06-01")
}

#[tokio::test]
async fn the_printed_lines_work_and_nothing_is_left() {
    let directory = TempDir::new().unwrap();
    let mut demo = demo(&directory, &["--log"]).start().await.unwrap();
    let addr = demo.addr().unwrap();
    let (url, token) =
        (exported(&demo, "ANTHROPIC_BASE_URL").await, exported(&demo, "ANTHROPIC_AUTH_TOKEN").await);
    assert_eq!(url, format!("http://{addr}/claude"));
    let response = send(addr, &ask(&token)).await.unwrap();
    assert_eq!((response.status(), response.end), (200, Ended::Complete));
    assert!(response.text().contains("This answer is simulated"), "{}", response.text());
    final_refusal(&send(addr, &ask("tl-of-nobody")).await.unwrap(), 401, "authentication_error");

    // The configuration that is named is the one that runs, and the other commands take it.
    let line = demo.stdout_line(|line| line.starts_with("Its configuration: ")).await.unwrap();
    let file = line.trim_start_matches("Its configuration: ");
    let checked = trunkline().args(["check", "-c", file]).run().await.unwrap();
    assert!(checked.stdout[0].ends_with("valid: 2 services, 5 credentials, 6 users"), "{checked:?}");
    assert!(checked.stderr.is_empty(), "{checked:?}");
    let lines = trunkline().args(["env", "claude", "--user", "you", "-c", file]).run().await.unwrap();
    assert!(lines.stdout.contains(&format!("export ANTHROPIC_AUTH_TOKEN='{token}'")), "{lines:?}");
    assert!(lines.stdout.contains(&format!("export ANTHROPIC_BASE_URL='{url}'")), "{lines:?}");

    // So does the line for the real client of Codex, by the file that it leads to.
    let line = demo.stdout_line(|line| line.starts_with("CODEX_HOME=")).await.unwrap();
    let (home, _) = line.trim_start_matches("CODEX_HOME=").split_once(' ').unwrap();
    let lines = trunkline().args(["env", "codex", "--user", "you", "-c", file]).run().await.unwrap();
    let client = fs::read_to_string(format!("{home}/config.toml")).unwrap();
    assert_eq!(client.lines().collect::<Vec<_>>(), lines.stdout, "{lines:?}");
    let codex = client.lines().find_map(|line| line.strip_prefix("base_url = ")).unwrap().trim_matches('"');
    let codex = codex.trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
    let turn = json!({ "model": "gpt-5.5", "stream": true, "input": [], "tools": [] });
    let turn = Request::post("/codex/v1/responses", turn.to_string()).bearer(&token);
    let response = send(codex, &turn).await.unwrap();
    assert_eq!((response.status(), response.end), (200, Ended::Complete));
    assert!(response.text().contains("This answer is simulated"), "{}", response.text());

    let status = trunkline().args(["status", "-c", file]).run().await.unwrap();
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    assert!(status.stdout.join("\n").contains(&url), "{status:?}");

    let output = demo.stop().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout[2].starts_with("Everything here is simulated"), "{output:?}");
    let [asked, answered, failed] = totals(&output);
    assert_eq!((asked, failed), (answered, 0), "{output:?}");
    assert_eq!(seen(&output), asked + 2, "{output:?}");
    assert!(is_empty(&directory), "{output:?}");
    assert!(is_empty(demo.home()), "nothing in the home");
}

#[tokio::test]
async fn it_ends_by_itself_with_everything_counted() {
    let directory = TempDir::new().unwrap();
    let output = demo(&directory, &["--for", "3s"]).run().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let [asked, answered, failed] = totals(&output);
    assert!(asked >= 2 && asked == answered && failed == 0, "{output:?}");
    assert_eq!(seen(&output), asked, "{output:?}");
    assert!(is_empty(&directory), "{output:?}");
}

#[tokio::test]
async fn without_traffic_only_others_are_served() {
    let directory = TempDir::new().unwrap();
    let output = demo(&directory, &["--no-traffic", "--for", "100ms"]).run().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(totals(&output), [0, 0, 0]);
    assert!(is_empty(&directory), "{output:?}");
}

#[tokio::test]
async fn every_signal_that_ends_a_terminal_ends_it() {
    for signal in ["INT", "HUP"] {
        let directory = TempDir::new().unwrap();
        let mut demo = demo(&directory, &["--log"]).start().await.unwrap();
        demo.stderr_line(|line| line.contains("demo-alice-")).await.unwrap();
        demo.signal(signal).await.unwrap();
        let output = demo.wait_exit().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stdout.last().unwrap().starts_with("stopped after"), "{output:?}");
        assert!(is_empty(&directory), "{output:?}");
    }
}

#[tokio::test]
async fn a_failure_leaves_nothing_either() {
    let directory = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = demo(&directory, &["--listen", &port]).run().await.unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert_eq!(output.stderr.len(), 1, "{output:?}");
    assert!(output.stderr[0].contains("in use"), "{output:?}");
    assert!(is_empty(&directory), "{output:?}");

    let output = trunkline().args(["demo"]).env("TMPDIR", "/dev/null").run().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(output.stderr.len(), 1, "{output:?}");
    assert!(output.stderr[0].contains("set TMPDIR"), "{output:?}");
}
