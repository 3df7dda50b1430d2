//! Counting what of answers there is in a stream of HTTP/2 frames (RFC 9113, 4.1), as it is written: each byte of a DATA
//! frame is one, and each whole HEADERS frame is one, so that a head counts as well. And counting what a client sends that
//! is no part of a request, as it is read.

use std::time::Instant;

/// Length of a frame's header: three bytes of length, then type, flags and stream.
const HEADER: usize = 9;

/// The type of DATA frames.
const DATA: u8 = 0;

/// The type of HEADERS frames.
const HEADERS: u8 = 1;

/// The type of GOAWAY frames.
const GOAWAY: u8 = 7;

/// The type of CONTINUATION frames. The library bounds how many there are of one head.
const CONTINUATION: u8 = 9;

/// Follows frames through a stream that may be cut anywhere.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of the present frame's payload that are still to come.
    payload: usize,
}

/// What a stretch of the stream is.
enum Part {
    /// Some of a frame's header.
    Header,
    /// The end of the header of a frame of this type.
    Begun(u8),
    /// So many bytes of the payload of a frame of this type, and whether they are its last.
    Payload(u8, usize, bool),
}

impl Frames {
    /// Takes the next part off `bytes`, which must not be empty.
    fn next(&mut self, bytes: &mut &[u8]) -> Part {
        if self.payload > 0 {
            let taken = self.payload.min(bytes.len());
            self.payload -= taken;
            *bytes = &bytes[taken..];
            return Part::Payload(self.header[3], taken, self.payload == 0);
        }
        let taken = (HEADER - self.filled).min(bytes.len());
        self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        *bytes = &bytes[taken..];
        if self.filled < HEADER {
            return Part::Header;
        }
        self.filled = 0;
        let [a, b, c, kind, ..] = self.header;
        self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        Part::Begun(kind)
    }

    fn is_between(&self) -> bool {
        self.filled == 0 && self.payload == 0
    }
}

/// What was counted in written bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Bytes of DATA frames, and whole HEADERS frames.
    pub count: u64,
    /// DATA and HEADERS frames that have begun.
    pub frames: u32,
}

/// Counts what is written. See the module.
#[derive(Debug, Default)]
pub struct FrameCount {
    frames: Frames,
}

impl FrameCount {
    /// Takes the next bytes, and says what they add to the count.
    pub fn push(&mut self, mut bytes: &[u8]) -> Written {
        let mut written = Written::default();
        while !bytes.is_empty() {
            match self.frames.next(&mut bytes) {
                Part::Begun(DATA | HEADERS) => written.frames += 1,
                Part::Payload(DATA, taken, _) => written.count += taken as u64,
                Part::Payload(HEADERS, _, true) => written.count += 1,
                _ => {}
            }
        }
        written
    }

    /// Whether another frame could be written here.
    pub fn is_between_frames(&self) -> bool {
        self.frames.is_between()
    }
}

/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames beside those of requests that a client may send at once. Clients send a dozen when they begin, and one or two for
/// each request.
pub const CONTROL_BURST: u32 = 2_000;

/// The same in a second, after that.
pub const CONTROL_PER_SECOND: u32 = 20;

/// The same for each frame of an answer: some clients open two windows, and measure the way with a ping, for each that they
/// read.
pub const CONTROL_PER_FRAME: u32 = 4;

/// The GOAWAY frame that tells a client why its connection ends: ENHANCE_YOUR_CALM (RFC 9113, 10.5), with no word about
/// which streams were looked at, so that none is sent again.
pub const CALM_DOWN: [u8; 17] = [
    0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, // header: on stream 0
    0x7f, 0xff, 0xff, 0xff, // the last stream that may have been looked at
    0, 0, 0, 0x0b,
];

/// Watches what an HTTP/2 client sends besides requests: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, RST_STREAM and frames of no
/// known type. Each makes work, nearly all make something to be written, and the library bounds none of them.
#[derive(Debug)]
pub struct ControlFrames {
    progress: Progress,
    /// How many may come at once, in thousandths, so that a millisecond's share is a whole number.
    allowance: u64,
    at: Option<Instant>,
}

#[derive(Debug)]
enum Progress {
    /// So many bytes of the preface have come.
    Preface(usize),
    Frames(Frames),
    /// This is no HTTP/2.
    Other,
}

const CONTROL_FULL: u64 = CONTROL_BURST as u64 * 1_000;

impl Default for ControlFrames {
    fn default() -> Self {
        Self { progress: Progress::Preface(0), allowance: CONTROL_FULL, at: None }
    }
}

