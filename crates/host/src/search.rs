//! A session that is not here: where is it?
//!
//! The folder of the journals says who owns it. A runner that lives is asked for it, and if it is willing gets the
//! client's socket with everything unread: no manager is needed. What a dead one left is adopted. Each step leaves
//! the socket with exactly one process, whoever dies or stops meanwhile.

use crate::host::Inner;
use crate::neighbour::{self, Willing};
use myagent_core::wire::handover::Refusal;
use myagent_journal::{AdoptError, Estate, FetchError, Owner};
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// Times that an owner may be silent.
const SILENT: u32 = 2;
/// A session that changes hands all the time is given up after so many looks.
const LOOKS: usize = 4;

/// Where a session was found.
pub(crate) enum Found {
    /// It is ours, from now on or since a moment ago.
    Here,
    /// This runner has it, and waits for the client.
    Elsewhere(Willing, String),
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
                Owner::Live { takeover, instance, .. } => match neighbour::ask(&takeover, key, false).await {
                    Ok(Ok(willing)) => return Found::Elsewhere(willing, instance),
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

    /// Takes over what a dead runner left, or a living one has let go of. False: somebody else was quicker.
    pub(crate) async fn inherit(&self, key: Uuid, estate: Estate) -> Result<bool, Missing> {
        // The semaphore is never closed.
        let _turn = self.searches.acquire().await;
        let mut fetched = match tokio::task::spawn_blocking(move || estate.fetch()).await {
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
        let spent = fetched.take_spent();
        match self.config.journal.adopt(fetched) {
            Ok(()) => {
                match spent {
                    // In its own time; it has nothing to tell.
                    Some(spent) => drop(tokio::task::spawn_blocking(move || spent.remove())),
                    None => self.stats.adopted(),
                }
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
