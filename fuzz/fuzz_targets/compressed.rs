//! What the targets that compress share: an input that says how it is written and compressed, and the pulling of a decoder.

#![allow(dead_code, reason = "each target uses a part of it")]

use std::io::Write;

use flate2::Compression;
use trunkline_decode::{ContentCoding, DecodeError, Decoder};

/// The largest window plus tables that a decoder may have; see `Decoder::memory`.
const MOST_MEMORY: usize = 24 * 1024 * 1024;

/// An input as it was understood.
pub struct Input<'a> {
    pub coding: ContentCoding,
    is_bare: bool,
    /// How long each write is.
    write: usize,
    /// Into what pieces the compressed bytes are cut.
    pub piece: usize,
    /// How much the decoder may give at once.
    pub room: usize,
    pub body: &'a [u8],
}

impl<'a> Input<'a> {
    /// The first bytes say how; the rest is the body.
    pub fn new(data: &'a [u8]) -> Option<Self> {
        let (&[coding, write, piece, room], body) = data.split_first_chunk()?;
        Some(Self {
            coding: [
                ContentCoding::Identity,
                ContentCoding::Gzip,
                ContentCoding::Deflate,
                ContentCoding::Zstd,
                ContentCoding::Brotli,
                ContentCoding::Deflate,
            ][usize::from(coding % 6)],
            is_bare: coding % 6 == 5,
            write: usize::from(write) + 1,
            piece: usize::from(piece) + 1,
            room: usize::from(room) + 1,
            body,
        })
    }

    /// The body in its writes, as they are and compressed, flushed at each.
    pub fn writes(&self) -> Vec<(&'a [u8], Vec<u8>)> {
        let mut encoder = Encoder::new(self.coding, self.is_bare);
        self.body.chunks(self.write).map(|write| (write, encoder.write(write))).collect()
    }

    /// The whole body, compressed.
    pub fn whole(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(self.coding, self.is_bare);
        let mut out: Vec<u8> = self.body.chunks(self.write).flat_map(|write| encoder.write(write)).collect();
        out.extend(encoder.end());
        out
    }
}

enum Encoder {
    Identity,
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zlib(flate2::write::ZlibEncoder<Vec<u8>>),
    Bare(flate2::write::DeflateEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(coding: ContentCoding, is_bare: bool) -> Self {
        let level = Compression::fast();
        match coding {
            ContentCoding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level)),
            ContentCoding::Deflate if is_bare => {
                Self::Bare(flate2::write::DeflateEncoder::new(Vec::new(), level))
            }
            ContentCoding::Deflate => Self::Zlib(flate2::write::ZlibEncoder::new(Vec::new(), level)),
            ContentCoding::Zstd => {
                Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder"))
            }
            ContentCoding::Brotli => {
                Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 1, 16)))
            }
            ContentCoding::Identity | ContentCoding::Unknown => Self::Identity,
        }
    }

    fn write(&mut self, write: &[u8]) -> Vec<u8> {
        fn flushed<W: Write>(encoder: &mut W, write: &[u8]) {
            encoder.write_all(write).expect("memory takes all");
            encoder.flush().expect("memory takes all");
        }
        match self {
            Self::Identity => write.to_vec(),
            Self::Gzip(encoder) => {
                flushed(encoder, write);
                std::mem::take(encoder.get_mut())
            }
            Self::Zlib(encoder) => {
                flushed(encoder, write);
                std::mem::take(encoder.get_mut())
            }
            Self::Bare(encoder) => {
                flushed(encoder, write);
                std::mem::take(encoder.get_mut())
            }
            Self::Zstd(encoder) => {
                flushed(encoder, write);
                std::mem::take(encoder.get_mut())
            }
            Self::Brotli(encoder) => {
                flushed(encoder, write);
                std::mem::take(encoder.get_mut())
            }
        }
    }

    fn end(self) -> Vec<u8> {
        match self {
            Self::Identity => Vec::new(),
            Self::Gzip(encoder) => encoder.finish().expect("memory takes all"),
            Self::Zlib(encoder) => encoder.finish().expect("memory takes all"),
            Self::Bare(encoder) => encoder.finish().expect("memory takes all"),
            Self::Zstd(encoder) => encoder.finish().expect("memory takes all"),
            Self::Brotli(encoder) => encoder.into_inner(),
        }
    }
}

/// Pulls all that a piece decodes to.
pub fn pull(
    decoder: &mut Decoder,
    mut input: &[u8],
    room: usize,
    mut sink: impl FnMut(&[u8]),
) -> Result<(), DecodeError> {
    let mut buffer = vec![0; room];
    loop {
        let before = input.len();
        let written = decoder.pull(&mut input, &mut buffer)?;
        assert!(decoder.memory() <= MOST_MEMORY, "{} bytes of memory", decoder.memory());
        if written == 0 {
            assert!(input.is_empty(), "it stopped at {} of {before}", input.len());
            return Ok(());
        }
        sink(&buffer[..written]);
    }
}
