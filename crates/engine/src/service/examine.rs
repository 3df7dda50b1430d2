//! Looking at an answer before its head goes to the client: is it a failure that another credential would not have?
//!
//! Spec: routing.md, *Failures before the first response byte*. What is read of the body is put aside and handed on.

use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Frame;
use trunkline_core::failure::{ErrorFields, MAX_ERROR_BODY};
use trunkline_core::first_event::{Beginning, FirstEvent, HELD_FREELY};
use trunkline_core::limits::error_body::ErrorBody;
use trunkline_core::limits::{Refusal, RefusedAnswer};
use trunkline_core::provider::Provider;

use crate::decode::{BodyDecoder, ContentCoding, DecodeError, PIECE, SLICE, coding_of};
use crate::forward::Answer;
use crate::own_request::poll_answer;
use crate::read_ahead;
use crate::upload::Upload;

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

/// What an answer is to, as far as that decides how it is read.
pub(super) struct AnswerTo<'a> {
    pub(super) method: &'a Method,
    /// Whether its `accept` asks for a stream.
    pub(super) accepts_stream: bool,
    pub(super) upload: &'a Upload,
    pub(super) is_api_key: bool,
}

/// Examines an answer. `model`: what was asked for, as far as it is known.
pub(super) async fn examine(
    provider: &'static dyn Provider,
    answer: &mut Answer,
    to: AnswerTo<'_>,
    model: impl Fn() -> Option<String>,
) -> Examined {
    let status = answer.response.status();
    if status.is_success() {
        answer.is_stream = is_event_stream(answer.response.headers());
        let has_body = *to.method != Method::HEAD
            && !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        if has_body && (answer.is_stream || to.accepts_stream || to.upload.has_body()) {
            return Box::pin(beginning(provider, answer, to, model)).await;
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
            body = decoded(answer, to.upload).unwrap_or_default();
        }
    }
    let error = ErrorFields::from_body(&body);
    let refusal = refusal(provider, answer, status, &ErrorBody::parse(&body), model, to.is_api_key);
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
    let headers = answer.limit_headers();
    let refused = RefusedAnswer { status, headers, error, model: model.as_deref(), is_api_key };
    provider.limit_facts().refusal(&refused, SystemTime::now())
}

/// Whether an answer with these headers is a stream of events.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    const STREAM: &[u8] = b"text/event-stream";
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().get(..STREAM.len()));
    content_type.is_some_and(|beginning| beginning.eq_ignore_ascii_case(STREAM))
}

/// How the reading of a beginning came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// What was looked for is there, or cannot be.
    Decided,
    /// The body has ended as HTTP has it.
    End,
    /// It was cut.
    Cut,
    /// It has been held for long enough, or cannot be decoded, or no more of it can be held.
    GaveUp,
}

/// Reads the beginning of an answer, until it tells something or has been held for long enough.
async fn beginning(
    provider: &'static dyn Provider,
    answer: &mut Answer,
    to: AnswerTo<'_>,
    model: impl Fn() -> Option<String>,
) -> Examined {
    let hold = provider.hold();
    let is_stated = answer.is_stream;
    let mut first = if is_stated { FirstEvent::new(hold.bytes) } else { FirstEvent::unstated(hold.bytes) };
    let coding = coding_of(answer.response.headers());
    let mut decoder =
        (coding != ContentCoding::Identity).then(|| BodyDecoder::new(coding, u64::MAX, to.upload.memory()));
    let reads = read_beginning(answer, &mut first, decoder.as_mut(), hold.bytes, &to);
    // Not in time: held for long enough.
    let stop = tokio::time::timeout(hold.time, reads).await.unwrap_or(Stop::GaveUp);
    drop(decoder);
    if !is_stated {
        answer.is_stream = match (first.beginning(), stop) {
            (Beginning::NoStream, _) => false,
            // Nothing has come that tells what it is, or it cannot be read: it is what was asked for.
            _ if !first.is_stream() => asks_stream(&to, stop).await,
            _ => true,
        };
        if !answer.is_stream {
            // What was read of it goes on.
            answer.was_cut |= stop == Stop::Cut;
            return Examined::Fine;
        }
    }
    match stop {
        Stop::End | Stop::Cut => drop(first.end().clone()),
        // What has been read goes on as it is.
        Stop::Decided | Stop::GaveUp => {}
    }
    match first.beginning() {
        Beginning::Undecided | Beginning::Release | Beginning::NoStream => {
            answer.was_cut |= stop == Stop::Cut;
            Examined::Fine
        }
        Beginning::Lost => Examined::Lost,
        Beginning::Error(error) => {
            answer.was_cut |= stop == Stop::Cut;
            let status = error.status.or_else(|| provider.failure_texts().status_of(error));
            let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default();
            let event = first.error_event();
            let of_event = &provider.limit_facts().event_headers(event);
            if let Some(headers) = with_event_headers(answer.response.headers(), of_event) {
                answer.begun.get_or_insert_default().event_headers = Some(headers);
            }
            let refusal = refusal(provider, answer, status, &ErrorBody::parse(event), model, to.is_api_key);
            Examined::Failed { error: error.clone(), is_first_event: true, refusal }
        }
    }
}

