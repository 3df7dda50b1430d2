//! Sending a request to its credential's upstream, and the repeats that only concern connections.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::{Frame, Incoming};
use trunkline_core::fault::{Fault, FaultKind};
use trunkline_core::headers::{self, SetAnew};
use trunkline_core::provider::Provider;

use crate::client_connection::ClientConnection;
use crate::credential::{Credential, Held};
use crate::upload::{Upload, UploadError, Waiting};
use crate::upstream::{Connection, Source, exchange};

/// A request as it goes out, apart from its body. Not `Debug`: the user's token is among the headers.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    /// As the client sent it, without the service's prefix.
    pub(crate) target: PathAndQuery,
    /// The client's headers. What goes out is made from them for each try: nearly always there is one.
    pub(crate) headers: &'a HeaderMap,
    /// The service's headers, which override the client's.
    pub(crate) overrides: &'a [(HeaderName, Vec<HeaderValue>)],
    pub(crate) held: Arc<Held>,
}

/// Room for the headers that are set by us.
const OWN_HEADERS: usize = 4;

impl Outgoing<'_> {
    fn headers(&self, provider: &dyn Provider, is_http1: bool, length: Option<u64>) -> HeaderMap {
        let anew = SetAnew { authorization: &self.held.authorization.name, is_http1 };
        let mut out = headers::forwarded_request(self.headers, anew, self.overrides.len() + OWN_HEADERS);
        match length {
            // The library adds it where there is none and a body needs one.
            Some(length) => {
                if let Some(value) = out.get_mut(CONTENT_LENGTH) {
                    *value = length.into();
                }
            }
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
        provider.authorize(&mut out, &self.held.authorization);
        out
    }
}

/// An answer whose head is in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) source: Source,
    /// What of its body has been read already, to be handed on before the rest.
    pub(crate) read_ahead: VecDeque<Frame<Bytes>>,
}

/// Who was waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    Client,
    Provider,
}

/// Sends the request, over a reused connection first, and once more over a fresh one if that turns out to be dead, or if
/// none could be made at the first try.
///
/// A connection that had been idle may have been closed by the provider just as the request went out; nothing has been
/// answered then, and the same credential is as good as before.
pub(crate) async fn forward(
    provider: &'static dyn Provider,
    credential: &Credential,
    outgoing: &Outgoing<'_>,
    upload: &Arc<Upload>,
    client: &Arc<ClientConnection>,
    attempts: &mut u32,
) -> Result<Answer, Fault> {
    let upstream = credential.upstream();
    let mut fresh = false;
    loop {
        *attempts += 1;
        let is_first = *attempts == 1;
        let connection = match upstream.connect(fresh).await {
            Ok(connection) => connection,
            Err(error) if is_first => {
                tracing::debug!(credential = &**credential.tag(), %error, "no connection, once more");
                fresh = true;
                continue;
            }
            Err(error) => {
                return Err(Fault::new(
                    FaultKind::UpstreamConnection,
                    format!(
                        "trunkline could not connect to the provider for credential {}",
                        credential.tag()
                    ),
                )
                .with_detail(error.to_string()));
            }
        };
        let reused = matches!(&connection, Connection::Http1 { reused, .. } | Connection::Http2 { reused, .. } if *reused);
        let request = request_for(provider, credential, outgoing, upload, client, &connection)?;
        match within_time(upload, exchange(connection, request)).await {
            Ok(Ok((response, source))) => {
                return Ok(Answer { response, source, read_ahead: VecDeque::new() });
            }
            Ok(Err(error)) => {
                if let Some(error) = upload.failure() {
                    return Err(upload_fault(error));
                }
                if reused && is_first {
                    tracing::debug!(credential = &**credential.tag(), %error, "a reused connection was dead, once more");
                    fresh = true;
                    continue;
                }
                return Err(Fault::new(
                    FaultKind::UpstreamConnection,
                    format!(
                        "the provider closed the connection of credential {} without an answer",
                        credential.tag()
                    ),
                )
                .with_detail(error.to_string()));
            }
            Err(Timeout::Client) => {
                return Err(slow_body());
            }
            Err(Timeout::Provider) => {
                return Err(Fault::new(
                    FaultKind::UpstreamTimeout,
                    format!("the provider did not answer credential {} in time", credential.tag()),
                ));
            }
        }
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

fn request_for(
    provider: &'static dyn Provider,
    credential: &Credential,
    outgoing: &Outgoing<'_>,
    upload: &Arc<Upload>,
    client: &Arc<ClientConnection>,
    connection: &Connection,
) -> Result<Request<crate::upload::UploadBody>, Fault> {
    let origin = credential.upstream().origin();
    let is_http2 = matches!(connection, Connection::Http2 { .. });
    let body = upload.next_try().ok_or_else(|| {
        Fault::new(
            FaultKind::UpstreamConnection,
            "the provider's connection was lost, and the body is too long to be kept",
        )
    })?;
    let mut request = Request::new(body);
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = origin
        .target(&outgoing.target, is_http2)
        .map_err(|_| Fault::new(FaultKind::InvalidRequest, "the request target is not valid"))?;
    *request.headers_mut() = outgoing.headers(provider, !is_http2, upload.length());
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
        let kept =
            headers::forwarded_response(response.headers().clone(), |name| provider.is_limit_header(name), 0);
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
pub(crate) async fn within_time<T>(upload: &Upload, answer: impl Future<Output = T>) -> Result<T, Timeout> {
    let mut answer = pin!(answer);
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
