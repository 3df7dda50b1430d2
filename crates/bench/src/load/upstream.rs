//! The upstream: answers every request in the way that the running scenario has set.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval_at};

use super::event::{self, EVENT_LENGTH, EventClock};
use super::message::{Kind, Message};
use super::wire::read_once;

/// The answer that is not a stream: a message of about 600 bytes.
const ANSWER: &str = r#"{"id":"msg_013Zva2CMHLNnXjNJJKqJ2EF","type":"message","role":"assistant","model":"claude-opus-5","content":[{"type":"text","text":"The proxy forwards this text without looking at it. It is only here to give the answer the length that short answers of the real service have: a sentence or two of prose, no tool call, and an account of the tokens at the end."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":2095,"cache_creation_input_tokens":0,"cache_read_input_tokens":1024,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":53,"service_tier":"standard"}}"#;

/// The headers that every answer has.
const HEADERS: &str = "date: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
    server: cloudflare\r\n\
    request-id: req_011CSHoEeqs5C35K2UUqR7Fy\r\n\
    anthropic-organization-id: 0f3c1a52-6b1b-4f6e-8f3e-2b9a4c1d7e60\r\n\
    anthropic-ratelimit-requests-limit: 4000\r\n\
    anthropic-ratelimit-requests-remaining: 3999\r\n\
    anthropic-ratelimit-requests-reset: 2026-11-24T10:00:00Z\r\n\
    anthropic-ratelimit-tokens-limit: 2000000\r\n\
    anthropic-ratelimit-tokens-remaining: 1999000\r\n\
    anthropic-ratelimit-tokens-reset: 2026-11-24T10:00:00Z\r\n\
    cf-cache-status: DYNAMIC\r\n\
    x-robots-tag: none\r\n";

/// How the upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// With one JSON message.
    Json,
    /// With a stream of events, as fast as they are taken.
    Burst {
        /// The number of events.
        events: usize,
        /// How many events, each in a chunk of its own, go into one write.
        per_write: usize,
    },
    /// The same in step with the client: each write waits until the one before it has arrived, so that a proxy reads the
    /// same pieces every time. For one stream at a time, whose client tells [`Upstream::received`].
    Stepped {
        /// The number of events.
        events: usize,
        /// How many events, each in a chunk of its own, go into one write.
        per_write: usize,
    },
    /// With a stream that goes on at a steady pace until the client leaves.
    Paced {
        /// The time between two events.
        every: Duration,
    },
    /// With the first event of a stream and then nothing until the client leaves.
    Held,
}

/// A server on a port of its own, which lives until dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Rc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    reply: Cell<Reply>,
    clock: EventClock,
    /// How much of the body of the running [`Reply::Stepped`] has arrived, and whom to tell.
    received: Cell<usize>,
    progress: Notify,
}

// === impl Upstream ===

impl Upstream {
    /// Starts on a free port of the loopback address.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to start the upstream")?;
        let address = listener.local_addr()?;
        let shared = Rc::new(Shared {
            reply: Cell::new(Reply::Json),
            clock: EventClock::start(),
            received: Cell::new(0),
            progress: Notify::new(),
        });
        let task = tokio::task::spawn_local(accept(listener, Rc::clone(&shared))).abort_handle();
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The clock that stamps its events.
    pub(crate) fn clock(&self) -> EventClock {
        self.shared.clock
    }

    /// Answers from now on like this.
    pub(crate) fn set_reply(&self, reply: Reply) {
        self.shared.reply.set(reply);
    }

