//! HTTP/2 over hyper: the same scripts as far as they apply.
//!
//! Interim heads and raw bytes cannot be sent and are left out. A reset is `RST_STREAM` (`INTERNAL_ERROR`)
//! after everything before it has been written, a refusal one with `REFUSED_STREAM`; a close drops the connection
//! with all its streams. `GOAWAY` is put between the library's frames by [`Tap`], for the library's own leaves out no stream that it has taken.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Shared;
use super::behaviour::Intake;
use super::go_away::GoAway;
use super::play::{Finish, Output, play};
use super::request::{BodyEnd, ReceivedRequest, RequestHead, Version};
use super::script::Cut;
use super::tap::{Flow, Tap};
use crate::headers::{Headers, text};
use crate::log::lock;
use crate::signal::Signal;
use crate::socket::{Io, Socket};

/// Serves a connection to its end.
pub(super) async fn serve(shared: &Arc<Shared>, stream: Box<dyn Io>, socket: Socket, connection: u64) {
    let flow = Flow::default();
    let close = Signal::new();
    let tasks = Tasks::default();
    let count = Arc::new(AtomicU64::new(0));
    let service = service_fn({
        let (shared, flow, close, executor) =
            (Arc::clone(shared), flow.clone(), close.clone(), tasks.executor());
        move |request| {
            let nth = count.fetch_add(1, Ordering::Relaxed) + 1;
            let stream = Stream { shared: Arc::clone(&shared), flow: flow.clone(), close: close.clone() };
            let (answer, guard) = stream.start(request, connection, nth, &executor);
            async move { answered(answer.await, guard) }
        }
    });
    let served = hyper::server::conn::http2::Builder::new(tasks.executor())
        .serve_connection(TokioIo::new(Tap::new(stream, flow.clone())), service);
    tokio::select! {
        _ = served => {}
        () = close.wait() => {
            let _ = socket.finish();
        }
    }
}

fn answered(
    answer: Result<Result<http::response::Parts, Aborted>, oneshot::error::RecvError>,
    mut guard: Guard,
) -> Result<Response<ScriptBody>, Aborted> {
    let parts = answer.unwrap_or_else(|_| Err(Aborted::default())).inspect_err(|_| guard.finished = true)?;
    let frames = guard.frames.take().ok_or_else(Aborted::default)?;
    Ok(Response::from_parts(parts, ScriptBody { frames, guard }))
}

/// The stream tasks of one connection, which end with it.
#[derive(Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn executor(&self) -> Executor {
        Executor(Arc::clone(&self.0))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        lock(&self.0).abort_all();
    }
}

#[derive(Clone)]
struct Executor(Arc<Mutex<JoinSet<()>>>);

impl Executor {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.0);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}

struct Stream {
    shared: Arc<Shared>,
    flow: Flow,
    close: Signal,
}

type HeadSender = oneshot::Sender<Result<http::response::Parts, Aborted>>;
type HeadReceiver = oneshot::Receiver<Result<http::response::Parts, Aborted>>;
type Frames = mpsc::Receiver<Result<Frame<Bytes>, Aborted>>;

impl Stream {
    /// Starts to receive a request and to play its answer.
    fn start(
        self,
        request: Request<Incoming>,
        connection: u64,
        nth: u64,
        executor: &Executor,
    ) -> (HeadReceiver, Guard) {
        let (parts, body) = request.into_parts();
        let head = request_head(&parts, connection, nth);
        let intake = self.shared.intake(&head);
        let request = self.shared.admit(head);
        let (head_sender, head) = oneshot::channel();
        let (frames_sender, frames) = mpsc::channel(1);
        let guard = Guard { request: request.clone(), frames: Some(frames), finished: false };
        let flow = self.flow.clone();
        let output = H2Output { head: Some(head_sender), frames: frames_sender, flow, nth };
        executor.spawn(receive_body(body, request.clone(), intake.clone()));
        executor.spawn(self.answer(request, intake, output));
        (head, guard)
    }

    async fn answer(self, request: ReceivedRequest, intake: Intake, mut output: H2Output) {
        let finish = match &intake.early {
            Some(script) => play(script, &request, &mut output).await,
            None => match request.ended().await {
                BodyEnd::Complete => {
                    play(&self.shared.behaviour.respond(&request), &request, &mut output).await
                }
                BodyEnd::Cut => Ok(Finish::Gone),
            },
        };
        match finish {
            Ok(Finish::Cut(Cut::Reset)) => {
                self.flow.flushed().await;
                output.abort(Aborted::default()).await;
            }
            Ok(Finish::Refused) => {
                self.flow.flushed().await;
                output.abort(Aborted(h2::Reason::REFUSED_STREAM.into())).await;
            }
            Ok(Finish::LetGo) => {
                self.flow.flushed().await;
                output.abort(Aborted(h2::Reason::NO_ERROR.into())).await;
            }
            Ok(Finish::Cut(Cut::Close)) => {
                self.flow.flushed().await;
                self.close.set();
                // The stream must not end before the connection does: that would be a complete answer.
                std::future::pending::<()>().await;
            }
            Ok(Finish::Complete | Finish::Last) => {}
            Ok(Finish::Gone) | Err(_) => output.abort(Aborted::default()).await,
        }
    }
}

