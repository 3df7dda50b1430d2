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

use super::accounts::{ACCOUNTS, Account};
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

/// One user with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) counts: Counts,
}

/// One credential with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Credential {
    pub(super) tag: &'static str,
    pub(super) kind: &'static str,
    /// Requests with this credential that the simulated provider saw.
    pub(super) served: usize,
    /// The percent of its window that is used; `None` for one without limits.
    pub(super) used: Option<f64>,
}

/// Everything that is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    pub(super) users: Vec<User>,
    pub(super) credentials: Vec<Credential>,
    pub(super) after: Duration,
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
        "Its configuration: {}\nAll users share three credentials: a login and a token with limits, and an API key for when \
         both are used up.\nA window of five hours lasts a minute and a half here.{}",
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
        "\nIn another terminal, as the user \"{}\" (the answer's header x-trunkline-explain says why which credential):\n\n\
         curl -iN {url}/v1/messages -H 'Authorization: Bearer {}' \\\n  \
         -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' -H 'x-trunkline-explain: 1' \\\n  \
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

/// The counters as two tables. No line is wider than 80 characters.
pub(super) fn table(numbers: &Numbers) -> String {
    let mut text =
        format!("{:<12} {:>8} {:>10} {:>8} {:>12}\n", "user", "asked", "answered", "failed", "head after");
    for user in &numbers.users {
        let Counts { asked, answered, failed, head_after } = user.counts;
        let head_after = head_after
            .map_or_else(|| "-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1000.0));
        let _ = writeln!(text, "{:<12} {asked:>8} {answered:>10} {failed:>8} {head_after:>12}", user.name);
    }
    let _ = writeln!(text, "{:<12} {:>8} {:>10}  which is", "credential", "served", "used");
    for credential in &numbers.credentials {
        let used = credential.used.map_or_else(|| "no limit".to_owned(), |used| format!("{used:.0} %"));
        let (tag, served, kind) = (credential.tag, credential.served, credential.kind);
        let _ = writeln!(text, "{tag:<12} {served:>8} {used:>10}  {kind}");
    }
    let _ = writeln!(
        text,
        "after {} s; \"served\" is what the simulated provider saw, yours included",
        numbers.after.as_secs()
    );
    text
}

/// The counters as a line.
pub(super) fn line(numbers: &Numbers) -> String {
    let mut text = format!("after {} s:", numbers.after.as_secs());
    for (at, user) in numbers.users.iter().enumerate() {
        let Counts { asked, answered, failed, .. } = user.counts;
        let separator = if at == 0 { "" } else { "," };
        let _ = write!(text, "{separator} {} {answered} of {asked} answered", user.name);
        if failed > 0 {
            let _ = write!(text, " ({failed} failed)");
        }
    }
    text.push_str("; the simulated provider saw");
    for (at, credential) in numbers.credentials.iter().enumerate() {
        let separator = if at == 0 { "" } else { "," };
        let _ = write!(text, "{separator} {} of {}", credential.served, credential.tag);
        if let Some(used) = credential.used {
            let _ = write!(text, " ({used:.0} % used)");
        }
    }
    text.push('\n');
    text
}

/// `text` over the `above` lines that were drawn before. Lines do not wrap while it is drawn, or they would be more.
pub(super) fn over(text: &str, above: usize) -> String {
    let up = if above == 0 { String::new() } else { format!("\x1b[{above}A\r") };
    format!("{up}\x1b[?7l{}\x1b[J\x1b[?7h", text.replace('\n', "\x1b[K\n"))
}

/// A credential as the simulated provider has it now.
fn credential(api: &ClaudeApi, account: &Account) -> Credential {
    let Account { tag, kind, percent } = *account;
    let used = percent.map(|_| api.limits(tag).five_hour * 100.0);
    Credential { tag, kind, served: api.served(tag), used }
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
        // Of whoever watches, only the provider can count the requests.
        let users: Vec<_> = clients.iter().map(|client| client.is_driven.then_some(client.name)).collect();
        let numbers = move || Numbers {
            users: users
                .iter()
                .zip(tallies.iter())
                .filter_map(|(name, tally)| Some(User { name: (*name)?, counts: tally.counts() }))
                .collect(),
            credentials: ACCOUNTS.iter().map(|account| credential(&api, account)).collect(),
            after: began.elapsed(),
        };
        let every = if manner == Manner::Table { TABLE_EVERY } else { LINE_EVERY };
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || {
            // Of a table, the lines that were drawn; of lines, nothing.
            let mut above = 0;
            let mut show = || {
                let numbers = numbers();
                let text = match manner {
                    Manner::Table => {
                        let table = table(&numbers);
                        let text = over(&table, above);
                        above = table.lines().count();
                        text
                    }
                    Manner::Lines => line(&numbers),
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
