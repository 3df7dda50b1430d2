//! Events within a stream that tell of limits: `codex.rate_limits`, and the headers in `error` and `response.metadata`
//! (fact sheet, 3 and 5).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::families::{self, WindowFields, add, pair};
use crate::limits::json::{Object, Scalar};
use crate::limits::readings::{Field, Ignored, Reading, Readings};

/// Headers that are taken from one event; those that tell of limits are a few dozen.
const MAX_EVENT_HEADERS: usize = 64;

/// The event that tells of nothing else.
pub(super) const LIMITS: &str = "codex.rate_limits";

pub(super) fn read(event: &[u8], now: SystemTime) -> Readings {
    let Some(event) = Object::parse(event) else { return Readings::default() };
    match event.string("type").as_deref() {
        Some(LIMITS) => rate_limits(&event, now),
        Some("error" | "response.metadata") => {
            event.object("headers").map_or_else(Readings::default, |headers| {
                let mut out = families::read(&header_map(&headers), now);
                out.ignored = out.ignored.saturating_add(headers.contradictions());
                out
            })
        }
        _ => Readings::default(),
    }
}

/// The headers of an `error` or `response.metadata` event, as if they were those of a response. Strings, numbers and
/// truth values count; what cannot be a header is left out.
pub fn event_headers(event: &[u8]) -> HeaderMap {
    let headers = Object::parse(event).and_then(|event| event.object("headers"));
    headers.map_or_else(HeaderMap::new, |headers| header_map(&headers))
}

fn header_map(headers: &Object<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers.members().take(MAX_EVENT_HEADERS) {
        let Scalar::Text { text, .. } = Scalar::of(value) else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(text.trim()))
        {
            map.append(name, value);
        }
    }
    map
}

fn rate_limits(event: &Object<'_>, now: SystemTime) -> Readings {
    let mut out = Readings { ignored: event.contradictions(), ..Readings::default() };
    if let Some(plan) = event.string("plan_type") {
        out.note_plan(&plan);
    }
    // Another instance's.
    match event.scalar("plan_weight") {
        Scalar::Text { text, .. } => out.note_weight(&text),
        Scalar::Other => out.ignore(),
        Scalar::Absent | Scalar::Null => {}
    }
    let id = event.string("metered_limit_name").or_else(|| event.string("limit_name"));
    let limits = match event.scalar("rate_limits") {
        Scalar::Absent | Scalar::Null => return out,
        _ => event.object("rate_limits"),
    };
    let Some(limits) = limits else {
        out.ignore();
        return out;
    };
    let window = |name| match limits.scalar(name) {
        Scalar::Absent => Ok(Reading::Absent),
        Scalar::Null => Ok(Reading::Unknown),
        _ => {
            let window = limits.object(name).ok_or(Ignored)?;
            let fields = WindowFields {
                used: Field::from(window.scalar("used_percent")),
                length: Field::from(window.scalar("window_minutes")),
                reset_at: Field::from(window.scalar("reset_at")),
                reset_after: Field::from(window.scalar("reset_after_seconds")),
                ..WindowFields::default()
            };
            fields.read(now)
        }
    };
    let windows = pair(window("primary"), window("secondary"), &mut out);
    add(&mut out, id.as_deref().unwrap_or(super::BASE_LIMIT), windows);
    out
}
