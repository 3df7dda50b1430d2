//! How a text is spaced, so that what is added looks like what was there.

use serde_json::Value;
use zeroize::Zeroizing;

use super::object::{Member, Object};

/// How a text is laid out.
pub(super) struct Style {
    /// The line ending and one step of indentation; `None`: the text is not laid out in lines.
    lines: Option<(&'static [u8], Vec<u8>)>,
}

/// How one value is laid out.
enum Layout<'a> {
    /// In one line, with this between items.
    Inline { comma: &'static [u8], colon: &'a [u8] },
    /// An item a line, each behind a line ending and an indentation.
    Lines { ending: &'static [u8], indent: Vec<u8>, step: &'a [u8], colon: &'a [u8] },
}

impl Style {
    /// The style of a text: its lines and steps are those of the outermost object's first member.
    pub(super) fn of(text: &[u8], root: &Object) -> Self {
        let lead = root.members.first().and_then(|member| text.get(member.lead.clone())).unwrap_or_default();
        Self { lines: line_of(lead).map(|(ending, indent)| (ending, indent.to_vec())) }
    }

    /// What to put where so that `object`, which lies `depth` objects deep, gets a further member.
    pub(super) fn addition(
        &self,
        text: &[u8],
        object: &Object,
        depth: usize,
        name: &str,
        value: &Value,
    ) -> (usize, Zeroizing<Vec<u8>>) {
        let mut out = Zeroizing::new(Vec::with_capacity(room(value, depth) + name.len() * 6));
        let name = Value::String(name.to_owned());
        let Some(last) = object.members.last() else {
            let inside = text.get(object.open + 1..object.close).unwrap_or_default();
            let (lead, tail) = match &self.lines {
                Some((ending, step)) => {
                    let tail = if inside.contains(&b'\n') { Vec::new() } else { line(ending, step, depth) };
                    (line(ending, step, depth + 1), tail)
                }
                None => (Vec::new(), Vec::new()),
            };
            let colon: &[u8] = if self.lines.is_some() { b": " } else { b":" };
            let layout = self.layout(&lead, colon, true);
            out.extend_from_slice(&lead);
            render(&mut out, &name, &layout);
            out.extend_from_slice(colon);
            render(&mut out, value, &layout);
            out.extend_from_slice(&tail);
            return (object.open + 1, out);
        };
        let colon = text.get(last.name.end..last.value.start).unwrap_or(b":");
        let mut lead = text.get(last.lead.clone()).unwrap_or_default();
        if object.members.len() == 1 && lead.is_empty() && colon.ends_with(b" ") {
            // `{"a": 1}` would go on as `{"a": 1, "b": 2}`.
            lead = b" ";
        }
        let layout = self.layout(lead, colon, true);
        out.push(b',');
        out.extend_from_slice(lead);
        render(&mut out, &name, &layout);
        out.extend_from_slice(colon);
        render(&mut out, value, &layout);
        (last.value.end, out)
    }

    /// The text of a value that takes the place of `member`'s.
    pub(super) fn replacement(&self, text: &[u8], member: &Member, value: &Value) -> Zeroizing<Vec<u8>> {
        let old = text.get(member.value.clone()).unwrap_or_default();
        let lead = text.get(member.lead.clone()).unwrap_or_default();
        let colon = text.get(member.name.end..member.value.start).unwrap_or(b":");
        // A list that stood in one line stays in one.
        let was_inline = old.len() > 2 && matches!(old.first(), Some(b'[' | b'{')) && !old.contains(&b'\n');
        let mut out = Zeroizing::new(Vec::with_capacity(room(value, lead.len())));
        render(&mut out, value, &self.layout(lead, colon, !was_inline));
        out
    }

    fn layout<'a>(&'a self, lead: &[u8], colon: &'a [u8], may_be_lines: bool) -> Layout<'a> {
        match (&self.lines, line_of(lead)) {
            (Some((_, step)), Some((ending, indent))) if may_be_lines => {
                Layout::Lines { ending, indent: indent.to_vec(), step, colon }
            }
            _ => Layout::Inline { comma: if colon.ends_with(b" ") { b", " } else { b"," }, colon },
        }
    }
}

/// The line ending and the indentation behind it, if white space ends one line and indents the next.
fn line_of(space: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let newline = space.iter().rposition(|&byte| byte == b'\n')?;
    let ending: &[u8] = if newline.checked_sub(1).and_then(|before| space.get(before)) == Some(&b'\r') {
        b"\r\n"
    } else {
        b"\n"
    };
    Some((ending, space.get(newline + 1..).unwrap_or_default()))
}

fn line(ending: &[u8], step: &[u8], depth: usize) -> Vec<u8> {
    let mut line = ending.to_vec();
    for _ in 0..depth {
        line.extend_from_slice(step);
    }
    line
}

/// Room that a value's text will hardly exceed, so that the buffer need not move and leave a copy behind.
fn room(value: &Value, depth: usize) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 64 + depth,
        Value::String(text) => 64 + depth + text.len() * 2,
        Value::Array(items) => items.iter().map(|item| room(item, depth + 8)).sum::<usize>() + 64,
        Value::Object(members) => {
            members.iter().map(|(name, value)| name.len() * 2 + room(value, depth + 8)).sum::<usize>() + 64
        }
    }
}

fn render(out: &mut Vec<u8>, value: &Value, layout: &Layout<'_>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            enclosed(out, [b'[', b']'], layout, items, render);
        }
        Value::Object(members) if !members.is_empty() => {
            enclosed(out, [b'{', b'}'], layout, members, |out, (name, value), layout| {
                scalar(out, name);
                out.extend_from_slice(match layout {
                    Layout::Inline { colon, .. } | Layout::Lines { colon, .. } => colon,
                });
                render(out, value, layout);
            });
        }
        scalar_or_empty => scalar(out, scalar_or_empty),
    }
}

/// Writing to a vector does not fail, and neither does a value or a string as JSON.
fn scalar(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    let _ = serde_json::to_writer(out, value);
}

fn enclosed<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    layout: &Layout<'_>,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut Vec<u8>, T, &Layout<'_>),
) {
    out.push(open);
    match layout {
        Layout::Inline { comma, colon } => {
            let inner = Layout::Inline { comma, colon };
            for (at, item) in items.into_iter().enumerate() {
                out.extend_from_slice(if at > 0 { comma } else { b"" });
                each(out, item, &inner);
            }
        }
        Layout::Lines { ending, indent, step, colon } => {
            let deeper = [indent.as_slice(), step].concat();
            let inner = Layout::Lines { ending, indent: deeper.clone(), step, colon };
            for (at, item) in items.into_iter().enumerate() {
                out.extend_from_slice(if at > 0 { b"," } else { b"" });
                out.extend_from_slice(ending);
                out.extend_from_slice(&deeper);
                each(out, item, &inner);
            }
            out.extend_from_slice(ending);
            out.extend_from_slice(indent);
        }
    }
    out.push(close);
}
