//! What can go wrong the first time: each is one line that says what to do next.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};
use trunkline_testkit::TempDir;
use trunkline_testkit::process::Builder;
use trunkline_testkit::tmp::ClaudeLogin;

use crate::support::{config, service, trunkline, with};

const UPSTREAM: &str = "http://127.0.0.1:9";

/// Runs it in a home that `prepare` filled. It must fail with 78 and one line, which is returned with `HOME` for the home.
async fn refusal(prepare: impl FnOnce(&TempDir, Builder) -> Builder) -> String {
    let home = TempDir::new().unwrap();
    let path = home.path().display().to_string();
    let builder = prepare(&home, trunkline());
    let output = builder.home(home).run().await.unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    // What is probably a mistake is warned of before it turns out to be one.
    let [hints @ .., line] = output.stderr.as_slice() else { panic!("{output:?}") };
    assert!(hints.iter().all(|hint| hint.contains("leads to a directory")), "{output:?}");
    line.replace(&path, "HOME")
}

/// The same with a service.
async fn refusal_of(over: Value) -> String {
    refusal(|_, builder| builder.config(&config(&with(service(UPSTREAM), over)))).await
}

#[tokio::test]
async fn a_port_in_use_tells_who_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = refusal_of(json!({ "listen_port": port })).await;
    let by = if cfg!(target_os = "linux") {
        let process = std::process::id();
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap();
        format!("by {} (process {process}): stop it", name.trim())
    } else {
        ", perhaps by another trunkline: stop that".to_owned()
    };
    assert_eq!(
        line,
        format!(
            "trunkline: cannot listen on 127.0.0.1:{port}: the port is in use {by}, or choose another with --listen or \
             listen_port"
        )
    );
}

