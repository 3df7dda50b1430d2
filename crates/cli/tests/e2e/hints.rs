//! What people are told who are nearly right: wrong base URLs, directories for files, empty variables, polls that fail; and
//! what today's clients ask of a gateway besides.

use serde_json::{Value, json};
use trunkline_testkit::client::Request;
use trunkline_testkit::ports::free_port;
use trunkline_testkit::{ClaudeApi, Script, TempDir, Trunkline, Upstream};

use crate::pool::status_of;
use crate::support::{
    Current, OAUTH_TOKEN, Protocol, USER_TOKEN, body, config, connect, final_refusal, message, refusal,
    serve, service, trunkline, with,
};

fn ok() -> Current {
    Current::new(Script::json(200, &json!({ "ok": true })))
}

/// A Claude and a Codex service on one address.
async fn both(upstream: &Upstream) -> Trunkline {
    let claude = with(service(&upstream.url()), json!({ "path": "/claude" }));
    let codex = json!({
        "type": "codex",
        "path": "/codex",
        "listen_port": 0,
        "users": [{ "name": "alice", "token": USER_TOKEN }],
        "credentials": [{ "tag": "key", "type": "api_key", "api_key": "sk-of-the-credential" }],
        "upstream": { "api_url": upstream.url(), "openai_url": upstream.url() },
    });
    // Services share an address whose port is stated, or none.
    let port = free_port().unwrap();
    let services = [claude, codex].map(|service| with(service, json!({ "listen_port": port })));
    trunkline().config(&json!({ "services": services })).start().await.unwrap()
}

#[tokio::test]
async fn a_wrong_base_url_is_told_the_right_one() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let running = both(&upstream).await;
    let addr = running.addr().unwrap();
    for protocol in Protocol::BOTH {
        for (path, mistake, base) in [
            ("/claude/v1/v1/messages?beta=true", "/v1 twice", "/claude"),
            ("/claude/messages", "lacks /v1", "/claude"),
            ("/v1/messages?beta=true", "lacks the service's prefix", "/claude"),
            ("/claude/claude/v1/messages", "prefix twice", "/claude"),
            ("/codex/v1/messages", "another path before", "/claude"),
            ("/codex/responses", "lacks /v1", "/codex/v1"),
            ("/v1/responses", "lacks the service's prefix", "/codex/v1"),
        ] {
            let request = Request::post(path, body()).bearer(USER_TOKEN);
            let response = protocol.send(addr, &request).await;
            assert_eq!(response.status(), 404, "{path}");
            assert_eq!(response.header("x-should-retry"), Some("false"));
            let answer = response.json().unwrap();
            let text = answer["error"]["message"].as_str().unwrap();
            assert!(text.contains(mistake), "{path}: {text}");
            assert!(text.ends_with(&format!("base URL is http://{addr}{base}")), "{path}: {text}");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_path_that_an_option_would_allow_names_the_option() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let running = serve(&service(&upstream.url())).await;
    let files = Request::get("/v1/files?limit=1").bearer(USER_TOKEN);
    let response = Protocol::Http1.send(running.addr().unwrap(), &files).await;
    let text = final_refusal(&response, 404, "not_found_error");
    assert!(text.contains("the option \"paths\""), "{text}");

    // The service's option holds for everybody.
    let open = with(service(&upstream.url()), json!({ "users": [], "paths": "/v1/files" }));
    let running = serve(&open).await;
    assert_eq!(Protocol::Http1.send(running.addr().unwrap(), &files).await.status(), 200);
    assert_eq!(upstream.next_request().await.unwrap().target, "/v1/files?limit=1");
    let other = Request::get("/v1/files/1").bearer(USER_TOKEN);
    final_refusal(&Protocol::Http1.send(running.addr().unwrap(), &other).await, 404, "not_found_error");
    let with_users = serve(&with(service(&upstream.url()), json!({ "paths": "/v1/files" }))).await;
    assert_eq!(Protocol::Http2.send(with_users.addr().unwrap(), &files).await.status(), 200);
}

#[tokio::test]
async fn telemetry_is_taken_and_dropped() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let running = serve(&service(&upstream.url())).await;
    let addr = running.addr().unwrap();
    for protocol in Protocol::BOTH {
        for path in ["/v1/metrics", "/v1/logs", "/v1/traces"] {
            let report = Request::post(path, r#"{"resourceMetrics":[]}"#)
                .set_header("content-type", "application/json")
                .bearer(USER_TOKEN);
            let response = protocol.send(addr, &report).await;
            assert_eq!((response.status(), response.text().as_str()), (200, "{}"), "{path}");
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
        let binary = Request::post("/v1/metrics", vec![0_u8; 300_000])
            .set_header("content-type", "application/x-protobuf")
            .bearer(USER_TOKEN);
        let response = protocol.send(addr, &binary).await;
        assert_eq!((response.status(), response.body().len()), (200, 0));
        assert_eq!(response.header("content-type"), Some("application/x-protobuf"));
        // Whose they are is asked as everywhere.
        final_refusal(
            &protocol.send(addr, &Request::post("/v1/metrics", "{}")).await,
            401,
            "authentication_error",
        );
        // There is nothing to manage.
        let managed = Request::get("/managed/settings").bearer(USER_TOKEN);
        final_refusal(&protocol.send(addr, &managed).await, 404, "not_found_error");
    }
    // What is announced as too large is not waited for.
    let mut connection = connect(&running).await;
    let large = Request::post("/v1/logs", vec![b' '; (8 << 20) + 1]).bearer(USER_TOKEN);
    connection.write_head(&large).await.unwrap();
    refusal(&connection.response().await.unwrap(), 413, "request_too_large");
    assert!(upstream.requests().is_empty());
}

/// The request lines of the log.
fn request_lines(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "request" || line["fields"]["message"] == "request").collect()
}

fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    if line[name].is_null() { &line["fields"][name] } else { &line[name] }
}

