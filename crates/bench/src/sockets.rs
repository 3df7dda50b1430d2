//! What relaying a WebSocket costs: Trunkline beside a relay that is the library and nothing else, message by message
//! there and back.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::args::{BareArgs, SocketsArgs};
use crate::host::{Cores, ProcessTree, command};
use crate::number::float;

/// Lengths of messages, in bytes.
const SIZES: [usize; 2] = [1_024, 65_536];

/// Connections at once.
const CONNECTIONS: usize = 8;

/// Messages of one connection that are on their way at once.
const WINDOW: usize = 16;

/// How long one sample is taken, behind a fifth of it that is not counted.
const SAMPLE: Duration = Duration::from_secs(2);

/// How often each is measured, turn about.
const ROUNDS: usize = 5;

/// The longest that a relay may take to start.
const START: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TcpStream>;

/// A relay that runs; it is killed when dropped.
struct Relay {
    child: Child,
    url: String,
    address: SocketAddr,
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures, and prints a table.
pub(crate) async fn report(args: SocketsArgs) -> anyhow::Result<String> {
    let upstream = echo().await?;
    let own = std::env::current_exe().context("failed to find the own program")?;
    let trunkline = match args.trunkline {
        Some(path) => path,
        None => own.with_file_name("trunkline"),
    };
    let directory = tempfile::tempdir()?;
    let mut text = String::from(
        "| message, bytes | library alone, messages per CPU second | trunkline | ratio |\n|---|---|---|---|\n",
    );
    for size in SIZES {
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(sample(&start_bare(&own, upstream)?, size).await?);
            ours.push(sample(&start_trunkline(&trunkline, upstream, directory.path())?, size).await?);
        }
        let (bare, ours) = (median(bare), median(ours));
        writeln!(text, "| {size} | {bare:.0} | {ours:.0} | {:.2} |", ours / bare)?;
    }
    Ok(text)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(0.0)
}

/// A provider that sends every message back.
async fn echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                stream.set_nodelay(true)?;
                let (sink, stream) = accept_async(stream).await?.split();
                stream.forward(sink).await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}

/// Serves as the relay that is the library and nothing else.
pub(crate) async fn serve_bare(args: BareArgs) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(args.listen).await.context("failed to listen")?;
    loop {
        let (stream, _) = listener.accept().await.context("failed to accept")?;
        tokio::task::spawn_local(async move {
            stream.set_nodelay(true)?;
            let upstream = TcpStream::connect(args.upstream).await?;
            upstream.set_nodelay(true)?;
            let (upstream, _) = client_async("ws://localhost/", upstream).await?;
            let (to_client, from_client) = accept_async(stream).await?.split();
            let (to_upstream, from_upstream) = upstream.split();
            tokio::try_join!(from_client.forward(to_upstream), from_upstream.forward(to_client))?;
            anyhow::Ok(())
        });
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn start(program: &Path, arguments: &[&str], address: SocketAddr, path: &str) -> anyhow::Result<Relay> {
    // One thread each: the library has no more, and Trunkline has as many as cores.
    let words = std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsStr::new));
    let child = command(Cores::detect()?.proxy_prefix(), words)?
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start {}", program.display()))?;
    Ok(Relay { child, url: format!("ws://{address}{path}"), address })
}

fn start_bare(own: &Path, upstream: SocketAddr) -> anyhow::Result<Relay> {
    let address = free_address()?;
    let (listen, upstream) = (address.to_string(), upstream.to_string());
    start(own, &["bare-socket", "--listen", &listen, "--upstream", &upstream], address, "/")
}

fn start_trunkline(program: &Path, upstream: SocketAddr, directory: &Path) -> anyhow::Result<Relay> {
    let address = free_address()?;
    let config = json!({
        "log": { "level": "warn" },
        "data_directory": directory.join("data"),
        "services": [{
            "type": "codex", "listen_port": address.port(), "path": "/codex",
            "credentials": [{ "tag": "key", "type": "api_key", "api_key": "sk-of-the-measurement" }],
            "upstream": { "openai_url": format!("http://{upstream}") },
        }],
    });
    let file = directory.join("config.json");
    fs::write(&file, config.to_string())?;
    let file = file.to_str().context("a path that is no text")?;
    start(program, &["serve", "-c", file], address, "/codex/v1/responses")
}

async fn open(relay: &Relay) -> anyhow::Result<Socket> {
    let stream = TcpStream::connect(relay.address).await?;
    stream.set_nodelay(true)?;
    let (socket, _) = client_async(relay.url.as_str().into_client_request()?, stream).await?;
    Ok(socket)
}

/// Messages that went through, either way, per second of the relay's processor time.
async fn sample(relay: &Relay, size: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let first = loop {
        match open(relay).await {
            Ok(socket) => break socket,
            Err(error) if begun.elapsed() > START => bail!("the relay did not start: {error:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let mut sockets = vec![first];
    while sockets.len() < CONNECTIONS {
        sockets.push(open(relay).await?);
    }
    let message = message(size);
    let count = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    let mut tasks = tokio::task::JoinSet::new();
    for socket in sockets {
        tasks.spawn_local(converse(socket, message.clone(), std::rc::Rc::clone(&count)));
    }
    let tree = ProcessTree::below(relay.child.id());
    tokio::time::sleep(SAMPLE / 5).await;
    let (cpu, before) = (tree.cpu(), count.get());
    tokio::time::sleep(SAMPLE).await;
    let (spent, messages) = (tree.cpu().since(&cpu), count.get() - before);
    if let Some(Ok(ended)) = tasks.try_join_next() {
        ended.context("a connection ended")?;
    }
    ensure!(messages > 0 && !spent.is_zero(), "nothing went through");
    // There and back.
    Ok(2.0 * float(messages) / spent.as_secs_f64())
}

async fn converse(
    mut socket: Socket,
    message: Message,
    count: std::rc::Rc<std::cell::Cell<u64>>,
) -> anyhow::Result<()> {
    for _ in 0..WINDOW {
        socket.feed(message.clone()).await?;
    }
    socket.flush().await?;
    while let Some(echoed) = socket.next().await {
        if echoed?.is_text() {
            count.set(count.get() + 1);
            socket.send(message.clone()).await?;
        }
    }
    bail!("the relay closed a connection")
}

/// A message like those of a stream, which asks for nothing.
fn message(size: usize) -> Message {
    let event = |delta: &str| {
        json!({ "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": delta })
            .to_string()
    };
    let room = size.saturating_sub(event("").len());
    Message::text(event(&"x".repeat(room)))
}
