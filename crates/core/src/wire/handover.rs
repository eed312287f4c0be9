//! The take-over socket: one SEQPACKET message for each client, the client's socket beside it (`SCM_RIGHTS`).
//!
//! A message is a four-byte little-endian length, that many bytes of JSON, and then raw bytes: for an [`Offer`] the request
//! head exactly as the client sent it and whatever was read after it. Going down the JSON is a [`Down`], coming up an [`Up`].
//!
//! Runners use it among themselves, too: one to which a client says something about a session that another one owns asks
//! that one ([`Ask`]), and if it is willing hands it the socket, a WebSocket by now, with what was read from it
//! ([`Moved`]). It asks first because a move cannot be taken back: a runner that does not answer gets no socket.
//!
//! One that is drained asks a sibling whether it would take a client *with its sessions* ([`Ask::bring`]), releases them in
//! the journal and sends [`Moved`] with their names. That can be taken back: the socket is the sender's until it has
//! heard [`Up::Taken`], which is said before the socket is touched (`docs/design/failover.md`).

use crate::ids::ConnectionId;
use crate::routing::PoolKind;
use crate::wire::control::Connection;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use uuid::Uuid;

/// Largest request head that the front door accepts, bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most headers of a request.
pub const MAX_HEADERS: usize = 100;
/// Most bytes that may be read behind the head before the hand-over.
pub const MAX_REST: usize = 16 * 1024;
/// Largest message.
pub const MAX_MESSAGE: usize = MAX_HEAD + MAX_REST + 8 * 1024;

/// Most bytes of a moved client that may be unread: a message, and one read behind it. As many may be unsent.
pub const MAX_UNREAD: usize = 80 * 1024 * 1024;

/// Proxy or another runner to runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Down {
    /// Here is a client; its socket is with the message.
    Offer(Offer),
    /// From another runner: is this session yours, and would you take its client?
    Ask(Ask),
    /// From another runner that was told [`Up::Willing`]: the client's socket is with this message.
    Moved(Moved),
    /// More raw bytes of the moved client.
    Unread,
}

/// A session that some client of another runner wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The session.
    pub session_id: Uuid,
    /// The other way round: the one who asks has the session (or none), and would give it away with its client. A runner of
    /// the version before overlooks this and answers that it has no such session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bring: bool,
}

/// A client that comes from another runner in the middle of its connection. The raw bytes are what was read from it and
/// not handled yet, as frames, beginning with the one that names the session if it comes for one; then what was not sent
/// to it yet. [`Down::Unread`] messages bring what does not fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Given by the proxy.
    pub connection_id: ConnectionId,
    /// The client's address.
    pub client: SocketAddr,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// Strategy that chose the first instance; none: it came directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Rule that matched, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How it came to the pool of the first instance; none: it came directly, or by a version that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolKind>,
    /// Bytes that are unread, at most [`MAX_UNREAD`].
    pub unread: usize,
    /// What it was until now; none from a runner of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub so_far: Option<Box<Connection>>,
    /// Name of the instance that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Bytes that are unsent, at most [`MAX_UNREAD`].
    #[serde(default, skip_serializing_if = "crate::omit::zero")]
    pub unsent: usize,
    /// It brings these sessions, oldest first, which have been released, and [`Up::Taken`] is waited for; none: it comes for
    /// a session that is here, and nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brings: Option<Vec<MovedSession>>,
    /// Sessions that other connections took from it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Uuid>,
}

impl Moved {
    /// Raw bytes that come with it, in all.
    pub fn raw(&self) -> usize {
        self.unread.saturating_add(self.unsent)
    }
}

/// A session that comes along; the rest of it is in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedSession {
    /// Its id.
    pub id: Uuid,
    /// Seconds since it was created.
    pub age: f64,
    /// Its last turn failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Its client is still being brought up to date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<MovedReplay>,
}

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedReplay {
    /// Number of the newest event that was sent, or is among the unsent bytes.
    pub seen: u64,
    /// Events that were replayed up to now.
    pub replayed: u64,
}

