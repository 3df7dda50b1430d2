//! Any bytes as a compressed body: the decoder gives no more than it may, gives the same however they are cut, and fails the
//! same way.

#![no_main]

mod compressed;

use compressed::{Input, pull};
use libfuzzer_sys::fuzz_target;
use trunkline_decode::{DecodeError, Decoder};

const MOST: u64 = 256 * 1024;

fn decode(input: &Input<'_>, body: &[u8], piece: usize, room: usize) -> (Vec<u8>, Result<bool, DecodeError>) {
    let mut decoder = Decoder::new(input.coding, MOST).expect("a decoder");
    let mut out = Vec::new();
    for piece in body.chunks(piece) {
        if let Err(error) = pull(&mut decoder, piece, room, |decoded| out.extend_from_slice(decoded)) {
            assert!(!decoder.may_end());
            return (out, Err(error));
        }
    }
    (out, Ok(decoder.may_end()))
}

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let (whole, told) = decode(&input, input.body, usize::MAX, 4096);
    assert!(whole.len() as u64 <= MOST);
    let (pieces, told_in_pieces) = decode(&input, input.body, input.piece, input.room);
    assert!(pieces.len() as u64 <= MOST);
    // Where both end of themselves they agree; what breaks near the bound may break by either.
    if ![told, told_in_pieces].contains(&Err(DecodeError::TooLarge)) {
        assert_eq!(told_in_pieces, told);
    }
    if told.is_ok() && told_in_pieces.is_ok() {
        assert_eq!(pieces, whole);
    }
});
