//! The agent's output: read at once whatever happens, kept in memory (the last lines), and given to the I/O thread.
//!
//! **Invariant: the agent never waits for us.** Reading is the only thing on the way; lines that the writer cannot take,
//! or that come faster than [`RATE`], are counted instead of written. They still pass through the memory of the last
//! lines, so that the words before a crash are there even after a flood.

use crate::event::Event;
use crate::log_lines::{Assembler, Tail};
use crate::log_writer::{Batch, LogFiles, LogWriter, Stream};
use myagent_core::Clock;
use regex::bytes::Regex;
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Bytes per second that are written in the long run, and how many may come at once.
const RATE: f64 = 10.0 * 1024.0 * 1024.0;
/// A line without its end is shown after this time.
const PARTIAL_AFTER: Duration = Duration::from_millis(200);
/// Read at once; also asked for as the size of the pipes.
const READ: usize = 64 * 1024;
const PIPE: usize = 512 * 1024;
/// Reads of one stream before the others get their turn.
const READS_IN_A_ROW: u32 = 8;
/// Drops are told at most this often: in the log, and as a notice.
const DROPS_IN_LOG_EVERY: Duration = Duration::from_secs(1);
const NOTICE_EVERY: Duration = Duration::from_mins(1);

/// Output of the agent, for as long as the runner lives.
pub(crate) struct Logs {
    shared: Rc<Shared>,
    readers: RefCell<JoinSet<()>>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    events: mpsc::Sender<Event>,
    writer: RefCell<Option<LogWriter>>,
    tail: RefCell<Tail>,
    ready: RefCell<Option<Regex>>,
    flow: RefCell<Flow>,
    dropped: Cell<u64>,
    buffer: RefCell<Vec<u8>>,
    reading: Cell<usize>,
    ended: Notify,
}

/// How much may still be written, and what was dropped since it was last told.
struct Flow {
    tokens: f64,
    at: Instant,
    untold: u64,
    told: Option<Instant>,
    noticed: Option<Instant>,
}

impl Logs {
    /// Starts the I/O thread. `ready`: a line that matches makes an [`Event::ReadyLine`], once.
    pub(crate) fn start(
        files: LogFiles,
        ready: Option<&str>,
        clock: Arc<dyn Clock>,
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let ready = ready.map(Regex::new).transpose().map_err(io::Error::other)?;
        let flow = Flow { tokens: RATE, at: Instant::now(), untold: 0, told: None, noticed: None };
        Ok(Self {
            shared: Rc::new(Shared {
                clock,
                events,
                writer: RefCell::new(Some(LogWriter::start(files)?)),
                tail: RefCell::default(),
                ready: RefCell::new(ready),
                flow: RefCell::new(flow),
                dropped: Cell::new(0),
                buffer: RefCell::default(),
                reading: Cell::new(0),
                ended: Notify::new(),
            }),
            readers: RefCell::default(),
        })
    }

    /// Reads these pipes until their last writer is gone.
    pub(crate) fn follow(&self, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
        let mut readers = self.readers.borrow_mut();
        while readers.try_join_next().is_some() {}
        for (stream, descriptor) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            // More room for the time in which this thread is busy. A refusal (a per-user limit) costs only that.
            let _ = rustix::pipe::fcntl_setpipe_size(&descriptor, PIPE);
            let pipe = pipe::Receiver::from_owned_fd(descriptor)?;
            self.shared.reading.set(self.shared.reading.get() + 1);
            readers.spawn_local(read(Rc::clone(&self.shared), pipe, stream));
        }
        Ok(())
    }

    /// Waits until all that the agent wrote is read: until every pipe is at its end, at most this long (somebody else may
    /// hold one open).
    pub(crate) async fn drained(&self, limit: Duration) {
        let all_ended = async {
            while self.shared.reading.get() > 0 {
                self.shared.ended.notified().await;
            }
        };
        let _ = timeout(limit, all_ended).await;
    }

    /// The last lines, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        self.shared.tail.borrow().last(count)
    }

    /// Lines that were not written.
    pub(crate) fn dropped(&self) -> u64 {
        let lost = self.shared.writer.borrow().as_ref().map_or(0, LogWriter::lost);
        self.shared.dropped.get() + lost
    }

    /// Stops reading, and gives the thread 2 s to write what it has.
    pub(crate) async fn close(&self) {
        self.readers.borrow_mut().abort_all();
        let writer = self.shared.writer.borrow_mut().take();
        if let Some(writer) = writer {
            writer.close(Duration::from_secs(2)).await;
        }
    }
}

