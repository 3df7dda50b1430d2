//! How valgrind is started, and what it writes.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

const OUTPUT: &str = "callgrind.out";

/// The command prefix under which a program's instructions are counted, in files below `directory`.
pub(super) fn valgrind(directory: &Path) -> Vec<OsString> {
    let mut output = OsString::from("--callgrind-out-file=");
    output.push(directory.join(OUTPUT));
    output.push(".%p");
    vec!["valgrind".into(), "--tool=callgrind".into(), output]
}

/// The instructions of all processes together.
pub(super) fn totals(directory: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(OUTPUT) {
            sum += total(&fs::read_to_string(entry.path())?).context("valgrind wrote no total")?;
        }
    }
    ensure!(sum > 0, "valgrind wrote no counts");
    Ok(sum)
}

fn total(output: &str) -> Option<u64> {
    output.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total() {
        assert_eq!(total("version: 1\nsummary: 1\nfn=(1)\n1 2\n\ntotals: 2345\n"), Some(2345));
        assert_eq!(total("version: 1\n"), None);
    }

    #[test]
    fn adds_processes_up() {
        let directory = tempfile::tempdir().unwrap();
        assert!(totals(directory.path()).is_err());
        fs::write(directory.path().join("callgrind.out.1"), "totals: 5\n").unwrap();
        fs::write(directory.path().join("callgrind.out.2"), "totals: 7\n").unwrap();
        fs::write(directory.path().join("config"), "totals: 100\n").unwrap();
        assert_eq!(totals(directory.path()).unwrap(), 12);
        fs::write(directory.path().join("callgrind.out.3"), "").unwrap();
        assert!(totals(directory.path()).is_err());
    }
}
