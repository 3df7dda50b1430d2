//! A target with two users, a bystander, frames of HTTP/2 byte by byte, and figures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use trunkline_testkit::client::{Connection, Request};
use trunkline_testkit::upstream::{Behaviour, Canned};
use trunkline_testkit::{Script, Trunkline, Upstream};

/// The token of the attacker, who is a user.
pub(crate) const ALICE: &str = "token-of-alice";

/// The token of the bystander.
pub(crate) const BOB: &str = "token-of-bob";

/// Where messages go.
pub(crate) const MESSAGES: &str = "/v1/messages";

/// How much more is done than by default, and whether what takes minutes is done: `TRUNKLINE_ATTACKS`.
pub(crate) fn scale() -> usize {
    std::env::var("TRUNKLINE_ATTACKS").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1).clamp(1, 100)
}

/// The real binary before a simulated provider.
pub(crate) struct Target {
    pub(crate) trunkline: Trunkline,
    _upstream: Upstream,
    before: u64,
}

impl Target {
    /// `over`: fields of the service to set. Both users' requests are answered as `provider` does.
    pub(crate) async fn start(provider: impl Behaviour, over: Value) -> Self {
        let upstream = Upstream::start(provider).await.unwrap();
        upstream.set_recording(false);
        let mut service = json!({
            "type": "claude",
            "listen_port": 0,
            "users": [{ "name": "alice", "token": ALICE }, { "name": "bob", "token": BOB }],
            "credentials": [{ "tag": "main", "oauth_token": "sk-ant-oat01-of-the-credential" }],
            "upstream": { "api_url": upstream.url() },
        });
        service.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        let config = json!({ "services": [service] });
        let trunkline =
            Trunkline::builder(env!("CARGO_BIN_EXE_trunkline")).config(&config).start().await.unwrap();
        let mut target = Self { trunkline, _upstream: upstream, before: 0 };
        // What is needed once does not count.
        let mut client = Connection::connect(target.addr()).await.unwrap();
        for _ in 0..20 {
            assert!(client.send(&small(BOB)).await.unwrap().status() < 500);
        }
        target.before = target.resident();
        target
    }

    /// Before a provider that answers every request once it has it.
    pub(crate) async fn answering(over: Value) -> Self {
        Self::start(Canned::always(Script::json(200, &json!({ "ok": true }))), over).await
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.trunkline.addr().unwrap()
    }

    /// Resident memory in KiB. 0 where it cannot be read.
    pub(crate) fn resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.trunkline.pid().unwrap());
        let status = std::fs::read_to_string(status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// By how much resident memory has grown, in KiB.
    pub(crate) fn growth(&self) -> u64 {
        self.resident().saturating_sub(self.before)
    }

    /// The largest growth over some moments: memory follows what was sent a little later.
    pub(crate) async fn peak(&self) -> u64 {
        let mut peak = 0;
        for _ in 0..20 {
            peak = peak.max(self.growth());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        peak
    }

    /// That the bystander is served, now that it is over.
    pub(crate) async fn serves_bob(&self) {
        let mut client = Connection::connect(self.addr()).await.unwrap();
        let answer = client.send(&small(BOB)).await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text());
    }
}

/// An ordinary small request.
pub(crate) fn small(token: &str) -> Request {
    Request::post(MESSAGES, r#"{"model":"claude-opus-4-8","max_tokens":1,"messages":[]}"#).bearer(token)
}

/// Somebody who works while others attack.
pub(crate) struct Bystander {
    stop: tokio::sync::watch::Sender<bool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    pub(crate) fn start(addr: SocketAddr) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            let mut client = Connection::connect(addr).await.unwrap();
            let mut latencies = Vec::new();
            while !*stopped.borrow() {
                let begun = Instant::now();
                let answer = client.send(&small(BOB)).await.unwrap();
                assert_eq!(answer.status(), 200, "{}", answer.text());
                latencies.push(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            latencies
        });
        Self { stop, task }
    }

    /// What it saw, as text. Every request was answered well, or this panics.
    pub(crate) async fn figures(self) -> String {
        self.stop.send_replace(true);
        let mut latencies = self.task.await.unwrap();
        latencies.sort_unstable();
        let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
        let worst = latencies.last().copied().unwrap_or_default();
        format!("bystander: {} requests, p50 {median:.1?}, worst {worst:.1?}", latencies.len())
    }
}

/// Types of HTTP/2 frames (RFC 9113, 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const UNKNOWN: u8 = 0xfb;
}

const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a POST of messages, in HEADERS of literal fields.
pub(crate) fn head(stream: u32, token: &str, more: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let authorization = format!("Bearer {token}");
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", MESSAGES),
        ("authorization", &authorization),
    ];
    let mut block = Vec::new();
    for (name, value) in fields.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "a longer string has another form");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    frame(kind::HEADERS, END_HEADERS | flags, stream, &block)
}

/// An HTTP/2 client that sends whatever it is told to.
pub(crate) struct RawH2 {
    stream: TcpStream,
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// With this code in a GOAWAY.
    GoAway(u32),
    /// Without a word, or with one that did not arrive.
    Closed,
}

impl RawH2 {
    /// `window`: what a stream may send to this client.
    pub(crate) async fn connect(addr: SocketAddr, window: u32) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let settings = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
        let hello =
            [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(kind::SETTINGS, 0, 0, &settings)].concat();
        stream.write_all(&hello).await.unwrap();
        Self { stream }
    }

    /// Whether it could be written.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next frame: type and payload. `None` at the end of the connection.
    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).await.ok()?;
        let (length, rest) = header.split_first_chunk::<3>()?;
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((*rest.first()?, payload))
    }

    /// Acknowledges settings, and opens the connection's window, not that of a stream.
    pub(crate) async fn settle(&mut self) {
        self.write(&frame(kind::SETTINGS, ACK, 0, &[])).await;
        self.write(&frame(kind::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await;
    }

    /// Reads on to the end of the connection, which must come.
    pub(crate) async fn end(&mut self) -> ConnectionEnd {
        let end = async {
            let mut end = ConnectionEnd::Closed;
            while let Some((kind, payload)) = self.read().await {
                if kind == kind::GOAWAY
                    && let Some(code) = payload.get(4..8)
                {
                    end = ConnectionEnd::GoAway(u32::from_be_bytes(code.try_into().unwrap()));
                }
            }
            end
        };
        tokio::time::timeout(Duration::from_secs(60), end).await.expect("the connection was not ended")
    }

    /// Keeps reading in the background, as a client does that answers nothing.
    pub(crate) fn keep_reading(self) -> (tokio::net::tcp::OwnedWriteHalf, JoinHandle<()>) {
        let (mut read, write) = self.stream.into_split();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(1..) = read.read(&mut buffer).await {}
        });
        (write, task)
    }
}
