//! A client's socket as it was taken over, and the way back.

use myagent_core::wire::handover::{Offer, Refusal};
use std::net::TcpStream;

/// A client whose request head was read by the front door, and to whom nothing was written yet.
#[derive(Debug)]
pub struct Client {
    /// Who it is and how it was routed.
    pub offer: Offer,
    /// The request head, exactly as the client sent it, with the empty line.
    pub head: Vec<u8>,
    /// What was read after the head.
    pub rest: Vec<u8>,
    /// Its socket, nonblocking.
    pub stream: TcpStream,
}

/// A client that could not be served here: still untouched, so another runner may try.
#[derive(Debug)]
pub struct GivenBack {
    /// The client, as it came.
    pub client: Client,
    /// Why, as a word.
    pub reason: Refusal,
    /// Why, as a sentence.
    pub detail: String,
}

impl GivenBack {
    /// Gives a client back.
    pub fn new(client: Client, reason: Refusal, detail: impl Into<String>) -> Self {
        Self { client, reason, detail: detail.into() }
    }
}
