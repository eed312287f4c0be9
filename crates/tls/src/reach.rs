//! Connecting to an agent, wherever it is.

use crate::{Error, Stream, Trust};
use myagent_core::http::Upstream;
use std::io;
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

async fn connected(upstream: &Upstream) -> io::Result<TcpStream> {
    let socket = match upstream {
        Upstream::Local { addr, .. } => TcpStream::connect(addr).await?,
        Upstream::External { endpoint } => {
            let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
            keep_alive(&socket)?;
            socket
        }
    };
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// A far end that vanished without a word is noticed after about two minutes.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_mins(1))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}
