//! Any bytes as a request body, compressed and flushed at each write: the scanner has found after each write what it finds
//! without compression, and the body ends where it ends.

#![no_main]

mod compressed;

use compressed::{Input, pull};
use libfuzzer_sys::fuzz_target;
use trunkline_core::scan::{BodyScan, Wanted};
use trunkline_decode::{DecodeError, Decoder};

const WANTED: [Wanted; 3] =
    [Wanted::Top("model"), Wanted::Nested("metadata", "user_id"), Wanted::Value("stream")];

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let (mut plain, mut read) = (BodyScan::new(WANTED), BodyScan::new(WANTED));
    let mut decoder = Decoder::new(input.coding, u64::MAX).expect("a decoder");
    for (write, sent) in input.writes() {
        plain.push(write);
        for piece in sent.chunks(input.piece) {
            pull(&mut decoder, piece, input.room, |decoded| read.push(decoded)).expect("it is what it says");
        }
        assert_eq!(read.progress(), plain.progress());
        for at in 0..WANTED.len() {
            assert_eq!(read.found(at), plain.found(at));
        }
    }
    // One byte less is allowed than there is.
    let whole = input.whole();
    let mut decoder = Decoder::new(input.coding, input.body.len() as u64).expect("a decoder");
    let mut length = 0;
    pull(&mut decoder, &whole, input.room, |decoded| length += decoded.len()).expect("it fits");
    assert!(length == input.body.len() && decoder.may_end());
    if let Some(less) = input.body.len().checked_sub(1) {
        let mut decoder = Decoder::new(input.coding, less as u64).expect("a decoder");
        let told = pull(&mut decoder, &whole, input.room, |_| {});
        assert_eq!(told, Err(DecodeError::TooLarge));
    }
});
