//! One direction of a conversation: from one socket to the other.
//!
//! Bytes are read into a buffer that all connections share and written from there; only what the other side does not take is
//! kept here, and nothing more is read until it is gone. So back-pressure needs no bookkeeping, at most one buffer full of
//! bytes is kept for each direction, and an idle direction keeps none.

use crate::scanner::Scanner;
use rustix::io::retry_on_intr;
use rustix::net::SendFlags;
use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Size of the shared read buffer, and so the most that is kept of one direction, bytes.
pub(crate) const BUFFER: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) scanner: Scanner,
    /// Bytes that the sink has not taken, from `kept_from`.
    kept: Vec<u8>,
    kept_from: usize,
    /// The sink has taken bytes that it has not passed on: TLS does.
    unflushed: bool,
    state: State,
    /// The source will give nothing more.
    pub(crate) source_ended: bool,
    /// It ended because its network did not answer the kernel any more.
    pub(crate) timed_out: bool,
    /// Since when the sink takes nothing although something is kept for it.
    pub(crate) stalled_since: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Bytes pass.
    Open,
    /// Bytes pass up to the end of the frame, then this follows and it is over.
    Cutting(Vec<u8>),
    /// What is kept is still to be written, then the sink's write side is shut.
    Finishing,
    /// The sink's write side is shut or broken; what the source still sends is thrown away.
    Shut,
}

/// Why [`Flow::pump`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// It will be woken.
    Waiting,
    /// The source closed its side (or, `reset`, the connection broke). Told once.
    SourceEnded { reset: bool },
    /// The sink takes no more; the flow is shut.
    SinkFailed,
}

/// What to do with bytes that were read.
pub(crate) enum Verdict {
    /// Pass them on.
    Forward,
    /// Pass these on instead.
    Replace(Vec<u8>),
    /// Pass so many of them on, and finish.
    Last(usize),
}

impl Flow {
    pub(crate) fn new() -> Self {
        Self {
            scanner: Scanner::new(),
            kept: Vec::new(),
            kept_from: 0,
            unflushed: false,
            state: State::Open,
            source_ended: false,
            timed_out: false,
            stalled_since: None,
        }
    }

    /// Nothing more will be written to the sink.
    pub(crate) fn is_shut(&self) -> bool {
        matches!(self.state, State::Shut)
    }

    /// Bytes pass.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The sink has not taken everything, or not passed it on.
    pub(crate) fn keeps(&self) -> bool {
        !self.kept.is_empty() || self.unflushed
    }

    /// Puts bytes behind what is kept; they go out at the next pump.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    /// Sends what is kept without waiting until the runtime has heard that the sink takes any: for the first bytes on a new
    /// socket. Whether that failed is told by the next pump.
    pub(crate) fn send_now(&mut self, sink: impl AsFd) {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match retry_on_intr(|| rustix::net::send(&sink, &self.kept[self.kept_from..], flags)) {
            Ok(sent) if self.kept_from + sent == self.kept.len() => self.forget_kept(),
            Ok(sent) => self.kept_from += sent,
            Err(_) => {}
        }
    }

    /// Ends after what is kept.
    pub(crate) fn finish(&mut self) {
        if !self.is_shut() {
            self.state = State::Finishing;
        }
    }

    /// Ends with `tail` behind the frame that is passing (at once if there is none).
    pub(crate) fn cut(&mut self, tail: Vec<u8>) {
        if self.is_open() && self.scanner.at_boundary() {
            self.push(&tail);
            self.state = State::Finishing;
        } else if self.is_open() {
            self.state = State::Cutting(tail);
        }
    }

    /// The frame has not ended in time: ends in the middle of it.
    pub(crate) fn cut_now(&mut self) {
        if matches!(self.state, State::Cutting(_)) {
            self.state = State::Finishing;
        }
    }

    /// The sink is gone, or must get nothing more.
    pub(crate) fn abandon(&mut self) {
        self.state = State::Shut;
        self.forget_kept();
    }

