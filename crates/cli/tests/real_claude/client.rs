//! The client as a process.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;
use trunkline_testkit::TempDir;

/// How long one run of the client may take. It takes seconds; on a machine that is busy with other programs several times that.
const LIMIT: Duration = Duration::from_secs(240);

/// The client with a home and a project of its own, pointed at a gateway.
pub(crate) struct Claude {
    binary: String,
    base_url: String,
    token: String,
    home: TempDir,
    variables: Vec<(&'static str, String)>,
}

/// What a run of the client came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Run {
    /// Whether it succeeded, and what it printed.
    pub(crate) fn text(&self) -> (bool, &str) {
        (self.success, self.stdout.trim())
    }

    /// Both streams.
    pub(crate) fn all(&self) -> String {
        [self.stdout.as_str(), self.stderr.as_str()].concat()
    }
}

impl Claude {
    pub(crate) fn new(binary: &str, base_url: &str, token: &str) -> Self {
        let home = TempDir::new().expect("a temporary directory");
        home.write("project/README.md", "A project of a test.\n").expect("a project");
        home.write("config/keep", "").expect("a configuration directory");
        Self {
            binary: binary.to_owned(),
            base_url: base_url.to_owned(),
            token: token.to_owned(),
            home,
            variables: Vec::new(),
        }
    }

    /// Sets a further environment variable.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs it to its end. It sees no environment but this, so no proxy and no login of whoever runs the tests.
    pub(crate) async fn run(&self, args: &[&str]) -> Run {
        let began = Instant::now();
        let child = Command::new(&self.binary)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SHELL", "/bin/bash")
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path())
            .env("CLAUDE_CONFIG_DIR", self.home.join("config"))
            .env("ANTHROPIC_BASE_URL", &self.base_url)
            .env("ANTHROPIC_AUTH_TOKEN", &self.token)
            .envs(
                [
                    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
                    "DISABLE_AUTOUPDATER",
                    "DISABLE_TELEMETRY",
                    "DISABLE_ERROR_REPORTING",
                    "DISABLE_BUG_COMMAND",
                ]
                .map(|name| (name, "1")),
            )
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .current_dir(self.home.join("project"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the client starts");
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("the client did not end within {LIMIT:?}: {args:?}"))
            .expect("the client's output");
        Run {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: began.elapsed(),
        }
    }
}
