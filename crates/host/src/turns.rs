//! Turns: handing messages to the worker, passing on what it says, and what becomes of them when it dies.

use crate::event::{self, Event};
use crate::host::Inner;
use crate::line::{self, Past, WorkerLine};
use crate::link::Worker;
use crate::session::{Lost, Session, State};
use crate::stats::Pending;
use crate::text::quote;
use myagent_core::wire::sessions::TurnEnd;
use serde_json::value::RawValue;
use std::rc::Rc;
use tokio::time::Instant;

/// Largest state of an agent that is kept for its next process.
const MAX_STATE: usize = 1024 * 1024;

impl Inner {
    /// `agent.error` in a session.
    pub(crate) fn agent_error(
        &self,
        session: &Rc<Session>,
        state: &mut State,
        code: &str,
        text: &str,
        cost: usize,
    ) {
        let metadata = event::code(code, true, None);
        self.emit(session, state, &Event::new(event::AGENT_ERROR, &quote(text)).with(&metadata), cost);
    }

    /// Makes the worker know the session, if there is a worker.
    pub(crate) fn open(&self, session: &Rc<Session>, state: &mut State) {
        if let Some(worker) = self.worker() {
            self.ensure_open(&worker, session, state);
        }
    }

    /// Makes this worker know the session, with what is left of it from the last one.
    pub(crate) fn ensure_open(&self, worker: &Worker, session: &Rc<Session>, state: &mut State) {
        if state.opened_in == worker.generation {
            return;
        }
        state.opened_in = worker.generation;
        state.owed = 0;
        state.all_ended();
        let journal = &self.config.journal;
        let past = Past {
            params: state.params.take().or_else(|| journal.restore(session.key)?.params),
            state: journal.state(session.key),
            history: journal.history(session.key),
        };
        worker.push(|out| line::open(out, session.number, &session.id, &past));
        // Without a journal it is not known what there was.
        let had_past =
            !past.history.is_empty() || self.config.config.journal_max_mb == 0 && state.last_seq > 1;
        if state.announced && past.state.is_none() && had_past {
            let content =
                quote("the agent begins afresh in this session: what it knew beside the messages is gone");
            let metadata = event::code("state_lost", true, None);
            self.emit(session, state, &Event::new(event::NOTICE, &content).with(&metadata), 0);
        }
    }

    /// Begins the next turn, if there is one to begin.
    pub(crate) fn pump(&self, session: &Rc<Session>, state: &mut State) {
        if state.announced
            && !self.stopping.get()
            && !self.holds(session)
            && let Some(worker) = self.worker()
            && !worker.recycling.holds_turns()
        {
            if state.turn.is_none() && state.is_busy() {
                self.ensure_open(&worker, session, state);
            }
            let number = self.next_number();
            if let Some(turn) = state.begin(number) {
                self.config.journal.turn_begins(session.key, turn.redelivered);
                worker.push(|out| line::turn(out, session.number, turn));
                if turn.redelivered {
                    let content =
                        quote("the agent's process was replaced; your message is answered from the start");
                    let metadata = event::code("turn_restarted", true, None);
                    self.emit(session, state, &Event::new(event::NOTICE, &content).with(&metadata), 0);
                }
            }
        }
        self.recount(session, state);
    }

    /// Ends the running turn, if there is one; with its answer, if there is one.
    pub(crate) fn end_turn(
        &self,
        session: &Session,
        state: &mut State,
        answer: Option<&RawValue>,
        how: TurnEnd,
    ) {
        if let Some(pending) = state.end_turn() {
            self.config.journal.turn_ends(session.key, answer);
            self.count_turn(state, Some(pending), how);
            self.stir();
        }
        state.last_used = Instant::now();
    }

    /// Whoever answered is gone. The turn is repeated where that is safe, else its client is told in these words.
    pub(crate) fn turn_lost(
        &self,
        session: &Rc<Session>,
        state: &mut State,
        how: TurnEnd,
        (code, text): (&str, &str),
    ) {
        let pending = state.pending();
        let retry_safe = self.said.borrow().retry_safe;
        match state.worker_lost(retry_safe) {
            Lost::Idle => return,
            Lost::Again => self.config.journal.turn_again(session.key, true),
            Lost::Tell => {
                self.agent_error(session, state, code, text, 0);
                self.config.journal.turn_ends(session.key, None);
                self.count_turn(state, pending, how);
            }
        }
        state.last_used = Instant::now();
    }

