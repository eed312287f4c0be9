//! The durable memory of the agent host: what its sessions said and how they stand, in an append-only log per start.
//!
//! A [`Journal`] belongs to one thread. An event is in it, and after [`Journal::flush`] with the kernel, *before* it goes
//! to a client: it survives the process, not the power. Replay reads the log, so a session costs the memory of one small
//! entry, whether its client is here or not. What another start of the service left behind is found with
//! [`Journal::locate`], fetched on another thread with [`Estate::fetch`] and taken over with [`Journal::adopt`]; and a start
//! that lives lets go of a session with [`Journal::release`].
//!
//! It decides nothing about conversations: numbers, turns and what is told to clients are the host's. The layout on disk,
//! ownership and bounds are described in `docs/design/journal.md`.

mod adopt;
mod api;
mod carry;
mod clean;
mod clean_up;
mod conversation;
mod error;
mod estate;
mod index;
mod inner;
mod journal;
mod limits;
mod log;
mod owner;
mod reader;
mod record;
mod release;
mod scan;
mod session;
mod siblings;
mod time;

pub use api::{Config, Message, Missed, Owner, Position, Restored, Running, Ticked};
pub use clean_up::{CleanedUp, clean_up};
pub use error::{AdoptError, FetchError, OpenError, ReleaseError};
pub use estate::{Estate, Fetched};
pub use journal::Journal;
pub use release::Spent;
pub use siblings::Sibling;

#[cfg(test)]
mod tests;
