//! The lines between host and worker (`docs/design/worker-protocol.md`): JSON, one object a line. What is only passed on
//! is neither decoded nor encoded here.

use crate::session::Turn;
use crate::text::{Str, push_line, push_number, push_string, quote};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The protocol version that this build and its embedded worker speak.
pub(crate) const PROTOCOL: u32 = 1;

/// A line from the worker: its `type`, and the fields that this type has.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkerLine<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Str<'a>,
    #[serde(default)]
    pub(crate) session: u64,
    #[serde(default)]
    pub(crate) turn: u64,
    #[serde(default)]
    pub(crate) length: u64,
    #[serde(default)]
    pub(crate) quiet: bool,
    #[serde(default, borrow)]
    pub(crate) event: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) step_id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) metadata: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) state: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) name: Option<Str<'a>>,
    #[serde(default)]
    pub(crate) on_event: bool,
    #[serde(default)]
    pub(crate) seconds: f64,
    #[serde(default)]
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) sessions: Vec<u64>,
    #[serde(default, borrow)]
    pub(crate) stack: Option<Str<'a>>,
}

/// The worker's first line.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FirstLine {
    /// The agent file is loaded.
    Ready {
        /// Of the worker.
        protocol: u32,
        #[serde(flatten)]
        ready: WorkerReady,
    },
    /// It cannot be.
    LoadFailed {
        /// Python's own message.
        message: String,
    },
}

/// What a worker that has loaded its agent file says about it. What it does not say is empty or false.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkerReady {
    /// The agent's `name`, else that of its class or function.
    pub name: String,
    /// Version of the interpreter, if that is Python.
    pub python: String,
    /// The worker's process.
    pub pid: u32,
    /// `create_agent()`: an agent for each session.
    pub per_session: bool,
    /// Its method takes the context.
    pub context: bool,
    /// It has `on_event`.
    pub on_event: bool,
    /// It has `export_state` and `import_state`.
    pub state: bool,
    /// A turn may be run twice.
    pub retry_safe: bool,
    /// It says when a turn that was cancelled, or an event, has really ended.
    pub ended: bool,
}

fn start(out: &mut Vec<u8>, kind: &str, session: u64) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"session\":");
    push_number(out, session);
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    push_line(out, value);
}

/// The modules of the worker, in the order in which they are loaded.
pub(crate) fn modules(out: &mut Vec<u8>, modules: &[(&str, &str)]) {
    // Strings are always representable, and memory does not fail.
    let _ = serde_json::to_writer(&mut *out, modules);
    out.push(b'\n');
}

/// The first line for a worker that is a program of its own.
pub(crate) fn start_of_protocol(out: &mut Vec<u8>, service: &str, instance: &str) {
    out.extend_from_slice(b"{\"type\":\"start\",\"protocol\":{\"min\":");
    push_number(out, u64::from(PROTOCOL));
    out.extend_from_slice(b",\"max\":");
    push_number(out, u64::from(PROTOCOL));
    out.push(b'}');
    field(out, "service", &quote(service));
    field(out, "instance", &quote(instance));
    out.extend_from_slice(b"}\n");
}

/// What a worker is told of a session.
#[derive(Default)]
pub(crate) struct Past {
    /// What the client sent with `user.create_session`.
    pub(crate) params: Option<Box<RawValue>>,
    /// What `export_state` returned last.
    pub(crate) state: Option<Box<RawValue>>,
    /// Messages and answers, oldest first.
    pub(crate) history: Vec<(Box<RawValue>, Box<RawValue>)>,
}

pub(crate) fn open(out: &mut Vec<u8>, session: u64, id: &str, past: &Past) {
    start(out, "open", session);
    field(out, "id", &quote(id));
    if let Some(params) = &past.params {
        field(out, "params", params.get());
    }
    if let Some(state) = &past.state {
        field(out, "state", state.get());
    }
    out.extend_from_slice(b",\"history\":[");
    for (index, (message, answer)) in past.history.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        out.extend_from_slice(b"{\"role\":\"user\",\"content\":");
        push_line(out, message.get());
        out.extend_from_slice(b"},{\"role\":\"assistant\",\"content\":");
        push_line(out, answer.get());
        out.extend_from_slice(b"}");
    }
    out.extend_from_slice(b"]}\n");
}

pub(crate) fn turn(out: &mut Vec<u8>, session: u64, turn: &Turn) {
    start(out, "turn", session);
    out.extend_from_slice(b",\"turn\":");
    push_number(out, turn.number);
    field(out, "content", turn.content().get());
    if let Some(metadata) = turn.metadata() {
        field(out, "metadata", metadata.get());
    }
    out.extend_from_slice(b"}\n");
}

