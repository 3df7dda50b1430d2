//! Any bytes as the beginning of a stream: the scanner decides the same, at the same byte, however they are cut into
//! pieces, and never changes its mind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_core::first_event::{Beginning, FirstEvent, Hold};

const MOST: u64 = Hold::CLAUDE.bytes;

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Beginning, u64) {
    let mut scan = FirstEvent::new(MOST);
    for piece in pieces {
        let before = scan.beginning().clone();
        scan.push(piece);
        assert!(
            before == Beginning::Undecided || before == *scan.beginning(),
            "from {before:?} to {:?}",
            scan.beginning()
        );
    }
    let told = (scan.beginning().clone(), scan.seen());
    assert!(told.1 <= MOST);
    assert_ne!(*scan.end(), Beginning::Undecided);
    told
}

fuzz_target!(|data: &[u8]| {
    // The first byte says where the stream is cut.
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = read([stream]);
    assert_eq!(read(stream.chunks(1)), whole, "byte by byte");
    assert_eq!(read(stream.chunks(usize::from(cut) + 1)), whole, "in pieces of {}", usize::from(cut) + 1);
    let (left, right) = stream.split_at(usize::from(cut).min(stream.len()));
    assert_eq!(read([left, &[], right]), whole, "cut at {cut}");
    if let Beginning::Error(error) = &whole.0 {
        let kept = [&error.kind, &error.code, &error.message];
        assert!(kept.into_iter().flatten().all(|text| text.len() <= trunkline_core::failure::MAX_FIELD));
    }
});