#[tokio::test]
async fn an_address_of_another_machine() {
    assert_eq!(
        refusal_of(json!({ "listen": "192.0.2.1" })).await,
        "trunkline: cannot listen on 192.0.2.1:0: this machine does not have that address: change --listen or listen"
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read() {
    for command in ["serve", "check"] {
        let missing = refusal(|_, builder| builder.args([command, "-c", "nowhere.json"])).await;
        assert_eq!(
            missing,
            "trunkline: nowhere.json (named by -c): there is no such file; create it, or correct the path"
        );
    }
    let variable =
        refusal(|_, builder| builder.args(["serve"]).env("TRUNKLINE_CONFIG", "nowhere.json")).await;
    assert_eq!(
        variable,
        "trunkline: nowhere.json (named by TRUNKLINE_CONFIG): there is no such file; create it, or correct the path"
    );
    let directory = refusal(|home, builder| builder.args(["serve", "-c"]).arg(home.path())).await;
    assert_eq!(directory, "trunkline: HOME (named by -c): is a directory; name the file in it");
    let binary = refusal(|home, builder| {
        home.write("x.json", b"\xff\xfe").unwrap();
        builder.args(["serve", "-c", "x.json"])
    })
    .await;
    assert!(binary.starts_with("trunkline: x.json (named by -c): cannot be read: "), "{binary}");
    assert!(binary.ends_with("it should be a small text file in UTF-8"), "{binary}");
}

#[tokio::test]
async fn a_configuration_that_leads_nowhere_is_not_passed_over() {
    let dangling = refusal(|home, builder| {
        symlink("gone", home.join("trunkline.json")).unwrap();
        builder.args(["serve"])
    })
    .await;
    assert_eq!(
        dangling,
        "trunkline: HOME/trunkline.json: there is no such file; create it, or correct the path"
    );
}

#[tokio::test]
async fn a_reference_that_leads_nowhere() {
    let text = |token: &str| {
        let service = with(service(UPSTREAM), json!({ "users": [{ "name": "alice", "token": token }] }));
        config(&service)
    };
    for (token, expected) in [
        ("${GONE}", "the environment variable GONE is not set; set it where trunkline is started"),
        ("${file:gone}", "HOME/gone: there is no such file; create it, or correct the path"),
        ("${file:.}", "HOME: is a directory; name the file in it"),
    ] {
        let home = TempDir::new().unwrap();
        let path = home.path().display().to_string();
        let output = trunkline().config(&text(token)).home(home).run().await.unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let [line] = output.stderr.as_slice() else { panic!("{output:?}") };
        let line = line.replace(&path, "HOME");
        let (place, problem) = line.split_once("services[0].users[0].token: ").expect(&line);
        assert_eq!(problem, expected);
        assert!(place.starts_with("trunkline: HOME/trunkline.json: line 1, column "), "{place}");
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written() {
    let line = refusal(|home, builder| {
        home.write("file", "").unwrap();
        builder.config(&with(config(&service(UPSTREAM)), json!({ "log": { "output": "file/log" } })))
    })
    .await;
    assert_eq!(
        line,
        "trunkline: log.output: HOME/file/log cannot be written (not a directory): choose a file in a directory that this \
         user may write to, or leave it out for standard error"
    );
}

#[tokio::test]
async fn certificates_that_cannot_be_read() {
    for (certificate, key, expected) in [
        (
            "gone.pem",
            "gone.pem",
            "tls.certificate_path: HOME/gone.pem: there is no such file; create it, or correct the path",
        ),
        (
            "good.pem",
            "gone.pem",
            "tls.key_path: HOME/gone.pem: there is no such file; create it, or correct the path",
        ),
        (
            "empty.pem",
            "gone.pem",
            "tls.certificate_path: HOME/empty.pem: there is no certificate in it; name the PEM file that holds the chain",
        ),
        (
            "good.pem",
            "empty.pem",
            "tls.key_path: HOME/empty.pem: there is none in it; name the PEM file that holds it",
        ),
        (".", "gone.pem", "tls.certificate_path: HOME: is a directory; name the file in it"),
        (
            "cut.pem",
            "gone.pem",
            "tls.certificate_path: HOME/cut.pem: is no PEM file that can be used; it is damaged or cut off",
        ),
    ] {
        let line = refusal(|home, builder| {
            let leaf = trunkline_testkit::Authority::new().unwrap().issue(&["localhost"]).unwrap();
            home.write("cut.pem", &leaf.cert_pem[..80]).unwrap();
            home.write("good.pem", leaf.cert_pem).unwrap();
            home.write("empty.pem", "").unwrap();
            let tls = json!({ "enabled": true, "certificate_path": certificate, "key_path": key });
            builder.config(&config(&with(service(UPSTREAM), json!({ "tls": tls }))))
        })
        .await;
        assert_eq!(line, format!("trunkline: service claude: {expected}"));
    }
}

/// What the banner says of the one credential.
async fn login(prepare: impl FnOnce(&Path)) -> String {
    let home = TempDir::new().unwrap();
    let path = home.path().display().to_string();
    prepare(&home.join(".claude"));
    // Nothing of a test goes anywhere else.
    let urls = json!({ "api_url": UPSTREAM, "token_url": UPSTREAM });
    let without = with(service(UPSTREAM), json!({ "credentials": [], "upstream": urls }));
    let trunkline = trunkline().config(&config(&without)).home(home).start().await.unwrap();
    let line = trunkline.stdout_line(|line| line.starts_with("  credential ")).await.unwrap();
    line.replace(&path, "HOME")
}

#[tokio::test]
async fn a_login_that_cannot_be_used_is_waited_for() {
    let file = |content: &'static str| {
        move |directory: &Path| {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(".credentials.json"), content).unwrap();
        }
    };
    let missing = login(|_| {}).await;
    let expired = login(|directory| {
        ClaudeLogin::new("sk-ant-oat01-old", "refresh").expires_in(-60).write_to(directory).unwrap();
    })
    .await;
    let broken = login(file("{\"claudeAiOauth\": ")).await;
    let logged_out = login(file("{\"claudeAiOauth\": {\"accessToken\": \"\"}}")).await;
    let directory = login(|directory| fs::create_dir_all(directory.join(".credentials.json")).unwrap()).await;
    for (line, why) in [
        (missing, "no login file: run \"claude /login\""),
        (expired, "its login is being refreshed"),
        (broken, "the login file is not valid: not JSON at line 1, column 18: run \"claude /login\""),
        (logged_out, "the login file holds no login (logged out): run \"claude /login\""),
        (
            directory,
            "what stands in the login file's place is not a file; remove it and log in with the client",
        ),
    ] {
        assert_eq!(
            line,
            format!(
                "  credential default: login file HOME/.claude/.credentials.json: {why} (waiting for it)"
            )
        );
    }
}

#[tokio::test]
async fn a_home_that_cannot_be_written_to() {
    let text = config(&service(UPSTREAM));
    let line = refusal(|_, builder| builder.config(&text).env("HOME", "/dev/null/home")).await;
    assert_eq!(
        line,
        "trunkline: data directory /dev/null/home/.local/share/trunkline: Not a directory (os error 20): set \
         data_directory to one that this user can write"
    );
    // Nothing else needs the home.
    let elsewhere = TempDir::new().unwrap();
    let text = with(text, json!({ "data_directory": elsewhere.path() }));
    let mut trunkline = trunkline().config(&text).env("HOME", "/dev/null/home").start().await.unwrap();
    assert_eq!(trunkline.stop().await.unwrap().status.code(), Some(0));
}

#[tokio::test]
async fn files_that_others_can_read_are_warned_of() {
    let home = TempDir::new().unwrap();
    let login = ClaudeLogin::new("access", "refresh").write_to(&home.join(".claude")).unwrap();
    let file =
        home.write("open.json", config(&with(service(UPSTREAM), json!({ "credentials": [] }))).to_string());
    let file = file.unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(home.path(), 0o755);
    mode(&home.join(".claude"), 0o755);
    let told = |what: &str, path: &Path| {
        let path = path.display();
        format!("{path}: other users of this machine can read this {what}: chmod 600 {path}")
    };
    let expected = [told("configuration", &file), told("login file", &login)];

    mode(&file, 0o644);
    mode(&login, 0o644);
    let checked = trunkline().args(["check", "-c"]).arg(&file).env("HOME", home.path()).run().await.unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert_eq!(checked.stderr, expected.each_ref().map(|line| format!("warning: {line}")));
    let serve = trunkline().args(["serve", "-c"]).arg(&file).env("HOME", home.path()).start().await.unwrap();
    for line in &expected {
        serve.stderr_line(|said| said.contains("WARN") && said.contains(line)).await.unwrap();
    }

    mode(&file, 0o600);
    mode(&login, 0o600);
    let checked = trunkline().args(["check", "-c"]).arg(&file).env("HOME", home.path()).run().await.unwrap();
    assert!(checked.stderr.is_empty(), "{checked:?}");
}
