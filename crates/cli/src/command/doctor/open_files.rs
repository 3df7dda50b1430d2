//! The limit of open files, against the connections that the configuration allows.

use std::net::SocketAddr;

use trunkline_config::Config;

use super::data_directory::Instance;
use super::finding::Finding;

/// Files beside connections: listeners, logs, watches, the data directory.
const OTHERS: u64 = 64;

/// A connection of a client, and one to the provider for it.
const PER_CONNECTION: u64 = 2;

/// No limit.
const UNLIMITED: u64 = u64::MAX;

/// What findings follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    /// Connections of clients at once, on all addresses.
    connections: u64,
    /// The limit, or [`UNLIMITED`].
    limit: u64,
    /// Whether it is that of the instance that runs.
    of_instance: bool,
}

/// The finding.
pub(super) fn examine(config: &Config, instance: &Instance) -> Finding {
    let running = instance.status().and_then(|status| limit_of(status.process));
    let own = || rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(UNLIMITED);
    let limit = running.unwrap_or_else(own);
    finding(Facts { connections: connections(config), limit, of_instance: running.is_some() })
}

fn finding(facts: Facts) -> Finding {
    let check = "machine.open_files";
    let limit = facts.limit;
    if limit == UNLIMITED {
        return Finding::ok(check, "no limit of open files");
    }
    let needed = facts.connections.saturating_mul(PER_CONNECTION).saturating_add(OTHERS);
    let whose = if facts.of_instance { "the running trunkline" } else { "a process started here" };
    let found = format!("{whose} may open {limit} files");
    if limit >= needed {
        return Finding::ok(check, found);
    }
    let possible = limit.saturating_sub(OTHERS) / PER_CONNECTION;
    Finding::warning(
        check,
        format!("{found}: enough for {possible} connections, where {} are allowed", facts.connections),
        format!("ulimit -n {needed} (LimitNOFILE={needed} in a systemd unit), or lower max_connections"),
    )
}

/// Services that share an address share its connections, and the lowest of their limits counts.
fn connections(config: &Config) -> u64 {
    let mut addresses: Vec<(SocketAddr, usize)> = Vec::new();
    for service in &config.services {
        let address = SocketAddr::new(service.listen, service.listen_port);
        match addresses.iter_mut().find(|(other, _)| *other == address && address.port() != 0) {
            Some((_, most)) => *most = (*most).min(service.max_connections),
            None => addresses.push((address, service.max_connections)),
        }
    }
    addresses.iter().map(|(_, most)| *most as u64).fold(0, u64::saturating_add)
}

/// The limit of another process, where the system tells it: `Max open files  1024  524288  files`.
fn limit_of(process: u32) -> Option<u64> {
    let table = std::fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    soft_limit(&table)
}

/// `None`: the table does not tell.
fn soft_limit(table: &str) -> Option<u64> {
    let limits = table.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match limits.split_ascii_whitespace().next()? {
        "unlimited" => Some(UNLIMITED),
        limit => limit.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn the_limit_is_compared_with_the_connections() {
        let of = |limit| finding(Facts { connections: 100, limit, of_instance: false });
        assert_eq!(of(UNLIMITED).level, Level::Ok);
        assert_eq!(of(264).level, Level::Ok);
        let short = of(263);
        assert_eq!(short.level, Level::Warning);
        assert_eq!(
            short.found,
            "a process started here may open 263 files: enough for 99 connections, where 100 are allowed"
        );
        assert!(short.remedy.unwrap().contains("ulimit -n 264"));
        assert_eq!(of(0).level, Level::Warning);
    }

    #[test]
    fn the_table_of_limits_is_read() {
        let table = |limit: &str| {
            format!("Limit  Soft  Hard  Units\nMax open files            {limit}  524288  files\n")
        };
        assert_eq!(soft_limit(&table("1024")), Some(1024));
        assert_eq!(soft_limit(&table("unlimited")), Some(UNLIMITED));
        assert_eq!(soft_limit(&table("x")), None);
        assert_eq!(soft_limit(""), None);
    }
}
