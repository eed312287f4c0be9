//! One conversation: its number, its turn, its queue. Decisions only; who sends and writes is elsewhere.

use crate::connection::Conn;
use crate::log::Log;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::time::Instant;

/// Messages that may wait behind a running turn.
pub(crate) const MAX_QUEUE: usize = 10;
/// Turns whose texts are kept for a worker that starts afresh.
const MAX_HISTORY_TURNS: usize = 100;
/// Bytes of these texts.
const MAX_HISTORY_BYTES: usize = 1024 * 1024;
/// Questions of the agent that may be open at once.
const MAX_CONFIRMS: usize = 100;

/// A session; lives as long as somebody may come back to it.
pub(crate) struct Session {
    /// What clients call it.
    pub(crate) id: String,
    /// What the worker calls it.
    pub(crate) number: u64,
    /// Who listens.
    pub(crate) conn: RefCell<Option<Rc<Conn>>>,
    /// The rest.
    pub(crate) state: RefCell<State>,
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

/// What changes about a session.
pub(crate) struct State {
    /// Its events.
    pub(crate) log: Log,
    /// What the client sent with `user.create_session`.
    pub(crate) params: Option<Box<RawValue>>,
    /// The worker generation that was told about this session; 0: none.
    pub(crate) opened_in: u64,
    /// `agent.session_created` has been sent.
    pub(crate) announced: bool,
    /// The agent takes events of its own (`on_event`).
    pub(crate) takes_events: bool,
    /// The running turn.
    pub(crate) turn: Option<Turn>,
    queue: VecDeque<Waiting>,
    history: VecDeque<(Box<RawValue>, Box<RawValue>)>,
    history_bytes: usize,
    /// What `export_state` returned last.
    pub(crate) saved: Option<Box<RawValue>>,
    confirms: Vec<String>,
    /// Bytes of the worker's credit that are in a client's buffer.
    pub(crate) unsent: usize,
    /// Bytes of credit to be given back to the worker.
    pub(crate) owed: usize,
    /// When it was used last.
    pub(crate) last_used: Instant,
    /// As last counted.
    pub(crate) standing: Standing,
}

/// A message that waits for its turn.
struct Waiting {
    content: Box<RawValue>,
    redelivered: bool,
}

/// A message that is being answered.
pub(crate) struct Turn {
    /// What the worker calls it.
    pub(crate) number: u64,
    content: Box<RawValue>,
    /// Something other than `agent.thinking` was said.
    pub(crate) answered: bool,
    /// It was given to a worker before, which died.
    pub(crate) redelivered: bool,
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
    pub(crate) fn new(params: Option<Box<RawValue>>, now: Instant) -> Self {
        Self {
            log: Log::default(),
            params,
            opened_in: 0,
            announced: false,
            takes_events: false,
            turn: None,
            queue: VecDeque::new(),
            history: VecDeque::new(),
            history_bytes: 0,
            saved: None,
            confirms: Vec::new(),
            unsent: 0,
            owed: 0,
            last_used: now,
            standing: Standing::Attached,
        }
    }

    /// Takes a message; false: the queue is full.
    pub(crate) fn accept(&mut self, content: &RawValue) -> bool {
        if self.queue.len() >= MAX_QUEUE + usize::from(self.turn.is_none()) {
            return false;
        }
        self.queue.push_back(Waiting { content: content.to_owned(), redelivered: false });
        true
    }

    /// Begins the next turn, if one waits and none runs.
    pub(crate) fn begin(&mut self, number: u64) -> Option<&Turn> {
        if self.turn.is_some() {
            return None;
        }
        let Waiting { content, redelivered } = self.queue.pop_front()?;
        self.turn = Some(Turn { number, content, answered: false, redelivered });
        self.turn.as_ref()
    }

    /// The running turn, if it is this one.
    pub(crate) fn current(&mut self, number: u64) -> Option<&mut Turn> {
        self.turn.as_mut().filter(|turn| turn.number == number)
    }

