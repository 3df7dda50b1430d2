//! Claude's limits on the wire: unified headers, the usage endpoint, refusals, and what its clients are shown.

mod headers;
mod refusal;
mod shown;
mod usage;

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::limits::{Aggregate, LimitFacts, LimitScope, NoCandidate, Readings, Refusal, RefusedAnswer, View};
use crate::provider::OwnAnswer;
use crate::provider::claude::{Claude, envelope};

/// Start of the headers that tell of limits (fact sheet, 4).
const PREFIX: &str = "anthropic-ratelimit-";

/// Start of those that tell of a request of low priority (gateway-contract.md, 5).
const SLOW: &str = "anthropic-ratelimit-unified-slow-";

/// In which instances tell each other the weight of a pool (federation.md).
const PLAN_WEIGHT: &str = "x-ccm-plan-weight";

impl LimitFacts for Claude {
    fn is_limit_header(&self, name: &str) -> bool {
        name.starts_with(PREFIX) || name == PLAN_WEIGHT
    }

    fn read_headers(&self, status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Readings {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Readings::default();
        }
        headers::Unified::read(headers).readings(now)
    }

    fn read_usage(&self, body: &[u8], now: SystemTime) -> Option<Readings> {
        usage::read(body, now)
    }

    /// Claude's streams carry no limits.
    fn limit_event(&self) -> Option<&'static str> {
        None
    }

    fn read_event(&self, _event: &[u8], _now: SystemTime) -> Readings {
        Readings::default()
    }

    fn refusal(&self, answer: &RefusedAnswer<'_>, now: SystemTime) -> Option<Refusal> {
        refusal::classify(answer, now)
    }

    /// Keys are limited by the class of a model, of whatever version.
    fn key_scope(&self, model: &str) -> Option<LimitScope> {
        let lower = model.to_ascii_lowercase();
        let classes = [("opus", "opus"), ("sonnet", "sonnet"), ("haiku", "haiku"), ("fable", "oi")];
        match classes.into_iter().find(|(word, _)| lower.contains(word)) {
            Some((_, bucket)) => LimitScope::family(bucket),
            None => LimitScope::model(model),
        }
    }

    fn is_slow_header(&self, name: &str) -> bool {
        name.starts_with(SLOW)
    }

    fn shown_headers(&self, view: &View<'_>) -> Vec<(HeaderName, HeaderValue)> {
        shown::headers(view)
    }

    fn usage_body(&self, aggregate: &Aggregate, _now: SystemTime) -> Bytes {
        shown::usage_body(aggregate)
    }

    fn shown_event(&self, _view: &View<'_>) -> Option<String> {
        None
    }

    fn no_candidate(&self, answer: &NoCandidate, request_id: &str, _now: SystemTime) -> OwnAnswer {
        let kind = if answer.is_limit { "rate_limit_error" } else { "api_error" };
        envelope::of(answer.status(), kind, &answer.message, request_id)
    }
}

#[cfg(test)]
mod tests;
