//! HTTP/1.1 on raw TCP or TLS: every byte under the control of the script.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::Shared;
use super::behaviour::Intake;
use super::bodies::Held;
#[cfg(feature = "testing")]
use super::go_away::GoAway;
use super::play::{Finish, Output, play};
use super::request::{BodyEnd, ReceivedRequest, RequestHead, Version};
use super::script::Cut;
use crate::headers::Headers;
use crate::signal::Signal;
use crate::socket::{Io, Socket};
use crate::wire::{Framing, Piece, WireReader, declared_framing, malformed, parse_head};

/// How long a closed connection is read on: closing with unread bytes would be a reset.
const LINGER: Duration = Duration::from_secs(5);

/// How much a client may send ahead of the answer.
const AHEAD: usize = 1 << 20;

type Stream = Box<dyn Io>;

/// Serves a connection to its end.
pub(super) async fn serve(shared: &Shared, stream: Stream, socket: Socket, connection: u64) {
    let (read, write) = tokio::io::split(stream);
    let mut reader = WireReader::new(read);
    let mut output = H1Output { write };
    // An error is the client's, or the test's, doing; what was seen of the connection is recorded.
    let finish = requests(shared, &mut reader, &mut output, connection).await.unwrap_or(Finish::Gone);
    match finish {
        Finish::Cut(Cut::Reset) => {
            socket.delivered().await;
            let _ = socket.reset_on_close();
        }
        #[cfg(feature = "testing")]
        Finish::Refused | Finish::LetGo => {
            socket.delivered().await;
            let _ = socket.reset_on_close();
        }
        Finish::Cut(Cut::Close) => {
            let _ = socket.finish();
            drain(&mut reader).await;
        }
        Finish::Complete | Finish::Last | Finish::Gone => {
            let _ = output.write.shutdown().await;
            drain(&mut reader).await;
        }
    }
}

async fn drain<R: AsyncRead + Unpin>(reader: &mut WireReader<R>) {
    let _ = tokio::time::timeout(LINGER, async {
        while let Ok(true) = reader.fill().await {
            reader.take_buffered();
        }
    })
    .await;
}

async fn requests(
    shared: &Shared,
    reader: &mut WireReader<ReadHalf<Stream>>,
    output: &mut H1Output<WriteHalf<Stream>>,
    connection: u64,
) -> io::Result<Finish> {
    let mut nth = 0;
    loop {
        let Some(raw) = reader.head().await? else {
            return Ok(Finish::Gone);
        };
        nth += 1;
        let (head, framing) = parse_request(raw, connection, nth)?;
        let closes = head.headers.lists("connection", "close");
        let expects = head.headers.lists("expect", "100-continue");
        let intake = shared.intake(&head);
        let request = shared.admit(head);
        reader.begin(framing);
        let finish = exchange(shared, reader, output, &request, intake, expects).await?;
        if finish != Finish::Complete || closes || request.is_upgraded() {
            return Ok(finish);
        }
    }
}

/// Receives a body and plays the answer, at the same time where the answer is early.
async fn exchange(
    shared: &Shared,
    reader: &mut WireReader<ReadHalf<Stream>>,
    output: &mut H1Output<WriteHalf<Stream>>,
    request: &ReceivedRequest,
    intake: Intake,
    expects: bool,
) -> io::Result<Finish> {
    let complete = Signal::new();
    let mut held = shared.bodies.body();
    let receive = async {
        if let Some(gate) = &intake.gate {
            gate.wait().await;
        }
        let end = receive_body(reader, request, &mut held, intake.hold.as_ref()).await;
        request.end_body(end);
        if end == BodyEnd::Complete {
            complete.set();
            watch(reader, request).await;
        }
        request.mark_gone();
    };
    let answer = async {
        if let Some(script) = &intake.early {
            return play(script, request, output).await;
        }
        if let Some(gate) = &intake.gate {
            gate.wait().await;
        }
        if expects && intake.says_continue {
            output.interim(100, &Headers::new()).await?;
        }
        complete.wait().await;
        play(&shared.behaviour.respond(request), request, output).await
    };
    tokio::pin!(receive, answer);
    let mut leaving = false;
    let finish = loop {
        tokio::select! {
            finish = &mut answer => break finish?,
            () = &mut receive, if !leaving => {
                if !complete.is_set() {
                    return Ok(Finish::Gone);
                }
                leaving = true;
            }
        }
    };
    if finish == Finish::Complete && !complete.is_set() {
        // An early answer is out before the request is in: the next request is behind the rest of this one.
        tokio::select! {
            () = complete.wait() => {}
            () = &mut receive => return Ok(Finish::Gone),
        }
    }
    Ok(finish)
}

