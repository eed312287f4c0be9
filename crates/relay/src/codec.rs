//! WebSocket frames (RFC 6455) for an endpoint that we serve: reading what a client sends, writing what it gets.
//!
//! The relay does not use the reader: it passes frames on as they are and only follows their headers (`scanner`).
//! Neither side does input or output here: bytes in, messages out. No extension is spoken.

mod mask;
mod reader;
mod writer;

pub use mask::Mask;
pub use reader::MessageReader;
pub use writer::{MAX_REASON, write_close, write_frame, write_masked_frame};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of a fragmented message.
    Continuation,
    /// UTF-8 text, or its first fragment.
    Text,
    /// Bytes, or their first fragment.
    Binary,
    /// The end of one direction.
    Close,
    /// Are you there?
    Ping,
    /// I am.
    Pong,
}

impl Opcode {
    /// From the low four bits of a frame's first byte; none: reserved.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0x0f {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    /// The low four bits of a frame's first byte.
    pub fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Close, ping and pong: at most 125 bytes, never fragmented, allowed between fragments.
    pub fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// To be answered with a pong of the same bytes.
    Ping(Vec<u8>),
    /// Answer to a ping, or unasked.
    Pong(Vec<u8>),
    /// The last thing it sends; to be answered with a close of the same code.
    Close {
        /// Why; none: it gave no code (recorded as 1005).
        code: Option<u16>,
        /// Why, in words; at most 123 bytes.
        reason: String,
    },
}

/// The client broke the protocol: send a close frame with this code and end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("websocket protocol error {code}: {reason}")]
pub struct ProtocolError {
    /// 1002 (protocol error), 1007 (text that is not UTF-8) or 1009 (message too large).
    pub code: u16,
    /// For the close frame.
    pub reason: &'static str,
}

/// Whether a peer may put this code into a close frame (RFC 6455 section 7.4 and the IANA registry).
pub fn is_valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
