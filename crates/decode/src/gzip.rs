//! `gzip` (RFC 1952): members, each a header, deflate data, and a check of what it decodes to.

use flate2::{Crc, Decompress};

use crate::DecodeError;
use crate::deflate::inflate_some;

/// The flags of a header, for what follows its fixed part.
const CHECK: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// What a header begins with: the magic number, and deflate as the method.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// The length of a header's fixed part.
const FIXED: usize = 10;

/// Decodes `gzip`.
#[derive(Default)]
pub(crate) struct Gzip {
    phase: Phase,
    /// The optional parts of the present header that are still to come.
    flags: u8,
    crc: Crc,
}

enum Phase {
    /// In the fixed part of a header, at so many bytes. At the first one the body may also end.
    Fixed(usize),
    /// At so many bytes of the length of the extra part, which has that value so far.
    ExtraLength(usize, u16),
    /// In the extra part, with so many bytes left.
    Extra(u16),
    /// In a name or comment, which a zero ends.
    Text,
    /// In the check of the header, with so many bytes left.
    HeaderCheck(u8),
    Data(Decompress),
    /// In the trailer.
    Trailer {
        at: usize,
        read: [u8; 8],
    },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

impl Gzip {
    pub(crate) fn step(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        if let Phase::Data(inflate) = &mut self.phase {
            let (ended, written) = inflate_some(inflate, input, out)?;
            self.crc.update(out.get(..written).unwrap_or_default());
            if ended {
                self.phase = Phase::Trailer { at: 0, read: [0; 8] };
            }
            return Ok(written);
        }
        let Some((byte, rest)) = input.split_first() else { return Ok(0) };
        *input = rest;
        self.take(*byte)?;
        Ok(0)
    }

    /// Takes a byte of a header or a trailer.
    fn take(&mut self, byte: u8) -> Result<(), DecodeError> {
        match &mut self.phase {
            Phase::Fixed(at) => {
                if MAGIC.get(*at).is_some_and(|expected| *expected != byte) {
                    return Err(DecodeError::Unreadable);
                }
                if *at == MAGIC.len() {
                    if byte & RESERVED != 0 {
                        return Err(DecodeError::Unreadable);
                    }
                    self.flags = byte;
                }
                *at += 1;
                if *at == FIXED {
                    self.next_part();
                }
            }
            Phase::ExtraLength(0, length) => {
                *length = u16::from(byte);
                self.phase = Phase::ExtraLength(1, u16::from(byte));
            }
            Phase::ExtraLength(_, low) => {
                let length = *low | u16::from(byte) << 8;
                self.phase = Phase::Extra(length);
                if length == 0 {
                    self.next_part();
                }
            }
            Phase::Extra(left) => {
                *left -= 1;
                if *left == 0 {
                    self.next_part();
                }
            }
            Phase::Text => {
                if byte == 0 {
                    self.next_part();
                }
            }
            Phase::HeaderCheck(left) => {
                *left -= 1;
                if *left == 0 {
                    self.next_part();
                }
            }
            Phase::Trailer { at, read } => {
                if let Some(slot) = read.get_mut(*at) {
                    *slot = byte;
                }
                *at += 1;
                if *at == read.len() {
                    let read = u64::from_le_bytes(*read);
                    let expected = u64::from(self.crc.sum()) | u64::from(self.crc.amount()) << 32;
                    let is_right = read == expected;
                    if !is_right {
                        return Err(DecodeError::Unreadable);
                    }
                    self.crc.reset();
                    self.phase = Phase::Fixed(0);
                }
            }
            Phase::Data(_) => {}
        }
        Ok(())
    }

    /// Goes on to the next part of the header, or to the data behind it.
    fn next_part(&mut self) {
        for (flag, phase) in [
            (EXTRA, Phase::ExtraLength(0, 0)),
            (NAME, Phase::Text),
            (COMMENT, Phase::Text),
            (CHECK, Phase::HeaderCheck(2)),
        ] {
            if self.flags & flag != 0 {
                self.flags &= !flag;
                self.phase = phase;
                return;
            }
        }
        self.phase = Phase::Data(Decompress::new(false));
    }

    pub(crate) fn may_end(&self) -> bool {
        matches!(self.phase, Phase::Fixed(0))
    }
}
