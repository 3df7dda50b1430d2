//! What is seen of it: an introduction, then counters. On a terminal a table that is drawn over itself, else a line now
//! and then.
//!
//! It has a thread of its own: a terminal that takes no more must not hold up the server.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trunkline_core::provider::claude::Claude;
use trunkline_core::provider::{ClientMode, Provider as _};
use trunkline_testkit::ClaudeApi;

use super::scene::{Client, Scene};
use super::traffic::{Counts, Tally};
use crate::args::Shell;
use crate::command::env_lines;

/// How often the table is drawn.
const TABLE_EVERY: Duration = Duration::from_millis(500);

/// How often a line is written.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// How the counters are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// A table that is drawn over itself.
    Table,
    /// Lines.
    Lines,
}

impl Manner {
    /// A table needs a terminal that can move its cursor, and nobody else who writes to it.
    pub(super) fn of(on_terminal: bool, with_log: bool, term: Option<&str>) -> Self {
        let moves = term.is_some_and(|term| !term.is_empty() && term != "dumb");
        if on_terminal && moves && !with_log { Self::Table } else { Self::Lines }
    }
}

/// One client with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) user: &'static str,
    pub(super) credential: &'static str,
    pub(super) kind: &'static str,
    pub(super) is_driven: bool,
    pub(super) counts: Counts,
    /// Requests with this credential that the simulated provider saw.
    pub(super) seen: usize,
}

/// What is said at the beginning.
pub(super) fn introduction(scene: &Scene, url: &str, no_traffic: bool) -> String {
    let mut text = format!(
        "trunkline {} demo\n\n\
         Everything here is simulated: the provider, its accounts, keys and answers. No account is used, nothing leaves\n\
         this machine, and what it made in {} is removed at the end. Ctrl-C ends it.\n\n\
         Trunkline itself is real: it serves {url}\n\
         in front of a simulated provider at {}.\n",
        env!("CARGO_PKG_VERSION"),
        scene.directory.path().display(),
        scene.upstream.url(),
    );
    let driven: Vec<&str> =
        scene.clients.iter().filter(|client| client.is_driven).map(|client| client.name).collect();
    let _ = writeln!(
        text,
        "Its configuration: {}\nEach user has one credential in this version, none of which is shared.{}",
        scene.directory.join("trunkline.json").display(),
        if no_traffic {
            String::new()
        } else {
            format!(" The demo sends requests as {}.", driven.join(" and "))
        },
    );
    let Some(you) = scene.clients.iter().find(|client| !client.is_driven) else { return text };
    let _ = write!(
        text,
        "\nIn another terminal, as the user \"{}\":\n\n\
         curl -N {url}/v1/messages -H 'Authorization: Bearer {}' \\\n  \
         -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \\\n  \
         -d '{{\"model\":\"claude-sonnet-5\",\"max_tokens\":64,\"stream\":true,\
         \"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}'\n\n\
         or the real client, if it is installed:\n\n{}claude -p 'say hi'\n\n\
         and what it is doing:\n\ntrunkline status -c {}\n\n",
        you.name,
        you.token,
        env_lines(&Claude.client_variables(ClientMode::Gateway, url, &you.token), Shell::Bash),
        scene.directory.join("trunkline.json").display(),
    );
    text
}

/// The counters as a table. No line is wider than 80 characters.
pub(super) fn table(rows: &[Row], after: Duration) -> String {
    let mut text = format!(
        "{:<7} {:<12} {:<11} {:>8} {:>8} {:>6} {:>10} {:>8}\n",
        "user", "credential", "which is", "asked", "answered", "failed", "head after", "provider"
    );
    for row in rows {
        let Counts { asked, answered, failed, head_after } = row.counts;
        let head_after = head_after
            .map_or_else(|| "-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1000.0));
        let [asked, answered, failed] = [asked, answered, failed]
            .map(|count| if row.is_driven { count.to_string() } else { "-".to_owned() });
        let _ = writeln!(
            text,
            "{:<7} {:<12} {:<11} {asked:>8} {answered:>8} {failed:>6} {head_after:>10} {:>8}",
            row.user, row.credential, row.kind, row.seen
        );
    }
    let _ = writeln!(
        text,
        "after {} s; \"provider\" is what the simulated provider saw, yours included",
        after.as_secs()
    );
    text
}

/// The counters as a line.
pub(super) fn line(rows: &[Row], after: Duration) -> String {
    let mut text = format!("after {} s:", after.as_secs());
    for (at, row) in rows.iter().filter(|row| row.is_driven).enumerate() {
        let Counts { asked, answered, failed, .. } = row.counts;
        let separator = if at == 0 { "" } else { "," };
        let _ = write!(text, "{separator} {} {answered} of {asked} answered", row.user);
        if failed > 0 {
            let _ = write!(text, " ({failed} failed)");
        }
    }
    text.push_str("; the simulated provider saw");
    for (at, row) in rows.iter().enumerate() {
        let _ = write!(text, "{} {} of {}", if at == 0 { "" } else { "," }, row.seen, row.credential);
    }
    text.push('\n');
    text
}

/// `text` over the `above` lines that were drawn before. Lines do not wrap while it is drawn, or they would be more.
pub(super) fn over(text: &str, above: usize) -> String {
    let up = if above == 0 { String::new() } else { format!("\x1b[{above}A\r") };
    format!("{up}\x1b[?7l{}\x1b[J\x1b[?7h", text.replace('\n', "\x1b[K\n"))
}

/// The thread that shows it.
pub(super) struct Display {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Display {
    pub(super) fn start(
        manner: Manner,
        began: Instant,
        api: ClaudeApi,
        tallies: Arc<[Tally]>,
        clients: &[Client],
    ) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let cast: Vec<_> = clients
            .iter()
            .map(|client| (client.name, client.credential, client.kind, client.is_driven))
            .collect();
        let rows = move || -> Vec<Row> {
            cast.iter()
                .zip(tallies.iter())
                .map(|(&(user, credential, kind, is_driven), tally)| Row {
                    user,
                    credential,
                    kind,
                    is_driven,
                    counts: tally.counts(),
                    seen: api.served(credential),
                })
                .collect()
        };
        let every = if manner == Manner::Table { TABLE_EVERY } else { LINE_EVERY };
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || {
            // Of a table, the lines that were drawn; of lines, nothing.
            let mut above = 0;
            let mut show = || {
                let (rows, after) = (rows(), began.elapsed());
                let text = match manner {
                    Manner::Table => {
                        let table = table(&rows, after);
                        let text = over(&table, above);
                        above = table.lines().count();
                        text
                    }
                    Manner::Lines => line(&rows, after),
                };
                // Whoever read it may be gone, and the server goes on.
                let mut stdout = io::stdout().lock();
                let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
            };
            if manner == Manner::Table {
                show();
            }
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                show();
            }
            // The last numbers.
            show();
        })?;
        Ok(Self { end, thread })
    }

    /// Shows the last numbers, and ends.
    pub(super) fn end(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}
