//! A client of the event protocol: a session, messages, and a check that no event is lost, doubled or out of order.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};

/// Longest wait for one event.
const DEADLINE: Duration = Duration::from_secs(30);

/// A WebSocket without any protocol on it.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client with its connection.
#[derive(Debug)]
pub struct EventClient {
    socket: Socket,
    /// Headers of the handshake's answer.
    pub headers: HashMap<String, String>,
    /// Every event received, oldest first.
    pub received: Vec<Value>,
}

/// Opens a WebSocket; fails like the network does, or after 30 s.
pub async fn connect(url: &str) -> Result<Socket> {
    Ok(handshake(url).await?.0)
}

async fn handshake(url: &str) -> Result<(Socket, HashMap<String, String>)> {
    let builder = ClientBuilder::new().uri(url).with_context(|| format!("{url} is no URL"))?;
    let connected = timeout(DEADLINE, builder.connect()).await;
    let (socket, response) = connected.with_context(|| format!("{url} does not answer"))??;
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
    Ok((socket, headers.collect()))
}

impl EventClient {
    /// Connects; nothing is sent or awaited beyond the handshake.
    pub async fn connect(url: &str) -> Result<Self> {
        let (socket, headers) = handshake(url).await?;
        Ok(Self { socket, headers, received: Vec::new() })
    }

    /// Sends one event.
    pub async fn send(&mut self, event: Value) -> Result<()> {
        Ok(self.socket.send(Message::text(event.to_string())).await?)
    }

    /// The next event of any kind. An error if the connection ends or is silent for 30 s.
    pub async fn next_event(&mut self) -> Result<Value> {
        loop {
            let next = timeout(DEADLINE, self.socket.next()).await.context("no event within 30 s")?;
            let message = next.context("the connection ended")??;
            if let Some((code, reason)) = message.as_close() {
                bail!("closed: {} {reason}", u16::from(code));
            }
            if let Some(text) = message.as_text() {
                let event: Value = serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))?;
                self.received.push(event.clone());
                return Ok(event);
            }
        }
    }

    /// The next event of this name; others before it are kept in `received` only. `agent.error` and `system.error` end the
    /// wait with an error unless they are what is awaited.
    pub async fn next_named(&mut self, name: &str) -> Result<Value> {
        loop {
            let event = self.next_event().await.with_context(|| format!("waiting for {name}"))?;
            if event["event"] == name {
                return Ok(event);
            }
            let is_error = event["event"] == "agent.error" || event["event"] == "system.error";
            ensure!(!is_error, "waiting for {name}, got {event}");
        }
    }

    /// Opens a session and returns its id.
    pub async fn create_session(&mut self) -> Result<String> {
        self.send(json!({"event": "user.create_session"})).await?;
        let event = self.next_named("agent.session_created").await?;
        Ok(event["session_id"].as_str().with_context(|| format!("no session_id in {event}"))?.to_owned())
    }

    /// Sends a message without waiting for anything.
    pub async fn message(&mut self, session: &str, text: &str) -> Result<()> {
        self.send(json!({"event": "user.message", "session_id": session, "content": text})).await
    }

    /// Sends a message and returns the session's events up to and with its final answer.
    pub async fn turn(&mut self, session: &str, text: &str) -> Result<Vec<Value>> {
        self.message(session, text).await?;
        self.until_final(session).await
    }

    /// The session's events up to and with its next final answer.
    pub async fn until_final(&mut self, session: &str) -> Result<Vec<Value>> {
        let from = self.received.len();
        while self.next_named("agent.final_answer").await?["session_id"] != session {}
        let events = self.received[from..].iter().filter(|event| event["session_id"] == session);
        Ok(events.cloned().collect())
    }

    /// Asks for a running turn to end.
    pub async fn cancel(&mut self, session: &str) -> Result<Value> {
        self.send(json!({"event": "user.cancel", "session_id": session})).await?;
        self.next_named("agent.interrupted").await
    }

    /// Waits for the end of the connection: code and reason of the close frame, 1006 without one. Events that still come
    /// are kept.
    pub async fn until_closed(&mut self) -> Result<(u16, String)> {
        loop {
            let next = timeout(DEADLINE, self.socket.next()).await.context("not closed within 30 s")?;
            let Some(Ok(message)) = next else { return Ok((1006, String::new())) };
            if let Some((code, reason)) = message.as_close() {
                return Ok((code.into(), reason.to_owned()));
            }
            if let Some(Ok(event)) = message.as_text().map(serde_json::from_str) {
                self.received.push(event);
            }
        }
    }

    /// Its socket once more, to write to it what is no whole frame.
    pub fn raw(&self) -> Result<TcpStream> {
        let MaybeTlsStream::Plain(stream) = self.socket.get_ref();
        let again = rustix::io::fcntl_dupfd_cloexec(stream, 0)?;
        Ok(TcpStream::from_std(again.into())?)
    }

    /// Ends the connection as a lost network does.
    fn leave(&mut self) {
        let MaybeTlsStream::Plain(stream) = self.socket.get_ref();
        // It may be closed already.
        let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Both);
    }

    /// Closes the connection politely.
    pub async fn close(mut self) -> Result<()> {
        Ok(timeout(DEADLINE, self.socket.close()).await.context("the close was not answered")??)
    }

    /// Fails unless the numbered events of the session are `first`, `first + 1`… each once and in order. Returns the last.
    pub fn check_seq(&self, session: &str, first: u64) -> Result<u64> {
        check_seq(&self.received, session, first)
    }
}

