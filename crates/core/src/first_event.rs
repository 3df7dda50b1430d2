//! When the head of a stream may go to the client.
//!
//! Spec: routing.md, *Failures before the first response byte*. A provider may answer 200 and then begin the stream with
//! an error, for which another credential could still step in. So the head is held back until the first event that tells
//! something is in, [`HOLD`] at most. [`FirstEvent`] is fed the body, decoded, in whatever pieces it arrives.

use std::time::Duration;

use crate::event_stream::{EventReader, Step};
use crate::failure::ErrorFields;
use crate::scan::Progress;

/// How long a head is held back after it is in.
pub const HOLD: Duration = Duration::from_millis(500);

/// Most bytes of a stream that are held back. What comes before the first telling event is small but for Codex's
/// `response.created`, which repeats the request's instructions and tools, some 100 KB.
pub const MAX_HELD: u64 = 1024 * 1024;

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
    reader: EventReader,
}

impl Default for FirstEvent {
    fn default() -> Self {
        Self::new()
    }
}

impl FirstEvent {
    /// A scanner at the beginning of a stream.
    pub fn new() -> Self {
        Self { beginning: Beginning::Undecided, seen: 0, reader: EventReader::new() }
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
            if self.reader.step(*byte) == Step::EventEnd {
                // An event without data is none, whatever its name.
                if self.reader.has_data() {
                    let beginning = self.judge();
                    if beginning != Beginning::Undecided {
                        self.decide(beginning);
                    }
                }
                self.reader.begin_event();
            }
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
        self.reader = EventReader::new();
    }

    fn judge(&self) -> Beginning {
        // `message` is what an event is called that has no name.
        let name = match self.reader.name() {
            b"" | b"message" if self.reader.scan().progress() == Progress::Ended => {
                self.reader.scan().found(0).text().map(str::as_bytes)
            }
            b"" | b"message" => None,
            name => Some(name),
        };
        if name.is_some_and(|name| NOT_TELLING.contains(&name)) {
            return Beginning::Undecided;
        }
        // Chat completions have neither names nor types; their errors are recognised by what is in them.
        let may_be_error = name.is_none_or(|name| ERRORS.contains(&name));
        if may_be_error && let Some(data) = self.reader.data() {
            return ErrorFields::from_json(data).map_or(Beginning::Release, Beginning::Error);
        }
        Beginning::Release
    }
}

#[cfg(test)]
mod tests;
