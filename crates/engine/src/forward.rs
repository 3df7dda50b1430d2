//! Sending a request to its credential's upstream, once.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Frame;
use trunkline_core::answer_head;
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::headers::{self, SetAnew};
use trunkline_core::provider::Provider;
use trunkline_core::socket::SocketFacts;

use crate::client_connection::ClientConnection;
use crate::client_headers::ClientHeaders;
use crate::credential::{Credential, Held};
use crate::decode::DecodeError;
use crate::handshake::{Handshake, check_change};
use crate::memory_budget::Reservation;
use crate::received_body::ReceivedBody;
use crate::upload::{Upload, UploadError, Waiting};
use crate::upstream::{Connection, NoAnswer, Origin, Source, Upstream, exchange};

/// A request as it goes out, apart from its body. Not `Debug`: the user's token is among the headers.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    /// As the client sent it, without the service's prefix.
    pub(crate) target: PathAndQuery,
    /// The client's headers. What goes out is made from them for each try.
    pub(crate) headers: ClientHeaders,
    /// The service's headers, which override the client's.
    pub(crate) overrides: &'a [(HeaderName, Vec<HeaderValue>)],
    /// What is known of the WebSocket that is asked for, if one is.
    pub(crate) socket: Option<&'static dyn SocketFacts>,
}

/// Room for the headers that are set by us.
const OWN_HEADERS: usize = 4;

impl Outgoing<'_> {
    fn headers(
        &self,
        provider: &dyn Provider,
        held: &Held,
        left_out: Option<&HeaderName>,
        is_http1: bool,
        length: Option<u64>,
    ) -> Option<HeaderMap> {
        let anew = SetAnew { authorization: &held.authorization.name, is_http1 };
        let given = self.headers.for_try()?;
        let mut out = headers::forwarded_request(given, anew, self.overrides.len() + OWN_HEADERS);
        if let Some(name) = left_out {
            out = headers::without(out, name);
        }
        match length {
            // The library adds it where there is none and a body needs one. One value takes the place of all, if it was stated
            // more than once.
            Some(length) if out.contains_key(CONTENT_LENGTH) => {
                if !answer_head::is_stated_once(&out)
                    || out.get(CONTENT_LENGTH) != Some(&HeaderValue::from(length))
                {
                    out.insert(CONTENT_LENGTH, length.into());
                }
            }
            Some(_) => {}
            None => {
                out.remove(CONTENT_LENGTH);
            }
        }
        for (name, values) in self.overrides {
            // In the place of the client's, where there is one: removing it would change the order of the others.
            let mut values = values.iter().cloned();
            if let Some(first) = values.next() {
                out.insert(name, first);
            }
            for value in values {
                out.append(name, value);
            }
        }
        if let Some(facts) = self.socket {
            facts.complete_upgrade(&mut out);
        }
        provider.authorize(&mut out, &held.authorization);
        Some(out)
    }
}

/// An answer whose head is in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<ReceivedBody>,
    /// Where it came from, which takes its connection back.
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) source: Source,
    /// What of its body has been read already, to be handed on before the rest.
    pub(crate) read_ahead: VecDeque<Frame<Bytes>>,
    /// Whether the provider cut it meanwhile.
    pub(crate) was_cut: bool,
    /// Whether its body is a stream of events, by its headers or by what it begins with.
    pub(crate) is_stream: bool,
    /// What came of reading its beginning, where that is more than nothing.
    pub(crate) begun: Option<Box<Begun>>,
    /// When its head came.
    pub(crate) at: SystemTime,
}

/// What came of reading the beginning of an answer.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    /// The room for what has been read ahead, as far as that is counted.
    pub(crate) held: Option<Reservation>,
    /// Why it could not be decoded.
    pub(crate) unreadable: Option<DecodeError>,
    /// The headers of the answer with those of the error event that it begins with, if it does and that has any.
    pub(crate) event_headers: Option<HeaderMap>,
}

impl Answer {
    /// The headers that tell of limits: those of the event that it begins with are among them.
    pub(crate) fn limit_headers(&self) -> &HeaderMap {
        let of_event = self.begun.as_ref().and_then(|begun| begun.event_headers.as_ref());
        of_event.unwrap_or_else(|| self.response.headers())
    }

    /// Why what has come of its body could not be decoded for reading, if so.
    pub(crate) fn unreadable(&self) -> Option<DecodeError> {
        self.begun.as_ref().and_then(|begun| begun.unreadable)
    }
}

/// Who was waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    Client,
    Provider,
}

