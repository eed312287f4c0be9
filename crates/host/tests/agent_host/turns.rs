//! Turns: one at a time per session, many at a time in all; cancel, questions, failures.

use crate::rig::{Client, with_agent};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Waits in a turn until somebody sends `user.release`.
const WAITS: &str = "
import asyncio
class A:
    def __init__(self):
        self.released = None
    async def arun(self, text, ctx):
        if text == 'wait':
            ctx.emit('agent.thinking', 'waiting')
            self.released = asyncio.Event()
            await self.released.wait()
        return text
    async def on_event(self, event, ctx):
        if event['event'] == 'user.release':
            self.released.set()
            ctx.emit('custom.released', event.get('extra'))
        else:
            raise ValueError('unknown to me')
def create_agent():
    return A()
";

#[test]
fn ten_messages_wait_and_the_eleventh_is_refused() {
    with_agent(WAITS, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "wait").await;
        client.expect("agent.thinking").await;
        for number in 0..10 {
            client.say(&session, &number.to_string()).await;
        }
        client.say(&session, "too many").await;
        let error = client.expect("agent.error").await;
        assert_eq!(error["metadata"], json!({"code":"BUSY","recoverable":true}));
        client.send(json!({"event":"user.release","session_id":session,"extra":[1]})).await;
        let released = client.expect("custom.released").await;
        assert_eq!((&released["content"], &released["seq"]), (&json!([1]), &json!(4)));
        assert_eq!(client.answer().await, "wait");
        for number in 0..10 {
            assert_eq!(client.answer().await, number.to_string());
        }
        client.send(json!({"event":"user.dance","session_id":session})).await;
        let error = client.expect("agent.error").await;
        assert_eq!(error["content"], "ValueError: unknown to me");
        assert_eq!(client.ask(&session, "on").await, "on");
    });
}

#[test]
fn a_session_does_not_wait_for_another() {
    with_agent(WAITS, async |rig| {
        let mut client = rig.client().await;
        let (first, second) = (client.session().await, client.session().await);
        client.say(&first, "wait").await;
        client.expect("agent.thinking").await;
        assert_eq!(client.ask(&second, "meanwhile").await, "meanwhile");
        let mut other = rig.client().await;
        let third = other.session().await;
        assert_eq!(other.ask(&third, "too").await, "too");
        // Two sessions: which one is meant must be said.
        client.send(json!({"event":"user.message","content":"x"})).await;
        assert_eq!(client.expect("agent.error").await["metadata"]["code"], "SESSION_NOT_FOUND");
    });
}

#[test]
fn agents_without_async_run_side_by_side() {
    let source = "
import threading
both = threading.Barrier(2)
class A:
    def run(self, text, ctx):
        ctx.emit('agent.thinking', threading.current_thread().name)
        both.wait(30)
        return text
agent = A()
";
    with_agent(source, async |rig| {
        let (mut one, mut two) = (rig.client().await, rig.client().await);
        let (first, second) = (one.session().await, two.session().await);
        one.say(&first, "1").await;
        two.say(&second, "2").await;
        one.expect("agent.thinking").await;
        two.expect("agent.thinking").await;
        assert_eq!((one.answer().await, two.answer().await), ("1".to_owned(), "2".to_owned()));
    });
}

async fn cancel(client: &mut Client, session: &str) -> Vec<Value> {
    let start = Instant::now();
    client.send(json!({"event":"user.cancel","session_id":session})).await;
    let events = client.until("agent.interrupted").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    events
}

#[test]
fn a_cancelled_turn_is_silent_and_the_session_usable() {
    let source = "
import asyncio, time
seen = []
class Async:
    async def astream(self, text, ctx):
        if text == 'seen':
            yield ' '.join(seen)
            return
        try:
            while not ctx.cancelled:
                yield 'x'
                await asyncio.sleep(0.005)
            seen.append('noticed')
        except asyncio.CancelledError:
            seen.append('thrown')
            raise
        finally:
            ctx.emit('custom.late', 'not to be seen')
class Stubborn:
    async def arun(self, text, ctx):
        if text == 'seen':
            return ' '.join(seen)
        ctx.emit('custom.begin')
        try:
            await asyncio.sleep(1000)
        finally:
            seen.append('thrown')
class Sync:
    def stream(self, text, ctx):
        if text == 'seen':
            yield ' '.join(seen)
            return
        try:
            while not ctx.cancelled:
                yield 'x'
                time.sleep(0.005)
            seen.append('noticed')
        except GeneratorExit:
            seen.append('closed')
        ctx.emit('custom.late', 'not to be seen')
class Asks:
    def run(self, text, ctx):
        if text == 'seen':
            return ' '.join(seen)
        try:
            return ctx.confirm('sure?')
        except Exception as error:
            seen.append(type(error).__name__)
            raise
def create_agent(params):
    return globals()[params.get('kind', 'Async')]()
";
    with_agent(source, async |rig| {
        for (kind, begin, expected) in [
            ("Async", "agent.partial_answer", &["noticed"][..]),
            ("Stubborn", "custom.begin", &["noticed thrown"]),
            ("Sync", "agent.partial_answer", &["noticed thrown noticed", "noticed thrown closed"]),
            (
                "Asks",
                "agent.user_confirm",
                &["noticed thrown noticed Cancelled", "noticed thrown closed Cancelled"],
            ),
        ] {
            let mut client = rig.client().await;
            let created = client.create(json!({"kind":kind})).await;
            let session = created["session_id"].as_str().unwrap();
            client.say(session, "go").await;
            client.expect(begin).await;
            let mut numbers: Vec<u64> = cancel(&mut client, session)
                .await
                .iter()
                .map(|event| event["seq"].as_u64().unwrap())
                .collect();
            client.say(session, "seen").await;
            let after = client.until("agent.final_answer").await;
            let answer = after.last().unwrap()["content"].as_str().unwrap();
            assert!(expected.contains(&answer), "{kind}: {answer}");
            assert!(after.iter().all(|event| event["content"] != "x"), "{kind}: {after:?}");
            assert!(after.iter().all(|event| event["event"] != "custom.late"), "{kind}: {after:?}");
            numbers.extend(after.iter().map(|event| event["seq"].as_u64().unwrap()));
            assert!(numbers.iter().zip(3..).all(|(seq, expected)| *seq == expected), "{numbers:?}");
            client.send(json!({"event":"user.cancel","session_id":session})).await;
            assert_eq!(client.expect("agent.interrupted").await["metadata"]["reason"], "nothing_running");
        }
    });
}

