//! What a client sees of one conversation.

use crate::rig::{run, with_agent};
use serde_json::{Value, json};

pub(crate) const ECHO: &str = "
class Echo:
    name = 'echo'
    async def arun(self, text):
        print('an agent may print', text)
        return 'echo: ' + text
agent = Echo()
";

#[test]
fn events_are_as_recorded_and_numbered_without_gaps() {
    with_agent(ECHO, async |rig| {
        let mut client = rig.client().await;
        let created = client.create(json!({"project_name":"demo"})).await;
        let session = created["session_id"].as_str().unwrap();
        let connection = client.connection.clone();
        assert_eq!(
            created,
            json!({"event":"agent.session_created","session_id":session,"connection_id":connection,
                "timestamp":"2026-11-22T07:16:14.409647Z","content":"session created",
                "metadata":{"agent_name":"echo","connection_id":connection},"seq":1,"event_id":format!("{session}-1")})
        );
        client.say(session, "hello").await;
        let answer = client.expect("agent.final_answer").await;
        assert_eq!((&answer["content"], &answer["seq"]), (&json!("echo: hello"), &json!(2)));
        assert_eq!(answer["event_id"], format!("{session}-2"));
        assert_eq!(answer["connection_id"], connection.as_str());
        // The connection's only session need not be named.
        client.send(json!({"event":"user.message","content":"again"})).await;
        assert_eq!(client.next().await["seq"], 3);
        assert_eq!(rig.host.sessions(), (1, 0));
    });
}

#[test]
fn a_streamed_answer_comes_in_pieces_and_then_whole() {
    let source = "
class Streams:
    async def astream(self, text):
        for word in text.split():
            yield word
            yield ''
            yield None
agent = Streams()
";
    with_agent(source, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "häl lo 🎈").await;
        let events = client.until("agent.final_answer").await;
        let pieces: Vec<_> = events.iter().map(|event| event["content"].as_str().unwrap()).collect();
        assert_eq!(pieces, ["häl", "lo", "🎈", "hällo🎈"]);
        let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [2, 3, 4, 5]);
        assert_eq!(events[1]["metadata"], json!({"is_streaming":true,"is_final":false,"total_length":5}));
        assert_eq!(events[3]["metadata"]["is_final"], true);
    });
}

#[test]
fn every_kind_of_method_answers() {
    for (method, context) in [
        ("async def arun(self, m): return m.upper()", false),
        ("async def arun(self, m, ctx): return m.upper()", true),
        ("def run(self, m): return m.upper()", false),
        ("def run(self, m, stream=False): return m.upper()", false),
        ("def run(self, m, ctx=None): return m.upper()", true),
        ("async def run(self, m): return m.upper()", false),
        ("def arun(self, m):\n        import asyncio\n        return asyncio.sleep(0, m.upper())", false),
        ("async def astream(self, m, ctx):\n        for c in m: yield c.upper()", true),
        ("def stream(self, m):\n        for c in m: yield c.upper()", false),
        ("def stream(self, m): return iter(m.upper())", false),
        ("def run(self, m):\n        for c in m: yield c.upper()", false),
        ("async def stream(self, m):\n        for c in m: yield c.upper()", false),
    ] {
        let source = format!("class A:\n    {method}\nagent = A()\n");
        run(async {
            let mut rig = crate::rig::Rig::new(myagent_core::config::ServiceConfig::default()).await;
            rig.write(&source);
            let ready = rig.start().await.unwrap();
            assert_eq!(ready.context, context, "{method}");
            let mut client = rig.client().await;
            let session = client.session().await;
            client.say(&session, "abc").await;
            let events = client.until("agent.final_answer").await;
            assert_eq!(events.last().unwrap()["content"], "ABC", "{method}");
        });
    }
}

