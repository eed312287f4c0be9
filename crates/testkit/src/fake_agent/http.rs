//! An HTTP server in a few lines, beside the agent's WebSocket, as a real agent has one: it says what it was asked.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// Longest line of a head.
const MAX_LINE: u64 = 64 * 1024;

/// Whether what came first is a request that asks for no other protocol. Nothing of it is taken.
pub(super) async fn is_plain(stream: &mut TcpStream) -> Result<bool> {
    let mut head = [0; 4096];
    // Whoever asks sends the whole head at once, as clients do.
    let length = stream.peek(&mut head).await?;
    let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
    Ok(head.contains(" http/1.1\r\n") && !head.contains("\r\nupgrade:"))
}

/// Answers requests until the client leaves or says that it will. `/slow` is answered never, `/bye` by ending the connection.
pub(super) async fn serve(stream: TcpStream) -> Result<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let first = line(&mut stream).await?;
        if first.is_empty() {
            return Ok(());
        }
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().context("no target")?);
        let mut headers = Map::new();
        loop {
            let line = line(&mut stream).await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("no header")?;
            headers.insert(name.to_ascii_lowercase(), value.trim().into());
        }
        let header = |name: &str| headers.get(name).and_then(Value::as_str);
        if target.starts_with("/slow") {
            // Until whoever asked is gone.
            while stream.read_u8().await.is_ok() {}
            return Ok(());
        }
        if target.starts_with("/bye") {
            return Ok(());
        }
        if header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            stream.flush().await?;
        }
        let (mut length, mut sum) = (0, 0);
        if header("transfer-encoding").is_some() {
            loop {
                let size = u64::from_str_radix(&line(&mut stream).await?, 16)?;
                take(&mut stream, size, &mut length, &mut sum).await?;
                ensure!(line(&mut stream).await?.is_empty(), "a chunk does not end where it should");
                if size == 0 {
                    break;
                }
            }
        } else if let Some(announced) = header("content-length") {
            take(&mut stream, announced.parse()?, &mut length, &mut sum).await?;
        }
        let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let said = json!({
            "method": method,
            "target": target,
            "headers": headers,
            "length": length,
            "sum": sum,
        });
        let body = format!("{said}\n");
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        if method != "HEAD" {
            stream.write_all(body.as_bytes()).await?;
        }
        stream.flush().await?;
        if closes {
            return Ok(());
        }
    }
}

/// A line without its end; empty at the end of the stream.
async fn line(stream: &mut BufStream<TcpStream>) -> Result<String> {
    let mut line = String::new();
    (&mut *stream).take(MAX_LINE).read_line(&mut line).await?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

/// Reads so much of a body; adds up how long it was, and its bytes.
async fn take(
    stream: &mut BufStream<TcpStream>,
    mut left: u64,
    length: &mut u64,
    sum: &mut u64,
) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = stream.read(&mut buffer[..room]).await?;
        ensure!(count > 0, "the body is cut short");
        *length += count as u64;
        *sum += buffer[..count].iter().map(|byte| u64::from(*byte)).sum::<u64>();
        left -= count as u64;
    }
    Ok(())
}
