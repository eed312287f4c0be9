//! What the old and the new manager say to each other: JSON, one object a message, sockets and locks beside it.

use crate::datadir::DataDir;
use anyhow::{Context, Result, bail};
use myagent_core::request::ListenerKind;
use myagent_handover::Channel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What both must speak. A program that changes the meaning of a message counts it on.
pub(crate) const PROTOCOL: u32 = 1;

/// From the old manager.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Down {
    /// Could you take over?
    Begin(Begin),
    /// The lock on the data directory, and then that on the database.
    Lock,
    /// The command socket.
    Socket,
    /// A TCP listener.
    Listener(PassedListener),
    /// That is all; it is yours.
    Go,
}

/// What there is to take over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// See [`PROTOCOL`].
    pub(crate) protocol: u32,
    /// Whose manager.
    pub(crate) data: DataDir,
    /// `--allow-sources` of the command line.
    pub(crate) allow_sources: Option<Vec<String>>,
    /// `--interval`.
    pub(crate) interval: Option<f64>,
    /// It is the process that somebody waits for, and takes over from itself.
    pub(crate) is_waited_for: bool,
}

/// A listener that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PassedListener {
    pub(crate) kind: ListenerKind,
    pub(crate) address: SocketAddr,
    /// The command that wants it.
    pub(crate) owner: String,
    /// It is another process's, and closes unless that comes for it.
    pub(crate) is_guest: bool,
}

/// From the new manager.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Up {
    /// It could take over.
    Prepared {
        /// Version of its program.
        version: String,
    },
    /// It cannot.
    Failed {
        /// Why.
        message: String,
    },
    /// It has.
    Ready {
        /// Its process.
        pid: u32,
    },
}

/// Sends a message, with a descriptor if it is about one.
pub(crate) async fn send(
    channel: &Channel,
    message: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let bytes = serde_json::to_vec(message)?;
    channel.send(&bytes, descriptor).await.context("failed to talk to the other manager")
}

/// The next message.
pub(crate) async fn receive<T: DeserializeOwned>(channel: &Channel) -> Result<(T, Option<OwnedFd>)> {
    let mut bytes = Vec::new();
    let received = channel.recv(&mut bytes).await.context("failed to listen to the other manager")?;
    let Some(received) = received else { bail!("it ended without a word") };
    let message = serde_json::from_slice(&bytes).context("the other manager is not understood")?;
    Ok((message, received.descriptor))
}
