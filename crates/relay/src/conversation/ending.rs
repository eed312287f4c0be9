//! How a conversation ends: what either side, an operator or the clock does to it, and what each side is told.
//!
//! The rules are a table in `docs/design/relay.md`.

use super::{Active, Mode};
use crate::codec::{Opcode, write_close, write_masked_frame};
use crate::heartbeat::Beat;
use rustix::event::{PollFd, PollFlags};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a client may take to close once it has been sent everything.
const CLIENT_LINGER: Duration = Duration::from_secs(5);
/// How long both sides may take to end once the agent has sent a close frame.
const CLOSE_LINGER: Duration = Duration::from_secs(30);
/// How long an agent may go on once its client has closed.
const AGENT_LINGER: Duration = Duration::from_secs(30);
/// How long the end of an agent's connection and the word that the agent itself has ended wait for each other; whichever comes
/// second. Its connection may be seen to end first (without that word the client sees just what the agent did), or the
/// word may come while its last bytes are still unread.
const LAST_WORD: Duration = Duration::from_millis(200);
/// With this code the table closes connections when their agent has ended, or is about to.
const AGENT_ENDED: u16 = 1012;
/// How long the frame that is passing may take to end when the conversation is closed from outside, and how long it may take
/// until both sides are done. Less than [`myagent_core::wire::control::CLOSES_WITHIN`].
const CUT_LINGER: Duration = Duration::from_secs(1);
const LEAVE_LINGER: Duration = Duration::from_millis(1500);
impl Active {
    /// The client closed its side: the agent is told in the same way and may finish.
    pub(super) fn client_ended(&mut self) {
        self.up.finish();
        if matches!(self.mode, Mode::Frames) {
            self.note(1006, "the client went away");
            // An HTTP client may close its side and go on reading.
            self.linger_at_most(AGENT_LINGER);
        }
    }

    /// The client's connection broke: so does the agent's.
    pub(super) fn client_lost(&mut self) -> Poll<()> {
        if self.up.timed_out {
            self.entry.count_vanished();
            self.note(1006, "the client's network does not answer");
        }
        self.note(1006, "the client went away");
        reset_on_close(self.agent.socket());
        Poll::Ready(())
    }

    /// The agent closed its side, or its connection broke.
    pub(super) fn agent_ended(&mut self, reset: bool) {
        if let Mode::Http { status, .. } = self.mode {
            self.note(1000, &format!("HTTP answer {status} has ended"));
            self.down.finish();
        } else if self.note_close_frame() || self.up.source_ended || !self.down.is_open() {
            self.down.finish();
        } else if let Some(farewell) = self.farewell.take() {
            self.leave(farewell.0, &farewell.1);
            // In the middle of a frame no other can be sent, and this one will never end.
            self.down.cut_now();
        } else if self.down.scanner.at_boundary() && self.relay.owns_agent() {
            self.cut_by = Some(Instant::now() + LAST_WORD);
        } else {
            self.end_without_close();
        }
        if reset {
            self.up.abandon();
        }
    }

    /// The client sees what the agent did: the end of the stream.
    pub(super) fn end_without_close(&mut self) {
        self.note(1006, "the agent ended the connection without a close frame");
        self.down.finish();
    }

    /// Everything the client will get is written.
    pub(super) fn all_sent(&mut self) {
        self.linger_at_most(CLIENT_LINGER);
        if let Mode::Http { status, .. } = self.mode {
            self.note(1000, &format!("HTTP answer {status} has ended"));
            // The agent may keep its connection open for another request that will not come.
            self.up.abandon();
            self.down.source_ended = true;
        }
    }

    /// Somebody asked for this conversation to be closed.
    pub(super) fn asked_to_close(&mut self, code: u16, reason: String) {
        if code == AGENT_ENDED && self.relay.owns_agent() && !self.down.source_ended {
            self.farewell = Some(Box::new((code, reason)));
            self.cut_by = Some(Instant::now() + LAST_WORD);
        } else {
            self.leave(code, &reason);
        }
    }

    /// Closes both sides with a code.
    pub(super) fn leave(&mut self, code: u16, reason: &str) {
        self.leaving = true;
        self.note(code, reason);
        let now = Instant::now();
        if code == 1006 {
            // Without a word.
            self.linger = Some(now);
            self.down.abandon();
            self.tell_agent();
            return;
        }
        self.linger = Some(now + LEAVE_LINGER);
        if matches!(self.mode, Mode::Http { .. }) {
            self.down.finish();
            self.up.finish();
            return;
        }
        self.cut_by = Some(now + CUT_LINGER);
        let mut frame = Vec::new();
        write_close(&mut frame, code, reason);
        self.down.cut(frame);
        self.tell_agent();
    }

