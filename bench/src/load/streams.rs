//! Clients that are told tokens by the quick agent, as by a model: one each so many milliseconds, each stream at moments of
//! its own; or as fast as they go.

use super::connect::{DEADLINE, Until, open_until};
use super::frames::{self, Counter};
use super::poll::Poll;
use super::{Measured, Meter, Place, of};
use crate::procs;
use crate::quick_agent::Order;
use anyhow::{Result, ensure};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of a token.
const TOKEN: usize = 60;
/// Until all have heard what is wanted of them.
const LEAD: Duration = Duration::from_millis(20);

/// How tokens come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// One each so often, from each stream.
    Each(Duration),
    /// As fast as they are taken.
    Flat,
}

/// Clients that are connected for as long as this is not dropped.
pub(crate) struct Streams {
    clients: Vec<Client>,
    poll: Poll,
    pace: Pace,
    buffer: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    counter: Counter,
    /// When its next token is due.
    due: Instant,
}

impl Streams {
    /// Opens so many.
    pub(crate) fn open(places: &[Place], count: usize, pace: Pace) -> Result<Self> {
        let poll = Poll::new()?;
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let place = of(places, number);
            let target = format!("{}/stream", place.target.trim_end_matches('/'));
            let stream = open_until(place.address, &target, Until::Upgrade)?.stream;
            poll.add(&stream, number)?;
            clients.push(Client { stream, counter: Counter::default(), due: Instant::now() });
        }
        Ok(Self { clients, poll, pace, buffer: vec![0; 256 * 1024] })
    }

    /// One round. Paced tokens are timed from the moment at which they are due; others are not timed.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Measured> {
        let (start, clock) = (Instant::now() + LEAD, procs::monotonic() + LEAD);
        let count = self.clients.len();
        for (number, client) in self.clients.iter_mut().enumerate() {
            let order = match self.pace {
                Pace::Each(every) => {
                    let phase = every * number as u32 / count as u32;
                    client.due = start + phase;
                    let tokens = (duration.as_nanos() / every.as_nanos()).max(1) as u32;
                    Order::Paced { bytes: TOKEN, first: clock + phase, every, count: tokens }
                }
                Pace::Flat => Order::Flat { bytes: TOKEN, until: clock + duration },
            };
            send(&client.stream, &frames::text(&order.text()), SendFlags::NOSIGNAL)?;
        }
        let mut meter = Meter::start(duration);
        let (mut over, mut tokens) = (0, 0);
        while over < count {
            let mut heard = false;
            for number in self.poll.wait(DEADLINE)? {
                heard = true;
                let client = &mut self.clients[number];
                let (messages, is_over) = client.read(&mut self.buffer)?;
                // The last message only says that there are no more.
                let here = messages - usize::from(is_over);
                if let Pace::Each(every) = self.pace {
                    let now = Instant::now();
                    for _ in 0..here {
                        meter.add(now.saturating_duration_since(client.due));
                        client.due += every;
                    }
                }
                tokens += here;
                over += usize::from(is_over);
            }
            ensure!(heard, "no token within {DEADLINE:?}");
        }
        Ok(meter.finish_with(tokens))
    }
}

impl Client {
    /// One read: how many messages have ended in it, and whether its last one has.
    fn read(&mut self, buffer: &mut [u8]) -> Result<(usize, bool)> {
        let count = match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, count)) => count,
            Err(Errno::AGAIN) => return Ok((0, false)),
            Err(error) => return Err(error.into()),
        };
        ensure!(count > 0, "a stream was cut");
        let messages = self.counter.feed(&buffer[..count]);
        for ping in self.counter.pings.drain(..) {
            send(&self.stream, &frames::pong(&ping), SendFlags::NOSIGNAL)?;
        }
        Ok((messages, buffer[count - 1] == b'.'))
    }
}
