//! Plays a script onto a connection or a stream.

use std::io;

use bytes::Bytes;

use super::event::EventKind;
#[cfg(feature = "testing")]
use super::go_away::GoAway;
use super::request::ReceivedRequest;
use super::script::{Cut, Script, Step};
use crate::headers::Headers;
use crate::websocket::{Held, Link, Outgoing};
use crate::wire::{self, Framing};

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// Complete; the connection can go on.
    Complete,
    /// Complete; the connection must not go on.
    Last,
    /// To be cut.
    Cut(Cut),
    /// To be refused, as not looked at.
    #[cfg(feature = "testing")]
    Refused,
    /// To be reset without an error.
    #[cfg(feature = "testing")]
    LetGo,
    /// The client left.
    Gone,
}

/// Where a script is played.
pub(super) trait Output {
    async fn interim(&mut self, status: u16, headers: &Headers) -> io::Result<()>;
    async fn head(&mut self, status: u16, headers: &Headers) -> io::Result<()>;
    /// `of` is the length of the chunk that `bytes` start; it is longer than `bytes` if it will be cut.
    async fn chunk(&mut self, bytes: Bytes, of: usize) -> io::Result<()>;
    async fn data(&mut self, bytes: Bytes) -> io::Result<()>;
    async fn raw(&mut self, bytes: Bytes) -> io::Result<()>;
    /// Announces the end of the connection.
    #[cfg(feature = "testing")]
    async fn go_away(&mut self, go_away: GoAway) -> io::Result<()>;
    /// Ends a chunked body.
    async fn last_chunk(&mut self, trailers: &Headers) -> io::Result<()>;
}

/// Plays `script` as the answer to `request`.
pub(super) async fn play<O: Output>(
    script: &Script,
    request: &ReceivedRequest,
    output: &mut O,
) -> io::Result<Finish> {
    let finish = Player { script, request, output, chunked: false, last: false, body_seen: false, sent: 0 }
        .run()
        .await?;
    match finish {
        Finish::Complete | Finish::Last => request.event(EventKind::ResponseComplete),
        Finish::Cut(_) => request.event(EventKind::ResponseCut),
        #[cfg(feature = "testing")]
        Finish::Refused | Finish::LetGo => request.event(EventKind::ResponseCut),
        Finish::Gone => {}
    }
    Ok(finish)
}

struct Player<'a, O> {
    script: &'a Script,
    request: &'a ReceivedRequest,
    output: &'a mut O,
    chunked: bool,
    last: bool,
    body_seen: bool,
    sent: usize,
}

