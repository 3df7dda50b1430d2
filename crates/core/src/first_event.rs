//! When the head of a stream may go to the client.
//!
//! Spec: routing.md, *Failures before the first response byte*. A provider may answer 200 and then begin the stream with
//! an error, for which another credential could still step in. So the head is held back until the first event that tells
//! something is in, [`HOLD`] at most. [`FirstEvent`] is fed the body, decoded, in whatever pieces it arrives.

use std::time::Duration;

use crate::failure::{ErrorFields, MAX_ERROR_BODY};
use crate::scan::{BodyScan, Progress, Wanted};

/// How long a head is held back after it is in.
pub const HOLD: Duration = Duration::from_millis(500);

/// Most bytes of a stream that are held back. What comes before the first telling event is small but for Codex's
/// `response.created`, which repeats the request's instructions and tools, some 100 KB.
pub const MAX_HELD: u64 = 1024 * 1024;

/// Longest event name and field name that is compared, in bytes. A longer one is none that matters.
const MAX_NAME: usize = 64;

/// Events that tell nothing.
const NOT_TELLING: [&[u8]; 5] =
    [b"ping", b"codex.rate_limits", b"response.metadata", b"response.created", b"response.in_progress"];

/// Events that are errors.
const ERRORS: [&[u8]; 2] = [b"error", b"response.failed"];

/// What the beginning of a stream has told so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing yet.
    Undecided,
    /// That the head may go: a telling event that is no error, a clean end, or more bytes than are held.
    Release,
    /// That it begins with this error: a failure, [`crate::failure::Answer::is_first_event`].
    Error(ErrorFields),
    /// Nothing, and nothing will come: [`crate::failure::Failure::Lost`].
    Lost,
}

/// The scanner. See the module.
#[derive(Debug)]
pub struct FirstEvent {
    beginning: Beginning,
    seen: u64,
    place: Place,
    after_cr: bool,
    field: Name,
    event: Name,
    data: Vec<u8>,
    has_data: bool,
    is_cut_short: bool,
    scan: BodyScan<1>,
}

/// Where in a line the scanner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At so many bytes of a byte-order mark, at the very beginning.
    Mark(usize),
    Start,
    Field,
    /// After the colon: one blank is no part of the value.
    Colon(Of),
    Value(Of),
}

/// What a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Event,
    Data,
    Other,
}

/// A short run of bytes; longer ones are told apart from every name by their length.
#[derive(Debug, Default)]
struct Name(Vec<u8>);

impl Name {
    fn push(&mut self, byte: u8) {
        if self.0.len() <= MAX_NAME {
            self.0.push(byte);
        }
    }
}

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

fn type_scan() -> BodyScan<1> {
    BodyScan::new([Wanted::Top("type")])
}

impl Default for FirstEvent {
    fn default() -> Self {
        Self::new()
    }
}

impl FirstEvent {
    /// A scanner at the beginning of a stream.
    pub fn new() -> Self {
        Self {
            beginning: Beginning::Undecided,
            seen: 0,
            place: Place::Mark(0),
            after_cr: false,
            field: Name::default(),
            event: Name::default(),
            data: Vec::new(),
            has_data: false,
            is_cut_short: false,
            scan: type_scan(),
        }
    }

    /// What has been told so far. Once decided it stays.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// How many bytes of the stream it took to decide; so far, as long as that is open.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the next piece of the body. What follows the decision is not looked at.
    pub fn push(&mut self, bytes: &[u8]) -> &Beginning {
        for byte in bytes {
            if self.beginning != Beginning::Undecided {
                break;
            }
            self.seen += 1;
            self.step(*byte);
            if self.seen >= MAX_HELD && self.beginning == Beginning::Undecided {
                self.decide(Beginning::Release);
            }
        }
        &self.beginning
    }

    /// Takes the end of the body: as HTTP has it, or a cut.
    pub fn end(&mut self, is_clean: bool) -> &Beginning {
        if self.beginning == Beginning::Undecided {
            self.decide(if is_clean { Beginning::Release } else { Beginning::Lost });
        }
        &self.beginning
    }

