//! `trunkline doctor` and login files: what can stand in their place, what lies beside them, and that nothing of them is
//! shown or changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use trunkline_core::provider::claude::Claude;
use trunkline_login_store::{
    Answer, Begun, Cancelled, LockProtocol, LoginStore, ProviderFormat, Reason, Sent, Waiter,
};
use trunkline_testkit::TempDir;
use trunkline_testkit::canary::{Canary, find_leaks};
use trunkline_testkit::process::Output;
use trunkline_testkit::tmp::ClaudeLogin;

use crate::doctor::{filtered, json_of, of_check, only, set_mode, small};
use crate::support::{config, service, trunkline, with};

/// Runs it with a credential for each of these directories below the home.
async fn doctor(home: &TempDir, directories: &[&str], args: &[&str]) -> Output {
    let credentials: Vec<_> = directories
        .iter()
        .map(|name| json!({ "tag": name.trim_start_matches('.'), "claude_directory": home.join(name) }))
        .collect();
    let first = directories[0].trim_start_matches('.');
    let over = json!({
        "credentials": credentials,
        "users": [{ "name": "alice", "token": "token-of-alice", "credential": first }],
    });
    let config = config(&with(small(service("http://127.0.0.1:9")), over));
    let file = home.write("trunkline.json", config.to_string()).unwrap().display().to_string();
    let args = ["doctor", "--offline", "-c", &file].into_iter().chain(args.iter().copied());
    trunkline().args(args).env("HOME", home.path()).run().await.unwrap()
}

/// The report about one login in `.claude`.
async fn report(home: &TempDir) -> Value {
    json_of(&doctor(home, &[".claude"], &["--json"]).await)
}

fn login() -> ClaudeLogin {
    ClaudeLogin::new("sk-ant-oat01-x", "sk-ant-ort01-x")
}

/// Everything below a directory, with what would show a change.
fn everything(directory: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            found.extend(everything(&path));
        }
        found.insert(path, (metadata.ino(), metadata.mtime(), metadata.ctime_nsec(), metadata.len()));
    }
    found
}