/// One client, offered to a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Given by the proxy.
    pub connection_id: ConnectionId,
    /// The client's address (through a trusted proxy: the real one).
    pub client: SocketAddr,
    /// Strategy that chose this instance.
    pub strategy: String,
    /// Rule that matched, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How it came to the pool that this instance is of; none from a front door of the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolKind>,
    /// Length of the request head in the raw bytes; the rest was read after it.
    pub head_len: usize,
    /// How many runners have given this client back already.
    #[serde(default)]
    pub attempt: u32,
}

/// Runner to proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Up {
    /// It is ours now: an offered client, or one that another runner brought.
    Taken {
        /// Which.
        connection_id: ConnectionId,
    },
    /// Not a byte was written to it: the socket, the head and the rest are with this message.
    GivenBack {
        /// The offer, as it came.
        offer: Offer,
        /// Why.
        reason: Refusal,
        /// In words, for the log and for the client if nobody else serves it.
        detail: String,
    },
    /// To [`Ask`]: the session is here and its client welcome; or the client may come with its session.
    Willing {
        /// Places in use here, for whoever would bring a client; none from a runner of an earlier version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        places: Option<u32>,
    },
    /// To [`Ask`]: no.
    Unwilling {
        /// Why.
        reason: Refusal,
        /// In words, for the client.
        detail: String,
    },
}

/// Why a runner gave a client back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// `max_sessions` places are taken.
    Full,
    /// It takes no more clients.
    Draining,
    /// The agent is not up.
    NotReady,
    /// The agent did not accept the connection, or not in time.
    ConnectFailed,
    /// The agent answered the handshake with a server error.
    UpstreamError,
    /// The client's request cannot be passed on by anybody.
    BadRequest,
    /// The session that was asked for is not here.
    UnknownSession,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Full,
        Self::Draining,
        Self::NotReady,
        Self::ConnectFailed,
        Self::UpstreamError,
        Self::BadRequest,
        Self::UnknownSession,
    ];

    /// The word, as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Draining => "draining",
            Self::NotReady => "not_ready",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamError => "upstream_error",
            Self::BadRequest => "bad_request",
            Self::UnknownSession => "unknown_session",
        }
    }
}

/// Why a message could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its own lengths say.
    #[error("hand-over message is cut short at {0} bytes")]
    Truncated(usize),
    /// The JSON is not what is expected.
    #[error("hand-over message has a bad header: {0}")]
    Header(String),
}

/// Writes a message into `buffer` (cleared first): length, JSON, raw bytes.
pub fn encode<T: Serialize>(buffer: &mut Vec<u8>, message: &T, raw: &[&[u8]]) -> Result<(), DecodeError> {
    buffer.clear();
    buffer.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *buffer, message).map_err(|error| DecodeError::Header(error.to_string()))?;
    let length = u32::try_from(buffer.len() - 4).map_err(|_| DecodeError::Header("too long".to_owned()))?;
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    for part in raw {
        buffer.extend_from_slice(part);
    }
    Ok(())
}