    /// Ends the turn with its answer.
    pub(crate) fn answered(&mut self, answer: &RawValue) {
        self.confirms.clear();
        let Some(turn) = self.turn.take() else { return };
        self.history_bytes += turn.content.get().len() + answer.get().len();
        self.history.push_back((turn.content, answer.to_owned()));
        while self.history.len() > MAX_HISTORY_TURNS || self.history_bytes > MAX_HISTORY_BYTES {
            let Some((message, answer)) = self.history.pop_front() else { break };
            self.history_bytes -= message.get().len() + answer.get().len();
        }
    }

    /// Ends the turn without an answer; its number, if one ran.
    pub(crate) fn abandon(&mut self) -> Option<u64> {
        self.confirms.clear();
        self.turn.take().map(|turn| turn.number)
    }

    /// Takes back the message that waits longest; false: none does.
    pub(crate) fn withdraw(&mut self) -> bool {
        self.queue.pop_front().is_some()
    }

    /// The worker is gone, and all it knew.
    pub(crate) fn worker_lost(&mut self, retry_safe: bool) -> Lost {
        self.opened_in = 0;
        self.unsent = 0;
        self.owed = 0;
        self.confirms.clear();
        let Some(turn) = self.turn.take() else { return Lost::Idle };
        if turn.redelivered || turn.answered && !retry_safe {
            return Lost::Tell;
        }
        self.queue.push_front(Waiting { content: turn.content, redelivered: true });
        Lost::Again
    }

    /// A message is being answered or waits for it.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.is_some() || !self.queue.is_empty()
    }

    /// Messages and answers, oldest first.
    pub(crate) fn history(&self) -> impl Iterator<Item = (&RawValue, &RawValue)> {
        self.history.iter().map(|(message, answer)| (&**message, &**answer))
    }

    /// The agent asks the client something.
    pub(crate) fn asked(&mut self, step: String) {
        if self.confirms.len() >= MAX_CONFIRMS {
            self.confirms.remove(0);
        }
        self.confirms.push(step);
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

impl Turn {
    /// What the client said.
    pub(crate) fn content(&self) -> &RawValue {
        &self.content
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

    #[tokio::test]
    async fn ten_messages_wait_behind_a_turn() {
        let mut state = state();
        assert!(state.accept(&raw("first")));
        assert_eq!(state.begin(1).map(|turn| turn.content().get().to_owned()).as_deref(), Some("\"first\""));
        assert!(state.begin(2).is_none());
        assert!((0..MAX_QUEUE).all(|_| state.accept(&raw("more"))));
        assert!(!state.accept(&raw("too many")));
        state.answered(&raw("answer"));
        assert!(state.begin(2).is_some());
        assert!(state.accept(&raw("room again")));
    }

    #[tokio::test]
    async fn a_lost_turn_comes_back_once_if_nothing_was_said() {
        let mut state = state();
        assert_eq!(state.worker_lost(false), Lost::Idle);
        state.accept(&raw("a"));
        state.accept(&raw("b"));
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
        state.accept(&raw("a"));
        state.begin(1);
        state.current(1).unwrap().answered = true;
        assert!(state.current(2).is_none());
        assert_eq!(state.worker_lost(false), Lost::Tell);
    }

    #[tokio::test]
    async fn the_history_is_bounded() {
        let mut state = state();
        for number in 1..=MAX_HISTORY_TURNS as u64 + 5 {
            state.accept(&raw("m"));
            state.begin(number);
            state.answered(&raw("a"));
        }
        assert_eq!(state.history().count(), MAX_HISTORY_TURNS);
        for number in 1..4 {
            state.accept(&raw("m"));
            state.begin(number);
            state.answered(&raw(&"x".repeat(400_000)));
        }
        assert_eq!(state.history().count(), 2);
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
