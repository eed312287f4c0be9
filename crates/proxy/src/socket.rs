//! A client's socket. The runtime watches it only once it has to be waited for: usually the request is there when the client
//! is accepted, and the socket is given away in the same breath.

use rustix::net::{SocketFlags, acceptfrom_with};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

/// A client's socket.
pub(crate) enum Socket {
    /// Not watched yet. Nonblocking.
    Plain(std::net::TcpStream),
    Watched(TcpStream),
    /// It could not be watched, and is closed.
    Gone,
}

/// A listening socket whose clients are not watched yet.
pub(crate) struct Listener {
    socket: AsyncFd<OwnedFd>,
}

impl Listener {
    /// Takes a nonblocking listener.
    #[expect(
        deprecated,
        reason = "the replacement is unsafe because a type could change its descriptor while it is watched; an OwnedFd cannot"
    )]
    pub(crate) fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self { socket: AsyncFd::with_interest(listener.into(), Interest::READABLE)? })
    }

    /// Waits for the next client. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accept = |listener: &OwnedFd| Ok(acceptfrom_with(listener, flags)?);
        let (socket, peer) = self.socket.async_io(Interest::READABLE, accept).await?;
        let peer = peer.ok_or_else(|| io::Error::other("a client without an address"))?;
        Ok((Socket::new(socket), SocketAddr::try_from(peer)?))
    }
}

impl Socket {
    /// Takes a nonblocking socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self::Plain(socket.into())
    }

    /// Reads what is there; `WouldBlock` if nothing is.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => (&*stream).read(buffer),
            Self::Watched(stream) => stream.try_read(buffer),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Waits until there is something to read. Cancel-safe.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        if let Self::Plain(_) = self {
            *self = Self::Watched(std::mem::replace(self, Self::Gone).into_watched()?);
        }
        match self {
            Self::Watched(stream) => stream.readable().await,
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket for whoever goes on with it here.
    pub(crate) fn into_watched(self) -> io::Result<TcpStream> {
        match self {
            Self::Plain(stream) => TcpStream::from_std(stream),
            Self::Watched(stream) => Ok(stream),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Small messages are not held back.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_tcp_nodelay(self.as_fd()?, true)?)
    }

    /// The descriptor.
    pub(crate) fn as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Plain(stream) => Ok(stream.as_fd()),
            Self::Watched(stream) => Ok(stream.as_fd()),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
