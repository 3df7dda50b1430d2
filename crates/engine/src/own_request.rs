//! Requests of our own to a provider: token calls, and polls. They go the same way out as everybody's, and are small on
//! both sides.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body::Body as _;
use tokio::time::Instant;

use trunkline_decode::{ContentCoding, DecodeError, Decoder};

use crate::handshake::check_change;
use crate::received_body::{BodyError, ReceivedBody};
use crate::upload::Upload;
use crate::upstream::{Connection, NoAnswer, Source, Upstream, dial, exchange};

/// Largest answer that is read, in bytes, as it comes and decoded.
pub(crate) const MAX_ANSWER: usize = 1024 * 1024;

/// Most codings that are undone, one after the other. We ask for none; more than one has never been seen.
const MAX_CODINGS: usize = 3;

/// How much of a coded answer is decoded at once.
const DECODED_AT_ONCE: usize = 4 * 1024;

/// A request of our own.
#[derive(Debug)]
pub(crate) struct OwnRequest {
    pub(crate) method: Method,
    /// Below the base URL; `None`: the base URL itself.
    pub(crate) path: Option<PathAndQuery>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How the body of an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// It is all there.
    Whole,
    /// Something ended it before its end: what, for the log.
    Cut(String),
    /// It is longer than [`MAX_ANSWER`]. The rest was not read.
    TooLong,
}

/// An answer as it came, as far as it came.
#[derive(Debug)]
pub(crate) struct CameBack {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Encoded as it was.
    pub(crate) body: Bytes,
    pub(crate) end: BodyEnd,
}

impl CameBack {
    /// The codings of the body in the order in which they were applied, as the header has them; empty: none.
    pub(crate) fn encoding(&self) -> String {
        let values: Vec<_> =
            self.headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
        values.join(", ")
    }

    /// The answer, if it is whole and can be decoded.
    pub(crate) fn read(self) -> Result<OwnAnswer, OwnError> {
        let body = match &self.end {
            BodyEnd::Whole => {
                let encoding = self.encoding();
                if encoding.is_empty() {
                    Ok(self.body)
                } else {
                    let (decoded, end) = decode(&self.body, &encoding);
                    end.map(|()| decoded.into()).map_err(|error| match error {
                        DecodeError::TooLarge => {
                            format!("the answer decodes to more than {MAX_ANSWER} bytes")
                        }
                        DecodeError::Unreadable => {
                            "the answer is compressed and cannot be decoded".to_owned()
                        }
                    })
                }
            }
            BodyEnd::Cut(why) => Err(why.clone()),
            BodyEnd::TooLong => Err(format!("the answer is longer than {MAX_ANSWER} bytes")),
        };
        let body = body.map_err(OwnError::NoAnswer)?;
        Ok(OwnAnswer { status: self.status, headers: self.headers, body })
    }
}

/// Undoes the codings that `content-encoding` names. What could be decoded before an error is given with it.
pub(crate) fn decode(body: &[u8], encoding: &str) -> (Vec<u8>, Result<(), DecodeError>) {
    let codings: Vec<_> = encoding.split(',').map(str::trim).filter(|coding| !coding.is_empty()).collect();
    if codings.len() > MAX_CODINGS {
        return (Vec::new(), Err(DecodeError::Unreadable));
    }
    let (mut decoded, mut end) = (body.to_vec(), Ok(()));
    // The last one was applied last.
    for coding in codings.into_iter().rev() {
        let (next, undone) = undo(&decoded, coding);
        decoded = next;
        end = end.and(undone);
    }
    (decoded, end)
}

fn undo(body: &[u8], coding: &str) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut decoded = Vec::new();
    let Some(mut decoder) = Decoder::new(ContentCoding::of([Some(coding)]), MAX_ANSWER as u64) else {
        return (decoded, Err(DecodeError::Unreadable));
    };
    let (mut left, mut piece) = (body, [0; DECODED_AT_ONCE]);
    loop {
        match decoder.pull(&mut left, &mut piece) {
            Ok(0) => break,
            Ok(length) => decoded.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(error) => return (decoded, Err(error)),
        }
    }
    let end = if decoder.may_end() { Ok(()) } else { Err(DecodeError::Unreadable) };
    (decoded, end)
}

/// The answer, whole and decoded.
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

/// Sends a request over a connection, and reads the answer as far as it comes until `until`. `reached` is told how far it has
/// come. An error means that not even its head came.
pub(crate) async fn send_over(
    connection: Connection,
    upstream: &Upstream,
    user_agent: &HeaderValue,
    request: &OwnRequest,
    until: Option<Instant>,
    reached: impl Fn(Stage),
) -> Result<CameBack, OwnError> {
    let request = built(upstream, user_agent, request, matches!(connection, Connection::Http2 { .. }))
        .ok_or_else(|| OwnError::NotSent("the request cannot be written".to_owned()))?;
    let exchanged = before_the_first_wait_ends(exchange(connection, request), || reached(Stage::Sent));
    let Some(exchanged) = before(until, exchanged).await else {
        return Err(OwnError::NoAnswer(TOO_LONG.to_owned()));
    };
    let (response, source) = exchanged.map_err(|error| {
        let told = error.to_string();
        if error.how == NoAnswer::NotSent { OwnError::NotSent(told) } else { OwnError::NoAnswer(told) }
    })?;
    check_change(None, &response).map_err(|why| OwnError::NoAnswer(why.to_owned()))?;
    reached(Stage::Head);
    let (head, incoming) = response.into_parts();
    let mut collect = Collect { incoming, source, taken: Vec::new() };
    let end = before(until, &mut collect).await.unwrap_or_else(|| BodyEnd::Cut(TOO_LONG.to_owned()));
    reached(Stage::Body);
    Ok(CameBack { status: head.status, headers: head.headers, body: collect.taken.into(), end })
}

/// Why an answer that takes too long is none.
const TOO_LONG: &str = "it took too long";

/// What `future` comes to, unless `until` comes before.
async fn before<F: Future>(until: Option<Instant>, future: F) -> Option<F::Output> {
    match until {
        Some(until) => tokio::time::timeout_at(until, future).await.ok(),
        None => Some(future.await),
    }
}

/// Sends a request over a connection of its own, and reads the answer.
pub(crate) async fn send(
    upstream: &Upstream,
    user_agent: &HeaderValue,
    request: &OwnRequest,
) -> Result<OwnAnswer, OwnError> {
    send_over(connect(upstream).await?, upstream, user_agent, request, None, |_| {}).await?.read()
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
    // Said outright, since without it anything may come. Nothing of ours is worth compressing, and a token that cannot be read
    // is lost.
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
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
    type Output = BodyEnd;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match ready!(poll_answer(&mut this.incoming, &mut this.source, context)) {
                None => return Poll::Ready(BodyEnd::Whole),
                Some(Err(error)) => return Poll::Ready(BodyEnd::Cut(dial::chain(&error))),
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    let room = MAX_ANSWER.saturating_sub(this.taken.len());
                    if data.len() > room {
                        this.taken.extend_from_slice(data.get(..room).unwrap_or_default());
                        return Poll::Ready(BodyEnd::TooLong);
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
