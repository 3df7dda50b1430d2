//! Decoding a compressed body beside its stream, only to read it: what is forwarded stays as it came.

use std::io::{self, Write};

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// It is longer than allowed when decoded.
    TooLarge,
    /// It is not what `content-encoding` says, or that names a coding we do not know.
    Unreadable,
}

/// Decodes what is pushed into it.
pub(crate) struct BodyDecoder {
    coding: Coding,
}

enum Coding {
    Plain(Buffer),
    Gzip(Box<flate2::write::MultiGzDecoder<Buffer>>),
    Deflate(Box<flate2::write::ZlibDecoder<Buffer>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Buffer>>),
    Brotli(Box<brotli_decompressor::DecompressorWriter<Buffer>>),
    Unknown,
}

impl std::fmt::Debug for BodyDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyDecoder")
    }
}

/// Bytes given to a decoder at once, so that what one piece decodes to stays small in memory.
const PIECE: usize = 4 * 1024;

/// Most that one piece may decode to before the sink is emptied: a bound against bodies that decode to very much.
const MAX_BURST: usize = 16 * 1024 * 1024;

/// A decoder's working buffer for brotli.
const BROTLI_BUFFER: usize = 4 * 1024;

/// The largest window of a zstd body, as a power of two: 8 MiB, which RFC 8878 (3.1.1.1.2) has every decoder support. The
/// client's bodies have 2 MiB at most.
const ZSTD_WINDOW_LOG: u32 = 23;

fn zstd(buffer: Buffer) -> io::Result<zstd::stream::write::Decoder<'static, Buffer>> {
    let mut decoder = zstd::stream::write::Decoder::new(buffer)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

impl BodyDecoder {
    /// A decoder for the value of `content-encoding`; `max` is the longest decoded body.
    pub(crate) fn new(encoding: &str, max: u64) -> Self {
        let buffer = Buffer { decoded: Vec::new(), left: max, overflowed: false };
        let coding = match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Coding::Plain(buffer),
            "gzip" | "x-gzip" => Coding::Gzip(Box::new(flate2::write::MultiGzDecoder::new(buffer))),
            "deflate" => Coding::Deflate(Box::new(flate2::write::ZlibDecoder::new(buffer))),
            "zstd" => zstd(buffer).map_or(Coding::Unknown, |decoder| Coding::Zstd(Box::new(decoder))),
            "br" => {
                Coding::Brotli(Box::new(brotli_decompressor::DecompressorWriter::new(buffer, BROTLI_BUFFER)))
            }
            _ => Coding::Unknown,
        };
        Self { coding }
    }

    /// Decodes a chunk and gives what it decodes to, in pieces.
    pub(crate) fn push(&mut self, chunk: &[u8], mut sink: impl FnMut(&[u8])) -> Result<(), DecodeError> {
        for piece in chunk.chunks(PIECE) {
            let written = match &mut self.coding {
                Coding::Plain(buffer) => buffer.write_all(piece),
                Coding::Gzip(decoder) => decoder.write_all(piece),
                Coding::Deflate(decoder) => decoder.write_all(piece),
                // It keeps what it has decoded until it is asked.
                Coding::Zstd(decoder) => decoder.write_all(piece).and_then(|()| decoder.flush()),
                Coding::Brotli(decoder) => decoder.write_all(piece),
                Coding::Unknown => return Err(DecodeError::Unreadable),
            };
            self.drain(written, &mut sink)?;
        }
        Ok(())
    }

    /// The end of the body: what the decoder still held.
    pub(crate) fn finish(mut self, mut sink: impl FnMut(&[u8])) -> Result<(), DecodeError> {
        let ended = match &mut self.coding {
            Coding::Plain(_) => Ok(()),
            Coding::Gzip(decoder) => decoder.try_finish(),
            Coding::Deflate(decoder) => decoder.try_finish(),
            Coding::Zstd(decoder) => decoder.flush(),
            Coding::Brotli(decoder) => decoder.close(),
            Coding::Unknown => return Err(DecodeError::Unreadable),
        };
        self.drain(ended, &mut sink)
    }

    fn drain(&mut self, result: io::Result<()>, sink: &mut impl FnMut(&[u8])) -> Result<(), DecodeError> {
        let buffer = match &mut self.coding {
            Coding::Plain(buffer) => buffer,
            Coding::Gzip(decoder) => decoder.get_mut(),
            Coding::Deflate(decoder) => decoder.get_mut(),
            Coding::Zstd(decoder) => decoder.get_mut(),
            Coding::Brotli(decoder) => decoder.get_mut(),
            Coding::Unknown => return Err(DecodeError::Unreadable),
        };
        if buffer.overflowed {
            return Err(DecodeError::TooLarge);
        }
        result.map_err(|_| DecodeError::Unreadable)?;
        sink(&buffer.decoded);
        buffer.decoded.clear();
        Ok(())
    }
}

