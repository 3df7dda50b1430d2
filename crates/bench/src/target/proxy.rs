//! A proxy under test, from its start to its end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::{Located, Target, configuration};
use crate::host::{Cores, ProcessTree, command};
use crate::load::{Client, messages_request};

/// How often a proxy that starts is tried; it bounds the error of the start time.
const PROBE: Duration = Duration::from_micros(200);

/// How long a proxy with several processes may take to end them.
const GRACE: Duration = Duration::from_secs(1);

/// How long until a proxy that is still there is asked to end again. nginx sleeps through a signal that comes between its
/// look for signals and its wait for events, which is likely under valgrind.
const AGAIN: Duration = Duration::from_secs(5);

/// How much of a proxy's own output is shown when it fails.
const SHOWN: usize = 2000;

const OUTPUT: &str = "output.log";

/// What starting a proxy takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    /// Where the programs are.
    pub(crate) programs: &'a Located,
    /// Which core the proxy gets.
    pub(crate) cores: Cores,
    /// Where the proxy forwards to.
    pub(crate) upstream: SocketAddr,
}

/// A running proxy with a directory of its own; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    child: Child,
    directory: TempDir,
}

// === impl Launch ===

impl Launch<'_> {
    /// Starts a proxy; it may not be ready yet.
    pub(crate) fn proxy(&self, target: Target) -> anyhow::Result<Proxy> {
        self.start(target, |_| Vec::new())
    }

    /// Starts a proxy below another program, whose command line may name the proxy's directory.
    pub(crate) fn wrapped(
        &self,
        target: Target,
        wrapper: impl FnOnce(&Path) -> Vec<OsString>,
    ) -> anyhow::Result<Proxy> {
        self.start(target, wrapper)
    }

    fn start(&self, target: Target, wrapper: impl FnOnce(&Path) -> Vec<OsString>) -> anyhow::Result<Proxy> {
        let directory = tempfile::Builder::new().prefix("trunkline-bench-").tempdir()?;
        let address = free_address()?;
        let wrapper = wrapper(directory.path());
        let single_process = !wrapper.is_empty();
        let mut words = self.cores.proxy_prefix();
        words.extend(wrapper);
        words.push(self.programs.program(target)?.into());
        words.extend(self.arguments(target, directory.path(), address, single_process)?);

        let output = File::create(directory.path().join(OUTPUT))?;
        let child = confine(&mut command(Vec::new(), words)?, directory.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("failed to start {target}"))?;
        Ok(Proxy { address, child, directory })
    }

    /// Writes the proxy's configuration and says how to start it.
    fn arguments(
        &self,
        target: Target,
        directory: &Path,
        listen: SocketAddr,
        single_process: bool,
    ) -> anyhow::Result<Vec<OsString>> {
        let file = directory.join("config");
        Ok(match target {
            Target::Direct => bail!("direct has no proxy"),
            Target::Bare => vec![
                "bare".into(),
                "--listen".into(),
                listen.to_string().into(),
                "--upstream".into(),
                self.upstream.to_string().into(),
            ],
            Target::Nginx => {
                fs::write(&file, configuration::nginx(directory, listen, self.upstream, single_process))?;
                vec!["-p".into(), directory.into(), "-e".into(), "stderr".into(), "-c".into(), file.into()]
            }
            Target::Haproxy => {
                fs::write(&file, configuration::haproxy(listen, self.upstream))?;
                // One process in the foreground.
                vec!["-db".into(), "-f".into(), file.into()]
            }
            Target::Trunkline => {
                fs::write(&file, configuration::trunkline(listen, self.upstream))?;
                vec!["serve".into(), "-c".into(), file.into()]
            }
        })
    }
}

// === impl Proxy ===

impl Proxy {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> ProcessTree {
        ProcessTree::below(self.child.id())
    }

    /// Its directory, removed when it is dropped.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until it has answered a request.
    pub(crate) async fn ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let request = messages_request(2048, 0, false);
        loop {
            let error = match Client::new(self.address).exchange(&request, |_| ()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("ended with {status} before it answered\n{}", self.output());
            }
            if Instant::now() > deadline {
                return Err(error.context(format!("not ready after {limit:?}\n{}", self.output())));
            }
            // A timer of the runtime is five times as coarse, and nothing else is waiting for this thread.
            thread::sleep(PROBE);
        }
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn end(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        self.processes().terminate();
        let mut again = Instant::now() + AGAIN;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > again {
                self.processes().terminate();
                again += AGAIN;
            }
            if Instant::now() > deadline {
                bail!("still running {limit:?} after SIGTERM\n{}", self.output());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The end of what it wrote.
    pub(crate) fn output(&self) -> String {
        let output = fs::read(self.directory.path().join(OUTPUT)).unwrap_or_default();
        let shown = output.len().saturating_sub(SHOWN);
        String::from_utf8_lossy(&output[shown..]).trim().to_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let processes = self.processes();
        if processes.pids().len() > 1 {
            // A parent that is merely killed leaves its children to whoever adopts them.
            processes.terminate();
            let deadline = Instant::now() + GRACE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(PROBE);
            }
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            processes.kill();
            drop(self.child.wait());
        }
    }
}

/// Lets the program see and leave behind nothing but its directory.
fn confine<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", path)
        .env("HOME", directory)
        .env("TMPDIR", directory)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