/// A client with one session that comes back to it, and trusts nobody: each numbered event must be the one after the last.
#[derive(Debug)]
pub struct Resuming {
    client: EventClient,
    /// The session.
    pub session: String,
    /// Number of the newest event.
    pub last_seq: u64,
    /// The numbered events, oldest first.
    pub events: Vec<Value>,
    /// What came without a number: notices, errors.
    pub others: Vec<Value>,
}

impl Resuming {
    /// Connects and creates a session.
    pub async fn start(url: &str) -> Result<Self> {
        let mut client = EventClient::connect(url).await?;
        client.send(json!({"event": "user.create_session"})).await?;
        let event = client.next_named("agent.session_created").await?;
        ensure!(event["seq"] == 1, "the first event is {event}");
        let session = event["session_id"].as_str().context("no session_id")?.to_owned();
        Ok(Self { client, session, last_seq: 1, events: vec![event], others: Vec::new() })
    }

    /// Sends a message.
    pub async fn message(&mut self, text: &str) -> Result<()> {
        self.client.message(&self.session, text).await
    }

    /// The next event of any kind.
    pub async fn any(&mut self) -> Result<Value> {
        let event = self.client.next_event().await?;
        self.note(event.clone())?;
        Ok(event)
    }

    fn note(&mut self, event: Value) -> Result<()> {
        if let Some(seq) = event["seq"].as_u64() {
            ensure!(event["session_id"] == self.session, "an event of another session: {event}");
            ensure!(seq == self.last_seq + 1, "after seq {} came {event}", self.last_seq);
            self.last_seq = seq;
            self.events.push(event);
        } else {
            self.others.push(event);
        }
        Ok(())
    }

