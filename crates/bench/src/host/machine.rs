//! What the figures were taken on.

use std::fs;

use serde::{Deserialize, Serialize};

use super::Cores;

/// The machine, as far as it explains a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's own name.
    pub(crate) cpu: String,
    /// The number of online cores.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// How the proxy's core is clocked; virtual machines do not tell.
    pub(crate) governor: Option<String>,
    /// The load of the last minute before the run: how much else was going on.
    pub(crate) load: Option<f64>,
    /// How load and proxy share the cores.
    pub(crate) pinning: String,
}

// === impl Machine ===

impl Machine {
    /// Describes this machine; what cannot be read is said to be unknown.
    pub(crate) fn describe(cores: Cores) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "CPU part")).unwrap_or("unknown");
        let governor =
            format!("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cores.proxy().unwrap_or(0));
        Self {
            cpu: cpu.to_owned(),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: word("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".to_owned()),
            governor: word(&governor),
            load: word("/proc/loadavg").and_then(|load| load.parse().ok()),
            pinning: cores.describe(),
        }
    }
}

/// The first word of a file.
fn word(file: &str) -> Option<String> {
    fs::read_to_string(file).ok()?.split_ascii_whitespace().next().map(str::to_owned)
}

fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_of_cpuinfo() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nflags : a b\n";
        assert_eq!(field(cpuinfo, "model name"), Some("A CPU @ 2 GHz"));
        assert_eq!(field(cpuinfo, "CPU part"), None);
    }

    #[test]
    fn describes_this_machine() {
        let machine = Machine::describe("unpinned".parse().unwrap());
        assert!(machine.cores > 0 && machine.kernel != "unknown" && machine.load.is_some());
    }
}
