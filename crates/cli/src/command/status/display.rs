//! What `trunkline status` shows to a person.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use trunkline_server::control::Event;
use trunkline_server::control::status::{CredentialStatus, ServiceStatus, Status, WindowStatus};

/// How many of the latest failovers are shown.
const FAILOVERS: usize = 5;

/// Within so many seconds a time of day is enough.
const SAME_DAY: i64 = 20 * 60 * 60;

/// How moments are told: in which zone, and how far away from now.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) zone: TimeZone,
    pub(super) now: Timestamp,
}

impl Times {
    /// As of now.
    pub(super) fn now(zone: TimeZone) -> Self {
        Self { zone, now: Timestamp::now() }
    }

    /// The time of day, to the second.
    fn clock(&self, seconds: u64) -> String {
        timestamp(seconds).map_or_else(String::new, |at| self.told(at, "%H:%M:%S"))
    }

    /// A moment; with the date if it is not within the next or last 20 hours.
    fn moment(&self, seconds: u64) -> String {
        let Some(at) = timestamp(seconds) else { return "never".to_owned() };
        let away = at.duration_since(self.now).abs().as_secs();
        self.told(at, if away < SAME_DAY { "%H:%M" } else { "%a %-d %b %H:%M" })
    }

    /// The seconds until a moment that is ahead.
    fn left(&self, seconds: u64) -> Option<u64> {
        let now = u64::try_from(self.now.as_second()).ok()?;
        seconds.checked_sub(now).filter(|left| *left > 0)
    }

    fn told(&self, at: Timestamp, format: &str) -> String {
        at.to_zoned(self.zone.clone()).strftime(format).to_string()
    }
}

fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// For a person; `None` for an event that says nothing.
pub(super) fn event_line(event: &Event, times: &Times) -> Option<String> {
    Some(match event {
        Event::Following => "changes are shown as they happen; Ctrl-C ends it\n".to_owned(),
        Event::Quiet => return None,
        Event::Missed { count } => format!("{count} changes were missed\n"),
        Event::CredentialState { at, service, credential, from, to: _, text, until } => {
            let until = until.map(|until| format!(", until {}", times.moment(until))).unwrap_or_default();
            format!("{} {service}: credential {credential}: {from} → {text}{until}\n", times.clock(*at))
        }
    })
}

/// For a person.
pub(super) fn table(status: &Status, times: &Times) -> String {
    let mut text = format!("trunkline {}, process {}", status.version, status.process);
    let _ = write!(text, ", up {}", duration(status.uptime_seconds));
    let _ = match &status.configuration {
        Some(file) => write!(text, ", configured by {file}"),
        None => write!(text, ", without a configuration file"),
    };
    text.push_str(if status.draining { ", stopping\n" } else { "\n" });
    for service in &status.services {
        text.push('\n');
        service_table(&mut text, service, times);
    }
    text
}

fn service_table(text: &mut String, service: &ServiceStatus, times: &Times) {
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
    let header = ["CREDENTIAL", "KIND", "IN FLIGHT", "REQUESTS", "SESSIONS", "5H", "WEEKLY", "STATE"];
    let rows = service.credentials.iter().map(|credential| {
        let window = |name: &str| {
            let found = credential.windows.iter().find(|window| window.window == name);
            found.map_or_else(|| "-".to_owned(), |window| window_cell(window, times))
        };
        [
            credential.tag.clone(),
            credential.kind.clone(),
            credential.in_flight.to_string(),
            credential.requests.to_string(),
            credential.sessions.to_string(),
            window("5h"),
            window("weekly"),
            state_cell(credential, times),
        ]
    });
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..7).map(width).collect();
    for row in &rows {
        text.push(' ');
        for (column, cell) in row.iter().enumerate() {
            let width = widths.get(column).copied().unwrap_or(0);
            // Numbers line up at their ends.
            let _ = match column {
                2..=4 => write!(text, " {cell:>width$} "),
                7 => write!(text, " {cell}"),
                _ => write!(text, " {cell:<width$} "),
            };
        }
        text.push('\n');
    }
    scoped_lines(text, service, times);
    counted_lines(text, service);
    failover_lines(text, service, times);
}

/// `41/99% resets 15:00`: used of what may be used.
fn window_cell(window: &WindowStatus, times: &Times) -> String {
    let Some(used) = window.used_percent else { return format!("?/{}%", window.cap_percent) };
    let mut cell = format!("{}/{}%", used.round(), window.cap_percent);
    if let Some(at) = window.resets_at {
        let _ = write!(cell, " resets {}", times.moment(at));
    }
    cell
}

fn state_cell(credential: &CredentialStatus, times: &Times) -> String {
    let mut cell = match &credential.why {
        None => credential.state.clone(),
        Some(why) => format!("{}: {why}", credential.state),
    };
    if let Some(until) = credential.until {
        let _ = write!(cell, ", until {}", times.moment(until));
        if let Some(left) = times.left(until) {
            let _ = write!(cell, " (in {})", duration(left));
        }
    }
    cell
}

