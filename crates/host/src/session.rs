//! One conversation: its number, its turn, its queue. Decisions only; who sends and writes is elsewhere.

use crate::connection::Conn;
use crate::drain::Stage;
use crate::stats::Pending;
use myagent_journal::{Message, Restored, Running};
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::time::Instant;
use uuid::Uuid;

/// Messages that may wait behind a running turn.
pub(crate) const MAX_QUEUE: usize = 10;
/// Bytes of waiting messages; a single one may be larger.
const MAX_QUEUE_BYTES: usize = 1024 * 1024;
/// Questions of the agent that may be open at once.
const MAX_CONFIRMS: usize = 100;

/// A session; lives as long as somebody may come back to it.
pub(crate) struct Session {
    /// Its id, and the key of its journal.
    pub(crate) key: Uuid,
    /// What clients call it.
    pub(crate) id: Box<str>,
    /// What the worker calls it.
    pub(crate) number: u64,
    /// Who listens.
    pub(crate) conn: RefCell<Option<Rc<Conn>>>,
    /// The rest.
    pub(crate) state: RefCell<State>,
}

/// The session that a client means; none: we never gave out such an id.
pub(crate) fn parse_id(text: &str) -> Option<Uuid> {
    let key = Uuid::try_parse(text).ok()?;
    // One session has one name.
    (key.as_hyphenated().to_string() == text).then_some(key)
}

/// Whether a session has a connection, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A client listens.
    Attached,
    /// Nobody listens, nothing runs.
    Detached,
    /// Nobody listens to a turn that goes on: it takes a place.
    DetachedBusy,
}

/// What changes about a session. Its events, its history and what its agent exported are in the journal.
pub(crate) struct State {
    /// What the client sent with `user.create_session`, until a worker knows it.
    pub(crate) params: Option<Box<RawValue>>,
    /// Number of its newest event.
    pub(crate) last_seq: u64,
    /// Its client gets older events first; new ones wait in the journal.
    pub(crate) replaying: bool,
    /// The worker generation that was told about this session; 0: none.
    pub(crate) opened_in: u64,
    /// `agent.session_created` has been sent.
    pub(crate) announced: bool,
    /// The agent takes events of its own (`on_event`).
    pub(crate) takes_events: bool,
    /// The running turn.
    pub(crate) turn: Option<Turn>,
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    confirms: Vec<String>,
    /// Cancelled turns and events for the agent that may still run in the worker.
    unended: u32,
    /// Bytes of the worker's credit that are in a client's buffer.
    pub(crate) unsent: usize,
    /// Bytes of credit to be given back to the worker.
    pub(crate) owed: usize,
    /// When it was created, and used last.
    pub(crate) created: Instant,
    pub(crate) last_used: Instant,
    /// Its last turn failed, or it could not begin.
    pub(crate) failed: bool,
    /// As last counted.
    pub(crate) standing: Standing,
}

/// A message that waits for its turn.
struct Waiting {
    content: Box<RawValue>,
    metadata: Option<Box<RawValue>>,
    redelivered: bool,
    pending: Pending,
}

/// A message that is being answered.
pub(crate) struct Turn {
    /// What the worker calls it.
    pub(crate) number: u64,
    content: Box<RawValue>,
    metadata: Option<Box<RawValue>>,
    /// Something other than `agent.thinking` was said.
    pub(crate) answered: bool,
    /// It was given to a worker before, which died.
    pub(crate) redelivered: bool,
    /// Its first numbered event has yet to say that it was restarted: a notice is gone for who was away.
    pub(crate) unmarked: bool,
    /// For the numbers.
    pub(crate) pending: Pending,
}

/// What becomes of a turn whose worker died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// None was running.
    Idle,
    /// The next worker gets it again.
    Again,
    /// The client must be told.
    Tell,
}

impl State {
    /// A session that the worker does not know yet.
    pub(crate) fn new(params: Option<&RawValue>, now: Instant) -> Self {
        Self {
            params: params.map(ToOwned::to_owned),
            last_seq: 0,
            replaying: false,
            opened_in: 0,
            announced: false,
            takes_events: false,
            turn: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            confirms: Vec::new(),
            unended: 0,
            unsent: 0,
            owed: 0,
            created: now,
            last_used: now,
            failed: false,
            standing: Standing::Attached,
        }
    }

    /// A session as the journal has it. A turn that ran is one that was lost.
    pub(crate) fn restored(restored: Restored, now: Instant) -> Self {
        let mut state = Self::new(restored.params.as_deref(), now);
        state.last_seq = restored.last_seq;
        state.announced = restored.last_seq > 0;
        state.turn = restored.running.map(|Running { message, said }| Turn {
            number: 0,
            content: message.content,
            metadata: message.metadata,
            answered: said,
            redelivered: message.redelivered,
            unmarked: false,
            pending: Pending::now(),
        });
        for Message { content, metadata, redelivered } in restored.waiting {
            state.queued_bytes += bytes(&content, metadata.as_deref());
            state.queue.push_back(Waiting { content, metadata, redelivered, pending: Pending::now() });
        }
        state
    }

