//! epoll with a number for each socket.

use anyhow::Result;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Sockets that are waited for until they can be read.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// Closing a socket removes it.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize) -> Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Waits also until it can be written to, or no longer.
    pub(crate) fn watch(&self, socket: impl AsFd, number: usize, writes: bool) -> Result<()> {
        let flags = if writes { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(number as u64), flags)?)
    }

    /// Which can be read; none within the time limit: an empty list. A limit of no whole milliseconds is kept to the
    /// nanosecond, as far as the kernel's timers go.
    pub(crate) fn wait(&mut self, mut limit: Duration) -> Result<impl Iterator<Item = usize> + '_> {
        self.events.clear();
        // epoll itself counts in milliseconds (what does not is not on every kernel), `ppoll` does not.
        if !limit.subsec_nanos().is_multiple_of(1_000_000) {
            let exact = Timespec::try_from(limit)?;
            let mut all = [PollFd::new(&self.epoll, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut all, Some(&exact)))?;
            limit = Duration::ZERO;
        }
        let limit = Timespec::try_from(limit)?;
        rustix::io::retry_on_intr(|| {
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&limit))
        })?;
        Ok(self.events.iter().map(|event| event.data.u64() as usize))
    }
}
