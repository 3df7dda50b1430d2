//! When the head of a stream may go to the client.
//!
//! Spec: routing.md, *Failures before the first response byte*. A provider may answer 200 and then begin the stream with
//! an error, for which another credential could still step in. So the head is held back until the first event that tells
//! something is in, as long as a provider's [`Hold`] says. [`FirstEvent`] is fed the body, decoded, in whatever pieces it
//! arrives. Which events tell something: `event_output`.

use std::time::Duration;

use crate::event_output::{Says, says};
use crate::event_stream::{self, EventReader, Step};
use crate::failure::ErrorFields;

/// How long, and how much of, a stream is held back at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How long a head is held back after it is in.
    pub time: Duration,
    /// How many bytes of the body are held back, as they came or decoded, whichever are more.
    pub bytes: u64,
}

impl Hold {
    /// For Claude, whose client shows the first event at once.
    pub const CLAUDE: Self = Self { time: Duration::from_millis(500), bytes: HELD_FREELY };

    /// For Codex, whose client shows nothing before output. `response.created` and `response.in_progress` each repeat the
    /// request's instructions and tools, some 100 KB.
    pub const CODEX: Self = Self { time: Duration::from_secs(10), bytes: 1024 * 1024 };
}

/// How many bytes of a body may be held back without being counted. What is more counts against the memory of its user.
pub const HELD_FREELY: u64 = 64 * 1024;

/// What the beginning of a stream has told so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing yet.
    Undecided,
    /// That the head may go: a telling event that is no error, or more bytes than are held.
    Release,
    /// That it begins with this error: a failure, [`crate::failure::Answer::is_first_event`]. The whole event:
    /// [`FirstEvent::error_event`].
    Error(ErrorFields),
    /// Nothing, and nothing will come: [`crate::failure::Failure::Lost`].
    Lost,
    /// That the body is no stream of events, so that its head may go: only where no header said that it is one.
    NoStream,
}

/// The scanner. See the module.
#[derive(Debug)]
pub struct FirstEvent {
    beginning: Beginning,
    seen: u64,
    most: u64,
    /// Looks whether it is a stream at all, until that is known.
    sniff: Option<event_stream::Beginning>,
    reader: EventReader,
    error: Vec<u8>,
}

impl FirstEvent {
    /// A scanner at the beginning of a stream of which at most `most` bytes are held.
    pub fn new(most: u64) -> Self {
        Self {
            beginning: Beginning::Undecided,
            seen: 0,
            most,
            sniff: None,
            reader: EventReader::new(),
            error: Vec::new(),
        }
    }

    /// A scanner at the beginning of a body of which no header says that it is a stream. Until it has begun like one,
    /// [`Self::is_stream`] does not hold.
    pub fn unstated(most: u64) -> Self {
        Self { sniff: Some(event_stream::Beginning::default()), ..Self::new(most) }
    }

    /// The scanner of a body that turned out to be no stream.
    pub fn no_stream() -> Self {
        Self { beginning: Beginning::NoStream, ..Self::new(0) }
    }

    /// What has been told so far. Once decided it stays.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// Whether it is known to be a stream.
    pub fn is_stream(&self) -> bool {
        self.sniff.is_none() && self.beginning != Beginning::NoStream
    }

    /// How many bytes of the stream it took to decide; so far, as long as that is open.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The data of the event that [`Beginning::Error`] was read from: there may be more in it that tells of limits.
    pub fn error_event(&self) -> &[u8] {
        &self.error
    }

    /// Takes the next piece of the body. What follows the decision is not looked at.
    pub fn push(&mut self, bytes: &[u8]) -> &Beginning {
        for byte in bytes {
            if self.beginning != Beginning::Undecided {
                break;
            }
            self.seen += 1;
            if let Some(sniff) = &mut self.sniff {
                match sniff.take(*byte) {
                    Some(true) => self.sniff = None,
                    Some(false) => {
                        self.decide(Beginning::NoStream);
                        break;
                    }
                    None => {}
                }
            }
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
            if self.seen >= self.most && self.beginning == Beginning::Undecided {
                self.decide(Beginning::Release);
            }
        }
        &self.beginning
    }

    /// Takes the end of the body, or its cut: nothing has been told, and nothing will be. An error that lacks only the blank
    /// line behind it counts; other events do not, since no client takes one for an event without it.
    pub fn end(&mut self) -> &Beginning {
        if self.beginning == Beginning::Undecided {
            self.reader.end_of_body();
            let judged = if self.reader.has_data() { self.judge() } else { Beginning::Undecided };
            self.decide(match judged {
                Beginning::Error(error) => Beginning::Error(error),
                _ => Beginning::Lost,
            });
        }
        &self.beginning
    }

    fn decide(&mut self, beginning: Beginning) {
        if let Beginning::Error(_) = &beginning {
            self.error = self.reader.data().unwrap_or_default().to_vec();
        }
        self.beginning = beginning;
        self.reader = EventReader::new();
    }

    fn judge(&self) -> Beginning {
        let otherwise = match says(self.reader.name(), self.reader.scan()) {
            Says::Nothing => return Beginning::Undecided,
            Says::Output => return Beginning::Release,
            Says::Error => Beginning::Release,
            Says::ErrorOrNothing => Beginning::Undecided,
        };
        let error = self.reader.data().and_then(ErrorFields::from_json);
        error.map_or(otherwise, Beginning::Error)
    }
}

#[cfg(test)]
mod tests;
