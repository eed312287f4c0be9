//! One end of a SEQPACKET socket: whole messages, each with at most one descriptor.
//!
//! A message is sent whole or not at all, and received whole or refused; a descriptor that arrives is close-on-exec from
//! the first moment, so that a child started meanwhile cannot inherit a client's socket.

use crate::peer::check_peer;
use crate::watched::Watched;
use myagent_core::wire::handover::MAX_MESSAGE;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Instant, sleep};

/// Room asked for in the kernel, so that a few of the largest messages fit before a sender has to wait.
const SEND_BUFFER: usize = 8 * MAX_MESSAGE;
/// How long to knock at a listener whose queue of new connections is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Flags of every socket made here.
pub(crate) const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

thread_local! {
    /// Where a thread's messages arrive: room for the largest one, made (and zeroed) once and not for each message, of
    /// which nearly all have a few hundred bytes.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One end of a connected SEQPACKET socket. Dropping it closes it; descriptors on their way to it are closed too.
#[derive(Debug)]
pub struct Channel {
    socket: Watched,
}

/// What came with a message; its bytes are in the buffer given to [`Channel::recv`].
#[derive(Debug)]
pub struct Received {
    /// The descriptor, if the message carried one; close-on-exec.
    pub descriptor: Option<OwnedFd>,
}

impl Channel {
    /// Connects to a [`crate::Listener`] and checks that it belongs to our user or root. Waits up to 1 s if its queue is
    /// full (`TimedOut`). Errors: `NotFound`, `ConnectionRefused` (nobody listens), `PermissionDenied`.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        loop {
            // A new socket for each try: after EAGAIN the old one may be reused, but after other errors it may not.
            let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
            match retry_on_intr(|| rustix::net::connect(&socket, &address)) {
                Ok(()) => {
                    check_peer(&socket)?;
                    return Self::from_fd(socket);
                }
                // The kernel does not tell when the queue has room again.
                Err(Errno::AGAIN) if Instant::now() < deadline => sleep(Duration::from_millis(2)).await,
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Two connected ends, for tests and for a child that gets one of them.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, two) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        Ok((Self::from_fd(one)?, Self::from_fd(two)?))
    }

    /// Two connected ends, one of them as a descriptor for another process: its standard input, for instance.
    pub fn pair_for_child() -> io::Result<(Self, OwnedFd)> {
        let (one, two) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        Ok((Self::from_fd(one)?, two))
    }

    /// Takes a connected, nonblocking SEQPACKET socket.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        // The kernel reports twice what was asked for, and caps it; the default is enough where it is large already.
        if sockopt::socket_send_buffer_size(&socket)? < 2 * SEND_BUFFER {
            sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
        }
        Ok(Self { socket: Watched::new(socket, Interest::READABLE | Interest::WRITABLE)? })
    }

    /// Sends one message, waiting until there is room for it. The descriptor stays open here: close it after this returned
    /// `Ok`. Cancel-safe: cancelled before it returns, nothing was sent. Errors: `BrokenPipe` or `ConnectionReset` if
    /// the peer is gone, `InvalidInput` for an empty message or one longer than [`MAX_MESSAGE`].
    pub async fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        check_length(message)?;
        self.socket.async_io(Interest::WRITABLE, |socket| send(socket, message, descriptor)).await
    }

    /// Sends one message now; `WouldBlock` when there is no room for it. Otherwise like [`Channel::send`].
    pub fn try_send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        check_length(message)?;
        send(self.socket.get_ref(), message, descriptor)
    }

    /// Receives the next message into `buffer` (what was in it is replaced; it grows to the size of the message).
    /// `None`: the peer closed its end and everything it sent was read. Cancel-safe: a message is returned, or still in
    /// the socket. A message that is longer than [`MAX_MESSAGE`] or carries more than one descriptor is thrown away,
    /// its descriptors closed, and reported as `InvalidData`; the channel goes on.
    pub async fn recv(&self, buffer: &mut Vec<u8>) -> io::Result<Option<Received>> {
        self.socket.async_io(Interest::READABLE, |socket| recv(socket, buffer)).await
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.get_ref().as_raw_fd()
    }
}

fn check_length(message: &[u8]) -> io::Result<()> {
    // An empty message could not be told from the end of the channel.
    if message.is_empty() || message.len() > MAX_MESSAGE {
        let text = format!("a message has 1 to {MAX_MESSAGE} bytes, not {}", message.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

fn send(socket: &OwnedFd, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights = descriptor.as_slice();
    if !rights.is_empty() && !control.push(SendAncillaryMessage::ScmRights(rights)) {
        return Err(io::Error::other("no room for the descriptor's control message"));
    }
    let parts = [IoSlice::new(message)];
    let sent = retry_on_intr(|| rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
    if sent == message.len() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::WriteZero, format!("sent {sent} of {} bytes", message.len())))
    }
}

fn recv(socket: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(MAX_MESSAGE, 0);
        let received = retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(scratch)];
            rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
        });
        buffer.clear();
        buffer.extend_from_slice(&scratch[..received.as_ref().map_or(0, |message| message.bytes)]);
        received
    });
    let received = match received {
        // The peer closed its end with messages of ours unread; for the reader that is an end like any other.
        Err(Errno::CONNRESET) => return Ok(None),
        other => other?,
    };
    // Every descriptor must be taken out, or it would stay open for good; the padding of the space leaves room for two.
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) || descriptors.len() > 1 {
        buffer.clear();
        let text =
            format!("a message was longer than {MAX_MESSAGE} bytes, or came with too many descriptors");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if buffer.is_empty() && descriptors.is_empty() {
        return Ok(None);
    }
    Ok(Some(Received { descriptor: descriptors.pop() }))
}
