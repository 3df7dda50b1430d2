//! The demo's own clients: each holds one conversation after another, and counts what became of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_server::Drain;
use trunkline_testkit::client::{Connection, Ended, Frame, Request};

/// How long a client waits between two requests, in milliseconds.
const PAUSE: std::ops::Range<u64> = 300..1500;

/// Requests of one conversation; then another one begins, which may be another credential's.
const TURNS: u64 = 6;

/// The event that a whole answer ends with.
const LAST_EVENT: &[u8] = b"event: message_stop";

/// What became of a client's requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    asked: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    /// Of the last answer, in microseconds from the request to its head.
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
    pub(super) addr: SocketAddr,
    pub(super) token: String,
    pub(super) name: &'static str,
    pub(super) tallies: Arc<[Tally]>,
    /// The client's own place in `tallies`.
    pub(super) position: usize,
    pub(super) drain: Drain,
}

/// Asks until told to stop; what is under way then is finished.
pub(super) async fn run(conversation: Conversation) {
    let Some(tally) = conversation.tallies.get(conversation.position) else { return };
    let mut connection = None;
    for turn in 0_u64.. {
        let request = request(&conversation, turn / TURNS);
        tokio::select! {
            biased;
            () = conversation.drain.stopped() => return,
            () = tokio::time::sleep(Duration::from_millis(fastrand::u64(PAUSE))) => {}
        }
        tally.asked.fetch_add(1, Ordering::Relaxed);
        match ask(&mut connection, conversation.addr, &request).await {
            Ok(head_after) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                let micros = u64::try_from(head_after.as_micros()).unwrap_or(u64::MAX);
                tally.head_after.store(micros.max(1), Ordering::Relaxed);
            }
            Err(error) => {
                connection = None;
                tally.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(user = conversation.name, %error, "a request of the demo failed");
            }
        }
    }
}

fn request(conversation: &Conversation, session: u64) -> Request {
    let body = json!({
        "model": "claude-sonnet-5",
        "max_tokens": 64,
        "stream": true,
        "messages": [{ "role": "user", "content": format!("This is {}. Who answers?", conversation.name) }],
    });
    Request::post("/claude/v1/messages?beta=true", body.to_string())
        .bearer(&conversation.token)
        .header("Accept", "application/json")
        .header("User-Agent", concat!("trunkline-demo/", env!("CARGO_PKG_VERSION")))
        .header("X-Claude-Code-Session-Id", &format!("demo-{}-{session}", conversation.name))
        .header("anthropic-version", "2023-06-01")
}

/// Sends a request over the connection, a new one where there is none, and reads the answer to its end. Returns how
/// long its head took.
async fn ask(
    connection: &mut Option<Connection>,
    addr: SocketAddr,
    request: &Request,
) -> io::Result<Duration> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::connect(addr).await?),
    };
    let sent = Instant::now();
    connection.write_request(request).await?;
    let head = connection.head().await?;
    let head_after = sent.elapsed();
    if head.status != 200 {
        return Err(io::Error::other(format!("the status was {}", head.status)));
    }
    let mut is_whole = false;
    loop {
        match connection.frame().await? {
            Frame::Data(bytes) => {
                is_whole = bytes.windows(LAST_EVENT.len()).any(|window| window == LAST_EVENT);
            }
            Frame::Trailers(_) => {}
            Frame::End(Ended::Complete) if is_whole => return Ok(head_after),
            Frame::End(end) => return Err(io::Error::other(format!("the answer was not whole ({end:?})"))),
        }
    }
}