    fn decide(&mut self, beginning: Beginning) {
        self.beginning = beginning;
        self.data = Vec::new();
    }

    fn step(&mut self, byte: u8) {
        if std::mem::take(&mut self.after_cr) && byte == b'\n' {
            return;
        }
        if let Place::Mark(at) = self.place {
            if BYTE_ORDER_MARK.get(at) == Some(&byte) {
                self.place = if at + 1 == BYTE_ORDER_MARK.len() { Place::Start } else { Place::Mark(at + 1) };
                return;
            }
            // Part of a mark is the beginning of a field that nobody knows.
            self.place = if at == 0 { Place::Start } else { Place::Field };
            BYTE_ORDER_MARK.iter().take(at).for_each(|byte| self.field.push(*byte));
        }
        match byte {
            b'\r' | b'\n' => {
                self.after_cr = byte == b'\r';
                self.end_line();
            }
            b':' if matches!(self.place, Place::Start | Place::Field) => self.begin_value(true),
            _ => match self.place {
                Place::Colon(of) => {
                    self.place = Place::Value(of);
                    if byte != b' ' {
                        self.value(of, byte);
                    }
                }
                Place::Value(of) => self.value(of, byte),
                Place::Start | Place::Field | Place::Mark(_) => {
                    self.place = Place::Field;
                    self.field.push(byte);
                }
            },
        }
    }

    /// A field's name is complete.
    fn begin_value(&mut self, has_colon: bool) {
        let of = match self.field.0.as_slice() {
            b"event" => {
                self.event.0.clear();
                Of::Event
            }
            b"data" => {
                // Several lines of data are joined by line ends.
                if std::mem::replace(&mut self.has_data, true) {
                    self.value(Of::Data, b'\n');
                }
                Of::Data
            }
            // A comment has no name.
            _ => Of::Other,
        };
        self.field.0.clear();
        self.place = if has_colon { Place::Colon(of) } else { Place::Value(of) };
    }

    fn value(&mut self, of: Of, byte: u8) {
        match of {
            Of::Event => self.event.push(byte),
            Of::Data => {
                self.scan.push(&[byte]);
                if self.data.len() < MAX_ERROR_BODY {
                    self.data.push(byte);
                } else {
                    self.is_cut_short = true;
                }
            }
            Of::Other => {}
        }
    }

    fn end_line(&mut self) {
        match self.place {
            Place::Start => self.end_event(),
            // A line without a colon is a field without a value.
            Place::Field => self.begin_value(false),
            Place::Mark(_) | Place::Colon(_) | Place::Value(_) => {}
        }
        self.place = Place::Start;
    }

    fn end_event(&mut self) {
        // An event without data is none, whatever its name.
        if self.has_data {
            let beginning = self.judge();
            if beginning != Beginning::Undecided {
                self.decide(beginning);
            }
        }
        self.event.0.clear();
        self.data.clear();
        self.has_data = false;
        self.is_cut_short = false;
        self.scan = type_scan();
    }

    fn judge(&self) -> Beginning {
        // `message` is what an event is called that has no name.
        let name = match self.event.0.as_slice() {
            b"" | b"message" if self.scan.progress() == Progress::Ended => {
                self.scan.found(0).text().map(str::as_bytes)
            }
            b"" | b"message" => None,
            name => Some(name),
        };
        if name.is_some_and(|name| NOT_TELLING.contains(&name)) {
            return Beginning::Undecided;
        }
        // Chat completions have neither names nor types; their errors are recognised by what is in them.
        let may_be_error = name.is_none_or(|name| ERRORS.contains(&name));
        if may_be_error && !self.is_cut_short {
            return ErrorFields::from_json(&self.data).map_or(Beginning::Release, Beginning::Error);
        }
        Beginning::Release
    }
}

#[cfg(test)]
mod tests;
