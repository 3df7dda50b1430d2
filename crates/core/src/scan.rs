//! Reading a few members of a JSON body as it streams past, without parsing, copying or holding the rest.
//!
//! Spec: claude.md, *To the provider*. The scanner is fed the body in whatever pieces it arrives and finds string
//! members of the top-level object (`model`) and of objects directly inside it (`metadata.user_id`), escapes decoded,
//! in keys as well, since a key may be spelled `mod\u0065l`. It never fails a request by itself: a body that is no
//! JSON is [`Progress::NotJson`], and what that means is the caller's to say.

mod string;

use string::StringReader;

/// Where a wanted string stands: a member of the top-level object, or of an object that is one of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `{"<key>": "…"}`.
    Top(&'static str),
    /// The same, or a number, `true`, `false` or `null`: [`Found::Scalar`].
    Value(&'static str),
    /// `{"<key>": …}`, whatever the value is, which is not kept: [`Found::Unclear`] once it has begun.
    Member(&'static str),
    /// `{"<outer>": {"<inner>": "…"}}`.
    Nested(&'static str, &'static str),
    /// Nowhere: nothing is wanted at this position.
    Nothing,
}

/// How far the scanner has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The top-level object has not ended yet.
    Reading,
    /// The top-level object has ended, and nothing but blanks has followed: everything that could be found has been.
    Ended,
    /// This is no JSON object, as far as one can tell without parsing all of it.
    NotJson,
}

/// What was found at a wanted place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Found {
    /// Nothing (so far).
    #[default]
    Nothing,
    /// One string.
    Text(String),
    /// A number or a literal, as it is written: at [`Wanted::Value`] only.
    Scalar(String),
    /// Something that is no string, is longer than [`MAX_VALUE`], or stands there twice: two readers of the body could
    /// disagree about it. At [`Wanted::Member`], anything.
    Unclear,
}

impl Found {
    /// The string, if that is what it is.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nothing | Self::Scalar(_) | Self::Unclear => None,
        }
    }
}

/// Longest value kept, in bytes, decoded. The longest known is `metadata.user_id`, at about 250 bytes.
pub const MAX_VALUE: usize = 4_096;

/// Longest number or literal kept, in bytes. No number that means anything is longer.
const MAX_SCALAR: usize = 32;

/// Longest key that is compared, in bytes, decoded. A longer key is none of the wanted ones.
const MAX_KEY: usize = 64;

/// Deepest nesting followed. The scanner itself only counts, so this is no matter of memory: a body nested deeper is
/// no request to a model.
const MAX_DEPTH: u32 = 100_000;

/// The scanner. See the module.
#[derive(Debug)]
pub struct BodyScan<const N: usize> {
    wanted: [Wanted; N],
    found: [Found; N],
    state: State,
    depth: u32,
    /// The member of the top-level object that the scanner is in: its index among the wanted outer keys.
    outer: Option<&'static str>,
    /// Where the value that comes next belongs.
    slot: Option<usize>,
    key_may_nest: Option<&'static str>,
    reader: StringReader,
    /// The number or literal that is being read, where it is wanted; a longer one than is kept ends as unclear.
    scalar: Vec<u8>,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the top-level `{`.
    Start,
    /// In an object whose members are read: a key or `}` comes next.
    KeyOrEnd,
    /// After a comma: a key comes next.
    Key,
    /// Inside a key.
    InKey,
    /// After a key.
    Colon,
    /// After the colon.
    Value,
    /// Inside a string that is wanted.
    InWanted,
    /// Inside a number or a literal.
    InScalar,
    /// After a value: a comma or `}` comes next.
    CommaOrEnd,
    /// Inside an object or list that is of no interest; `depth` counts.
    Skip,
    /// Inside a string of no interest, in a skipped value or as a value itself.
    SkipString,
    /// The same, right after a backslash.
    SkipEscape,
    End,
}

