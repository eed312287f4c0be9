//! One plain HTTP request, without a library: what a test sends is exactly what it says.

use anyhow::{Context, Result};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time for one request.
const DEADLINE: Duration = Duration::from_mins(2);

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Status line and headers, as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl HttpAnswer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("the body is not JSON: {self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// Sends one request with an optional JSON body and reads the answer to its end.
pub async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    body: Option<&Value>,
) -> Result<HttpAnswer> {
    let body = body.map(Value::to_string);
    let kind = body.as_ref().map_or("", |_| "Content-Type: application/json\r\n");
    let length = body.as_ref().map_or_else(String::new, |body| format!("Content-Length: {}\r\n", body.len()));
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{kind}{length}\r\n{}",
        body.unwrap_or_default()
    );
    raw(address, &text).await.with_context(|| format!("{method} {target} at {address}"))
}

/// Sends these bytes and reads the answer to the end of the connection.
pub async fn raw(address: SocketAddr, text: &str) -> Result<HttpAnswer> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(DEADLINE, exchange).await.context("no answer in time")??;
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status: {head:?}"))?;
    let is_chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if is_chunked { unchunk(body) } else { body.to_owned() };
    Ok(HttpAnswer { status, head: head.to_owned(), body })
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length =
            usize::from_str_radix(length.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let (Some(chunk), true) = (rest.get(..length), length > 0) else { break };
        whole.push_str(chunk);
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        assert_eq!(unchunk("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"), "abcde");
        assert_eq!(unchunk("zz"), "");
    }
}