/// Reads a message: its JSON and the raw bytes after it.
pub fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    let (length, rest) = message.split_first_chunk::<4>().ok_or(DecodeError::Truncated(message.len()))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (json, raw) = rest.split_at_checked(length).ok_or(DecodeError::Truncated(message.len()))?;
    let value = serde_json::from_slice(json).map_err(|error| DecodeError::Header(error.to_string()))?;
    Ok((value, raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer(head_len: usize) -> Offer {
        Offer {
            connection_id: ConnectionId(uuid::Uuid::nil()),
            client: "127.0.0.1:5000".parse().unwrap(),
            strategy: "round_robin".to_owned(),
            rule: None,
            pool: None,
            head_len,
            attempt: 0,
        }
    }

    #[test]
    fn an_offer_survives_the_way() {
        let mut buffer = vec![1, 2, 3];
        let down = Down::Offer(offer(4));
        encode(&mut buffer, &down, &[b"HEAD", b"rest"]).unwrap();
        let (read, raw) = decode::<Down>(&buffer).unwrap();
        assert_eq!(read, down);
        assert_eq!(raw, b"HEADrest");
    }

    #[test]
    fn an_offer_of_the_version_before_can_be_read_and_says_nothing_of_the_pool() {
        let text = r#"{"type":"offer","connection_id":"00000000-0000-0000-0000-000000000000","client":"127.0.0.1:5000",
            "strategy":"round_robin","head_len":4,"attempt":0}"#;
        let down = Down::Offer(offer(4));
        assert_eq!(serde_json::from_str::<Down>(text).unwrap(), down);
        assert!(!serde_json::to_string(&down).unwrap().contains("pool"));
        let known = Down::Offer(Offer { pool: Some(PoolKind::Default), ..offer(4) });
        let text = serde_json::to_string(&known).unwrap();
        assert!(text.contains(r#""pool":"default""#), "{text}");
        assert_eq!(serde_json::from_str::<Down>(&text).unwrap(), known);
    }

    #[test]
    fn runners_talk_among_themselves() {
        let moved = Moved {
            connection_id: ConnectionId(Uuid::nil()),
            client: "127.0.0.1:5000".parse().unwrap(),
            user_agent: None,
            strategy: Some("round_robin".to_owned()),
            rule: None,
            pool: Some(PoolKind::Tags),
            unread: 7,
            so_far: None,
            from: None,
            unsent: 0,
            brings: None,
            lost: Vec::new(),
        };
        let session = MovedSession {
            id: Uuid::nil(),
            age: 1.5,
            failed: true,
            replay: Some(MovedReplay { seen: 7, replayed: 3 }),
        };
        let brought = Moved {
            from: Some("weather-0".to_owned()),
            unsent: 3,
            brings: Some(vec![session]),
            lost: vec![Uuid::max()],
            ..moved.clone()
        };
        assert_eq!((moved.raw(), brought.raw()), (7, 10));
        let ask = |bring| Down::Ask(Ask { session_id: Uuid::nil(), bring });
        let mut buffer = Vec::new();
        for down in [Down::Moved(moved), Down::Moved(brought), ask(false), ask(true), Down::Unread] {
            encode(&mut buffer, &down, &[b"unread"]).unwrap();
            assert_eq!(decode::<Down>(&buffer).unwrap(), (down, &b"unread"[..]));
        }
        let no = Up::Unwilling { reason: Refusal::UnknownSession, detail: "not here".to_owned() };
        for up in [Up::Willing { places: None }, Up::Willing { places: Some(3) }, no] {
            encode(&mut buffer, &up, &[]).unwrap();
            assert_eq!(decode::<Up>(&buffer).unwrap().0, up);
        }
    }

    #[test]
    fn a_runner_of_the_version_before_is_understood() {
        let willing: Up = serde_json::from_str(r#"{"type":"willing"}"#).unwrap();
        assert_eq!(willing, Up::Willing { places: None });
        assert_eq!(serde_json::to_string(&willing).unwrap(), r#"{"type":"willing"}"#);
        let ask = r#"{"type":"ask","session_id":"00000000-0000-0000-0000-000000000000"}"#;
        let read: Down = serde_json::from_str(ask).unwrap();
        assert_eq!(read, Down::Ask(Ask { session_id: Uuid::nil(), bring: false }));
        assert_eq!(serde_json::to_string(&read).unwrap(), ask);
    }

    #[test]
    fn a_short_message_is_refused() {
        let mut buffer = Vec::new();
        encode(&mut buffer, &Down::Offer(offer(0)), &[]).unwrap();
        for length in 0..buffer.len() {
            assert!(decode::<Down>(&buffer[..length]).is_err());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Up>(&bytes);
        }
    }
}
