//! Reading a few members of a request body, decoded where it is compressed, a slice at a time.
//!
//! Whoever sends a body decides what it decodes to. So a chunk is put aside when it comes, and worked off in slices between
//! which other tasks have their turn, and no further than what is wanted.

use bytes::{Buf as _, Bytes};
use trunkline_core::scan::{BodyScan, Found, Progress, Wanted};

use crate::decode::{BodyDecoder, DecodeError, PIECE, SLICE};

/// The reader of one body.
#[derive(Debug)]
pub(super) struct Scanning<const N: usize> {
    scan: BodyScan<N>,
    /// Decodes the body, if it is compressed.
    decoder: Option<BodyDecoder>,
    /// What has come and has not been worked off.
    chunk: Bytes,
    /// Whether there may be something to work off: what is left of the chunk, or what the decoder still holds of it.
    has_more: bool,
    /// How many bytes have been read, decoded.
    read: u64,
    /// Whether nothing more is to be read.
    is_over: bool,
    /// Whether every key is to be seen, also behind the wanted ones.
    is_strict: bool,
}

impl<const N: usize> Scanning<N> {
    /// A reader at the beginning of a body. `decoder`: `None` for one that is not compressed.
    pub(super) fn new(wanted: [Wanted; N], decoder: Option<BodyDecoder>) -> Self {
        Self {
            scan: BodyScan::new(wanted),
            decoder,
            chunk: Bytes::new(),
            has_more: false,
            read: 0,
            is_over: false,
            is_strict: false,
        }
    }

    /// Every key is to be seen: only whoever decides by one has to know that it does not stand there twice.
    pub(super) fn be_strict(&mut self) {
        self.is_strict = true;
    }

    /// Puts the next chunk aside. The one before has been worked off.
    pub(super) fn take(&mut self, chunk: &Bytes) {
        if !self.is_over {
            self.chunk = chunk.clone();
            self.has_more = true;
        }
    }

