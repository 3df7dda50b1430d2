//! Runs a real client against the scripted API, and prints in what it differs from the recorded exchanges. For a person, before
//! a new release of a client is pinned:
//!
//! ```text
//! scripts/clients claude            # the newest release
//! scripts/clients codex 0.171.0     # this one
//! ```

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use tokio::process::Command;
use trunkline_testkit::claude::{Account, ClaudeApi, error};
use trunkline_testkit::codex::{self, CodexApi, Transport};
use trunkline_testkit::comparison::{Shape, Tries, compare_lines, compare_tries};
use trunkline_testkit::fixtures::{self, RecordedRequest, SocketFrameKind};
use trunkline_testkit::upstream::ReceivedRequest;
use trunkline_testkit::{TempDir, Upstream};

/// How long one run of a client may take. One that retries for minutes is ended, and counted as far as it came.
const LIMIT: Duration = Duration::from_secs(40);

/// How many answers of a kind are at hand. The most that a client asks for at once is eleven.
const MANY: usize = 16;

const TOKEN: &str = "token-of-the-comparison";
const KEY: &str = "key-of-the-comparison";

/// How the recorded client was run: its betas depend on it.
const CLAUDE_ARGS: [&str; 5] = ["-p", "say hi", "--output-format", "stream-json", "--verbose"];

type Run = (&'static str, &'static [(&'static str, &'static str)], (&'static str, &'static str));

/// Ways to run Claude Code: their name, what is set besides, and the recorded exchange that they are compared with.
const CLAUDE_RUNS: [Run; 5] = [
    ("token", &[], ("modes_332", "gzip_env_custom_base_url_not_compressed")),
    ("hint headers", &[("CLAUDE_CODE_GATEWAY_HINT_HEADERS", "1")], ("hint_headers_332", "hint_subagent")),
    ("its own gateway mode", &[("CLAUDE_CODE_USE_GATEWAY", "1")], ("modes_332", "use_gateway")),
    ("token and key", &[("ANTHROPIC_API_KEY", KEY)], ("modes_332", "token_and_api_key")),
    (
        "OAuth token",
        &[("ANTHROPIC_AUTH_TOKEN", ""), ("CLAUDE_CODE_OAUTH_TOKEN", TOKEN)],
        ("modes_332", "oauth_token_env"),
    ),
];

/// How often client 2.1.332 asked when each request was answered like this (gateway contract, 2).
const CLAUDE_TRIES: [(&str, u16, &str, &str, usize); 8] = [
    ("400 that it does not know", 400, "invalid_request_error", "scripted", 6),
    ("400 policy_blocked", 400, "policy_blocked", "scripted", 1),
    ("401, not to be retried", 401, "authentication_error", "scripted", 1),
    ("403", 403, "permission_error", "scripted", 1),
    ("404", 404, "not_found_error", "model: scripted", 2),
    ("413", 413, "request_too_large", "scripted", 1),
    ("503 api_error, not to be retried", 503, "api_error", "scripted", 1),
    ("503 overloaded_error, not to be retried", 503, "overloaded_error", "scripted", 3),
];

/// How often client 0.171 asked over HTTP (fact sheet codex.md, 4).
const CODEX_TRIES: [(&str, u16, usize); 2] = [("400", 400, 1), ("404", 404, 6)];

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(client), Some(binary)) = (args.next(), args.next()) else {
        println!("usage: clients claude|codex BINARY");
        return Ok(());
    };
    match client.as_str() {
        "claude" => claude(&binary).await,
        "codex" => codex(&binary).await,
        other => {
            println!("{other}: expected claude or codex");
            Ok(())
        }
    }
}

// === Claude Code ===

