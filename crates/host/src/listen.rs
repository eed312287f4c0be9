//! Clients that come to the agent's own port, and our health probes: no front door has read their request for them.

use crate::host::Inner;
use myagent_core::ConnectionId;
use myagent_core::wire::handover::MAX_HEAD;
use myagent_relay::handshake::{Upgrade, error_response};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Time for the request head.
const HEAD: Duration = Duration::from_secs(10);
/// Time for an answer that is no WebSocket to be taken.
const ANSWER: Duration = Duration::from_secs(2);
/// Requests whose head is being read, at once.
const MAX_PENDING: usize = 1024;
/// A health probe of ours says so in this header.
const PROBE: &str = "x-myagent-probe";

/// Accepts until it is dropped; so do the connections.
pub(crate) async fn accept(inner: Rc<Inner>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    if let Err(error) = myagent_handover::vanish::watch_clients(&listener) {
        tracing::warn!(%error, "clients of the agent's own port that vanish will be noticed late");
    }
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let inner = Rc::clone(&inner);
                tasks.spawn_local(async move { serve(inner, stream, address).await });
            }
            Err(error) => {
                // Out of descriptors, most likely: they come back when somebody leaves.
                tracing::warn!(%error, "cannot accept a client");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(inner: Rc<Inner>, mut stream: TcpStream, address: std::net::SocketAddr) {
    let Some(pending) = inner.pending_head(MAX_PENDING) else { return };
    let Ok(Some((head, rest))) = timeout(HEAD, read_head(&mut stream)).await else { return };
    drop(pending);
    let upgrade = match Upgrade::parse(&head) {
        Ok(upgrade) => upgrade,
        Err(error) => return refuse(stream, &error.response()).await,
    };
    // Whoever is allowed from elsewhere comes through the front door, which knows the allowed origins.
    if upgrade.header("origin").is_some_and(|origin| !myagent_core::origin::is_allowed(origin, &[])) {
        return refuse(stream, &error_response(403, &[], "pages of this origin may not connect here")).await;
    }
    let id = ConnectionId((inner.config.random_id)());
    let entry = if upgrade.header(PROBE).is_some() {
        if inner.worker().is_none() {
            return refuse(stream, &unavailable("the agent's worker is not up")).await;
        }
        None
    } else {
        if let Some(why) = inner.why_not(&upgrade) {
            return refuse(stream, &unavailable(why)).await;
        }
        let agent = upgrade.header("user-agent").map(str::to_owned);
        Some(inner.table.open_direct(id, address, agent))
    };
    inner.welcome(id, entry, &upgrade, stream, &rest).await;
}

fn unavailable(why: &str) -> Vec<u8> {
    error_response(503, &[("Retry-After", "1")], why)
}

/// The head with its empty line, and what was read after it; none: it is too long, or the client has gone.
async fn read_head(stream: &mut TcpStream) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::with_capacity(1024);
    loop {
        let from = head.len().saturating_sub(3);
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
        if let Some(at) = memchr::memmem::find(&head[from..], b"\r\n\r\n") {
            let rest = head.split_off(from + at + 4);
            return Some((head, rest));
        }
        if head.len() > MAX_HEAD {
            let answer = error_response(400, &[], "the request head is too long");
            let _ = timeout(ANSWER, stream.write_all(&answer)).await;
            return None;
        }
    }
}

/// Answers what is not served, and closes.
pub(crate) async fn refuse(mut stream: TcpStream, answer: &[u8]) {
    let farewell = async {
        if stream.write_all(answer).await.is_ok() && stream.shutdown().await.is_ok() {
            // Until the client has closed too: closing on unread bytes could take the answer away again.
            let mut rest = [0u8; 1024];
            while matches!(stream.read(&mut rest).await, Ok(1..)) {}
        }
    };
    // A client that does not take its answer has had its chance.
    let _ = timeout(ANSWER, farewell).await;
}
