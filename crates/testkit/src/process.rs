//! The real binary, run for end-to-end tests.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::log::Log;
use crate::signal::bounded;
use crate::tmp::TempDir;

/// A running `trunkline`, which is killed when dropped. Its environment is `PATH` and a `HOME` of its own.
pub struct Trunkline {
    child: Child,
    home: TempDir,
    addrs: Vec<SocketAddr>,
    stdout: Arc<Log<String>>,
    stderr: Arc<Log<String>>,
    readers: JoinSet<()>,
}

/// What a [`Trunkline`] is started with.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    binary: PathBuf,
    config: Option<String>,
    args: Option<Vec<OsString>>,
    more_args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    home: Option<TempDir>,
    user: Option<u32>,
    umask: Option<&'static str>,
    listeners: usize,
}

/// Everything that a process wrote, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// The lines of its standard output.
    pub stdout: Vec<String>,
    /// The lines of its standard error.
    pub stderr: Vec<String>,
}

impl Output {
    /// Both streams as one text, standard output first: for [`crate::canary::find_leaks`].
    pub fn text(&self) -> String {
        [self.stdout.join("\n"), self.stderr.join("\n")].join("\n")
    }
}

impl Builder {
    /// The configuration, written to `trunkline.json` in the home directory; `listen_port` should be 0.
    pub fn config(self, config: &Value) -> Self {
        self.config_text(config.to_string())
    }

    /// The configuration as text.
    pub fn config_text(mut self, config: impl Into<String>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// The whole command line, instead of `serve -c CONFIG`.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args = Some(args.into_iter().map(|arg| arg.as_ref().to_owned()).collect());
        self
    }

    /// One more argument behind the others.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.more_args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// A home directory that was prepared, for instance with login files, instead of an empty one.
    pub fn home(mut self, home: TempDir) -> Self {
        self.home = Some(home);
        self
    }

    /// Runs it as this user and the group of the same number, which needs root. The binary is taken into the home directory,
    /// which becomes the user's, so that it is within reach.
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Starts it with this umask, in octal.
    pub fn umask(mut self, mask: &'static str) -> Self {
        self.umask = Some(mask);
        self
    }

    /// How many listening addresses [`Builder::start`] waits for; 1 at first.
    pub fn listeners(mut self, count: usize) -> Self {
        self.listeners = count;
        self
    }

    /// Starts it and waits until it says where it listens.
    pub async fn start(self) -> io::Result<Trunkline> {
        let listeners = self.listeners;
        let mut process = self.spawn()?;
        for nth in 0..listeners {
            process.await_listener(nth).await?;
        }
        Ok(process)
    }

    /// Runs it to its end, for commands that do not serve.
    pub async fn run(self) -> io::Result<Output> {
        self.spawn()?.wait_exit().await
    }

    /// Starts it and waits for nothing.
    pub fn spawn(self) -> io::Result<Trunkline> {
        let home = self.home.map_or_else(TempDir::new, Ok)?;
        let mut args = self.args.unwrap_or_else(|| vec!["serve".into()]);
        if let Some(config) = &self.config {
            let path = home.write("trunkline.json", config)?;
            args.extend(["-c".into(), path.into_os_string()]);
        }
        args.extend(self.more_args);
        let mut command = match self.user {
            None => match self.umask {
                None => Command::new(&self.binary),
                Some(mask) => {
                    let mut shell = Command::new("sh");
                    shell.args(["-c", "umask \"$0\" && exec \"$@\"", mask]).arg(&self.binary);
                    shell
                }
            },
            Some(id) => {
                let binary = within_reach(&self.binary, home.path(), id)?;
                let mut command = Command::new(binary);
                command.uid(id).gid(id);
                command
            }
        };
        let mut child = command
            .args(args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", home.path())
            .envs(self.env)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.binary.display())))?;
        let (stdout, stderr) = (Arc::new(Log::new()), Arc::new(Log::new()));
        let mut readers = JoinSet::new();
        if let Some(stream) = child.stdout.take() {
            readers.spawn(collect(stream, Arc::clone(&stdout)));
        }
        if let Some(stream) = child.stderr.take() {
            readers.spawn(collect(stream, Arc::clone(&stderr)));
        }
        Ok(Trunkline { child, home, addrs: Vec::new(), stdout, stderr, readers })
    }
}

