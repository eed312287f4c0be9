//! The agent's side of a conversation before its first frame: connecting, sending the request, reading the answer's head.

mod body;

pub use body::Body;

use crate::handshake::{MAX_HEADERS, push_header};
use crate::relay::Target;
use myagent_handover::vanish::give_up_after;
use myagent_tls::{Stream, Trust};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an agent may take to accept a connection, and to answer a handshake on it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may think before the first byte of a plain HTTP answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest head of an answer, bytes.
const MAX_ANSWER_HEAD: usize = 32 * 1024;
/// How the answer of a TLS server begins that was not spoken to over TLS: an alert of any version.
const TLS_ALERT: &[u8] = &[0x15, 0x03];

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

/// The head of an agent's answer, and what was read behind it.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Reason phrase.
    reason: String,
    headers: Vec<(String, Vec<u8>)>,
    /// Bytes behind the head.
    pub rest: Vec<u8>,
    /// How its body ends; meaningless for a 101.
    pub body: Body,
}

/// Connects, within [`HANDSHAKE_TIMEOUT`].
pub async fn connect(target: &Target, trust: &Trust) -> Result<Stream, UpstreamError> {
    let to = target.address();
    let connecting = async {
        let connected = async {
            match target {
                Target::Local { addr, .. } => {
                    let socket = TcpStream::connect(addr).await?;
                    socket.set_nodelay(true)?;
                    Ok(socket)
                }
                Target::External { endpoint } => {
                    let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
                    socket.set_nodelay(true)?;
                    keep_alive(&socket)?;
                    Ok(socket)
                }
            }
        };
        let socket = connected.await.map_err(|source| UpstreamError::Connect { to: to.clone(), source })?;
        match target {
            Target::External { endpoint } if endpoint.tls => trust
                .connect(socket, &endpoint.host)
                .await
                .map_err(|source| UpstreamError::Tls { to: to.clone(), source }),
            _ => Ok(Stream::Plain(socket)),
        }
    };
    tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await.unwrap_or_else(|_| {
        Err(UpstreamError::Timeout { to: to.clone(), seconds: HANDSHAKE_TIMEOUT.as_secs() })
    })
}

/// A far end that vanished without a word is noticed after this time, whether something was sent to it or not.
pub const GONE_AFTER: Duration = Duration::from_mins(2);

/// Has the kernel ask and count. It has no say in local agents: their network cannot vanish, and they may think for long
/// without reading.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_mins(1))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    give_up_after(stream, GONE_AFTER)
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
            let parsed = parse(&mut bytes, is_head)
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

/// Reads the head of an answer; none: there is more to come. Interim answers (100, 103) are taken out of the bytes.
fn parse(bytes: &mut Vec<u8>, is_head: bool) -> Result<Option<Answer>, String> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() > MAX_ANSWER_HEAD => {
                return Err("its head is too long".to_owned());
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) if bytes.starts_with(TLS_ALERT) => {
                return Err("it speaks TLS there; the endpoint is wss:// and not ws://".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        };
        let status = response.code.unwrap_or_default();
        if (100..200).contains(&status) && status != 101 {
            bytes.drain(..length);
            continue;
        }
        let reason = response.reason.unwrap_or_default().to_owned();
        let body = Body::of(status, is_head, response.headers);
        let headers =
            response.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
        let rest = bytes.split_off(length);
        return Ok(Some(Answer { status, reason, headers, rest, body }));
    }
}

impl Answer {
    /// The head for the client: the agent's own with `extra` headers. Unless it opens a WebSocket, the connection is closed
    /// after it.
    pub fn client_head(&self, extra: &[(&str, &str)]) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        let opens = self.status == 101;
        for (name, value) in &self.headers {
            if opens || !(name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive"))
            {
                push_header(&mut out, name, value);
            }
        }
        if !opens {
            push_header(&mut out, "Connection", "close");
        }
        for (name, value) in extra {
            push_header(&mut out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_answers() {
        let mut bytes = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 101 Switching".to_vec();
        assert!(parse(&mut bytes, false).unwrap().is_none());
        bytes
            .extend_from_slice(b" Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nframes");
        let answer = parse(&mut bytes, false).unwrap().unwrap();
        assert_eq!((answer.status, answer.rest.as_slice()), (101, b"frames".as_slice()));
        assert_eq!(
            String::from_utf8(answer.client_head(&[("X-MyAgent-Service", "s")])).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\nX-MyAgent-Service: s\r\n\r\n"
        );
        let mut bytes =
            b"HTTP/1.1 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nno".to_vec();
        let answer = parse(&mut bytes, false).unwrap().unwrap();
        assert_eq!(
            String::from_utf8(answer.client_head(&[])).unwrap(),
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        );
        assert!(parse(&mut b"SSH-2.0-x\r\n\r\n".to_vec(), false).is_err());
        let error = parse(&mut b"\x15\x03\x01\x00\x02\x02\x46".to_vec(), false).unwrap_err();
        assert!(error.contains("wss:// and not ws://"), "{error}");
    }
}
