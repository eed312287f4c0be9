//! Everything that can happen to a runner, as one closed list: each source sends these, and the main loop handles them one
//! after the other.

use crate::control::ClientId;
use crate::reap::Ended;
use myagent_core::wire::control::{Drained, RequestLine};

/// Something happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A manager said hello.
    Connected,
    /// A manager asks.
    Asked {
        /// Which.
        client: ClientId,
        /// What.
        line: RequestLine,
    },
    /// Children ended.
    Children(Vec<Ended>),
    /// TERM or INT: stop as if a manager had asked.
    Terminate,
    /// A second (or, when nobody looks, a few) passed.
    Tick,
    /// Sessions were seen that the manager does not know yet.
    News,
    /// A line of output matched `ready=log:…`.
    ReadyLine,
    /// Something worth a sentence.
    Notice {
        /// A word.
        kind: String,
        /// The sentence.
        message: String,
    },
    /// The worker loaded the agent file, or could not.
    Loaded {
        /// Of which worker (counted from 1), because a late one says nothing about the next.
        worker: u32,
        /// Whether.
        load: Load,
    },
    /// The host has given up this worker (counted from 1), because turns in it do not end, and wants a fresh one.
    Recycle {
        /// Which.
        worker: u32,
    },
    /// What the ended main process left is killed.
    Cleared {
        /// Except these.
        survivors: Vec<u32>,
    },
    /// The worker may be started again.
    RestartDue,
    /// The clients have left.
    Drained(Drained),
    /// A stop that was asked for is complete.
    Stopped {
        /// Processes that are still there.
        survivors: Vec<u32>,
    },
}

/// What came of loading an agent file.
#[derive(Debug)]
pub(crate) enum Load {
    /// It is loaded.
    Done,
    /// It cannot be, for this reason.
    Failed(String),
    /// The worker ended, or hung up, without a word.
    Ended,
}
