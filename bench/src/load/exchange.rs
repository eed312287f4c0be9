//! Open conversations: each sends a message, waits for its answer, and sends the next.

use super::connect::{DEADLINE, open};
use super::poll::Poll;
use super::{Measured, Meter, frames};
use anyhow::{Context, Result, ensure};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::time::Instant;

/// The last event of an answer.
const FINAL: &[u8] = b"agent.final_answer";

/// What is said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Talk<'a> {
    /// `{"type":"ping"}`, answered by the host itself.
    Ping,
    /// A message of a session, answered by the agent.
    Message(&'a str),
}

/// Conversations that are open for as long as this is not dropped.
pub(crate) struct Exchange {
    conversations: Vec<Conversation>,
    poll: Poll,
    /// What the last frame of an answer has in it.
    needle: &'static [u8],
}

struct Conversation {
    stream: TcpStream,
    message: Vec<u8>,
    /// The beginning of a frame that is not all there.
    partial: Vec<u8>,
    since: Instant,
}

impl Exchange {
    /// Opens so many.
    pub(crate) fn open(address: SocketAddr, target: &str, count: usize, talk: Talk<'_>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut conversations = Vec::with_capacity(count);
        for number in 0..count {
            let stream = open(address, target)?.stream;
            poll.add(&stream, number)?;
            let mut conversation =
                Conversation { stream, message: Vec::new(), partial: Vec::new(), since: Instant::now() };
            conversation.message = match talk {
                Talk::Ping => frames::text(r#"{"type":"ping"}"#),
                Talk::Message(content) => message(&create_session(&conversation.stream)?.0, content),
            };
            conversations.push(conversation);
        }
        let needle: &[u8] = match talk {
            Talk::Ping => b"pong",
            Talk::Message(_) => FINAL,
        };
        Ok(Self { conversations, poll, needle })
    }

    /// One round.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Measured> {
        let mut meter = Meter::start(duration);
        for conversation in &mut self.conversations {
            conversation.say()?;
        }
        let finder = memchr::memmem::Finder::new(self.needle);
        let mut buffer = vec![0; 64 * 1024];
        // Every answer is awaited, or the next round would begin with those of this one.
        let mut silent = 0;
        while silent < self.conversations.len() {
            let mut heard = false;
            for number in self.poll.wait(DEADLINE)? {
                heard = true;
                let conversation = &mut self.conversations[number];
                if conversation.is_answered(&mut buffer, &finder)? {
                    if meter.done(conversation.since, Instant::now()) {
                        conversation.say()?;
                    } else {
                        silent += 1;
                    }
                }
            }
            ensure!(heard, "no answer within {DEADLINE:?}");
        }
        Ok(meter.finish())
    }

    /// Each says one thing and is answered; how many were not.
    pub(crate) fn broken(&mut self) -> usize {
        let finder = memchr::memmem::Finder::new(self.needle);
        let mut buffer = vec![0; 64 * 1024];
        let mut once = |conversation: &mut Conversation| -> Result<()> {
            conversation.say()?;
            conversation.stream.set_read_timeout(Some(DEADLINE))?;
            while !conversation.read(&mut buffer, &finder, RecvFlags::empty())? {}
            Ok(())
        };
        self.conversations.iter_mut().filter_map(|conversation| once(conversation).err()).count()
    }
}

/// Sessions on one connection that have had a message each, and then nothing to do. They have a client until the stream is
/// closed.
pub(crate) fn idle_sessions(address: SocketAddr, target: &str, count: usize) -> Result<TcpStream> {
    let stream = open(address, target)?.stream;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut conversation =
        Conversation { stream, message: Vec::new(), partial: Vec::new(), since: Instant::now() };
    let finder = memchr::memmem::Finder::new(FINAL);
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..count {
        conversation.message = message(&create_session(&conversation.stream)?.0, "hello");
        conversation.say()?;
        while !conversation.read(&mut buffer, &finder, RecvFlags::empty())? {}
    }
    Ok(conversation.stream)
}

fn message(session: &str, content: &str) -> Vec<u8> {
    let event = serde_json::json!({"event": "user.message", "session_id": session, "content": content});
    frames::text(&event.to_string())
}

impl Conversation {
    fn say(&mut self) -> Result<()> {
        self.since = Instant::now();
        let sent = send(&self.stream, &self.message, SendFlags::NOSIGNAL)?;
        ensure!(sent == self.message.len(), "a message did not fit into the socket");
        Ok(())
    }

    fn is_answered(&mut self, buffer: &mut [u8], finder: &memchr::memmem::Finder<'_>) -> Result<bool> {
        self.read(buffer, finder, RecvFlags::DONTWAIT)
    }

    /// One read; true: the end of the answer was in it.
    fn read(
        &mut self,
        buffer: &mut [u8],
        finder: &memchr::memmem::Finder<'_>,
        flags: RecvFlags,
    ) -> Result<bool> {
        let (_, count) = recv(&self.stream, &mut *buffer, flags)?;
        ensure!(count > 0, "a conversation was cut");
        let mut rest = if self.partial.is_empty() {
            &buffer[..count]
        } else {
            self.partial.extend_from_slice(&buffer[..count]);
            &self.partial[..]
        };
        let mut answered = false;
        while let Some((payload, end)) = frames::first(rest) {
            if frames::is_ping(rest) {
                send(&self.stream, &frames::pong(payload), SendFlags::NOSIGNAL)?;
            }
            answered |= finder.find(payload).is_some();
            rest = &rest[end..];
        }
        self.partial = rest.to_vec();
        Ok(answered)
    }
}

/// Creates a session; its id, and the number of the event that said so.
pub(super) fn create_session(stream: &TcpStream) -> Result<(String, u64)> {
    let request = frames::text(r#"{"event":"user.create_session"}"#);
    send(stream, &request, SendFlags::NOSIGNAL)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = Vec::new();
    loop {
        let (_, count) = recv(stream, &mut buffer[..], RecvFlags::empty())?;
        ensure!(count > 0, "the connection ended");
        bytes.extend_from_slice(&buffer[..count]);
        while let Some((payload, end)) = frames::first(&bytes) {
            let event: Value = serde_json::from_slice(payload)?;
            bytes.drain(..end);
            if event["event"] == "agent.session_created" {
                let id = event["session_id"].as_str().context("a session without an id")?.to_owned();
                return Ok((id, event["seq"].as_u64().unwrap_or_default()));
            }
        }
    }
}
