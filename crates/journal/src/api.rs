//! What goes into a journal's calls and comes out of them: plain values.

use crate::Estate;
use myagent_core::{Clock, StartId};
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What a journal needs to know.
#[derive(Clone)]
pub struct Config {
    /// The folder of the service; made (0700) if it is not there.
    pub folder: PathBuf,
    /// This start of this instance. Its log must not exist.
    pub start_id: StartId,
    /// Name of the service.
    pub service: String,
    /// Name of the instance: `weather-0`.
    pub instance: String,
    /// The runner's take-over socket: where another runner passes on a client of a session that lives here.
    pub takeover: PathBuf,
    /// Most bytes of this start's log; at least 1 MiB is used. 0: nothing is written or read; sessions are counted and numbered,
    /// but nothing can be replayed, restored or adopted.
    pub max_bytes: u64,
    /// How long a session may be idle, and how long a dead log is kept (`session_timeout`).
    pub keep: Duration,
    /// Wall clock. Leaps of more than a minute between two ticks count as a minute, steps backwards as nothing.
    pub clock: Arc<dyn Clock>,
}

/// Where a record is in this start's log. Never given twice; valid until its segment is cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(crate) u64);

/// A session as it stands, for a host that has nothing of it in memory.
#[derive(Debug)]
pub struct Restored {
    /// As given to [`crate::Journal::begin`].
    pub params: Option<Box<RawValue>>,
    /// Number of the newest event; 0: there is none.
    pub last_seq: u64,
    /// The message that is being answered.
    pub running: Option<Running>,
    /// Messages that wait, oldest first.
    pub waiting: Vec<Message>,
}

/// A message that is not answered yet.
#[derive(Debug)]
pub struct Message {
    /// What the client said.
    pub content: Box<RawValue>,
    /// What it said beside it.
    pub metadata: Option<Box<RawValue>>,
    /// It had been given to an agent before.
    pub redelivered: bool,
}

/// A message that was being answered when the session was last seen.
#[derive(Debug)]
pub struct Running {
    /// The message.
    pub message: Message,
    /// Something other than `agent.thinking` was said in this turn.
    pub said: bool,
}

/// What a client has missed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Numbers of events that are no longer kept: first, last.
    pub gap: Option<(u64, u64)>,
    /// The others, oldest first, without gaps up to the newest. For [`crate::Journal::read`].
    pub events: Vec<Position>,
}

/// Who has a session.
pub enum Owner {
    /// This journal.
    Here,
    /// Nobody: there is no such session, or it is over, or its log is gone.
    Unknown,
    /// Another runner, which lives (it may be stopped or hang: nobody can take its sessions then).
    Live {
        /// Its start.
        start_id: StartId,
        /// Name of its instance.
        instance: String,
        /// Its take-over socket.
        takeover: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// A start that has ended: the session can be taken over.
    Dead(Estate),
    /// It could not be seen, for want of descriptors for instance: it is not known whether there is such a session.
    Unclear,
}

/// What [`crate::Journal::tick`] did.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Ticked {
    /// Sessions that were idle for too long: they are over, as if by [`crate::Journal::end`]. At most 500; others follow with the next
    /// tick.
    pub expired: Vec<Uuid>,
}
