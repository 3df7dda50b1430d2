//! The cases of the Autobahn test suite, as data: frames in, expected behaviour out.
//!
//! Groups 1 (framing), 2 (pings), 3 (reserved bits), 4 (opcodes), 5 (fragments), 6 (UTF-8), 7 (closing), 9 (sizes) and 10
//! (messages in fragments of the sender's choice); the numbers are that suite's. They hold for whatever sends every message
//! back: a server under test, to which [`run`] plays the client, or a client under test, to which it plays the server; in
//! between may stand whatever relays messages.

mod close;
mod fragments;
mod framing;
mod sizes;
mod text;

use bytes::Bytes;

use super::frame::{Frame, Opcode};
use super::link::Link;
use crate::client::Ended;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its number in the suite.
    pub id: String,
    /// What is sent.
    pub send: Vec<Send>,
    /// The messages that come back, in order; after a failure, so many of them as got through.
    pub echoes: Vec<Echo>,
    /// The payloads of the pongs that come back, in order; among them must be no others.
    pub pongs: Vec<Bytes>,
    /// How it ends.
    pub end: End,
}

/// Something that is sent.
#[derive(Clone, Debug)]
pub enum Send {
    /// A frame at once.
    Frame(Frame),
    /// A frame in pieces of so many bytes.
    Chopped(Frame, usize),
    /// Nothing, until as many messages have come back.
    Await(usize),
}

/// A message that comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Text.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It does not: the peer is still there, and answers a close with 1000.
    Open,
    /// By a close among what is sent, which is answered; with this code, or without one.
    Closed(Option<u16>),
    /// The peer fails the connection: with a close of one of these codes, or without.
    Failed(&'static [u16]),
}

/// A violation of the protocol.
const PROTOCOL: End = End::Failed(&[1002]);

/// Text that is none.
const NOT_TEXT: End = End::Failed(&[1007]);

/// All cases, those of more than 1 MiB only if `with_large`.
pub fn all(with_large: bool) -> Vec<Case> {
    let mut cases = framing::cases();
    cases.extend(fragments::cases());
    cases.extend(text::cases());
    cases.extend(close::cases());
    cases.extend(sizes::cases(with_large));
    cases
}

impl Case {
    fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), send: Vec::new(), echoes: Vec::new(), pongs: Vec::new(), end: End::Open }
    }

    fn send(mut self, frame: Frame) -> Self {
        self.send.push(Send::Frame(frame));
        self
    }

    fn chopped(mut self, frame: Frame, size: usize) -> Self {
        self.send.push(Send::Chopped(frame, size));
        self
    }

    fn text(mut self, text: impl Into<Bytes>) -> Self {
        self.echoes.push(Echo::Text(text.into()));
        self
    }

    fn binary(mut self, bytes: impl Into<Bytes>) -> Self {
        self.echoes.push(Echo::Binary(bytes.into()));
        self
    }

    fn pong(mut self, payload: impl Into<Bytes>) -> Self {
        self.pongs.push(payload.into());
        self
    }

    fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}

/// What a peer did.
#[derive(Default)]
struct Seen {
    echoes: Vec<Echo>,
    pongs: Vec<Bytes>,
    begun: Option<(Opcode, Vec<u8>)>,
    close: Option<Frame>,
    ended: Option<Ended>,
}

