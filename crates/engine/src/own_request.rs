//! Requests of our own to a provider: token calls, and polls. They go the same way out as everybody's, and are small on
//! both sides.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body::Body as _;

use crate::received_body::{BodyError, ReceivedBody};
use crate::upload::Upload;
use crate::upstream::{Connection, NoAnswer, Source, Upstream, dial, exchange};

/// Largest answer that is read, in bytes.
pub(crate) const MAX_ANSWER: usize = 1024 * 1024;

/// A request of our own.
#[derive(Debug)]
pub(crate) struct OwnRequest {
    pub(crate) method: Method,
    /// Below the base URL; `None`: the base URL itself.
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The answer, whole.
#[derive(Debug)]
pub(crate) struct OwnAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    /// Nothing of the request has left.
    #[error("{0}")]
    NotSent(String),
    /// Some of it may have.
    #[error("{0}")]
    NoAnswer(String),
}

/// How far a request of our own has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// What fits into the system's buffers has been handed over: of a request of ours, all.
    Sent,
    /// The head of the answer is here.
    Head,
    /// So is its body.
    Body,
}

/// A connection for one request of our own. Takes no longer than the upstream's own limit.
pub(crate) async fn connect(upstream: &Upstream) -> Result<Connection, OwnError> {
    upstream.connect(true).await.map_err(|error| OwnError::NotSent(error.to_string()))
}

/// Sends a request over a connection, and reads the answer. `reached` is told how far it has come.
pub(crate) async fn send_over(
    connection: Connection,
    upstream: &Upstream,
    user_agent: &HeaderValue,
    request: &OwnRequest,
    reached: impl Fn(Stage),
) -> Result<OwnAnswer, OwnError> {
    let request = built(upstream, user_agent, request, matches!(connection, Connection::Http2 { .. }))
        .ok_or_else(|| OwnError::NotSent("the request cannot be written".to_owned()))?;
    let exchanged = before_the_first_wait_ends(exchange(connection, request), || reached(Stage::Sent)).await;
    let (response, source) = exchanged.map_err(|error| {
        let told = error.to_string();
        if error.how == NoAnswer::NotSent { OwnError::NotSent(told) } else { OwnError::NoAnswer(told) }
    })?;
    reached(Stage::Head);
    let (head, incoming) = response.into_parts();
    let body = Collect { incoming, source, taken: Vec::new() }.await.map_err(OwnError::NoAnswer)?;
    reached(Stage::Body);
    Ok(OwnAnswer { status: head.status, headers: head.headers, body })
}

/// Sends a request over a connection of its own, and reads the answer.
pub(crate) async fn send(
    upstream: &Upstream,
    user_agent: &HeaderValue,
    request: &OwnRequest,
) -> Result<OwnAnswer, OwnError> {
    send_over(connect(upstream).await?, upstream, user_agent, request, |_| {}).await
}

/// Runs `future`, and `then` when it waits for the first time, or has ended without.
async fn before_the_first_wait_ends<F: Future>(future: F, then: impl FnOnce()) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut then = Some(then);
    std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if let Some(then) = then.take() {
            then();
        }
        polled
    })
    .await
}

fn built(
    upstream: &Upstream,
    user_agent: &HeaderValue,
    own: &OwnRequest,
    is_http2: bool,
) -> Option<Request<crate::upload::UploadBody>> {
    let origin = upstream.origin();
    let uri: Uri = match &own.path {
        Some(path) => origin.target(path, is_http2).ok()?,
        None => origin.own_target(is_http2).ok()?,
    };
    let mut request = Request::new(Upload::own(own.body.clone()).next_try()?);
    *request.method_mut() = own.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = own.headers.clone();
    request.headers_mut().insert(USER_AGENT, user_agent.clone());
    if is_http2 {
        *request.version_mut() = http::Version::HTTP_2;
    } else {
        request.headers_mut().insert(HOST, origin.host_header().clone());
    }
    Some(request)
}

/// Reads a body to its end, driving its connection.
struct Collect {
    incoming: ReceivedBody,
    source: Source,
    taken: Vec<u8>,
}

/// The next frame of an answer, with its connection driven if it has no task of its own.
pub(crate) fn poll_answer(
    incoming: &mut ReceivedBody,
    source: &mut Source,
    context: &mut Context<'_>,
) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
    if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(context) {
        return Poll::Ready(frame);
    }
    let Source::Http1(connection) = source else { return Poll::Pending };
    // Its end shows in the body.
    let _ = connection.drive(context);
    Pin::new(incoming).poll_frame(context)
}

impl Future for Collect {
    type Output = Result<Bytes, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match ready!(poll_answer(&mut this.incoming, &mut this.source, context)) {
                None => return Poll::Ready(Ok(std::mem::take(&mut this.taken).into())),
                Some(Err(error)) => return Poll::Ready(Err(dial::chain(&error))),
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    if this.taken.len() + data.len() > MAX_ANSWER {
                        return Poll::Ready(Err(format!("the answer is longer than {MAX_ANSWER} bytes")));
                    }
                    this.taken.extend_from_slice(data);
                }
            }
        }
    }
}

/// Sends a request, and again over a fresh connection as long as nothing of it has left: `tries` times in all.
pub(crate) async fn send_patiently(
    upstream: &Arc<Upstream>,
    user_agent: &HeaderValue,
    request: &OwnRequest,
    tries: u32,
) -> Result<OwnAnswer, OwnError> {
    let mut tried = 1;
    loop {
        match send(upstream, user_agent, request).await {
            Err(OwnError::NotSent(_)) if tried < tries => tried += 1,
            other => return other,
        }
    }
}
