//! The client as a process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};
use trunkline_testkit::TempDir;

/// How long one run of the client may take. It takes seconds; on a machine that is busy with other programs several times that.
const LIMIT: Duration = Duration::from_secs(240);

/// The client with a home of its own, configured by the lines that `trunkline env codex` prints.
pub(crate) struct Codex {
    binary: String,
    pub(crate) home: TempDir,
}

/// What a run of the client said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) success: bool,
    /// Its events.
    pub(crate) events: Vec<Value>,
    /// Everything, as it was written.
    pub(crate) all: String,
    /// How long it took, its start included.
    pub(crate) took: Duration,
}

impl Codex {
    /// `None` if there is no client, which is said.
    pub(crate) fn new(lines: &str, supports_websockets: bool) -> Option<Self> {
        let binary = binary()?;
        let home = TempDir::new().expect("a home");
        let lines = lines
            .replace("supports_websockets = true", &format!("supports_websockets = {supports_websockets}"));
        assert!(lines.contains(&format!("supports_websockets = {supports_websockets}")), "{lines}");
        let config = format!(
            "model = \"gpt-5.5\"\ncheck_for_update_on_startup = false\n{lines}\n\n[analytics]\nenabled = false\n"
        );
        home.write("codex/config.toml", config).expect("a configuration");
        home.write("project/README.md", "A project of a test.\n").expect("a project");
        Some(Self { binary, home })
    }

    /// Starts it. It sees no environment but this, so no proxy and no login of whoever runs the tests.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        Command::new(&self.binary)
            .args(["exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELL", "/bin/bash")
            .env("TZ", "UTC")
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env("CODEX_HOME", self.home.join("codex"))
            .current_dir(self.home.join("project"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the client starts")
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Run {
        let began = Instant::now();
        let run = self.end(self.start(args)).await;
        Run { took: began.elapsed(), ..run }
    }

    /// Waits for its end.
    pub(crate) async fn end(&self, child: Child) -> Run {
        let began = Instant::now();
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("the client did not end within {LIMIT:?}"))
            .expect("the client's output");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Run {
            success: output.status.success(),
            events: stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            all: stdout + &String::from_utf8_lossy(&output.stderr),
            took: began.elapsed(),
        }
    }
}

impl Run {
    /// The texts of the items of a kind, in order.
    pub(crate) fn texts(&self, kind: &str) -> Vec<&str> {
        let items = self.events.iter().filter(|event| event["type"] == "item.completed");
        let items = items.map(|event| &event["item"]).filter(|item| item["type"] == kind);
        items
            .filter_map(|item| item["text"].as_str().or_else(|| item["aggregated_output"].as_str()))
            .collect()
    }

    /// What it complained of.
    pub(crate) fn errors(&self) -> Vec<String> {
        let is_error = |event: &&Value| {
            event["type"] == "error" || event["type"] == "turn.failed" || event["item"]["type"] == "error"
        };
        self.events.iter().filter(is_error).map(Value::to_string).collect()
    }

    /// That it failed at once, with one message that holds these words: as an error, and as the end of the turn by it. Of tries
    /// before that, all but the first on a WebSocket would have been told.
    pub(crate) fn assert_fails_at_once(&self, words: &str) {
        assert!(!self.success, "{self:?}");
        let errors = self.errors();
        assert_eq!(errors.len(), 2, "{errors:#?}");
        assert!(errors.iter().all(|error| error.contains(words)), "{words}: {errors:#?}");
        println!("told within {:?}: {}", self.took, errors[0]);
    }

    /// That it answered with these words, and complained of nothing.
    pub(crate) fn assert_says(&self, words: &str) {
        assert!(self.success, "{self:?}");
        assert_eq!(self.texts("agent_message"), [words], "{self:?}");
        assert_eq!(self.errors(), Vec::<String>::new(), "{self:?}");
    }
}

fn binary() -> Option<String> {
    if let Some(binary) = std::env::var("TRUNKLINE_CODEX").ok().filter(|binary| !binary.is_empty()) {
        return Some(binary);
    }
    let how = "TRUNKLINE_CODEX does not name the real client; run scripts/real-codex";
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty() || ci == "false"), "{how}");
    println!("SKIPPED: {how}");
    None
}
