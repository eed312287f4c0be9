//! The conversations of one part: opened one after the other, heard whenever something is there, and each told to speak when a
//! message of it is due.

use super::talker::Talker;
use super::{Outcome, Part};
use crate::load::Poll;
use crate::load::connect::DEADLINE;
use crate::procs;
use anyhow::{Context, Result, ensure};
use std::io::stdin;
use std::time::Duration;

/// Number of stdin among what is waited for.
const ORDERS: usize = usize::MAX;
/// So many messages of a conversation are due one right after the other: their order is at stake.
const IN_A_ROW: usize = 2;
/// After so many new conversations the others are heard.
const OPEN_AT_ONCE: usize = 64;
/// When nothing is due.
const LONG: Duration = Duration::from_hours(1);

pub(super) struct Crowd {
    part: Part,
    /// None: it has failed.
    talkers: Vec<Option<Talker>>,
    poll: Poll,
    buffer: Vec<u8>,
    outcome: Outcome,
}

impl Crowd {
    /// Opens all of them.
    pub(super) fn open(part: Part) -> Result<Self> {
        let mut crowd = Self {
            talkers: Vec::with_capacity(part.conversations),
            part,
            poll: Poll::new()?,
            buffer: vec![0; 256 * 1024],
            outcome: Outcome::default(),
        };
        for number in 0..crowd.part.conversations {
            let opened = Talker::open(&crowd.part, number).and_then(|talker| {
                crowd.poll.add(talker.stream(), number)?;
                Ok(talker)
            });
            let opened = opened.map_err(|error| crowd.outcome.fail(&error.context("not opened")));
            crowd.talkers.push(opened.ok());
            if number % OPEN_AT_ONCE == 0 {
                crowd.listen(Duration::ZERO)?;
            }
        }
        // Not before: while they are opened nobody says anything on stdin.
        crowd.poll.add(stdin(), ORDERS)?;
        Ok(crowd)
    }

    /// How many are open.
    pub(super) fn open_count(&self) -> usize {
        self.talkers.iter().flatten().count()
    }

    /// Waits for a line on stdin with the moment at which everybody begins, in nanoseconds of the monotonic clock.
    pub(super) fn begin(&mut self) -> Result<Duration> {
        while !self.listen(LONG)?.is_ordered {}
        let mut line = String::new();
        stdin().read_line(&mut line)?;
        let begin = line.trim().parse().with_context(|| format!("{line:?} is no beginning"))?;
        Ok(Duration::from_nanos(begin))
    }

    /// Says every message when it is due, and waits for the answers until nothing more comes.
    pub(super) fn talk(&mut self, begin: Duration) -> Result<()> {
        let mut said = 0;
        let mut heard = procs::monotonic();
        loop {
            let mut due = begin + self.part.due(said);
            let mut now = procs::monotonic();
            while said < self.part.messages && due <= now {
                self.say(said, due);
                self.outcome.late = self.outcome.late.max(now.saturating_sub(due).as_micros() as u64);
                said += 1;
                due = begin + self.part.due(said);
                now = procs::monotonic();
                heard = now;
            }
            let is_over = said == self.part.messages;
            if is_over && (self.unanswered() == 0 || now.saturating_sub(heard) > DEADLINE) {
                return Ok(());
            }
            let wait = if is_over { DEADLINE } else { due.saturating_sub(now) };
            let listened = self.listen(wait)?;
            ensure!(!listened.is_ordered, "whoever started this has ended");
            if listened.is_answered {
                heard = procs::monotonic();
            }
        }
    }

    /// What became of all messages so far.
    pub(super) fn outcome(&mut self) -> &Outcome {
        self.outcome.lost = self.outcome.said - self.outcome.answered;
        &self.outcome
    }

    /// Stays until stdin ends.
    pub(super) fn until_end(&mut self) -> Result<()> {
        while !self.listen(LONG)?.is_ordered {}
        Ok(())
    }

    fn unanswered(&self) -> usize {
        self.talkers.iter().flatten().map(Talker::unanswered).sum()
    }

    fn say(&mut self, message: usize, due: Duration) {
        self.outcome.said += 1;
        let number = message / IN_A_ROW % self.talkers.len();
        let slot = &mut self.talkers[number];
        if let Some(talker) = slot
            && let Err(error) = talker.say(due)
        {
            self.outcome.fail(&error);
            *slot = None;
        }
    }

    /// Waits for something, and hears everything that is there.
    fn listen(&mut self, wait: Duration) -> Result<Listened> {
        let mut listened = Listened::default();
        for number in self.poll.wait(wait)? {
            if number == ORDERS {
                listened.is_ordered = true;
                continue;
            }
            let slot = &mut self.talkers[number];
            let Some(talker) = slot else { continue };
            match talker.hear(&mut self.buffer, &mut self.outcome) {
                Ok(is_answered) => listened.is_answered |= is_answered,
                Err(error) => {
                    self.outcome.fail(&error);
                    *slot = None;
                }
            }
        }
        Ok(listened)
    }
}

#[derive(Default)]
struct Listened {
    /// stdin has something, or has ended.
    is_ordered: bool,
    is_answered: bool,
}
