//! Messages that an agent sends back as they are: each client says its next one when it has the answer to the last, or all of
//! them say so many in a second whether they are answered or not.

use super::connect::{DEADLINE, Until, open_until};
use super::frames::{self, Counter};
use super::poll::Poll;
use super::{Measured, Meter, Place, of};
use anyhow::{Result, ensure};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::Instant;

/// Clients that are connected for as long as this is not dropped.
pub(crate) struct Echo {
    clients: Vec<Client>,
    poll: Poll,
    message: Vec<u8>,
    buffer: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    counter: Counter,
    /// Since when each answer that is still to come is waited for.
    since: VecDeque<Instant>,
}

impl Echo {
    /// Opens so many, and says one message of so many bytes on each.
    pub(crate) fn open(places: &[Place], count: usize, bytes: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let place = of(places, number);
            let stream = open_until(place.address, &place.target, Until::Upgrade)?.stream;
            stream.set_read_timeout(None)?;
            poll.add(&stream, number)?;
            clients.push(Client { stream, counter: Counter::default(), since: VecDeque::new() });
        }
        let mut echo = Self { clients, poll, message: frames::unmasked(bytes), buffer: vec![0; 256 * 1024] };
        echo.run(Duration::ZERO)?;
        Ok(echo)
    }

    /// One round of questions and answers.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Measured> {
        let mut meter = Meter::start(duration);
        for client in &mut self.clients {
            client.say(&self.message, Instant::now())?;
        }
        // Every answer is awaited, or the next round would begin with those of this one.
        let mut silent = 0;
        while silent < self.clients.len() {
            let mut heard = false;
            for number in self.poll.wait(DEADLINE)? {
                heard = true;
                let client = &mut self.clients[number];
                for _ in 0..client.read(&mut self.buffer)? {
                    if client.answered(&mut meter)? {
                        client.say(&self.message, Instant::now())?;
                    } else {
                        silent += 1;
                    }
                }
            }
            ensure!(heard, "no answer within {DEADLINE:?}");
        }
        Ok(meter.finish())
    }

    /// One round of so many messages a second in all. Each is timed from the moment at which it is due, so that waiting to be
    /// sent counts as waiting.
    pub(crate) fn paced(&mut self, rate: f64, duration: Duration) -> Result<Measured> {
        let total = (rate * duration.as_secs_f64()).round() as usize;
        let every = duration.div_f64(total as f64);
        // Not for longer: processes that are started from here would inherit it.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let measured = self.say_when_due(total, every, duration);
        rustix::thread::set_current_timer_slack(None)?;
        measured
    }

    fn say_when_due(&mut self, total: usize, every: Duration, duration: Duration) -> Result<Measured> {
        let mut meter = Meter::start(duration);
        let start = Instant::now();
        let (mut said, mut answered) = (0, 0);
        while answered < total {
            let mut due = start + every.mul_f64(said as f64);
            while said < total && due <= Instant::now() {
                let number = said % self.clients.len();
                self.clients[number].say(&self.message, due)?;
                said += 1;
                due = start + every.mul_f64(said as f64);
            }
            let wait = if said < total { due.saturating_duration_since(Instant::now()) } else { DEADLINE };
            let mut heard = false;
            for number in self.poll.wait(wait)? {
                heard = true;
                let client = &mut self.clients[number];
                for _ in 0..client.read(&mut self.buffer)? {
                    client.answered(&mut meter)?;
                    answered += 1;
                }
            }
            ensure!(heard || said < total, "no answer within {DEADLINE:?}");
        }
        Ok(meter.finish())
    }
}

impl Client {
    /// Says a message that was due at this moment.
    fn say(&mut self, message: &[u8], due: Instant) -> Result<()> {
        self.since.push_back(due);
        let mut rest = message;
        while !rest.is_empty() {
            // Large ones wait for room: the other side reads whatever we do.
            let sent = send(&self.stream, rest, SendFlags::NOSIGNAL)?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// One read; how many answers have ended in it.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        ensure!(count > 0, "a conversation was cut");
        let messages = self.counter.feed(&buffer[..count]);
        for ping in self.counter.pings.drain(..) {
            send(&self.stream, &frames::pong(&ping), SendFlags::NOSIGNAL)?;
        }
        Ok(messages)
    }

    /// Times the oldest message; false: the time is over.
    fn answered(&mut self, meter: &mut Meter) -> Result<bool> {
        let Some(since) = self.since.pop_front() else { anyhow::bail!("an answer to nothing") };
        Ok(meter.done(since, Instant::now()))
    }
}