async fn receive_body<R: AsyncRead + Unpin>(
    reader: &mut WireReader<R>,
    request: &ReceivedRequest,
    held: &mut Held<'_>,
    hold: Option<&(usize, Signal)>,
) -> BodyEnd {
    let mut received = 0;
    loop {
        if let Some((count, signal)) = hold
            && received >= *count
        {
            signal.wait().await;
        }
        match reader.piece().await {
            Ok(Piece::Data { bytes, ends_frame }) => {
                if !held.take(bytes.len()) {
                    return BodyEnd::Cut;
                }
                received += bytes.len();
                request.receive(&bytes, ends_frame);
            }
            Ok(Piece::Trailers(trailers)) => request.receive_trailers(trailers),
            Ok(Piece::End) => return BodyEnd::Complete,
            Err(_) => return BodyEnd::Cut,
        }
    }
}

/// Returns when the client has left. Requests sent ahead stay in the buffer; bytes after a 101 are recorded.
async fn watch<R: AsyncRead + Unpin>(reader: &mut WireReader<R>, request: &ReceivedRequest) {
    loop {
        if request.is_upgraded() && reader.buffered() > 0 {
            request.receive_in_tunnel(&reader.take_buffered());
            request.tunnel_has_room().await;
        }
        if reader.buffered() > AHEAD {
            return std::future::pending().await;
        }
        if !matches!(reader.fill().await, Ok(true)) {
            return;
        }
    }
}

fn parse_request(raw: Bytes, connection: u64, nth: u64) -> io::Result<(RequestHead, Framing)> {
    let (line, headers) = parse_head(&raw)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else {
        return Err(malformed("a request line without three words"));
    };
    let framing = declared_framing(&headers)?.unwrap_or(Framing::Length(0));
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok((RequestHead { method, target, version: Version::Http1, headers, raw, connection, nth }, framing))
}

struct H1Output<W> {
    write: W,
}

impl<W: AsyncWrite + Unpin> H1Output<W> {
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes).await?;
        self.write.flush().await
    }

    async fn put_head(&mut self, status: u16, headers: &Headers) -> io::Result<()> {
        let reason = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Unknown");
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
        headers.write_to(&mut head);
        head.extend_from_slice(b"\r\n");
        self.put(&head).await
    }
}

impl<W: AsyncWrite + Unpin> Output for H1Output<W> {
    async fn interim(&mut self, status: u16, headers: &Headers) -> io::Result<()> {
        self.put_head(status, headers).await
    }

    async fn head(&mut self, status: u16, headers: &Headers) -> io::Result<()> {
        self.put_head(status, headers).await
    }

    async fn chunk(&mut self, bytes: Bytes, of: usize) -> io::Result<()> {
        let mut chunk = format!("{of:x}\r\n").into_bytes();
        chunk.put_slice(&bytes);
        if bytes.len() == of {
            chunk.put_slice(b"\r\n");
        }
        self.put(&chunk).await
    }

    async fn data(&mut self, bytes: Bytes) -> io::Result<()> {
        self.put(&bytes).await
    }

    async fn raw(&mut self, bytes: Bytes) -> io::Result<()> {
        self.put(&bytes).await
    }

    #[cfg(feature = "testing")]
    async fn go_away(&mut self, _: GoAway) -> io::Result<()> {
        Ok(())
    }

    async fn last_chunk(&mut self, trailers: &Headers) -> io::Result<()> {
        let mut end = b"0\r\n".to_vec();
        trailers.write_to(&mut end);
        end.put_slice(b"\r\n");
        self.put(&end).await
    }
}