async fn claude(binary: &str) -> io::Result<()> {
    for (name, variables, (set, scenario)) in CLAUDE_RUNS {
        let (requests, _) = run_claude(binary, variables, |_| {}).await?;
        let recorded: Vec<_> = fixtures::claude(set)?
            .into_iter()
            .filter(|exchange| exchange.scenario == scenario)
            .map(|exchange| of_recorded(&exchange.request))
            .collect();
        let sent: Vec<_> = requests.iter().map(of_received).collect();
        println!("\n== {name} ({} requests)", sent.len());
        report(&recorded, &sent, "POST /v1/messages?beta=true");
    }
    println!("\n== how often it asks");
    for (answer, status, kind, message, count) in CLAUDE_TRIES {
        let (requests, _) = run_claude(binary, &[], |api| {
            for _ in 0..MANY {
                api.next_on("/v1/messages", error(status, kind, message).header("x-should-retry", "false"));
            }
        })
        .await?;
        let asked = requests.iter().filter(|request| request.path() == "/v1/messages").count();
        tell_tries(answer, count, asked);
    }
    Ok(())
}

async fn run_claude(
    binary: &str,
    variables: &[(&str, &str)],
    prepare: impl FnOnce(&ClaudeApi),
) -> io::Result<(Vec<ReceivedRequest>, String)> {
    let api = ClaudeApi::new([Account::new("a").gateway_token(TOKEN).api_key(KEY)]);
    prepare(&api);
    let upstream = Upstream::start(api).await?;
    let home = TempDir::new()?;
    home.write("project/README.md", "A project of a comparison.\n")?;
    home.write("config/keep", "")?;
    let mut environment = HashMap::from([
        ("ANTHROPIC_BASE_URL", upstream.url()),
        ("ANTHROPIC_AUTH_TOKEN", TOKEN.to_owned()),
        ("CLAUDE_CONFIG_DIR", home.join("config").display().to_string()),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
        ("DISABLE_AUTOUPDATER", "1".to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
    ]);
    environment.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let said = run(binary, &CLAUDE_ARGS, &environment, &home).await?;
    Ok((upstream.requests(), said))
}

// === Codex ===

async fn codex(binary: &str) -> io::Result<()> {
    for (name, is_socket) in [("s_custom-http", false), ("s_custom-ws", true)] {
        let newest = format!("{name}_171");
        let set = if fixtures::CODEX.contains(&newest.as_str()) { &newest } else { name };
        let mut recorded: Vec<_> =
            fixtures::codex_exchanges(set)?.iter().map(|(request, _)| of_recorded(request)).collect();
        for socket in fixtures::codex_sockets(set)? {
            recorded.push(of_recorded(&socket.request));
            let messages = socket.frames.iter().filter(|frame| frame.by_client);
            recorded.extend(messages.filter_map(|frame| match &frame.kind {
                SocketFrameKind::Message(message) => Some(Shape::message(message.to_string().as_bytes())),
                _ => None,
            }));
        }
        let (requests, api) = run_codex(binary, is_socket, |_| {}).await?;
        let mut sent: Vec<_> = requests.iter().map(of_received).collect();
        for asked in api.asked() {
            if asked.transport != Transport::Http {
                sent.push(Shape::message(asked.body.to_string().as_bytes()));
            }
        }
        println!(
            "\n== {} ({} requests, compared with {set})",
            if is_socket { "WebSocket" } else { "HTTP" },
            sent.len()
        );
        let line = if is_socket { "GET /v1/responses" } else { "POST /v1/responses" };
        report(&recorded, &sent, line);
        if is_socket {
            report_one(&recorded, &sent, "message response.create");
        }
    }
    println!("\n== how often it asks, over HTTP");
    for (answer, status, count) in CODEX_TRIES {
        let (requests, _) = run_codex(binary, false, |api| {
            for _ in 0..MANY {
                api.next("a", codex::error(status, "invalid_request_error", None, "scripted"));
            }
        })
        .await?;
        let asked = requests.iter().filter(|request| request.path() == "/v1/responses").count();
        tell_tries(answer, count, asked);
    }
    Ok(())
}

async fn run_codex(
    binary: &str,
    is_socket: bool,
    prepare: impl FnOnce(&CodexApi),
) -> io::Result<(Vec<ReceivedRequest>, CodexApi)> {
    let api = CodexApi::new([codex::Account::new("a").bearer(TOKEN)]);
    prepare(&api);
    let upstream = Upstream::start(api.clone()).await?;
    let home = TempDir::new()?;
    home.write(
        "config.toml",
        format!(
            "model_provider = \"scripted\"\nmodel = \"gpt-5.5\"\ncheck_for_update_on_startup = false\n\n\
             [analytics]\nenabled = false\n\n\
             [model_providers.scripted]\nname = \"Scripted\"\nbase_url = \"{}/v1\"\nwire_api = \"responses\"\n\
             experimental_bearer_token = \"{TOKEN}\"\nsupports_websockets = {is_socket}\n",
            upstream.url()
        ),
    )?;
    home.write("project/README.md", "A project of a comparison.\n")?;
    let environment = HashMap::from([
        ("CODEX_HOME", home.path().display().to_string()),
        ("SHELL", "/bin/bash".to_owned()),
        ("TERM", "xterm-256color".to_owned()),
        ("TZ", "UTC".to_owned()),
    ]);
    let args = [
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--dangerously-bypass-approvals-and-sandbox",
        "say something",
    ];
    run(binary, &args, &environment, &home).await?;
    Ok((upstream.requests(), api))
}

// === both ===

/// Runs a client to its end, or for as long as it may take. It sees no environment but this.
async fn run(
    binary: &str,
    args: &[&str],
    environment: &HashMap<&str, String>,
    home: &TempDir,
) -> io::Result<String> {
    let child = Command::new(binary)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .envs(environment.iter().filter(|(_, value)| !value.is_empty()))
        .current_dir(home.join("project"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    match tokio::time::timeout(LIMIT, child.wait_with_output()).await {
        Ok(output) => Ok(String::from_utf8_lossy(&output?.stdout).into_owned()),
        Err(_) => Ok(String::new()),
    }
}

fn of_recorded(request: &RecordedRequest) -> Shape {
    let body = request.body.clone().unwrap_or_default();
    Shape::new(&request.method, &request.target, &request.headers, &body)
}

fn of_received(request: &ReceivedRequest) -> Shape {
    let body = decoded(request.headers.get("content-encoding"), &request.body());
    Shape::new(&request.method, &request.target, &request.headers, &body)
}

/// A body without its encoding. One that cannot be read has no members.
fn decoded(encoding: Option<&str>, body: &Bytes) -> Vec<u8> {
    match encoding {
        Some("zstd") => zstd::decode_all(&body[..]).unwrap_or_default(),
        _ => body.to_vec(),
    }
}

/// Prints which requests are new or gone, and in what the first one with this line differs.
fn report(recorded: &[Shape], sent: &[Shape], line: &str) {
    let lines = compare_lines(recorded, sent);
    for difference in &lines {
        println!("  {difference}");
    }
    if !report_one(recorded, sent, line) && lines.is_empty() {
        println!("  as recorded");
    }
}

/// Whether there was anything to print.
fn report_one(recorded: &[Shape], sent: &[Shape], line: &str) -> bool {
    let first = |shapes: &[Shape]| shapes.iter().find(|shape| shape.line == line).cloned();
    match (first(recorded), first(sent)) {
        (Some(was), Some(is)) => {
            let differences = was.differences(&is);
            for difference in &differences {
                println!("  {difference}");
            }
            !differences.is_empty()
        }
        (None, None) => false,
        (was, _) => {
            println!("  {line} was {}", if was.is_some() { "not sent" } else { "not recorded" });
            true
        }
    }
}

fn tell_tries(answer: &str, was: usize, is: usize) {
    let tries = |count| Tries { answer: answer.to_owned(), count };
    match compare_tries(&tries(was), &tries(is)) {
        Some(difference) => println!("  {difference}"),
        None => println!("  {answer}: {was}, as recorded"),
    }
}
