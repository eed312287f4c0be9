//! epoll with a number for each socket.

use anyhow::Result;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Sockets that are waited for until they can be read.
pub(super) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// Closing a socket removes it.
    pub(super) fn add(&self, stream: &TcpStream, number: usize) -> Result<()> {
        Ok(epoll::add(&self.epoll, stream, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Which can be read; none within the time limit: an empty list.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<impl Iterator<Item = usize> + '_> {
        self.events.clear();
        let limit = Timespec::try_from(limit)?;
        rustix::io::retry_on_intr(|| {
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&limit))
        })?;
        Ok(self.events.iter().map(|event| event.data.u64() as usize))
    }
}
