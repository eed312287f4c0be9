//! A request and its answer, both at once: an agent may answer before it has read everything, and a client may send more
//! while it is answered. At most one read of each direction is kept, and nothing more is read until it is written.

use super::moving::{NotWritten, READ, read, write};
use crate::thread::Thread;
use myagent_core::http::answer;
use myagent_core::http::body::{BodyError, Framing};
use myagent_core::http::request::Plain;
use myagent_core::http::{Answer, Body};
use myagent_core::wire::handover::MAX_REST;
use myagent_tls::Stream;
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// One exchange.
pub(super) struct Exchange<'a> {
    pub(super) thread: &'a Thread,
    pub(super) plain: &'a Plain,
    /// The client may ask again on its connection.
    pub(super) may_keep: bool,
    /// Headers for the client.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// Called when the agent has answered.
    pub(super) answered: &'a dyn Fn(),
}

/// What became of it.
pub(super) enum Outcome {
    /// It is over, and the client may ask again; what came behind its request.
    Again(Vec<u8>),
    /// It is over, and so is the connection.
    Over,
    /// The client has left, or its answer broke off.
    Cut,
    /// The client has seen nothing of an answer yet.
    Failed(Failure),
}

/// Why there is no answer.
pub(super) enum Failure {
    /// The client's body cannot be read.
    BadBody(BodyError),
    /// The client does not send it.
    LateBody,
    /// The agent is gone, or its answer is none.
    Agent(String),
    /// The agent does not answer, or does not read.
    AgentLate(String),
    /// The manager ends.
    ShuttingDown,
}

/// How sending the request ended, if not with all of it.
enum Unsent {
    /// The client has left.
    Left,
    /// The client's body cannot be read, or does not come.
    Client(Failure),
    /// The agent does not take it.
    Agent(NotWritten),
}

/// What both directions know of each other.
#[derive(Default)]
struct Progress {
    /// The agent has the whole request.
    is_sent: Cell<bool>,
    /// No more of the request will be sent: told to who waits for the answer.
    stopped: Notify,
    /// The client has seen some of the answer.
    has_begun: Cell<bool>,
    /// What the client sent behind its request.
    rest: RefCell<Vec<u8>>,
}

impl Progress {
    /// Only who has seen nothing of an answer can be told anything.
    fn failed(&self, failure: Failure) -> Outcome {
        if self.has_begun.get() { Outcome::Cut } else { Outcome::Failed(failure) }
    }
}

