//! A stream of server-sent events, read byte by byte as it comes (HTML standard, *Server-sent events*).

use crate::event_output::{EventScan, event_scan};
use crate::failure::MAX_ERROR_BODY;

/// Longest event name and field name that is compared, in bytes. A longer one is none that matters.
pub(crate) const MAX_NAME: usize = 64;

/// Most of an event's data that is kept, in bytes: what an error may have.
const MAX_DATA: usize = MAX_ERROR_BODY;

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// What a byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Part of a line.
    Inside,
    /// The end of a line that belongs to an event or is a comment.
    LineEnd,
    /// The end of the blank line that ends an event. The event is there to be looked at until
    /// [`EventReader::begin_event`].
    EventEnd,
    /// The line feed of a line end that has begun with a carriage return.
    SecondHalf,
}

/// The reader: what is known of the event that the stream is in.
#[derive(Debug)]
pub(crate) struct EventReader {
    place: Place,
    after_cr: bool,
    field: Name,
    event: Name,
    data: Vec<u8>,
    has_fields: bool,
    has_data: bool,
    is_cut_short: bool,
    scan: EventScan,
}

/// Where in a line the reader is.
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

impl EventReader {
    /// A reader at the beginning of a stream.
    pub(crate) fn new() -> Self {
        Self { place: Place::Mark(0), ..Self::behind_event(false) }
    }

    /// A reader behind the end of an event. `after_cr`: the end was a carriage return.
    pub(crate) fn behind_event(after_cr: bool) -> Self {
        Self {
            place: Place::Start,
            after_cr,
            field: Name::default(),
            event: Name::default(),
            data: Vec::new(),
            has_fields: false,
            has_data: false,
            is_cut_short: false,
            scan: event_scan(),
        }
    }

    /// The name that the event has so far; empty for none.
    pub(crate) fn name(&self) -> &[u8] {
        &self.event.0
    }

    /// Whether the name is being read, so that more of it may come.
    pub(crate) fn is_in_name(&self) -> bool {
        matches!(self.place, Place::Colon(Of::Event) | Place::Value(Of::Event))
    }

    /// Its data so far, the lines joined; `None` if it is longer than is kept.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        (!self.is_cut_short).then_some(&self.data)
    }

    /// Whether anything of an event has come, besides comments.
    pub(crate) fn has_fields(&self) -> bool {
        self.has_fields || matches!(self.place, Place::Mark(1..) | Place::Field)
    }

    /// Whether the next byte begins a line.
    pub(crate) fn is_at_line_start(&self) -> bool {
        matches!(self.place, Place::Start | Place::Mark(0))
    }

    /// Whether a line feed would be the second half of a line end.
    pub(crate) fn is_after_cr(&self) -> bool {
        self.after_cr
    }

    /// Whether it has any data. Without, it is no event.
    pub(crate) fn has_data(&self) -> bool {
        self.has_data
    }

    /// What was found in its data so far, read as JSON.
    pub(crate) fn scan(&self) -> &EventScan {
        &self.scan
    }

    /// How much of the event is kept: of its name, and room for its data.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> (usize, usize) {
        (self.event.0.len(), self.data.capacity())
    }

    /// Forgets the event; another one begins.
    pub(crate) fn begin_event(&mut self) {
        self.event.0.clear();
        self.data.clear();
        self.has_fields = false;
        self.has_data = false;
        self.is_cut_short = false;
        self.scan = event_scan();
    }

    /// The body ends here: a line that has begun is complete.
    pub(crate) fn end_of_body(&mut self) {
        if !matches!(self.place, Place::Start | Place::Mark(_)) {
            self.end_line();
        }
    }

    /// Takes a byte.
    pub(crate) fn step(&mut self, byte: u8) -> Step {
        if std::mem::take(&mut self.after_cr) && byte == b'\n' {
            return Step::SecondHalf;
        }
        if let Place::Mark(at) = self.place {
            if BYTE_ORDER_MARK.get(at) == Some(&byte) {
                self.place = if at + 1 == BYTE_ORDER_MARK.len() { Place::Start } else { Place::Mark(at + 1) };
                return Step::Inside;
            }
            // Part of a mark is the beginning of a field that nobody knows.
            self.place = if at == 0 { Place::Start } else { Place::Field };
            BYTE_ORDER_MARK.iter().take(at).for_each(|byte| self.field.push(*byte));
        }
        match byte {
            b'\r' | b'\n' => {
                self.after_cr = byte == b'\r';
                return self.end_line();
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
        Step::Inside
    }

    /// A field's name is complete.
    fn begin_value(&mut self, has_colon: bool) {
        self.has_fields |= !self.field.0.is_empty();
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
                if self.data.len() < MAX_DATA {
                    self.data.push(byte);
                } else {
                    self.is_cut_short = true;
                }
            }
            Of::Other => {}
        }
    }

    fn end_line(&mut self) -> Step {
        let is_blank = self.place == Place::Start;
        // A line without a colon is a field without a value.
        if self.place == Place::Field {
            self.begin_value(false);
        }
        self.place = Place::Start;
        if is_blank { Step::EventEnd } else { Step::LineEnd }
    }
}

/// Looks whether a body begins like a stream of events, for answers whose `content-type` does not say so.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// What has come of the first line, up to the end of a field's name.
    line: Vec<u8>,
}

/// The names of the fields of an event.
const FIELDS: [&[u8]; 4] = [b"event", b"data", b"id", b"retry"];

impl Beginning {
    /// Takes the next byte; `None` as long as it cannot be told. A stream begins with a field or a comment, maybe behind a
    /// byte-order mark and blank lines. JSON and HTML do not.
    pub(crate) fn take(&mut self, byte: u8) -> Option<bool> {
        self.line.push(byte);
        let line = self.line.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(&self.line);
        if line.is_empty() || BYTE_ORDER_MARK.starts_with(&self.line) {
            return None;
        }
        if matches!(line, b"\r" | b"\n") {
            self.line.clear();
            return None;
        }
        let is_name = |end: &[u8]| FIELDS.contains(&end);
        match line.split_last() {
            Some((b':', [])) => Some(true),
            Some((b':' | b'\r' | b'\n', name)) => Some(is_name(name)),
            _ if FIELDS.iter().any(|field| field.starts_with(line)) => None,
            _ => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(body: &str) -> Option<bool> {
        let mut beginning = Beginning::default();
        body.bytes().find_map(|byte| beginning.take(byte))
    }

    #[test]
    fn streams_are_told_from_other_bodies() {
        for stream in [
            "event: x",
            "event:x",
            "data: {",
            "data:",
            ": keep-alive",
            ":\n",
            "id: 1\n",
            "retry: 5",
            "data\n",
            "\n\r\n\ndata: 1",
            "\u{feff}data: 1",
            "\u{feff}\n: x",
            "event\r",
        ] {
            assert_eq!(begins(stream), Some(true), "{stream:?}");
        }
        for other in
            ["{\"a\":1}", "[", "<html>", "eventual: x", "datum", " data: 1", "events: 1", "x", "\u{feff}{"]
        {
            assert_eq!(begins(other), Some(false), "{other:?}");
        }
        for open in ["", "\n", "eve", "event", "da", "\u{feff}", "\r\n"] {
            assert_eq!(begins(open), None, "{open:?}");
        }
    }
}
