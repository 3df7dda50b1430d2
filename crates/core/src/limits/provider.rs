//! The part of the seam to a provider that is about limits: how it states them, how it refuses, and how its clients
//! want to be told.

use std::fmt::{self, Debug};
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::event_cut::StreamLimits;
use crate::limits::error_body::ErrorBody;
use crate::limits::{Aggregate, LimitScope, NoCandidate, Readings, Refusal, View};
use crate::provider::OwnAnswer;

/// An answer that may be a refusal.
#[derive(Clone, Copy)]
pub struct RefusedAnswer<'a> {
    /// Its status, or the one that a first event stands for.
    pub status: StatusCode,
    /// Its headers, or those of the event.
    pub headers: &'a HeaderMap,
    /// Its error.
    pub error: &'a ErrorBody,
    /// The model that was asked for.
    pub model: Option<&'a str>,
    /// Whether the credential is an API key, which has no windows.
    pub is_api_key: bool,
}

/// Without the headers: a provider's cookies are among them.
impl Debug for RefusedAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedAnswer")
            .field("status", &self.status)
            .field("error", &self.error)
            .field("model", &self.model)
            .field("is_api_key", &self.is_api_key)
            .finish_non_exhaustive()
    }
}

/// What a provider says about limits, and how. Implementations are zero-sized; every function is pure.
pub trait LimitFacts: Debug + Send + Sync + 'static {
    /// Whether a response header tells of limits, and is replaced by the aggregate's. `name` is in lower case.
    fn is_limit_header(&self, name: &str) -> bool;

    /// Whether a response header is read: those of limits, and what else tells of the account. `name` is in lower case.
    fn is_read(&self, name: &str) -> bool {
        self.is_limit_header(name)
    }

    /// What response headers say. Upgrades (101) say nothing: their numbers are from before the connection.
    fn read_headers(&self, status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Readings;

    /// What the usage endpoint's answer says; `None` if it is none, which is a failed poll.
    fn read_usage(&self, body: &[u8], now: SystemTime) -> Option<Readings>;

    /// The events that tell of limits within a stream, where there are such: they do not go on in answers over HTTP, whose
    /// headers tell of the aggregate.
    fn stream_limits(&self) -> Option<&'static StreamLimits>;

    /// The headers that an event within a stream carries, as if they were those of a response; none for most.
    fn event_headers(&self, event: &[u8]) -> HeaderMap;

    /// What an event within a stream says, if anything.
    fn read_event(&self, event: &[u8], now: SystemTime) -> Readings;

    /// What a 429 means; `None` if the answer is none.
    fn refusal(&self, answer: &RefusedAnswer<'_>, now: SystemTime) -> Option<Refusal>;

    /// The models that an API key's limits count together with this one; `None` if the name is not fit to be one.
    fn key_scope(&self, model: &str) -> Option<LimitScope>;

    /// Whether a response header tells of a request of low priority ([`Quota::Slow`](crate::selection::Quota::Slow)), which
    /// only a client that stands for one account can use. It is a limit header too.
    fn is_slow_header(&self, name: &str) -> bool;

    /// The headers that a client sees in place of the provider's, in order.
    fn shown_headers(&self, view: &View<'_>) -> Vec<(HeaderName, HeaderValue)>;

    /// The body of the usage endpoint that we serve.
    fn usage_body(&self, aggregate: &Aggregate, now: SystemTime) -> Bytes;

    /// The event within a stream that shows the aggregate, for providers that have one.
    fn shown_event(&self, view: &View<'_>) -> Option<String>;

    /// Status, type and body of an answer of ours; its `retry-after` and `x-should-retry` come from [`answer_headers`].
    fn no_candidate(&self, answer: &NoCandidate, request_id: &str, now: SystemTime) -> OwnAnswer;
}

/// `retry-after` and `x-should-retry` of an answer of ours.
pub fn answer_headers(answer: &NoCandidate) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(2);
    if let Some(seconds) = answer.retry_after {
        headers.push((http::header::RETRY_AFTER, HeaderValue::from(seconds)));
    }
    if answer.is_final {
        headers.push((HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false")));
    }
    headers
}

/// A header of ours. A value that no header can carry is left out; numbers and words of ours always can be.
pub(crate) fn push(headers: &mut Vec<(HeaderName, HeaderValue)>, name: &'static str, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        headers.push((HeaderName::from_static(name), value));
    }
}

/// The one value of a header; duplicates that say the same are one.
pub(crate) fn field(headers: &HeaderMap, name: &HeaderName) -> super::readings::Field {
    use super::readings::Field;
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Field::Absent };
    if values.any(|other| other != first) {
        return Field::Bad;
    }
    match first.to_str() {
        Ok(text) if text.trim().is_empty() => Field::Absent,
        Ok(text) => Field::Text(text.trim().to_owned()),
        Err(_) => Field::Bad,
    }
}
