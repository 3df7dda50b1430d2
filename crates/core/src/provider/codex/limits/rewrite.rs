//! Limit keys within the `headers` of `error` and `response.metadata` events are replaced by the aggregate's.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::Codex;
use crate::limits::json::Object;
use crate::limits::{LimitFacts as _, View};

/// The event with the limit keys of its `headers` replaced by those of the aggregate; everything else stays as it is,
/// byte for byte and in order, except white space between members. `None` where there is nothing to replace: the
/// event goes on untouched. Only strings are put in, since older instances read nothing else (codex.md, *WebSocket*).
pub fn replace_event_headers(event: &[u8], view: &View<'_>) -> Option<String> {
    let outer = Object::parse(event)?;
    // An object that contradicts itself cannot be written again as it was.
    let headers = outer.object("headers").filter(|headers| headers.contradictions() == 0)?;
    let has_limits = headers.members().any(|(name, _)| is_limit(name));
    if outer.contradictions() > 0 || !has_limits {
        return None;
    }
    let mut kept: Vec<(String, String)> = headers
        .members()
        .filter(|(name, _)| !is_limit(name))
        .map(|(name, value)| (name.to_owned(), value.get().to_owned()))
        .collect();
    for (name, value) in Codex.shown_headers(view) {
        let text = serde_json::to_string(value.to_str().ok()?).ok()?;
        kept.push((name.as_str().to_owned(), text));
    }
    let headers = write(kept.iter().map(|(name, value)| (name.as_str(), value.as_str())))?;
    write(outer.members().map(|(name, value): (&str, &RawValue)| {
        (name, if name == "headers" { headers.as_str() } else { value.get() })
    }))
}

fn is_limit(name: &str) -> bool {
    Codex.is_limit_header(&name.to_ascii_lowercase())
}

fn write<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut out = String::from("{");
    for (index, (name, value)) in members.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}{}:{value}", serde_json::to_string(name).ok()?).ok()?;
    }
    out.push('}');
    Some(out)
}