impl<const N: usize> BodyScan<N> {
    /// A scanner for these places.
    pub fn new(wanted: [Wanted; N]) -> Self {
        Self {
            wanted,
            found: std::array::from_fn(|_| Found::Nothing),
            state: State::Start,
            depth: 0,
            outer: None,
            slot: None,
            key_may_nest: None,
            reader: StringReader::default(),
            scalar: Vec::new(),
            progress: Progress::Reading,
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What was found at the `index`-th wanted place.
    pub fn found(&self, index: usize) -> &Found {
        const NOTHING: &Found = &Found::Nothing;
        self.found.get(index).unwrap_or(NOTHING)
    }

    /// Whether nothing is missing any more, so that the rest of the body need not be read (unless a duplicate matters).
    pub fn is_satisfied(&self) -> bool {
        let has = |(wanted, found): (&Wanted, &Found)| *wanted == Wanted::Nothing || *found != Found::Nothing;
        self.progress != Progress::Reading || self.wanted.iter().zip(&self.found).all(has)
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while self.progress != Progress::NotJson && !bytes.is_empty() {
            let used = self.step(bytes);
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    /// Takes of the next piece what it needs to be [satisfied](Self::is_satisfied), and leaves the rest unread. Nothing may be
    /// pushed after that.
    pub fn push_until_satisfied(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_satisfied() {
            let used = self.step(bytes);
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    /// Takes at least one byte and says how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let Some(&byte) = bytes.first() else { return 0 };
        match self.state {
            State::InKey | State::InWanted => return self.read_string(bytes),
            State::SkipString => return self.skip_string(bytes),
            State::SkipEscape => self.state = State::SkipString,
            State::Skip => return self.skip(bytes),
            State::InScalar => match byte {
                b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' => {
                    self.end_scalar();
                    self.state = State::CommaOrEnd;
                    return self.step(bytes);
                }
                b'"' | b'{' | b'[' | b':' => self.fail(),
                _ => self.keep_scalar(byte),
            },
            _ if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => {}
            State::Start if byte == b'{' => self.state = State::KeyOrEnd,
            State::KeyOrEnd | State::Key if byte == b'"' => {
                self.reader = StringReader::new(MAX_KEY);
                self.state = State::InKey;
            }
            State::KeyOrEnd | State::CommaOrEnd if byte == b'}' => self.end_object(),
            State::CommaOrEnd if byte == b',' => self.state = State::Key,
            State::Colon if byte == b':' => self.state = State::Value,
            State::Value => self.begin_value(byte),
            _ => self.fail(),
        }
        1
    }

    fn fail(&mut self) {
        self.progress = Progress::NotJson;
    }

    fn end_object(&mut self) {
        if self.outer.take().is_some() {
            self.state = State::CommaOrEnd;
        } else {
            self.state = State::End;
            self.progress = Progress::Ended;
        }
    }

    fn read_string(&mut self, bytes: &[u8]) -> usize {
        let used = self.reader.push(bytes);
        if self.reader.is_broken() {
            self.fail();
        } else if self.reader.is_done() {
            if self.state == State::InKey {
                self.key_ended();
                self.state = State::Colon;
            } else {
                let found = self.reader.take().map_or(Found::Unclear, Found::Text);
                self.store(found);
                self.state = State::CommaOrEnd;
            }
        }
        used
    }

    fn key_ended(&mut self) {
        let key = self.reader.take();
        let outer = self.outer;
        self.key_may_nest = None;
        self.slot = self.wanted.iter().position(|wanted| match (*wanted, outer) {
            (Wanted::Top(name) | Wanted::Value(name) | Wanted::Member(name), None) => {
                key.as_deref() == Some(name)
            }
            (Wanted::Nested(parent, name), Some(outer)) => parent == outer && key.as_deref() == Some(name),
            _ => false,
        });
        if outer.is_none() {
            self.key_may_nest = self.wanted.iter().find_map(|wanted| match *wanted {
                Wanted::Nested(parent, _) if key.as_deref() == Some(parent) => Some(parent),
                _ => None,
            });
        }
    }

    fn store(&mut self, value: Found) {
        if let Some(found) = self.slot.take().and_then(|slot| self.found.get_mut(slot)) {
            *found = if *found == Found::Nothing { value } else { Found::Unclear };
        }
    }

    fn begin_value(&mut self, byte: u8) {
        if let Some(Wanted::Member(_)) = self.slot.and_then(|slot| self.wanted.get(slot)) {
            self.store(Found::Unclear);
        }
        match byte {
            b'"' if self.slot.is_some() => {
                self.reader = StringReader::new(MAX_VALUE);
                self.state = State::InWanted;
            }
            b'"' => {
                self.depth = 0;
                self.state = State::SkipString;
            }
            b'{' if self.key_may_nest.is_some() && self.slot.is_none() => {
                self.outer = self.key_may_nest.take();
                self.state = State::KeyOrEnd;
            }
            b'{' | b'[' => {
                self.store(Found::Unclear);
                self.depth = 1;
                self.state = State::Skip;
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let is_kept = self
                    .slot
                    .and_then(|slot| self.wanted.get(slot))
                    .is_some_and(|wanted| matches!(wanted, Wanted::Value(_)));
                if is_kept {
                    self.scalar.clear();
                    self.keep_scalar(byte);
                } else {
                    self.store(Found::Unclear);
                }
                self.state = State::InScalar;
            }
            _ => self.fail(),
        }
    }

    fn keep_scalar(&mut self, byte: u8) {
        if self.slot.is_some() && self.scalar.len() <= MAX_SCALAR {
            self.scalar.push(byte);
        }
    }

    /// Without a slot nothing was wanted, or it has been stored.
    fn end_scalar(&mut self) {
        if self.slot.is_some() {
            let text = std::mem::take(&mut self.scalar);
            let is_whole = text.len() <= MAX_SCALAR;
            let found =
                String::from_utf8(text).ok().filter(|_| is_whole).map_or(Found::Unclear, Found::Scalar);
            self.store(found);
        }
    }

    /// Runs through a skipped object or list up to the next string, or its end.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.state = State::SkipString;
                    return at + 1;
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        self.fail();
                        return at + 1;
                    }
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.state = State::CommaOrEnd;
                        return at + 1;
                    }
                }
                _ => {}
            }
        }
        bytes.len()
    }

    /// Runs through a skipped string: most of a body is text, so this is the loop that matters.
    fn skip_string(&mut self, bytes: &[u8]) -> usize {
        match memchr::memchr2(b'"', b'\\', bytes) {
            Some(at) if bytes[at] == b'"' => {
                self.state = if self.depth == 0 { State::CommaOrEnd } else { State::Skip };
                at + 1
            }
            Some(at) => {
                self.state = State::SkipEscape;
                at + 1
            }
            None => bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests;