    /// The next numbered event.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            let event = self.any().await?;
            if event.get("seq").is_some() {
                return Ok(event);
            }
        }
    }

    /// Reads up to a notice or an error with this `metadata.code`.
    pub async fn until_code(&mut self, code: &str) -> Result<Value> {
        loop {
            let event = self.any().await.with_context(|| format!("waiting for {code}"))?;
            if event["metadata"]["code"] == code {
                return Ok(event);
            }
        }
    }

    /// Reads up to an event of this name.
    pub async fn until(&mut self, name: &str) -> Result<Value> {
        loop {
            let event = self.next().await.with_context(|| format!("waiting for {name}"))?;
            if event["event"] == name {
                return Ok(event);
            }
        }
    }

    /// Asks for the running turn to end.
    pub async fn cancel(&mut self) -> Result<()> {
        self.client.send(json!({"event": "user.cancel", "session_id": self.session})).await
    }

    /// The instance that answered the handshake of this connection.
    pub fn instance(&self) -> Option<&str> {
        self.client.headers.get("x-myagent-instance").map(String::as_str)
    }

    /// Its socket once more, to write to it what is no whole frame.
    pub fn raw(&self) -> Result<TcpStream> {
        self.client.raw()
    }

    /// Waits for the end of the connection: code and reason of the close frame, 1006 without one. What still comes counts.
    pub async fn until_closed(&mut self) -> Result<(u16, String)> {
        let from = self.client.received.len();
        let closed = self.client.until_closed().await?;
        for event in self.client.received.split_off(from) {
            self.note(event)?;
        }
        Ok(closed)
    }

    /// Whether the connection is still there. What came meanwhile is taken.
    pub async fn is_connected(&mut self) -> Result<bool> {
        // If it is gone, reading tells.
        let _ = self.client.send(json!({"type": "ping"})).await;
        while let Ok(event) = self.client.next_event().await {
            if event["type"] == "pong" {
                return Ok(true);
            }
            self.note(event)?;
        }
        Ok(false)
    }

    /// The next event of any kind; none: the connection has ended.
    pub async fn next_or_end(&mut self) -> Result<Option<Value>> {
        match self.client.next_event().await {
            Ok(event) => self.note(event.clone()).map(|()| Some(event)),
            Err(_) => Ok(None),
        }
    }

    /// Closes the connection, without a word.
    pub fn leave(&mut self) {
        self.client.leave();
    }

    /// Leaves without a word and comes back over this address, once. An error of the protocol is returned as it came.
    pub async fn come_back(&mut self, url: &str) -> Result<Result<Value, Value>> {
        self.leave();
        self.client = EventClient::connect(url).await?;
        let request =
            json!({"event": "user.reconnect", "session_id": self.session, "last_seq": self.last_seq});
        self.client.send(request).await?;
        loop {
            let event = self.client.next_event().await?;
            match event["event"].as_str() {
                Some("system.connected") => {}
                // It was handed over to the one that has the session.
                Some("service_switched") => self.others.push(event),
                Some("agent.state_restored") => {
                    ensure!(event["session_id"] == self.session, "another session: {event}");
                    return Ok(Ok(event));
                }
                _ => return Ok(Err(event)),
            }
        }
    }

    /// Comes back as often as it takes, over one of these addresses each time, as a real client does: whatever fails, and
    /// whatever is said to be recoverable, is tried again for 30 s.
    pub async fn come_back_over(&mut self, urls: &[String]) -> Result<Value> {
        let end = tokio::time::Instant::now() + DEADLINE;
        for url in urls.iter().cycle() {
            let refused = match self.come_back(url).await {
                Ok(Ok(event)) => return Ok(event),
                Ok(Err(event)) => {
                    ensure!(event["metadata"]["retry_after_ms"].is_u64(), "not recoverable: {event}");
                    event.to_string()
                }
                Err(error) => format!("{error:#}"),
            };
            ensure!(tokio::time::Instant::now() < end, "not back within 30 s: {refused}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("no address")
    }
}

/// See [`EventClient::check_seq`].
pub fn check_seq(events: &[Value], session: &str, first: u64) -> Result<u64> {
    let numbered = events.iter().filter(|event| event["session_id"] == session && event.get("seq").is_some());
    let mut expected = first;
    for event in numbered {
        ensure!(event["seq"] == expected, "expected seq {expected} and got {event}");
        expected += 1;
    }
    ensure!(expected > first, "no event of session {session} has a seq");
    Ok(expected - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_doubles_and_disorder_are_seen() {
        let events = |numbers: &[u64]| -> Vec<Value> {
            let mut events = vec![json!({"event": "system.connected"}), json!({"session_id": "b", "seq": 9})];
            events.extend(numbers.iter().map(|seq| json!({"session_id": "a", "seq": seq})));
            events
        };
        assert_eq!(check_seq(&events(&[1, 2, 3]), "a", 1).unwrap(), 3);
        for wrong in [&[1, 3][..], &[1, 1, 2], &[2, 1], &[2, 3], &[]] {
            assert!(check_seq(&events(wrong), "a", 1).is_err(), "{wrong:?}");
        }
    }
}
