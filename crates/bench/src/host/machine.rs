//! What the figures were taken on.

use std::fs;

use serde::Serialize;

/// The machine, as far as it explains a figure.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's own name.
    pub(crate) cpu: String,
    /// The number of online cores.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// How load and proxy share the cores.
    pub(crate) pinning: String,
}

// === impl Machine ===

impl Machine {
    /// Describes this machine; what cannot be read is said to be unknown.
    pub(crate) fn describe(pinning: String) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "CPU part")).unwrap_or("unknown");
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let kernel =
            fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".to_owned());
        Self { cpu: cpu.to_owned(), cores, kernel: kernel.trim().to_owned(), pinning }
    }
}

fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}
