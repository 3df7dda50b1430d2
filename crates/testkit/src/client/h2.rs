//! An HTTP/2 client over hyper.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Ended, Frame, Request, Response, ResponseHead};
use crate::headers::Headers;
use hyper::upgrade::Upgraded;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::log::lock;
use crate::signal::bounded;
use crate::socket::{Io, Socket};
use crate::tls::{Alpn, Authority};
use crate::upstream::reset_reason;

/// Longest head that it takes: more than anything that is tested.
const MAX_HEADER_LIST: u32 = 1 << 20;

/// A connection on which requests can run side by side; it is closed when dropped.
pub struct H2Client {
    sender: SendRequest<Upload>,
    tasks: Arc<Mutex<JoinSet<()>>>,
    base: String,
}

impl H2Client {
    /// Connects in clear text, by prior knowledge.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::connect(addr).await?;
        Self::new(Box::new(socket), format!("http://{addr}")).await
    }

    /// Connects with TLS to a server that calls itself `localhost`, offering HTTP/2 only. An error if the
    /// server does not agree.
    pub async fn connect_tls(addr: SocketAddr, authority: &Authority) -> io::Result<Self> {
        let stream = authority.connect(Socket::connect(addr).await?, &[Alpn::H2]).await?;
        if stream.get_ref().1.alpn_protocol() != Some(Alpn::H2.id()) {
            return Err(io::Error::other("the server does not agree to h2"));
        }
        Self::new(Box::new(stream), format!("https://localhost:{}", addr.port())).await
    }

    async fn new(stream: Box<dyn Io>, base: String) -> io::Result<Self> {
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let handshake = Builder::new(Executor(Arc::clone(&tasks)))
            .max_header_list_size(MAX_HEADER_LIST)
            .handshake(TokioIo::new(stream));
        let (sender, connection) =
            bounded("an HTTP/2 handshake", handshake).await?.map_err(io::Error::other)?;
        lock(&tasks).spawn(async move {
            // How it ended is seen by the requests on it.
            let _ = connection.await;
        });
        Ok(Self { sender, tasks, base })
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: &Request) -> io::Result<Response> {
        let mut exchange = self.start(request).await?;
        for chunk in request.chunks.clone().unwrap_or_else(|| vec![request.body.clone()]) {
            exchange.write(chunk).await?;
        }
        exchange.finish();
        exchange.response().await
    }

    /// Sends the head of a request; its body is up to the caller. A request that has none is finished at once
    /// if it is a GET or HEAD.
    pub async fn start(&mut self, request: &Request) -> io::Result<H2Exchange> {
        bounded("room for an HTTP/2 stream", self.sender.ready()).await?.map_err(io::Error::other)?;
        let mut builder = hyper::Request::builder()
            .method(request.method.as_str())
            .uri(format!("{}{}", self.base, request.target));
        let bodiless = request.body.is_empty() && request.chunks.is_none();
        if let Some(headers) = builder.headers_mut() {
            *headers = request.headers.to_map();
            if request.chunks.is_none()
                && !bodiless
                && !request.exact
                && !request.headers.contains("content-length")
            {
                headers.insert("content-length", request.body.len().into());
            }
        }
        let (sender, frames) = mpsc::channel(1);
        let empty = bodiless && matches!(request.method.as_str(), "GET" | "HEAD");
        let upload = Upload { frames, empty };
        let message = builder.body(upload).map_err(io::Error::other)?;
        let future = self.sender.send_request(message);
        let answer = Answer::Coming(Box::pin(future));
        Ok(H2Exchange { upload: (!empty).then_some(sender), answer, end: None })
    }
}

/// A WebSocket over a stream of HTTP/2, as a library has it.
pub type H2Socket = WebSocketStream<TokioIo<Upgraded>>;

impl H2Client {
    /// Asks for a WebSocket by an extended CONNECT (RFC 8441); any other answer than one of 2xx is an error that names its
    /// status. Something must have been answered on the connection before: the server's word that it knows of this comes
    /// with its settings.
    pub async fn socket(&mut self, request: &Request) -> io::Result<(http::HeaderMap, H2Socket)> {
        bounded("room for an HTTP/2 stream", self.sender.ready()).await?.map_err(io::Error::other)?;
        let mut builder = hyper::Request::builder()
            .method(hyper::Method::CONNECT)
            .uri(format!("{}{}", self.base, request.target))
            .extension(hyper::ext::Protocol::from_static("websocket"));
        if let Some(headers) = builder.headers_mut() {
            *headers = request.headers.to_map();
        }
        let (_, frames) = mpsc::channel(1);
        let message = builder.body(Upload { frames, empty: true }).map_err(io::Error::other)?;
        let answer = bounded("an answer", self.sender.send_request(message)).await?;
        let response = answer.map_err(io::Error::other)?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("refused: {}", response.status())));
        }
        let headers = response.headers().clone();
        let upgraded =
            bounded("the stream", hyper::upgrade::on(response)).await?.map_err(io::Error::other)?;
        Ok((headers, WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await))
    }
}

