//! Decoding a compressed body beside its stream, with the decoder's memory counted against its user's share.
//!
//! What the decoder promises: [`trunkline_decode`]. Its window can take many times what a peer had to send for it (19 bytes are
//! enough for 8 MiB), so it is reserved as soon as it is there, and given back when the decoder is dropped.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
pub(crate) use trunkline_decode::ContentCoding;
use trunkline_decode::Decoder;

use crate::memory_budget::{MemoryShare, Reservation};

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// It is longer than allowed when decoded.
    TooLarge,
    /// It is not what `content-encoding` says, or that names a coding we do not know.
    Unreadable,
    /// There is no room for the decoder's window.
    NoRoom,
}

impl From<trunkline_decode::DecodeError> for DecodeError {
    fn from(error: trunkline_decode::DecodeError) -> Self {
        match error {
            trunkline_decode::DecodeError::TooLarge => Self::TooLarge,
            trunkline_decode::DecodeError::Unreadable => Self::Unreadable,
        }
    }
}

/// How much is decoded at once: small enough for the stack.
pub(crate) const PIECE: usize = 8 * 1024;

/// How much a task decodes before others have their turn: some 50 microseconds of work.
pub(crate) const SLICE: usize = 64 * 1024;

/// The coding of a body with these headers.
pub(crate) fn coding_of(headers: &HeaderMap) -> ContentCoding {
    ContentCoding::of(headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().ok()))
}

/// Decodes a body.
#[derive(Debug)]
pub(crate) struct BodyDecoder {
    decoder: Result<Decoder, DecodeError>,
    memory: Reservation,
}

impl BodyDecoder {
    /// A decoder for a body with this coding that has at most `max` bytes decoded, and takes its memory from `share`.
    pub(crate) fn new(coding: ContentCoding, max: u64, share: &MemoryShare) -> Self {
        Self { decoder: Decoder::new(coding, max).ok_or(DecodeError::Unreadable), memory: share.empty() }
    }

    /// Takes bytes from the front of `input`, decodes them into `out`, and returns how many bytes it wrote. When it returns 0,
    /// `input` is empty and all that it decodes to has been given. Once it has failed, it has no memory any more and fails
    /// in the same way again.
    pub(crate) fn pull(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let decoder = self.decoder.as_mut().map_err(|error| *error)?;
        let pulled = decoder.pull(input, out).map_err(DecodeError::from);
        let more = decoder.memory().saturating_sub(self.memory.bytes());
        let pulled =
            if pulled.is_ok() && !self.memory.grow(more) { Err(DecodeError::NoRoom) } else { pulled };
        if let Err(error) = pulled {
            self.decoder = Err(error);
            self.memory.shrink_to(0);
        }
        pulled
    }

    /// Decodes a chunk whole, and gives what it decodes to in pieces: for bodies that are short, decoded too.
    pub(crate) fn push(&mut self, mut chunk: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), DecodeError> {
        let mut buffer = [0; PIECE];
        loop {
            match self.pull(&mut chunk, &mut buffer)? {
                0 => return Ok(()),
                length => sink(buffer.get(..length).unwrap_or_default()),
            }
        }
    }

    /// Whether the body may end here.
    pub(crate) fn may_end(&self) -> bool {
        self.decoder.as_ref().is_ok_and(Decoder::may_end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory_budget::{Holder, MemoryBudget};

    fn window(log: u32) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        std::io::Write::write_all(&mut encoder, b"{\"model\":").unwrap();
        std::io::Write::flush(&mut encoder).unwrap();
        encoder.get_ref().clone()
    }

    #[test]
    fn a_window_is_reserved_and_given_back() {
        let budget = Arc::new(MemoryBudget::default());
        let share = budget.share_of(Holder::Process);
        let mut decoder = BodyDecoder::new(ContentCoding::Zstd, 1_000, &share);
        let mut out = Vec::new();
        decoder.push(&window(23), |piece| out.extend_from_slice(piece)).unwrap();
        assert_eq!(out, b"{\"model\":");
        assert!(budget.reserved() >= 8 << 20, "{}", budget.reserved());
        drop(decoder);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn a_window_for_which_there_is_no_room_is_not_kept() {
        let budget = Arc::new(MemoryBudget::new(4 << 20));
        let share = budget.share_of(Holder::Process);
        let mut decoder = BodyDecoder::new(ContentCoding::Zstd, 1_000, &share);
        assert_eq!(decoder.push(&window(23), |_| {}), Err(DecodeError::NoRoom));
        assert_eq!(budget.reserved(), 0);
        assert_eq!(decoder.push(b"", |_| {}), Err(DecodeError::NoRoom));
        // A smaller one fits.
        let mut decoder = BodyDecoder::new(ContentCoding::Zstd, 1_000, &share);
        assert_eq!(decoder.push(&window(17), |_| {}), Ok(()));
    }

    #[test]
    fn every_field_that_names_a_coding_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(coding_of(&headers), ContentCoding::Identity);
        headers.append(CONTENT_ENCODING, "identity".parse().unwrap());
        headers.append(CONTENT_ENCODING, "zstd".parse().unwrap());
        assert_eq!(coding_of(&headers), ContentCoding::Zstd);
        headers.append(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(coding_of(&headers), ContentCoding::Unknown);
    }
}
