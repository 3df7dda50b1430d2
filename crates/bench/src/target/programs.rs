//! Where the programs under test are and which versions they have.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::Target;
use crate::args::Programs;
use crate::host::first_line;

/// Where distributions keep servers, outside an ordinary user's PATH.
const SERVER_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// The programs of the chosen targets, all of which exist.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    targets: Vec<Target>,
    programs: BTreeMap<Target, PathBuf>,
    left_out: Vec<LeftOut>,
}

/// A target that is not measured because its program is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// The target.
    pub(crate) target: Target,
    /// What is missing and how to get it.
    pub(crate) reason: String,
}

// === impl Located ===

impl Located {
    /// Finds the programs of `asked`, all of which must be there; if nothing is asked for, those of every target, and
    /// baselines that are not installed are left out.
    pub(crate) fn find(programs: &Programs, asked: &[Target]) -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::find_in(programs, asked, &path, &SERVER_DIRECTORIES)
    }

    fn find_in(
        programs: &Programs,
        asked: &[Target],
        path: &OsStr,
        further: &[&str],
    ) -> anyhow::Result<Self> {
        let mut targets = if asked.is_empty() { Target::ALL.to_vec() } else { asked.to_vec() };
        targets.sort_unstable();
        targets.dedup();
        let mut located = Self { targets: Vec::new(), programs: BTreeMap::new(), left_out: Vec::new() };
        for target in targets {
            let given = match target {
                Target::Direct => {
                    located.targets.push(target);
                    continue;
                }
                Target::Bare => Some(std::env::current_exe().context("failed to find the own program")?),
                Target::Nginx => programs.nginx.clone(),
                Target::Haproxy => programs.haproxy.clone(),
                Target::Trunkline => Some(trunkline(programs.trunkline.as_deref())?),
            };
            let program = match given {
                Some(given) => given
                    .canonicalize()
                    .with_context(|| format!("no {target} binary at {}", given.display()))?,
                None => match installed(target.name(), path, further) {
                    Some(program) => program,
                    None if asked.is_empty() => {
                        located.left_out.push(LeftOut { target, reason: missing(target) });
                        continue;
                    }
                    None => bail!("{}", missing(target)),
                },
            };
            located.targets.push(target);
            located.programs.insert(target, program);
        }
        Ok(located)
    }

    /// What can be measured, in the order of the columns.
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What cannot be measured, and why.
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The program of a target.
    pub(crate) fn program(&self, target: Target) -> anyhow::Result<&Path> {
        self.programs.get(&target).map(PathBuf::as_path).with_context(|| format!("{target} has no program"))
    }

    /// What each program says its version is.
    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        for (&target, program) in &self.programs {
            let option = if matches!(target, Target::Nginx | Target::Haproxy) { "-v" } else { "--version" };
            let version = first_line(program, &[option]).unwrap_or_else(|| "unknown".to_owned());
            versions.insert(target.to_string(), shorten(&version).to_owned());
        }
        versions
    }
}

fn trunkline(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let beside =
        std::env::current_exe().context("failed to find the own program")?.with_file_name("trunkline");
    if !beside.is_file() {
        bail!(
            "no trunkline binary at {}: build it (scripts/bench does), name one with --trunkline, or leave it out \
             with --proxy",
            beside.display()
        );
    }
    Ok(beside)
}

/// The packages have the names of the programs in every larger distribution.
fn missing(target: Target) -> String {
    format!(
        "{target} is not installed: install the package `{target}` (apt-get install {target}) or name a binary \
         with --{target}"
    )
}

fn installed(name: &str, path: &OsStr, further: &[&str]) -> Option<PathBuf> {
    std::env::split_paths(path)
        .chain(further.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

fn shorten(version: &str) -> &str {
    let version = version.strip_prefix("nginx version: ").unwrap_or(version);
    version.split_once(" - ").map_or(version, |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Programs {
        // Any file that is there will do: nothing is started.
        Programs { trunkline: std::env::current_exe().ok(), ..Programs::default() }
    }

    #[test]
    fn missing_baselines_are_left_out_with_a_reason() {
        let found = Located::find_in(&programs(), &[], OsStr::new(""), &[]).unwrap();
        assert_eq!(found.targets(), [Target::Direct, Target::Bare, Target::Trunkline]);
        let left_out: Vec<Target> = found.left_out().iter().map(|left_out| left_out.target).collect();
        assert_eq!(left_out, [Target::Nginx, Target::Haproxy]);
        assert!(found.left_out()[1].reason.contains("apt-get install haproxy"));
        assert!(found.program(Target::Nginx).is_err());
    }

    #[test]
    fn what_is_asked_for_must_be_there() {
        let asked = [Target::Nginx, Target::Direct];
        let error = Located::find_in(&programs(), &asked, OsStr::new(""), &[]).unwrap_err();
        assert!(error.to_string().contains("apt-get install nginx"), "{error}");
        let named = Programs { haproxy: Some("/nowhere/haproxy".into()), ..programs() };
        let error = Located::find_in(&named, &[], OsStr::new(""), &[]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/haproxy"), "{error}");
    }

    #[test]
    fn servers_are_found_outside_the_path() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("nginx"), "").unwrap();
        let further = directory.path().to_str().unwrap();
        let found = Located::find_in(&programs(), &[Target::Nginx], OsStr::new("/nowhere"), &[further]);
        assert!(found.unwrap().program(Target::Nginx).unwrap().ends_with("nginx"));
    }

    #[test]
    fn versions_are_shortened() {
        assert_eq!(shorten("nginx version: nginx/1.22.1"), "nginx/1.22.1");
        assert_eq!(
            shorten("HAProxy version 2.6.12 2023/12/16 - https://haproxy.org/"),
            "HAProxy version 2.6.12 2023/12/16"
        );
    }
}