/// Makes a lock that was last touched some time ago.
fn lock(path: &Path, age: Duration) {
    fs::create_dir(path).unwrap();
    File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

/// Who refreshes in a test never waits.
struct Impatient;

impl Waiter for Impatient {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn wait(&self, _: Duration) -> Result<(), Cancelled> {
        Err(Cancelled)
    }

    fn jitter(&self, _: Duration) -> Duration {
        Duration::ZERO
    }
}

/// Brings a refresh to the point where the request is sent.
fn refreshing(file: &Path) -> Sent {
    let store = LoginStore::new(file.to_owned(), LockProtocol::Claude { config_directory: None }, None);
    match store.begin(&ProviderFormat(&Claude), &Reason::Proactive, &Impatient, &mut |_| {}).unwrap() {
        Begun::Pending(pending) => pending.sending().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whatever_stands_in_a_logins_place_is_told() {
    let home = TempDir::new().unwrap();
    let file = |name: &str| home.join(name).join(".credentials.json");
    let names = ["a-missing", "b-directory", "c-empty", "d-sparse", "e-binary", "f-broken", "g-logged-out"];
    for name in names {
        fs::create_dir(home.join(name)).unwrap();
    }
    fs::create_dir(file("b-directory")).unwrap();
    File::create(file("c-empty")).unwrap();
    File::create(file("d-sparse")).unwrap().set_len(100 << 20).unwrap();
    fs::write(file("e-binary"), b"{\"claudeAiOauth\":\xff\xfe}").unwrap();
    fs::write(file("f-broken"), "{\"claudeAiOauth\":").unwrap();
    let empty = json!({ "claudeAiOauth": { "accessToken": "", "refreshToken": "", "expiresAt": 0 } });
    fs::write(file("g-logged-out"), empty.to_string()).unwrap();
    for name in &names[2..] {
        set_mode(&file(name), 0o600);
    }
    let before = everything(home.path());
    let output = doctor(&home, &names, &["--json"]).await;
    let report = json_of(&output);
    let words: Vec<_> = of_check(&report, "login.file")
        .into_iter()
        .map(|(level, found, _)| {
            assert_eq!(level, "problem");
            found.to_owned()
        })
        .collect();
    assert_eq!(
        words,
        [
            "there is no login file",
            "a directory stands where the login file should be",
            "it is empty",
            "it is larger than 1 MiB, so it is no login",
            "it is not text",
            "the login file is not valid: not JSON at line 1, column 17",
            "logged out: the file holds no login",
        ]
    );
    assert_eq!((&report["problems"], output.status.code()), (&json!(7), Some(1)));
    let remedy = of_check(&report, "login.file")[0].2.unwrap();
    let expected =
        format!("run \"claude /login\" with CLAUDE_CONFIG_DIR={}", home.join("a-missing").display());
    assert_eq!(remedy, expected);
    let mut after = everything(home.path());
    after.remove(&home.join("trunkline.json"));
    assert_eq!(before, after, "something was changed");
}

#[tokio::test]
async fn a_machine_in_disorder_is_told_as_a_whole() {
    let home = TempDir::new().unwrap();
    let usual = login().expires_in(-7_000).write_to(&home.join(".claude")).unwrap();
    set_mode(home.path(), 0o755);
    set_mode(&usual, 0o644);
    lock(&home.join(".claude/.oauth_refresh.lock"), Duration::from_secs(7_000));
    lock(&home.join(".claude.lock"), Duration::ZERO);
    fs::write(home.join(".claude/.storage-write.lock"), "").unwrap();
    fs::write(home.join(".claude/.credentials.json.trunkline-refresh"), "nonsense").unwrap();
    fs::write(home.join(".claude/.credentials.json.trunkline-refresh.superseded"), "nonsense").unwrap();
    let other = login().expires_in(-7_000).write_to(&home.join("elsewhere")).unwrap();
    let text = fs::read_to_string(&other).unwrap().replace("sk-ant-ort01-x", "").replace("-x\"", "-y\"");
    fs::write(&other, text.replace("user:inference", "org:create_api_key")).unwrap();
    fs::create_dir(home.join("linked")).unwrap();
    symlink(&other, home.join("linked/.credentials.json")).unwrap();
    fs::create_dir_all(home.join(".local/share")).unwrap();
    fs::write(home.join(".local/share/trunkline"), "").unwrap();

    let output = doctor(&home, &[".claude", "linked"], &[]).await;
    let expected = "\
configuration (HOME/trunkline.json)
  ok       valid: # service, # credentials, # user
  ok       other users of this machine cannot read it

data directory (HOME/.local/share/trunkline)
  problem  HOME/.local/share/trunkline is not a directory
           → set another data_directory
  ok       no trunkline is running with it

login claude/claude (HOME/.claude/.credentials.json)
  ok       present, and holds a login
  warning  mode #: other users of this machine can read it
           → chmod # HOME/.claude/.credentials.json
  ok       the access token ended # h # m ago; it is refreshed when trunkline starts
  ok       a refreshed login can be written
  warning  HOME/.claude/.oauth_refresh.lock is left over: it was last touched # h # m ago
           → nothing has to be done, the next refresh takes it over; or rmdir HOME/.claude/.oauth_refresh.lock
  ok       somebody holds HOME/.claude.lock, and touched it # s ago
  problem  HOME/.claude/.storage-write.lock is no lock, but stands in the place of one: nobody can refresh the login
           → remove it, if no client is running
  warning  HOME/.claude/.credentials.json.trunkline-refresh is no journal that could be read
           → start trunkline, which keeps it aside; if the login is refused then, log in again
  warning  HOME/.claude/.credentials.json.trunkline-refresh.superseded holds the answer to a refresh that was not written, since the login had changed meanwhile
           → if the login works, remove it: it holds tokens

login claude/linked (HOME/linked/.credentials.json)
  ok       present, and holds a login
  ok       a symbolic link; it leads to HOME/elsewhere/.credentials.json
  ok       mode #
  problem  the access token ended # h # m ago, and there is no refresh token
           → run \"claude /login\" with CLAUDE_CONFIG_DIR=HOME/linked
  problem  the login is not for requests: its scopes lack user:inference
           → run \"claude /login\" with CLAUDE_CONFIG_DIR=HOME/linked
  ok       no lock is held or left over

machine
  ok       #.#.#.#:#: the system chooses the port
  ok       files can be watched
  ok       a process started here may open # files

upstreams were left out (--offline)

# problems, # warnings
";
    assert_eq!(filtered(&output, home.path()), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_refresh_under_way_and_what_it_leaves_when_it_dies_are_told_apart() {
    let home = TempDir::new().unwrap();
    let file = login().expires_in(60).write_to(&home.join(".claude")).unwrap();
    let sent = refreshing(&file);
    let report_now = report(&home).await;
    let (level, found) = only(&report_now, "login.journal");
    let process = format!("process {} is refreshing the login", std::process::id());
    assert!(level == "ok" && found.starts_with(&process), "{found}");
    let locks = of_check(&report_now, "login.locks");
    assert!(
        locks.len() == 2 && locks.iter().all(|(level, found, _)| *level == "ok" && found.contains("holds"))
    );

    // Its journal as it would stand there after the process was killed.
    let path = home.join(".claude/.credentials.json.trunkline-refresh");
    let unanswered = fs::read(&path).unwrap();
    // Looking took nothing from it: the refresh goes on.
    let raw = json!({ "access_token": "sk-ant-oat01-y", "refresh_token": "sk-ant-ort01-y" }).to_string();
    let mut sent = sent;
    sent.keep(Answer::whole(SystemTime::now(), raw.as_bytes())).unwrap();
    let answered = sent.answered(&ProviderFormat(&Claude));
    assert_eq!(answered.journalled(), Ok(()));
    let whole = fs::read(&path).unwrap();
    answered.commit(&ProviderFormat(&Claude), &Impatient).unwrap();
    assert!(!path.exists());

    fs::write(&path, unanswered).unwrap();
    let report_now = report(&home).await;
    let (level, found) = only(&report_now, "login.journal");
    assert!(level == "warning" && found.contains("no answer had come"), "{found}");

    fs::write(&path, whole).unwrap();
    let report_now = report(&home).await;
    let found = of_check(&report_now, "login.journal");
    let [("warning", found, Some(remedy))] = found.as_slice() else { panic!("{found:?}") };
    assert!(found.contains("new tokens") && remedy.contains("do not remove it"), "{found} {remedy}");
}

#[tokio::test]
async fn copies_of_a_login_are_told() {
    let home = TempDir::new().unwrap();
    login().write_to(&home.join(".claude")).unwrap();
    login().write_to(&home.join("copy")).unwrap();
    ClaudeLogin::new("sk-ant-oat01-z", "sk-ant-ort01-z").write_to(&home.join("other")).unwrap();
    fs::create_dir(home.join("hard")).unwrap();
    fs::hard_link(home.join("other/.credentials.json"), home.join("hard/.credentials.json")).unwrap();
    let output = doctor(&home, &[".claude", "copy", "other", "hard"], &["--json"]).await;
    let report = json_of(&output);
    let shared: Vec<_> = of_check(&report, "login.shared").into_iter().map(|(_, found, _)| found).collect();
    assert_eq!(
        shared,
        [
            "the file is a copy of the login of claude/claude: a refresh of one ends the other",
            "this is the login file of claude/other too",
        ]
    );
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let secrets = [
        Canary::with_prefix("sk-ant-oat01-", "access"),
        Canary::with_prefix("sk-ant-ort01-", "refresh"),
        Canary::new("user"),
        Canary::with_prefix("sk-ant-oat01-", "oauth"),
        Canary::with_prefix("sk-ant-api03-", "key"),
        Canary::new("header"),
        Canary::new("proxy"),
    ];
    let [access, refresh, user, oauth, key, header, proxy] = secrets.each_ref();
    let home = TempDir::new().unwrap();
    let whole = ClaudeLogin::new(access.token(), refresh.token()).to_json();
    let texts = [
        whole.to_string(),
        whole.to_string().replace("},", ""),
        json!({ "claudeAiOauth": access.token() }).to_string(),
        json!({ "claudeAiOauth": { "accessToken": [access.token()] } }).to_string(),
        json!({ "claudeAiOauth": { "accessToken": access.token(), "expiresAt": refresh.token() } })
            .to_string(),
        json!({ "claudeAiOauth": { "accessToken": access.token(), "scopes": [refresh.token()],
                "subscriptionType": refresh.token(), "expiresAt": 1 } })
        .to_string(),
        access.token().to_owned(),
    ];
    let mut credentials = vec![
        json!({ "tag": "oauth", "oauth_token": oauth.token() }),
        json!({ "tag": "key", "type": "api_key", "api_key": key.token() }),
    ];
    for (nth, text) in texts.iter().enumerate() {
        home.write(format!("{nth}/.credentials.json"), text).unwrap();
        let journal = format!("{nth}/.credentials.json.trunkline-refresh");
        home.write(&journal, text).unwrap();
        credentials.push(json!({ "tag": format!("{nth}"), "claude_directory": home.join(format!("{nth}")),
            "detour": "closed" }));
    }
    let over = json!({
        "credentials": credentials,
        "users": [{ "name": "alice", "token": user.token(), "credential": "key" }],
        "headers": { "x-secret": header.token() },
    });
    // Every way out ends at a closed port of this machine.
    let outbound = json!({
        "type": "http", "tag": "closed", "server": "127.0.0.1", "server_port": 9, "username": "me",
        "password": proxy.token(), "headers": { "x-secret": header.token() },
    });
    let config =
        json!({ "services": [with(small(service("http://127.0.0.1:9")), over)], "outbounds": [outbound] });
    let file = home.write("trunkline.json", config.to_string()).unwrap();
    let mut broken = config;
    broken["services"][0]["users"][0]["tokn"] = json!(user.token());
    let broken = home.write("broken.json", broken.to_string()).unwrap();
    for (file, code) in [(&file, 1), (&broken, 78)] {
        for args in [&[][..], &["--json"], &["--offline"]] {
            let command = ["doctor", "-c", file.to_str().unwrap()].into_iter().chain(args.iter().copied());
            let output = trunkline()
                .args(command)
                .env("HOME", home.path())
                .env("ALL_PROXY", format!("http://me:{}@127.0.0.1:9", proxy.token()))
                .run()
                .await
                .unwrap();
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            assert!(output.stdout.len() > 5, "{output:?}");
            assert_eq!(find_leaks(output.text().as_bytes(), &secrets), [], "{}", output.text());
        }
    }
}