#[tokio::test]
async fn hints_of_a_request_pass_and_are_written_down() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let mut running = serve(&service(&upstream.url())).await;
    let addr = running.addr().unwrap();
    let prompt = "fa4e0000-0000-4000-8000-000000000001";
    let hints = [
        ("x-claude-code-request-class", "workflow"),
        ("x-claude-1p-request-class", "background-task"),
        ("x-claude-code-agent-id", "a0123456789abcdef"),
        ("x-claude-code-parent-agent-id", "afedcba9876543210"),
        ("x-claude-code-agent-type", "Explore"),
        ("x-claude-code-prompt-id", prompt),
        ("x-claude-code-prev-tool-durations", "Agent=37;Bash=12"),
        ("x-claude-code-compaction", "manual"),
        ("x-claude-code-managed-settings-checksum", "sha256:00"),
    ];
    let whole = hints.iter().fold(message(body()), |request, (name, value)| request.header(name, value));
    for request in [
        whole,
        message(body()),
        message(body()).header("x-claude-code-agent-id", "a1"),
        message(body()).header("x-claude-code-request-class", "superuser"),
    ] {
        assert_eq!(Protocol::Http1.send(addr, &request).await.status(), 200);
    }
    let first = upstream.next_request().await.unwrap();
    for (name, value) in hints {
        assert_eq!(first.headers.get(name), Some(value), "{name}");
    }
    let output = running.stop().await.unwrap();
    let lines = request_lines(&output.stderr);
    let classes: Vec<_> = lines.iter().map(|line| field(line, "class").as_str().unwrap()).collect();
    assert_eq!(classes, ["workflow", "main", "subagent", "main"], "{output:?}");
    for (name, value) in [
        ("agent", "a0123456789abcdef"),
        ("parent_agent", "afedcba9876543210"),
        ("agent_type", "Explore"),
        ("prompt", prompt),
    ] {
        assert_eq!(field(&lines[0], name), value);
        assert!(field(&lines[1], name).is_null());
    }
    assert!(!output.text().contains("superuser") && !output.text().contains("sha256:00"), "{output:?}");
}

