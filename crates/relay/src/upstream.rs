//! The agent's side of a conversation before its first frame: connecting, sending the request, reading the answer's head.

use myagent_core::http::{Answer, Upstream, answer};
use myagent_tls::{ReachError, Stream, Trust};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long an agent may take to accept a connection, and to answer a handshake on it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may think before the first byte of a plain HTTP answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// Why there is no answer from the agent.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Refused, unreachable, unknown name…
    #[error("connecting to {to}: {source}")]
    Connect {
        /// Address.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// No TLS, or with nobody whom we trust.
    #[error("TLS with {to}: {source}")]
    Tls {
        /// Address.
        to: String,
        /// What is wrong, and the way out.
        source: myagent_tls::Error,
    },
    /// It was connected, and then failed before the answer's head was whole.
    #[error("handshake with {to}: {source}")]
    Exchange {
        /// Address.
        to: String,
        /// What the system says.
        source: io::Error,
    },
    /// Its answer is not HTTP.
    #[error("handshake with {to}: the answer cannot be read: {message}")]
    BadAnswer {
        /// Address.
        to: String,
        /// What is wrong.
        message: String,
    },
    /// It took too long.
    #[error("handshake with {to}: no answer within {seconds} s")]
    Timeout {
        /// Address.
        to: String,
        /// The limit.
        seconds: u64,
    },
}

/// Connects, within [`HANDSHAKE_TIMEOUT`].
pub async fn connect(target: &Upstream, trust: &Trust) -> Result<Stream, UpstreamError> {
    let to = target.address();
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, trust.reach(target)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(ReachError::Connect(source))) => Err(UpstreamError::Connect { to, source }),
        Ok(Err(ReachError::Tls(source))) => Err(UpstreamError::Tls { to, source }),
        Err(_) => Err(UpstreamError::Timeout { to, seconds: HANDSHAKE_TIMEOUT.as_secs() }),
    }
}

/// Sends a request and reads the answer's head, within `limit`. `is_head`: the answer has no body whatever it says.
pub async fn exchange(
    stream: &mut Stream,
    to: &str,
    request: &[&[u8]],
    is_head: bool,
    limit: Duration,
) -> Result<Answer, UpstreamError> {
    let exchanging = async {
        let failed = |source| UpstreamError::Exchange { to: to.to_owned(), source };
        for part in request.iter().filter(|part| !part.is_empty()) {
            let sent = stream.send_now(part).map_err(failed)?;
            stream.write_all(&part[sent..]).await.map_err(failed)?;
        }
        stream.flush().await.map_err(failed)?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if stream.read_buf(&mut bytes).await.map_err(failed)? == 0 {
                return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")));
            }
            let parsed = answer::parse(&mut bytes, is_head, |_| {})
                .map_err(|message| UpstreamError::BadAnswer { to: to.to_owned(), message })?;
            if let Some(answer) = parsed {
                return Ok(answer);
            }
        }
    };
    tokio::time::timeout(limit, exchanging)
        .await
        .unwrap_or_else(|_| Err(UpstreamError::Timeout { to: to.to_owned(), seconds: limit.as_secs() }))
}
