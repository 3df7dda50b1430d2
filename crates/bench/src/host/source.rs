//! Which source and which tools the figures come from.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// The state of the source tree in the working directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The commit; nothing when this is no git repository.
    pub(crate) commit: Option<String>,
    /// Whether nothing differed from the commit.
    pub(crate) clean: Option<bool>,
}

// === impl Source ===

impl Source {
    /// Asks git.
    pub(crate) fn read() -> Self {
        let commit = first_line("git", &["rev-parse", "HEAD"]);
        let clean = commit.as_ref().and_then(|_| Some(answer("git", &["status", "--porcelain"])?.is_empty()));
        Self { commit, clean }
    }
}

/// The first line of what a program answers to these arguments, on standard error if nothing is on standard output.
pub(crate) fn first_line(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    answer(program, arguments)?.lines().next().map(|line| line.trim().to_owned())
}

fn answer(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_line_of_either_stream() {
        assert_eq!(first_line("sh", &["-c", "echo a; echo b; echo c >&2"]).as_deref(), Some("a"));
        assert_eq!(first_line("sh", &["-c", "echo e >&2"]).as_deref(), Some("e"));
        assert_eq!(first_line("sh", &["-c", "echo a; exit 1"]), None);
        assert_eq!(first_line("/nowhere/program", &[]), None);
    }
}
