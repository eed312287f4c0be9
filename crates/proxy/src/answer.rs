//! Plain HTTP answers of the front door's own, and the polite end of a socket after one.

use crate::head::HeadError;
use myagent_core::{Code, Problem};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client may take to accept an answer.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// How long and how much is read from a client after the last byte to it.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// One answer.
pub(crate) struct Answer {
    status: &'static str,
    /// Further header lines, each with its line end.
    headers: String,
    content_type: &'static str,
    body: String,
}

impl Answer {
    /// The front door is alive.
    pub(crate) fn health() -> Self {
        let body = "{\"status\":\"ok\"}\n".to_owned();
        Self { status: "200 OK", headers: String::new(), content_type: "application/json", body }
    }

    /// The head could not be read; none where nothing is to be said.
    pub(crate) fn bad_head(error: &HeadError) -> Option<Self> {
        let status = match error {
            HeadError::TooLarge => "431 Request Header Fields Too Large",
            HeadError::Late => "408 Request Timeout",
            HeadError::Bad(_) => "400 Bad Request",
            HeadError::Version => "426 Upgrade Required",
            HeadError::Left | HeadError::SentAway => return None,
        };
        let mut answer = Self::problem(status, Code::InvalidRequest, error.to_string());
        if *error == HeadError::Version {
            answer.headers.push_str("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
        }
        Some(answer)
    }

    /// A page from elsewhere.
    pub(crate) fn foreign_origin(origin: &str) -> Self {
        let detail =
            format!("pages of the origin {origin:?} may not connect; add it to allowed_origins if they may");
        Self::problem("403 Forbidden", Code::Forbidden, detail)
    }

    /// The request is none that could go to an agent.
    pub(crate) fn bad_request(detail: String) -> Self {
        Self::problem("400 Bad Request", Code::InvalidRequest, detail)
    }

    /// The rest of a request did not come.
    pub(crate) fn late_request() -> Self {
        let detail = "the request's body did not come in time".to_owned();
        Self::problem("408 Request Timeout", Code::RequestTimeout, detail)
    }

    /// The agent is not there, or its answer is none.
    pub(crate) fn agent_failed(detail: String) -> Self {
        Self::problem("502 Bad Gateway", Code::AgentFailed, detail)
    }

    /// The agent did not answer.
    pub(crate) fn agent_timeout(detail: String) -> Self {
        Self::problem("504 Gateway Timeout", Code::AgentTimeout, detail)
    }

    /// Nobody can serve it.
    pub(crate) fn unavailable(detail: String, retry_after: Duration) -> Self {
        let mut answer = Self::problem("503 Service Unavailable", Code::RoutingFailed, detail);
        answer.headers = format!("Retry-After: {}\r\n", retry_after.as_secs_f64().ceil() as u64);
        answer
    }

    fn problem(status: &'static str, code: Code, detail: String) -> Self {
        let body = serde_json::to_string(&Problem::new(code, detail)).unwrap_or_default() + "\n";
        Self { status, headers: String::new(), content_type: "application/problem+json", body }
    }

    /// The whole of it. `keeps_alive`: the client may send another request behind it.
    pub(crate) fn bytes(&self, keeps_alive: bool, without_body: bool) -> String {
        let Self { status, headers, content_type, body } = self;
        let connection = if keeps_alive { "keep-alive" } else { "close" };
        format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Type: {content_type}\r\nContent-Length: {}\r\n\
             Connection: {connection}\r\n\r\n{}",
            body.len(),
            if without_body { "" } else { body }
        )
    }

    /// Sends it to a client that may ask again; false: it has left, or does not read.
    pub(crate) async fn write(&self, stream: &mut TcpStream, without_body: bool) -> bool {
        let text = self.bytes(true, without_body);
        matches!(timeout(WRITE_TIME, stream.write_all(text.as_bytes())).await, Ok(Ok(())))
    }
}

/// Sends the last bytes and closes such that they arrive: a socket closed with unread bytes in it is reset, and a reset
/// can overtake what was sent.
pub(crate) async fn send_and_end(stream: &mut TcpStream, bytes: &[u8]) {
    let sent = timeout(WRITE_TIME, async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    });
    if !matches!(sent.await, Ok(Ok(()))) {
        return;
    }
    let drained = timeout(LINGER_TIME, async {
        let (mut buffer, mut count) = ([0; 512], 0);
        while count < LINGER_BYTES {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => count += read,
            }
        }
    });
    // Out of time: the client had its chance.
    let _ = drained.await;
}
