//! `trunkline status`: what the running instance is doing, at a glance.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use trunkline_server::control::{self, status::ServiceStatus, status::Status};

use super::{Failure, print};
use crate::configuration;

/// How often `--watch` asks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(super) fn run(
    file: Option<PathBuf>,
    data_directory: Option<PathBuf>,
    json: bool,
    watch: bool,
) -> Result<(), Failure> {
    let directory = match data_directory {
        Some(directory) => directory,
        None => configuration::find(file)?.config.data_directory,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    loop {
        let status =
            runtime.block_on(control::ask(&directory)).map_err(|error| Failure::other(error.to_string()))?;
        let mut text = if json { json_of(&status)? } else { table(&status) };
        if watch && !json && std::io::stdout().is_terminal() {
            text.insert_str(0, CLEAR);
        }
        print(&text)?;
        if !watch {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
    }
}

fn json_of(status: &Status) -> Result<String, Failure> {
    let mut text = serde_json::to_string(status).map_err(|error| Failure::other(error.to_string()))?;
    text.push('\n');
    Ok(text)
}

/// For a person.
fn table(status: &Status) -> String {
    let mut text = format!("trunkline {}, process {}", status.version, status.process);
    let _ = write!(text, ", up {}", duration(status.uptime_seconds));
    let _ = match &status.configuration {
        Some(file) => write!(text, ", configured by {file}"),
        None => write!(text, ", without a configuration file"),
    };
    text.push_str(if status.draining { ", stopping\n" } else { "\n" });
    for service in &status.services {
        text.push('\n');
        service_table(&mut text, service);
    }
    text
}

fn service_table(text: &mut String, service: &ServiceStatus) {
    let users = match service.users {
        0 => "no users".to_owned(),
        1 => "1 user".to_owned(),
        count => format!("{count} users"),
    };
    let _ = writeln!(
        text,
        "service {} at {} ({users}): {} in flight, {} since the start",
        service.tag, service.url, service.in_flight, service.requests
    );
    let header = ["CREDENTIAL", "KIND", "IN FLIGHT", "REQUESTS", "STATE"].map(str::to_owned);
    let rows = service.credentials.iter().map(|credential| {
        [
            credential.tag.clone(),
            credential.kind.clone(),
            credential.in_flight.to_string(),
            credential.requests.to_string(),
            match &credential.why {
                None => credential.state.clone(),
                Some(why) => format!("{}: {why}", credential.state),
            },
        ]
    });
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..4).map(width).collect();
    for row in &rows {
        text.push(' ');
        for (column, cell) in row.iter().enumerate() {
            let width = widths.get(column).copied().unwrap_or(0);
            // Numbers line up at their ends.
            let _ = match column {
                2 | 3 => write!(text, " {cell:>width$} "),
                4 => write!(text, " {cell}"),
                _ => write!(text, " {cell:<width$} "),
            };
        }
        text.push('\n');
    }
}

/// A duration in its two largest units.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} m {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} m"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_server::control::status::CredentialStatus;

    fn credential(tag: &str, why: Option<&str>) -> CredentialStatus {
        CredentialStatus {
            tag: tag.to_owned(),
            kind: "login file".to_owned(),
            state: if why.is_none() { "usable" } else { "unavailable" }.to_owned(),
            why: why.map(str::to_owned),
            plan: Some("max".to_owned()),
            weight: 5.0,
            in_flight: 1,
            requests: 1200,
        }
    }

    #[test]
    fn the_table_reads_at_a_glance() {
        let status = Status {
            version: "1.2.3".to_owned(),
            process: 7,
            uptime_seconds: 3_725,
            configuration: Some("/etc/trunkline/config.json".to_owned()),
            draining: false,
            services: vec![ServiceStatus {
                tag: "claude".to_owned(),
                provider: "claude".to_owned(),
                url: "http://127.0.0.1:8787/claude".to_owned(),
                users: 2,
                in_flight: 1,
                requests: 1200,
                credentials: vec![
                    credential("a", None),
                    credential("work", Some("no login file: run \"claude /login\"")),
                ],
            }],
        };
        assert_eq!(
            table(&status),
            "trunkline 1.2.3, process 7, up 1 h 2 m, configured by /etc/trunkline/config.json\n\
             \n\
             service claude at http://127.0.0.1:8787/claude (2 users): 1 in flight, 1200 since the start\n  \
             CREDENTIAL  KIND        IN FLIGHT  REQUESTS  STATE\n  \
             a           login file          1      1200  usable\n  \
             work        login file          1      1200  unavailable: no login file: run \"claude /login\"\n"
        );
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [(0, "0 s"), (61, "1 m 1 s"), (7_260, "2 h 1 m"), (180_000, "2 d 2 h")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
