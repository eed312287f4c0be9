//! A client with everything that was read from it, before it is handed over.

use crate::crowd::Seat;
use myagent_core::ConnectionId;
use myagent_core::wire::handover::MAX_REST;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A client.
pub(crate) struct Client {
    pub(crate) connection_id: ConnectionId,
    pub(crate) socket: Socket,
    /// Its address; behind a trusted proxy what that says.
    pub(crate) peer: SocketAddr,
    /// The head and what came behind it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) head_len: usize,
    /// When it was accepted; once it has a task, when its request was complete; or when it was given back.
    pub(crate) since: Instant,
    /// Given up with the socket, so that clients in the hands of a runner that does not answer keep nobody out.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) seat: Seat,
}

/// A client's socket. Most are handed over at once, and then it was never watched for events: that would cost more than the
/// rest of the way.
pub(crate) enum Socket {
    /// As it was accepted.
    Plain(OwnedFd),
    /// Under the runtime's watch.
    Watched(TcpStream),
}

impl Socket {
    /// The socket under the runtime's watch.
    pub(crate) fn watched(self) -> io::Result<TcpStream> {
        match self {
            Self::Plain(socket) => TcpStream::from_std(socket.into()),
            Self::Watched(stream) => Ok(stream),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Watched(stream) => stream.as_fd(),
        }
    }
}

impl Client {
    /// Puts its socket under the runtime's watch.
    pub(crate) fn watch(self) -> io::Result<Self> {
        Ok(Self { socket: Socket::Watched(self.socket.watched()?), ..self })
    }

    /// Waits until the client has left; it must be watched. What it sends meanwhile is kept for the runner, up to a bound;
    /// beyond that its leaving is not seen, and the time limit of the queue ends the wait.
    pub(crate) async fn left(&mut self) {
        let Socket::Watched(stream) = &self.socket else { return pending().await };
        while self.bytes.len() < self.head_len + MAX_REST {
            if stream.readable().await.is_err() {
                return;
            }
            let mut buffer = [0; 1024];
            let room = (self.head_len + MAX_REST - self.bytes.len()).min(buffer.len());
            match stream.try_read(&mut buffer[..room]) {
                Ok(0) => return,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        pending::<()>().await;
    }
}
