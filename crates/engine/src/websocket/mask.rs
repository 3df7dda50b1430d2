//! Masks (RFC 6455, 5.3): what a client sends is changed by four bytes that nobody could have known.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

/// Where masks come from: the library's own source of what cannot be guessed, which gives sixteen bytes at a time.
#[derive(Debug, Default)]
pub(super) struct Masks {
    left: Vec<u8>,
}

impl Masks {
    pub(super) fn next(&mut self) -> [u8; 4] {
        if self.left.len() < 4 {
            self.left = STANDARD.decode(generate_key()).unwrap_or_default();
        }
        let at = self.left.len().saturating_sub(4);
        let mut mask = [0; 4];
        for (byte, from) in mask.iter_mut().zip(self.left.drain(at..)) {
            *byte = from;
        }
        mask
    }
}

/// Puts a mask on, or takes it off again.
pub(super) fn apply(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
