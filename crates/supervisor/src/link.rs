//! The control connection to one runner: JSON lines (see `docs/design/runner-protocol.md`).

use myagent_core::wire::control::{Hello, PROTOCOL, Request, RequestLine, RunnerLine};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// A runner that does not read for this long is treated as hanging.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a runner may take for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nobody listens, or the connection broke.
    #[error("cannot talk to the runner at {path}: {source}")]
    Io {
        /// Its socket.
        path: String,
        /// What went wrong.
        source: io::Error,
    },
    /// It speaks other versions than we do.
    #[error("the runner speaks protocol {min} to {max}, this manager {}-{}", PROTOCOL.min, PROTOCOL.max)]
    Outdated {
        /// Its oldest.
        min: u32,
        /// Its newest.
        max: u32,
    },
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    last_id: u64,
}

impl Link {
    /// Connects and exchanges hellos.
    pub(crate) async fn connect(path: &Path) -> Result<Self, LinkError> {
        let failed = |source| LinkError::Io { path: path.display().to_string(), source };
        let stream = UnixStream::connect(path).await.map_err(failed)?;
        check_peer(&stream).map_err(failed)?;
        let (reader, writer) = stream.into_split();
        let mut link = Self { lines: BufReader::new(reader).lines(), writer, last_id: 0 };
        let hello = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        };
        link.write(&hello).await.map_err(failed)?;
        let line = timeout(HELLO_TIMEOUT, link.lines.next_line()).await;
        let line = line.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        let line = line.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
        let theirs: Hello = serde_json::from_str(&line).map_err(|error| failed(error.into()))?;
        match PROTOCOL.common(theirs.protocol) {
            Some(_) => Ok(link),
            None => Err(LinkError::Outdated { min: theirs.protocol.min, max: theirs.protocol.max }),
        }
    }

    /// Sends a request; the answer comes with the lines, under the id returned.
    pub(crate) async fn send(&mut self, request: Request) -> io::Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        self.write(&RequestLine { id, request }).await?;
        Ok(id)
    }

    /// The next line; an error also where the connection has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> io::Result<RunnerLine> {
        let line = self.lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn write(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        timeout(WRITE_TIMEOUT, self.writer.write_all(&line)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

/// The other end must be ours (or root's): the socket's folder is private, this is the second lock.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let (peer, own) = (stream.peer_cred()?.uid(), rustix::process::geteuid().as_raw());
    if peer == own || peer == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("the socket belongs to user {peer}, not {own}"),
    ))
}
