//! Events of a stream, all of one length so that counting bytes counts events.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::number::nanos;

/// The length of every event.
pub(crate) const EVENT_LENGTH: usize = 200;

/// The digits of a timestamp, which begin the text of a delta.
const STAMP_LENGTH: usize = 20;

const DELTA_START: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                           \"delta\":{\"type\":\"text_delta\",\"text\":\"";
const DELTA_END: &str = "\"}}\n\n";

/// The clock that upstream and client share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventClock(Instant);

/// Puts the events of one stream together and tells how long each was under way.
#[derive(Debug)]
pub(crate) struct EventReader {
    clock: EventClock,
    event: Vec<u8>,
}

// === impl EventClock ===

impl EventClock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    fn now(self) -> u64 {
        nanos(self.0.elapsed())
    }
}

// === impl EventReader ===

impl EventReader {
    /// A reader of a stream of which nothing has arrived.
    pub(crate) fn new(clock: EventClock) -> Self {
        Self { clock, event: Vec::with_capacity(EVENT_LENGTH) }
    }

    /// Takes a part of the body; `latency` is told of every delta that it completes.
    pub(crate) fn feed(&mut self, mut part: &[u8], mut latency: impl FnMut(Duration)) -> anyhow::Result<()> {
        while !part.is_empty() {
            let (head, rest) = part.split_at(part.len().min(EVENT_LENGTH - self.event.len()));
            self.event.extend_from_slice(head);
            part = rest;
            if self.event.len() == EVENT_LENGTH {
                if let Some(text) = self.event.strip_prefix(DELTA_START.as_bytes()) {
                    let stamp = text.get(..STAMP_LENGTH).context("delta too short")?;
                    let sent: u64 = std::str::from_utf8(stamp)?.parse().context("bad timestamp")?;
                    latency(Duration::from_nanos(self.clock.now().saturating_sub(sent)));
                }
                self.event.clear();
            }
        }
        Ok(())
    }
}

/// Appends the event that begins a stream, as one chunk.
pub(crate) fn push_start(frames: &mut Vec<u8>) {
    push_padded(
        frames,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"role\":\"assistant\",\
         \"model\":\"claude-opus-5\",\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}",
    );
}

/// Appends the two events that end a stream, each as one chunk, and the last chunk.
pub(crate) fn push_end(frames: &mut Vec<u8>) {
    push_padded(
        frames,
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
         \"usage\":{\"output_tokens\":1000}",
    );
    push_padded(frames, "event: message_stop\ndata: {\"type\":\"message_stop\"");
    frames.extend_from_slice(b"0\r\n\r\n");
}

/// Appends one delta with the present time in its text, as one chunk.
pub(crate) fn push_delta(frames: &mut Vec<u8>, clock: EventClock) {
    push_chunk(frames, |event| {
        // Writing to a vector does not fail.
        let written = write!(event, "{DELTA_START}{:0STAMP_LENGTH$}", clock.now());
        debug_assert!(written.is_ok(), "a vector takes any write");
        fill(event, b'.', DELTA_END);
    });
}

/// Appends an event whose JSON object lacks its last brace, filled with white space to the common length.
fn push_padded(frames: &mut Vec<u8>, start: &str) {
    push_chunk(frames, |event| {
        event.extend_from_slice(start.as_bytes());
        fill(event, b' ', "}\n\n");
    });
}

fn push_chunk(frames: &mut Vec<u8>, write_event: impl FnOnce(&mut Vec<u8>)) {
    let mut event = Vec::with_capacity(EVENT_LENGTH);
    write_event(&mut event);
    frames.extend_from_slice(format!("{:x}\r\n", event.len()).as_bytes());
    frames.extend_from_slice(&event);
    frames.extend_from_slice(b"\r\n");
}

fn fill(event: &mut Vec<u8>, byte: u8, end: &str) {
    let missing = EVENT_LENGTH.saturating_sub(event.len() + end.len());
    event.resize(event.len() + missing, byte);
    event.extend_from_slice(end.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_the_common_length_and_is_json() {
        let mut frames = Vec::new();
        push_start(&mut frames);
        push_delta(&mut frames, EventClock::start());
        push_end(&mut frames);
        let text = String::from_utf8(frames).unwrap();
        let events: Vec<&str> = text.split("c8\r\n").skip(1).collect();
        assert_eq!(events.len(), 4);
        for event in events {
            let event = event.strip_suffix("0\r\n\r\n").unwrap_or(event).strip_suffix("\r\n").unwrap();
            assert_eq!(event.len(), EVENT_LENGTH, "{event}");
            let data = event.split_once("data: ").unwrap().1;
            let value: serde_json::Value = serde_json::from_str(data).unwrap();
            assert!(event.starts_with(&format!("event: {}\n", value["type"].as_str().unwrap())));
        }
    }

    #[test]
    fn measures_deltas_only_whatever_the_pieces() {
        let clock = EventClock::start();
        let mut frames = Vec::new();
        push_start(&mut frames);
        push_delta(&mut frames, clock);
        let body = String::from_utf8(frames).unwrap().replace("c8\r\n", "").replace("\r\n", "");
        for size in [1, 7, 199, 200, 201, 400] {
            let mut reader = EventReader::new(clock);
            let mut seen = 0;
            for piece in body.as_bytes().chunks(size) {
                reader.feed(piece, |_| seen += 1).unwrap();
            }
            assert_eq!(seen, 1);
        }
    }
}
