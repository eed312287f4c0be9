//! What a session says and how it stands: messages, turns and state into the log, and all of it back.

use crate::journal::Journal;
use crate::record::{self, Kind, MAX_OPEN, Open, history_prefix, message_prefix};
use crate::session;
use crate::{Message, Missed, Position, Restored, Running};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A message and its answer.
type Turn = (Box<RawValue>, Box<RawValue>);

impl Journal {
    /// A message of the client was accepted and waits for its turn.
    pub fn message(&self, id: Uuid, content: &RawValue, metadata: Option<&RawValue>) {
        let prefix = message_prefix(content.get().len());
        let parts =
            [prefix.as_slice(), content.get().as_bytes(), metadata.map_or("", RawValue::get).as_bytes()];
        self.inner.borrow_mut().change(id, Some((Kind::Message, &parts)), |point, at| {
            if point.waiting.len() < MAX_OPEN - 1 {
                point.waiting.push(Open { at, redelivered: false, said: false });
            }
        });
    }

    /// The oldest waiting message is being answered from here on.
    pub fn turn_begins(&self, id: Uuid, redelivered: bool) {
        let mut inner = self.inner.borrow_mut();
        let Some(entry) = inner.sessions.get_mut(&id.as_u128()) else { return };
        let first = entry.last_seq + 1;
        (entry.turn_first, entry.said) = (first, false);
        inner.change(id, None, |point, _| {
            point.running = (!point.waiting.is_empty()).then(|| {
                let open = point.waiting.remove(0);
                Open { redelivered: redelivered || open.redelivered, said: false, ..open }
            });
        });
    }

    /// The turn is over. With an answer, message and answer become history.
    pub fn turn_ends(&self, id: Uuid, answer: Option<&RawValue>) {
        let mut inner = self.inner.borrow_mut();
        if inner.off {
            return;
        }
        let session = id.as_u128();
        let Some(entry) = inner.sessions.get(&session) else { return };
        let turn = answer.and_then(|answer| {
            let point = session::checkpoint(&inner.log, session, entry)?;
            let mut message = session::payload(&inner.log, session, point.running?.at, Kind::Message)?;
            message = record::message(&message)?.0.to_vec();
            Some((history_prefix(point.history, message.len()), message, answer.get().as_bytes()))
        });
        let parts = turn.as_ref().map(|(prefix, message, answer)| [prefix.as_slice(), message, answer]);
        let added = parts.as_ref().map(|parts| (Kind::History, parts.as_slice()));
        inner.change(id, added, |point, at| {
            point.running = None;
            if !at.is_none() {
                point.history = at;
            }
        });
    }

    /// The running message is the first waiting one again; marked as redelivered if its worker had begun with it.
    pub fn turn_again(&self, id: Uuid, begun: bool) {
        self.inner.borrow_mut().change(id, None, |point, _| {
            if let Some(open) = point.running.take() {
                let redelivered = begun || open.redelivered;
                point.waiting.insert(0, Open { redelivered, said: false, ..open });
            }
        });
    }

    /// The oldest waiting message was taken back.
    pub fn withdrawn(&self, id: Uuid) {
        self.inner.borrow_mut().change(id, None, |point, _| {
            if !point.waiting.is_empty() {
                point.waiting.remove(0);
            }
        });
    }

    /// What the agent's `export_state` returned; `None` forgets it.
    pub fn save_state(&self, id: Uuid, state: Option<&RawValue>) {
        let parts = state.map(|state| [state.get().as_bytes()]);
        let added = parts.as_ref().map(|parts| (Kind::State, parts.as_slice()));
        self.inner.borrow_mut().change(id, added, |point, at| point.state = at);
    }

    /// The session as it stands. `None`: it is not here, or what is needed of it is lost.
    pub fn restore(&self, id: Uuid) -> Option<Restored> {
        let inner = self.inner.borrow();
        let (log, session) = (&inner.log, id.as_u128());
        let entry = inner.sessions.get(&session)?;
        let point = session::checkpoint(log, session, entry)?;
        let params = session::payload(log, session, point.meta, Kind::Meta)?;
        let message = |open: &Open| {
            let payload = session::payload(log, session, open.at, Kind::Message)?;
            let (content, metadata) = record::message(&payload)?;
            Some(Message {
                content: json(content.to_vec())?,
                metadata: json(metadata.to_vec()),
                redelivered: open.redelivered,
            })
        };
        let running = point.running.as_ref().and_then(|open| {
            let said = open.said || entry.said;
            Some(Running { message: message(open)?, said })
        });
        let waiting = point.waiting.iter().filter_map(message).collect();
        Some(Restored { params: json(params), last_seq: entry.last_seq, running, waiting })
    }

    /// Messages and their answers, oldest first: at most 100 and 1 MiB of text.
    pub fn history(&self, id: Uuid) -> Vec<Turn> {
        let inner = self.inner.borrow();
        let (log, session) = (&inner.log, id.as_u128());
        let Some(entry) = inner.sessions.get(&session) else { return Vec::new() };
        let Some(point) = session::checkpoint(log, session, entry) else { return Vec::new() };
        let turns = session::history(log, session, point.history, &log.limits.full);
        turns.into_iter().rev().filter_map(|turn| Some((json(turn.message)?, json(turn.answer)?))).collect()
    }

    /// What was last given to [`Journal::save_state`].
    pub fn state(&self, id: Uuid) -> Option<Box<RawValue>> {
        let inner = self.inner.borrow();
        let (log, session) = (&inner.log, id.as_u128());
        let point = session::checkpoint(log, session, inner.sessions.get(&session)?)?;
        session::payload(log, session, point.state, Kind::State).and_then(json)
    }

    /// The events after number `seen`. Kept are, newest first and up to 4 MiB (the newest always), those of the newest turn and as many
    /// before it as make 1,000.
    pub fn missed(&self, id: Uuid, seen: u64) -> Missed {
        let inner = self.inner.borrow();
        let session = id.as_u128();
        let Some(entry) = inner.sessions.get(&session) else { return Missed::default() };
        let mut events = session::events(&inner.log, session, entry, seen, &inner.log.limits.full);
        events.reverse();
        let last_lost = entry.last_seq - events.len() as u64;
        Missed { gap: (seen < last_lost).then(|| (seen + 1, last_lost)), events }
    }

    /// Appends the event's text. False: it is no longer there; ask [`Journal::missed`] again.
    pub fn read(&self, id: Uuid, position: Position, out: &mut Vec<u8>) -> bool {
        let inner = self.inner.borrow();
        let mut reader = crate::reader::Reader::single(&inner.log);
        match reader.record(position, id.as_u128()) {
            Some((header, text)) if header.kind == Kind::Event => {
                out.extend_from_slice(text);
                true
            }
            _ => false,
        }
    }
}

/// JSON as it was given to us; what is not JSON is damage that the checksum did not see.
fn json(bytes: Vec<u8>) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(bytes).ok()?).ok()
}
