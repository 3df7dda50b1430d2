//! `trunkline doctor`: what it finds on a machine where all is well, and where it is not.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use trunkline_testkit::ports::{ClosedPort, free_port};
use trunkline_testkit::process::Output;
use trunkline_testkit::proxy::{ProxyKind, Reaction};
use trunkline_testkit::tmp::ClaudeLogin;
use trunkline_testkit::upstream::{Behaviour, ReceivedRequest};
use trunkline_testkit::{Alpn, Authority, Proxy, Script, TempDir, Trunkline, Upstream};

use crate::support::{Current, OAUTH_TOKEN, config, service, trunkline, with};

/// The host that logins are refreshed at, which a test does not reach.
const TOKEN_HOST: &str = "platform.claude.com";

/// Answers with a `date` that is so many seconds from now.
fn dated(seconds: i64) -> impl Behaviour {
    move |_: &ReceivedRequest| {
        let now = SystemTime::now();
        let span = Duration::from_secs(seconds.unsigned_abs());
        let date = if seconds < 0 { now - span } else { now + span };
        Script::status(404).header("date", httpdate::fmt_http_date(date)).body("")
    }
}

/// One service of few connections, so that no machine has too few files for it.
pub(crate) fn small(service: Value) -> Value {
    with(service, json!({ "max_connections": 10 }))
}

async fn doctor(config: &Value, args: &[&str]) -> Output {
    let args = ["doctor"].iter().chain(args);
    trunkline().args(args).config(config).run().await.unwrap()
}

/// Like the instance's own `doctor`: with its home, and so with its data directory.
async fn doctor_beside(running: &Trunkline, args: &[&str]) -> Output {
    let file = running.home().join("trunkline.json").display().to_string();
    let args = ["doctor", "-c", &file].into_iter().chain(args.iter().copied());
    trunkline().args(args).env("HOME", running.home().path()).run().await.unwrap()
}

/// The findings of a check: level, what was found, and what to do.
pub(crate) fn of_check<'a>(report: &'a Value, check: &str) -> Vec<(&'a str, &'a str, Option<&'a str>)> {
    let findings = report["findings"].as_array().unwrap().iter();
    let text = |finding: &'a Value, name: &str| finding[name].as_str();
    findings
        .filter(|finding| finding["check"] == check)
        .map(|finding| {
            let level = text(finding, "level").unwrap();
            let remedy = text(finding, "remedy");
            assert_eq!(remedy.is_none(), level == "ok", "{finding}");
            (level, text(finding, "found").unwrap(), remedy)
        })
        .collect()
}

/// The only finding of a check.
pub(crate) fn only<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let found = of_check(report, check);
    let [(level, found, _)] = found.as_slice() else { panic!("{check}: {found:?} in {report:#}") };
    (level, found)
}

pub(crate) fn json_of(output: &Output) -> Value {
    assert!(output.stderr.is_empty(), "{output:?}");
    serde_json::from_str(&output.stdout.join("\n")).unwrap()
}

