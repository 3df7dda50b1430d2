//! One JSON string, read in pieces and decoded, with a bound on what is kept.

/// Reads a string from after its opening quote.
#[derive(Debug, Default)]
pub(super) struct StringReader {
    text: Vec<u8>,
    max: usize,
    state: State,
    /// Value of the `\u` escape so far, or the high surrogate that waits for its other half.
    code: u32,
    high: Option<u32>,
    too_long: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    Escape,
    Unicode(u8),
    Done,
    Broken,
}

impl StringReader {
    /// A reader that keeps at most `max` bytes; a longer string is read to its end and given as `None`.
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Takes bytes up to the closing quote at most, and says how many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            match self.state {
                State::Plain => {
                    let rest = &bytes[used..];
                    let run = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    if run > 0 {
                        self.end_surrogate();
                        self.keep(&rest[..run]);
                        used += run;
                        continue;
                    }
                    if byte == b'"' {
                        self.end_surrogate();
                        self.state = State::Done;
                        return used + 1;
                    }
                    self.state = State::Escape;
                }
                State::Escape => self.escape(byte),
                State::Unicode(left) => self.unicode(byte, left),
                State::Done | State::Broken => return used,
            }
            used += 1;
        }
        used
    }

    fn escape(&mut self, byte: u8) {
        if byte == b'u' {
            self.code = 0;
            self.state = State::Unicode(4);
            return;
        }
        self.end_surrogate();
        let plain = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            _ => {
                self.state = State::Broken;
                return;
            }
        };
        self.keep(&[plain]);
        self.state = State::Plain;
    }

    fn unicode(&mut self, byte: u8, left: u8) {
        let Some(digit) = char::from(byte).to_digit(16) else {
            self.state = State::Broken;
            return;
        };
        self.code = self.code << 4 | digit;
        if left > 1 {
            self.state = State::Unicode(left - 1);
            return;
        }
        self.state = State::Plain;
        match (self.high.take(), self.code) {
            (Some(high), 0xdc00..=0xdfff) => {
                self.keep_char(0x1_0000 + ((high - 0xd800) << 10) + (self.code - 0xdc00));
            }
            (lone, code) => {
                if lone.is_some() {
                    self.keep_char(0xfffd);
                }
                if (0xd800..=0xdbff).contains(&code) {
                    self.high = Some(code);
                } else {
                    self.keep_char(code);
                }
            }
        }
    }

    /// A high surrogate without its other half stands for the replacement character.
    fn end_surrogate(&mut self) {
        if self.high.take().is_some() {
            self.keep_char(0xfffd);
        }
    }

    fn keep_char(&mut self, code: u32) {
        let mut buffer = [0; 4];
        let text = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer);
        self.keep(text.as_bytes());
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.text.len() + bytes.len() > self.max {
            self.too_long = true;
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    /// Whether the closing quote has been read.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether this is no JSON string.
    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// The string; `None` if it was too long or is no UTF-8.
    pub(super) fn take(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        if self.too_long { None } else { String::from_utf8(text).ok() }
    }
}
