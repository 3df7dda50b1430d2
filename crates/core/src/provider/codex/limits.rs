//! Codex's limits on the wire: header families, the usage endpoint, events within a stream, refusals, and what its
//! clients are shown.

mod event;
mod families;
mod refusal;
mod rewrite;
mod shown;
mod usage;

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Codex;
use crate::event_cut::StreamLimits;
use crate::limits::{Aggregate, LimitFacts, LimitScope, NoCandidate, Readings, Refusal, RefusedAnswer, View};
use crate::provider::OwnAnswer;

pub use event::event_headers;
pub use rewrite::replace_event_headers;

/// The id of the limit that binds the whole account.
const BASE_LIMIT: &str = "codex";

/// Which plan the account has. It passes to clients, which read it.
const PLAN_TYPE: &str = "x-codex-plan-type";

/// In which instances tell each other the weight of a pool (federation.md).
const PLAN_WEIGHT: &str = "x-ocm-plan-weight";

/// limits.md, *Rate-limit headers that a client sees*: over HTTP.
static STREAM_LIMITS: StreamLimits = StreamLimits {
    cut: event::LIMITS,
    edited: &["error", "response.metadata"],
    edit: rewrite::without_limits,
};

impl LimitFacts for Codex {
    /// limits.md, *Rate-limit headers that a client sees*; other `x-codex-*` pass.
    fn is_limit_header(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix("x-") else { return false };
        // At least one character before, as the `*` of a family stands for its id.
        let has_part = |part: &str| rest.find(part).is_some_and(|at| at > 0);
        has_part("-primary-")
            || has_part("-secondary-")
            || rest.strip_suffix("-limit-name").is_some_and(|id| !id.is_empty())
            || rest.starts_with("codex-credits-")
            || matches!(rest, "codex-active-limit" | "codex-rate-limit-reached-type" | "codex-promo-message")
            || name == PLAN_WEIGHT
    }

    fn is_read(&self, name: &str) -> bool {
        name == PLAN_TYPE || self.is_limit_header(name)
    }

    fn read_headers(&self, status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Readings {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Readings::default();
        }
        families::read(headers, now)
    }

    fn read_usage(&self, body: &[u8], now: SystemTime) -> Option<Readings> {
        usage::read(body, now)
    }

    fn stream_limits(&self) -> Option<&'static StreamLimits> {
        Some(&STREAM_LIMITS)
    }

    fn event_headers(&self, event: &[u8]) -> HeaderMap {
        event_headers(event)
    }

    fn read_event(&self, event: &[u8], now: SystemTime) -> Readings {
        event::read(event, now)
    }

    fn refusal(&self, answer: &RefusedAnswer<'_>, now: SystemTime) -> Option<Refusal> {
        refusal::classify(answer, now)
    }

    /// Keys are limited by model.
    fn key_scope(&self, model: &str) -> Option<LimitScope> {
        LimitScope::model(model)
    }

    fn is_slow_header(&self, _name: &str) -> bool {
        false
    }

    fn shown_headers(&self, view: &View<'_>) -> Vec<(HeaderName, HeaderValue)> {
        shown::headers(view)
    }

    fn usage_body(&self, aggregate: &Aggregate, now: SystemTime) -> Bytes {
        shown::usage_body(aggregate, now)
    }

    fn shown_event(&self, view: &View<'_>) -> Option<String> {
        Some(shown::event(view))
    }

    fn no_candidate(&self, answer: &NoCandidate, _request_id: &str, now: SystemTime) -> OwnAnswer {
        shown::no_candidate(answer, now)
    }
}

#[cfg(test)]
mod tests;