    /// Takes a message; false: the queue is full.
    pub(crate) fn accept(&mut self, content: &RawValue, metadata: Option<&RawValue>) -> bool {
        let bytes = self.queued_bytes + bytes(content, metadata);
        if self.queue.len() >= MAX_QUEUE + usize::from(self.turn.is_none())
            || !self.queue.is_empty() && bytes > MAX_QUEUE_BYTES
        {
            return false;
        }
        self.queued_bytes = bytes;
        self.queue.push_back(Waiting {
            content: content.to_owned(),
            metadata: metadata.map(ToOwned::to_owned),
            redelivered: false,
            pending: Pending::now(),
        });
        true
    }

    /// Begins the next turn, if one waits and none runs.
    pub(crate) fn begin(&mut self, number: u64) -> Option<&Turn> {
        if self.turn.is_some() {
            return None;
        }
        let Waiting { content, metadata, redelivered, pending } = self.queue.pop_front()?;
        self.queued_bytes -= bytes(&content, metadata.as_deref());
        self.turn = Some(Turn {
            number,
            content,
            metadata,
            answered: false,
            redelivered,
            unmarked: redelivered,
            pending,
        });
        self.turn.as_ref()
    }

    /// The running turn, if it is this one.
    pub(crate) fn current(&mut self, number: u64) -> Option<&mut Turn> {
        self.turn.as_mut().filter(|turn| turn.number == number)
    }

    /// Ends the turn, if one runs.
    pub(crate) fn end_turn(&mut self) -> Option<Pending> {
        self.confirms.clear();
        self.turn.take().map(|turn| turn.pending)
    }

    /// The message that is being answered, for the numbers.
    pub(crate) fn pending(&self) -> Option<Pending> {
        self.turn.as_ref().map(|turn| turn.pending)
    }

    /// Takes back the message that waits longest; none: none does.
    pub(crate) fn withdraw(&mut self) -> Option<Pending> {
        let waiting = self.queue.pop_front()?;
        self.queued_bytes -= bytes(&waiting.content, waiting.metadata.as_deref());
        Some(waiting.pending)
    }

    /// The worker is gone, and all it knew.
    pub(crate) fn worker_lost(&mut self, retry_safe: bool) -> Lost {
        self.opened_in = 0;
        self.unsent = 0;
        self.owed = 0;
        self.confirms.clear();
        self.unended = 0;
        let Some(turn) = self.turn.take() else { return Lost::Idle };
        if turn.redelivered || turn.answered && !retry_safe {
            return Lost::Tell;
        }
        self.requeue(Turn { redelivered: true, ..turn });
        Lost::Again
    }

    /// The worker has not begun the turn: it is as if it had not been given to it. False: there is none.
    pub(crate) fn put_back(&mut self) -> bool {
        self.turn.take().map(|turn| self.requeue(turn)).is_some()
    }

    fn requeue(&mut self, turn: Turn) {
        let Turn { content, metadata, redelivered, pending, .. } = turn;
        self.queued_bytes += bytes(&content, metadata.as_deref());
        self.queue.push_front(Waiting { content, metadata, redelivered, pending });
    }

    /// A message is being answered or waits for it.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.is_some() || !self.queue.is_empty()
    }

    /// Something was sent to the worker that goes on although no turn runs: a cancel, or an event.
    pub(crate) fn goes_on(&mut self) {
        self.unended = self.unended.saturating_add(1);
    }

    /// One of those has ended.
    pub(crate) fn has_ended(&mut self) {
        self.unended = self.unended.saturating_sub(1);
    }

    /// All of them have.
    pub(crate) fn all_ended(&mut self) {
        self.unended = 0;
    }

    /// Nothing of it runs anywhere, and the agent asks nothing: it could go on in another process.
    pub(crate) fn is_quiet(&self) -> bool {
        self.turn.is_none() && self.unended == 0 && self.confirms.is_empty()
    }

    /// Something of it is being answered, or will be.
    pub(crate) fn is_running(&self, stage: Stage) -> bool {
        self.turn.is_some() || stage == Stage::Moving && !self.queue.is_empty()
    }

    /// Messages that wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The agent asks the client something.
    pub(crate) fn asked(&mut self, step: String) {
        if self.confirms.len() >= MAX_CONFIRMS {
            self.confirms.remove(0);
        }
        self.confirms.push(step);
    }

    /// The steps of the questions that are open, as JSON.
    pub(crate) fn open_steps(&self) -> serde_json::Value {
        self.confirms.iter().map(String::as_str).collect()
    }

    /// The question that a client answers: the named one, or the only one.
    pub(crate) fn answered_step(&mut self, step: Option<&str>) -> Option<String> {
        let at = match step {
            Some(step) => self.confirms.iter().position(|open| open == step)?,
            None if self.confirms.len() == 1 => 0,
            None => return None,
        };
        Some(self.confirms.remove(at))
    }
}

fn bytes(content: &RawValue, metadata: Option<&RawValue>) -> usize {
    content.get().len() + metadata.map_or(0, |metadata| metadata.get().len())
}

impl Turn {
    /// What the client said.
    pub(crate) fn content(&self) -> &RawValue {
        &self.content
    }