    /// Ends the agent's side: with a close frame where one can stand.
    pub(super) fn tell_agent(&mut self) {
        if self.up.is_open() && (self.up.scanner.at_boundary() || self.heart.holds()) {
            let mut frame = Vec::new();
            let key = self.entry.id().0.as_fields().0.to_be_bytes();
            write_masked_frame(&mut frame, Opcode::Close, &1001_u16.to_be_bytes(), key);
            self.up.push(&frame);
        }
        self.up.finish();
    }

    /// Something may be due. Ready: it is over.
    pub(super) fn on_time(&mut self, now: Instant) -> Poll<()> {
        if self.linger.is_some_and(|at| at <= now) {
            return Poll::Ready(());
        }
        if self.cut_by.is_some_and(|at| at <= now) {
            self.cut_by = None;
            if let Some(farewell) = self.farewell.take() {
                self.leave(farewell.0, &farewell.1);
            } else if self.down.is_open() {
                self.end_without_close();
            } else {
                self.down.cut_now();
            }
        }
        if self.down.stalled_since.is_some_and(|since| since + self.relay.slow_client <= now) {
            self.entry.count_slow();
            return self.drop_client(1013, "slow_client");
        }
        if !self.beats() {
            return Poll::Pending;
        }
        if self.up.keeps() {
            // The agent does not read, so neither do we: the client cannot be heard, only be seen to have gone.
            if has_gone(&self.client) {
                self.note(1006, "the client went away");
                self.linger_at_most(AGENT_LINGER);
            }
            self.heart.heard(now);
        }
        match self.heart.check(now) {
            Beat::Nothing => {}
            Beat::Ping if self.down.scanner.at_boundary() && !self.down.keeps() => {
                let ping = self.heart.ping(now);
                self.down.push(&ping);
            }
            Beat::Ping => self.heart.postpone(now),
            Beat::Dead => {
                self.entry.count_vanished();
                return self.drop_client(1006, "no answer to a ping");
            }
        }
        Poll::Pending
    }

    /// Gives the client up without a word (it would not get one) and tells the agent.
    pub(super) fn drop_client(&mut self, code: u16, reason: &str) -> Poll<()> {
        self.note(code, reason);
        self.tell_agent();
        // One try: an agent that does not read now sees only the end.
        let mut context = Context::from_waker(std::task::Waker::noop());
        let _ = self.pump_up(&mut context);
        reset_on_close(&self.client);
        Poll::Ready(())
    }

    pub(super) fn end(mut self: Box<Self>) {
        let (code, reason) = self.ending.take().unwrap_or((1006, String::new()));
        // The front door may still have the descriptor: without this the client would not see the end until it closes.
        for socket in [&self.client, self.agent.socket()] {
            let reset = rustix::net::sockopt::socket_linger(socket).is_ok_and(|linger| linger.is_some());
            if !reset {
                let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
            }
        }
        self.entry.close(code, &reason);
    }

    /// The client is pinged: not behind a close frame.
    pub(super) fn beats(&self) -> bool {
        matches!(self.mode, Mode::Frames)
            && self.up.is_open()
            && self.down.is_open()
            && self.down.scanner.close().is_none()
    }

    pub(super) fn linger_at_most(&mut self, time: Duration) {
        let at = Instant::now() + time;
        self.linger = Some(self.linger.map_or(at, |other| other.min(at)));
    }

    pub(super) fn note(&mut self, code: u16, reason: &str) {
        self.ending.get_or_insert_with(|| (code, reason.to_owned()));
    }

    /// Whether either side has sent a close frame; it is how the conversation ends.
    pub(super) fn note_close_frame(&mut self) -> bool {
        let Some((code, reason)) = self.up.scanner.close().or_else(|| self.down.scanner.close()) else {
            return false;
        };
        if self.ending.is_none() {
            self.ending = Some((code, reason.to_owned()));
        }
        if self.linger.is_none() && self.down.scanner.close().is_some() {
            self.linger_at_most(CLOSE_LINGER);
        }
        true
    }
}

/// Whether the other side has closed its side, or the connection is broken, whatever is still unread.
fn has_gone(socket: &TcpStream) -> bool {
    let mut watched = [PollFd::new(socket, PollFlags::RDHUP)];
    let now = rustix::event::Timespec::default();
    rustix::event::poll(&mut watched, Some(&now)).is_ok_and(|count| count > 0)
}

/// The other side sees a broken connection, as it is, when the socket is closed.
fn reset_on_close(socket: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
