//! A client and its agent, from the answer to the handshake until both sides are done.
//!
//! Both directions are moved by one task: whichever socket wakes it, both are looked at, which costs nothing for the one
//! that has nothing. [`crate::flow`] moves the bytes, [`ending`] decides how a conversation ends and what each side is told of it,
//! [`crate::heartbeat`] says when the client has been silent for too long.

mod ending;

use crate::codec::{Opcode, write_frame};
use crate::flow::{Flow, Pumped, Verdict};
use crate::heartbeat::Heartbeat;
use crate::relay::Relay;
use crate::table::Entry;

use myagent_core::http::Body;
use myagent_tls::Stream;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// When there is nothing to wait for.
const FAR: Duration = Duration::from_hours(24);

/// A conversation that is ready to run.
pub struct Conversation {
    /// None: it ended before it began.
    active: Option<Box<Active>>,
}

/// What passes through after the handshake.
pub(crate) enum Mode {
    /// WebSocket frames.
    Frames,
    /// The body of an HTTP answer.
    Http {
        /// Its status.
        status: u16,
        /// Where it ends.
        body: Box<Body>,
    },
}

/// What was read, or is to be written, before the sockets are looked at.
pub(crate) struct Opening {
    /// The head of the answer.
    pub(crate) to_client: Vec<u8>,
    /// What the agent sent behind it.
    pub(crate) from_agent: Vec<u8>,
    /// What the client sent behind its request.
    pub(crate) from_client: Vec<u8>,
}

struct Active {
    relay: Rc<Relay>,
    entry: Entry,
    client: TcpStream,
    agent: Stream,
    /// Client to agent.
    up: Flow,
    /// Agent to client.
    down: Flow,
    mode: Mode,
    heart: Heartbeat,
    /// How it ends, once that is known; the first cause counts.
    ending: Option<(u16, String)>,
    /// When it is over even if a side is not done.
    linger: Option<Instant>,
    /// When the frame that is passing is cut short, or (there is none) the stream ends without a close frame.
    cut_by: Option<Instant>,
    /// The timer was looked at since it was set, and so will wake the task.
    timer_watched: bool,
    /// It was asked to close.
    leaving: bool,
    /// It was asked to close once the agent's connection has ended.
    farewell: Option<Box<(u16, String)>>,
}

impl Conversation {
    pub(crate) fn over() -> Self {
        Self { active: None }
    }

    pub(crate) fn new(
        relay: Rc<Relay>,
        entry: Entry,
        client: TcpStream,
        agent: Stream,
        mode: Mode,
        opening: &Opening,
        now: Instant,
    ) -> Self {
        let heart = Heartbeat::new(entry.id(), now);
        let mut active = Active {
            relay,
            entry,
            client,
            agent,
            up: Flow::new(),
            down: Flow::new(),
            mode,
            heart,
            ending: None,
            linger: None,
            cut_by: None,
            timer_watched: false,
            leaving: false,
            farewell: None,
        };
        active.open(opening);
        Self { active: Some(Box::new(active)) }
    }

    /// Moves the bytes until both sides are done, then enters the end into the table. Dropped before, both sockets close and
    /// the connection is recorded as 1006. To be given to one task whole: its timer wakes the task that polled it first.
    pub async fn run(self) {
        let Some(mut active) = self.active else { return };
        {
            let mut timer = pin!(sleep_until(active.deadline()));
            poll_fn(|context| active.poll(context, timer.as_mut())).await;
        }
        active.end();
    }
}

