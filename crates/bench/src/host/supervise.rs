//! A parent that outlives the measurement and leaves nothing running.
//!
//! The measuring process leads a process group that every proxy belongs to. When the parent is interrupted or dies, the
//! leader's standard input ends and it stops what it has started; when the leader hangs or dies of a signal, the
//! parent kills the group.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::cores::{Cores, command};

/// Open files that 1,000 streams need on both sides, with room to spare.
const OPEN_FILES: u64 = 8192;

/// How long the measuring process may take to stop after an interruption.
const GRACE: Duration = Duration::from_secs(3);

/// The exit code of a run that was interrupted, as shells report it.
const INTERRUPTED: u8 = 130;

/// Runs this program again, on the load core, and sees to it that nothing is left when it ends.
pub(crate) async fn supervise() -> anyhow::Result<ExitCode> {
    let cores = Cores::detect()?;
    let mut words = cores.load_prefix();
    words.extend(limit_prefix());
    let program = std::env::current_exe().context("failed to find the own program")?;
    let mut arguments = vec![program.into_os_string()];
    arguments.extend(std::env::args_os().skip(1));
    arguments.extend(["--supervised".into(), OsString::from(cores.to_string())]);

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let mut child = command(words, arguments)?.process_group(0).stdin(Stdio::piped()).spawn().context(
        "failed to start the measuring process (are taskset and prlimit of util-linux installed?)",
    )?;
    let group = child.id();
    let lifeline = child.stdin.take();
    let (ended, mut end) = oneshot::channel();
    let waiter = thread::spawn(move || drop(ended.send(child.wait())));

    let status = tokio::select! {
        status = &mut end => Some(status.context("lost the measuring process")??),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        _ = hangup.recv() => None,
    };
    drop(lifeline);
    if status.is_none() {
        // It cleans up by itself, unless it hangs.
        drop(timeout(GRACE, end).await);
    }
    if status.is_none_or(|status| status.signal().is_some()) {
        kill_group(group);
    }
    drop(waiter.join());
    Ok(status.map_or(ExitCode::from(INTERRUPTED), exit_code))
}

/// Waits until the parent has gone.
pub(crate) async fn interrupted() {
    let (gone, parent) = oneshot::channel::<()>();
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        drop(gone);
    });
    drop(parent.await);
}

fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // Already gone is as good as killed.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The prefix that raises the limit on open files, when it is too low.
fn limit_prefix() -> Vec<OsString> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match open_files(&limits) {
        Some((soft, hard)) if soft < OPEN_FILES => {
            vec!["prlimit".into(), format!("--nofile={}:", OPEN_FILES.min(hard)).into()]
        }
        _ => Vec::new(),
    }
}

/// The soft and the hard limit on open files.
fn open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut values = line.split_ascii_whitespace();
    let mut next = || match values.next()? {
        "unlimited" => Some(u64::MAX),
        value => value.parse().ok(),
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_limit_on_open_files() {
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024                 unlimited            files\n";
        assert_eq!(open_files(limits), Some((1024, u64::MAX)));
        assert_eq!(open_files(""), None);
    }
}