    /// Whether there is something to work off.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Works off a slice. After an error nothing more is read.
    pub(super) fn step(&mut self) -> Result<(), DecodeError> {
        let push = if self.is_strict { BodyScan::push } else { BodyScan::push_until_satisfied };
        let Some(decoder) = &mut self.decoder else {
            let slice = self.chunk.split_to(self.chunk.len().min(SLICE));
            self.read += slice.len() as u64;
            push(&mut self.scan, &slice);
            self.has_more = !self.chunk.is_empty();
            return Ok(());
        };
        let mut buffer = [0; PIECE];
        let mut given = 0;
        while given < SLICE && (self.is_strict || !self.scan.is_satisfied()) {
            let mut input = &self.chunk[..];
            let pulled = decoder.pull(&mut input, &mut buffer);
            let taken = self.chunk.len() - input.len();
            self.chunk.advance(taken);
            match pulled {
                Ok(0) => {
                    self.has_more = false;
                    break;
                }
                Ok(length) => {
                    given += length;
                    self.read += length as u64;
                    push(&mut self.scan, buffer.get(..length).unwrap_or_default());
                }
                Err(error) => {
                    self.stop();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The body has ended: whether it may end here, decoded.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        let is_whole = self.is_over || self.decoder.as_ref().is_none_or(BodyDecoder::may_end);
        self.stop();
        if is_whole { Ok(()) } else { Err(DecodeError::Unreadable) }
    }

    /// Nothing more is to be read: the decoder's memory is given back.
    pub(super) fn stop(&mut self) {
        self.is_over = true;
        self.has_more = false;
        self.decoder = None;
        self.chunk = Bytes::new();
    }

    /// Whether nothing more will be read.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many bytes have been read, decoded.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// How far the scanner has come.
    pub(super) fn progress(&self) -> Progress {
        self.scan.progress()
    }

    /// What was found at the `index`-th wanted place.
    pub(super) fn found(&self, index: usize) -> &Found {
        self.scan.found(index)
    }

    /// Whether nothing is missing any more.
    pub(super) fn is_satisfied(&self) -> bool {
        self.scan.is_satisfied()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::decode::ContentCoding;
    use crate::memory_budget::MemoryShare;

    fn reader(coding: Option<ContentCoding>, max: u64) -> Scanning<2> {
        let decoder = coding.map(|coding| BodyDecoder::new(coding, max, &MemoryShare::of_own()));
        Scanning::new([Wanted::Top("model"), Wanted::Value("stream")], decoder)
    }

    fn work_off(reader: &mut Scanning<2>, chunk: &[u8]) -> (usize, Result<(), DecodeError>) {
        reader.take(&Bytes::copy_from_slice(chunk));
        let mut steps = 0;
        while reader.has_more() && (reader.is_strict || !reader.is_satisfied()) {
            if let Err(error) = reader.step() {
                return (steps, Err(error));
            }
            steps += 1;
        }
        (steps, Ok(()))
    }

    fn zstd(body: &[u8]) -> Vec<u8> {
        zstd::encode_all(body, 3).unwrap()
    }

    #[test]
    fn a_body_that_decodes_to_much_is_read_in_slices_and_no_further_than_wanted() {
        let mut body = br#"{"x":""#.to_vec();
        body.resize(20 << 20, b' ');
        body.extend_from_slice(br#"","model":"m","stream":true}"#);
        let mut strict = reader(Some(ContentCoding::Zstd), 32 << 20);
        strict.be_strict();
        let (steps, worked) = work_off(&mut strict, &zstd(&body));
        assert!(worked.is_ok() && steps > 300, "{steps}");
        assert_eq!((strict.found(0).text(), strict.progress()), (Some("m"), Progress::Ended));
        assert_eq!((strict.read(), strict.end()), (body.len() as u64, Ok(())));
        // Over what is allowed.
        let mut strict = reader(Some(ContentCoding::Zstd), 1 << 20);
        strict.be_strict();
        assert_eq!(work_off(&mut strict, &zstd(&body)).1, Err(DecodeError::TooLarge));
        assert!(strict.is_over());
        // What is wanted stands at the front.
        let mut front = br#"{"model":"m","stream":true,"x":""#.to_vec();
        front.resize(20 << 20, b' ');
        let mut reader = reader(Some(ContentCoding::Zstd), 32 << 20);
        assert_eq!(work_off(&mut reader, &zstd(&front)), (1, Ok(())));
        assert!(reader.is_satisfied() && reader.read() <= PIECE as u64);
    }

    #[test]
    fn what_came_with_a_flush_is_read_at_once() {
        for coding in [ContentCoding::Gzip, ContentCoding::Deflate] {
            let text = br#"{"model":"m","#;
            let sent = if coding == ContentCoding::Gzip {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(text).unwrap();
                encoder.flush().unwrap();
                encoder.get_ref().clone()
            } else {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(text).unwrap();
                encoder.flush().unwrap();
                encoder.get_ref().clone()
            };
            let mut reader = reader(Some(coding), 1_000);
            assert!(work_off(&mut reader, &sent).1.is_ok());
            assert_eq!(reader.found(0).text(), Some("m"), "{coding:?}");
            // Cut short.
            assert_eq!(reader.end(), Err(DecodeError::Unreadable));
        }
    }

    proptest! {
        #[test]
        fn it_makes_no_difference_how_a_body_comes(
            text in "[a-z{}\\[\\]\":, ]{0,200}",
            is_strict: bool,
            size in 1_usize..60,
        ) {
            let body = format!("{{\"a\":\"{text}\",\"model\":\"m\",\"stream\":false}}");
            let read = |coding: Option<ContentCoding>, bytes: &[u8], size: usize| {
                let mut reader = reader(coding, 10_000);
                if is_strict {
                    reader.be_strict();
                }
                for chunk in bytes.chunks(size) {
                    work_off(&mut reader, chunk).1.unwrap();
                }
                (reader.progress(), reader.found(0).clone(), reader.found(1).clone())
            };
            let whole = read(None, body.as_bytes(), body.len());
            prop_assert_eq!(read(None, body.as_bytes(), size), whole.clone());
            prop_assert_eq!(read(Some(ContentCoding::Zstd), &zstd(body.as_bytes()), size), whole);
        }
    }
}
