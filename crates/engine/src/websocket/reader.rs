//! What was read of a WebSocket, frame by frame, joined to messages.

use std::io::Cursor;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data as Kind, OpCode};

use super::mask;
use super::{Data, LONG, MAX_MESSAGE, Role};

/// Longest payload of a control frame (RFC 6455, 5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// Why a connection is failed: the code of the close that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: u16,
    pub(crate) why: &'static str,
}

const fn protocol(why: &'static str) -> Violation {
    Violation { code: 1002, why }
}

/// The close of a peer has a code that may not stand on the wire. The other side is told 1011 then.
pub(crate) const NO_CODE: Violation = protocol("a close with a code that may not be sent");

const NOT_TEXT: Violation = Violation { code: 1007, why: "text that is not UTF-8" };
const TOO_LONG: Violation = Violation { code: 1009, why: "the message is too long" };

/// Something whole.
#[derive(Debug)]
pub(super) enum Item {
    Message(Data),
    Ping(Bytes),
    Pong,
    Close(Bytes),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    role: Role,
    buffer: BytesMut,
    /// The head of a frame whose payload has not come whole.
    frame: Option<(FrameHeader, usize)>,
    joined: Option<Joined>,
    was_long: bool,
}

/// A message whose last fragment has not come.
#[derive(Debug)]
struct Joined {
    is_text: bool,
    bytes: BytesMut,
    /// How much of it is known to be UTF-8.
    valid: usize,
}

impl Reader {
    pub(super) fn new(role: Role, read: Bytes) -> Self {
        Self { role, buffer: read.into(), frame: None, joined: None, was_long: false }
    }

    /// Where bytes go that are read.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether the last frame was a long one.
    pub(super) fn was_long(&self) -> bool {
        self.was_long
    }

    /// How many bytes are missing of the frame that has begun; 0: that is not known.
    pub(super) fn missing(&self) -> usize {
        self.frame.as_ref().map_or(0, |(_, length)| length.saturating_sub(self.buffer.len()))
    }

    /// The next item, if it is there whole.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Violation> {
        loop {
            let (header, length) = match self.frame.take() {
                Some(frame) => frame,
                None => match self.head()? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if self.buffer.len() < length {
                self.frame = Some((header, length));
                return Ok(None);
            }
            let mut payload = self.buffer.split_to(length);
            if self.buffer.is_empty() {
                // The payload alone keeps the memory.
                self.buffer = BytesMut::new();
            }
            if let Some(mask) = header.mask {
                mask::apply(&mut payload, mask);
            }
            if let Some(item) = self.item(&header, payload)? {
                return Ok(Some(item));
            }
        }
    }

    fn head(&mut self) -> Result<Option<(FrameHeader, usize)>, Violation> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| protocol("a frame of no known kind"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let size = usize::try_from(cursor.position()).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.advance(size);
        if size != shortest_head(length, header.mask.is_some()) {
            return Err(protocol("a frame whose length is written in more bytes than it takes"));
        }
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol("reserved bits are set"));
        }
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(protocol("a frame is masked against the rules"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.was_long = length > LONG;
        match header.opcode {
            OpCode::Control(_) if !header.is_final || length > MAX_CONTROL => {
                return Err(protocol("a control frame in pieces, or too long"));
            }
            OpCode::Control(_) => {}
            OpCode::Data(kind) => {
                if (kind == Kind::Continue) != self.joined.is_some() {
                    return Err(protocol("a fragment out of its order"));
                }
                let joined = self.joined.as_ref().map_or(0, |joined| joined.bytes.len());
                if joined.saturating_add(length) > MAX_MESSAGE {
                    return Err(TOO_LONG);
                }
            }
        }
        Ok(Some((header, length)))
    }

    fn item(&mut self, header: &FrameHeader, payload: BytesMut) -> Result<Option<Item>, Violation> {
        let kind = match header.opcode {
            OpCode::Control(Control::Ping) => return Ok(Some(Item::Ping(payload.freeze()))),
            OpCode::Control(Control::Pong) => return Ok(Some(Item::Pong)),
            OpCode::Control(Control::Close) => return close(payload.freeze()).map(Some),
            OpCode::Control(Control::Reserved(_)) => return Err(protocol("a frame of no known kind")),
            OpCode::Data(kind) => kind,
        };
        let mut joined = match self.joined.take() {
            Some(mut joined) => {
                joined.bytes.extend_from_slice(&payload);
                joined
            }
            None => Joined { is_text: kind == Kind::Text, bytes: payload, valid: 0 },
        };
        if joined.is_text {
            joined.validate(header.is_final)?;
        }
        if !header.is_final {
            self.joined = Some(joined);
            return Ok(None);
        }
        Ok(Some(Item::Message(Data { is_text: joined.is_text, bytes: joined.bytes.freeze() })))
    }
}

impl Joined {
    /// Fails as soon as it is clear that this will be no text.
    fn validate(&mut self, is_whole: bool) -> Result<(), Violation> {
        let rest = self.bytes.get(self.valid..).unwrap_or_default();
        match std::str::from_utf8(rest) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() && !is_whole => self.valid += error.valid_up_to(),
            Err(_) => return Err(NOT_TEXT),
        }
        Ok(())
    }
}

/// Length of the head of a frame in bytes. The length of the payload has to be written in the fewest bytes (RFC 6455, 5.2):
/// readers that differ about a longer spelling would see different frames.
fn shortest_head(length: u64, is_masked: bool) -> usize {
    let extended = match length {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    2 + extended + if is_masked { 4 } else { 0 }
}

/// Whether a close may have this code: what the RFC (7.4) and its registry know, and what is left to libraries and programs.
/// 1004 has no meaning, 1005, 1006 and 1015 stand for closes without a code.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn close(payload: Bytes) -> Result<Item, Violation> {
    if let Some((code, reason)) = payload.split_first_chunk::<2>() {
        if !may_be_sent(u16::from_be_bytes(*code)) {
            return Err(NO_CODE);
        }
        if std::str::from_utf8(reason).is_err() {
            return Err(NOT_TEXT);
        }
    } else if !payload.is_empty() {
        return Err(protocol("a close with half a code"));
    }
    Ok(Item::Close(payload))
}
