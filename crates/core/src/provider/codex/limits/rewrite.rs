//! Limit keys within the `headers` of `error` and `response.metadata` events: replaced by the aggregate's over WebSocket, taken
//! out over HTTP, whose own headers tell of the aggregate.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::Codex;
use crate::event_cut::Edited;
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

/// Members of an event that are looked into for `headers` besides the event itself.
const HOLDERS: [&str; 2] = ["error", "response"];

/// What is left of an event without the limit keys of its `headers`, wherever these stand. Everything else stays as it is, but for
/// white space between members.
pub(super) fn without_limits(event: &[u8]) -> Edited {
    if !may_have_limits(event) {
        return Edited::Unchanged;
    }
    let Some(outer) = Object::parse(event) else {
        // What does not even begin like an object is no event of the provider's that a client could read headers from.
        let is_object = event.trim_ascii_start().first() == Some(&b'{');
        return if is_object { Edited::Unreadable } else { Edited::Unchanged };
    };
    strip(&outer, &HOLDERS)
}

/// Whether limit keys could be in it, by their characters: most events have none, and need not be parsed.
fn may_have_limits(event: &[u8]) -> bool {
    const PARTS: [&str; 8] = [
        "-primary-",
        "-secondary-",
        "-limit-name",
        "codex-credits-",
        "codex-active-limit",
        "rate-limit-reached-type",
        "codex-promo-message",
        super::PLAN_WEIGHT,
    ];
    let text = String::from_utf8_lossy(event).to_ascii_lowercase();
    // A key may be written with escapes.
    text.contains("\\u") || PARTS.iter().any(|part| text.contains(part))
}

fn strip(object: &Object<'_>, holders: &[&str]) -> Edited {
    if object.contradictions() > 0 {
        return Edited::Unreadable;
    }
    let mut members = Vec::new();
    let mut has_changed = false;
    for (name, value) in object.members() {
        let inner = if name == "headers" {
            Object::of(value).map(|headers| strip_headers(&headers))
        } else if holders.contains(&name) {
            Object::of(value).map(|holder| strip(&holder, &[]))
        } else {
            None
        };
        match inner {
            None | Some(Edited::Unchanged) => members.push((name, Cow::Borrowed(value.get()))),
            Some(Edited::Changed(text)) => {
                has_changed = true;
                members.push((name, Cow::Owned(text)));
            }
            Some(Edited::Unreadable) => return Edited::Unreadable,
        }
    }
    written(has_changed, members.iter().map(|(name, value)| (*name, &**value)))
}

fn strip_headers(headers: &Object<'_>) -> Edited {
    if headers.contradictions() > 0 {
        return Edited::Unreadable;
    }
    let has_limits = headers.members().any(|(name, _)| is_limit(name));
    let kept = headers.members().filter(|(name, _)| !is_limit(name));
    written(has_limits, kept.map(|(name, value): (&str, &RawValue)| (name, value.get())))
}

fn written<'a>(has_changed: bool, members: impl Iterator<Item = (&'a str, &'a str)>) -> Edited {
    if !has_changed {
        return Edited::Unchanged;
    }
    write(members).map_or(Edited::Unreadable, Edited::Changed)
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
