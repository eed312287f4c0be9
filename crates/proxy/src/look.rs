//! What the front door makes of the first bytes of a connection, without the connection: for those who feed it arbitrary ones.

use crate::answer::Answer;
use crate::head::{self, Head, HeadError};
use crate::proxy_protocol;
use myagent_core::wire::handover::MAX_HEAD;
use std::net::SocketAddr;

/// What it makes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look<T> {
    /// It waits for more.
    More,
    /// It goes on with this, which ends after that many bytes.
    Read(usize, T),
    /// It answers this, and ends the connection.
    Refused(String),
}

/// Reads a request head that comes in these pieces; what it is taken for, in words.
pub fn head<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Look<String> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let before = bytes.len();
        if let Err(error) = add(&mut bytes, piece) {
            return refused(&error);
        }
        match head::look(&bytes, before) {
            Ok(None) => {}
            Ok(Some(head)) => return Look::Read(head.len, format!("{:?}", Head { len: 0, ..head })),
            Err(error) => return refused(&error),
        }
    }
    Look::More
}

/// Reads a header of the PROXY protocol that comes in these pieces; the client that it names, if it does.
pub fn proxy_header<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Look<Option<SocketAddr>> {
    let mut bytes = Vec::new();
    for piece in pieces {
        if let Err(error) = add(&mut bytes, piece) {
            return refused(&error);
        }
        match proxy_protocol::parse(&bytes) {
            Ok(None) => {}
            Ok(Some(header)) => return Look::Read(header.len, header.source),
            Err(error) => return refused(&error),
        }
    }
    Look::More
}

/// As `head::read_more` does.
fn add(bytes: &mut Vec<u8>, piece: &[u8]) -> Result<(), HeadError> {
    let room = MAX_HEAD.saturating_sub(bytes.len());
    if room == 0 {
        return Err(HeadError::TooLarge);
    }
    bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    Ok(())
}

fn refused<T>(error: &HeadError) -> Look<T> {
    Look::Refused(Answer::bad_head(error).map_or_else(String::new, |answer| answer.bytes(false, false)))
}
