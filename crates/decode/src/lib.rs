//! Decodes HTTP bodies that are compressed, a little at a time.
//!
//! Trunkline reads compressed bodies beside the stream: requests for their model and session, answers for their first event
//! and for events about an account's limits. A peer may choose what it sends, so a [`Decoder`] promises three things:
//!
//! - **Nothing is late.** [`Decoder::pull`] returns all that the bytes given so far decode to. A sender that flushes its
//!   encoder after an event can rely on that event being seen, whatever the coding.
//! - **Nothing is large.** It decodes into a buffer that the caller supplies, and stops when that is full. What a decoder
//!   holds besides is its window and tables, which [`Decoder::memory`] states; the caller counts them against a budget.
//! - **Nothing breaks it.** Bytes that are not what the coding says are [`DecodeError::Unreadable`].

mod brotli_memory;
mod coding;
mod deflate;
mod gzip;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use self::brotli_memory::Counted;
pub use self::coding::ContentCoding;
use self::deflate::Deflate;
use self::gzip::Gzip;

/// Why a body cannot be decoded (any further).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It is longer than allowed when decoded.
    TooLarge,
    /// It is not what its coding says, or its coding is not one that is known here.
    Unreadable,
}

/// The largest window of a zstd body, as a power of two: 8 MiB, which is what RFC 9659 has the content coding limited to.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decodes one body. See the crate.
pub struct Decoder {
    state: State,
    /// How many decoded bytes are still allowed.
    left: u64,
    failed: Option<DecodeError>,
}

enum State {
    Identity,
    Gzip(Box<Gzip>),
    Deflate(Box<Deflate>),
    Zstd(Zstd),
    Brotli(Box<Brotli>),
}

struct Zstd {
    context: DCtx<'static>,
    /// Whether a frame has begun and not ended.
    in_frame: bool,
    /// Whether the last output was filled to its end, so that more may be there without further input.
    may_have_more: bool,
}

struct Brotli {
    state: BrotliState<Counted, Counted, Counted>,
    counted: Counted,
    has_begun: bool,
    has_ended: bool,
    total: usize,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("left", &self.left)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder for `coding` that gives at most `max` bytes. `None` for [`ContentCoding::Unknown`], or if the library has no
    /// memory for one.
    pub fn new(coding: ContentCoding, max: u64) -> Option<Self> {
        let state = match coding {
            ContentCoding::Identity => State::Identity,
            ContentCoding::Gzip => State::Gzip(Box::default()),
            ContentCoding::Deflate => State::Deflate(Box::default()),
            ContentCoding::Zstd => {
                let mut context = DCtx::try_create()?;
                context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
                State::Zstd(Zstd { context, in_frame: false, may_have_more: false })
            }
            ContentCoding::Brotli => {
                let counted = Counted::default();
                State::Brotli(Box::new(Brotli {
                    state: BrotliState::new(counted.clone(), counted.clone(), counted.clone()),
                    counted,
                    has_begun: false,
                    has_ended: false,
                    total: 0,
                }))
            }
            ContentCoding::Unknown => return None,
        };
        Some(Self { state, left: max, failed: None })
    }

    /// Takes bytes from the front of `input`, decodes them into `out`, and returns how many bytes it wrote. When it returns 0,
    /// `input` is empty and all that it decodes to has been given. Once it has failed it fails in the same way again.
    ///
    /// An empty `out` is not filled, and makes no progress.
    pub fn pull(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let pulled = self.pull_some(input, out);
        self.failed = pulled.err();
        pulled
    }

    fn pull_some(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        if room == 0 && !out.is_empty() {
            // All that is allowed has been given. One byte more shows that this was not all.
            return match self.step(input, &mut [0])? {
                0 => Ok(0),
                _ => Err(DecodeError::TooLarge),
            };
        }
        let out = out.get_mut(..room).unwrap_or_default();
        let written = if out.is_empty() { 0 } else { self.step(input, out)? };
        self.left -= written as u64;
        Ok(written)
    }

    /// Decodes until something has been written, or the input is used up. `out` is not empty.
    fn step(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        loop {
            let before = input.len();
            let written = match &mut self.state {
                State::Identity => {
                    let length = input.len().min(out.len());
                    if let (Some(from), Some(to)) = (input.get(..length), out.get_mut(..length)) {
                        to.copy_from_slice(from);
                    }
                    *input = input.get(length..).unwrap_or_default();
                    length
                }
                State::Gzip(gzip) => gzip.step(input, out)?,
                State::Deflate(deflate) => deflate.step(input, out)?,
                State::Zstd(zstd) => zstd.step(input, out)?,
                State::Brotli(brotli) => brotli.step(input, out)?,
            };
            if written > 0 || input.is_empty() {
                return Ok(written);
            }
            if input.len() == before {
                // No library does this; without the check it would be an endless loop if one did.
                return Err(DecodeError::Unreadable);
            }
        }
    }

    /// Whether the body may end here: nothing has begun that has not ended. A body without a single byte may end, whatever
    /// its coding.
    pub fn may_end(&self) -> bool {
        self.failed.is_none()
            && match &self.state {
                State::Identity => true,
                State::Gzip(gzip) => gzip.may_end(),
                State::Deflate(deflate) => deflate.may_end(),
                State::Zstd(zstd) => !zstd.in_frame && !zstd.may_have_more,
                State::Brotli(brotli) => brotli.has_ended || !brotli.has_begun,
            }
    }

    /// How much memory this decoder takes now, in bytes: its window and its tables. It grows while a body is being read, at
    /// most to some 20 MiB (the window of a brotli body may have 16 MiB, that of a zstd body 8 MiB).
    pub fn memory(&self) -> usize {
        match &self.state {
            State::Identity => 0,
            State::Gzip(_) | State::Deflate(_) => deflate::MEMORY,
            State::Zstd(zstd) => zstd.context.sizeof(),
            State::Brotli(brotli) => brotli.counted.used() + size_of::<Brotli>(),
        }
    }
}

impl Zstd {
    fn step(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        if input.is_empty() && !self.may_have_more {
            // The library counts calls that bring nothing, and fails after a few.
            return Ok(0);
        }
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(out));
        let hint = self.context.decompress_stream(&mut to, &mut from).map_err(|_| DecodeError::Unreadable)?;
        let (taken, written) = (from.pos(), to.pos());
        self.may_have_more = hint != 0 && written == out.len();
        self.in_frame = hint != 0 && (self.in_frame || taken > 0);
        *input = input.get(taken..).unwrap_or_default();
        Ok(written)
    }
}

impl Brotli {
    fn step(&mut self, input: &mut &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
        if self.has_ended {
            return if input.is_empty() { Ok(0) } else { Err(DecodeError::Unreadable) };
        }
        self.has_begun |= !input.is_empty();
        let (mut available, mut taken) = (input.len(), 0);
        let (mut room, mut written) = (out.len(), 0);
        let result = BrotliDecompressStream(
            &mut available,
            &mut taken,
            input,
            &mut room,
            &mut written,
            out,
            &mut self.total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(DecodeError::Unreadable),
            BrotliResult::ResultSuccess => self.has_ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        *input = input.get(taken..).unwrap_or_default();
        Ok(written)
    }
}

#[cfg(test)]
mod tests;
