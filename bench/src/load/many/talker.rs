//! One conversation that numbers its messages, and what its answers say about those that came before.

use super::{Outcome, Part};
use crate::load::connect::{Until, open_from};
use crate::load::exchange::create_session;
use crate::load::{Place, frames};
use crate::procs;
use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde_json::Value;
use std::net::TcpStream;
use std::time::Duration;

pub(super) struct Talker {
    stream: TcpStream,
    /// None: the agent sends back what it gets.
    session: Option<String>,
    ledger: Ledger,
    /// The beginning of a frame that is not all there.
    partial: Vec<u8>,
    /// Number of the last event of the session.
    seq: u64,
}

impl Talker {
    /// Its number tells it from the others of its part.
    pub(super) fn open(part: &Part, number: usize) -> Result<Self> {
        let place = Place::new(part.address, part.target.as_str());
        let until = if part.speaks_events { Until::Greeting } else { Until::Upgrade };
        let stream = open_from(part.source, &place, until)?.stream;
        let session = part.speaks_events.then(|| create_session(&stream)).transpose()?;
        let (session, seq) = session.map_or((None, 0), |(session, seq)| (Some(session), seq));
        let name = format!("{}/{number}", part.source);
        Ok(Self { stream, session, ledger: Ledger::new(name), partial: Vec::new(), seq })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn unanswered(&self) -> usize {
        self.ledger.waiting.len()
    }

    /// Says its next message, which was due at this moment.
    pub(super) fn say(&mut self, due: Duration) -> Result<()> {
        let content = self.ledger.next(due);
        let frame = match &self.session {
            Some(session) => frames::text(
                &serde_json::json!({"event": "user.message", "session_id": session, "content": content})
                    .to_string(),
            ),
            None => frames::text(&content),
        };
        let sent = send(&self.stream, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).context("cut")?;
        ensure!(sent == frame.len(), "a message did not fit into the socket");
        Ok(())
    }

    /// One read; whether it had an answer in it. An error: the conversation is over.
    pub(super) fn hear(&mut self, buffer: &mut [u8], outcome: &mut Outcome) -> Result<bool> {
        let count = match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(error).context("cut"),
        };
        ensure!(count > 0, "cut");
        let partial = std::mem::take(&mut self.partial);
        let joined = [&partial[..], &buffer[..count]].concat();
        let (mut rest, mut is_answered) = (&joined[..], false);
        while let Some((payload, end)) = frames::first(rest) {
            if frames::is_ping(rest) {
                send(&self.stream, &frames::pong(payload), SendFlags::NOSIGNAL).context("cut")?;
            } else if frames::is_close(rest) {
                bail!("closed: {}", String::from_utf8_lossy(payload));
            } else {
                is_answered |= self.take(payload, outcome)?;
            }
            rest = &rest[end..];
        }
        self.partial = rest.to_vec();
        Ok(is_answered)
    }

    /// A message of the agent or of its host; whether it is an answer.
    fn take(&mut self, payload: &[u8], outcome: &mut Outcome) -> Result<bool> {
        if self.session.is_none() {
            self.ledger.answered(std::str::from_utf8(payload)?, None, procs::monotonic(), outcome)?;
            return Ok(true);
        }
        let event: Value = serde_json::from_slice(payload)?;
        if let Some(seq) = event["seq"].as_u64() {
            ensure!(seq == self.seq + 1, "event {seq} came after {}", self.seq);
            self.seq = seq;
        }
        match event["event"].as_str() {
            Some("agent.final_answer") => {
                let content = event["content"].as_str().context("an answer without content")?;
                let (messages, content) = content.split_once(' ').context("an answer without a number")?;
                self.ledger.answered(content, Some(messages.parse()?), procs::monotonic(), outcome)?;
                Ok(true)
            }
            Some("system.heartbeat" | "agent.thinking" | "agent.partial_answer") => Ok(false),
            _ => bail!("{event}"),
        }
    }
}

/// What was said, and is not answered.
struct Ledger {
    /// In each message, so that nobody gets another's answer unnoticed.
    name: String,
    /// How many messages were said.
    said: u64,
    waiting: Vec<Waiting>,
}

struct Waiting {
    number: u64,
    due: Duration,
    /// One that was said later has been answered.
    is_overtaken: bool,
}

impl Ledger {
    fn new(name: String) -> Self {
        Self { name, said: 0, waiting: Vec::new() }
    }

    /// The next message.
    fn next(&mut self, due: Duration) -> String {
        self.said += 1;
        self.waiting.push(Waiting { number: self.said, due, is_overtaken: false });
        format!("{} {}", self.name, self.said)
    }

    /// An answer: the message, and how many the agent had had with it, if it counts. An error: it answers nothing that was said.
    fn answered(
        &mut self,
        message: &str,
        counted: Option<u64>,
        now: Duration,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let (name, number) = message.rsplit_once(' ').context("an answer without a number")?;
        let number: u64 = number.parse()?;
        ensure!(name == self.name && (1..=self.said).contains(&number), "got the answer to {message:?}");
        let Some(position) = self.waiting.iter().position(|waiting| waiting.number == number) else {
            outcome.doubled += 1;
            return Ok(());
        };
        let waiting = self.waiting.remove(position);
        for earlier in &mut self.waiting[..position] {
            earlier.is_overtaken = true;
        }
        outcome.answered += 1;
        outcome.reordered +=
            usize::from(waiting.is_overtaken || counted.is_some_and(|count| count != number));
        outcome.took.push(now.saturating_sub(waiting.due).as_micros() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three messages are said, then these answers come; said, answered, reordered, doubled, still waiting.
    #[track_caller]
    fn check(answers: &[(u64, Option<u64>)], expected: (usize, usize, usize, usize)) {
        let mut ledger = Ledger::new("a".to_owned());
        let mut outcome = Outcome::default();
        let said: Vec<String> = (0..3).map(|_| ledger.next(Duration::from_micros(5))).collect();
        for (number, counted) in answers {
            let message = &said[*number as usize - 1];
            ledger.answered(message, *counted, Duration::from_micros(7), &mut outcome).unwrap();
        }
        assert_eq!(
            (outcome.answered, outcome.reordered, outcome.doubled, ledger.waiting.len()),
            expected,
            "{answers:?}"
        );
        assert_eq!(outcome.took, vec![2; outcome.answered]);
    }

    #[test]
    fn answers_tell_what_became_of_messages() {
        check(&[(1, None), (2, None), (3, None)], (3, 0, 0, 0));
        // The second is lost.
        check(&[(1, None), (3, None)], (2, 0, 0, 1));
        // It comes late.
        check(&[(1, None), (3, None), (2, None)], (3, 1, 0, 0));
        check(&[(1, None), (1, None), (2, None), (3, None)], (3, 0, 1, 0));
        // The agent got one more than was said, or another one first.
        check(&[(1, Some(1)), (2, Some(2)), (3, Some(3))], (3, 0, 0, 0));
        check(&[(1, Some(1)), (2, Some(3)), (3, Some(4))], (3, 2, 0, 0));
    }

    #[test]
    fn answers_of_others_are_noticed() {
        let mut ledger = Ledger::new("a".to_owned());
        ledger.next(Duration::ZERO);
        for other in ["b 1", "a 2", "a 0", "a", "a x"] {
            let answered = ledger.answered(other, None, Duration::ZERO, &mut Outcome::default());
            assert!(answered.is_err(), "{other}");
        }
    }
}
