//! Events about an account's limits taken out of a stream of server-sent events, every other byte left as it is.
//!
//! Spec: limits.md, *Rate-limit headers that a client sees*. Codex tells of an account's limits in the events of its streams, which
//! are not the client's to see: some events tell of nothing else and are cut out whole, others carry limit keys among the
//! headers that they repeat, and are edited. A [`StreamLimits`] says which, by what an event is called and by what its data says
//! it is: where the two disagree, either is enough.
//!
//! An event is held back from its first byte until it is known to be neither, which is a few dozen bytes in practice, and goes on
//! as it comes from then on. One that has no `event:` field before its data is held back whole, since the field may still follow.

use bytes::{Bytes, BytesMut};

use crate::event_output::stated_type;
use crate::event_stream::{EventReader, Step};
use crate::scan::Progress;

/// Most of an event that is held back, in bytes. Of those that are longer, the ones that would be edited are cut out whole;
/// the others go on if nothing says by then that they are about limits. Events about limits have a few hundred bytes.
pub const MAX_HELD: usize = 64 * 1024;

/// Which events of a provider's streams tell of its account's limits.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// The events that are cut out.
    pub cut: &'static str,
    /// The events that are edited.
    pub edited: &'static [&'static str],
    /// What becomes of the data of an event that is edited.
    pub edit: fn(&[u8]) -> Edited,
}

/// What becomes of an event that may carry limit keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// There are none in it: it goes on as it is.
    Unchanged,
    /// Its data without them.
    Changed(String),
    /// There may be some, but it cannot be read well enough to take them out: it is cut out.
    Unreadable,
}

/// The cutter. See the module.
#[derive(Debug)]
pub struct EventCut {
    limits: &'static StreamLimits,
    fate: Fate,
    /// Reads what is not decided, and what is cut.
    reader: EventReader,
    /// What of the present event came in earlier pieces, while it is held.
    held: BytesMut,
    /// Whether what ended last was cut; the second half of its line end goes with it.
    was_cut: bool,
    /// The data of what was cut or edited and has not been taken.
    cut: Vec<Vec<u8>>,
}

/// What becomes of the present event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is not known what it is.
    Open,
    /// It is held to its end, to be edited.
    Edit,
    /// It goes on. Only its end is looked for.
    Pass(EndOfEvent),
    Cut,
}

impl EventCut {
    /// Takes out of a stream what tells of limits.
    pub fn new(limits: &'static StreamLimits) -> Self {
        let (reader, held) = (EventReader::new(), BytesMut::new());
        Self { limits, fate: Fate::Open, reader, held, was_cut: false, cut: Vec::new() }
    }

    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The data of the events that were cut or edited since the last call; of one that is longer than [`MAX_HELD`], nothing.
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
            let mut has_ended = false;
            let goes_on = match step {
                Some(Step::EventEnd) => {
                    has_ended = true;
                    let last = piece.get(open..at).unwrap_or_default();
                    match self.at_end(last) {
                        AtEnd::Pass => true,
                        AtEnd::Replace(event) => {
                            out.replace(event);
                            false
                        }
                        AtEnd::Cut => false,
                    }
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
            self.was_cut = has_ended && self.fate == Fate::Cut;
            if goes_on {
                out.held(&mut self.held);
                out.pass(open..at);
                open = at;
            }
            if has_ended {
                self.held.clear();
                self.reader.begin_event();
                self.fate = Fate::Open;
                open = at;
            } else if self.fate == Fate::Cut {
                self.held.clear();
            }
        }
        if matches!(self.fate, Fate::Open | Fate::Edit) {
            self.held.extend_from_slice(piece.get(open..).unwrap_or_default());
            if self.held.len() > MAX_HELD {
                self.give_up(&mut out);
            }
        }
        out.whole()
    }

    /// More would have to be held than is allowed.
    fn give_up(&mut self, out: &mut Out<'_>) {
        if self.fate == Fate::Edit || self.is_edited() || self.is(self.limits.cut) {
            self.fate = Fate::Cut;
            self.held.clear();
            return;
        }
        self.fate = Fate::Pass(EndOfEvent {
            is_line_start: self.reader.is_at_line_start(),
            after_cr: self.reader.is_after_cr(),
        });
        out.held(&mut self.held);
    }

