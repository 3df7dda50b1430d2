//! Setting and removing members of a JSON text, and leaving every other byte of it as it is.
//!
//! Login files belong to other programs: what they keep beside the tokens, in which order and in which spelling, is
//! theirs. A parse and a print would change number spellings, escapes, white space and duplicate names; this changes
//! the spans of the members that are set, and nothing else. Spec: credentials.md, *Refreshing, step by step*, 6.

mod object;
mod style;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::IgnoredAny;
use serde_json::Value;
use zeroize::Zeroizing;

use self::object::Object;
use self::style::Style;
use crate::document::wipe;

/// A member to set: where it stands, by the names of objects from the outside in, and its value.
///
/// The value is wiped on drop, and `Debug` does not show it: most edits are tokens.
#[derive(Clone, PartialEq)]
pub struct Edit {
    /// The names on the way, at least one.
    pub path: Vec<String>,
    /// What the member is to be.
    pub value: Value,
}

impl Edit {
    /// An edit of the member at `path`.
    pub fn new(path: &[&str], value: impl Into<Value>) -> Self {
        Self { path: path.iter().map(|&name| name.to_owned()).collect(), value: value.into() }
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Edit {
    fn drop(&mut self) {
        wipe(&mut self.value);
    }
}

/// Why a text could not be edited. Tells nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is not one JSON value in UTF-8.
    #[error("not valid JSON")]
    Invalid,
    /// Something that must hold a member is there, but is not an object.
    #[error("a part of it that must be an object is not one")]
    NotAnObject,
    /// An edit without a path.
    #[error("an edit names no member")]
    NoPath,
}

/// Sets the members that `edits` name, one after the other, and keeps all other bytes.
///
/// - A member that already has the value (by meaning, not by spelling) is left alone, so a second application changes
///   nothing.
/// - Of several members of one name the last is set: the one that JSON parsers give.
/// - A missing member is put behind the last one of its object, spaced like that one; missing parents are made. A
///   parent that is there and not an object (`null` is none) is an error.
pub fn apply(text: &[u8], edits: &[Edit]) -> Result<Vec<u8>, EditError> {
    let valid = std::str::from_utf8(text).map_err(|_| EditError::Invalid)?;
    serde_json::from_str::<IgnoredAny>(valid).map_err(|_| EditError::Invalid)?;
    let mut edited = Zeroizing::new(text.to_vec());
    for edit in edits {
        if let Some(next) = set(&edited, edit)? {
            edited = next;
        }
    }
    Ok(std::mem::take(&mut *edited))
}

/// Removes every member of this name from the object at `path`, and keeps all other bytes but the commas and the white space
/// that held the members apart. `None`: there is none, or nothing that could hold one.
pub fn remove(text: &[u8], path: &[&str], name: &str) -> Result<Option<Vec<u8>>, EditError> {
    let valid = std::str::from_utf8(text).map_err(|_| EditError::Invalid)?;
    serde_json::from_str::<IgnoredAny>(valid).map_err(|_| EditError::Invalid)?;
    let mut edited: Option<Zeroizing<Vec<u8>>> = None;
    loop {
        let before = edited.as_ref().map_or(text, |edited| edited.as_slice());
        let Some(span) = removal(before, path, name)? else { break };
        edited = Some(splice(before, span, b""));
    }
    Ok(edited.map(|mut edited| std::mem::take(&mut *edited)))
}

/// What to cut out for the last member of this name to be gone.
fn removal(text: &[u8], path: &[&str], name: &str) -> Result<Option<std::ops::Range<usize>>, EditError> {
    let mut object = Object::root(text)?;
    for step in path {
        let Some(member) = object.last_named(text, step) else { return Ok(None) };
        if text.get(member.value.start) != Some(&b'{') {
            return Ok(None);
        }
        object = Object::at(text, member.value.start)?;
    }
    let Some(at) = object.position(text, name) else { return Ok(None) };
    let (Some(member), next) = (object.members.get(at), object.members.get(at + 1)) else { return Ok(None) };
    let before = at.checked_sub(1).and_then(|before| object.members.get(before));
    Ok(Some(match (before, next) {
        // What stands before the next one stays, so that it keeps its line and its indentation.
        (_, Some(next)) => member.lead.start..next.lead.start,
        (Some(before), None) => before.value.end..member.value.end,
        (None, None) => member.lead.start..member.value.end,
    }))
}

/// The text with one member set, or `None` if it is as wanted already.
fn set(text: &[u8], edit: &Edit) -> Result<Option<Zeroizing<Vec<u8>>>, EditError> {
    let mut object = Object::root(text)?;
    let style = Style::of(text, &object);
    let mut path = edit.path.iter();
    let mut name = path.next().ok_or(EditError::NoPath)?;
    let mut depth = 0;
    loop {
        let rest = path.as_slice();
        let Some(member) = object.last_named(text, name) else {
            // One value of all that is missing: the member inside the parents that have to be made.
            let inner = rest.iter().rev().fold(edit.value.clone(), |value, name| {
                Value::Object(serde_json::Map::from_iter([(name.clone(), value)]))
            });
            let mut missing = Edit { path: Vec::new(), value: inner };
            let (at, addition) = style.addition(text, &object, depth, name, &missing.value);
            missing.value.take();
            return Ok(Some(splice(text, at..at, &addition)));
        };
        let Some(next) = path.next() else {
            let span = member.value.clone();
            let written = text.get(span.clone()).unwrap_or_default();
            if serde_json::from_slice::<Value>(written).is_ok_and(|mut value| {
                let same = value == edit.value;
                wipe(&mut value);
                same
            }) {
                return Ok(None);
            }
            return Ok(Some(splice(text, span, &style.replacement(text, member, &edit.value))));
        };
        object = Object::at(text, member.value.start)?;
        name = next;
        depth += 1;
    }
}

/// `text` with `span` replaced. Allocated once, so that no copy of a token is left in memory given back on the way.
fn splice(text: &[u8], span: std::ops::Range<usize>, with: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut result = Zeroizing::new(Vec::with_capacity(text.len() + with.len()));
    result.extend_from_slice(text.get(..span.start).unwrap_or_default());
    result.extend_from_slice(with);
    result.extend_from_slice(text.get(span.end..).unwrap_or_default());
    result
}