impl Active {
    /// What came behind the heads is followed like everything after it.
    fn open(&mut self, opening: &Opening) {
        let Self { up, down, mode, entry, .. } = self;
        down.push(&opening.to_client);
        let passed = match mode {
            Mode::Frames => {
                count_down(&mut down.scanner, entry, &opening.from_agent);
                opening.from_agent.len()
            }
            Mode::Http { body, .. } => {
                entry.add_in(1, 0);
                entry.add_out(1, opening.from_agent.len() as u64);
                let last = end_in(body, &opening.from_agent);
                if last.is_some() {
                    down.finish();
                }
                last.unwrap_or(opening.from_agent.len())
            }
        };
        down.push(&opening.from_agent[..passed]);
        if !opening.from_client.is_empty() {
            count_up(&mut up.scanner, entry, &opening.from_client);
            up.push(&opening.from_client);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        if !self.leaving
            && self.farewell.is_none()
            && let Poll::Ready((code, reason)) = self.entry.poll_disconnected(context)
        {
            self.asked_to_close(code, reason);
        }
        if self.entry.has_notice() {
            self.tell();
        }
        loop {
            if self.move_bytes(context).is_ready() {
                return Poll::Ready(());
            }
            // Usually the deadline has moved away since the timer was set; it is set again only when it fires.
            let deadline = self.deadline();
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
                self.timer_watched = false;
            }
            if self.timer_watched && !timer.is_elapsed() {
                return Poll::Pending;
            }
            self.timer_watched = true;
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if self.on_time(now).is_ready() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.deadline().max(now + Duration::from_millis(1)));
            self.timer_watched = false;
        }
    }

    /// Moves what can be moved. Ready: it is over.
    fn move_bytes(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // Whoever sends a close frame first says how it ends; the other only answers.
            let up = self.pump_up(context);
            self.note_close_frame();
            let down = self.pump_down(context);
            self.note_close_frame();
            if let Pumped::SourceEnded { reset } = up {
                if reset {
                    return self.client_lost();
                }
                self.client_ended();
            }
            match down {
                Pumped::SourceEnded { reset } => self.agent_ended(reset),
                Pumped::SinkFailed => return self.client_lost(),
                Pumped::Waiting => {}
            }
            if self.down.is_shut() {
                self.all_sent();
            }
            if self.up.is_shut() && self.down.is_shut() && self.up.source_ended && self.down.source_ended {
                return Poll::Ready(());
            }
            if up == Pumped::Waiting && down == Pumped::Waiting {
                return Poll::Pending;
            }
        }
    }

    fn pump_up(&mut self, context: &mut Context<'_>) -> Pumped {
        let Self { relay, entry, client, agent, up, mode, heart, .. } = self;
        up.pump(context, client, agent, &relay.buffer, |scanner, bytes| {
            if matches!(mode, Mode::Http { .. }) {
                entry.add_in(0, bytes.len() as u64);
                return Verdict::Forward;
            }
            heart.heard(Instant::now());
            if heart.filters() {
                let (passed, messages) = heart.filter(scanner, bytes);
                entry.add_in(messages, passed.len() as u64);
                note_session(scanner.take_session(), entry);
                return Verdict::Replace(passed);
            }
            count_up(scanner, entry, bytes);
            Verdict::Forward
        })
    }

    fn pump_down(&mut self, context: &mut Context<'_>) -> Pumped {
        let Self { relay, entry, client, agent, down, mode, .. } = self;
        down.pump(context, agent, client, &relay.buffer, |scanner, bytes| match mode {
            Mode::Frames if entry.has_notice() => Verdict::Replace(with_notices(scanner, entry, bytes)),
            Mode::Frames => {
                count_down(scanner, entry, bytes);
                Verdict::Forward
            }
            Mode::Http { body, .. } => {
                entry.add_out(0, bytes.len() as u64);
                end_in(body, bytes).map_or(Verdict::Forward, Verdict::Last)
            }
        })
    }

    /// There is something of our own to say: at once if the stream stands between two messages, else behind the one that is
    /// passing, or never.
    fn tell(&mut self) {
        let told = matches!(self.mode, Mode::Frames) && self.down.is_open();
        if !told || self.down.scanner.between_messages() {
            let frames = notices(&self.down.scanner, &self.entry);
            if told {
                self.down.push(&frames);
            }
        }
    }

    fn deadline(&self) -> Instant {
        let stalled = self.down.stalled_since.map(|since| since + self.relay.slow_client);
        let beat = self.beats().then(|| self.heart.deadline());
        let due = [self.linger, self.cut_by, stalled, beat];
        due.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + FAR)
    }
}

fn count_up(scanner: &mut crate::scanner::Scanner, entry: &Entry, bytes: &[u8]) {
    entry.add_in(scanner.scan(bytes), bytes.len() as u64);
    note_session(scanner.take_session(), entry);
}

fn count_down(scanner: &mut crate::scanner::Scanner, entry: &Entry, bytes: &[u8]) {
    entry.add_out(scanner.scan(bytes), bytes.len() as u64);
    note_session(scanner.take_session(), entry);
}

/// The frames of what there is to say of our own; nothing once the agent has said goodbye.
fn notices(scanner: &crate::scanner::Scanner, entry: &Entry) -> Vec<u8> {
    let mut frames = Vec::new();
    while let Some(notice) = entry.take_notice() {
        if scanner.close().is_none() {
            write_frame(&mut frames, Opcode::Text, notice.as_bytes());
        }
    }
    frames
}

/// What came from the agent, with what there is to say of our own behind the message that is passing.
fn with_notices(scanner: &mut crate::scanner::Scanner, entry: &Entry, bytes: &[u8]) -> Vec<u8> {
    let (at, mut messages) = scanner.scan_to_message_end(bytes);
    let mut out = bytes[..at].to_vec();
    if scanner.between_messages() {
        out.append(&mut notices(scanner, entry));
    }
    messages += scanner.scan(&bytes[at..]);
    out.extend_from_slice(&bytes[at..]);
    entry.add_out(messages, bytes.len() as u64);
    note_session(scanner.take_session(), entry);
    out
}

fn note_session(session: Option<Box<str>>, entry: &Entry) {
    if let Some(session) = session {
        entry.set_session(&session);
    }
}

/// How many of these bytes belong to a body that ends in them. One that cannot be followed ends with the connection.
fn end_in(body: &mut Body, bytes: &[u8]) -> Option<usize> {
    body.feed(bytes).unwrap_or_else(|_| {
        *body = Body::UntilEnd;
        None
    })
}