    /// Takes note that so many more bytes of a body have arrived.
    pub(crate) fn received(&self, bytes: usize) {
        self.shared.received.set(self.shared.received.get() + bytes);
        self.shared.progress.notify_one();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Rc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let shared = Rc::clone(&shared);
                connections.spawn_local(async move {
                    // A client that leaves in the middle of an answer is an ordinary end here.
                    drop(serve(stream, &shared).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Message::new(Kind::Request);
    let json = json_head() + ANSWER;
    loop {
        while !request.is_done() {
            let open = read_once(&mut stream, |bytes| {
                request.feed(bytes, |_, _| ())?;
                Ok(!bytes.is_empty())
            });
            if !open.await? {
                return Ok(());
            }
        }
        request.reset();
        match shared.reply.get() {
            Reply::Json => stream.write_all(json.as_bytes()).await?,
            Reply::Burst { events, per_write } => burst(&mut stream, shared.clock, events, per_write).await?,
            Reply::Stepped { events, per_write } => stepped(&mut stream, shared, events, per_write).await?,
            Reply::Paced { every } => return paced(&mut stream, shared.clock, every).await,
            Reply::Held => return held(&mut stream).await,
        }
    }
}

/// Sends `events` events, the first with the head and the last two with the end.
async fn burst(
    stream: &mut TcpStream,
    clock: EventClock,
    events: usize,
    per_write: usize,
) -> anyhow::Result<()> {
    stream.write_all(&stream_start()).await?;
    let mut deltas = Vec::new();
    for _ in 0..per_write {
        event::push_delta(&mut deltas, clock);
    }
    let delta = deltas.len() / per_write.max(1);
    let mut left = events.saturating_sub(3);
    while left > 0 {
        let count = left.min(per_write);
        stream.write_all(&deltas[..count * delta]).await?;
        left -= count;
    }
    let mut end = Vec::new();
    event::push_end(&mut end);
    stream.write_all(&end).await?;
    Ok(())
}

/// Sends what [`burst`] sends, each write after the one before it has arrived.
async fn stepped(
    stream: &mut TcpStream,
    shared: &Shared,
    events: usize,
    per_write: usize,
) -> anyhow::Result<()> {
    shared.received.set(0);
    stream.write_all(&stream_start()).await?;
    let mut sent = 1;
    let mut left = events.saturating_sub(3);
    while left > 0 {
        arrived(stream, shared, sent * EVENT_LENGTH).await?;
        let count = left.min(per_write.max(1));
        let mut deltas = Vec::new();
        for _ in 0..count {
            event::push_delta(&mut deltas, shared.clock);
        }
        stream.write_all(&deltas).await?;
        sent += count;
        left -= count;
    }
    arrived(stream, shared, sent * EVENT_LENGTH).await?;
    let mut end = Vec::new();
    event::push_end(&mut end);
    stream.write_all(&end).await?;
    Ok(())
}

/// Waits until so much of the body has arrived.
async fn arrived(stream: &mut TcpStream, shared: &Shared, bytes: usize) -> anyhow::Result<()> {
    while shared.received.get() < bytes {
        tokio::select! {
            () = shared.progress.notified() => {}
            left = left(stream) => {
                left?;
                bail!("the client left in the middle of an answer");
            }
        }
    }
    Ok(())
}

async fn paced(stream: &mut TcpStream, clock: EventClock, every: Duration) -> anyhow::Result<()> {
    stream.write_all(&stream_start()).await?;
    let mut ticks = interval_at(Instant::now() + every, every);
    let mut frame = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                frame.clear();
                event::push_delta(&mut frame, clock);
                stream.write_all(&frame).await?;
            }
            left = left(stream) => return left,
        }
    }
}

async fn held(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.write_all(&stream_start()).await?;
    left(stream).await
}

/// Waits until the client has gone.
async fn left(stream: &mut TcpStream) -> anyhow::Result<()> {
    while !read_once(stream, |bytes| Ok(bytes.is_empty())).await? {}
    Ok(())
}

/// The head of an answer with one JSON message.
pub(crate) fn json_head() -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{HEADERS}content-length: {}\r\n\r\n",
        ANSWER.len()
    )
}

fn stream_start() -> Vec<u8> {
    let mut start = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n{HEADERS}\
         transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    event::push_start(&mut start);
    start
}

#[cfg(test)]
mod tests;