impl ControlFrames {
    /// Takes the next bytes that were read. Whether they are more than a client may send. `now` is asked when frames are
    /// counted.
    #[must_use]
    pub fn is_flood(&mut self, mut bytes: &[u8], now: impl FnOnce() -> Instant) -> bool {
        if let Progress::Preface(seen) = &mut self.progress {
            let expected = &PREFACE[*seen..];
            let length = expected.len().min(bytes.len());
            if expected[..length] != bytes[..length] {
                self.progress = Progress::Other;
                return false;
            }
            *seen += length;
            bytes = &bytes[length..];
            if *seen == PREFACE.len() {
                self.progress = Progress::Frames(Frames::default());
            }
        }
        let Progress::Frames(frames) = &mut self.progress else { return false };
        let mut count = 0_u64;
        while !bytes.is_empty() {
            if let Part::Begun(kind) = frames.next(&mut bytes)
                && !matches!(kind, DATA | HEADERS | CONTINUATION)
            {
                count += 1;
            }
        }
        if count == 0 {
            return false;
        }
        let now = now();
        let before = self.at.replace(now).unwrap_or(now);
        let millis = u64::try_from(now.saturating_duration_since(before).as_millis()).unwrap_or(u64::MAX);
        self.allow(millis.saturating_mul(u64::from(CONTROL_PER_SECOND)));
        match self.allowance.checked_sub(count * 1_000) {
            Some(left) => self.allowance = left,
            None => return true,
        }
        false
    }

    /// Notes that frames of answers were written to the client.
    pub fn on_answered(&mut self, frames: u32) {
        self.allow(u64::from(frames) * u64::from(CONTROL_PER_FRAME) * 1_000);
    }

    fn allow(&mut self, more: u64) {
        self.allowance = self.allowance.saturating_add(more).min(CONTROL_FULL);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    proptest! {
        #[test]
        fn counts_alike_in_any_pieces(
            frames in prop::collection::vec((0_u8..10, prop::collection::vec(any::<u8>(), 0..300)), 0..12),
            size in 1_usize..40,
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|(kind, payload)| frame(*kind, payload)).collect();
            let expected: usize = frames
                .iter()
                .map(|(kind, payload)| match *kind {
                    DATA => payload.len(),
                    HEADERS => usize::from(!payload.is_empty()),
                    _ => 0,
                })
                .sum();
            let mut count = FrameCount::default();
            let counted: u64 = stream.chunks(size).map(|piece| count.push(piece).count).sum();
            prop_assert_eq!(counted, expected as u64);
        }
    }

    fn control(kind: u8) -> Vec<u8> {
        frame(kind, &[0; 4])
    }

    /// After how many frames of a type, one each `every`, a connection is given up.
    fn given_up(kind: u8, every: Duration, times: usize) -> Option<usize> {
        let (mut frames, start) = (ControlFrames::default(), Instant::now());
        assert!(!frames.is_flood(PREFACE, || start));
        (0..times).find(|n| frames.is_flood(&control(kind), || start + every * u32::try_from(*n).unwrap()))
    }

    #[test]
    fn floods_of_any_kind_are_seen() {
        for kind in [2, 3, 4, 6, 8, 10, 255] {
            let found = given_up(kind, Duration::from_micros(100), 10_000);
            assert!(found.is_some_and(|n| n < 2_010), "{kind}: {found:?}");
            assert_eq!(given_up(kind, Duration::from_millis(50), 10_000), None, "{kind}");
        }
        assert_eq!(given_up(DATA, Duration::ZERO, 10_000), None);
        assert_eq!(given_up(HEADERS, Duration::ZERO, 10_000), None);
    }

    #[test]
    fn a_client_that_reads_much_may_say_so() {
        let (mut frames, start) = (ControlFrames::default(), Instant::now());
        assert!(!frames.is_flood(PREFACE, || start));
        for _ in 0..50_000 {
            frames.on_answered(1);
            let read = [control(8), control(8), control(6)].concat();
            assert!(!frames.is_flood(&read, || start));
        }
    }

    #[test]
    fn what_is_no_http2_is_not_looked_at() {
        let mut frames = ControlFrames::default();
        let start = Instant::now();
        assert!(!frames.is_flood(b"PRI", || start));
        assert!(!frames.is_flood(b"NT / HTTP/1.1\r\n", || start));
        assert!(!frames.is_flood(&control(6).repeat(10_000), || start));
    }

    #[test]
    fn another_frame_fits_only_between_frames() {
        let mut count = FrameCount::default();
        assert!(count.is_between_frames());
        let whole = frame(DATA, b"abc");
        count.push(&whole[..4]);
        assert!(!count.is_between_frames());
        count.push(&whole[4..10]);
        assert!(!count.is_between_frames());
        count.push(&whole[10..]);
        assert!(count.is_between_frames());
        assert_eq!(count.push(&whole), Written { count: 3, frames: 1 });
    }

    proptest! {
        #[test]
        fn control_frames_are_counted_alike_in_any_pieces(
            kinds in prop::collection::vec((0_u8..12, 0_usize..50), 0..200),
            size in 1_usize..40,
        ) {
            let stream: Vec<u8> = kinds.iter().flat_map(|(kind, length)| frame(*kind, &vec![0; *length])).collect();
            let expected = kinds.iter().filter(|(kind, _)| ![DATA, HEADERS, CONTINUATION].contains(kind)).count();
            let (mut frames, start) = (ControlFrames::default(), Instant::now());
            for piece in [PREFACE, &stream].concat().chunks(size) {
                prop_assert!(!frames.is_flood(piece, || start));
            }
            prop_assert_eq!(CONTROL_FULL - frames.allowance, expected as u64 * 1_000);
        }
    }
}
