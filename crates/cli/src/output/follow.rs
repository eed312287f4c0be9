//! Streams that go on until Ctrl-C, until nobody reads any more, or until the manager ends.

use super::write_line;
use crate::client::Events;
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How often to look whether somebody still reads.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Ctrl-C, or the reader went away.
    ByUs,
    /// The manager ended it.
    ByManager,
}

/// Writes each event as `show` has it.
pub(crate) async fn follow<T: DeserializeOwned>(
    events: &mut Events,
    mut show: impl FnMut(T) -> Result<String>,
) -> Result<Ended> {
    let interrupted = tokio::signal::ctrl_c();
    let closed = reader_gone();
    tokio::pin!(interrupted, closed);
    loop {
        tokio::select! {
            biased;
            result = &mut interrupted => {
                result.context("failed to wait for Ctrl-C")?;
                return Ok(Ended::ByUs);
            }
            () = &mut closed => return Ok(Ended::ByUs),
            event = events.next() => match event? {
                Some(event) => write_line(&show(event)?)?,
                None => return Ok(Ended::ByManager),
            },
        }
    }
}

/// Ends when standard output is a pipe that nobody reads any more: a write would tell only when there is something to
/// write. Never ends for a file or a terminal.
async fn reader_gone() {
    while !is_reader_gone() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn is_reader_gone() -> bool {
    let stdout = std::io::stdout();
    // No event is asked for; that the other end is closed is always told.
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().contains(PollFlags::ERR)
}
