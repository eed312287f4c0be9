//! A conversation with the server that agent files were written for first, had again with ours: `recorded/conversation.jsonl`
//! has its frames, and ours may differ in what is named here and in nothing else.
//!
//! In a recorded frame `…` is what was not noted down: the rest of a text, a value, or (as a name) more fields.
//! `<session 1>` stands for an id; two of them were never the same.

use crate::fleet::{PATIENCE, manager};
use crate::wire::{Got, Wire};
use anyhow::{Context, Result, bail, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{TestManager, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CONVERSATION: &str = include_str!("recorded/conversation.jsonl");

/// Emits what the recorded agent did.
const AGENT: &str = r#"
import asyncio

print("the module runs")

class Echo:
    name = "echo"

    async def astream(self, text, ctx):
        ctx.emit("agent.thinking", "Let me see", {"step": 0})
        if text == "wait":
            await asyncio.sleep(1000)
        step = "step_0_get_weather"
        call = {"tool": "get_weather", "args": {"city": "Paris"}, "status": "running"}
        ctx.emit("agent.tool_call", "looking", call, step)
        result = {"tool": "get_weather", "status": "success", "error": None}
        ctx.emit("agent.tool_result", "Paris: sunny, 25C", result, step)
        yield "echo: he"
        ctx.emit("agent.final_answer", "echo: " + text)

def create_agent():
    print("an agent for a session")
    return Echo()
"#;

/// Something that ours does otherwise, in one field.
struct Difference {
    /// What ours does.
    what: &'static str,
    /// Whether it can be seen here: the frame of ours, and the field as a JSON pointer.
    at: fn(&Frame<'_>, &str) -> bool,
    /// Ours is as it should be there.
    right: fn(&Frame<'_>, &Replay) -> bool,
}

/// A frame of our server, where the recorded one is expected.
struct Frame<'a> {
    event: &'a str,
    value: &'a Value,
    /// The recorded server sent it for the second time.
    again: bool,
    connection: u64,
}

impl Frame<'_> {
    fn is_about_the_connection(&self) -> bool {
        self.event.starts_with("system.")
            || self.event == "agent.state_restored"
            || self.value.get("session_id").is_none()
    }
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        what: "a session's events are numbered from 1 without gaps",
        at: |frame, field| {
            !frame.again && !frame.is_about_the_connection() && matches!(field, "/seq" | "/event_id")
        },
        right: |frame, replay| {
            let session = frame.value["session_id"].as_str().unwrap_or_default();
            let next = replay.ours.iter().filter(|event| event.get("seq").is_some()).count() + 1;
            frame.value["seq"] == next && frame.value["event_id"] == format!("{session}-{next}")
        },
    },
    Difference {
        what: "what concerns the connection has no number",
        at: |frame, field| frame.is_about_the_connection() && matches!(field, "/seq" | "/event_id"),
        right: |frame, _| frame.value.get("seq").is_none() && frame.value.get("event_id").is_none(),
    },
    Difference {
        what: "the connection is named at the top level, too",
        at: |_, field| field == "/connection_id",
        right: |frame, replay| {
            let connection = replay.bound.get(&format!("<connection {}>", frame.connection));
            connection.is_some_and(|id| frame.value["connection_id"] == *id)
        },
    },
    Difference {
        what: "times say that they are UTC",
        at: |_, field| field == "/timestamp",
        right: |frame, _| {
            let text = frame.value["timestamp"].as_str().unwrap_or_default();
            let form: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            form == "0000-00-00T00:00:00.000000Z"
        },
    },
    Difference {
        what: "a session that goes on is the same session, and it is said whether anything was missed",
        at: |frame, field| frame.event == "agent.state_restored" && field == "/session_id",
        right: |frame, replay| {
            let metadata = &frame.value["metadata"];
            replay.bound.get("<session 1>").is_some_and(|id| frame.value["session_id"] == *id)
                && metadata["original_session_id"] == frame.value["session_id"]
                && metadata["replaying"] == true
        },
    },
    Difference {
        what: "what was missed comes with its own number, exactly as it was",
        at: |frame, field| {
            frame.again
                && matches!(field, "/seq" | "/event_id" | "/metadata/orig_seq" | "/metadata/orig_event_id")
        },
        right: |frame, replay| {
            let but_for_connection = |event: &Value| {
                let mut event = event.clone();
                event["connection_id"] = Value::Null;
                event
            };
            let again = but_for_connection(frame.value);
            replay.ours.iter().any(|event| but_for_connection(event) == again)
        },
    },
    Difference {
        what: "a ping in JSON has its pong",
        at: |frame, field| {
            frame.value.get("type").is_some() && matches!(field, "/event" | "/content" | "/type")
        },
        right: |frame, _| *frame.value == json!({"type":"pong"}),
    },
];

/// The conversation so far.
#[derive(Default)]
struct Replay {
    /// Ours for what is named `<…>`.
    bound: BTreeMap<String, Value>,
    /// Our numbered events, without those that came again.
    ours: Vec<Value>,
    /// How often each difference was seen.
    seen: BTreeMap<&'static str, usize>,
}

impl Replay {
    /// The fields in which ours is not what was recorded.
    fn compare(&mut self, recorded: &Value, ours: &Value, field: &str, differ: &mut Vec<String>) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                for (name, value) in recorded.iter().filter(|(name, _)| *name != "…") {
                    let field = format!("{field}/{name}");
                    match ours.get(name) {
                        Some(ours) => self.compare(value, ours, &field, differ),
                        None => differ.push(field),
                    }
                }
                let complete = !recorded.contains_key("…");
                let more = ours.keys().filter(|name| complete && !recorded.contains_key(*name));
                differ.extend(more.map(|name| format!("{field}/{name}")));
            }
            (Value::String(recorded), _) if recorded == "…" && !field.ends_with("seq") => {}
            (Value::String(recorded), _) if recorded.starts_with('<') && recorded.ends_with('>') => {
                let known = self.bound.get(recorded).cloned();
                let taken = known.is_none() && self.bound.values().any(|value| value == ours);
                if taken || known.is_some_and(|known| known != *ours) {
                    differ.push(field.to_owned());
                }
                self.bound.entry(recorded.clone()).or_insert_with(|| ours.clone());
            }
            (Value::String(recorded), Value::String(ours)) if recorded.ends_with('…') => {
                if !ours.starts_with(recorded.trim_end_matches('…')) {
                    differ.push(field.to_owned());
                }
            }
            _ if recorded == ours => {}
            _ => differ.push(field.to_owned()),
        }
    }

    /// A frame of ours where this one was recorded.
    fn received(&mut self, line: &Value, ours: &Value) -> Result<()> {
        let mut differ = Vec::new();
        self.compare(&line["server"], ours, "", &mut differ);
        let frame = Frame {
            event: ours["event"].as_str().unwrap_or_default(),
            value: ours,
            again: line["again"] == true,
            connection: line["on"].as_u64().unwrap_or_default(),
        };
        // These are not in each recorded frame, but they are in all of ours.
        differ.extend(["/seq", "/event_id", "/connection_id"].map(str::to_owned));
        differ.retain(|field| *field != "/connection_id" || frame.value.get("type").is_none());
        for field in differ {
            if frame.value.get("type").is_some() && matches!(&*field, "/seq" | "/event_id") {
                continue;
            }
            let known = DIFFERENCES.iter().find(|difference| (difference.at)(&frame, &field));
            let known = known.with_context(|| format!("nobody named the difference in {field}: {ours}"))?;
            ensure!((known.right)(&frame, self), "not so: {}: {ours}", known.what);
            *self.seen.entry(known.what).or_default() += 1;
        }
        if let (Some(pointer), Some(name)) = (line["keep"].as_str(), line["as"].as_str()) {
            let value = ours.pointer(pointer).with_context(|| format!("no {pointer} in {ours}"))?;
            self.bound.insert(name.to_owned(), value.clone());
        }
        if !frame.again && ours.get("seq").is_some() {
            self.ours.push(ours.clone());
        }
        Ok(())
    }

    /// What a client sends, with our ids.
    fn to_send(&self, recorded: &Value) -> Value {
        match recorded {
            Value::String(name) => self.bound.get(name).unwrap_or(recorded).clone(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.to_send(value))).collect()
            }
            _ => recorded.clone(),
        }
    }
}