#[test]
fn what_is_no_event_is_answered_and_the_socket_stays_open() {
    with_agent(ECHO, async |rig| {
        let mut client = rig.client().await;
        client.send(json!({"type":"ping"})).await;
        assert_eq!(client.next().await, json!({"type":"pong"}));
        for (text, code) in [
            ("not json", "MALFORMED"),
            ("[1]", "MALFORMED"),
            ("{}", "MALFORMED"),
            (r#"{"event":7}"#, "MALFORMED"),
            (r#"{"event":"agent.final_answer"}"#, "UNKNOWN_EVENT"),
            (r#"{"event":"user.dance"}"#, "UNKNOWN_EVENT"),
            (r#"{"event":"user.ack"}"#, "INVALID_EVENT"),
            (r#"{"event":"user.reconnect"}"#, "INVALID_EVENT"),
        ] {
            client.send_text(text).await;
            let error = client.expect("system.error").await;
            assert_eq!(error["metadata"]["code"], code, "{text}: {error}");
            assert!(error.get("seq").is_none());
        }
        client.send_text(r#"{"event":"user.message","session_id":"nope","content":"x"}"#).await;
        let error = client.expect("agent.error").await;
        assert_eq!(
            error["metadata"],
            json!({"code":"SESSION_NOT_FOUND","recoverable":false,"session_id":"nope"})
        );
        let session = client.session().await;
        client.say(&session, " ").await;
        let error = client.expect("agent.error").await;
        assert_eq!((&error["metadata"]["code"], &error["seq"]), (&json!("EMPTY_MESSAGE"), &json!(2)));
        client.send(json!({"event":"user.ack","content":{"last_seq":2}})).await;
        client.send(json!({"event":"user.dance","session_id":session})).await;
        client.expect("system.error").await;
        assert_eq!(client.ask(&session, "still here").await, "echo: still here");
    });
}

#[test]
fn text_that_is_awkward_comes_back_as_it_went() {
    let silent = ECHO.replace("print(", "str((").replace("text)\n        return", "text))\n        return");
    with_agent(&silent, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        for text in ["\"quotes\" \\ \n\t\u{1}\u{7f}\u{2028}", "日本語", &"long ".repeat(100_000)] {
            assert_eq!(client.ask(&session, text).await, format!("echo: {text}"));
        }
        // A lone surrogate is no text, but JSON can say it; so can the answer.
        client
            .send_text(format!(
                "{{\"event\":\"user.message\",\n\"session_id\":\"{session}\",\"content\":\"a\\ud83d\"}}"
            ))
            .await;
        let message = futures_util::StreamExt::next(&mut client.socket).await.unwrap().unwrap();
        assert!(message.as_text().unwrap().contains("echo: a\\ud83d"), "{message:?}");
        assert_eq!(client.ask(&session, "fine").await, "echo: fine");
    });
}

#[test]
fn the_context_has_what_an_agent_needs() {
    let source = "
import json
class A:
    async def arun(self, text, ctx):
        ctx.emit('agent.thinking', 'hm', {'step': 0})
        await ctx.emit('agent.tool_call', 'look', {'tool': 'look', 'args': {'a': 1}}, step_id='step_0')
        ctx.emit('custom.thing')
        return json.dumps([ctx.session_id, ctx.history, ctx.params, ctx.cancelled])
agent = A()
";
    with_agent(source, async |rig| {
        let mut client = rig.client().await;
        let created = client.create(json!({"a":[1]})).await;
        let session = created["session_id"].as_str().unwrap();
        client.say(session, "one").await;
        let thinking = client.expect("agent.thinking").await;
        assert_eq!((&thinking["content"], &thinking["metadata"]), (&json!("hm"), &json!({"step":0})));
        let call = client.expect("agent.tool_call").await;
        assert_eq!((&call["step_id"], &call["metadata"]["args"]["a"]), (&json!("step_0"), &json!(1)));
        let custom = client.expect("custom.thing").await;
        assert_eq!(
            (&custom["content"], &custom["metadata"], &custom["seq"]),
            (&json!(""), &json!({}), &json!(4))
        );
        let seen: Value = serde_json::from_str(&client.answer().await).unwrap();
        assert_eq!(seen, json!([session, [], {"a":[1]}, false]));
        client.say(session, "two").await;
        let seen = client.until("agent.final_answer").await.pop().unwrap();
        let seen: Value = serde_json::from_str(seen["content"].as_str().unwrap()).unwrap();
        assert_eq!(seen[1][0], json!({"role":"user","content":"one"}));
        assert_eq!(seen[1][1]["role"], "assistant");
    });
}

#[test]
fn a_session_goes_on_in_another_connection() {
    with_agent(ECHO, async |rig| {
        let mut first = rig.client().await;
        let session = first.session().await;
        first.ask(&session, "a").await;
        first.ask(&session, "b").await;
        first.send(json!({"event":"user.request_state","session_id":session})).await;
        let state = first.expect("agent.state_exported").await["metadata"]["signed_state"].clone();
        assert_eq!(state["state"]["session_id"], session.as_str());
        drop(first);

        let mut second = rig.client().await;
        second
            .send(json!({"event":"user.reconnect_with_state","signed_state":state,"last_event_id":format!("{session}-2")}))
            .await;
        let restored = second.expect("agent.state_restored").await;
        assert_eq!(restored["session_id"], session.as_str());
        assert_eq!(restored["metadata"]["original_session_id"], session.as_str());
        assert_eq!((&restored["metadata"]["replaying"], restored.get("seq")), (&json!(true), None));
        let missed = second.expect("agent.final_answer").await;
        assert_eq!((&missed["seq"], &missed["content"]), (&json!(3), &json!("echo: b")));
        assert_eq!(missed["connection_id"], second.connection.as_str());
        second.expect("agent.state_exported").await;
        assert_eq!(second.expect("system.notice").await["metadata"], json!({"code":"replay","replayed":2}));
        assert_eq!(second.ask(&session, "c").await, "echo: c");

        // The newest connection has it; the older one is told.
        let mut third = rig.client().await;
        third.send(json!({"event":"user.reconnect","session_id":session,"last_seq":5})).await;
        assert_eq!(third.expect("agent.state_restored").await["metadata"]["replaying"], false);
        assert_eq!(second.expect("system.notice").await["metadata"]["code"], "session_moved");
        // What was under way on it takes nothing back; coming back does.
        second.send(json!({"event":"user.ack","session_id":session,"content":{"last_seq":5}})).await;
        second.say(&session, "late").await;
        assert_eq!(second.expect("agent.error").await["metadata"]["code"], "SESSION_MOVED");
        third.expect("system.notice").await;
        assert_eq!(third.ask(&session, "d").await, "echo: d");
        second.send(json!({"event":"user.reconnect","session_id":session,"last_seq":6})).await;
        assert_eq!(second.expect("agent.state_restored").await["metadata"]["open_steps"], json!([]));
        assert_eq!(second.expect("system.notice").await["metadata"]["code"], "replay");
        assert_eq!(second.ask(&session, "e").await, "echo: e");
        assert_eq!(third.expect("system.notice").await["metadata"]["code"], "session_moved");
        third.send(json!({"event":"user.reconnect","session_id":"nope"})).await;
        third.expect("error.recovery_failed").await;
    });
}

#[test]
fn each_session_has_its_agent() {
    let source = "
made = 0
class A:
    def __init__(self, params):
        global made
        made += 1
        if params.get('fail'):
            raise ValueError('no such model')
        self.name, self.count = 'agent-%d' % made, 0
    async def arun(self, text):
        self.count += 1
        return '%s %d of %d' % (self.name, self.count, made)
def create_agent(params):
    return A(params)
";
    with_agent(source, async |rig| {
        let mut client = rig.client().await;
        let created = client.create(Value::Null).await;
        assert_eq!(created["metadata"]["agent_name"], "agent-1", "the one made at the start");
        let first = created["session_id"].as_str().unwrap();
        let created = client.create(json!({"x":1})).await;
        assert_eq!(created["metadata"]["agent_name"], "agent-2");
        let second = created["session_id"].as_str().unwrap();
        assert_eq!(client.ask(first, "a").await, "agent-1 1 of 2");
        assert_eq!(client.ask(second, "a").await, "agent-2 1 of 2");
        client.send(json!({"event":"user.create_session","content":{"fail":true}})).await;
        let error = client.expect("agent.error").await;
        assert_eq!(error["metadata"]["code"], "SESSION_FAILED");
        assert!(error["content"].as_str().unwrap().contains("ValueError: no such model"), "{error}");
        assert!(error.get("seq").is_none());
        assert_eq!(client.ask(first, "b").await, "agent-1 2 of 3");
        assert_eq!(rig.host.sessions(), (2, 0));
    });
}
