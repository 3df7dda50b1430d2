//! Any bytes as the beginning of a stream, compressed and flushed at each write: what it tells is told at the same write as
//! without compression.

#![no_main]

mod compressed;

use compressed::{Input, pull};
use libfuzzer_sys::fuzz_target;
use trunkline_core::first_event::{FirstEvent, Hold};
use trunkline_decode::Decoder;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let new = if input.room % 2 == 0 { FirstEvent::new } else { FirstEvent::unstated };
    let (mut plain, mut read) = (new(Hold::CLAUDE.bytes), new(Hold::CLAUDE.bytes));
    let mut decoder = Decoder::new(input.coding, u64::MAX).expect("a decoder");
    for (write, sent) in input.writes() {
        plain.push(write);
        for piece in sent.chunks(input.piece) {
            pull(&mut decoder, piece, input.room, |decoded| {
                read.push(decoded);
            })
            .expect("it is what it says");
        }
        assert_eq!((read.beginning(), read.seen()), (plain.beginning(), plain.seen()));
        assert_eq!(read.error_event(), plain.error_event());
        assert_eq!(read.is_stream(), plain.is_stream());
    }
    assert_eq!(read.end(), plain.end());
});
