//! What tells of the account's limits in a stream of events: observed, and not passed on (limits.md, *Rate-limit headers that a
//! client sees*).
//!
//! A compressed stream is decoded for that, and goes on decoded. It is decoded in small pieces, as it comes and as the client
//! takes it, so that no event waits for a later one and little is held.

use std::time::SystemTime;

use bytes::{Buf as _, Bytes};
use trunkline_core::event_cut::{EventCut, StreamLimits};
use trunkline_core::provider::Provider;

use crate::credential::{Credential, Told};
use crate::decode::{BodyDecoder, DecodeError, PIECE, SLICE};

/// What takes them out.
#[derive(Debug)]
pub(super) struct LimitEvents {
    cut: EventCut,
    provider: &'static dyn Provider,
    /// Decodes the stream, if it is compressed.
    decoder: Option<BodyDecoder>,
    /// What has come and has not been worked off.
    came: Bytes,
    /// Whether there may be something to work off: what is left of what came, or what the decoder still holds of it.
    has_more: bool,
}

/// What comes of working off.
#[derive(Debug)]
pub(super) enum Left {
    /// This goes on.
    Piece(Bytes),
    /// Nothing is left to work off.
    Nothing,
    /// There is more, but others should have their turn.
    Later,
    /// The stream cannot be decoded any further.
    Unreadable(DecodeError),
}

impl LimitEvents {
    pub(super) fn new(
        limits: &'static StreamLimits,
        provider: &'static dyn Provider,
        decoder: Option<BodyDecoder>,
    ) -> Self {
        Self { cut: EventCut::new(limits), provider, decoder, came: Bytes::new(), has_more: false }
    }

    /// Takes the next piece of the body, to be worked off.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.came = piece;
        self.has_more = true;
    }

    /// Works off what has come. What is taken out is told to the credential.
    pub(super) fn work_off(&mut self, credential: &Credential) -> Left {
        let mut given = 0;
        while self.has_more {
            let piece = match self.decoded() {
                Ok(piece) => piece,
                Err(error) => {
                    self.has_more = false;
                    return Left::Unreadable(error);
                }
            };
            given += piece.len();
            let left = self.cut.push(&piece);
            self.tell(credential);
            if !left.is_empty() {
                return Left::Piece(left);
            }
            if self.has_more && given >= SLICE {
                return Left::Later;
            }
        }
        Left::Nothing
    }

    /// The next piece, decoded.
    fn decoded(&mut self) -> Result<Bytes, DecodeError> {
        let Some(decoder) = &mut self.decoder else {
            self.has_more = false;
            return Ok(std::mem::take(&mut self.came));
        };
        let mut buffer = [0; PIECE];
        let mut input = &self.came[..];
        let length = decoder.pull(&mut input, &mut buffer)?;
        let taken = self.came.len() - input.len();
        self.came.advance(taken);
        self.has_more = length > 0;
        Ok(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default()))
    }

    /// What was held back, at the end of the stream.
    pub(super) fn end(&mut self, credential: &Credential) -> Bytes {
        let held = self.cut.end();
        self.tell(credential);
        held
    }

    fn tell(&mut self, credential: &Credential) {
        for event in self.cut.take_cut() {
            let readings = self.provider.limit_facts().read_event(&event, SystemTime::now());
            if readings.is_worth_telling() {
                credential.live().tell(Told::Readings(readings));
            }
        }
    }

    /// Whether the stream may end here: a compressed one that breaks off has been cut, whatever HTTP says.
    pub(super) fn may_end(&self) -> bool {
        self.decoder.as_ref().is_none_or(BodyDecoder::may_end)
    }

    /// Whether nothing is held back, and the stream may end here.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_more && self.cut.is_empty() && self.may_end()
    }
}