async fn serve(manager: &TestManager) -> Result<Server> {
    let server = manager.up().await?;
    std::fs::write(manager.work_dir().join("echo.py"), AGENT)?;
    manager.ok(&["register", "echo", "echo.py", "--auto-start"]).await?;
    Ok(server)
}

#[tokio::test]
async fn a_recorded_conversation_goes_as_it_went_but_for_what_is_named() -> Result<()> {
    let manager = manager()?;
    let server = serve(&manager).await?;
    let mut replay = Replay::default();
    let mut connection: Option<(u64, Wire)> = None;
    for (number, line) in CONVERSATION.lines().enumerate() {
        let line: Value = serde_json::from_str(line)?;
        let on = line["on"].as_u64().context("on which connection?")?;
        if connection.as_ref().is_none_or(|(open, _)| *open != on) {
            // The one before breaks without a word.
            drop(connection.take());
            connection = Some((on, Wire::connect(server.address("proxy")?, "/s/echo").await?));
        }
        let (_, wire) = connection.as_mut().context("no connection")?;
        match &line["client"] {
            Value::Null => {
                let ours =
                    wire.reader.event().await.with_context(|| format!("line {}: {line}", number + 1))?;
                replay.received(&line, &ours).with_context(|| format!("line {}: {line}", number + 1))?;
            }
            Value::String(text) => wire.text(text).await?,
            frame => wire.text(&replay.to_send(frame).to_string()).await?,
        }
    }
    // Nothing came besides.
    let (_, mut wire) = connection.context("no connection")?;
    wire.text(r#"{"type":"ping"}"#).await?;
    assert_eq!(wire.reader.event().await?, json!({"type":"pong"}));
    for difference in DIFFERENCES {
        assert!(replay.seen.contains_key(difference.what), "named and not seen: {}", difference.what);
    }

    // What frames do not show. With the number of the newest event the id is enough to come back.
    let session = replay.bound["<session 1>"].clone();
    let last = replay.ours.last().context("no event")?["seq"].clone();
    drop(wire);
    let mut wire = Wire::greeted(server.address("proxy")?, "/s/echo").await?;
    wire.text(&json!({"event":"user.reconnect","session_id":session,"last_seq":last}).to_string()).await?;
    let restored = wire.expect("agent.state_restored").await?;
    assert_eq!((&restored["session_id"], &restored["metadata"]["replaying"]), (&session, &json!(false)));
    assert_eq!(wire.expect("system.notice").await?["metadata"]["replayed"], 0);
    // A session more, and the module is not run again; an agent is made for each.
    wire.create_session().await?;
    let said = wait_for(PATIENCE, "an agent for each session", async || {
        let said = manager.ok(&["logs", "echo", "-n", "1000"]).await.ok()?.stdout;
        (said.matches("an agent for a session").count() >= 2).then_some(said)
    });
    let said = said.await;
    assert_eq!(said.matches("the module runs").count(), 1, "{said}");
    assert_eq!(said.matches("an agent for a session").count(), 2, "{said}");
    assert!(!said.contains("ping") && !said.contains("Traceback"), "{said}");
    Ok(())
}

/// How a message of this size ends.
async fn send_bytes(server: &Server, service: &str, size: usize) -> Result<Option<(u16, String)>> {
    let mut wire = Wire::greeted(server.address("proxy")?, &format!("/s/{service}")).await?;
    let session = wire.create_session().await?;
    let message =
        |text: &str| json!({"event":"user.message","session_id":session,"content":text}).to_string();
    wire.text(&message(&"x".repeat(size - message("").len()))).await?;
    loop {
        match wire.next().await? {
            Got::Close(code, reason) => return Ok(Some((code, reason))),
            Got::Event(_, event) if event["event"] == "agent.final_answer" => return Ok(None),
            Got::Event(..) => {}
            other => bail!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_size_of_a_message_is_limited_as_it_was_and_can_be_set() -> Result<()> {
    let manager = manager()?;
    let server = serve(&manager).await?;
    manager.ok(&["register", "small", "echo.py", "--set", "max_message_kb=4", "--auto-start"]).await?;
    let too_large = Some((1009, "message too large".to_owned()));
    for (service, most) in [("echo", 1024 * 1024), ("small", 4096)] {
        assert_eq!(send_bytes(&server, service, most).await?, None, "{service}");
        assert_eq!(send_bytes(&server, service, most + 1).await?, too_large, "{service}");
    }
    Ok(())
}
