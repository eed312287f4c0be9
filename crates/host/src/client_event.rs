//! What clients send: one JSON object per text frame, read without copying what is only passed on.

use crate::text::{Str, defect, excerpt, is_blank};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One frame of a client, as it came.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    event: Option<Str<'a>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Str<'a>>,
    #[serde(borrow, default)]
    session_id: Option<Str<'a>>,
    #[serde(borrow, default)]
    step_id: Option<Str<'a>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    signed_state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    last_event_id: Option<Str<'a>>,
    #[serde(default)]
    last_seq: Option<u64>,
}

/// What a client wants.
#[derive(Debug)]
pub(crate) enum ClientEvent<'a> {
    /// `{"type":"ping"}`.
    Ping,
    /// `user.create_session`, with an object for the agent.
    Create { params: Option<&'a RawValue> },
    /// `user.message`; without content: it has no text.
    Message { session: Option<Str<'a>>, content: Option<&'a RawValue>, metadata: Option<&'a RawValue> },
    /// `user.cancel`.
    Cancel { session: Option<Str<'a>> },
    /// `user.response` to an `agent.user_confirm`.
    Response { session: Option<Str<'a>>, step: Option<Str<'a>>, content: Option<&'a RawValue> },
    /// `user.ack`.
    Ack { session: Option<Str<'a>>, last_seq: u64 },
    /// `user.request_state`.
    RequestState { session: Option<Str<'a>> },
    /// `user.reconnect` and `user.reconnect_with_state`; the events up to `last_seq` have been seen.
    Reconnect { session: String, last_seq: u64 },
    /// Another `user.*` event: for the agent, if it wants it.
    Other { session: Option<Str<'a>>, name: Str<'a>, whole: &'a str },
}

/// Why a frame is answered with `system.error`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    /// Not JSON, not an object, or a field of the wrong type.
    #[error("not an event: {}", excerpt(.0))]
    Malformed(String),
    /// An object without `event`.
    #[error("the event has no name: send {{\"event\":\"user.message\", …}}")]
    NoEvent,
    /// Neither the protocol nor the agent knows it.
    #[error("unknown event {:?}", excerpt(.0))]
    Unknown(String),
    /// Something in it could harm the agent.
    #[error("the content of {} {what}", excerpt(event))]
    Harmful {
        /// The event.
        event: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something that the event needs is missing.
    #[error("{event} needs {what}")]
    Missing {
        /// The event.
        event: &'static str,
        /// What it needs.
        what: &'static str,
    },
}

impl BadFrame {
    /// The stable code in `metadata.code`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::NoEvent | Self::Harmful { .. } => "MALFORMED",
            Self::Unknown(_) => "UNKNOWN_EVENT",
            Self::Missing { .. } => "INVALID_EVENT",
        }
    }
}

impl<'a> ClientEvent<'a> {
    /// Reads a frame.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, BadFrame> {
        let whole = std::str::from_utf8(text).map_err(|error| BadFrame::Malformed(error.to_string()))?;
        // An array could be read as the fields of an object in their order, which nobody means.
        if whole.trim_start().starts_with('[') {
            return Err(BadFrame::Malformed("an array, where an object is expected".to_owned()));
        }
        let frame: Frame<'a> =
            serde_json::from_str(whole).map_err(|error| BadFrame::Malformed(error.to_string()))?;
        let Some(name) = frame.event else {
            let ping = frame.kind.is_some_and(|kind| &*kind == "ping");
            return if ping { Ok(Self::Ping) } else { Err(BadFrame::NoEvent) };
        };
        let mut passed_on = [frame.content, frame.metadata].into_iter().flatten().map(RawValue::get);
        if let Some(what) = passed_on.find_map(defect) {
            return Err(BadFrame::Harmful { event: name.to_string(), what });
        }
        let session = frame.session_id;
        Ok(match &*name {
            "user.create_session" => Self::Create { params: frame.content },
            "user.message" => {
                let content = frame.content.filter(|raw| !is_blank(raw));
                Self::Message { session, content, metadata: frame.metadata }
            }
            "user.cancel" => Self::Cancel { session },
            "user.response" => Self::Response { session, step: frame.step_id, content: frame.content },
            "user.ack" => {
                let last_seq = frame.last_seq.or_else(|| Named::in_object(frame.content).last_seq());
                let missing =
                    BadFrame::Missing { event: "user.ack", what: "content.last_seq, a whole number" };
                Self::Ack { session, last_seq: last_seq.ok_or(missing)? }
            }
            "user.request_state" => Self::RequestState { session },
            "user.reconnect" | "user.reconnect_with_state" => {
                let content = Named::in_object(frame.content);
                let signed = Named::in_object(frame.signed_state);
                let state = if signed.state.is_some() { Named::in_object(signed.state) } else { signed };
                let id = session.or_else(|| content.session_id()).or_else(|| state.session_id());
                let missing = BadFrame::Missing { event: "user.reconnect", what: "a session_id" };
                let last_seq = frame
                    .last_seq
                    .or_else(|| content.last_seq())
                    .or_else(|| frame.last_event_id.and_then(|id| id.rsplit_once('-')?.1.parse().ok()))
                    .or_else(|| state.last_seq());
                Self::Reconnect { session: id.ok_or(missing)?.to_string(), last_seq: last_seq.unwrap_or(0) }
            }
            other if other.starts_with("user.") => {
                if let Some(what) = defect(whole) {
                    return Err(BadFrame::Harmful { event: name.to_string(), what });
                }
                Self::Other { session, name, whole }
            }
            other => return Err(BadFrame::Unknown(other.to_owned())),
        })
    }
}

/// What a client may say about a session in an object of its event. Whatever else is in there is passed over.
#[derive(Default, Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    state: Option<&'a RawValue>,
    #[serde(borrow, default)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    last_seq: Option<&'a RawValue>,
}

impl<'a> Named<'a> {
    /// Of something else than an object: nothing.
    fn in_object(raw: Option<&'a RawValue>) -> Self {
        let object = raw.map(RawValue::get).filter(|text| text.starts_with('{'));
        object.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    fn session_id(&self) -> Option<Str<'a>> {
        serde_json::from_str(self.session_id?.get()).ok()
    }

    fn last_seq(&self) -> Option<u64> {
        serde_json::from_str(self.last_seq?.get()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match ClientEvent::parse(text.as_bytes()) {
            Ok(event) => format!("{event:?}"),
            Err(error) => format!("{}: {error}", error.code()),
        };
        assert!(found.contains(expected), "{text}: {found}, expected {expected}");
    }

    #[test]
    fn frames_are_read_as_recorded() {
        check(r#"{"type":"ping"}"#, "Ping");
        check(r#"{"event":"user.create_session","content":{"project_name":"demo"}}"#, "project_name");
        check(
            r#"{"event":"user.message","session_id":"s","content":"hello"}"#,
            r#"Message { session: Some(Str("s")), content: Some(RawValue("hello")), metadata: None }"#,
        );
        check(r#"{"event":"user.message","session_id":"s","content":"  "}"#, "content: None");
        check(r#"{"event":"user.message","session_id":"s"}"#, "content: None");
        check(r#"{"event":"user.message","content":null}"#, "content: None");
        check(r#"{"event":"user.message","content":{"text":"a"}}"#, "content: Some");
        check(r#"{"event":"user.ack","content":{"last_seq":3}}"#, "last_seq: 3");
        check(r#"{"event":"user.cancel","session_id":"s"}"#, "Cancel");
        check(r#"{"event":"user.reconnect","session_id":"s","last_seq":7}"#, r#"session: "s", last_seq: 7"#);
        let signed = r#"{"event":"user.reconnect_with_state","signed_state":{"state":{"session_id":"s"},"x":1},"last_event_id":"89-a-3"}"#;
        check(signed, r#"session: "s", last_seq: 3"#);
        let nothing = r#"{"event":"user.reconnect","signed_state":{"state":["s",1]},"content":["s"]}"#;
        check(nothing, "INVALID_EVENT: user.reconnect needs a session_id");
        let state = r#"{"event":"user.reconnect","signed_state":{"session_id":"s","last_seq":4},"content":{"last_seq":-1}}"#;
        check(state, r#"session: "s", last_seq: 4"#);
        check(r#"{"event":"user.solve_tasks","session_id":"s","tasks":[]}"#, "Other");
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("hello", "MALFORMED: not an event: expected value");
        check("[]", "MALFORMED");
        check(r#" ["user.create_session"]"#, "MALFORMED: not an event: an array");
        let long = format!(r#"{{"event":"user.cancel","last_seq":"{}"}}"#, "x".repeat(1000));
        assert!(ClientEvent::parse(long.as_bytes()).unwrap_err().to_string().len() < 300);
        check("{}", "MALFORMED: the event has no name");
        check(r#"{"type":"pong"}"#, "MALFORMED");
        check(r#"{"event":5}"#, "invalid type: integer `5`, expected a string");
        check(r#"{"event":"user.message","session_id":5}"#, "MALFORMED");
        check(r#"{"event":"agent.thinking"}"#, "UNKNOWN_EVENT: unknown event \"agent.thinking\"");
        check(r#"{"event":"user.ack"}"#, "INVALID_EVENT: user.ack needs content.last_seq");
        check(r#"{"event":"user.reconnect"}"#, "INVALID_EVENT: user.reconnect needs a session_id");
        let deep = format!(r#"{{"event":"user.message","content":{}{}}}"#, "[".repeat(100), "]".repeat(100));
        check(&deep, "MALFORMED: the content of user.message is nested too deeply");
        assert!(ClientEvent::parse(b"\xff").is_err());
    }
}
