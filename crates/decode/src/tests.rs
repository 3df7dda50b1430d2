use std::io::Write;

use flate2::Compression;
use proptest::prelude::*;

use super::*;

/// What a body is compressed with, and how its decoder is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Identity,
    Gzip,
    Zlib,
    Bare,
    Zstd,
    Brotli,
}

const ALL: [With; 6] = [With::Identity, With::Gzip, With::Zlib, With::Bare, With::Zstd, With::Brotli];

fn coding(with: With) -> ContentCoding {
    match with {
        With::Identity => ContentCoding::Identity,
        With::Gzip => ContentCoding::Gzip,
        With::Zlib | With::Bare => ContentCoding::Deflate,
        With::Zstd => ContentCoding::Zstd,
        With::Brotli => ContentCoding::Brotli,
    }
}

/// Compresses the writes one by one, with a flush at each, and gives what came out at each; the end of the body is with the
/// last one.
fn compress<'a>(with: With, writes: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    fn each<'a, W: Write>(
        mut encoder: W,
        writes: impl IntoIterator<Item = &'a [u8]>,
        written: impl Fn(&mut W) -> &mut Vec<u8>,
        end: impl FnOnce(W) -> Vec<u8>,
    ) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for write in writes {
            encoder.write_all(write).unwrap();
            encoder.flush().unwrap();
            out.push(std::mem::take(written(&mut encoder)));
        }
        out.push(end(encoder));
        out
    }
    match with {
        With::Identity => each(Vec::new(), writes, |out| out, |out| out),
        With::Gzip => each(
            flate2::write::GzEncoder::new(Vec::new(), Compression::default()),
            writes,
            |encoder| encoder.get_mut(),
            |encoder| encoder.finish().unwrap(),
        ),
        With::Zlib => each(
            flate2::write::ZlibEncoder::new(Vec::new(), Compression::default()),
            writes,
            |encoder| encoder.get_mut(),
            |encoder| encoder.finish().unwrap(),
        ),
        With::Bare => each(
            flate2::write::DeflateEncoder::new(Vec::new(), Compression::default()),
            writes,
            |encoder| encoder.get_mut(),
            |encoder| encoder.finish().unwrap(),
        ),
        With::Zstd => each(
            zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap(),
            writes,
            |encoder| encoder.get_mut(),
            |encoder| encoder.finish().unwrap(),
        ),
        With::Brotli => each(
            brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22),
            writes,
            |encoder| encoder.get_mut(),
            brotli::CompressorWriter::into_inner,
        ),
    }
}

/// Pulls all there is for `bytes`, through a buffer of `room` bytes.
fn pull_all(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    room: usize,
    into: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut buffer = vec![0; room];
    loop {
        let written = decoder.pull(&mut bytes, &mut buffer)?;
        if written == 0 {
            assert!(bytes.is_empty(), "it stopped before all was taken");
            return Ok(());
        }
        into.extend_from_slice(&buffer[..written]);
    }
}

fn decode(coding: ContentCoding, body: &[u8], piece: usize, max: u64) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding, max).ok_or(DecodeError::Unreadable)?;
    let mut out = Vec::new();
    for piece in body.chunks(piece.max(1)) {
        pull_all(&mut decoder, piece, 64, &mut out)?;
    }
    if decoder.may_end() { Ok(out) } else { Err(DecodeError::Unreadable) }
}

#[test]
fn every_write_is_seen_when_it_has_come() {
    let events: Vec<Vec<u8>> = (0..40)
        .map(|nth| format!("event: e{nth}\ndata: {}\n\n", "x".repeat(nth * 37 % 200)).into_bytes())
        .collect();
    for with in ALL {
        for piece in [1, 7, 4096] {
            let mut decoder = Decoder::new(coding(with), u64::MAX).unwrap();
            let writes = compress(with, events.iter().map(Vec::as_slice));
            for (nth, (write, event)) in writes.iter().zip(&events).enumerate() {
                let mut out = Vec::new();
                for piece in write.chunks(piece) {
                    pull_all(&mut decoder, piece, 16, &mut out).unwrap();
                }
                assert_eq!(&out, event, "{with:?}, write {nth}, in pieces of {piece}");
            }
            let mut rest = Vec::new();
            pull_all(&mut decoder, writes.last().unwrap(), 16, &mut rest).unwrap();
            assert!(rest.is_empty() && decoder.may_end(), "{with:?}");
        }
    }
}

