//! A descriptor under the runtime's watch.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An owned, nonblocking descriptor that is waited for.
#[derive(Debug)]
pub struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// Puts a nonblocking descriptor under the runtime's watch, for these events.
    #[expect(
        deprecated,
        reason = "the replacement is unsafe because a type could change its descriptor while it is watched; an OwnedFd cannot"
    )]
    pub fn new(descriptor: OwnedFd, interest: Interest) -> io::Result<Self> {
        AsyncFd::with_interest(descriptor, interest).map(Self)
    }

    /// Does `work` when the descriptor may be ready for it, until it no longer says `WouldBlock`. Cancel-safe.
    pub async fn async_io<T>(
        &self,
        interest: Interest,
        work: impl FnMut(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        self.0.async_io(interest, work).await
    }

    /// The descriptor.
    pub fn get_ref(&self) -> &OwnedFd {
        self.0.get_ref()
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}
