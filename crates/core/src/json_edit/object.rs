//! Where the members of an object stand in a text that is known to be valid JSON.

use std::ops::Range;

use super::EditError;

/// An object by the places of its parts.
pub(super) struct Object {
    /// Where its `{` stands.
    pub(super) open: usize,
    /// Where its `}` stands.
    pub(super) close: usize,
    /// Its members in order, duplicates and all.
    pub(super) members: Vec<Member>,
}

/// A member: the white space before its name, its name with the quotes, its value.
pub(super) struct Member {
    pub(super) lead: Range<usize>,
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

impl Object {
    /// The object that the whole text is.
    pub(super) fn root(text: &[u8]) -> Result<Self, EditError> {
        Self::at(text, skip_space(text, 0))
    }

    /// The object that begins at `open`.
    pub(super) fn at(text: &[u8], open: usize) -> Result<Self, EditError> {
        if text.get(open) != Some(&b'{') {
            return Err(EditError::NotAnObject);
        }
        let mut members = Vec::new();
        let mut at = open + 1;
        loop {
            let start = skip_space(text, at);
            match text.get(start) {
                Some(b'}') => return Ok(Self { open, close: start, members }),
                Some(b'"') => {}
                _ => return Err(EditError::Invalid),
            }
            let name = start..skip_value(text, start)?;
            let colon = skip_space(text, name.end);
            let from = skip_space(text, colon + 1);
            let value = from..skip_value(text, from)?;
            let behind = skip_space(text, value.end);
            members.push(Member { lead: at..start, name, value });
            match text.get(behind) {
                Some(b',') => at = behind + 1,
                Some(b'}') => return Ok(Self { open, close: behind, members }),
                _ => return Err(EditError::Invalid),
            }
        }
    }

    /// The last member of this name, however its name is escaped.
    pub(super) fn last_named(&self, text: &[u8], name: &str) -> Option<&Member> {
        self.members.get(self.position(text, name)?)
    }

    /// Where that one stands among the members.
    pub(super) fn position(&self, text: &[u8], name: &str) -> Option<usize> {
        self.members.iter().rposition(|member| {
            let written = text.get(member.name.clone()).unwrap_or_default();
            serde_json::from_slice::<String>(written).is_ok_and(|read| read == name)
        })
    }
}

/// The first place from `at` on that is no white space.
fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// The end of the value that begins at `at`. Without recursion: depth costs nothing.
fn skip_value(text: &[u8], mut at: usize) -> Result<usize, EditError> {
    let mut depth = 0usize;
    loop {
        match text.get(at) {
            Some(b'"') => at = skip_string(text, at)?,
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
            }
            Some(b'}' | b']') => {
                depth = depth.checked_sub(1).ok_or(EditError::Invalid)?;
                at += 1;
            }
            Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') if depth > 0 => {
                at += 1;
                continue;
            }
            Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') | None => return Err(EditError::Invalid),
            Some(_) => {
                let rest = text.get(at..).unwrap_or_default();
                at += rest
                    .iter()
                    .take_while(|byte| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                    .count();
            }
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

fn skip_string(text: &[u8], open: usize) -> Result<usize, EditError> {
    let mut at = open + 1;
    loop {
        match text.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return Err(EditError::Invalid),
        }
    }
}