#[test]
fn a_body_ends_only_at_its_end() {
    let body = br#"{"model":"claude-x"}"#.repeat(50);
    for with in ALL {
        let whole = compress(with, [&body[..]]).concat();
        assert_eq!(decode(coding(with), &whole, 7, 10_000).as_deref(), Ok(&body[..]), "{with:?}");
        // Without a single byte there is nothing that could be cut short.
        assert_eq!(decode(coding(with), b"", 7, 10_000).as_deref(), Ok(&b""[..]), "{with:?}");
        if with == With::Identity {
            continue;
        }
        for length in 1..whole.len() {
            let cut = decode(coding(with), &whole[..length], 7, 10_000);
            assert_eq!(cut, Err(DecodeError::Unreadable), "{with:?}, cut at {length}");
        }
        if with != With::Gzip && with != With::Zstd {
            let more = [&whole[..], b"more"].concat();
            assert_eq!(decode(coding(with), &more, 7, 10_000), Err(DecodeError::Unreadable), "{with:?}");
        }
    }
}

#[test]
fn several_members_are_one_body() {
    for with in [With::Gzip, With::Zstd] {
        let body = [compress(with, [&b"one "[..]]).concat(), compress(with, [&b"two"[..]]).concat()].concat();
        assert_eq!(decode(coding(with), &body, 3, 100).as_deref(), Ok(&b"one two"[..]), "{with:?}");
    }
}

#[test]
fn a_gzip_header_may_have_every_part() {
    let mut encoder = flate2::GzBuilder::new()
        .filename("a name")
        .comment("a comment")
        .extra(vec![7; 300])
        .write(Vec::new(), Compression::default());
    encoder.write_all(b"text").unwrap();
    let whole = encoder.finish().unwrap();
    assert_eq!(decode(ContentCoding::Gzip, &whole, 1, 100).as_deref(), Ok(&b"text"[..]));
    // With a check of the header, and an extra part of no length.
    let plain = compress(With::Gzip, [&b"text"[..]]).concat();
    let mut checked = plain[..10].to_vec();
    checked[3] = CHECK_AND_EXTRA;
    checked.extend_from_slice(&[0, 0, 1, 2]);
    checked.extend_from_slice(&plain[10..]);
    assert_eq!(decode(ContentCoding::Gzip, &checked, 1, 100).as_deref(), Ok(&b"text"[..]));
    // A wrong check of the data, a reserved flag, another method.
    for (at, bit) in [(plain.len() - 8, 1), (plain.len() - 1, 1), (3, 0x80), (2, 1)] {
        let mut broken = plain.clone();
        broken[at] ^= bit;
        assert_eq!(decode(ContentCoding::Gzip, &broken, 1, 100), Err(DecodeError::Unreadable), "{at}");
    }
}

/// The flags for a check of the header and for an extra part.
const CHECK_AND_EXTRA: u8 = 0b110;

#[test]
fn no_more_is_given_than_is_allowed() {
    let body = vec![b' '; 1_000_000];
    for with in ALL {
        let whole = compress(with, [&body[..]]).concat();
        for max in [0, 1, 100_000, 999_999] {
            assert_eq!(
                decode(coding(with), &whole, 5_000, max),
                Err(DecodeError::TooLarge),
                "{with:?}, {max}"
            );
        }
        assert_eq!(decode(coding(with), &whole, 5_000, 1_000_000).map(|out| out.len()), Ok(1_000_000));
    }
}