impl Drop for H2Client {
    fn drop(&mut self) {
        lock(&self.tasks).abort_all();
    }
}

impl fmt::Debug for H2Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A request under way. Dropping it before the end resets the stream.
pub struct H2Exchange {
    upload: Option<mpsc::Sender<Result<Bytes, Aborted>>>,
    answer: Answer,
    end: Option<Ended>,
}

enum Answer {
    Coming(Pin<Box<dyn Future<Output = hyper::Result<hyper::Response<Incoming>>> + Send>>),
    Body(Incoming),
}

impl H2Exchange {
    /// Sends one DATA frame of the body.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        let bytes = bytes.into();
        let Some(upload) = &self.upload else {
            return if bytes.is_empty() { Ok(()) } else { Err(io::Error::other("the body is finished")) };
        };
        if !bytes.is_empty() {
            // A server that answers early, or resets, stops reading: the answer tells.
            let _ = bounded("the server to take a frame", upload.send(Ok(bytes))).await?;
        }
        Ok(())
    }

    /// Ends the body.
    pub fn finish(&mut self) {
        self.upload = None;
    }

    /// Resets the stream amid the body.
    pub async fn abort(mut self) -> io::Result<()> {
        if let Some(upload) = self.upload.take() {
            let _ = bounded("the server to take a reset", upload.send(Err(Aborted))).await?;
            // The channel is dropped by hyper when it has acted on it.
            bounded("a reset to be sent", upload.closed()).await?;
        }
        Ok(())
    }

    /// Reads the head. An error whose text names the reason if the stream was reset before there was one:
    /// [`H2Exchange::ended`] tells it too.
    pub async fn head(&mut self) -> io::Result<ResponseHead> {
        let Answer::Coming(future) = &mut self.answer else {
            return Err(io::Error::other("the head has been read"));
        };
        let response = bounded("the head of an answer", future).await?.map_err(|error| {
            self.end = Some(ended(&error));
            io::Error::other(error)
        })?;
        let (parts, body) = response.into_parts();
        self.answer = Answer::Body(body);
        Ok(ResponseHead {
            status: parts.status.as_u16(),
            headers: Headers::from_map(&parts.headers),
            raw: Bytes::new(),
        })
    }

    /// Reads the next frame of the body.
    pub async fn frame(&mut self) -> io::Result<Frame> {
        if matches!(self.answer, Answer::Coming(_)) && self.end.is_none() {
            self.head().await?;
        }
        loop {
            if let Some(end) = self.end {
                return Ok(Frame::End(end));
            }
            let Answer::Body(body) = &mut self.answer else {
                return Err(io::Error::other("there is no body"));
            };
            match bounded("the next frame of an answer", body.frame()).await? {
                None => self.end = Some(Ended::Complete),
                Some(Err(error)) => self.end = Some(ended(&error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Ok(Frame::Data(bytes)),
                    Err(frame) => {
                        if let Some(trailers) = frame.trailers_ref() {
                            return Ok(Frame::Trailers(Headers::from_map(trailers)));
                        }
                    }
                },
            }
        }
    }

    /// How it ended; `None` while it goes on.
    pub fn ended(&self) -> Option<Ended> {
        self.end
    }

    /// Reads the whole answer. The body of the request should be finished, or the answer early.
    pub async fn response(mut self) -> io::Result<Response> {
        let head = self.head().await?;
        let (mut frames, mut trailers) = (Vec::new(), Headers::new());
        loop {
            match self.frame().await? {
                Frame::Data(bytes) => frames.push(bytes),
                Frame::Trailers(lines) => trailers = lines,
                Frame::End(end) => return Ok(Response { interim: Vec::new(), head, frames, trailers, end }),
            }
        }
    }
}

impl fmt::Debug for H2Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2Exchange").field("end", &self.end).finish_non_exhaustive()
    }
}

fn ended(error: &hyper::Error) -> Ended {
    match reset_reason(error) {
        Some(reason) => Ended::StreamReset(reason),
        None => Ended::Cut,
    }
}

/// The body of a request, frame by frame from its exchange.
struct Upload {
    frames: mpsc::Receiver<Result<Bytes, Aborted>>,
    empty: bool,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Aborted>>> {
        self.frames.poll_recv(cx).map(|next| next.map(|bytes| bytes.map(hyper::body::Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.empty
    }
}

/// Why a stream is reset: because the test says so.
#[derive(Debug)]
struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the test resets the stream")
    }
}

impl std::error::Error for Aborted {}

#[derive(Clone)]
struct Executor(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        let mut tasks = lock(&self.0);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }
}