/// Where decoded bytes land between two pieces.
struct Buffer {
    decoded: Vec<u8>,
    left: u64,
    overflowed: bool,
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len() as u64 <= self.left && self.decoded.len() + bytes.len() <= MAX_BURST;
        if !fits {
            self.overflowed = true;
            return Err(io::Error::other("the decoded body is over the limit"));
        }
        self.left -= bytes.len() as u64;
        self.decoded.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: &str, body: &[u8], max: u64) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = BodyDecoder::new(encoding, max);
        let mut out = Vec::new();
        for piece in body.chunks(7) {
            decoder.push(piece, |decoded| out.extend_from_slice(decoded))?;
        }
        decoder.finish(|decoded| out.extend_from_slice(decoded))?;
        Ok(out)
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn reads_the_codings_that_clients_send() {
        let body = br#"{"model":"claude-x"}"#.repeat(50);
        assert_eq!(decode("gzip", &gzip(&body), 10_000).unwrap(), body);
        assert_eq!(decode("zstd", &zstd::encode_all(&body[..], 3).unwrap(), 10_000).unwrap(), body);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&body).unwrap();
        assert_eq!(decode("deflate", &zlib.finish().unwrap(), 10_000).unwrap(), body);
        assert_eq!(decode("Identity", &body, 10_000).unwrap(), body);
    }

    #[test]
    fn a_body_is_read_as_far_as_it_has_come() {
        let body = br#"{"model":"gpt-5.5","input":[]}"#.repeat(20);
        let encoded = zstd::encode_all(&body[..], 3).unwrap();
        let mut decoder = BodyDecoder::new("zstd", 10_000);
        let mut out = Vec::new();
        // Without being told that it is all.
        decoder.push(&encoded, |decoded| out.extend_from_slice(decoded)).unwrap();
        assert_eq!(out, body);
    }

    #[test]
    fn a_window_is_no_larger_than_every_decoder_must_have() {
        let body = vec![7; 100_000];
        let encode = |log| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            encoder.window_log(log).unwrap();
            encoder.long_distance_matching(true).unwrap();
            encoder.write_all(&body).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(decode("zstd", &encode(ZSTD_WINDOW_LOG), 1_000_000).unwrap(), body);
        assert_eq!(decode("zstd", &encode(ZSTD_WINDOW_LOG + 1), 1_000_000), Err(DecodeError::Unreadable));
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        let bomb = gzip(&vec![b' '; 1_000_000]);
        assert_eq!(decode("gzip", &bomb, 100_000), Err(DecodeError::TooLarge));
        assert_eq!(
            decode("zstd", &zstd::encode_all(&vec![0; 1_000_000][..], 3).unwrap(), 1_000),
            Err(DecodeError::TooLarge)
        );
        assert_eq!(decode("gzip", b"not gzip at all, really", 1_000), Err(DecodeError::Unreadable));
        assert_eq!(decode("br", &[0xff; 64], 1_000), Err(DecodeError::Unreadable));
        assert_eq!(decode("rot13", b"x", 1_000), Err(DecodeError::Unreadable));
    }
}
