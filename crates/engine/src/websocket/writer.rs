//! What is to be written to a WebSocket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data as Kind, OpCode};

use super::mask::{self, Masks};
use super::{Data, Role};

/// Longest payload that is copied to stand behind its head, together with others.
const SMALL: usize = 4 * 1024;

/// How much of small frames stands together.
const TOGETHER: usize = 16 * 1024;

/// Longest head of a frame.
const MAX_HEAD: usize = 14;

/// Pieces in one write.
const MAX_SLICES: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    /// Of a client.
    masks: Option<Masks>,
    pieces: VecDeque<Bytes>,
    /// Small frames behind the pieces.
    small: BytesMut,
    queued: usize,
    /// Whether something was written that may lie in a buffer below.
    is_dirty: bool,
}

impl Writer {
    pub(super) fn new(role: Role) -> Self {
        let masks = (role == Role::Client).then(Masks::default);
        Self { masks, pieces: VecDeque::new(), small: BytesMut::new(), queued: 0, is_dirty: false }
    }

    /// Bytes that have not been written.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn message(&mut self, data: Data) {
        self.frame(OpCode::Data(if data.is_text { Kind::Text } else { Kind::Binary }), data.bytes);
    }

    pub(super) fn ping(&mut self) {
        self.frame(OpCode::Control(Control::Ping), Bytes::new());
    }

    pub(super) fn pong(&mut self, payload: Bytes) {
        self.frame(OpCode::Control(Control::Pong), payload);
    }

    pub(super) fn close(&mut self, payload: Bytes) {
        self.frame(OpCode::Control(Control::Close), payload);
    }

    fn frame(&mut self, opcode: OpCode, payload: Bytes) {
        let mask = self.masks.as_mut().map(Masks::next);
        let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask };
        let is_small = payload.len() <= SMALL;
        let before = self.small.len();
        let room = MAX_HEAD + if is_small { payload.len() } else { 0 };
        if self.small.capacity().saturating_sub(before) < room {
            // Where one waits already, there may be more.
            self.small.reserve(if before == 0 { room } else { TOGETHER.max(room) });
        }
        // Writing into memory does not fail.
        let _ = header.format(payload.len() as u64, &mut (&mut self.small).writer());
        if is_small {
            let from = self.small.len();
            self.small.extend_from_slice(&payload);
            if let (Some(mask), Some(copied)) = (mask, self.small.get_mut(from..)) {
                mask::apply(copied, mask);
            }
        }
        self.queued += self.small.len().saturating_sub(before);
        if !is_small || self.small.len() >= TOGETHER {
            self.end_small();
        }
        if is_small {
            return;
        }
        let Some(mask) = mask else { return self.push(payload) };
        // In place, unless somebody else still has it.
        let mut masked = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        mask::apply(&mut masked, mask);
        self.push(masked.freeze());
    }

    fn push(&mut self, piece: Bytes) {
        self.queued += piece.len();
        self.pieces.push_back(piece);
    }

    /// Has what is small stand among the pieces.
    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(std::mem::take(&mut self.small).freeze());
        }
    }

    pub(super) fn poll_flush<T: AsyncWrite>(
        &mut self,
        mut io: Pin<&mut T>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.queued > 0 {
            if self.pieces.is_empty() {
                self.end_small();
            }
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            let written = ready!(io.as_mut().poll_write_vectored(context, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_dirty = true;
            self.advance(written);
        }
        if self.is_dirty {
            ready!(io.poll_flush(context))?;
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.queued = self.queued.saturating_sub(written);
        while written > 0 {
            let Some(first) = self.pieces.front_mut() else { return };
            if first.len() > written {
                return first.advance(written);
            }
            written -= first.len();
            self.pieces.pop_front();
        }
    }
}
