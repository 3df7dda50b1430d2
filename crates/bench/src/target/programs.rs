//! Where the programs under test are and which versions they have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::Target;
use crate::args::Programs;

const TRUNKLINE: &str = "target/release/trunkline";
/// Where Debian keeps nginx, outside an ordinary user's PATH.
const NGINX: &str = "/usr/sbin/nginx";

/// The programs of the chosen targets, all of which exist.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    programs: BTreeMap<Target, PathBuf>,
}

// === impl Located ===

impl Located {
    /// Finds the programs of `targets`.
    pub(crate) fn find(programs: &Programs, targets: &[Target]) -> anyhow::Result<Self> {
        let mut located = BTreeMap::new();
        for &target in targets {
            let program = match target {
                Target::Direct => continue,
                Target::Bare => std::env::current_exe().context("failed to find the own program")?,
                Target::Nginx => nginx(programs.nginx.as_deref())?,
                Target::Trunkline => trunkline(programs.trunkline.as_deref())?,
            };
            located.insert(target, program);
        }
        Ok(Self { programs: located })
    }

    /// The program of a target.
    pub(crate) fn program(&self, target: Target) -> anyhow::Result<&Path> {
        self.programs.get(&target).map(PathBuf::as_path).with_context(|| format!("{target} has no program"))
    }

    /// What each program says its version is.
    pub(crate) fn versions(&self) -> BTreeMap<Target, String> {
        self.programs
            .iter()
            .map(|(&target, program)| {
                let option = if target == Target::Nginx { "-v" } else { "--version" };
                (target, version(program, option).unwrap_or_else(|| "unknown".to_owned()))
            })
            .collect()
    }
}

fn trunkline(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = given.unwrap_or(Path::new(TRUNKLINE));
    let Ok(path) = path.canonicalize() else {
        bail!(
            "no trunkline binary at {}: build it with `cargo build --release -p trunkline`, name one with \
             --trunkline, or leave it out with --targets direct,bare,nginx",
            path.display()
        );
    };
    Ok(path)
}

fn nginx(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        return path.canonicalize().with_context(|| format!("no nginx binary at {}", path.display()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join("nginx"))
        .chain([PathBuf::from(NGINX)])
        .find(|candidate| candidate.is_file())
        .context("no nginx in PATH: install it, name one with --nginx, or leave it out with --targets")
}

/// The first line of the answer, which nginx writes to standard error.
fn version(program: &Path, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next()?.trim();
    Some(line.strip_prefix("nginx version: ").unwrap_or(line).to_owned())
}
