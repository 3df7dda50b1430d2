//! Looking at an answer before its head goes to the client: is it a failure that another credential would not have?
//!
//! Spec: routing.md, *Failures before the first response byte*. What is read of the body is put aside and handed on.

use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use hyper::body::Frame;
use trunkline_core::failure::{ErrorFields, MAX_ERROR_BODY};
use trunkline_core::first_event::{Beginning, FirstEvent, HOLD, MAX_HELD};
use trunkline_core::limits::error_body::ErrorBody;
use trunkline_core::limits::{Refusal, RefusedAnswer};
use trunkline_core::provider::Provider;

use crate::decode::BodyDecoder;
use crate::forward::Answer;
use crate::own_request::poll_answer;
use crate::read_ahead;

/// The longest that the body of an error is waited for. Of what has not come by then nothing is made.
const ERROR_PATIENCE: Duration = Duration::from_secs(2);

/// What is wrong with an answer.
#[derive(Debug)]
pub(super) enum Examined {
    /// Nothing that would be judged: it goes to the client.
    Fine,
    /// It is a failure.
    Failed {
        /// What it says.
        error: ErrorFields,
        /// Whether that was the first telling event of a stream.
        is_first_event: bool,
        /// What it means for the account's limits.
        refusal: Option<Refusal>,
    },
    /// Its connection was lost before it said anything.
    Lost,
}

/// Examines an answer. `model`: what was asked for, as far as it is known.
pub(super) async fn examine(
    provider: &'static dyn Provider,
    answer: &mut Answer,
    model: impl Fn() -> Option<String>,
    is_api_key: bool,
) -> Examined {
    let status = answer.response.status();
    if status.is_success() {
        if is_event_stream(answer.response.headers()) {
            return Box::pin(first_event(provider, answer, model, is_api_key)).await;
        }
        return Examined::Fine;
    }
    if !(status.is_client_error() || status.is_server_error()) {
        return Examined::Fine;
    }
    let mut body = Vec::new();
    if is_told_by_its_body(status) {
        // Not in time, or not to its end: what has come goes on, and nothing is made of it.
        if Box::pin(tokio::time::timeout(ERROR_PATIENCE, read_whole(answer))).await == Ok(true) {
            body = decoded(answer).unwrap_or_default();
        }
    }
    let error = ErrorFields::from_body(&body);
    let refusal = refusal(provider, answer, status, &ErrorBody::parse(&body), model, is_api_key);
    Examined::Failed { error, is_first_event: false, refusal }
}

/// Whether what the table makes of such an answer depends on what it says.
fn is_told_by_its_body(status: StatusCode) -> bool {
    status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE
}

fn refusal(
    provider: &dyn Provider,
    answer: &Answer,
    status: StatusCode,
    error: &ErrorBody,
    model: impl Fn() -> Option<String>,
    is_api_key: bool,
) -> Option<Refusal> {
    if status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let model = model();
    let headers = answer.response.headers();
    let refused = RefusedAnswer { status, headers, error, model: model.as_deref(), is_api_key };
    provider.limit_facts().refusal(&refused, SystemTime::now())
}

/// Whether an answer with these headers is a stream of events.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    const STREAM: &[u8] = b"text/event-stream";
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().get(..STREAM.len()));
    content_type.is_some_and(|beginning| beginning.eq_ignore_ascii_case(STREAM))
}

/// Reads the beginning of a stream, until it tells something or has been held for long enough.
async fn first_event(
    provider: &'static dyn Provider,
    answer: &mut Answer,
    model: impl Fn() -> Option<String>,
    is_api_key: bool,
) -> Examined {
    let mut first = FirstEvent::new();
    let mut decoder = encoding(answer).map(|encoding| BodyDecoder::new(encoding, MAX_HELD));
    let reads = std::future::poll_fn(|context| {
        while *first.beginning() == Beginning::Undecided {
            let frame =
                std::task::ready!(poll_answer(answer.response.body_mut(), &mut answer.source, context));
            match frame {
                None => drop(first.end(true).clone()),
                Some(Err(_)) => drop(first.end(false).clone()),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        let is_read = push(&mut first, decoder.as_mut(), data);
                        read_ahead::push(&mut answer.read_ahead, frame);
                        if !is_read {
                            break;
                        }
                    } else {
                        read_ahead::push(&mut answer.read_ahead, frame);
                    }
                }
            }
        }
        Poll::Ready(())
    });
    // Held for long enough: what has been read goes on as it is.
    let _ = tokio::time::timeout(HOLD, reads).await;
    match first.beginning() {
        Beginning::Undecided | Beginning::Release => Examined::Fine,
        Beginning::Lost => Examined::Lost,
        Beginning::Error(error) => {
            let status = error.status.or_else(|| provider.failure_texts().status_of(error));
            let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default();
            let body = ErrorBody::of_fields(error);
            let refusal = refusal(provider, answer, status, &body, model, is_api_key);
            Examined::Failed { error: error.clone(), is_first_event: true, refusal }
        }
    }
}

/// Whether it could be read.
fn push(first: &mut FirstEvent, decoder: Option<&mut BodyDecoder>, data: &Bytes) -> bool {
    match decoder {
        None => drop(first.push(data).clone()),
        Some(decoder) => return decoder.push(data, |piece| drop(first.push(piece).clone())).is_ok(),
    }
    true
}

/// Reads on, to the end or the bound. Whether that was the end.
async fn read_whole(answer: &mut Answer) -> bool {
    let mut length = 0;
    std::future::poll_fn(|context| {
        loop {
            let frame =
                std::task::ready!(poll_answer(answer.response.body_mut(), &mut answer.source, context));
            match frame {
                None => return Poll::Ready(true),
                Some(Err(_)) => {
                    answer.was_cut = true;
                    return Poll::Ready(false);
                }
                Some(Ok(frame)) => {
                    length += frame.data_ref().map_or(0, Bytes::len);
                    read_ahead::push(&mut answer.read_ahead, frame);
                    if length > MAX_ERROR_BODY {
                        return Poll::Ready(false);
                    }
                }
            }
        }
    })
    .await
}

fn encoding(answer: &Answer) -> Option<&str> {
    answer.response.headers().get(CONTENT_ENCODING).and_then(|value| value.to_str().ok())
}

/// What has been read ahead, decoded for reading.
fn decoded(answer: &Answer) -> Option<Vec<u8>> {
    let pieces = answer.read_ahead.iter().filter_map(Frame::data_ref);
    let mut text = Vec::new();
    match encoding(answer) {
        None => pieces.for_each(|piece| text.extend_from_slice(piece)),
        Some(encoding) => {
            let mut decoder = BodyDecoder::new(encoding, MAX_ERROR_BODY as u64);
            for piece in pieces {
                decoder.push(piece, |decoded| text.extend_from_slice(decoded)).ok()?;
            }
            decoder.finish(|decoded| text.extend_from_slice(decoded)).ok()?;
        }
    }
    Some(text)
}
