//! `myagent-bench quick-agent`: a command agent that costs as little as an agent can, so that it is never what is measured.
//!
//! One thread, epoll, one receive and one send for a message. It sends back what it gets; asked for `…/stream` it says
//! tokens: so many that each is due at a time which its client knows, or as fast as they are taken.

mod client;

use crate::load::Poll;
use crate::procs;
use anyhow::{Context, Result};
use client::Client;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::TcpListener;
use std::num::NonZeroU64;
use std::time::Duration;

/// Number of the listener among what is waited for.
const LISTENER: usize = usize::MAX;
/// When nothing is due.
const LONG: Duration = Duration::from_hours(1);

/// What streams are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    /// So many tokens of so many bytes, the first at this time of the monotonic clock, then one each `every`.
    Paced { bytes: usize, first: Duration, every: Duration, count: u32 },
    /// Tokens of so many bytes as fast as they are taken, until this time.
    Flat { bytes: usize, until: Duration },
}

impl Order {
    /// As it is sent.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Paced { bytes, first, every, count } => {
                format!("paced {bytes} {} {} {count}", first.as_nanos(), every.as_nanos())
            }
            Self::Flat { bytes, until } => format!("flat {bytes} {}", until.as_nanos()),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (kind, numbers) = text.split_once(' ')?;
        let numbers: Vec<u64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        match (kind, &numbers[..]) {
            ("paced", [bytes, first, every, count]) => Some(Self::Paced {
                bytes: *bytes as usize,
                first: Duration::from_nanos(*first),
                every: Duration::from_nanos(*every),
                count: *count as u32,
            }),
            ("flat", [bytes, until]) => {
                Some(Self::Flat { bytes: *bytes as usize, until: Duration::from_nanos(*until) })
            }
            _ => None,
        }
    }
}

/// Serves on `$HOST:$PORT` until it is killed.
pub(crate) fn main() -> Result<()> {
    // A runner gives its agent the low limit that programs with `select` need.
    procs::raise_open_files()?;
    let port: u16 = std::env::var("PORT").context("PORT is not set")?.parse().context("PORT is no port")?;
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    serve(&TcpListener::bind((host.as_str(), port)).with_context(|| format!("port {port}"))?)
}

fn serve(listener: &TcpListener) -> Result<()> {
    // Tokens are due to the microsecond.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(listener, LISTENER)?;
    let mut agent = Agent { clients: Vec::new(), free: Vec::new(), due: BinaryHeap::new(), flat: Vec::new() };
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let wait = agent.wait();
        let ready: Vec<usize> = poll.wait(wait)?.collect();
        for number in ready {
            if number == LISTENER {
                agent.accept(listener, &poll)?;
            } else {
                agent.hear(number, &mut buffer, &poll);
            }
        }
        agent.speak(&poll);
    }
}

struct Agent {
    clients: Vec<Option<Client>>,
    /// Numbers that nobody has.
    free: Vec<usize>,
    /// When the next token of a paced stream is due.
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Who takes tokens as fast as they come.
    flat: Vec<usize>,
}

impl Agent {
    /// How long there is nothing to say.
    fn wait(&self) -> Duration {
        let takes = |number: &usize| self.clients[*number].as_ref().is_some_and(Client::takes_more);
        if self.flat.iter().any(takes) {
            return Duration::ZERO;
        }
        self.due.peek().map_or(LONG, |Reverse((at, _))| at.saturating_sub(procs::monotonic()))
    }

    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // It has left already.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("accept"),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            poll.add(&stream, number)?;
            self.clients[number] = Some(Client::new(stream));
        }
    }

    /// Something is there to read, or to write to.
    fn hear(&mut self, number: usize, buffer: &mut [u8], poll: &Poll) {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return };
        match client.hear(buffer) {
            Ok(None) => {}
            Ok(Some(order @ Order::Paced { first, .. })) => {
                client.order = Some(order);
                self.due.push(Reverse((first, number)));
            }
            Ok(Some(order @ Order::Flat { .. })) => {
                client.order = Some(order);
                self.flat.push(number);
            }
            Err(_) => return self.forget(number),
        }
        self.watch(number, poll);
    }

    /// Says what is due.
    fn speak(&mut self, poll: &Poll) {
        let now = procs::monotonic();
        while let Some(Reverse((at, number))) = self.due.peek().copied().filter(|Reverse((at, _))| *at <= now)
        {
            self.due.pop();
            let Some(client) = self.clients[number].as_mut() else { continue };
            match client.token(now) {
                Ok(Some(every)) => self.due.push(Reverse((at + every, number))),
                Ok(None) => {}
                Err(_) => self.forget(number),
            }
            self.watch(number, poll);
        }
        let mut index = 0;
        while let Some(number) = self.flat.get(index).copied() {
            let said = match self.clients[number].as_mut() {
                Some(client) if client.takes_more() => client.token(now),
                Some(_) => Ok(Some(Duration::ZERO)),
                None => Ok(None),
            };
            match said {
                Ok(Some(_)) => index += 1,
                Ok(None) => drop(self.flat.swap_remove(index)),
                Err(_) => self.forget(number),
            }
            self.watch(number, poll);
        }
    }

    fn forget(&mut self, number: usize) {
        self.clients[number] = None;
        self.flat.retain(|other| *other != number);
        self.due.retain(|Reverse((_, other))| *other != number);
        self.free.push(number);
    }

    /// Waits for room where something is still to be written, and no longer where there is not.
    fn watch(&mut self, number: usize, poll: &Poll) {
        let Some(client) = self.clients[number].as_mut() else { return };
        let writes = !client.takes_more();
        if client.is_watched != writes {
            client.is_watched = writes;
            if poll.watch(&client.stream, number, writes).is_err() {
                self.forget(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Echo, Pace, Place, Streams};

    /// An agent on a thread that ends with the test's process.
    fn agent() -> Vec<Place> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let places = vec![Place::new(listener.local_addr().unwrap(), "/x")];
        std::thread::spawn(move || serve(&listener));
        places
    }

    #[test]
    fn orders_are_read_as_they_are_written() {
        for order in [
            Order::Paced {
                bytes: 60,
                first: Duration::from_secs(3),
                every: Duration::from_millis(20),
                count: 9,
            },
            Order::Flat { bytes: 60, until: Duration::from_nanos(7) },
        ] {
            assert_eq!(Order::read(&order.text()), Some(order));
        }
        assert_eq!(Order::read("flat"), None);
        assert_eq!(Order::read("flat x 1"), None);
    }

    #[test]
    fn messages_of_every_length_come_back() {
        let places = agent();
        for bytes in [0, 16, 126, 65_536] {
            let mut echo = Echo::open(&places, 4, bytes).unwrap();
            let closed = echo.run(Duration::from_millis(20)).unwrap();
            assert!(closed.count >= 4, "{bytes}: {closed:?}");
            let paced = echo.paced(1000.0, Duration::from_millis(20)).unwrap();
            assert_eq!(paced.count, 20, "{bytes}");
        }
    }

    #[test]
    fn tokens_come_in_number_and_in_time() {
        let places = agent();
        let every = Duration::from_millis(2);
        let mut streams = Streams::open(&places, 5, Pace::Each(every)).unwrap();
        for _ in 0..2 {
            let paced = streams.run(Duration::from_millis(20)).unwrap();
            assert_eq!(paced.count, 50);
        }
        let mut streams = Streams::open(&places, 5, Pace::Flat).unwrap();
        for _ in 0..2 {
            let flat = streams.run(Duration::from_millis(20)).unwrap();
            assert!(flat.count >= 5, "{flat:?}");
        }
    }
}
