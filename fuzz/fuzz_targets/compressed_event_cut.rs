//! Any bytes as a stream, compressed and flushed at each write: what goes on of it after each write is what goes on without
//! compression, with the real rules, and limits in the headers of events never do.

#![no_main]

mod compressed;

use bytes::Bytes;
use compressed::{Input, pull};
use libfuzzer_sys::fuzz_target;
use trunkline_core::event_cut::EventCut;
use trunkline_core::limits::LimitFacts as _;
use trunkline_core::provider::codex::Codex;
use trunkline_decode::Decoder;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let limits = Codex.stream_limits().expect("Codex has such events");
    let (mut plain, mut decoded) = (EventCut::new(limits), EventCut::new(limits));
    let (mut out, mut read) = (Vec::new(), Vec::new());
    let mut decoder = Decoder::new(input.coding, u64::MAX).expect("a decoder");
    for (write, sent) in input.writes() {
        out.extend_from_slice(&plain.push(&Bytes::copy_from_slice(write)));
        for piece in sent.chunks(input.piece) {
            pull(&mut decoder, piece, input.room, |piece| {
                read.extend_from_slice(&decoded.push(&Bytes::copy_from_slice(piece)));
            })
            .expect("it is what it says");
        }
        assert_eq!(decoded.take_cut(), plain.take_cut());
        assert_eq!(decoded.is_empty(), plain.is_empty());
        assert_eq!(read, out);
    }
    out.extend_from_slice(&plain.end());
    read.extend_from_slice(&decoded.end());
    assert_eq!(read, out);
    assert!(plain.is_empty() && decoded.is_empty());
});