/// Why a try has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The request was not sent, or certainly not processed.
    NotSent {
        /// What kept it from that.
        by: NotSentBy,
        /// Why, for the log.
        detail: String,
    },
    /// The connection was lost after the request was sent.
    Lost {
        /// In which way.
        how: LostBy,
        /// Why, for the log.
        detail: String,
    },
    /// No head came in time.
    NoHead,
    /// The request itself is at fault, or its client: no other try would fare better.
    Fault(Fault),
}

/// The way in which an answer was lost before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostBy {
    /// The provider closed the connection.
    Closing,
    /// The provider reset the HTTP/2 stream.
    Reset,
    /// The stream of events was cut, or ended, before its first event that tells anything.
    EmptyStream,
    /// The provider changed the protocol, but not to what was asked for.
    OtherProtocol,
}

/// What kept a request from being sent, or from being processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSentBy {
    /// There was no connection to be had.
    Dialling,
    /// A connection that had been idle and was too old. That says nothing of the provider.
    StaleConnection,
    /// A connection that ended before the request was on it.
    LostConnection,
    /// The provider, by its own word.
    Provider,
}

/// How soon after it was taken a kept connection ends that the provider had closed already: the news was under way. What
/// ends later has been lost.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// How a try differs from others of its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Whether it takes a new connection even where one is there already.
    pub(crate) fresh: bool,
    /// The header that is left out, since its value belongs to another credential.
    pub(crate) left_out: Option<&'static HeaderName>,
}

/// Sends the request once.
pub(crate) async fn forward(
    provider: &'static dyn Provider,
    credential: &Credential,
    held: &Held,
    outgoing: &Outgoing<'_>,
    upload: &Arc<Upload>,
    client: &Arc<ClientConnection>,
    how: How,
) -> Result<Answer, Unanswered> {
    let target = provider.upstream_target(outgoing.target.as_str(), held.kind());
    let upstream = credential.endpoints().at(target.base);
    let connected = match outgoing.socket {
        None => upstream.connect(how.fresh).await,
        Some(_) => Box::pin(upstream.connect_apart()).await,
    };
    let connection = connected
        .map_err(|error| Unanswered::NotSent { by: NotSentBy::Dialling, detail: error.to_string() })?;
    let reused = match &connection {
        Connection::Http1 { reused, .. } | Connection::Http2 { reused, .. } => *reused,
    };
    let (origin, left_out) = (upstream.origin(), how.left_out);
    let way = Way { origin, path: target.target, connection: &connection, left_out };
    let mut request =
        request_for(provider, &way, held, outgoing, upload, client).map_err(Unanswered::Fault)?;
    let handshake = outgoing.socket.map(|_| Handshake::ask(&mut request));
    let taken = reused.then(Instant::now);
    let answer = pin!(exchange(connection, request));
    match within_time(upload, answer).await {
        Ok(Ok((response, source))) => {
            if let Err(why) = check_change(handshake.as_ref(), &response) {
                return Err(Unanswered::Lost { how: LostBy::OtherProtocol, detail: why.to_owned() });
            }
            let (upstream, at) = (Arc::clone(upstream), SystemTime::now());
            Ok(Answer {
                response,
                upstream,
                source,
                read_ahead: VecDeque::new(),
                was_cut: false,
                is_stream: false,
                begun: None,
                at,
            })
        }
        Ok(Err(error)) => {
            if let Some(error) = upload.failure() {
                return Err(Unanswered::Fault(upload_fault(error)));
            }
            let (how, detail) = (error.how, error.to_string());
            let ends_soon = taken.is_some_and(|taken| taken.elapsed() < STALE_WITHIN);
            let by = if ends_soon { NotSentBy::StaleConnection } else { NotSentBy::LostConnection };
            Err(match how {
                NoAnswer::NotSent => Unanswered::NotSent { by, detail },
                NoAnswer::NotProcessed => Unanswered::NotSent { by: NotSentBy::Provider, detail },
                NoAnswer::Closed if ends_soon => Unanswered::NotSent { by, detail },
                NoAnswer::Closed | NoAnswer::Broken => Unanswered::Lost { how: LostBy::Closing, detail },
                NoAnswer::Reset => Unanswered::Lost { how: LostBy::Reset, detail },
                // The provider may have done what it was asked for: no other try.
                NoAnswer::Unreadable(unreadable) => {
                    let tag = credential.tag();
                    let message =
                        format!("the provider's answer to credential {tag} {unreadable}: it cannot be used");
                    Unanswered::Fault(Fault::new(FaultKind::UpstreamAnswer, message).with_detail(detail))
                }
            })
        }
        Err(Timeout::Client) => Err(Unanswered::Fault(slow_body())),
        Err(Timeout::Provider) => Err(Unanswered::NoHead),
    }
}