    /// What else was in its message.
    pub(crate) fn metadata(&self) -> Option<&RawValue> {
        self.metadata.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(format!("{text:?}")).unwrap()
    }

    fn state() -> State {
        State::new(None, Instant::now())
    }

    #[test]
    fn a_session_has_one_name() {
        let id = "37e1893c-0000-4000-8000-0000000000ab";
        assert_eq!(parse_id(id).map(|key| key.to_string()).as_deref(), Some(id));
        for other in [
            "",
            "nope",
            "../../etc",
            "37E1893C-0000-4000-8000-0000000000AB",
            "37e1893c0000400080000000000000ab",
        ] {
            assert_eq!(parse_id(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn ten_messages_wait_behind_a_turn() {
        let mut state = state();
        assert!(state.accept(&raw("first"), None));
        assert_eq!(state.begin(1).map(|turn| turn.content().get().to_owned()).as_deref(), Some("\"first\""));
        assert!(state.begin(2).is_none());
        assert!((0..MAX_QUEUE).all(|_| state.accept(&raw("more"), None)));
        assert!(!state.accept(&raw("too many"), None));
        assert!(state.end_turn().is_some());
        assert!(state.begin(2).is_some());
        assert!(state.accept(&raw("room again"), None));
    }

    #[tokio::test]
    async fn a_lost_turn_comes_back_once_if_nothing_was_said() {
        let mut state = state();
        assert_eq!(state.worker_lost(false), Lost::Idle);
        state.accept(&raw("a"), None);
        state.accept(&raw("b"), None);
        state.begin(1);
        assert_eq!(state.worker_lost(false), Lost::Again);
        let turn = state.begin(2).unwrap();
        assert_eq!((turn.content().get(), turn.redelivered), ("\"a\"", true));
        assert_eq!(state.worker_lost(true), Lost::Tell);
        state.begin(3).unwrap();
        state.current(3).unwrap().answered = true;
        assert_eq!(state.worker_lost(true), Lost::Again);
        state.begin(4).unwrap();
        assert_eq!(state.worker_lost(true), Lost::Tell);
        assert!(!state.is_busy());
    }

    #[tokio::test]
    async fn said_something_and_not_safe_to_repeat_is_told() {
        let mut state = state();
        state.accept(&raw("a"), None);
        state.begin(1);
        state.current(1).unwrap().answered = true;
        assert!(state.current(2).is_none());
        assert_eq!(state.worker_lost(false), Lost::Tell);
    }

    #[tokio::test]
    async fn a_session_is_quiet_when_nothing_of_it_runs() {
        let mut state = state();
        assert!(state.is_quiet());
        state.accept(&raw("a"), None);
        assert!(state.is_quiet(), "what waits does not run");
        state.begin(1);
        assert!(!state.is_quiet());
        // Cancelled; the worker says later that it has ended.
        state.goes_on();
        state.end_turn();
        assert!(!state.is_quiet());
        state.has_ended();
        assert!(state.is_quiet());
        state.asked("one".to_owned());
        assert!(!state.is_quiet());
        state.answered_step(None);
        state.goes_on();
        state.goes_on();
        state.has_ended();
        assert!(!state.is_quiet());
        assert_eq!(state.worker_lost(false), Lost::Idle);
        assert!(state.is_quiet(), "nothing runs in a dead process");
        state.has_ended();
        assert!(state.is_quiet());
    }

    #[tokio::test]
    async fn large_messages_do_not_pile_up() {
        let mut state = state();
        assert!(state.accept(&raw(&"x".repeat(2 * MAX_QUEUE_BYTES)), None));
        assert!(!state.accept(&raw("more"), None));
        state.begin(1);
        assert!(state.accept(&raw("more"), None));
        assert!(state.withdraw().is_some() && state.withdraw().is_none());
        assert_eq!(state.queued_bytes, 0);
    }

    #[tokio::test]
    async fn a_restored_session_goes_on_where_it_was() {
        let message = |text: &str| Message { content: raw(text), metadata: None, redelivered: false };
        let running = Running { message: message("a"), said: true };
        let waiting = vec![message("b")];
        let restored = Restored { params: None, last_seq: 7, running: Some(running), waiting };
        let mut state = State::restored(restored, Instant::now());
        assert!(state.announced && state.is_busy());
        assert_eq!((state.last_seq, state.waiting()), (7, 1));
        assert_eq!(state.worker_lost(false), Lost::Tell);
        assert_eq!(state.begin(1).map(|turn| turn.content().get().to_owned()).as_deref(), Some("\"b\""));
    }

    #[tokio::test]
    async fn an_answer_finds_its_question() {
        let mut state = state();
        assert_eq!(state.answered_step(None), None);
        state.asked("one".to_owned());
        assert_eq!(state.answered_step(Some("two")), None);
        assert_eq!(state.answered_step(None).as_deref(), Some("one"));
        assert_eq!(state.answered_step(Some("one")), None);
        state.asked("a".to_owned());
        state.asked("b".to_owned());
        assert_eq!(state.answered_step(None), None);
        assert_eq!(state.answered_step(Some("b")).as_deref(), Some("b"));
    }
}
