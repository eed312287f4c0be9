//! Talking to the manager: HTTP/1.1 over its Unix socket, one connection per command.

use crate::exit::Failure;
use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use myagent_core::Problem;
use myagent_core::view::Page;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

/// Items of a list that are asked for at a time.
const PAGE: usize = 500;
/// Longest line of a stream, bytes.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// One connection to a manager.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection for as long as the client lives.
    _driver: JoinSet<()>,
}

impl Client {
    /// Connects to the socket of a manager. One that does not answer there has ended.
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.map_err(|error| {
            anyhow::Error::from(Failure::NoManager(format!("{} ({error})", socket.display())))
        })?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.context("failed to talk to the manager")?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What went wrong is told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { sender, _driver: driver })
    }

    /// `GET`, and the answer.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        let response = self.request(Method::GET, path, None, None).await?;
        read(response).await
    }

    /// All items of a list, page by page.
    pub(crate) async fn get_all<T: DeserializeOwned>(&mut self, path: &str) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let separator = if path.contains('?') { '&' } else { '?' };
        loop {
            let offset = items.len();
            let page: Page<T> = self.get(&format!("{path}{separator}limit={PAGE}&offset={offset}")).await?;
            let empty = page.items.is_empty();
            items.extend(page.items);
            if !page.has_more || empty {
                return Ok(items);
            }
        }
    }

    /// Any method with a body, and the answer.
    pub(crate) async fn send<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T> {
        let response = self.request(method, path, body, None).await?;
        read(response).await
    }

    /// Any method, where the answer has no content.
    pub(crate) async fn send_only(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<()> {
        let response = self.request(method, path, body, None).await?;
        response.into_body().collect().await.context("the manager ended while it was answering")?;
        Ok(())
    }

    /// An answer that does not end, line by line.
    pub(crate) async fn lines(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Lines> {
        let response = self.request(method, path, body, Some("application/x-ndjson")).await?;
        Ok(Lines { body: response.into_body(), buffer: BytesMut::new() })
    }

    /// Server-sent events.
    pub(crate) async fn events(&mut self, path: &str) -> Result<Events> {
        let response = self.request(Method::GET, path, None, Some("text/event-stream")).await?;
        Ok(Events { lines: Lines { body: response.into_body(), buffer: BytesMut::new() } })
    }

    async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        accept: Option<&str>,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "manager");
        if let Some(accept) = accept {
            request = request.header(header::ACCEPT, accept);
        }
        let bytes = match body {
            None => Bytes::new(),
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(serde_json::to_vec(body)?)
            }
        };
        let request = request.body(Full::new(bytes)).context("failed to write the request")?;
        self.sender.ready().await.context("the manager closed the connection")?;
        let response =
            self.sender.send_request(request).await.context("the manager ended before it answered")?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body =
            response.into_body().collect().await.context("the manager ended while it was answering")?;
        match serde_json::from_slice::<Problem>(&body.to_bytes()) {
            Ok(problem) => Err(problem.into()),
            Err(_) => bail!("the manager answered {status} and did not say why"),
        }
    }
}

async fn read<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T> {
    let body = response.into_body().collect().await.context("the manager ended while it was answering")?;
    serde_json::from_reader(body.aggregate().reader())
        .context("the manager's answer is not understood; is it of another version? (restart it: shutdown --keep-services)")
}

/// A body that is read line by line.
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// The next line without its end; `None`: the manager ended the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE {
                bail!("the manager sent a line of more than {MAX_LINE} bytes");
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(error).context("the connection to the manager broke"),
            }
        }
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<String> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let line = buffer.split_to(end + 1);
    let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
    Some(String::from_utf8_lossy(line).into_owned())
}

/// A stream of server-sent events with JSON in them.
pub(crate) struct Events {
    lines: Lines,
}

impl Events {
    /// The next event; `None`: the manager ended the stream.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        while let Some(line) = self.lines.next().await? {
            // Ours are always one line of data; ids and comments are for others.
            if let Some(data) = line.strip_prefix("data:") {
                return serde_json::from_str(data.trim_start())
                    .context("the manager's event is not understood")
                    .map(Some);
            }
        }
        Ok(None)
    }
}

/// The path of a service, with whatever a person typed as its name.
pub(crate) fn service_path(name: &str, rest: &str) -> String {
    format!("/api/v1/services/{}{rest}", escape(name))
}

/// The path of a connection, with whatever a person typed as its id.
pub(crate) fn connection_path(id: &str, rest: &str) -> String {
    format!("/api/v1/connections/{}{rest}", escape(id))
}

/// The path of a rule, with whatever a person typed as its name.
pub(crate) fn rule_path(name: &str) -> String {
    format!("/api/v1/routing/rules/{}", escape(name))
}

/// A query of the values that are given.
pub(crate) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_ref()?))));
    let joined = given.collect::<Vec<_>>().join("&");
    if joined.is_empty() { joined } else { format!("?{joined}") }
}

/// Percent-encoding of everything that is not unreserved.
fn escape(text: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    // A dot alone would be taken for a folder.
    if escaped.bytes().all(|byte| byte == b'.') { escaped.replace('.', "%2E") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_queries_are_escaped() {
        assert_eq!(service_path("weather", "/start"), "/api/v1/services/weather/start");
        assert_eq!(service_path("../x y?", ""), "/api/v1/services/..%2Fx%20y%3F");
        assert_eq!(service_path("..", ""), "/api/v1/services/%2E%2E");
        let pairs = [("status", Some("a,b".to_owned())), ("tags", None), ("grep", Some("ü|&".to_owned()))];
        assert_eq!(query(&pairs), "?status=a%2Cb&grep=%C3%BC%7C%26");
        assert_eq!(query(&[("tags", None)]), "");
    }

    #[test]
    fn lines_are_cut_at_their_ends() {
        let mut buffer = BytesMut::from(&b"one\r\ntwo\n\nthr"[..]);
        let lines: Vec<String> = std::iter::from_fn(|| take_line(&mut buffer)).collect();
        assert_eq!(lines, ["one", "two", ""]);
        assert_eq!(&buffer[..], b"thr");
    }
}
