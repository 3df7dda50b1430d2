//! One connection of the load client.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::message::{Kind, Message};
use super::wire::read_once;

/// How much of a refusal is shown.
const SHOWN: usize = 500;

/// A client that sends one request after the other on one connection and opens another when it is closed.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    response: Message,
    refusal: Vec<u8>,
}

// === impl Client ===

impl Client {
    /// A client that has not connected yet.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, response: Message::new(Kind::Response), refusal: Vec::new() }
    }

    /// Sends a request and hands the body of the answer on; any status but 200 is an error.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        mut body: impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        self.begin(request, &mut body).await?;
        self.finish(body).await
    }

    /// Sends a request and returns with the first bytes of the body.
    pub(crate) async fn begin(&mut self, request: &[u8], mut body: impl FnMut(&[u8])) -> anyhow::Result<()> {
        let reused = self.stream.is_some();
        match self.attempt(request, &mut body).await {
            // The other side may close an idle connection at any time; the request has then not been seen.
            Err(_) if reused && self.response.is_untouched() => {
                self.stream = None;
                self.attempt(request, body).await
            }
            result => result,
        }
    }

    /// Receives the rest of the answer.
    pub(crate) async fn finish(&mut self, mut body: impl FnMut(&[u8])) -> anyhow::Result<()> {
        while !self.response.is_done() {
            self.receive(&mut body).await?;
        }
        if self.response.closes() {
            self.stream = None;
        }
        if self.response.status() != 200 {
            let shown = self.refusal.get(..SHOWN).unwrap_or(&self.refusal);
            bail!("answered {}: {}", self.response.status(), String::from_utf8_lossy(shown));
        }
        Ok(())
    }

    async fn attempt(&mut self, request: &[u8], mut body: impl FnMut(&[u8])) -> anyhow::Result<()> {
        self.response.reset();
        self.refusal.clear();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(connect(self.address).await?),
        };
        stream.write_all(request).await.context("failed to send a request")?;
        let mut begun = false;
        while !begun && !self.response.is_done() {
            self.receive(|part| {
                begun = true;
                body(part);
            })
            .await?;
            begun |= !self.refusal.is_empty();
        }
        Ok(())
    }

    async fn receive(&mut self, mut body: impl FnMut(&[u8])) -> anyhow::Result<()> {
        let stream = self.stream.as_mut().context("not connected")?;
        read_once(stream, |bytes| {
            if bytes.is_empty() {
                return self.response.end();
            }
            self.response.feed(bytes, |status, part| match status {
                200 => body(part),
                _ => self.refusal.extend_from_slice(part),
            })
        })
        .await
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("failed to connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
