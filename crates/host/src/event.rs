//! What clients get: events as JSON text, written once.
//!
//! An event is written without its connection and without its closing brace, so that the same bytes serve the log and
//! every connection that they are sent to: [`finish`] adds the connection.

use crate::text::{push_number, push_string};
use myagent_core::ConnectionId;
use std::io::Write as _;

/// An event; every part is JSON already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Its name, with quotes.
    pub(crate) name: &'a str,
    /// The step that it belongs to; `null` is none.
    pub(crate) step_id: Option<&'a str>,
    /// Its content.
    pub(crate) content: &'a str,
    /// An object.
    pub(crate) metadata: &'a str,
}

impl<'a> Event<'a> {
    /// An event without a step and with empty metadata.
    pub(crate) fn new(name: &'a str, content: &'a str) -> Self {
        Self { name, step_id: None, content, metadata: "{}" }
    }

    /// With this metadata.
    pub(crate) fn with(self, metadata: &'a str) -> Self {
        Self { metadata, ..self }
    }

    /// Whether it is numbered: all are, except what concerns the connection and not the conversation.
    pub(crate) fn is_numbered(&self) -> bool {
        !self.name.starts_with("\"system.") && self.name != STATE_RESTORED
    }

    /// Appends it, up to where the connection belongs.
    pub(crate) fn write(&self, out: &mut Vec<u8>, session: Option<&str>, timestamp: &str, seq: Option<u64>) {
        let mut part = |label: &str, value: &str| {
            out.extend_from_slice(label.as_bytes());
            out.extend_from_slice(value.as_bytes());
        };
        part("{\"event\":", self.name);
        if let Some(session) = session {
            // A session id is one that we made: it has nothing to escape.
            part(",\"session_id\":\"", session);
            part("\"", "");
        }
        if let Some(step) = self.step_id.filter(|step| *step != "null") {
            part(",\"step_id\":", step);
        }
        part(",\"timestamp\":\"", timestamp);
        part("\",\"content\":", if self.content == "null" { "\"\"" } else { self.content });
        part(",\"metadata\":", if self.metadata == "null" { "{}" } else { self.metadata });
        if let (Some(seq), Some(session)) = (seq, session) {
            out.extend_from_slice(b",\"seq\":");
            push_number(out, seq);
            out.extend_from_slice(b",\"event_id\":\"");
            out.extend_from_slice(session.as_bytes());
            out.push(b'-');
            push_number(out, seq);
            out.push(b'"');
        }
    }
}

/// Appends the connection and the closing brace.
pub(crate) fn finish(out: &mut Vec<u8>, connection: ConnectionId) {
    // Writing into memory does not fail.
    let _ = write!(out, ",\"connection_id\":\"{connection}\"}}");
}

/// `{"code":…,"recoverable":…}`, and the named session that there is not, if one was named.
pub(crate) fn code(code: &str, recoverable: bool, session: Option<&str>) -> String {
    let mut out = format!("{{\"code\":\"{code}\",\"recoverable\":{recoverable}").into_bytes();
    if let Some(session) = session {
        out.extend_from_slice(b",\"session_id\":");
        push_string(&mut out, session);
    }
    out.push(b'}');
    String::from_utf8_lossy(&out).into_owned()
}

/// The metadata, an object, with this mark in it.
pub(crate) fn marked(metadata: &str, mark: &str) -> String {
    let Some(fields) = metadata.trim().strip_prefix('{').filter(|_| metadata != "{}") else {
        return format!("{{\"{mark}\":true}}");
    };
    let comma = if fields.trim() == "}" { "" } else { "," };
    format!("{{\"{mark}\":true{comma}{fields}")
}

/// [`code`] about a session that is not here, but may be asked for again after so many milliseconds.
pub(crate) fn not_now(name: &str, session: Option<&str>, retry_after_ms: u32) -> String {
    let code = code(name, true, session);
    let open = code.strip_suffix('}').unwrap_or(&code);
    format!("{open},\"retry_after_ms\":{retry_after_ms}}}")
}

pub(crate) const CONNECTED: &str = "\"system.connected\"";
pub(crate) const HEARTBEAT: &str = "\"system.heartbeat\"";
pub(crate) const SYSTEM_ERROR: &str = "\"system.error\"";
pub(crate) const NOTICE: &str = "\"system.notice\"";
pub(crate) const SESSION_CREATED: &str = "\"agent.session_created\"";
pub(crate) const THINKING: &str = "\"agent.thinking\"";
pub(crate) const PARTIAL: &str = "\"agent.partial_answer\"";
pub(crate) const FINAL: &str = "\"agent.final_answer\"";
pub(crate) const USER_CONFIRM: &str = "\"agent.user_confirm\"";
pub(crate) const INTERRUPTED: &str = "\"agent.interrupted\"";
pub(crate) const AGENT_ERROR: &str = "\"agent.error\"";
pub(crate) const STATE_EXPORTED: &str = "\"agent.state_exported\"";
pub(crate) const STATE_RESTORED: &str = "\"agent.state_restored\"";
pub(crate) const RECOVERY_FAILED: &str = "\"error.recovery_failed\"";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(event: Event<'_>, session: Option<&str>, seq: Option<u64>, expected: &Value) {
        let mut out = Vec::new();
        event.write(&mut out, session, "T", seq);
        finish(&mut out, ConnectionId(uuid::Uuid::nil()));
        let mut found: Value = serde_json::from_slice(&out).unwrap();
        let object = found.as_object_mut().unwrap();
        assert_eq!(object.remove("connection_id").unwrap(), "00000000-0000-0000-0000-000000000000");
        assert_eq!(object.remove("timestamp").unwrap(), "T");
        assert_eq!(&found, expected);
    }

    #[test]
    fn a_mark_is_put_into_any_metadata() {
        for (metadata, expected) in [
            ("{}", json!({"m": true})),
            ("{ }", json!({"m": true})),
            ("null", json!({"m": true})),
            (" {\"a\": {}}", json!({"m": true, "a": {}})),
        ] {
            let found: Value = serde_json::from_str(&marked(metadata, "m")).unwrap();
            assert_eq!(found, expected, "{metadata}");
        }
    }

    #[test]
    fn events_have_the_recorded_form() {
        let partial = Event::new(PARTIAL, "\"a\"").with("{\"is_final\":false}");
        assert!(partial.is_numbered());
        check(
            partial,
            Some("s"),
            Some(7),
            &json!({"event":"agent.partial_answer","session_id":"s","content":"a","metadata":{"is_final":false},"seq":7,"event_id":"s-7"}),
        );
        let step =
            Event { step_id: Some("\"one\""), ..Event::new("\"agent.tool_call\"", "null").with("null") };
        check(
            step,
            Some("s"),
            Some(1),
            &json!({"event":"agent.tool_call","session_id":"s","step_id":"one","content":"","metadata":{},"seq":1,"event_id":"s-1"}),
        );
        let error = code("NO", true, Some("a\""));
        let system = Event { step_id: Some("null"), ..Event::new(SYSTEM_ERROR, "1").with(&error) };
        assert!(!system.is_numbered() && !Event::new(STATE_RESTORED, "1").is_numbered());
        check(
            system,
            None,
            None,
            &json!({"event":"system.error","content":1,"metadata":{"code":"NO","recoverable":true,"session_id":"a\""}}),
        );
    }
}