#[test]
fn a_question_is_answered_by_the_client() {
    let source = "
class Async:
    async def arun(self, text, ctx):
        return 'chose %r' % (await ctx.confirm('Which?', ['a', 'b']),)
class Sync:
    def run(self, text, ctx):
        return 'chose %r' % (ctx.confirm('Which?', ('a', 'b')),)
def create_agent(params):
    return Async() if params.get('asynchronous', True) else Sync()
";
    with_agent(source, async |rig| {
        for asynchronous in [true, false] {
            let mut client = rig.client().await;
            let created = client.create(json!({"asynchronous":asynchronous})).await;
            let session = created["session_id"].as_str().unwrap();
            client.say(session, "go").await;
            let question = client.expect("agent.user_confirm").await;
            assert_eq!(
                (&question["content"], &question["metadata"]["options"]),
                (&json!("Which?"), &json!(["a", "b"]))
            );
            client
                .send(json!({"event":"user.response","session_id":session,"step_id":"other","content":"a"}))
                .await;
            assert_eq!(client.expect("agent.error").await["metadata"]["code"], "UNKNOWN_STEP");
            let step = &question["step_id"];
            client
                .send(json!({"event":"user.response","session_id":session,"step_id":step,"content":"b"}))
                .await;
            assert_eq!(client.answer().await, "chose 'b'");
            client
                .send(json!({"event":"user.response","session_id":session,"step_id":step,"content":"b"}))
                .await;
            assert_eq!(client.expect("agent.error").await["metadata"]["code"], "UNKNOWN_STEP");
            client.say(session, "go").await;
            client.expect("agent.user_confirm").await;
            client.send(json!({"event":"user.response","content":{"ok":true}})).await;
            assert_eq!(client.answer().await, "chose {'ok': True}");
        }
    });
}

#[test]
fn a_turn_that_fails_says_why_and_the_session_goes_on() {
    let source = "
import sys
class Async:
    async def arun(self, text, ctx):
        if text == 'exit': sys.exit(3)
        if text == 'nan': ctx.emit('custom', float('nan'))
        if text == 'object': return {'a': 1}
        if text == 'nothing': return None
        if text == 'own':
            ctx.emit('agent.final_answer', 'mine')
            return 'not sent'
        raise ValueError('bad ' + text)
class Sync:
    def run(self, text):
        if text == 'exit': sys.exit(3)
        if text == 'stop': raise StopIteration()
        raise ValueError('bad ' + text)
def create_agent(params):
    return Sync() if params.get('sync') else Async()
";
    with_agent(source, async |rig| {
        let mut client = rig.client().await;
        for (sync, text, expected) in [
            (false, "egg", "ValueError: bad egg"),
            (false, "exit", "SystemExit: 3"),
            (false, "nan", "ValueError: Out of range float values are not JSON compliant"),
            (true, "egg", "ValueError: bad egg"),
            (true, "exit", "RuntimeError: SystemExit: 3"),
            (true, "stop", "RuntimeError: StopIteration"),
        ] {
            let created = client.create(json!({"sync":sync})).await;
            let session = created["session_id"].as_str().unwrap();
            for _ in 0..2 {
                client.say(session, text).await;
                let error = client.expect("agent.error").await;
                assert!(error["content"].as_str().unwrap().starts_with(expected), "{error}");
                assert_eq!(error["metadata"]["code"], "AGENT_FAILED");
            }
        }
        let session = client.session().await;
        assert_eq!(client.ask(&session, "object").await, "{'a': 1}");
        assert_eq!(client.ask(&session, "nothing").await, "");
        assert_eq!(client.ask(&session, "own").await, "mine");
        assert_eq!(client.ask(&session, "nothing").await, "", "and nothing came in between");
    });
}

#[test]
fn a_blocked_loop_is_reported_with_its_stack() {
    let source = "
import time
class A:
    async def arun(self, text):
        time.sleep(float(text))
        return 'awake'
agent = A()
";
    with_agent(source, async |mut rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "9").await;
        let (kind, message) = rig.notice().await;
        assert_eq!(kind, "loop_blocked");
        assert!(message.contains("test_agent.py\", line 5, in arun"), "{message}");
        assert!(!message.contains("myagent_") && !message.contains("asyncio"), "{message}");
        assert_eq!(client.answer().await, "awake");
        assert!(rig.host.worker_loop_ok() || timeout(Duration::from_secs(10), ok_again(&rig)).await.is_ok());
    });
}

async fn ok_again(rig: &crate::rig::Rig) {
    while !rig.host.worker_loop_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