/// Counts itself out however it ends.
struct Reading(Rc<Shared>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.set(self.0.reading.get() - 1);
        self.0.ended.notify_one();
        if self.0.reading.get() == 0 {
            self.0.buffer.take();
        }
    }
}

async fn read(shared: Rc<Shared>, pipe: pipe::Receiver, stream: Stream) {
    let reading = Reading(shared);
    let shared = &reading.0;
    let mut assembler = Assembler::default();
    loop {
        if assembler.has_partial() {
            if timeout(PARTIAL_AFTER, pipe.readable()).await.is_err() {
                shared.flush(stream, &mut assembler);
                continue;
            }
        } else if pipe.readable().await.is_err() {
            break;
        }
        match shared.read_some(stream, &pipe, &mut assembler) {
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) => {}
            Err(_) => break,
        }
    }
    shared.flush(stream, &mut assembler);
}

impl Shared {
    /// Reads what is there. True: there is more; an error: there is nothing more to come.
    fn read_some(
        &self,
        stream: Stream,
        pipe: &pipe::Receiver,
        assembler: &mut Assembler,
    ) -> io::Result<bool> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.resize(READ, 0);
        for _ in 0..READS_IN_A_ROW {
            match pipe.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    let mut lines = Vec::with_capacity(length);
                    let count = assembler.feed(&buffer[..length], &mut lines);
                    self.take(stream, lines, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn flush(&self, stream: Stream, assembler: &mut Assembler) {
        let mut lines = Vec::new();
        let count = assembler.flush(&mut lines);
        self.take(stream, lines, count);
    }

    fn take(&self, stream: Stream, lines: Vec<u8>, count: u64) {
        if count == 0 {
            return;
        }
        self.tail.borrow_mut().push(&lines, count);
        self.watch_for_ready(&lines);
        let now = Instant::now();
        let mut flow = self.flow.borrow_mut();
        let admitted = flow.admit(lines.len(), now);
        let tell = flow.untold > 0 && flow.told.is_none_or(|told| now - told >= DROPS_IN_LOG_EVERY);
        let dropped = if tell { flow.untold } else { 0 };
        let batch = Batch { at: self.clock.now(), stream, lines, dropped };
        if admitted && self.writer.borrow().as_ref().is_some_and(|writer| writer.offer(batch)) {
            if tell {
                flow.untold = 0;
                flow.told = Some(now);
            }
            return;
        }
        flow.untold += count;
        self.dropped.set(self.dropped.get() + count);
        if flow.noticed.is_none_or(|noticed| now - noticed >= NOTICE_EVERY) {
            flow.noticed = Some(now);
            let message =
                "output comes faster than it can be written; lines are dropped and counted".to_owned();
            let _ = self.events.try_send(Event::Notice { kind: "log_dropped".to_owned(), message });
        }
    }

    fn watch_for_ready(&self, lines: &[u8]) {
        let mut ready = self.ready.borrow_mut();
        let Some(pattern) = ready.as_ref() else { return };
        let seen = lines.split(|byte| *byte == b'\n').any(|line| pattern.is_match(line));
        // The pattern stays if the event could not be sent; the next match tries again.
        if seen && self.events.try_send(Event::ReadyLine).is_ok() {
            *ready = None;
        }
    }
}

impl Flow {
    fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * RATE).min(RATE);
        let admitted = self.tokens >= bytes as f64;
        if admitted {
            self.tokens -= bytes as f64;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_is_held_to_the_rate() {
        let start = Instant::now();
        let mut flow = Flow { tokens: RATE, at: start, untold: 0, told: None, noticed: None };
        let mut admitted = 0;
        for millisecond in 0..5000u32 {
            let now = start + Duration::from_millis(millisecond.into());
            if flow.admit(50 * 1024, now) {
                admitted += 50 * 1024;
            }
        }
        let expected = 6.0 * RATE;
        assert!((f64::from(admitted) - expected).abs() < RATE * 0.1, "{admitted}");
    }
}