/// Plays one case. The error says what the peer did otherwise.
pub async fn run(case: &Case, link: &mut Link) -> Result<(), String> {
    let mut seen = Seen::default();
    let mut is_broken = false;
    for send in &case.send {
        let sent = match send {
            Send::Frame(frame) => link.send(frame.clone()).await,
            Send::Chopped(frame, size) => link.send_chopped(frame.clone(), *size).await,
            Send::Await(count) => {
                while seen.echoes.len() < *count && seen.ended.is_none() {
                    seen.next(link).await?;
                }
                Ok(())
            }
        };
        // A peer that has failed the connection takes no more.
        if sent.is_err() {
            is_broken = true;
            break;
        }
    }
    match case.end {
        End::Open => {
            while (seen.echoes.len() < case.echoes.len() || seen.pongs.len() < case.pongs.len())
                && seen.close.is_none()
                && seen.ended.is_none()
            {
                seen.next(link).await?;
            }
            if is_broken || seen.close.is_some() || seen.ended.is_some() {
                return Err(format!("it ended the connection: {:?} {:?}", seen.close, seen.ended));
            }
            link.send(Frame::close(1000, "")).await.map_err(|error| error.to_string())?;
            seen.until_end(link).await?;
            if seen.code() != Some(1000) {
                return Err(format!("it answered a close with {:?}", seen.close));
            }
        }
        End::Closed(code) => {
            seen.until_end(link).await?;
            if seen.close.is_none() || seen.code() != code {
                return Err(format!("it answered a close of {code:?} with {:?}", seen.close));
            }
        }
        End::Failed(codes) => {
            seen.until_end(link).await?;
            if seen.close.is_some() && !seen.code().is_some_and(|code| codes.contains(&code)) {
                return Err(format!(
                    "it failed the connection with {:?} instead of one of {codes:?}",
                    seen.close
                ));
            }
        }
    }
    let may_be_fewer = matches!(case.end, End::Failed(_));
    if !(seen.echoes == case.echoes || may_be_fewer && case.echoes.starts_with(&seen.echoes)) {
        return Err(format!("it sent {} back instead of {}", shown(&seen.echoes), shown(&case.echoes)));
    }
    if !(seen.pongs == case.pongs || may_be_fewer && case.pongs.starts_with(&seen.pongs)) {
        return Err(format!("it sent the pongs {:?} instead of {:?}", seen.pongs, case.pongs));
    }
    Ok(())
}

fn shown(echoes: &[Echo]) -> String {
    let mut text = format!("{echoes:?}");
    let mut end = text.len().min(300);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

impl Seen {
    /// The code of its close.
    fn code(&self) -> Option<u16> {
        self.close.as_ref().and_then(Frame::close_code).map(|(code, _)| code)
    }

    async fn next(&mut self, link: &mut Link) -> Result<(), String> {
        let frame = match link.frame().await.map_err(|error| error.to_string())? {
            Ok(frame) => frame,
            Err(end) => {
                self.ended = Some(end);
                return Ok(());
            }
        };
        if self.close.is_some() {
            return Err(format!("it sent {:?} behind its close", frame.opcode));
        }
        if frame.reserved != 0 || frame.mask == Some(link.is_client()) {
            return Err(format!(
                "it sent a frame with reserved bits, or masked against the rules: {:?}",
                frame.opcode
            ));
        }
        match frame.opcode {
            Opcode::Close => self.close = Some(frame),
            Opcode::Pong => self.pongs.push(frame.payload),
            // Its own keep-alive.
            Opcode::Ping => link.send(Frame::pong(frame.payload)).await.map_err(|error| error.to_string())?,
            Opcode::Text | Opcode::Binary if self.begun.is_none() => {
                self.begun = Some((frame.opcode, frame.payload.to_vec()));
                self.end_message(frame.is_final);
            }
            Opcode::Continuation if self.begun.is_some() => {
                if let Some((_, bytes)) = &mut self.begun {
                    bytes.extend_from_slice(&frame.payload);
                }
                self.end_message(frame.is_final);
            }
            other => return Err(format!("it sent a frame that does not fit the one before it: {other:?}")),
        }
        Ok(())
    }

    fn end_message(&mut self, is_final: bool) {
        if is_final && let Some((opcode, bytes)) = self.begun.take() {
            self.echoes.push(if opcode == Opcode::Text {
                Echo::Text(bytes.into())
            } else {
                Echo::Binary(bytes.into())
            });
        }
    }

    /// To the peer's close at least. A server ends the connection then; a client waits for us to.
    async fn until_end(&mut self, link: &mut Link) -> Result<(), String> {
        while self.ended.is_none() && (self.close.is_none() || link.is_client()) {
            self.next(link).await?;
        }
        Ok(())
    }
}
