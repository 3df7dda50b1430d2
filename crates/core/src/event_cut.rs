//! Events of one type cut out of a stream of server-sent events, every other byte left as it is.
//!
//! Spec: limits.md, *Rate-limit headers that a client sees*: Codex tells of an account's limits in events of its streams,
//! which are not the client's to see. An event is held back from its first byte until its type is known, which is a few dozen
//! bytes in practice; what follows goes on as it comes.

use bytes::{Bytes, BytesMut};

use crate::event_stream::{EventReader, Step};
use crate::scan::{Found, Progress};

/// Most of an event that is held back, in bytes. One whose type has not come by then goes on.
pub const MAX_HELD: usize = 64 * 1024;

/// The cutter. See the module.
#[derive(Debug)]
pub struct EventCut {
    kind: &'static str,
    fate: Fate,
    /// Reads what is not decided, and what is cut.
    reader: EventReader,
    /// What of the present event came in earlier pieces, while it is not decided.
    held: BytesMut,
    /// Whether what ended last was cut; the second half of its line end goes with it.
    was_cut: bool,
    /// The data of what was cut and has not been taken.
    cut: Vec<Vec<u8>>,
}

/// What becomes of the present event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its type is not known yet.
    Open,
    /// It goes on. Only its end is looked for.
    Pass(EndOfEvent),
    Cut,
}

impl EventCut {
    /// Cuts the events whose data has this `type`.
    pub fn new(kind: &'static str) -> Self {
        let (reader, held) = (EventReader::new(), BytesMut::new());
        Self { kind, fate: Fate::Open, reader, held, was_cut: false, cut: Vec::new() }
    }

    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The data of the events that were cut since the last call; of one that is longer than [`MAX_HELD`], nothing.
    pub fn take_cut(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.cut)
    }

    /// Takes the next piece, and gives what goes on, which may be nothing. A piece that goes on whole is not copied.
    pub fn push(&mut self, piece: &Bytes) -> Bytes {
        let mut out = Out { piece, parts: Vec::new(), run: 0..0 };
        // Where what is not decided begins in this piece.
        let mut open = 0;
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            if let Fate::Pass(end) = &mut self.fate {
                let (length, has_ended) = end.find(rest);
                out.pass(at..at + length);
                at += length;
                if has_ended {
                    self.reader = EventReader::behind_event(end.after_cr);
                    (self.fate, self.was_cut) = (Fate::Open, false);
                    open = at;
                }
                continue;
            }
            let step = rest.first().map(|byte| self.reader.step(*byte));
            at += 1;
            let goes_on = match step {
                Some(Step::EventEnd) if self.fate == Fate::Cut => {
                    self.cut.extend(self.reader.data().map(<[u8]>::to_vec));
                    self.reader.begin_event();
                    (self.fate, self.was_cut) = (Fate::Open, true);
                    open = at;
                    continue;
                }
                Some(Step::EventEnd) => {
                    self.reader.begin_event();
                    true
                }
                Some(Step::SecondHalf) if self.was_cut => {
                    open = at;
                    false
                }
                // Comments, and what is between events.
                Some(Step::SecondHalf | Step::LineEnd) => !self.reader.has_fields(),
                Some(Step::Inside) => {
                    if self.fate == Fate::Open {
                        self.decide();
                    }
                    matches!(self.fate, Fate::Pass(_))
                }
                None => false,
            };
            self.was_cut = false;
            match self.fate {
                Fate::Cut => self.held.clear(),
                Fate::Open | Fate::Pass(_) if goes_on => {
                    out.held(&mut self.held);
                    out.pass(open..at);
                    open = at;
                }
                Fate::Open | Fate::Pass(_) => {}
            }
        }
        if self.fate == Fate::Open {
            self.held.extend_from_slice(piece.get(open..).unwrap_or_default());
            if self.held.len() > MAX_HELD {
                self.fate = Fate::Pass(EndOfEvent {
                    is_line_start: self.reader.is_at_line_start(),
                    after_cr: self.reader.is_after_cr(),
                });
                out.held(&mut self.held);
            }
        }
        out.whole()
    }

    /// The end of the stream, or its cut: what was held back goes on, for no more will be known of it.
    pub fn end(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    fn decide(&mut self) {
        let scan = self.reader.scan();
        match (scan.found(0), scan.progress()) {
            (Found::Nothing, Progress::Reading) => {}
            (Found::Text(kind), _) if kind == self.kind => self.fate = Fate::Cut,
            // In the middle of a line.
            _ => self.fate = Fate::Pass(EndOfEvent { is_line_start: false, after_cr: false }),
        }
    }
}

/// Looks for the blank line at which an event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EndOfEvent {
    is_line_start: bool,
    after_cr: bool,
}

impl EndOfEvent {
    /// How far the event goes in `bytes`, and whether it ends there.
    fn find(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..) {
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            let Some(found) = rest.iter().position(is_end) else { break };
            if found > 0 {
                (self.is_line_start, self.after_cr) = (false, false);
            }
            let byte = rest.get(found).copied();
            at += found + 1;
            if std::mem::take(&mut self.after_cr) && byte == Some(b'\n') {
                continue;
            }
            self.after_cr = byte == Some(b'\r');
            if std::mem::replace(&mut self.is_line_start, true) {
                return (at, true);
            }
        }
        if at < bytes.len() {
            (self.is_line_start, self.after_cr) = (false, false);
        }
        (bytes.len(), false)
    }
}

/// What of a piece goes on, and what before it.
struct Out<'a> {
    piece: &'a Bytes,
    parts: Vec<Bytes>,
    /// What goes on behind the parts.
    run: std::ops::Range<usize>,
}

impl Out<'_> {
    fn pass(&mut self, range: std::ops::Range<usize>) {
        if self.run.end == range.start && !self.run.is_empty() {
            self.run.end = range.end;
        } else {
            self.close_run();
            self.run = range;
        }
    }

    /// What was held back goes on, in front of anything of this piece.
    fn held(&mut self, held: &mut BytesMut) {
        if !held.is_empty() {
            self.close_run();
            self.parts.push(held.split().freeze());
        }
    }

    fn close_run(&mut self) {
        let run = std::mem::replace(&mut self.run, 0..0);
        if !run.is_empty() {
            self.parts.push(self.piece.slice(run));
        }
    }

    fn whole(mut self) -> Bytes {
        self.close_run();
        match self.parts.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            parts => parts.concat().into(),
        }
    }
}

#[cfg(test)]
mod tests;
