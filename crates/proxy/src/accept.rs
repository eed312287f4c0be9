//! The accept loop of one listener on one thread. It never spins and never ends by itself: an error (too many open files)
//! costs a pause, and the clients wait in the kernel's queue meanwhile.

use crate::client;
use crate::thread::Thread;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// Pause after an error that concerns more than one client.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Time between two log lines about such errors.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Accepts until it is dropped.
pub(crate) async fn accept(thread: Rc<Thread>, listener: TcpListener) {
    let mut last_logged: Option<Instant> = None;
    loop {
        // More clients in their handshake than allowed: the others wait in the kernel's queue.
        let Ok(permit) = Arc::clone(&thread.handshakes).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                thread.tasks.spawn_local(client::serve(Rc::clone(&thread), stream, peer, permit));
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
    }
}

/// The error is that of the client that would have been accepted: the next one may be fine.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