impl Trunkline {
    /// Prepares to run the binary at `binary`: in an integration test `env!("CARGO_BIN_EXE_trunkline")`.
    pub fn builder(binary: impl AsRef<Path>) -> Builder {
        Builder {
            binary: binary.as_ref().to_owned(),
            config: None,
            args: None,
            more_args: Vec::new(),
            env: Vec::new(),
            home: None,
            user: None,
            umask: None,
            listeners: 1,
        }
    }

    /// The first address that it listens on. An error if it was started without waiting for one.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.addrs
            .first()
            .copied()
            .ok_or_else(|| io::Error::other("it was not waited for a listening address"))
    }

    /// Every address that was waited for, in the order in which they were told.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Its process id; `None` when it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its home directory.
    pub fn home(&self) -> &TempDir {
        &self.home
    }

    /// The lines of its standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.snapshot()
    }

    /// The lines of its standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.snapshot()
    }

    /// The first line of standard output, past or future, that `wanted` picks.
    pub async fn stdout_line(&self, wanted: impl Fn(&str) -> bool) -> io::Result<String> {
        self.explained(self.stdout.wait_for("a line on stdout", |line| wanted(line)).await)
    }

    /// The first line of standard error, past or future, that `wanted` picks.
    pub async fn stderr_line(&self, wanted: impl Fn(&str) -> bool) -> io::Result<String> {
        self.explained(self.stderr.wait_for("a line on stderr", |line| wanted(line)).await)
    }

    /// The line of standard error, past or future, that is the one with this number (from 1) among those `wanted` picks.
    pub async fn nth_stderr_line(&self, nth: usize, wanted: impl Fn(&str) -> bool) -> io::Result<String> {
        let found = std::cell::Cell::new(0);
        let is_it = |line: &String| {
            found.set(found.get() + usize::from(wanted(line)));
            wanted(line) && found.get() == nth
        };
        self.explained(self.stderr.wait_for("a further line on stderr", is_it).await)
    }

    /// Like [`Self::stderr_line`]; `None` if it ends before.
    pub async fn stderr_line_or_end(&mut self, wanted: impl Fn(&str) -> bool) -> io::Result<Option<String>> {
        tokio::select! {
            line = self.stderr.wait_for("a line on stderr", |line: &String| wanted(line)) => {
                self.explained(line).map(Some)
            }
            ended = self.child.wait() => ended.map(|_| None),
        }
    }

    /// Ends it at once (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Sends a signal, such as `TERM`, `HUP` or `INT`.
    pub async fn signal(&self, name: &str) -> io::Result<()> {
        let pid =
            self.pid().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process has ended"))?;
        let mut kill = Command::new("kill");
        let status = kill.arg(format!("-{name}")).arg(pid.to_string()).stdin(Stdio::null()).status();
        let status = bounded("kill", status).await??;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -{name} {pid}: {status}"))) }
    }

    /// Waits until it has ended and all of its output is read.
    pub async fn wait_exit(&mut self) -> io::Result<Output> {
        let status = bounded("the process to end", self.child.wait()).await;
        let status = self.explained(status)??;
        // A grandchild could hold the pipes open: the bound covers that too.
        bounded("the output to end", async { while self.readers.join_next().await.is_some() {} }).await?;
        Ok(Output { status, stdout: self.stdout(), stderr: self.stderr() })
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn stop(&mut self) -> io::Result<Output> {
        self.signal("TERM").await?;
        self.wait_exit().await
    }

    async fn await_listener(&mut self, nth: usize) -> io::Result<()> {
        let told = |line: &String| listening_addr(line).filter(|addr| !self.addrs.contains(addr));
        let line = tokio::select! {
            line = self.stderr.wait_for("a listening address", |line| told(line).is_some()) => self.explained(line)?,
            status = self.child.wait() => {
                let status = status?;
                bounded("the output to end", async { while self.readers.join_next().await.is_some() {} }).await?;
                return self.explained(Err(io::Error::other(format!("it ended ({status}) before listener {nth}"))));
            }
        };
        if let Some(addr) = told(&line) {
            self.addrs.push(addr);
        }
        Ok(())
    }

    /// Adds what the process wrote to an error, for the test's report.
    fn explained<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            io::Error::new(error.kind(), format!("{error}; its standard error: {:#?}", self.stderr()))
        })
    }
}

