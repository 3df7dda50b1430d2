//! Comments and trailing commas: blanked out in place, so that every byte offset stays true.
//!
//! Spec: config.md, first paragraph.

/// Where a text stops being JSON with comments, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl SyntaxError {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// Replaces comments (`//`, `#`, `/* */`), trailing commas and a byte order mark by spaces.
///
/// The result has the length of `text`, and its newlines where they were. What is inside strings is untouched.
pub(crate) fn blank(text: &str) -> Result<String, SyntaxError> {
    let mut blanked = Blanker { text, out: String::with_capacity(text.len()), at: 0 };
    // A comma that is a trailing one if a closing bracket is the next thing. A comma that follows no value is none:
    // it has to stay, so that it is an error.
    let mut comma = None;
    let mut after_value = false;
    if text.starts_with('\u{feff}') {
        blanked.blank_to('\u{feff}'.len_utf8());
    }
    while let Some(&byte) = text.as_bytes().get(blanked.at) {
        let rest = text.get(blanked.at..).unwrap_or("");
        match byte {
            b'"' => {
                let end = string_end(text, blanked.at)?;
                blanked.copy_to(end);
                (comma, after_value) = (None, true);
            }
            b'#' => blanked.blank_line(),
            b'/' if rest.starts_with("//") => blanked.blank_line(),
            b'/' if rest.starts_with("/*") => {
                let Some(length) = rest.get(2..).and_then(|inside| inside.find("*/")) else {
                    return Err(SyntaxError::new(blanked.at, "this comment has no closing */"));
                };
                blanked.blank_to(blanked.at + length + 4);
            }
            b',' => {
                comma = after_value.then_some(blanked.out.len());
                after_value = false;
                blanked.copy_to(blanked.at + 1);
            }
            b'}' | b']' => {
                if let Some(at) = comma.take() {
                    blanked.out.replace_range(at..=at, " ");
                }
                after_value = true;
                blanked.copy_to(blanked.at + 1);
            }
            b' ' | b'\t' | b'\r' | b'\n' => blanked.copy_to(blanked.at + 1),
            _ => {
                comma = None;
                after_value = !matches!(byte, b'{' | b'[' | b':');
                blanked.copy_to(blanked.at + rest.chars().next().map_or(1, char::len_utf8));
            }
        }
    }
    Ok(blanked.out)
}

/// The offset after the string that starts at `start`.
fn string_end(text: &str, start: usize) -> Result<usize, SyntaxError> {
    let mut bytes = text.bytes().enumerate().skip(start + 1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' => {
                bytes.next();
            }
            b'\n' => break,
            _ => {}
        }
    }
    Err(SyntaxError::new(start, "this string has no closing quote on its line"))
}

struct Blanker<'t> {
    text: &'t str,
    out: String,
    at: usize,
}

impl Blanker<'_> {
    fn copy_to(&mut self, end: usize) {
        self.out.push_str(self.text.get(self.at..end).unwrap_or(""));
        self.at = end;
    }

    fn blank_to(&mut self, end: usize) {
        let gone = self.text.get(self.at..end).unwrap_or("").bytes();
        self.out.extend(gone.map(|byte| if matches!(byte, b'\n' | b'\r') { char::from(byte) } else { ' ' }));
        self.at = end;
    }

    fn blank_line(&mut self) {
        let length = self.text.get(self.at..).and_then(|rest| rest.find('\n'));
        self.blank_to(length.map_or(self.text.len(), |length| self.at + length));
    }
}

#[cfg(test)]
mod tests;