/// Whether the request asks for a stream. In doubt it does, where more of its answer is still to come: what tells of an account's
/// limits may be in it. One that has ended already is no less an answer for being empty.
async fn asks_stream(to: &AnswerTo<'_>, stop: Stop) -> bool {
    to.accepts_stream || to.upload.asks_stream().await.unwrap_or(stop == Stop::GaveUp)
}

/// The headers of an answer with those of an event in their place; `None` if the event has none.
fn with_event_headers(headers: &HeaderMap, of_event: &HeaderMap) -> Option<HeaderMap> {
    if of_event.is_empty() {
        return None;
    }
    let mut all = headers.clone();
    // `drain`, and `into_iter`, give the name of the first of several values only.
    for name in of_event.keys() {
        all.remove(name);
    }
    for (name, value) in of_event {
        all.append(name, value.clone());
    }
    Some(all)
}

async fn read_beginning(
    answer: &mut Answer,
    first: &mut FirstEvent,
    mut decoder: Option<&mut BodyDecoder>,
    most: u64,
    to: &AnswerTo<'_>,
) -> Stop {
    let mut held = 0_u64;
    let mut is_asked = answer.is_stream || to.accepts_stream;
    loop {
        let frame = std::future::poll_fn(|context| {
            poll_answer(answer.response.body_mut(), &mut answer.source, context)
        });
        let frame = match frame.await {
            None => return Stop::End,
            Some(Err(_)) => return Stop::Cut,
            Some(Ok(frame)) => frame,
        };
        let data = frame.data_ref().cloned();
        read_ahead::push(&mut answer.read_ahead, frame);
        let Some(data) = data else { continue };
        held += data.len() as u64;
        let has_room = held <= most && may_hold(answer, held, to);
        if let Err(error) = push(first, decoder.as_deref_mut(), &data).await {
            answer.begun.get_or_insert_default().unreadable = Some(error);
            return Stop::GaveUp;
        }
        if !is_asked && first.is_stream() {
            if to.upload.asks_stream().await == Some(false) {
                // It looks like a stream to somebody who did not ask for one: a file, say.
                *first = FirstEvent::no_stream();
                return Stop::Decided;
            }
            is_asked = true;
        }
        if *first.beginning() != Beginning::Undecided {
            return Stop::Decided;
        }
        if !has_room {
            return Stop::GaveUp;
        }
    }
}

/// Whether so many bytes may be held: what is more than a little counts as memory of the user.
fn may_hold(answer: &mut Answer, held: u64, to: &AnswerTo<'_>) -> bool {
    let counted = usize::try_from(held.saturating_sub(HELD_FREELY)).unwrap_or(usize::MAX);
    if counted == 0 {
        return true;
    }
    let reservation =
        answer.begun.get_or_insert_default().held.get_or_insert_with(|| to.upload.memory().empty());
    reservation.grow(counted.saturating_sub(reservation.bytes()))
}

/// Reads a piece of the body, decoded, as far as it takes to decide.
async fn push(
    first: &mut FirstEvent,
    decoder: Option<&mut BodyDecoder>,
    data: &Bytes,
) -> Result<(), DecodeError> {
    let Some(decoder) = decoder else {
        first.push(data);
        return Ok(());
    };
    let mut input = &data[..];
    let mut given = 0;
    while *first.beginning() == Beginning::Undecided {
        // Not kept while others have their turn.
        let length = {
            let mut buffer = [0; PIECE];
            let length = decoder.pull(&mut input, &mut buffer)?;
            first.push(buffer.get(..length).unwrap_or_default());
            length
        };
        if length == 0 {
            break;
        }
        given += length;
        if given >= SLICE {
            given = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
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

/// What has been read ahead, decoded for reading.
fn decoded(answer: &Answer, upload: &Upload) -> Option<Vec<u8>> {
    let pieces = answer.read_ahead.iter().filter_map(Frame::data_ref);
    let mut text = Vec::new();
    match coding_of(answer.response.headers()) {
        ContentCoding::Identity => pieces.for_each(|piece| text.extend_from_slice(piece)),
        coding => {
            let mut decoder = BodyDecoder::new(coding, MAX_ERROR_BODY as u64, upload.memory());
            for piece in pieces {
                decoder.push(piece, |decoded| text.extend_from_slice(decoded)).ok()?;
            }
            if !decoder.may_end() {
                return None;
            }
        }
    }
    Some(text)
}