/// A body that decodes to a thousand times its length is fine as long as it is allowed.
#[test]
fn how_much_it_decodes_to_does_not_matter() {
    let body = vec![b'a'; 20 * 1024 * 1024];
    for with in ALL {
        let whole = compress(with, [&body[..]]).concat();
        let mut decoder = Decoder::new(coding(with), 20 * 1024 * 1024).unwrap();
        let (mut input, mut length, mut buffer) = (&whole[..], 0, [0; 16 * 1024]);
        loop {
            match decoder.pull(&mut input, &mut buffer).unwrap() {
                0 => break,
                written => length += written,
            }
        }
        assert_eq!((length, decoder.may_end()), (body.len(), true), "{with:?}");
        assert!(decoder.memory() < 9 * 1024 * 1024, "{with:?}: {}", decoder.memory());
    }
}

#[test]
fn the_memory_that_is_stated_is_that_of_the_window() {
    let body = vec![7; 100_000];
    let encode = |log| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(log).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&body).unwrap();
        encoder.finish().unwrap()
    };
    let after = |coding, whole: &[u8]| {
        let mut decoder = Decoder::new(coding, 1_000_000).unwrap();
        pull_all(&mut decoder, whole, 100, &mut Vec::new()).map(|()| decoder.memory())
    };
    let window = 1 << ZSTD_WINDOW_LOG;
    let memory = after(ContentCoding::Zstd, &encode(ZSTD_WINDOW_LOG)).unwrap();
    assert!((window..window + 1024 * 1024).contains(&memory), "{memory}");
    assert_eq!(after(ContentCoding::Zstd, &encode(ZSTD_WINDOW_LOG + 1)), Err(DecodeError::Unreadable));
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 24);
    encoder.write_all(&body).unwrap();
    encoder.flush().unwrap();
    let memory = after(ContentCoding::Brotli, encoder.get_ref()).unwrap();
    assert!((1 << 24..(1 << 24) + 1024 * 1024).contains(&memory), "{memory}");
}

#[test]
fn rubbish_is_refused() {
    for coding in [ContentCoding::Gzip, ContentCoding::Deflate, ContentCoding::Zstd, ContentCoding::Brotli] {
        let rubbish = [0xff; 64];
        assert_eq!(decode(coding, &rubbish, 7, 1_000), Err(DecodeError::Unreadable), "{coding:?}");
    }
    assert_eq!(decode(ContentCoding::Unknown, b"x", 7, 1_000), Err(DecodeError::Unreadable));
    // It stays refused.
    let mut decoder = Decoder::new(ContentCoding::Gzip, 100).unwrap();
    assert!(decoder.pull(&mut &b"x"[..], &mut [0; 8]).is_err());
    let good = compress(With::Gzip, [&b"text"[..]]).concat();
    assert_eq!(decoder.pull(&mut &good[..], &mut [0; 8]), Err(DecodeError::Unreadable));
    assert!(!decoder.may_end());
}

proptest! {
    #[test]
    fn it_is_the_body_however_it_is_written_and_cut(
        writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
        with in prop::sample::select(ALL.to_vec()),
        piece in 1_usize..50,
    ) {
        let whole = compress(with, writes.iter().map(Vec::as_slice)).concat();
        prop_assert_eq!(decode(coding(with), &whole, piece, 10_000), Ok(writes.concat()));
    }

    #[test]
    fn any_bytes_do(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        with in prop::sample::select(ALL.to_vec()),
        piece in 1_usize..50,
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let _ = decode(coding(with), &bytes, piece, 5_000);
        let mut whole = compress(with, [&bytes[..]]).concat();
        if let Some((at, byte)) = broken {
            let at = at.index(whole.len().max(1));
            if let Some(slot) = whole.get_mut(at) {
                *slot = byte;
            }
        }
        let _ = decode(coding(with), &whole, piece, 5_000);
    }
}
