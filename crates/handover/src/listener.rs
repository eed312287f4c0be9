//! The listening side: a socket file that only our user can reach.

use crate::channel::{Channel, FLAGS};
use crate::peer::check_peer;
use crate::watched::Watched;
use rustix::fs::Mode;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use tokio::io::Interest;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A listening SEQPACKET socket. Dropping it stops the listening but leaves the file: a successor may have replaced it, and
/// the next [`Listener::bind`] removes it anyway.
#[derive(Debug)]
pub struct Listener {
    socket: Watched,
}

impl Listener {
    /// Listens at `path` with mode 0600. A socket file at which nobody listens is replaced; `AddrInUse` if somebody does,
    /// or if the file is no socket.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        remove_stale(path, &address)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        // The file is made with the mode of the socket's own inode, so there is no moment in which others can connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(Self { socket: Watched::new(socket, Interest::READABLE)? })
    }

    /// Waits for the next channel; peers of other users are closed and not reported. Cancel-safe. An error (too many open
    /// files) does not end the listener, but comes again at once: wait a little before the next call.
    pub async fn accept(&self) -> io::Result<Channel> {
        loop {
            let accepted = self
                .socket
                .async_io(Interest::READABLE, |socket| {
                    Ok(retry_on_intr(|| rustix::net::accept_with(socket, FLAGS))?)
                })
                .await;
            match accepted {
                Ok(socket) if check_peer(&socket).is_ok() => return Channel::from_fd(socket),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Removes a socket file at which nobody listens.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("{} is not a socket", path.display()),
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    match retry_on_intr(|| rustix::net::connect(&probe, address)) {
        Err(Errno::CONNREFUSED) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Err(Errno::NOENT) => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, format!("somebody listens at {}", path.display()))),
    }
}
