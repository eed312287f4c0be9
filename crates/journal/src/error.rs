//! What can go wrong, each naming operation and subject. Failures to *write* are not among them: serving goes on, see
//! [`crate::Journal::problem`].

use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// A journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The start's folder is there already: starts have an id of their own.
    #[error("the journal {path} exists: another process has, or had, this start id")]
    Exists {
        /// The start's folder.
        path: PathBuf,
    },
    /// A folder or the owner's file could not be made.
    #[error("failed to make {path}: {source}")]
    Make {
        /// What could not be made.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A session of a dead start could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The owner lives after all.
    #[error("session {session} belongs to a runner that lives")]
    Alive {
        /// The session.
        session: Uuid,
    },
    /// Somebody else took it meanwhile: ask [`crate::Journal::locate`] again.
    #[error("session {session} has another owner by now")]
    Moved {
        /// The session.
        session: Uuid,
    },
    /// Somebody else has been taking it for two seconds: ask [`crate::Journal::locate`] again.
    #[error("session {session} is being taken over by another process")]
    Busy {
        /// The session.
        session: Uuid,
    },
    /// The log does not have it (any more): it is over, or what is needed of it is damaged.
    #[error("session {session} is not in the log {path}: {reason}")]
    Lost {
        /// The session.
        session: Uuid,
        /// The folder of the dead start.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// The log could not be read.
    #[error("failed to read {path} for session {session}: {source}")]
    Read {
        /// The session.
        session: Uuid,
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A session could not be released. It is here as before.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// It is not here.
    #[error("session {session} is not here")]
    NotHere {
        /// The session.
        session: Uuid,
    },
    /// This journal keeps nothing (`max_bytes` is 0).
    #[error("session {session} cannot be released: the journal is off")]
    Off {
        /// The session.
        session: Uuid,
    },
    /// What it needs to be resumed is lost.
    #[error("session {session} cannot be released: the journal has lost what it needs")]
    Lost {
        /// The session.
        session: Uuid,
    },
    /// Somebody is looking at it just now.
    #[error("session {session} cannot be released just now: somebody holds its lock")]
    Busy {
        /// The session.
        session: Uuid,
    },
    /// It could not be written, or its link not replaced.
    #[error("session {session} could not be released: {source}")]
    Write {
        /// The session.
        session: Uuid,
        /// Why.
        source: io::Error,
    },
}

/// A fetched session could not be taken over. It is where it was; another attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is here already.
    #[error("session {session} is here already")]
    Here {
        /// The session.
        session: Uuid,
    },
    /// This journal keeps nothing (`max_bytes` is 0).
    #[error("session {session} cannot be taken over: the journal is off")]
    Off {
        /// The session.
        session: Uuid,
    },
    /// It does not fit, or the log cannot be written.
    #[error("session {session} could not be written: {reason}")]
    Write {
        /// The session.
        session: Uuid,
        /// What the log says.
        reason: String,
    },
    /// The link that says who owns it could not be replaced.
    #[error("failed to claim session {session}: {source}")]
    Link {
        /// The session.
        session: Uuid,
        /// Why.
        source: io::Error,
    },
}