/// Any release of a client may bring new ones; some hold the paths and rules of whoever works with it.
#[tokio::test]
async fn what_is_not_known_passes_and_is_never_written_down() {
    let upstream = Upstream::start(ok()).await.unwrap();
    let file = config(&with(
        service(&upstream.url()),
        json!({ "users": [
            { "name": "alice", "token": USER_TOKEN, "models": "claude-*" },
            { "name": "bob", "token": "token-of-bob" },
        ]}),
    ));
    let file = with(file, json!({ "log": { "level": "trace" } }));
    let mut running = trunkline().config(&file).start().await.unwrap();
    let secret = "canary-of-the-users-home";
    let sent = json!({
        "model": "claude-opus-5-5",
        "safeguards": { "cwd": secret, "rules": [secret], "git": { "status": secret } },
        "invented_member": { "deep": [secret] },
        "messages": [{ "role": "user", "content": secret, "invented": secret }],
        "stream": false,
    })
    .to_string();
    let betas = "claude-code-20250219,dangerous-tool-use-2026-09-03,invented-beta-2099-01-01";
    for (protocol, token) in Protocol::BOTH.into_iter().zip([USER_TOKEN, "token-of-bob"]) {
        let request = Request::post("/v1/messages?beta=true&invented=1", sent.clone())
            .bearer(token)
            .header("anthropic-beta", betas)
            .header("x-invented-header", secret);
        assert_eq!(protocol.send(running.addr().unwrap(), &request).await.status(), 200);
        let received = upstream.next_request().await.unwrap();
        assert_eq!(
            (received.body(), received.target.as_str()),
            (sent.clone().into(), "/v1/messages?beta=true&invented=1")
        );
        assert_eq!(received.headers.get("x-invented-header"), Some(secret));
        assert_eq!(
            received.headers.get("anthropic-beta"),
            Some(format!("{betas},oauth-2025-04-20").as_str())
        );
    }
    let output = running.stop().await.unwrap();
    assert!(!output.text().contains("canary"), "{}", output.text());
    assert_eq!(request_lines(&output.stderr).len(), 2, "{output:?}");
}

#[tokio::test]
async fn a_poll_that_fails_says_why() {
    for (script, why) in [
        (Script::text(500, "down"), "poll_failed: it was answered 500"),
        (Script::json(200, &json!(["no report"])), "poll_failed: the answer is not a usage report"),
        (Script::new().close(), "poll_failed: "),
    ] {
        let api = ClaudeApi::new([trunkline_testkit::claude::Account::new("a").access_token(OAUTH_TOKEN)]);
        for _ in 0..8 {
            api.next_on("/api/oauth/usage", script.clone());
        }
        let upstream = Upstream::start(api).await.unwrap();
        let running = serve(&service(&upstream.url())).await;
        let line = running.stderr_line(|line| line.contains("its usage cannot be polled")).await.unwrap();
        // The state is published after the line is written.
        let credentials = status_of(&running, |credentials| credentials[0]["state"] == "blocked").await;
        let told = credentials[0]["why"].as_str().unwrap();
        assert!(told.starts_with(why) && told.len() > "poll_failed: ".len(), "{told} {line}");
        assert!(!told.contains("sk-ant"), "{told}");
    }
}

#[tokio::test]
async fn check_and_doctor_say_what_is_probably_a_mistake() {
    let home = TempDir::new().unwrap();
    home.write("login/.credentials.json", "{}").unwrap();
    let service = with(
        service("https://gateway.example.com/v1"),
        json!({ "path": "/claude/v1", "credentials": [{ "tag": "main", "credential_path": home.join("login") }] }),
    );
    let expected = [
        ("services[0].path", "has /v1 in it, which clients add"),
        ("services[0].upstream.api_url", "ends in /v1, which requests add themselves"),
        (
            "services[0].credentials[0].credential_path",
            "leads to a directory; name the file in it: there is a .credentials.json",
        ),
    ];
    let run = async |args: &[&str]| {
        trunkline().args(args).config(&config(&service)).env("SSL_CERT_FILE", "").run().await.unwrap()
    };
    let output = run(&["check"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = output.stderr.join("\n");
    for (path, words) in expected {
        assert!(told.contains(&format!("{path}: {words}")), "{path}: {told}");
    }
    assert!(told.contains("environment variable SSL_CERT_FILE is empty, which counts as not set"), "{told}");

    let output = run(&["doctor", "--offline", "--json"]).await;
    let report: Value = serde_json::from_str(&output.stdout.join("\n")).unwrap();
    let warnings = crate::doctor::of_check(&report, "configuration.warning");
    for (path, words) in expected {
        let found = warnings.iter().find(|(_, found, _)| found.contains(&format!("{path}: {words}")));
        assert_eq!(
            found.map(|(level, _, remedy)| (*level, *remedy)),
            Some(("warning", Some("correct it there")))
        );
    }
    let (level, found) = crate::doctor::only(&report, "configuration.environment");
    assert!(level == "warning" && found.contains("SSL_CERT_FILE"), "{found}");
    let (level, found) = crate::doctor::only(&report, "login.file");
    assert_eq!((level, found), ("problem", "a directory stands where the login file should be"));

    let output = run(&["env", "claude"]).await;
    let told = output.stderr.join("\n");
    for (path, words) in &expected[..2] {
        assert!(told.contains(&format!("{path}: {words}")), "{path}: {told}");
    }
}
