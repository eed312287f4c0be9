//! Enough of the event protocol: sessions, an answer of three pieces and a whole, cancelling, the errors. Pure: what a
//! client sends goes in, what it gets comes out.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Pieces of an answer before the whole.
const PIECES: u32 = 3;

/// One connection's sessions.
pub(super) struct Conversation {
    connection_id: Uuid,
    sessions: BTreeMap<String, Session>,
}

#[derive(Default)]
struct Session {
    seq: u64,
    /// The message being answered, and how many pieces were sent.
    turn: Option<(String, u32)>,
}

impl Conversation {
    pub(super) fn new() -> Self {
        Self { connection_id: Uuid::new_v4(), sessions: BTreeMap::new() }
    }

    /// What a client gets unasked.
    pub(super) fn greeting(&self) -> Value {
        let metadata = json!({"connection_id": self.connection_id});
        json!({"event": "system.connected", "content": "Connected", "metadata": metadata})
    }

    /// Takes a frame in; the immediate answer, if there is one.
    pub(super) fn receive(&mut self, text: &str) -> Option<Value> {
        let Ok(Value::Object(frame)) = serde_json::from_str(text) else {
            return Some(system_error("this is not a JSON object"));
        };
        if frame.get("type").is_some_and(|kind| kind == "ping") {
            return Some(json!({"type": "pong"}));
        }
        let word = |name: &str| frame.get(name).and_then(Value::as_str).unwrap_or_default();
        match word("event") {
            "user.create_session" => {
                let id = Uuid::new_v4().to_string();
                self.sessions.insert(id.clone(), Session::default());
                self.numbered(&id, "agent.session_created", "session created", json!({"agent_name": "fake"}))
            }
            "user.message" => self.message(word("session_id"), word("content")),
            "user.cancel" => {
                let id = word("session_id");
                self.sessions.get_mut(id)?.turn.take()?;
                self.numbered(id, "agent.interrupted", "cancelled", json!({}))
            }
            "user.ack" => None,
            unknown => Some(system_error(&format!("unknown event {unknown:?}"))),
        }
    }

    fn message(&mut self, id: &str, text: &str) -> Option<Value> {
        let Some(session) = self.sessions.get_mut(id) else {
            return Some(json!({"event": "agent.error", "session_id": id, "content": "session not found"}));
        };
        let fault = if text.is_empty() {
            "the message is empty"
        } else if session.turn.is_some() {
            "the session is busy"
        } else {
            session.turn = Some((text.to_owned(), 0));
            return None;
        };
        self.numbered(id, "agent.error", fault, json!({}))
    }

    /// Whether an answer is under way.
    pub(super) fn is_answering(&self) -> bool {
        self.sessions.values().any(|session| session.turn.is_some())
    }

    /// The next event of each answer under way.
    pub(super) fn step(&mut self) -> Vec<Value> {
        let ids: Vec<String> = self.sessions.keys().cloned().collect();
        ids.iter().filter_map(|id| self.step_of(id)).collect()
    }

    fn step_of(&mut self, id: &str) -> Option<Value> {
        let session = self.sessions.get_mut(id)?;
        let (text, sent) = session.turn.take()?;
        let answer = format!("echo: {text}");
        if sent == PIECES {
            return self.numbered(id, "agent.final_answer", &answer, json!({"is_final": true}));
        }
        let characters: Vec<char> = answer.chars().collect();
        let cut = |piece: u32| characters.len() * piece as usize / PIECES as usize;
        let piece: String = characters[cut(sent)..cut(sent + 1)].iter().collect();
        session.turn = Some((text, sent + 1));
        self.numbered(id, "agent.partial_answer", &piece, json!({"is_streaming": true, "is_final": false}))
    }

    fn numbered(&mut self, id: &str, event: &str, content: &str, metadata: Value) -> Option<Value> {
        let session = self.sessions.get_mut(id)?;
        session.seq += 1;
        let mut frame = Map::new();
        frame.insert("event".to_owned(), event.into());
        frame.insert("session_id".to_owned(), id.into());
        frame.insert("connection_id".to_owned(), self.connection_id.to_string().into());
        frame.insert("content".to_owned(), content.into());
        frame.insert("metadata".to_owned(), metadata);
        frame.insert("seq".to_owned(), session.seq.into());
        frame.insert("event_id".to_owned(), format!("{id}-{}", session.seq).into());
        Some(Value::Object(frame))
    }
}

fn system_error(content: &str) -> Value {
    json!({"event": "system.error", "content": content, "metadata": {}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_answered_in_three_pieces_and_a_whole() {
        let mut conversation = Conversation::new();
        let created = conversation.receive(r#"{"event":"user.create_session"}"#).unwrap();
        let id = created["session_id"].as_str().unwrap().to_owned();
        let message = json!({"event": "user.message", "session_id": id, "content": "hällo"}).to_string();
        assert_eq!(conversation.receive(&message), None);
        let mut events = vec![created];
        while conversation.is_answering() {
            events.extend(conversation.step());
        }
        assert_eq!(crate::client::check_seq(&events, &id, 1).unwrap(), 5);
        let pieces: String = events[1..4].iter().map(|event| event["content"].as_str().unwrap()).collect();
        assert_eq!((pieces.as_str(), &events[4]["content"]), ("echo: hällo", &"echo: hällo".into()));

        // Cancelled, the answer ends and the session goes on.
        assert_eq!(conversation.receive(&message), None);
        let busy = conversation.receive(&message).unwrap();
        assert_eq!(busy["event"], "agent.error");
        conversation.step();
        let cancel = json!({"event": "user.cancel", "session_id": id}).to_string();
        assert_eq!(conversation.receive(&cancel).unwrap()["event"], "agent.interrupted");
        assert!(!conversation.is_answering() && conversation.receive(&cancel).is_none());
    }

    #[test]
    fn mistakes_are_answered() {
        let mut conversation = Conversation::new();
        for (frame, event) in [
            ("not json", "system.error"),
            (r#"{"event":"user.dance"}"#, "system.error"),
            (r#"{"event":"user.message","session_id":"nope","content":"x"}"#, "agent.error"),
        ] {
            assert_eq!(conversation.receive(frame).unwrap()["event"], event, "{frame}");
        }
        assert_eq!(conversation.receive(r#"{"type":"ping"}"#), Some(json!({"type": "pong"})));
    }
}
