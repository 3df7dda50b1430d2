//! The demo's own clients: each holds one conversation after another, and counts what became of it.

mod claude;
mod codex;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use trunkline_server::Drain;

use super::accounts::Of;

/// How long a client waits between two requests, in milliseconds.
const PAUSE: std::ops::Range<u64> = 300..1500;

/// Requests of one conversation; then another one begins, which may be another credential's.
const TURNS: u64 = 6;

/// What became of a user's requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    asked: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    /// Of the last answer, in microseconds from the request to its beginning.
    head_after: AtomicU64,
}

/// The same at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) asked: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    /// `None` before the first answer.
    pub(super) head_after: Option<Duration>,
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let head_after = Some(read(&self.head_after)).filter(|micros| *micros > 0);
        Counts {
            asked: read(&self.asked),
            answered: read(&self.answered),
            failed: read(&self.failed),
            head_after: head_after.map(Duration::from_micros),
        }
    }
}

/// What a client needs.
pub(super) struct Conversation {
    /// Whose client it is.
    pub(super) of: Of,
    pub(super) addr: SocketAddr,
    pub(super) token: String,
    /// The user's name.
    pub(super) name: &'static str,
    pub(super) tallies: Arc<[Tally]>,
    /// The user's own place in `tallies`.
    pub(super) position: usize,
    /// Stopped when no more is to be asked.
    pub(super) asking: Drain,
}

/// What a client keeps open from one request to the next.
enum Client {
    Claude(claude::Client),
    Codex(codex::Client),
}

/// Asks until told to stop; what is under way then is finished.
pub(super) async fn run(conversation: Conversation) {
    let Some(tally) = conversation.tallies.get(conversation.position) else { return };
    let mut client = match conversation.of {
        Of::Claude => Client::Claude(claude::Client::default()),
        Of::Codex => Client::Codex(codex::Client::default()),
    };
    for turn in 0_u64.. {
        tokio::select! {
            biased;
            () = conversation.asking.stopped() => return,
            () = tokio::time::sleep(Duration::from_millis(fastrand::u64(PAUSE))) => {}
        }
        tally.asked.fetch_add(1, Ordering::Relaxed);
        match client.ask(&conversation, turn / TURNS).await {
            Ok(head_after) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                let micros = u64::try_from(head_after.as_micros()).unwrap_or(u64::MAX);
                tally.head_after.store(micros.max(1), Ordering::Relaxed);
            }
            Err(error) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(user = conversation.name, %error, "a request of the demo failed");
            }
        }
    }
}

impl Client {
    /// Asks, and reads the answer to its end. Returns how long its beginning took.
    async fn ask(&mut self, conversation: &Conversation, session: u64) -> io::Result<Duration> {
        match self {
            Self::Claude(client) => client.ask(conversation, session).await,
            Self::Codex(client) => client.ask(conversation, session).await,
        }
    }
}

impl Conversation {
    /// What is asked.
    fn question(&self) -> String {
        format!("This is {}. Who answers?", self.name)
    }
}

/// How the clients call themselves.
const USER_AGENT: &str = concat!("trunkline-demo/", env!("CARGO_PKG_VERSION"));