async fn receive_body(mut body: Incoming, request: ReceivedRequest, intake: Intake) {
    if let Some(gate) = &intake.gate {
        gate.wait().await;
    }
    let mut received = 0;
    loop {
        if let Some((count, signal)) = &intake.hold
            && received >= *count
        {
            signal.wait().await;
        }
        match body.frame().await {
            None => return request.end_body(BodyEnd::Complete),
            Some(Err(_)) => {
                request.end_body(BodyEnd::Cut);
                return request.mark_gone();
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
                    received += bytes.len();
                    request.receive(&bytes, true);
                }
                Err(frame) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        request.receive_trailers(Headers::from_map(trailers));
                    }
                }
            },
        }
    }
}

fn request_head(parts: &http::request::Parts, connection: u64, nth: u64) -> RequestHead {
    let mut headers = Headers::new();
    if let Some(authority) = parts.uri.authority() {
        headers.push("host", authority.as_str());
    }
    for (name, value) in &parts.headers {
        headers.push(name.as_str(), text(value.as_bytes()));
    }
    RequestHead {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string),
        version: Version::Http2,
        headers,
        raw: Bytes::new(),
        connection,
        nth,
    }
}

struct H2Output {
    head: Option<HeadSender>,
    frames: mpsc::Sender<Result<Frame<Bytes>, Aborted>>,
    flow: Flow,
    nth: u64,
}

impl H2Output {
    async fn frame(&self, frame: Frame<Bytes>) -> io::Result<()> {
        self.frames.send(Ok(frame)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn abort(&mut self, aborted: Aborted) {
        // Nobody listens if the client has left: then there is nothing to abort.
        match self.head.take() {
            Some(head) => {
                let _ = head.send(Err(aborted));
            }
            None => {
                let _ = self.frames.send(Err(aborted)).await;
            }
        }
    }
}

impl Output for H2Output {
    async fn interim(&mut self, _: u16, _: &Headers) -> io::Result<()> {
        Ok(())
    }

    async fn head(&mut self, status: u16, headers: &Headers) -> io::Result<()> {
        let status = http::StatusCode::from_u16(status).map_err(io::Error::other)?;
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = status;
        parts.headers = headers.to_map();
        self.flow.hand_head();
        let head = self.head.take().ok_or_else(|| io::Error::other("a second head on an HTTP/2 stream"))?;
        head.send(Ok(parts)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn chunk(&mut self, bytes: Bytes, _: usize) -> io::Result<()> {
        self.data(bytes).await
    }

    async fn data(&mut self, bytes: Bytes) -> io::Result<()> {
        self.flow.hand_data(bytes.len());
        self.frame(Frame::data(bytes)).await
    }

    async fn raw(&mut self, _: Bytes) -> io::Result<()> {
        Ok(())
    }

    async fn go_away(&mut self, go_away: GoAway) -> io::Result<()> {
        self.flow.interject(go_away.frame(self.nth)).await;
        Ok(())
    }

    async fn last_chunk(&mut self, trailers: &Headers) -> io::Result<()> {
        if trailers.is_empty() {
            return Ok(());
        }
        self.flow.hand_head();
        self.frame(Frame::trailers(trailers.to_map())).await
    }
}

/// The body of an answer, frame by frame from its script.
struct ScriptBody {
    frames: Frames,
    guard: Guard,
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let frame = ready!(self.frames.poll_recv(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.guard.finished = true;
        }
        Poll::Ready(frame)
    }
}

/// Tells that the client has left: hyper drops the answer, or the wait for it, before its end.
struct Guard {
    request: ReceivedRequest,
    frames: Option<Frames>,
    finished: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The body of an answer to HEAD is never read.
        if !self.finished && self.request.method != "HEAD" {
            self.request.mark_gone();
        }
    }
}

/// Why a stream is reset: because its script says so, for a reason that the library looks for in the source.
#[derive(Debug)]
struct Aborted(h2::Error);

impl Default for Aborted {
    fn default() -> Self {
        Self(h2::Reason::INTERNAL_ERROR.into())
    }
}

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the script resets the stream")
    }
}

impl std::error::Error for Aborted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The reason of an HTTP/2 stream reset by the peer, if that is what `error` is about.
pub(crate) fn reset_reason(error: &hyper::Error) -> Option<u32> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return h2.reason().filter(|_| h2.is_reset() && h2.is_remote()).map(u32::from);
        }
        source = error.source();
    }
    None
}
