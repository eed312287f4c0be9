//! A session that is not here: where is it?
//!
//! The folder of the journals says who owns it. A runner that lives is asked for it, and if it is willing gets the
//! client's socket with everything unread: no manager is needed. What a dead one left is adopted. Each step leaves
//! the socket with exactly one process, whoever dies or stops meanwhile.

use crate::connection::Conn;
use crate::host::Inner;
use myagent_core::wire::control::Connection;
use myagent_core::wire::handover::{Ask, Down, Moved, Refusal, Up, decode, encode};
use myagent_handover::Channel;
use myagent_journal::{AdoptError, Estate, FetchError, Owner};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// A runner that does not answer within this gets no client.
const ANSWER: Duration = Duration::from_secs(1);
/// Times that an owner may be silent.
const SILENT: u32 = 2;
/// A session that changes hands all the time is given up after so many looks.
const LOOKS: usize = 4;
/// Bytes of a moved client in one message.
const PART: usize = 32 * 1024;

/// Where a session was found.
pub(crate) enum Found {
    /// It is ours, from now on or since a moment ago.
    Here,
    /// This runner has it, and waits for the client.
    Elsewhere(Channel, String),
    /// It cannot be served.
    Missing(Missing),
}

/// Why a session cannot be served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It has ended, or never was.
    Nowhere,
    /// In this instance, and its client cannot move there: the connection has other sessions here.
    Elsewhere(String),
    /// What a dead runner kept of it cannot be used.
    Lost,
    /// Later perhaps; why.
    NotNow(String),
}

impl Inner {
    /// Looks for a session that the journal of this runner does not know. `may_move`: the client may go elsewhere.
    pub(crate) async fn search(self: Rc<Self>, key: Uuid, may_move: bool) -> Found {
        let mut silent = 0;
        let mut why = "the session is changing hands; try again".to_owned();
        for _ in 0..LOOKS {
            match self.config.journal.locate(key) {
                // It stands in the journal, but what it needs may be lost.
                Owner::Here if self.config.journal.restore(key).is_none() => {
                    return Found::Missing(Missing::Lost);
                }
                Owner::Here => return Found::Here,
                Owner::Unknown => return Found::Missing(Missing::Nowhere),
                Owner::Unclear => {
                    "it cannot be seen just now who has the session; try again".clone_into(&mut why);
                    break;
                }
                Owner::Live { instance, .. } if !may_move => {
                    return Found::Missing(Missing::Elsewhere(instance));
                }
                Owner::Live { takeover, instance, .. } => match ask(&takeover, key).await {
                    Ok(Ok(channel)) => return Found::Elsewhere(channel, instance),
                    Ok(Err((Refusal::UnknownSession, _))) => {}
                    Ok(Err((_, detail))) => {
                        why = detail;
                        break;
                    }
                    // It may be dying: then its journal is free in a moment.
                    Err(error) => {
                        why = format!(
                            "the instance that has the session ({instance}) does not answer; try again"
                        );
                        tracing::warn!(instance, %error, session = %key, "the owner of a session does not answer");
                        silent += 1;
                        if silent >= SILENT {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Owner::Dead(estate) => match self.inherit(key, estate).await {
                    Ok(true) => return Found::Here,
                    Ok(false) => {}
                    Err(Missing::NotNow(reason)) => why = reason,
                    Err(missing) => return Found::Missing(missing),
                },
            }
        }
        Found::Missing(Missing::NotNow(why))
    }

    /// Takes over what a dead runner left. False: somebody else was quicker.
    async fn inherit(&self, key: Uuid, estate: Estate) -> Result<bool, Missing> {
        // The semaphore is never closed.
        let _turn = self.searches.acquire().await;
        let fetched = match tokio::task::spawn_blocking(move || estate.fetch()).await {
            Ok(Ok(fetched)) => fetched,
            Ok(Err(FetchError::Moved { .. } | FetchError::Alive { .. } | FetchError::Busy { .. })) => {
                return Ok(false);
            }
            Ok(Err(error @ FetchError::Lost { .. })) => {
                tracing::warn!(%error, "a session is lost");
                return Err(Missing::Lost);
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the journal of a dead runner cannot be read");
                return Err(Missing::NotNow("the session cannot be read just now; try again".to_owned()));
            }
            // The thread panicked, or the runtime is ending.
            Err(error) => return Err(Missing::NotNow(error.to_string())),
        };
        if let Some(damage) = fetched.damage() {
            self.notice("journal", format!("session {key} was taken over from a damaged journal: {damage}"));
        }
        match self.config.journal.adopt(fetched) {
            Ok(()) => {
                self.stats.adopted();
                Ok(true)
            }
            Err(AdoptError::Here { .. }) => Ok(false),
            Err(error) => {
                tracing::warn!(%error, "a session was not taken over");
                Err(Missing::NotNow(format!("{error}; try again")))
            }
        }
    }
}

/// Asks a runner whether it takes the session's client.
async fn ask(takeover: &Path, session_id: Uuid) -> io::Result<Result<Channel, (Refusal, String)>> {
    let asking = async {
        let channel = Channel::connect(takeover).await?;
        let mut message = Vec::new();
        encode(&mut message, &Down::Ask(Ask { session_id, bring: false }), &[]).map_err(io::Error::other)?;
        channel.send(&message, None).await?;
        if channel.recv(&mut message).await?.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match decode::<Up>(&message).map_err(io::Error::other)?.0 {
            Up::Willing { .. } => Ok(Ok(channel)),
            Up::Unwilling { reason, detail } => Ok(Err((reason, detail))),
            Up::Taken { .. } | Up::GivenBack { .. } => Err(io::ErrorKind::InvalidData.into()),
        }
    };
    timeout(ANSWER, asking).await?
}

/// Hands a client over. After `Ok` the socket is the other runner's, whatever becomes of it; after an error it is still ours.
pub(crate) async fn pass(
    channel: &Channel,
    socket: BorrowedFd<'_>,
    connection: Connection,
    unread: &[u8],
) -> io::Result<()> {
    let moved = Moved {
        connection_id: connection.connection_id,
        client: connection.client,
        user_agent: connection.user_agent.clone(),
        strategy: connection.strategy.clone(),
        rule: connection.rule.clone(),
        unread: unread.len(),
        so_far: Some(Box::new(connection)),
        from: None,
        unsent: 0,
        brings: None,
        lost: Vec::new(),
    };
    let (first, rest) = unread.split_at(unread.len().min(PART));
    let mut message = Vec::new();
    encode(&mut message, &Down::Moved(moved), &[first]).map_err(io::Error::other)?;
    timeout(ANSWER, channel.send(&message, Some(socket))).await??;
    for part in rest.chunks(PART) {
        encode(&mut message, &Down::Unread, &[part]).map_err(io::Error::other)?;
        if let Err(error) = channel.send(&message, None).await {
            // It died with the socket in its hands; the client sees the end, and comes back.
            tracing::warn!(%error, "a runner died while a client was handed to it");
            break;
        }
    }
    Ok(())
}

impl Conn {
    /// Whether this connection may move: all of it belongs to the session that is elsewhere.
    pub(crate) fn may_move(&self) -> bool {
        !self.probe && self.sessions.borrow().is_empty()
    }
}