impl Exchange<'_> {
    /// Sends `request`, which is a head, and the body that begins with `behind`; passes the answer on.
    pub(super) async fn run(
        &self,
        client: &mut TcpStream,
        agent: Stream,
        request: Vec<u8>,
        behind: Vec<u8>,
    ) -> Outcome {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_agent, mut to_agent) = tokio::io::split(agent);
        let progress = Progress::default();
        let outcome = {
            let mut up = pin!(self.send(&mut from_client, &mut to_agent, request, behind, &progress));
            let mut down = pin!(self.answer(&mut from_agent, &mut to_client, &progress));
            let mut is_sending = true;
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut down => break outcome,
                    unsent = &mut up, if is_sending => match unsent {
                        Unsent::Left => break Outcome::Cut,
                        Unsent::Client(failure) if !progress.has_begun.get() => break Outcome::Failed(failure),
                        Unsent::Agent(NotWritten::Stalled) if !progress.has_begun.get() => {
                            let reason = "it does not read the request".to_owned();
                            break Outcome::Failed(Failure::AgentLate(reason));
                        }
                        // It may have answered already, or be about to.
                        Unsent::Client(_) | Unsent::Agent(_) => {
                            is_sending = false;
                            progress.stopped.notify_one();
                        }
                    },
                    () = self.thread.closing.cancelled() => break progress.failed(Failure::ShuttingDown),
                }
            }
        };
        match outcome {
            Outcome::Again(_) if progress.is_sent.get() => Outcome::Again(progress.rest.take()),
            Outcome::Again(_) => Outcome::Over,
            other => other,
        }
    }

    /// Sends the request, then waits for the client to leave.
    async fn send(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        head: Vec<u8>,
        mut bytes: Vec<u8>,
        progress: &Progress,
    ) -> Unsent {
        let (scratch, limit) = (&self.thread.scratch, self.thread.shared.config.stall_timeout);
        let mut body = self.plain.body.clone();
        let framing = if matches!(body, Body::Chunked(_)) { Framing::Chunks } else { Framing::AsItIs };
        let mut out = head;
        loop {
            // Before the first byte is written: a body that is wrong from the start goes nowhere.
            let end = match body.feed_into(&bytes, |content| framing.push(&mut out, content)) {
                Ok(end) => end,
                Err(error) => return Unsent::Client(Failure::BadBody(error)),
            };
            if end.is_some() {
                framing.finish(&mut out);
            }
            if let Err(error) = write(to, &out, limit).await {
                return Unsent::Agent(error);
            }
            if let Some(end) = end {
                progress.rest.borrow_mut().extend_from_slice(&bytes[end..]);
                break;
            }
            // Given back while the client is waited for.
            (out, bytes) = (Vec::new(), Vec::new());
            match timeout(limit, read(from, scratch, READ, &mut bytes)).await {
                Ok(Ok(0) | Err(_)) => return Unsent::Left,
                Ok(Ok(_)) => {}
                Err(_) => return Unsent::Client(Failure::LateBody),
            }
        }
        progress.is_sent.set(true);
        progress.stopped.notify_one();
        drop((out, bytes));
        // Beyond that its leaving is not seen, and the time for the answer ends the wait.
        loop {
            let room = MAX_REST.saturating_sub(progress.rest.borrow().len());
            if room == 0 {
                return pending().await;
            }
            let mut more = Vec::new();
            if matches!(read(from, scratch, room, &mut more).await, Ok(0) | Err(_)) {
                return Unsent::Left;
            }
            progress.rest.borrow_mut().append(&mut more);
        }
    }

    /// Reads the answer and passes it on.
    async fn answer(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        progress: &Progress,
    ) -> Outcome {
        let config = &self.thread.shared.config;
        let answer = match self.head(from, to, progress).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        (self.answered)();
        let (framing, ends) = answer.plain_framing(self.plain.is_http_1_1);
        let keeps_alive = self.may_keep && !ends && progress.is_sent.get();
        let mut out = answer.plain_head(framing, keeps_alive, self.headers);
        let (mut body, mut bytes) = (answer.body, answer.rest);
        progress.has_begun.set(true);
        let mut has_ended = false;
        loop {
            let end = body.feed_into(&bytes, |content| framing.push(&mut out, content));
            let is_whole = match end {
                Ok(Some(_)) => true,
                Ok(None) => has_ended && body == Body::UntilEnd,
                Err(_) => false,
            };
            if is_whole {
                framing.finish(&mut out);
            }
            if write(to, &out, config.stall_timeout).await.is_err() {
                return Outcome::Cut;
            }
            if is_whole {
                return if keeps_alive { Outcome::Again(Vec::new()) } else { Outcome::Over };
            }
            if end.is_err() || has_ended {
                return Outcome::Cut;
            }
            (out, bytes) = (Vec::new(), Vec::new());
            match timeout(config.answer_timeout, read(from, &self.thread.scratch, READ, &mut bytes)).await {
                Ok(Ok(count)) => has_ended = count == 0,
                Ok(Err(_)) | Err(_) => return Outcome::Cut,
            }
        }
    }

    /// Reads the head of the answer; interim answers are passed on.
    async fn head(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        progress: &Progress,
    ) -> Result<Answer, Outcome> {
        let config = &self.thread.shared.config;
        let failed = |reason: String| Outcome::Failed(Failure::Agent(reason));
        let (mut bytes, mut until) = (Vec::new(), None::<Instant>);
        loop {
            let got = tokio::select! {
                // Interim answers without end must not keep its time from being over.
                biased;
                () = progress.stopped.notified(), if until.is_none() => {
                    until = Some(Instant::now() + config.answer_timeout);
                    continue;
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    let reason = format!("no answer within {} s", config.answer_timeout.as_secs_f64());
                    return Err(Outcome::Failed(Failure::AgentLate(reason)));
                }
                got = read(from, &self.thread.scratch, READ, &mut bytes) => got,
            };
            match got {
                Ok(0) => return Err(failed("it closed the connection without an answer".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(failed(broken(&error))),
            }
            let mut interim = Vec::new();
            let parsed = answer::parse(&mut bytes, self.plain.is_head, |answer| {
                // A client of HTTP/1.0 knows none.
                if self.plain.is_http_1_1 {
                    interim.extend_from_slice(&answer.interim());
                }
            });
            if write(to, &interim, config.stall_timeout).await.is_err() {
                return Err(Outcome::Cut);
            }
            match parsed {
                Ok(Some(answer)) if answer.status == 101 => {
                    return Err(failed("it changes the protocol, and was not asked to".to_owned()));
                }
                Ok(Some(answer)) if answer.has_other_coding() => {
                    return Err(failed("its answer has a transfer coding that was not asked for".to_owned()));
                }
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(message) => return Err(failed(format!("the answer cannot be read: {message}"))),
            }
        }
    }
}

fn broken(error: &io::Error) -> String {
    format!("it broke the connection: {error}")
}