    /// Moves bytes until one of the sockets would block, or something ends. `inspect` sees what was read while the flow is
    /// open.
    pub(crate) fn pump(
        &mut self,
        context: &mut Context<'_>,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
        buffer: &RefCell<Box<[u8]>>,
        mut inspect: impl FnMut(&mut Scanner, &[u8]) -> Verdict,
    ) -> Pumped {
        loop {
            if self.keeps() {
                match self.write_kept(context, sink) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Pumped::SinkFailed,
                    Poll::Pending => return Pumped::Waiting,
                }
            }
            if matches!(self.state, State::Finishing) {
                // An error means that the other side is gone already, which is what is wanted.
                if Pin::new(&mut *sink).poll_shutdown(context).is_pending() {
                    return Pumped::Waiting;
                }
                self.state = State::Shut;
            }
            if self.source_ended {
                return Pumped::Waiting;
            }
            let mut buffer = buffer.borrow_mut();
            let mut read = ReadBuf::new(&mut buffer);
            let reset = match Pin::new(&mut *source).poll_read(context, &mut read) {
                Poll::Pending => return Pumped::Waiting,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    if !self.pass(context, sink, read.filled(), &mut inspect) {
                        return Pumped::SinkFailed;
                    }
                    continue;
                }
                // Over TLS, an end without a goodbye is an error; for a conversation it is an end like any other.
                Poll::Ready(result) => {
                    let error = result.err().map(|error| error.kind());
                    self.timed_out = error == Some(io::ErrorKind::TimedOut);
                    error.is_some_and(|kind| kind != io::ErrorKind::UnexpectedEof)
                }
            };
            self.source_ended = true;
            return Pumped::SourceEnded { reset };
        }
    }

    /// Passes bytes on; false: the sink has failed.
    fn pass(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
        inspect: &mut impl FnMut(&mut Scanner, &[u8]) -> Verdict,
    ) -> bool {
        match &mut self.state {
            State::Open => {}
            State::Cutting(tail) => {
                let Some(end) = self.scanner.scan_to_boundary(bytes) else {
                    return self.write(context, sink, bytes);
                };
                let tail = std::mem::take(tail);
                self.state = State::Finishing;
                let alive = self.write(context, sink, &bytes[..end]);
                self.kept.extend_from_slice(if alive { &tail } else { &[] });
                return alive;
            }
            State::Finishing | State::Shut => return true,
        }
        match inspect(&mut self.scanner, bytes) {
            Verdict::Forward => self.write(context, sink, bytes),
            Verdict::Replace(bytes) => bytes.is_empty() || self.write(context, sink, &bytes),
            Verdict::Last(count) => {
                self.state = State::Finishing;
                self.write(context, sink, &bytes[..count])
            }
        }
    }

    /// Writes bytes, keeping what the sink does not take; nothing is kept before. False: the sink has failed.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        sink: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let written = match Pin::new(&mut *sink).poll_write(context, bytes) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => {
                self.abandon();
                return false;
            }
            Poll::Pending => 0,
        };
        if written < bytes.len() {
            self.push(&bytes[written..]);
            self.stalled_since = Some(Instant::now());
            return true;
        }
        match Pin::new(sink).poll_flush(context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => {
                self.abandon();
                false
            }
            Poll::Pending => {
                self.unflushed = true;
                self.stalled_since = Some(Instant::now());
                true
            }
        }
    }

    /// Ready: everything kept is written (true), or the sink has failed (false).
    fn write_kept(&mut self, context: &mut Context<'_>, sink: &mut (impl AsyncWrite + Unpin)) -> Poll<bool> {
        while self.kept_from < self.kept.len() {
            match Pin::new(&mut *sink).poll_write(context, &self.kept[self.kept_from..]) {
                Poll::Ready(Ok(written)) => {
                    self.kept_from += written;
                    self.stalled_since = Some(Instant::now());
                }
                Poll::Ready(Err(_)) => {
                    self.abandon();
                    return Poll::Ready(false);
                }
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        match Pin::new(sink).poll_flush(context) {
            Poll::Ready(Ok(())) => {
                self.forget_kept();
                Poll::Ready(true)
            }
            Poll::Ready(Err(_)) => {
                self.abandon();
                Poll::Ready(false)
            }
            Poll::Pending => {
                // The sink has it all: no room is kept while it waits.
                let waits_already = self.stalled_since.filter(|_| self.kept.is_empty());
                self.forget_kept();
                self.unflushed = true;
                self.stalled_since = waits_already.or_else(|| Some(Instant::now()));
                Poll::Pending
            }
        }
    }

    fn forget_kept(&mut self) {
        self.kept = Vec::new();
        self.kept_from = 0;
        self.unflushed = false;
        self.stalled_since = None;
    }
}