pub(crate) fn cancel(out: &mut Vec<u8>, session: u64, turn: u64) {
    start(out, "cancel", session);
    out.extend_from_slice(b",\"turn\":");
    push_number(out, turn);
    out.extend_from_slice(b"}\n");
}

pub(crate) fn answer(out: &mut Vec<u8>, session: u64, step: &str, content: Option<&RawValue>) {
    start(out, "answer", session);
    out.extend_from_slice(b",\"step_id\":");
    push_string(out, step);
    field(out, "content", content.map_or("null", RawValue::get));
    out.extend_from_slice(b"}\n");
}

pub(crate) fn event(out: &mut Vec<u8>, session: u64, whole: &str) {
    start(out, "event", session);
    field(out, "event", whole);
    out.extend_from_slice(b"}\n");
}

pub(crate) fn credit(out: &mut Vec<u8>, session: u64, bytes: usize) {
    start(out, "credit", session);
    out.extend_from_slice(b",\"bytes\":");
    push_number(out, bytes as u64);
    out.extend_from_slice(b"}\n");
}

pub(crate) fn close(out: &mut Vec<u8>, session: u64) {
    start(out, "close", session);
    out.extend_from_slice(b"}\n");
}

pub(crate) fn retire(out: &mut Vec<u8>, force: bool) {
    out.extend_from_slice(b"{\"type\":\"retire\",\"force\":");
    out.extend_from_slice(if force { b"true" } else { b"false" });
    out.extend_from_slice(b"}\n");
}

pub(crate) fn ping(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(b"{\"type\":\"ping\",\"number\":");
    push_number(out, number);
    out.extend_from_slice(b"}\n");
}

pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"end\"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::State;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &Value) {
        let mut out = Vec::new();
        write(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[tokio::test]
    async fn lines_to_the_worker() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let mut past = Past { params: Some(raw("{\n\"a\":1}")), ..Past::default() };
        check(
            |out| open(out, 1, "s\"", &past),
            &json!({"type":"open","session":1,"id":"s\"","params":{"a":1},"history":[]}),
        );
        let mut state = State::new(None, Instant::now());
        state.accept(&raw("\"hi\""), None);
        check(
            |out| turn(out, 1, state.begin(2).unwrap()),
            &json!({"type":"turn","session":1,"turn":2,"content":"hi"}),
        );
        state.end_turn();
        state.accept(&raw("\"hi\""), Some(&raw("{\n\"a\":1}")));
        check(
            |out| turn(out, 1, state.begin(3).unwrap()),
            &json!({"type":"turn","session":1,"turn":3,"content":"hi","metadata":{"a":1}}),
        );
        past.state = Some(raw("[1]"));
        past.history.push((raw("\"hi\""), raw("\"ho\"")));
        let history = json!([{"role":"user","content":"hi"},{"role":"assistant","content":"ho"}]);
        check(
            |out| open(out, 1, "s", &past),
            &json!({"type":"open","session":1,"id":"s","params":{"a":1},"state":[1],"history":history}),
        );
        check(|out| cancel(out, 1, 2), &json!({"type":"cancel","session":1,"turn":2}));
        check(
            |out| answer(out, 1, "a", None),
            &json!({"type":"answer","session":1,"step_id":"a","content":null}),
        );
        check(|out| event(out, 1, "{\n}"), &json!({"type":"event","session":1,"event":{}}));
        check(|out| credit(out, 1, 9), &json!({"type":"credit","session":1,"bytes":9}));
        check(|out| close(out, 1), &json!({"type":"close","session":1}));
        check(|out| ping(out, 3), &json!({"type":"ping","number":3}));
        check(|out| retire(out, true), &json!({"type":"retire","force":true}));
        check(end, &json!({"type":"end"}));
        check(
            |out| start_of_protocol(out, "a", "a-0"),
            &json!({"type":"start","protocol":{"min":1,"max":1},"service":"a","instance":"a-0"}),
        );
    }

    #[test]
    fn lines_of_the_worker() {
        let line: WorkerLine<'_> =
            serde_json::from_str(r#"{"type":"partial","session":3,"turn":4,"length":5,"content":"a\"b"}"#)
                .unwrap();
        assert_eq!((&*line.kind, line.session, line.turn, line.length), ("partial", 3, 4, 5));
        assert_eq!(line.content.map(RawValue::get), Some(r#""a\"b""#));
        let first: FirstLine = serde_json::from_str(
            r#"{"type":"ready","protocol":1,"name":"a","python":"3.9.1","pid":7,"per_session":true,"context":true,"on_event":false,"state":false,"retry_safe":false}"#,
        )
        .unwrap();
        assert!(matches!(first, FirstLine::Ready { protocol: PROTOCOL, ready } if ready.pid == 7));
    }
}
