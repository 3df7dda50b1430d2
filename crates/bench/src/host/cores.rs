//! Which core the load gets and which one the proxy.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, ensure};

/// The core of the load client and the upstream, and the core of the proxy; none on a machine with one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores(Option<Pair>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    load: u32,
    proxy: u32,
}

const UNPINNED: &str = "unpinned";

// === impl Cores ===

impl Cores {
    /// The first two cores that this process may run on.
    pub(crate) fn detect() -> anyhow::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").context("failed to read /proc/self/status")?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("no Cpus_allowed_list in /proc/self/status")?;
        let mut cores = parse_list(list.trim())?.into_iter();
        Ok(Self(match (cores.next(), cores.next()) {
            (Some(load), Some(proxy)) => Some(Pair { load, proxy }),
            _ => None,
        }))
    }

    /// The command prefix that confines a program to the load core.
    pub(crate) fn load_prefix(self) -> Vec<OsString> {
        taskset(self.0.map(|pair| pair.load))
    }

    /// The command prefix that confines a program to the proxy core.
    pub(crate) fn proxy_prefix(self) -> Vec<OsString> {
        taskset(self.0.map(|pair| pair.proxy))
    }

    /// The core of the proxy, where there is one.
    pub(crate) fn proxy(self) -> Option<u32> {
        self.0.map(|pair| pair.proxy)
    }

    /// What a reader of the report needs to know.
    pub(crate) fn describe(self) -> String {
        match self.0 {
            Some(Pair { load, proxy }) => {
                format!("load client and upstream on core {load}, proxy on core {proxy}")
            }
            None => "one core only: nothing is pinned and load and proxy compete".to_owned(),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Pair { load, proxy }) => write!(f, "{load},{proxy}"),
            None => f.write_str(UNPINNED),
        }
    }
}

impl FromStr for Cores {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text == UNPINNED {
            return Ok(Self(None));
        }
        let (load, proxy) = text.split_once(',').context("expected two cores")?;
        Ok(Self(Some(Pair { load: load.parse()?, proxy: proxy.parse()? })))
    }
}

/// A command that runs `arguments` below `prefix`.
pub(crate) fn command<I, S>(prefix: Vec<OsString>, arguments: I) -> anyhow::Result<Command>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut words =
        prefix.into_iter().chain(arguments.into_iter().map(|argument| argument.as_ref().to_os_string()));
    let mut command = Command::new(words.next().context("empty command")?);
    command.args(words);
    Ok(command)
}

fn taskset(core: Option<u32>) -> Vec<OsString> {
    core.map(|core| vec!["taskset".into(), "-c".into(), core.to_string().into()]).unwrap_or_default()
}

/// Reads a list as the kernel writes it: `0-3,8`.
fn parse_list(ranges: &str) -> anyhow::Result<Vec<u32>> {
    let mut cores = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse()?, last.parse()?);
        ensure!(first <= last, "backward core range {range}");
        cores.extend(first..=last);
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kernel_lists() {
        assert_eq!(parse_list("0-2,8").unwrap(), [0, 1, 2, 8]);
        assert_eq!(parse_list("5").unwrap(), [5]);
        assert!(parse_list("3-1").is_err());
        assert!(parse_list("").is_err());
    }

    #[test]
    fn survives_the_command_line() {
        for text in ["0,1", "unpinned"] {
            assert_eq!(text.parse::<Cores>().unwrap().to_string(), text);
        }
    }
}
