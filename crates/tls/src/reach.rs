//! Connecting to an agent, wherever it is.

use crate::{Error, Stream, Trust};
use myagent_core::http::Upstream;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why an agent is not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// Refused, unreachable, unknown name…
    #[error("{0}")]
    Connect(#[source] io::Error),
    /// No TLS, or with nobody whom we trust; and the way out.
    #[error("TLS: {0}")]
    Tls(#[source] Error),
}

impl Trust {
    /// Connects to an agent, over TLS if its endpoint says so. It takes as long as the agent does: the caller has a limit.
    pub async fn reach(&self, upstream: &Upstream) -> Result<Stream, ReachError> {
        let socket = connected(upstream).await.map_err(ReachError::Connect)?;
        match upstream {
            Upstream::External { endpoint } if endpoint.tls => {
                self.connect(socket, &endpoint.host).await.map_err(ReachError::Tls)
            }
            _ => Ok(Stream::Plain(socket)),
        }
    }
}

/// A far end that vanished without a word is noticed after this time, whether something was sent to it or not.
const GONE_AFTER: Duration = Duration::from_mins(2);

async fn connected(upstream: &Upstream) -> io::Result<TcpStream> {
    match upstream {
        Upstream::Local { addr, .. } => connected_here(*addr).await,
        Upstream::External { endpoint } => {
            let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
            socket.set_nodelay(true)?;
            watch(&socket)?;
            Ok(socket)
        }
    }
}

/// Within one machine a connection is made, or refused, before `connect` returns, although it says that it is on its way: so
/// nobody waits for that, and the first bytes can be sent at once ([`Stream::send_now`]).
async fn connected_here(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    // One that was refused has an error now; one that is not accepted yet, because the agent's queue is full, has no peer.
    let is_here = rustix::net::getpeername(&socket).is_ok();
    let socket = TcpStream::from_std(socket.into())?;
    if !is_here {
        socket.writable().await?;
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
    }
    Ok(socket)
}

/// Has the kernel ask and count. It has no say in local agents: their network cannot vanish, and they may think for long
/// without reading.
fn watch(socket: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_mins(1))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(15))?;
    let time = u32::try_from(GONE_AFTER.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, time)?)
}
