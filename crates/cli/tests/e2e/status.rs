//! The control socket, the data directory, and whose address a request comes from.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use trunkline_testkit::claude::Account;
use trunkline_testkit::client::{Frame, send};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::{ClaudeApi, Script, Signal, TempDir, Trunkline, Upstream};

use crate::support::{Current, body, config, connect, message, read_bytes, serve, service, trunkline, with};

/// Runs a command with the home, and so with the data directory, of a running instance.
async fn command(running: &Trunkline, args: &[&str]) -> trunkline_testkit::process::Output {
    let file = running.home().path().join("trunkline.json");
    let mut all: Vec<String> = args.iter().map(ToString::to_string).collect();
    all.extend(["-c".to_owned(), file.display().to_string()]);
    trunkline().args(all).env("HOME", running.home().path()).run().await.unwrap()
}

fn socket(running: &Trunkline) -> std::path::PathBuf {
    running.home().path().join(".local/share/trunkline/trunkline.sock")
}

#[tokio::test]
async fn status_tells_what_runs() {
    let go_on = Signal::new();
    let answers = Current::new(Script::status(200).chunk("one").wait(&go_on).chunk("two"));
    let upstream = Upstream::start(answers).await.unwrap();
    let credentials = json!([
        { "tag": "main", "oauth_token": "x" },
        { "tag": "none", "credential_path": "/nowhere/.credentials.json" },
    ]);
    let users = json!([{ "name": "alice", "token": crate::support::USER_TOKEN, "credential": "main" }]);
    let mut running =
        serve(&with(service(&upstream.url()), json!({ "users": users, "credentials": credentials }))).await;
    let mut connection = connect(&running).await;
    connection.write_request(&message(body())).await.unwrap();
    connection.head().await.unwrap();
    assert_eq!(read_bytes(&mut connection, 3).await, "one");

    let output = command(&running, &["status", "--json"]).await;
    assert!(output.status.success(), "{output:?}");
    let status: Value = serde_json::from_str(&output.stdout.join("")).unwrap();
    assert_eq!(status["process"], json!(running.pid()));
    assert_eq!(status["draining"], false);
    let service = &status["services"][0];
    assert_eq!((&service["in_flight"], &service["requests"]), (&json!(1), &json!(1)));
    let of = |nth: usize| {
        (service["credentials"][nth]["state"].as_str(), service["credentials"][nth]["in_flight"].as_u64())
    };
    assert_eq!(of(0), (Some("usable"), Some(1)));
    assert_eq!(of(1), (Some("unavailable"), Some(0)));
    let output = command(&running, &["status"]).await;
    let text = output.stdout.join("\n");
    assert!(
        text.contains("1 in flight, 1 since the start") && text.contains("unavailable: no login file"),
        "{text}"
    );
    assert_eq!(std::fs::metadata(socket(&running)).unwrap().permissions().mode() & 0o777, 0o600);

    // While it drains it still tells; afterwards nobody is there.
    running.signal("TERM").await.unwrap();
    running.stderr_line(|line| line.contains("draining")).await.unwrap();
    let output = command(&running, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&output.stdout.join("")).unwrap();
    assert_eq!(status["draining"], true);
    go_on.set();
    assert_eq!(read_bytes(&mut connection, 3).await, "two");
    assert_eq!(connection.frame().await.unwrap(), Frame::End(trunkline_testkit::client::Ended::Complete));
    running.wait_exit().await.unwrap();
    assert!(!socket(&running).exists());
    let output = command(&running, &["status"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.join("").contains("no trunkline is running"), "{output:?}");
}

#[tokio::test]
async fn counts_survive_a_reload() {
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let before = service(&upstream.url());
    let running = trunkline().config(&config(&before)).arg("--no-watch").start().await.unwrap();
    assert_eq!(send(running.addr().unwrap(), &message(body())).await.unwrap().status(), 200);
    let after = with(before, json!({ "headers": { "x": "y" } }));
    running.home().write("trunkline.json", config(&after).to_string()).unwrap();
    running.signal("HUP").await.unwrap();
    running.stderr_line(|line| line.contains("reloaded:")).await.unwrap();
    assert_eq!(send(running.addr().unwrap(), &message(body())).await.unwrap().status(), 200);
    let output = command(&running, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&output.stdout.join("")).unwrap();
    assert_eq!(status["services"][0]["credentials"][0]["requests"], 2);
    // The connection to the provider was kept, too.
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn one_instance_has_a_data_directory() {
    let upstream = Upstream::start(Current::default()).await.unwrap();
    let mut running = serve(&service(&upstream.url())).await;
    let output = command(&running, &["serve"]).await;
    assert_eq!(output.status.code(), Some(78));
    let said = output.stderr.join("\n");
    let process = format!("(process {})", running.pid().unwrap());
    assert!(said.contains("is held by another trunkline") && said.contains(&process), "{said}");
    assert_eq!(output.stderr.len(), 1, "{said}");
    // One that was killed has let go, and its socket is no obstacle.
    running.signal("KILL").await.unwrap();
    running.wait_exit().await.unwrap();
    assert!(socket(&running).exists());
    let file = running.home().path().join("trunkline.json");
    let mut again = trunkline()
        .args(["serve", "-c", &file.display().to_string()])
        .env("HOME", running.home().path())
        .start()
        .await
        .unwrap();
    assert!(command(&running, &["status"]).await.status.success());
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_trusted_proxy_tells_the_clients_address() {
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    for (trusted, told) in [(json!(["127.0.0.0/8"]), "198.51.100.7"), (json!([]), "127.0.0.1")] {
        let config = with(
            config(&service(&upstream.url())),
            json!({ "trusted_proxies": trusted, "log": { "format": "json" } }),
        );
        let running = trunkline().config(&config).start().await.unwrap();
        let request = message(body()).header("x-forwarded-for", "203.0.113.9, 198.51.100.7");
        assert_eq!(send(running.addr().unwrap(), &request).await.unwrap().status(), 200);
        let line = running.stderr_line(|line| line.contains("\"request\"")).await.unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["client"], told);
        assert_eq!(upstream.requests().pop().unwrap().headers.get("x-forwarded-for"), None);
    }
}

#[tokio::test]
async fn both_families_are_served_and_spoken_to() {
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let port = upstream.addr().port();
    for listen in ["::", "::1"] {
        // A name has both families; the upstream listens on one of them.
        let over = json!({ "listen": listen, "upstream": { "api_url": format!("http://localhost:{port}") } });
        let running = serve(&with(service(&upstream.url()), over)).await;
        let port = running.addr().unwrap().port();
        let mut addresses = vec![format!("[::1]:{port}")];
        if listen == "::" {
            addresses.push(format!("127.0.0.1:{port}"));
        }
        for address in addresses {
            let response = send(address.parse().unwrap(), &message(body())).await.unwrap();
            assert_eq!(response.status(), 200, "{listen} {address}");
        }
    }
}

#[tokio::test]
async fn the_plan_comes_from_the_login_or_else_from_the_profile() {
    let api = ClaudeApi::new([Account::new("a")
        .access_token("sk-ant-oat01-a")
        .refresh_token("r")
        .plan("claude_max", "default_claude_max_20x")]);
    let upstream = Upstream::start(api).await.unwrap();
    let home = TempDir::new().unwrap();
    let mut told = ClaudeLogin::new("sk-ant-oat01-a", "r");
    told.subscription_type = "team".to_owned();
    let told = told.write_to(&home.join("told")).unwrap();
    let silent = home
        .write(
            "silent/.credentials.json",
            r#"{"claudeAiOauth":{"accessToken":"sk-ant-oat01-a","refreshToken":"r","expiresAt":0,"scopes":["user:inference"]}}"#,
        )
        .unwrap();
    let credentials =
        json!([{ "tag": "told", "credential_path": told }, { "tag": "silent", "credential_path": silent }]);
    let users = json!([{ "name": "alice", "token": crate::support::USER_TOKEN, "credential": "told" }]);
    let running =
        serve(&with(service(&upstream.url()), json!({ "users": users, "credentials": credentials }))).await;
    // Both are asked for once; what one says itself is not asked for.
    loop {
        let output = command(&running, &["status", "--json"]).await;
        let status: Value = serde_json::from_str(&output.stdout.join("")).unwrap();
        let of = |nth: usize| {
            let credential = &status["services"][0]["credentials"][nth];
            (credential["plan"].as_str().map(str::to_owned), credential["weight"].as_f64())
        };
        assert_eq!(of(0), (Some("team".to_owned()), Some(5.0)));
        if of(1).0.is_some() {
            assert_eq!(of(1), (Some("max".to_owned()), Some(10.0)));
            break;
        }
    }
    let asked = upstream.requests().iter().filter(|request| request.path() == "/api/oauth/profile").count();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn every_change_of_a_state_is_told_to_whoever_follows() {
    let upstream = Upstream::start(Current::new(Script::json(200, &json!({})))).await.unwrap();
    let directory = TempDir::new().unwrap();
    let login = directory.join("claude/.credentials.json");
    let credentials = json!([{ "tag": "own", "credential_path": login }]);
    let users = json!([{ "name": "alice", "token": crate::support::USER_TOKEN }]);
    let upstream_urls = json!({ "api_url": upstream.url(), "token_url": upstream.url() });
    let over = json!({ "users": users, "credentials": credentials, "upstream": upstream_urls });
    let running = serve(&with(service(&upstream.url()), over)).await;
    let file = running.home().path().join("trunkline.json").display().to_string();
    let follow = |more: &[&str]| {
        let args = ["status", "--follow", "-c", &file].into_iter().chain(more.iter().copied());
        trunkline().args(args).env("HOME", running.home().path())
    };
    let programs = follow(&["--json"]).spawn().unwrap();
    programs.stdout_line(|line| line == r#"{"event":"following"}"#).await.unwrap();
    let people = follow(&[]).spawn().unwrap();
    people.stdout_line(|line| line == "changes are shown as they happen; Ctrl-C ends it").await.unwrap();

    ClaudeLogin::new("sk-ant-oat01-canary-a", "sk-ant-ort01-canary-a")
        .write_to(&directory.join("claude"))
        .unwrap();
    let line = programs.stdout_line(|line| line.contains("credential_state")).await.unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&event["service"], &event["credential"], &event["from"], &event["to"], &event["text"]),
        (&json!("claude"), &json!("own"), &json!("unavailable"), &json!("usable"), &json!("usable"))
    );
    std::fs::remove_file(&login).unwrap();
    let line = people.stdout_line(|line| line.contains("unavailable: no login file")).await.unwrap();
    assert!(line.contains(" claude: credential own: usable → unavailable: no login file"), "{line}");

    let output = command(&running, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&output.stdout.join("")).unwrap();
    let own = &status["services"][0]["credentials"][0];
    assert_eq!((&own["entered"]["usable"], &own["entered"]["unavailable"]), (&json!(1), &json!(1)));
    assert!(own["since"].as_u64() >= event["at"].as_u64(), "{own}");

    // They end with it.
    let mut running = running;
    running.signal("TERM").await.unwrap();
    running.wait_exit().await.unwrap();
    for mut follower in [programs, people] {
        let output = follower.wait_exit().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(output.stderr, ["trunkline: note: the running trunkline has ended"], "{output:?}");
        assert!(!output.stdout.join("").contains("canary"), "{output:?}");
    }
}