/// What was counted and changed no state, for those of which anything was.
fn counted_lines(text: &mut String, service: &ServiceStatus) {
    for credential in &service.credentials {
        let failures = &credential.failures;
        let counts = [
            (failures.overloaded, "found the provider overloaded"),
            (failures.lost, "lost before the answer began"),
            (failures.no_head, "without an answer in time"),
            (failures.cut, "cut in the middle"),
            (credential.ignored_observations, "impossible values of the provider's ignored"),
        ];
        let parts: Vec<_> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !parts.is_empty() {
            let _ = writeln!(text, "  {}: {}", credential.tag, parts.join(", "));
        }
    }
}

/// Windows that bind some models only.
fn scoped_lines(text: &mut String, service: &ServiceStatus, times: &Times) {
    for credential in &service.credentials {
        for window in credential.windows.iter().filter(|window| !matches!(&*window.window, "5h" | "weekly")) {
            let _ = writeln!(text, "  {} {}: {}", credential.tag, window.window, window_cell(window, times));
        }
    }
}

fn failover_lines(text: &mut String, service: &ServiceStatus, times: &Times) {
    if service.failovers == 0 {
        return;
    }
    let _ = writeln!(
        text,
        "  {} {} went on to another credential; the latest:",
        service.failovers,
        if service.failovers == 1 { "request" } else { "requests" }
    );
    for failover in service.recent_failovers.iter().take(FAILOVERS) {
        let to = failover.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "    {} from {}{to}: {} (request {})",
            times.moment(failover.at),
            failover.from,
            failover.reason,
            failover.request
        );
    }
}

/// A duration in its two largest units.
pub(crate) fn duration(seconds: u64) -> String {
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
    use std::collections::BTreeMap;

    use super::*;
    use trunkline_server::control::status::{FailoverStatus, FailuresStatus};

    /// 2026-11-25 04:30 UTC.
    const NOW: u64 = 1_795_581_000;

    fn times() -> Times {
        Times { zone: TimeZone::UTC, now: timestamp(NOW).unwrap() }
    }

    fn credential(tag: &str, why: Option<&str>) -> CredentialStatus {
        CredentialStatus {
            tag: tag.to_owned(),
            kind: "login file".to_owned(),
            state: if why.is_none() { "usable" } else { "unavailable" }.to_owned(),
            why: why.map(str::to_owned),
            plan: Some("max".to_owned()),
            weight: 5.0,
            until: None,
            since: 0,
            entered: BTreeMap::new(),
            sessions: 3,
            windows: vec![
                WindowStatus {
                    window: "5h".to_owned(),
                    used_percent: why.is_none().then_some(40.6),
                    cap_percent: 99.0,
                    resets_at: None,
                },
                WindowStatus {
                    window: "7d_opus".to_owned(),
                    used_percent: Some(100.0),
                    cap_percent: 99.0,
                    resets_at: None,
                },
            ],
            in_flight: 1,
            requests: 1200,
            failures: FailuresStatus { cut: u64::from(why.is_none()), ..FailuresStatus::default() },
            ignored_observations: 2 * u64::from(why.is_none()),
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
                failovers: 2,
                recent_failovers: vec![FailoverStatus {
                    at: u64::MAX,
                    from: "a".to_owned(),
                    to: Some("work".to_owned()),
                    reason: "burst".to_owned(),
                    request: "req_1".to_owned(),
                }],
                credentials: vec![
                    credential("a", None),
                    credential("work", Some("no login file: run \"claude /login\"")),
                ],
            }],
        };
        assert_eq!(
            table(&status, &times()),
            "trunkline 1.2.3, process 7, up 1 h 2 m, configured by /etc/trunkline/config.json\n\
             \n\
             service claude at http://127.0.0.1:8787/claude (2 users): 1 in flight, 1200 since the start\n  \
             CREDENTIAL  KIND        IN FLIGHT  REQUESTS  SESSIONS  5H      WEEKLY  STATE\n  \
             a           login file          1      1200         3  41/99%  -       usable\n  \
             work        login file          1      1200         3  ?/99%   -       unavailable: no login file: run \"claude /login\"\n  \
             a 7d_opus: 100/99%\n  \
             work 7d_opus: 100/99%\n  \
             a: 1 cut in the middle, 2 impossible values of the provider's ignored\n  \
             2 requests went on to another credential; the latest:\n    \
             never from a to work: burst (request req_1)\n"
        );
    }

    #[test]
    fn events_are_lines_and_a_quiet_one_is_none() {
        let event = Event::CredentialState {
            at: 0,
            service: "claude".to_owned(),
            credential: "a".to_owned(),
            from: "usable".to_owned(),
            to: "rate_limited".to_owned(),
            text: "rate_limited (5h)".to_owned(),
            until: Some(u64::MAX),
        };
        let line = event_line(&event, &times()).unwrap();
        assert!(line.ends_with(" claude: credential a: usable → rate_limited (5h), until never\n"), "{line}");
        assert_eq!(event_line(&Event::Missed { count: 3 }, &times()).unwrap(), "3 changes were missed\n");
        assert_eq!(event_line(&Event::Quiet, &times()), None);
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [(0, "0 s"), (61, "1 m 1 s"), (7_260, "2 h 1 m"), (180_000, "2 d 2 h")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
