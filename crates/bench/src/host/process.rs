//! What a proxy costs: processor time and resident memory of all its processes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::number::nanos;

/// Ticks per second in `/proc/PID/stat`; part of the kernel's interface on every architecture in use.
const TICK: Duration = Duration::from_millis(10);

/// A process and everything below it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessTree {
    root: u32,
}

/// The processor time that a process tree had used at one moment.
#[derive(Debug, Default)]
pub(crate) struct CpuReading {
    /// Nanoseconds of every thread alive.
    threads: BTreeMap<(u32, u32), u64>,
    /// Ticks of every process, which include threads that have ended.
    ticks: u64,
}

// === impl ProcessTree ===

impl ProcessTree {
    /// The tree below a process.
    pub(crate) fn below(root: u32) -> Self {
        Self { root }
    }

    /// This process and everything below it.
    pub(crate) fn own() -> Self {
        Self { root: std::process::id() }
    }

    /// The processes of the tree, parents first.
    pub(crate) fn pids(self) -> Vec<u32> {
        let parents: Vec<(u32, u32)> =
            numbered("/proc").into_iter().filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect();
        let mut tree = vec![self.root];
        let mut visited = 0;
        while let Some(&parent) = tree.get(visited) {
            tree.extend(parents.iter().filter(|entry| entry.1 == parent).map(|entry| entry.0));
            visited += 1;
        }
        tree
    }

    /// The processor time used so far by the whole tree.
    pub(crate) fn cpu(self) -> CpuReading {
        CpuReading::of(&self.pids())
    }

    /// The processor time used so far by the root alone.
    pub(crate) fn root_cpu(self) -> CpuReading {
        CpuReading::of(&[self.root])
    }

    /// The resident memory of the tree in bytes; pages that processes share are counted in each.
    pub(crate) fn resident(self) -> u64 {
        self.pids().into_iter().filter_map(resident).sum()
    }

    /// Kills the tree, the root first so that it starts nothing anew.
    pub(crate) fn kill(self) {
        signal(Signal::KILL, &self.pids());
    }

    /// Asks the root to end.
    pub(crate) fn terminate(self) {
        signal(Signal::TERM, &[self.root]);
    }
}

// === impl CpuReading ===

impl CpuReading {
    fn of(pids: &[u32]) -> Self {
        let mut reading = Self::default();
        for &pid in pids {
            reading.ticks += Stat::read(pid).map_or(0, |stat| stat.ticks);
            for tid in numbered(&format!("/proc/{pid}/task")) {
                let spent = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok();
                if let Some(spent) = spent.as_deref().and_then(|text| text.split(' ').next()?.parse().ok()) {
                    reading.threads.insert((pid, tid), spent);
                }
            }
        }
        reading
    }

    /// The time used from an earlier reading to this one: exact when no thread has ended between them, otherwise
    /// to a clock tick.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let complete =
            !self.threads.is_empty() && earlier.threads.keys().all(|key| self.threads.contains_key(key));
        if complete {
            let before: u64 = earlier.threads.values().sum();
            let now: u64 = self.threads.values().sum();
            Duration::from_nanos(now.saturating_sub(before))
        } else {
            Duration::from_nanos(nanos(TICK).saturating_mul(self.ticks.saturating_sub(earlier.ticks)))
        }
    }
}

/// The fields of `/proc/PID/stat` that matter here.
struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name stands in parentheses and may itself contain any of them, so count from the last one.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks: number(11)? + number(12)? })
    }
}

fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn numbered(directory: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Sends a signal; a process that has already gone is fine.
fn signal(signal: Signal, pids: &[u32]) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_past_parentheses_in_a_name() {
        let stat = Stat::parse("7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 50 60 0 0 20 0 1 0 9").unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 110));
    }

    #[test]
    fn counts_new_threads_whole_and_falls_back_to_ticks() {
        let earlier = CpuReading { threads: BTreeMap::from([((1, 1), 100)]), ticks: 1 };
        let grown = CpuReading { threads: BTreeMap::from([((1, 1), 150), ((1, 2), 7)]), ticks: 1 };
        assert_eq!(grown.since(&earlier), Duration::from_nanos(57));
        let ended = CpuReading { threads: BTreeMap::from([((1, 3), 150)]), ticks: 4 };
        assert_eq!(ended.since(&earlier), Duration::from_millis(30));
    }

    #[test]
    fn sees_itself() {
        assert!(ProcessTree::own().resident() > 0);
        assert_eq!(ProcessTree::own().pids().first(), Some(&std::process::id()));
    }
}