/// The report with lines that were broken put together again, and what differs from run to run taken out.
pub(crate) fn filtered(output: &Output, home: &Path) -> String {
    let mut text = String::new();
    for line in &output.stdout {
        let is_finding =
            ["ok ", "warning ", "problem "].iter().any(|level| line.trim_start().starts_with(level));
        let further =
            line.strip_prefix("  ").filter(|rest| !is_finding && !rest.trim_start().starts_with('→'));
        match further {
            Some(rest) => text = format!("{} {}", text.trim_end_matches('\n'), rest.trim_start()),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    let text = text.replace(&home.display().to_string(), "HOME");
    let mut plain = String::new();
    for letter in text.chars() {
        match letter {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain.replace("#.# s", "# ms").replace("TiB", "GiB").replace("MiB", "GiB")
}

#[tokio::test]
async fn where_all_is_well_everything_is_ok() {
    let upstream = Upstream::start_tls(dated(0), &[Alpn::H2]).await.unwrap();
    let authority = upstream.authority().unwrap().file().unwrap();
    // What is not loopback goes through the proxy of the environment, which leads to another upstream.
    let tokens = Upstream::start_tls_named(dated(0), &[Alpn::Http1], TOKEN_HOST).await.unwrap();
    let roots = tokens.authority().unwrap().file().unwrap();
    let proxy = Proxy::builder(ProxyKind::Http).to(tokens.addr()).start().await.unwrap();

    let home = TempDir::new().unwrap();
    ClaudeLogin::new("sk-ant-oat01-x", "sk-ant-ort01-x").write_to(&home.join(".claude")).unwrap();
    let service = with(
        small(service(&upstream.url())),
        json!({ "credentials": [], "upstream": { "api_url": upstream.url(), "ca_path": authority } }),
    );
    let path = home.path().to_owned();
    let output = trunkline()
        .args(["doctor"])
        .config(&config(&service))
        .env("HTTPS_PROXY", format!("http://{}", proxy.addr()))
        .env("SSL_CERT_FILE", roots)
        .home(home)
        .run()
        .await
        .unwrap();
    let expected = "\
configuration (HOME/trunkline.json)
  ok       valid: # service, # credential, # user
  ok       other users of this machine cannot read it

data directory (HOME/.local/share/trunkline)
  ok       not there yet; it is made when trunkline starts
  ok       no trunkline is running with it
  ok       # GiB free on its disk

login claude/default (HOME/.claude/.credentials.json)
  ok       present, and holds a login
  ok       mode #
  ok       the access token is good for # h # m, and can be refreshed
  ok       a refreshed login can be written
  ok       no lock is held or left over

upstream https://localhost:# (for claude/default)
  ok       localhost is #.#.#.#, found in # ms
  ok       TCP to #.#.#.#:# in # ms
  ok       TLS in # ms, with HTTP/#
  ok       it answered in # ms (status #, asked without a credential)
  ok       the clocks agree

upstream https://platform.claude.com (for claude/default, through HTTPS_PROXY (http://#.#.#.#:#))
  ok       TCP to #.#.#.#:# in # ms
  ok       HTTPS_PROXY opened the way in # ms
  ok       TLS in # ms, with HTTP/#.#
  ok       it answered in # ms (status #, asked without a credential)
  ok       the clocks agree

machine
  ok       #.#.#.#:#: the system chooses the port
  ok       files can be watched
  ok       a process started here may open # files

no problems, no warnings
";
    let found = filtered(&output, &path);
    // A name may have an address of either family, or both.
    let found = found.replace("localhost is ::#, #.#.#.#,", "localhost is #.#.#.#,");
    let found = found.replace("localhost is #.#.#.#, ::#,", "localhost is #.#.#.#,");
    assert_eq!(found, expected);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for upstream in [&upstream, &tokens] {
        let requests = upstream.requests();
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!((request.method.as_str(), request.path()), ("HEAD", "/"));
        assert_eq!(request.headers.get("accept-encoding"), Some("identity"));
        assert_eq!(request.headers.get("authorization"), None);
        assert_eq!(request.headers.get("x-api-key"), None);
        let agent = request.headers.get("user-agent").unwrap();
        assert!(agent.starts_with("trunkline/"), "{agent}");
    }
    assert_eq!(proxy.asked().len(), 1);
    assert!(!path.join(".local").exists());
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found() {
    for (seconds, level, words, code) in [
        (0, "ok", "the clocks agree", 0),
        (-10, "ok", "ahead of the provider's", 0),
        (-120, "warning", "ahead of the provider's", 0),
        (120, "warning", "behind the provider's", 0),
        (600, "problem", "refreshed at the wrong time", 1),
    ] {
        let upstream = Upstream::start(dated(seconds)).await.unwrap();
        let output = doctor(&config(&small(service(&upstream.url()))), &["--json"]).await;
        let report = json_of(&output);
        let found = only(&report, "upstream.clock");
        assert!(found.0 == level && found.1.contains(words), "{seconds}: {found:?}");
        assert_eq!((report["level"].as_str(), output.status.code()), (Some(level), Some(code)));
        assert_eq!(of_check(&report, "upstream.lookup"), []);
    }
    let undated = Upstream::start(Current::new(Script::status(200).body(""))).await.unwrap();
    let report = json_of(&doctor(&config(&small(service(&undated.url()))), &["--json"]).await);
    assert_eq!(only(&report, "upstream.clock").0, "ok");
}

#[tokio::test]
async fn each_way_to_fail_to_reach_a_provider_is_told() {
    let closed = ClosedPort::new().unwrap();
    let silent = Upstream::start(Current::new(Script::new().stall())).await.unwrap();
    let cut = Upstream::start(Current::new(Script::new().close())).await.unwrap();
    let plain = Upstream::start(dated(0)).await.unwrap();
    let as_tls = format!("https://localhost:{}", plain.addr().port());
    for (url, check, words) in [
        (format!("http://{}", closed.addr()), "upstream.connect", "refused"),
        (as_tls, "upstream.tls", "no TLS handshake within 1s"),
        (silent.url(), "upstream.answer", "no answer within 1s"),
        (cut.url(), "upstream.answer", "no answer"),
    ] {
        let over = json!({ "timeouts": { "connect": "1s" } });
        let output = doctor(&config(&with(small(service(&url)), over)), &["--json"]).await;
        let report = json_of(&output);
        let found = of_check(&report, check);
        let [.., (level, text, remedy)] = found.as_slice() else { panic!("{url}: {report:#}") };
        assert!(*level == "problem" && text.contains(words), "{url}: {found:?}");
        assert!(remedy.is_some());
        assert_eq!(output.status.code(), Some(1));
    }
}

#[tokio::test]
async fn the_way_out_is_gone_hop_by_hop() {
    let upstream = Upstream::start(dated(0)).await.unwrap();
    let proxy = Proxy::builder(ProxyKind::Socks5).login("me", "p:ss").start().await.unwrap();
    let outbound = |tag: &str, detour: Option<&str>| {
        let mut outbound = json!({
            "type": "socks", "tag": tag, "server": "127.0.0.1", "server_port": proxy.addr().port(),
            "username": "me", "password": "p:ss",
        });
        if let Some(detour) = detour {
            outbound["detour"] = json!(detour);
        }
        outbound
    };
    let mut service = small(service(&upstream.url()));
    service["credentials"][0]["detour"] = json!("second");
    let config = json!({ "services": [service], "outbounds": [outbound("first", None), outbound("second", Some("first"))] });
    let output = doctor(&config, &["--json"]).await;
    let report = json_of(&output);
    let proxies: Vec<_> = of_check(&report, "upstream.proxy").iter().map(|(level, ..)| *level).collect();
    assert_eq!(proxies, ["ok", "ok"], "{report:#}");
    assert_eq!(only(&report, "upstream.clock").0, "ok");
    let asked: Vec<_> = proxy.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked, [proxy.addr().to_string(), upstream.addr().to_string()]);
    assert!(!output.text().contains("p:ss"), "{}", output.text());

    proxy.react(Reaction::Refuse(2));
    let report = json_of(&doctor(&config, &["--json"]).await);
    let (level, found) = only(&report, "upstream.proxy");
    assert!(level == "problem" && found.starts_with("outbound first: "), "{found}");
}

#[tokio::test]
async fn a_running_instance_is_shown_and_its_port_is_its_own() {
    let upstream = Upstream::start(dated(0)).await.unwrap();
    let port = free_port().unwrap();
    let over = json!({ "listen": "127.0.0.77", "listen_port": port });
    let on_port = with(small(service(&upstream.url())), over);
    let running = trunkline().config(&config(&on_port)).start().await.unwrap();
    let before = std::fs::read_dir(running.home().join(".local/share/trunkline")).unwrap().count();
    let output = doctor_beside(&running, &["--offline", "--json"]).await;
    let report = json_of(&output);
    let (level, found) = only(&report, "data_directory.instance");
    let process = format!("process {}", running.pid().unwrap());
    assert!(level == "ok" && found.contains("is running") && found.contains(&process), "{found}");
    assert_eq!(only(&report, "machine.port").0, "ok", "{report:#}");
    assert!(only(&report, "machine.port").1.contains("held by the running trunkline"));
    assert!(only(&report, "machine.open_files").1.starts_with("the running trunkline"));
    assert_eq!((output.status.code(), &report["offline"]), (Some(0), &json!(true)));
    assert_eq!(of_check(&report, "upstream.connect"), []);
    // It left nothing there and took nothing away.
    assert_eq!(std::fs::read_dir(running.home().join(".local/share/trunkline")).unwrap().count(), before);

    // Another configuration with the same data directory.
    let other =
        running.home().write("other.json", config(&small(service(&upstream.url()))).to_string()).unwrap();
    let args = ["doctor", "--offline", "--json", "-c", &other.display().to_string()].map(str::to_owned);
    let output = trunkline().args(args).env("HOME", running.home().path()).run().await.unwrap();
    assert_eq!(only(&json_of(&output), "data_directory.configuration").0, "warning");

    // One that lies there stopped holds the directory and does not answer; here it has lost its socket.
    std::fs::remove_file(running.home().join(".local/share/trunkline/trunkline.sock")).unwrap();
    let output = doctor_beside(&running, &["--offline", "--json"]).await;
    let report = json_of(&output);
    let (level, found) = only(&report, "data_directory.instance");
    assert!(level == "problem" && found.contains(&process), "{found}");
    assert_eq!(only(&report, "machine.port").0, "problem");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_port_of_somebody_else_is_a_problem() {
    let taken = TcpListener::bind("127.0.0.78:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let over = json!({ "listen": "127.0.0.78", "listen_port": port });
    let config = config(&with(small(service("http://127.0.0.1:9")), over));
    let report = json_of(&doctor(&config, &["--offline", "--json"]).await);
    let (level, found) = only(&report, "machine.port");
    let process = format!("(process {})", std::process::id());
    assert!(level == "problem" && found.contains(&process), "{found}");
    drop(taken);
    let report = json_of(&doctor(&config, &["--offline", "--json"]).await);
    assert_eq!(only(&report, "machine.port"), ("ok", format!("127.0.0.78:{port} is free").as_str()));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_ends_with_78() {
    for (config, variable, check) in [
        (json!({ "services": [{ "type": "claude", "listen_prt": 1 }] }), "", "configuration.valid"),
        (config(&service("http://127.0.0.1:9")), "nothing://x", "configuration.environment"),
    ] {
        let builder = trunkline().args(["doctor", "--json"]).config(&config).env("HTTPS_PROXY", variable);
        let output = builder.run().await.unwrap();
        let report = json_of(&output);
        assert_eq!(output.status.code(), Some(78), "{report:#}");
        let found = of_check(&report, check);
        assert!(found.iter().any(|(level, ..)| *level == "problem"), "{report:#}");
        assert_eq!(only(&report, "machine.watches").0, "ok");
    }
    let output = trunkline().args(["doctor", "-c", "nowhere.json"]).run().await.unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.join("\n").contains("nowhere.json") && output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn the_configuration_and_the_machine_are_warned_of() {
    let home = TempDir::new().unwrap();
    let over = json!({ "tcp_fast_open": true, "max_connections": 500 });
    let file = home.write("c.json", config(&with(service("http://127.0.0.1:9"), over)).to_string()).unwrap();
    set_mode(&file, 0o644);
    set_mode(home.path(), 0o755);
    let script = "ulimit -n 256; exec \"$0\" doctor --offline --json -c \"$1\"";
    let output = Trunkline::builder("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_trunkline"), &file.display().to_string()])
        .env("TRUNKLINE_CONFIG", "/nowhere")
        .home(home)
        .run()
        .await
        .unwrap();
    let report = json_of(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(only(&report, "configuration.private").0, "warning");
    assert!(only(&report, "configuration.warning").1.contains("tcp_fast_open"));
    let (level, found) = only(&report, "machine.open_files");
    assert!(level == "warning" && found.contains("enough for 96 connections"), "{found}");
    // Tokens of the configuration are not in it.
    assert!(!output.text().contains(OAUTH_TOKEN) && !output.text().contains("token-of-alice"));
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_told() {
    let upstream = Upstream::start_tls(dated(0), &[Alpn::Http1]).await.unwrap();
    let over = json!({ "upstream": { "api_url": upstream.url(), "ca_path": "/nowhere/ca.pem" } });
    let report = json_of(&doctor(&config(&with(small(service("http://x")), over)), &["--json"]).await);
    let (level, found) = only(&report, "upstream.settings");
    assert!(level == "problem" && found.contains("/nowhere/ca.pem"), "{found}");
    // Some that can be read, but have signed nothing here.
    let other = Authority::new().unwrap();
    let others = other.file().unwrap();
    let over = json!({ "upstream": { "api_url": upstream.url(), "ca_path": others } });
    let report = json_of(&doctor(&config(&with(small(service("http://x")), over)), &["--json"]).await);
    let (level, found) = only(&report, "upstream.tls");
    assert!(level == "problem" && found.contains("certificate"), "{found}");
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
