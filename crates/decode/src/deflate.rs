//! `deflate`: the zlib format (RFC 1950), or bare deflate data, which some servers send under that name.

use flate2::{Decompress, FlushDecompress, Status};

use crate::DecodeError;

/// What an inflater takes: a window of 32 KiB and its tables.
pub(crate) const MEMORY: usize = 48 * 1024;

/// Decodes `deflate`.
#[derive(Default)]
pub(crate) struct Deflate {
    phase: Phase,
}

#[derive(Default)]
enum Phase {
    /// Nothing has come.
    #[default]
    Start,
    /// One byte has come, which does not tell the two formats apart.
    First(u8),
    Data(Decompress),
    /// The data has ended.
    Ended,
}

impl Deflate {
    pub(crate) fn step(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        match &mut self.phase {
            Phase::Start => {
                let Some((first, rest)) = input.split_first() else { return Ok(0) };
                self.phase = Phase::First(*first);
                *input = rest;
                Ok(0)
            }
            Phase::First(first) => {
                let Some(second) = input.first() else { return Ok(0) };
                let mut inflate = Decompress::new(is_zlib(*first, *second));
                // One byte gives no output: it is part of a header in either format.
                let (ended, _) = inflate_some(&mut inflate, &mut &[*first][..], out)?;
                self.phase = if ended { Phase::Ended } else { Phase::Data(inflate) };
                self.step(input, out)
            }
            Phase::Data(inflate) => {
                let (ended, written) = inflate_some(inflate, input, out)?;
                if ended {
                    self.phase = Phase::Ended;
                }
                Ok(written)
            }
            Phase::Ended if input.is_empty() => Ok(0),
            Phase::Ended => Err(DecodeError::Unreadable),
        }
    }

    pub(crate) fn may_end(&self) -> bool {
        matches!(self.phase, Phase::Start | Phase::Ended)
    }
}

/// Whether two bytes begin the zlib format: method 8 with a window of at most 32 KiB, no dictionary, and a check that divides by
/// 31. Bare data would have to begin with a stored block with stray bits in its padding, which no encoder writes.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8
        && first >> 4 <= 7
        && u16::from_be_bytes([first, second]).is_multiple_of(31)
        && second & 0x20 == 0
}

/// Inflates some. Says whether the data has ended, and how much was written.
pub(crate) fn inflate_some(
    inflate: &mut Decompress,
    input: &mut &[u8],
    out: &mut [u8],
) -> Result<(bool, usize), DecodeError> {
    let (taken, written) = (inflate.total_in(), inflate.total_out());
    let status =
        inflate.decompress(input, out, FlushDecompress::None).map_err(|_| DecodeError::Unreadable)?;
    let length = |from, to: u64| usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
    *input = input.get(length(taken, inflate.total_in())..).unwrap_or_default();
    Ok((status == Status::StreamEnd, length(written, inflate.total_out())))
}