/// The refusal of a body that does not arrive.
pub(crate) fn slow_body() -> Fault {
    Fault::new(FaultKind::RequestTimeout, "the request body did not arrive in time")
}

/// What a failed body means for its request.
pub(crate) fn upload_fault(error: UploadError) -> Fault {
    let kind = match error {
        UploadError::TooLarge => FaultKind::BodyTooLarge,
        UploadError::Broken | UploadError::Undecodable => FaultKind::InvalidRequest,
        UploadError::NoRoom => FaultKind::Overloaded,
    };
    Fault::new(kind, error.to_string())
}

/// Where a request goes.
struct Way<'a> {
    origin: &'a Origin,
    /// Path and query below the base URL.
    path: &'a str,
    connection: &'a Connection,
    left_out: Option<&'static HeaderName>,
}

fn request_for(
    provider: &'static dyn Provider,
    way: &Way<'_>,
    held: &Held,
    outgoing: &Outgoing<'_>,
    upload: &Arc<Upload>,
    client: &Arc<ClientConnection>,
) -> Result<Request<crate::upload::UploadBody>, Fault> {
    let origin = way.origin;
    let is_http2 = matches!(way.connection, Connection::Http2 { .. });
    let cannot_repeat = |what: &str| {
        let message = format!("the provider's connection was lost, and {what} to be kept");
        Fault::new(FaultKind::UpstreamConnection, message)
    };
    let body = upload.next_try().ok_or_else(|| cannot_repeat("the body is too long"))?;
    let headers = outgoing
        .headers(provider, held, way.left_out, !is_http2, upload.length())
        .ok_or_else(|| cannot_repeat("the headers are too long"))?;
    let mut request = Request::new(body);
    *request.method_mut() = outgoing.method.clone();
    let invalid = || Fault::new(FaultKind::InvalidRequest, "the request target is not valid");
    let other;
    // Nearly always it goes on as it is.
    let path = if way.path == outgoing.target.as_str() {
        &outgoing.target
    } else {
        other = way.path.parse().map_err(|_| invalid())?;
        &other
    };
    *request.uri_mut() = origin.target(path, is_http2).map_err(|_| invalid())?;
    *request.headers_mut() = headers;
    if is_http2 {
        *request.version_mut() = http::Version::HTTP_2;
    } else {
        request.headers_mut().insert(http::header::HOST, origin.host_header().clone());
        // HTTP/1.1 from end to end: elsewhere the library has no way to send interim responses on.
        if !client.is_http2() {
            pass_interim_responses_on(&mut request, provider, client);
        }
    }
    Ok(request)
}

/// Has every 1xx of the provider written to the client. 100 is left out: the listener sends its own when the body is
/// first asked for, which is when the client may go on.
fn pass_interim_responses_on<B>(
    request: &mut Request<B>,
    provider: &'static dyn Provider,
    client: &Arc<ClientConnection>,
) {
    let client = Arc::clone(client);
    hyper::ext::on_informational(request, move |response| {
        let status = response.status();
        if matches!(status.as_u16(), 100 | 101) {
            return;
        }
        let is_limit_header = |name: &str| provider.is_limit_header(name);
        let (given, mut spare) = (response.headers().clone(), HeaderMap::new());
        let kept = headers::forwarded_response(given, is_limit_header, 0, &mut spare);
        // It has no body, and a length would be taken for that of the answer to come (RFC 9110, 8.6).
        let kept = headers::without(kept, &CONTENT_LENGTH);
        client.push_interim(&interim_head(status, &kept));
    });
}

fn interim_head(status: http::StatusCode, headers: &HeaderMap<HeaderValue>) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Waits for `answer`, as long as the client keeps sending and the provider is within its time.
pub(crate) async fn within_time<T>(
    upload: &Upload,
    mut answer: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Timeout> {
    let mut timer = pin!(None::<tokio::time::Sleep>);
    std::future::poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        loop {
            let (deadline, timeout) = match upload.waiting() {
                Waiting::ForClient(deadline) => (deadline, Timeout::Client),
                Waiting::ForProvider(deadline) => (deadline, Timeout::Provider),
            };
            match timer.as_mut().as_pin_mut() {
                None => timer.set(Some(tokio::time::sleep_until(deadline.into()))),
                // A timer that comes too early is set anew; one that would come too late is not waited for. What was being
                // waited for may have changed since it was set.
                Some(sleep) if sleep.deadline().into_std() > deadline => sleep.reset(deadline.into()),
                Some(sleep) => {
                    if sleep.poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    if deadline <= Instant::now() {
                        return Poll::Ready(Err(timeout));
                    }
                    timer.set(Some(tokio::time::sleep_until(deadline.into())));
                }
            }
        }
    })
    .await
}
