//! Frames as they are on the wire.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::wire::malformed;

/// Longest frame that is read, in bytes: more than a relay joins (128 MiB).
const MAX_FRAME: u64 = 160 << 20;

/// Most bits that a code has.
const CODE_BITS: u8 = 0x0f;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with a message.
    Continuation,
    /// Begins a message of text.
    Text,
    /// Begins a message of bytes.
    Binary,
    /// Closes.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// Any other, its lower four bits.
    Reserved(u8),
}

impl Opcode {
    /// Whether it is a control frame, which may stand between the frames of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn code(self) -> OpCode {
        match self {
            Self::Continuation => OpCode::Data(Data::Continue),
            Self::Text => OpCode::Data(Data::Text),
            Self::Binary => OpCode::Data(Data::Binary),
            Self::Close => OpCode::Control(Control::Close),
            Self::Ping => OpCode::Control(Control::Ping),
            Self::Pong => OpCode::Control(Control::Pong),
            Self::Reserved(code) => OpCode::from(code & CODE_BITS),
        }
    }

    fn of(code: OpCode) -> Self {
        match code {
            OpCode::Data(Data::Continue) => Self::Continuation,
            OpCode::Data(Data::Text) => Self::Text,
            OpCode::Data(Data::Binary) => Self::Binary,
            OpCode::Control(Control::Close) => Self::Close,
            OpCode::Control(Control::Ping) => Self::Ping,
            OpCode::Control(Control::Pong) => Self::Pong,
            OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) => {
                Self::Reserved(code)
            }
        }
    }
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Frame {
    /// Whether it ends its message.
    pub is_final: bool,
    /// The reserved bits, the first of them as 4.
    pub reserved: u8,
    /// What it is.
    pub opcode: Opcode,
    /// Whether its payload is masked. What is sent is masked as its side needs it, unless this says otherwise.
    pub mask: Option<bool>,
    /// Its payload, without the mask.
    pub payload: Bytes,
}

impl Frame {
    /// A final frame.
    pub fn new(opcode: Opcode, payload: impl Into<Bytes>) -> Self {
        Self { is_final: true, reserved: 0, opcode, mask: None, payload: payload.into() }
    }

    /// A message of text. The bytes need not be text.
    pub fn text(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Text, payload)
    }

    /// A message of bytes.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Binary, payload)
    }

    /// What goes on with a message, and ends it.
    pub fn continuation(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Continuation, payload)
    }

    /// A ping.
    pub fn ping(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Ping, payload)
    }

    /// A pong.
    pub fn pong(payload: impl Into<Bytes>) -> Self {
        Self::new(Opcode::Pong, payload)
    }

    /// A close with a code and a reason.
    pub fn close(code: u16, reason: &str) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Self::new(Opcode::Close, payload)
    }

    /// The same frame, not the last of its message.
    pub fn unfinished(mut self) -> Self {
        self.is_final = false;
        self
    }

    /// The same frame with these reserved bits, the first of them as 4.
    pub fn reserved(mut self, bits: u8) -> Self {
        self.reserved = bits;
        self
    }

    /// The same frame, masked or not, whatever its side should do.
    pub fn masked(mut self, is_masked: bool) -> Self {
        self.mask = Some(is_masked);
        self
    }

    /// The code and the reason of a close; `None` if it has none.
    pub fn close_code(&self) -> Option<(u16, String)> {
        let (code, reason) = self.payload.split_at_checked(2)?;
        let code = u16::from_be_bytes(code.try_into().ok()?);
        Some((code, String::from_utf8_lossy(reason).into_owned()))
    }

    /// Its bytes, sent by a client (which masks) or a server.
    pub fn encode(&self, by_client: bool) -> Bytes {
        let mask = self.mask.unwrap_or(by_client).then(|| fastrand::u32(..).to_be_bytes());
        let header = FrameHeader {
            is_final: self.is_final,
            rsv1: self.reserved & 4 != 0,
            rsv2: self.reserved & 2 != 0,
            rsv3: self.reserved & 1 != 0,
            opcode: self.opcode.code(),
            mask,
        };
        let mut wire = Vec::with_capacity(header.len(self.payload.len() as u64) + self.payload.len());
        // Writing to a vector does not fail.
        let _ = header.format(self.payload.len() as u64, &mut wire);
        let start = wire.len();
        wire.extend_from_slice(&self.payload);
        if let (Some(mask), Some(payload)) = (mask, wire.get_mut(start..)) {
            apply(mask, payload);
        }
        Bytes::from(wire)
    }
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Reads frames from bytes as they arrive.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// Takes bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame, once it is there as a whole.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let mut cursor = io::Cursor::new(&self.buffer[..]);
        let Some((header, length)) =
            FrameHeader::parse(&mut cursor).map_err(|error| malformed(&error.to_string()))?
        else {
            return Ok(None);
        };
        if length > MAX_FRAME {
            return Err(malformed("a frame is too long"));
        }
        let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        if self.buffer.len() < end {
            return Ok(None);
        }
        let mut whole = self.buffer.split_to(end);
        let mut payload = whole.split_off(start);
        if let Some(mask) = header.mask {
            apply(mask, &mut payload);
        }
        Ok(Some(Frame {
            is_final: header.is_final,
            reserved: u8::from(header.rsv1) << 2 | u8::from(header.rsv2) << 1 | u8::from(header.rsv3),
            opcode: Opcode::of(header.opcode),
            mask: Some(header.mask.is_some()),
            payload: payload.freeze(),
        }))
    }
}