    /// The end of the stream, or its cut: what was held back goes on, unless it is about limits, or is an event without a name
    /// that broke off before its type had come. No client takes such a one for an event.
    pub fn end(&mut self) -> Bytes {
        self.reader.end_of_body();
        let is_unknown = self.reader.data().is_some_and(|data| !data.is_empty())
            && self.reader.name().is_empty()
            && stated_type(self.reader.scan()).is_none()
            && self.reader.scan().progress() == Progress::Reading;
        let last = if is_unknown { AtEnd::Cut } else { self.at_end(&[]) };
        let held = self.held.split().freeze();
        self.reader = EventReader::new();
        self.fate = Fate::Open;
        match last {
            AtEnd::Pass => held,
            AtEnd::Replace(event) => event,
            AtEnd::Cut => Bytes::new(),
        }
    }

    /// What becomes of the event that ends here. `last`: what has come of it since what is held.
    fn at_end(&mut self, last: &[u8]) -> AtEnd {
        if self.fate == Fate::Cut || self.is(self.limits.cut) {
            self.fate = Fate::Cut;
            self.cut.extend(self.reader.data().map(<[u8]>::to_vec));
            return AtEnd::Cut;
        }
        if !self.is_edited() || !self.reader.has_data() {
            return AtEnd::Pass;
        }
        let data = self.reader.data();
        let edited = data.map_or(Edited::Unreadable, |data| (self.limits.edit)(data));
        if edited == Edited::Unchanged {
            return AtEnd::Pass;
        }
        self.cut.extend(data.map(<[u8]>::to_vec));
        match edited {
            Edited::Changed(data) => {
                let event = [&self.held[..], last].concat();
                AtEnd::Replace(with_data(&event, &data))
            }
            Edited::Unchanged | Edited::Unreadable => {
                self.fate = Fate::Cut;
                AtEnd::Cut
            }
        }
    }

    /// Whether the event is called so, or its data says that it is that.
    fn is(&self, kind: &str) -> bool {
        self.reader.name() == kind.as_bytes() || stated_type(self.reader.scan()) == Some(kind)
    }

    fn is_edited(&self) -> bool {
        self.limits.edited.iter().any(|kind| self.is(kind))
    }

    fn decide(&mut self) {
        let scan = self.reader.scan();
        let is_typed = stated_type(scan).is_some() || scan.progress() != Progress::Reading;
        if !is_typed || self.reader.is_in_name() {
            return;
        }
        if self.is(self.limits.cut) {
            self.fate = Fate::Cut;
        } else if self.is_edited() {
            self.fate = Fate::Edit;
        } else if !self.reader.name().is_empty() {
            // In the middle of a line.
            self.fate = Fate::Pass(EndOfEvent { is_line_start: false, after_cr: false });
        }
    }
}

/// What becomes of an event at its end.
enum AtEnd {
    Pass,
    Replace(Bytes),
    Cut,
}

/// The event with this in place of its data; other lines stay as they are.
fn with_data(event: &[u8], data: &str) -> Bytes {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let mut out = BytesMut::with_capacity(event.len());
    let mut rest = event;
    if let Some(behind) = rest.strip_prefix(BYTE_ORDER_MARK) {
        out.extend_from_slice(BYTE_ORDER_MARK);
        rest = behind;
    }
    let mut has_data = false;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        let behind =
            if rest.get(end..end + 2) == Some(b"\r\n") { end + 2 } else { (end + 1).min(rest.len()) };
        let (line, next) = rest.split_at(behind);
        let (text, line_end) = line.split_at(end);
        let field = text.split(|byte| *byte == b':').next();
        if field != Some(b"data") {
            out.extend_from_slice(line);
        } else if !std::mem::replace(&mut has_data, true) {
            for (at, part) in data.split('\n').enumerate() {
                if at > 0 {
                    out.extend_from_slice(if line_end.is_empty() { b"\n" } else { line_end });
                }
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(line_end);
        }
        rest = next;
    }
    out.freeze()
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

    /// This goes on in place of what was held.
    fn replace(&mut self, event: Bytes) {
        self.close_run();
        self.parts.push(event);
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
