//! Counting what of answers there is in a stream of HTTP/2 frames (RFC 9113, 4.1), as it is written: each byte of a DATA
//! frame is one, and each whole HEADERS frame is one, so that a head counts as well.

/// Length of a frame's header: three bytes of length, then type, flags and stream.
const HEADER: usize = 9;

/// The type of DATA frames.
const DATA: u8 = 0;

/// The type of HEADERS frames.
const HEADERS: u8 = 1;

/// Follows frames through a stream that may be cut anywhere.
#[derive(Debug, Default)]
pub struct FrameCount {
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of the present frame's payload that are still to come.
    payload: usize,
}

impl FrameCount {
    /// Takes the next bytes, and says what they add to the count.
    pub fn push(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(bytes.len());
                self.payload -= taken;
                match self.header[3] {
                    DATA => count += taken as u64,
                    HEADERS if self.payload == 0 => count += 1,
                    _ => {}
                }
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                self.filled = 0;
                let [a, b, c, ..] = self.header;
                self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
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
            let counted: u64 = stream.chunks(size).map(|piece| count.push(piece)).sum();
            prop_assert_eq!(counted, expected as u64);
        }
    }
}