impl fmt::Debug for Trunkline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trunkline")
            .field("pid", &self.pid())
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

/// The address in a line that tells where the program listens: what follows `http://` or `https://` behind the
/// word `listening`, in a pretty log line as well as in JSON.
pub fn listening_addr(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening")?;
    let (_, rest) = rest.split_once("http://").or_else(|| rest.split_once("https://"))?;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c))).unwrap_or(rest.len());
    rest.get(..end)?.trim_end_matches([':', '.']).parse().ok()
}

/// The binary where a user reaches it, if need be a copy in the home directory, which is given to that user with all that is in
/// it.
fn within_reach(binary: &Path, home: &Path, id: u32) -> io::Result<PathBuf> {
    use std::os::unix::fs::{PermissionsExt as _, lchown};
    lchown(home, Some(id), Some(id))?;
    for entry in std::fs::read_dir(home)? {
        lchown(entry?.path(), Some(id), Some(id))?;
    }
    let is_open = |path: &Path| path.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    if binary.ancestors().all(is_open) {
        return Ok(binary.to_owned());
    }
    let near = home.join("trunkline-binary");
    // Not by this process: a child that is started meanwhile would still have the copy open for writing.
    let copied = std::process::Command::new("cp").arg(binary).arg(&near).status()?;
    if copied.success() { Ok(near) } else { Err(io::Error::other(format!("cp: {copied}"))) }
}

async fn collect(stream: impl AsyncRead + Unpin, log: Arc<Log<String>>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = stream.read_until(b'\n', &mut line).await {
        log.push(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_both_formats() {
        let addr = |line| listening_addr(line).map(|addr| addr.to_string());
        let expected = Some("127.0.0.1:4711".to_owned());
        assert_eq!(addr("2026-11-24T20:00:00Z  INFO listening on http://127.0.0.1:4711/claude"), expected);
        assert_eq!(addr(r#"{"message":"listening","url":"https://127.0.0.1:4711"}"#), expected);
        assert_eq!(addr("listening url=http://127.0.0.1:4711. More text"), expected);
        assert_eq!(addr("listening on http://[::1]:80/").as_deref(), Some("[::1]:80"));
        assert_eq!(addr("http://127.0.0.1:4711 before listening"), None);
        assert_eq!(addr("listening on http://localhost:80"), None);
    }

    fn shell(script: &str) -> Builder {
        Trunkline::builder("/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn a_process_is_started_signalled_and_waited_for() {
        let script = "echo ready; echo 'listening on http://127.0.0.1:9' >&2; trap 'echo bye; exit 3' TERM; \
                      echo trapped; while :; do sleep 0.05; done";
        let mut process = shell(script).env("EXTRA", "1").start().await.unwrap();
        assert_eq!(process.addr().unwrap().port(), 9);
        process.stdout_line(|line| line == "trapped").await.unwrap();
        let output = process.stop().await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, ["ready", "trapped", "bye"]);
        assert!(process.pid().is_none());
        assert!(process.signal("TERM").await.is_err());
    }

    #[tokio::test]
    async fn the_environment_is_private() {
        let output = shell("env").env("EXTRA", "1").run().await.unwrap();
        let names: Vec<&str> = output.stdout.iter().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"EXTRA") && names.contains(&"HOME") && names.contains(&"PATH"));
        assert!(!names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_what_was_written() {
        let error = shell("echo 'the port is in use' >&2; exit 1").start().await.unwrap_err();
        assert!(error.to_string().contains("the port is in use"), "{error}");
    }

    #[tokio::test]
    async fn the_configuration_is_a_file() {
        let output = Trunkline::builder("/bin/sh")
            .args(["-c", "cat \"$2\"", "sh"])
            .config(&serde_json::json!({"services": []}))
            .run()
            .await
            .unwrap();
        assert_eq!(output.stdout, [r#"{"services":[]}"#]);
    }
}
