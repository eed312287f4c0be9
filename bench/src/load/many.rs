//! `myagent-bench many-load`: a part of very many conversations, in a process of its own, because the descriptors of one process and the
//! ports of one source address are not enough for all.
//!
//! It opens its conversations, says so on stdout, waits for the moment at which everybody begins, says messages when they are
//! due, whether those before are answered or not, and tells on stdout what became of them. All that time it answers pings.

mod crowd;
mod talker;

use crate::procs;
use anyhow::{Context, Result};
use crowd::Crowd;
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

/// One of several processes that share a load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) address: SocketAddr,
    pub(crate) target: String,
    /// Where its connections come from.
    pub(crate) source: Ipv4Addr,
    /// How many conversations.
    pub(crate) conversations: usize,
    /// The agents speak events, and are `agents/count.py`; else they send back what they get.
    pub(crate) speaks_events: bool,
    /// How many messages.
    pub(crate) messages: usize,
    /// The first is due so long after the beginning, and then one each `every`.
    pub(crate) offset: Duration,
    pub(crate) every: Duration,
}

impl Part {
    /// As an argument.
    pub(crate) fn text(&self) -> String {
        json!({
            "address": self.address, "target": self.target, "source": self.source,
            "conversations": self.conversations, "speaks_events": self.speaks_events,
            "messages": self.messages, "offset_ns": self.offset.as_nanos() as u64,
            "every_ns": self.every.as_nanos() as u64,
        })
        .to_string()
    }

    fn read(text: &str) -> Result<Self> {
        let part: Value = serde_json::from_str(text)?;
        let number = |name: &str| part[name].as_u64().with_context(|| format!("{name} is no number"));
        let text = |name: &str| part[name].as_str().with_context(|| format!("{name} is no text"));
        Ok(Self {
            address: text("address")?.parse()?,
            target: text("target")?.to_owned(),
            source: text("source")?.parse()?,
            conversations: number("conversations")? as usize,
            speaks_events: part["speaks_events"].as_bool().context("speaks_events")?,
            messages: number("messages")? as usize,
            offset: Duration::from_nanos(number("offset_ns")?),
            every: Duration::from_nanos(number("every_ns")?),
        })
    }

    /// When a message is due, counted from the beginning.
    fn due(&self, message: usize) -> Duration {
        self.offset + self.every.mul_f64(message as f64)
    }
}

/// What became of the messages of one part, or of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) said: usize,
    pub(crate) answered: usize,
    /// Never answered.
    pub(crate) lost: usize,
    /// Answered after one that was said later, or got by the agent in another order.
    pub(crate) reordered: usize,
    /// Answered more than once.
    pub(crate) doubled: usize,
    /// Conversations that were not opened, were cut, or in which an error was said.
    pub(crate) failed: usize,
    /// The first few reasons for that.
    pub(crate) reasons: Vec<String>,
    /// From when each answered message was due until its answer was read, µs.
    pub(crate) took: Vec<u64>,
    /// How late messages were said, µs: the longest.
    pub(crate) late: u64,
}

/// Most reasons that are kept.
const REASONS: usize = 3;

impl Outcome {
    fn text(&self) -> String {
        json!({
            "said": self.said, "answered": self.answered, "lost": self.lost, "reordered": self.reordered,
            "doubled": self.doubled, "failed": self.failed, "reasons": self.reasons, "took_us": self.took,
            "late_us": self.late,
        })
        .to_string()
    }

    pub(crate) fn read(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).with_context(|| format!("{text:?} is no outcome"))?;
        let number = |name: &str| value[name].as_u64().with_context(|| format!("{name} is no number"));
        let list = |name: &str| value[name].as_array().with_context(|| format!("{name} is no list"));
        Ok(Self {
            said: number("said")? as usize,
            answered: number("answered")? as usize,
            lost: number("lost")? as usize,
            reordered: number("reordered")? as usize,
            doubled: number("doubled")? as usize,
            failed: number("failed")? as usize,
            reasons: list("reasons")?.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            took: list("took_us")?.iter().filter_map(Value::as_u64).collect(),
            late: number("late_us")?,
        })
    }

    /// What became of the messages of another part, too.
    pub(crate) fn add(&mut self, other: Self) {
        self.said += other.said;
        self.answered += other.answered;
        self.lost += other.lost;
        self.reordered += other.reordered;
        self.doubled += other.doubled;
        self.failed += other.failed;
        self.reasons.extend(other.reasons);
        self.took.extend(other.took);
        self.late = self.late.max(other.late);
    }

    fn fail(&mut self, reason: &anyhow::Error) {
        self.failed += 1;
        if self.reasons.len() < REASONS {
            self.reasons.push(format!("{reason:#}"));
        }
    }
}

/// The process: its one argument is its part.
pub(crate) fn main(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    procs::raise_open_files()?;
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let part = Part::read(&arguments.next().context("many-load PART")?)?;
    let mut crowd = Crowd::open(part)?;
    tell(&crowd.open_count().to_string())?;
    let begin = crowd.begin()?;
    crowd.talk(begin)?;
    tell(&crowd.outcome().text())?;
    // They stay open until they are no longer needed.
    crowd.until_end()
}

fn tell(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_outcomes_are_read_as_they_are_written() {
        let part = Part {
            address: "127.0.0.1:9090".parse().unwrap(),
            target: "/s/many/".to_owned(),
            source: Ipv4Addr::new(127, 0, 0, 10),
            conversations: 3,
            speaks_events: true,
            messages: 7,
            offset: Duration::from_micros(5),
            every: Duration::from_millis(2),
        };
        assert_eq!(Part::read(&part.text()).unwrap(), part);
        assert_eq!(part.due(3), Duration::from_micros(6005));
        let mut outcome = Outcome {
            said: 5,
            answered: 4,
            lost: 1,
            reordered: 1,
            took: vec![3, 4],
            late: 9,
            ..Outcome::default()
        };
        outcome.fail(&anyhow::anyhow!("cut"));
        assert_eq!(Outcome::read(&outcome.text()).unwrap(), outcome);
        outcome.add(outcome.clone());
        assert_eq!((outcome.said, outcome.failed, outcome.took.len(), outcome.late), (10, 2, 4, 9));
    }
}