    /// For the numbers: a turn, if there was one, ends like this; and if it is the last one, so does its session.
    pub(crate) fn count_turn(&self, state: &mut State, turn: Option<Pending>, how: TurnEnd) {
        if let Some(pending) = turn {
            state.failed = how.is_failure();
            self.stats.turn_ended(pending, how);
        }
    }

    /// A worker has loaded: sessions that wait for one go on.
    pub(crate) fn worker_attached(&self) {
        let mut waiting: Vec<_> = self.sessions.borrow().values().cloned().collect();
        waiting.sort_by_key(|session| session.number);
        for session in waiting {
            let mut state = session.state.borrow_mut();
            if !state.announced {
                self.open(&session, &mut state);
            }
            self.pump(&session, &mut state);
        }
    }

    /// A worker is gone. Its turns are repeated where that is safe, else their clients are told.
    pub(crate) fn worker_ended(&self, worker: &Rc<Worker>) {
        if !self.drop_worker(worker) {
            return;
        }
        worker.leave();
        self.replacing.set(worker.recycling.is_over());
        let how = if worker.recycling.is_over() { TurnEnd::Interrupted } else { TurnEnd::WorkerLost };
        let words = worker.recycling.last_words();
        let sessions: Vec<_> = self.sessions.borrow().values().cloned().collect();
        for session in sessions {
            let mut state = session.state.borrow_mut();
            self.turn_lost(&session, &mut state, how, words);
            self.recount(&session, &mut state);
        }
        self.flush();
        worker.recycling.left();
    }

    /// The instance is being stopped: running turns end here. How many there were.
    pub(crate) fn interrupt_turns(&self) -> u32 {
        let sessions = self.sessions.borrow();
        sessions.values().map(|session| u32::from(self.interrupt(session))).sum()
    }

    /// The session's turn ends here; false: none runs.
    pub(crate) fn interrupt(&self, session: &Rc<Session>) -> bool {
        let mut state = session.state.borrow_mut();
        let Some(number) = state.turn.as_ref().map(|turn| turn.number) else { return false };
        if let Some(worker) = self.worker() {
            worker.push(|out| line::cancel(out, session.number, number));
            state.goes_on();
        }
        let text = "the agent is being stopped or restarted; send the message again";
        self.agent_error(session, &mut state, "INTERRUPTED_BY_RESTART", text, 0);
        self.end_turn(session, &mut state, None, TurnEnd::Interrupted);
        true
    }

