//! The accept loop of one listener on one thread. It never spins and never ends by itself: an error (too many open files)
//! costs a pause, and the clients wait in the kernel's queue meanwhile.

use crate::arrive;
use crate::thread::Thread;
use myagent_handover::Watched;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// Pause after an error that concerns more than one client.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Time between two log lines about such errors.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Clients taken in one go before others of this thread get their turn.
const BATCH: usize = 32;
/// Flags of accepted sockets.
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A listening socket. Its clients inherit from it how they are sent to and watched, which saves calls for each.
pub(crate) fn watch(listener: std::net::TcpListener) -> io::Result<Watched> {
    myagent_handover::vanish::watch_clients(&listener)?;
    Watched::new(OwnedFd::from(listener), Interest::READABLE)
}

/// Accepts until it is dropped.
pub(crate) async fn accept(thread: Rc<Thread>, listener: Watched) {
    let mut last_logged: Option<Instant> = None;
    loop {
        let mut count = 0;
        while count < BATCH {
            // More clients here than allowed: the others wait in the kernel's queue.
            thread.crowd.room().await;
            match listener.async_io(Interest::READABLE, accept_one).await {
                Ok((socket, peer)) => {
                    thread.counters.accepted();
                    arrive::first_look(&thread, socket, peer);
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    if last_logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                        tracing::warn!(%error, "failed to accept a client; trying again");
                        last_logged = Some(Instant::now());
                    }
                    sleep(BACK_OFF).await;
                }
            }
            count += 1;
        }
        yield_now().await;
    }
}

fn accept_one(listener: &OwnedFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let (socket, peer) = rustix::net::acceptfrom_with(listener, FLAGS)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // It has left already.
    Ok((socket, peer.ok_or(Errno::CONNABORTED)?))
}

/// The error is that of the client that would have been accepted: the next one may be fine.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