impl<O: Output> Player<'_, O> {
    async fn run(mut self) -> io::Result<Finish> {
        let bodiless = self.request.method == "HEAD";
        let mut answered = false;
        for (at, step) in self.script.steps.iter().enumerate() {
            match step {
                Step::Interim(status, headers) => self.output.interim(*status, headers).await?,
                Step::Head(status, headers) => {
                    answered = true;
                    self.head(*status, headers, self.script.steps.get(at + 1..).unwrap_or_default()).await?;
                    if let Some((0, cut)) = self.script.cut {
                        return Ok(Finish::Cut(cut));
                    }
                }
                Step::Body(bytes) | Step::Chunk(bytes) => {
                    if !bodiless && let Some(cut) = self.body(bytes).await? {
                        return Ok(Finish::Cut(cut));
                    }
                }
                Step::Raw(bytes) => {
                    answered = true;
                    self.output.raw(bytes.clone()).await?;
                }
                Step::Trailers(trailers) => return self.end(trailers).await,
                Step::Announce(signal) => signal.set(),
                Step::Wait(signal) => tokio::select! {
                    biased;
                    () = signal.wait() => {}
                    () = self.request.gone().wait() => return Ok(Finish::Gone),
                },
                Step::Pause(time) => tokio::select! {
                    () = tokio::time::sleep(*time) => {}
                    () = self.request.gone().wait() => return Ok(Finish::Gone),
                },
                Step::Stall => {
                    self.request.gone().wait().await;
                    return Ok(Finish::Gone);
                }
                Step::Converse(held) => {
                    if let Some(cut) = self.converse(held).await? {
                        return Ok(Finish::Cut(cut));
                    }
                }
                Step::Reset => return Ok(Finish::Cut(Cut::Reset)),
                Step::Close => return Ok(Finish::Cut(Cut::Close)),
                #[cfg(feature = "testing")]
                Step::Refuse => return Ok(Finish::Refused),
                #[cfg(feature = "testing")]
                Step::LetGo => return Ok(Finish::LetGo),
                #[cfg(feature = "testing")]
                Step::GoAway(go_away) => self.output.go_away(*go_away).await?,
            }
        }
        if answered { self.end(&Headers::new()).await } else { Ok(Finish::Cut(Cut::Close)) }
    }

    async fn converse(&mut self, held: &Held) -> io::Result<Option<Cut>> {
        // One write at a time: whoever writes waits for it.
        let (out, mut outgoing) = tokio::sync::mpsc::channel(1);
        let mut talk = held.0.converse(Link::server(self.request.clone(), out));
        let mut is_over = false;
        loop {
            tokio::select! {
                biased;
                next = outgoing.recv() => match next {
                    Some(Outgoing::Bytes(bytes, written)) => {
                        self.output.raw(bytes).await?;
                        let _ = written.send(());
                    }
                    Some(Outgoing::Cut(cut)) => return Ok(Some(cut)),
                    // The conversation has let go of its end.
                    None if is_over => return Ok(None),
                    None => {
                        talk.as_mut().await;
                        return Ok(None);
                    }
                },
                () = &mut talk, if !is_over => is_over = true,
            }
        }
    }

    async fn head(&mut self, status: u16, headers: &Headers, following: &[Step]) -> io::Result<()> {
        let mut headers = headers.clone();
        let framing = match wire::declared_framing(&headers)? {
            Some(framing) => Some(framing),
            None => match infer(status, following) {
                Some(Framing::Chunked) => {
                    headers.push("transfer-encoding", "chunked");
                    Some(Framing::Chunked)
                }
                Some(Framing::Length(length)) => {
                    headers.push("content-length", length.to_string());
                    Some(Framing::Length(length))
                }
                other => other,
            },
        };
        self.chunked = framing == Some(Framing::Chunked);
        let delimited = framing.is_some() || matches!(status, 204 | 304) || self.request.method == "HEAD";
        self.last = !delimited || headers.lists("connection", "close");
        if status == 101 {
            self.request.upgrade();
        }
        self.output.head(status, &headers).await?;
        self.request.event(EventKind::ResponseHead);
        Ok(())
    }

    async fn body(&mut self, bytes: &Bytes) -> io::Result<Option<Cut>> {
        let left = self.script.cut.map_or(usize::MAX, |(limit, _)| limit - self.sent);
        let part = bytes.slice(..bytes.len().min(left));
        self.sent += part.len();
        if !part.is_empty() {
            if self.chunked {
                self.output.chunk(part, bytes.len()).await?;
            } else {
                self.output.data(part).await?;
            }
            if !self.body_seen {
                self.body_seen = true;
                self.request.event(EventKind::ResponseBody);
            }
        }
        Ok(self.script.cut.filter(|&(limit, _)| limit == self.sent).map(|(_, cut)| cut))
    }

    async fn end(self, trailers: &Headers) -> io::Result<Finish> {
        if let Some((_, cut)) = self.script.cut {
            return Ok(Finish::Cut(cut));
        }
        if self.chunked && self.request.method != "HEAD" {
            self.output.last_chunk(trailers).await?;
        }
        Ok(if self.last { Finish::Last } else { Finish::Complete })
    }
}

/// The framing of a head that declares none, by what follows up to the next head. `None`: as raw bytes say,
/// or by nature of the status.
fn infer(status: u16, following: &[Step]) -> Option<Framing> {
    let body = || following.iter().take_while(|step| !matches!(step, Step::Head(..)));
    if body().any(|step| matches!(step, Step::Chunk(_)) || matches!(step, Step::Trailers(t) if !t.is_empty()))
    {
        return Some(Framing::Chunked);
    }
    let length: usize = body().map(|step| if let Step::Body(bytes) = step { bytes.len() } else { 0 }).sum();
    let raw = body().any(|step| matches!(step, Step::Raw(_)));
    let never = status < 200 || matches!(status, 204 | 304);
    if length == 0 && (raw || never) { None } else { Some(Framing::Length(length as u64)) }
}