    /// One line of the worker, without its line end.
    pub(crate) fn worker_line(&self, worker: &Rc<Worker>, text: &[u8]) {
        let line: WorkerLine<'_> = match serde_json::from_slice(text) {
            Ok(line) => line,
            Err(error) => {
                return self
                    .notice("worker_protocol", format!("a line of the worker cannot be read: {error}"));
            }
        };
        match &*line.kind {
            "pong" => return worker.pong(),
            "blocked" => {
                worker.reported();
                let stack = line.stack.as_deref().unwrap_or("(no stack)");
                let message =
                    format!("the agent's event loop has been blocked for {} s in:\n{stack}", line.seconds);
                return self.notice("loop_blocked", message);
            }
            "stuck" => {
                return self.worker_stuck(worker, &line);
            }
            "busy" => return self.worker_busy(worker),
            "retired" => return self.worker_retired(worker),
            _ => {}
        }
        let Some(session) = self.numbers.borrow().get(&line.session).cloned() else { return };
        let mut state = session.state.borrow_mut();
        if state.opened_in != worker.generation {
            return;
        }
        // With its line end, as the worker counts.
        self.session_line(&session, &mut state, &line, text.len() + 1);
    }

    fn session_line(&self, session: &Rc<Session>, state: &mut State, line: &WorkerLine<'_>, cost: usize) {
        let content = line.content.map_or("\"\"", RawValue::get);
        match &*line.kind {
            "partial" => {
                let Some(turn) = state.current(line.turn) else {
                    return self.give_back(session, state, cost);
                };
                turn.answered = true;
                self.stats.responded(&mut turn.pending);
                let metadata =
                    format!("{{\"is_streaming\":true,\"is_final\":false,\"total_length\":{}}}", line.length);
                self.emit(session, state, &Event::new(event::PARTIAL, content).with(&metadata), cost);
            }
            "final" => {
                let Some(turn) = state.current(line.turn) else {
                    return self.give_back(session, state, cost);
                };
                self.stats.responded(&mut turn.pending);
                if line.quiet {
                    self.give_back(session, state, cost);
                } else {
                    let metadata = "{\"is_streaming\":false,\"is_final\":true}";
                    self.emit(session, state, &Event::new(event::FINAL, content).with(metadata), cost);
                }
                self.end_turn(session, state, line.content, TurnEnd::Completed);
                self.turn_was_last(state);
                self.pump(session, state);
            }
            "failed" if line.turn == 0 || state.current(line.turn).is_some() => {
                let text: String = serde_json::from_str(content).unwrap_or_default();
                if line.turn == 0 {
                    return self.agent_error(session, state, "EVENT_FAILED", &text, cost);
                }
                self.agent_error(session, state, "AGENT_FAILED", &text, cost);
                self.end_turn(session, state, None, TurnEnd::AgentError);
                self.turn_was_last(state);
                self.pump(session, state);
            }
            "ended" => {
                state.has_ended();
                self.stir();
            }
            "emit" => self.emitted(session, state, line, cost),
            "opened" => {
                state.takes_events = line.on_event;
                if !state.announced {
                    state.announced = true;
                    let name = quote(line.name.as_deref().unwrap_or_default());
                    let connection =
                        session.conn.borrow().as_ref().map_or(String::new(), |conn| conn.id.to_string());
                    let metadata = format!("{{\"agent_name\":{name},\"connection_id\":\"{connection}\"}}");
                    let content = quote("session created");
                    self.emit(
                        session,
                        state,
                        &Event::new(event::SESSION_CREATED, &content).with(&metadata),
                        0,
                    );
                }
                self.pump(session, state);
            }
            // Its next turn fails with the same message; without a first one the session never begins.
            "open_failed" if !state.announced => {
                state.failed = true;
                self.never_began(session, content);
            }
            "state" => {
                let saved =
                    line.state.filter(|saved| saved.get() != "null" && saved.get().len() <= MAX_STATE);
                self.config.journal.save_state(session.key, saved);
            }
            _ => self.give_back(session, state, if line.kind.starts_with("open") { 0 } else { cost }),
        }
    }

    /// A turn has ended by itself, so those before it have. That is all there is to know if the worker does not say more.
    fn turn_was_last(&self, state: &mut State) {
        if !self.said.borrow().ended {
            state.all_ended();
        }
    }

    /// An event of the agent's own.
    fn emitted(&self, session: &Rc<Session>, state: &mut State, line: &WorkerLine<'_>, cost: usize) {
        let name = line.event.map_or("\"\"", RawValue::get);
        if line.turn != 0 {
            let Some(turn) = state.current(line.turn) else { return self.give_back(session, state, cost) };
            if name != event::THINKING {
                turn.answered = true;
                self.stats.responded(&mut turn.pending);
            }
        }
        if name == event::USER_CONFIRM
            && let Some(step) = line.step_id.and_then(|step| serde_json::from_str(step.get()).ok())
        {
            state.asked(step);
        }
        let event = Event {
            name,
            step_id: line.step_id.map(RawValue::get),
            content: line.content.map_or("\"\"", RawValue::get),
            metadata: line.metadata.map_or("{}", RawValue::get),
        };
        self.emit(session, state, &event, cost);
    }

    fn never_began(&self, session: &Rc<Session>, content: &str) {
        let text: String = serde_json::from_str(content).unwrap_or_default();
        if let Some(conn) = &*session.conn.borrow() {
            let content = quote(&format!("the session could not be created: {text}"));
            let metadata = event::code("SESSION_FAILED", true, None);
            self.tell(conn, None, &Event::new(event::AGENT_ERROR, &content).with(&metadata));
        }
        self.doom(session);
    }
}
