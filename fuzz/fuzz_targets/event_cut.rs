//! Any bytes as a stream: what goes on of it is the same however it is cut into pieces, is the stream but for whole runs of
//! it where nothing was edited, and no more is held back than is allowed.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use trunkline_core::event_cut::{EventCut, MAX_HELD};
use trunkline_core::limits::LimitFacts as _;
use trunkline_core::provider::codex::Codex;

fn cut<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut cutter = EventCut::new(Codex.stream_limits().expect("Codex has such events"));
    let (mut out, mut cut) = (Vec::new(), Vec::new());
    for piece in pieces {
        out.extend_from_slice(&cutter.push(&Bytes::copy_from_slice(piece)));
        cut.extend(cutter.take_cut());
    }
    let held = cutter.end();
    assert!(held.len() <= MAX_HELD && cutter.is_empty());
    cut.extend(cutter.take_cut());
    out.extend_from_slice(&held);
    (out, cut)
}

/// Whether `part` is `whole` with bytes left out.
fn is_part(part: &[u8], whole: &[u8]) -> bool {
    let mut left = whole.iter();
    part.iter().all(|byte| left.any(|other| other == byte))
}

fuzz_target!(|data: &[u8]| {
    // The first byte says where the stream is cut.
    let Some((&at, stream)) = data.split_first() else { return };
    let whole = cut([stream]);
    // Data that was edited is written anew.
    let has = |words: &[u8]| stream.windows(words.len()).any(|window| window == words);
    let may_be_edited = has(b"\\") || (has(b"headers") && (has(b"error") || has(b"response.metadata")));
    assert!(may_be_edited || is_part(&whole.0, stream), "what goes on was never there");
    assert_eq!(cut(stream.chunks(1)), whole, "byte by byte");
    assert_eq!(cut(stream.chunks(usize::from(at) + 1)), whole, "in pieces of {}", usize::from(at) + 1);
    let (left, right) = stream.split_at(usize::from(at).min(stream.len()));
    assert_eq!(cut([left, &[], right]), whole, "cut at {at}");
    // Of an unnamed event that breaks off nothing is left, and of errors nothing that cannot be read.
    if !has(b"codex.rate_limits")
        && !has(b"error")
        && !has(b"response.metadata")
        && !has(b"\\")
        && stream.ends_with(b"\n\n")
    {
        assert_eq!(whole.0, stream, "nothing is to be cut");
    }
});
