//! A worker that dies, and what its clients notice of it.

use crate::rig::{Client, Rig, with_agent};
use serde_json::json;

const COUNTS: &str = "
import asyncio, os
class A:
    extra = 0
    def __init__(self):
        self.count = 0
    async def arun(self, text, ctx):
        self.count += 1
        if text == 'think':
            ctx.emit('agent.thinking', str(os.getpid()))
            if not os.path.exists('second'):
                await asyncio.sleep(1000)
        if text == 'act':
            ctx.emit('agent.tool_call', 'doing it')
            if not os.path.exists('second'):
                await asyncio.sleep(1000)
        return '%d, %d messages' % (self.count, len(ctx.history))
def create_agent():
    return A()
";

fn second(rig: &Rig) {
    std::fs::write(rig.agent.with_file_name("second"), "").unwrap();
}

async fn session(client: &mut Client) -> String {
    let session = client.session().await;
    assert_eq!(client.ask(&session, "hi").await, "1, 0 messages");
    session
}

#[test]
fn a_turn_that_has_said_something_is_lost_and_told() {
    with_agent(COUNTS, async |mut rig| {
        let mut client = rig.client().await;
        let session = session(&mut client).await;
        client.say(&session, "act").await;
        client.expect("agent.tool_call").await;
        client.say(&session, "queued").await;
        rig.kill();
        rig.host.worker_lost();
        let error = client.expect("agent.error").await;
        assert_eq!(error["metadata"], json!({"code":"WORKER_LOST","recoverable":true}));
        assert!(!rig.host.is_ready() && !rig.host.worker_loop_ok());
        // The socket is open all the while, and a session made now gets its agent later.
        client.send(json!({"type":"ping"})).await;
        assert_eq!(client.next().await, json!({"type":"pong"}));
        client.send(json!({"event":"user.create_session"})).await;
        rig.start().await.unwrap();
        let mut queued = Vec::new();
        for expected in ["agent.session_created", "agent.final_answer"] {
            while !queued.iter().any(|event: &serde_json::Value| event["event"] == expected) {
                queued.push(client.next().await);
            }
        }
        assert!(queued.iter().any(|event| event["metadata"]["code"] == "state_lost"), "{queued:?}");
        let answer = queued.iter().find(|event| event["event"] == "agent.final_answer").unwrap();
        assert_eq!(answer["content"], "1, 2 messages", "a new agent that knows the history");
        assert_eq!(client.ask(&session, "again").await, "2, 4 messages");
    });
}

#[test]
fn a_turn_that_was_only_thought_about_is_repeated_once() {
    with_agent(COUNTS, async |mut rig| {
        let mut client = rig.client().await;
        let session = session(&mut client).await;
        client.say(&session, "think").await;
        client.expect("agent.thinking").await;
        rig.kill();
        rig.start().await.unwrap();
        let events = client.until("agent.thinking").await;
        assert!(events.iter().any(|event| event["metadata"]["code"] == "turn_restarted"), "{events:?}");
        rig.kill();
        assert_eq!(client.expect("agent.error").await["metadata"]["code"], "WORKER_LOST");
        second(&rig);
        rig.start().await.unwrap();
        client.say(&session, "think").await;
        let answer = client.until("agent.final_answer").await.pop().unwrap();
        assert_eq!(answer["content"], "1, 2 messages");
    });
}

#[test]
fn an_agent_that_may_be_repeated_is() {
    with_agent(&COUNTS.replace("extra = 0", "retry_safe = True"), async |mut rig| {
        let mut client = rig.client().await;
        let session = session(&mut client).await;
        client.say(&session, "act").await;
        client.expect("agent.tool_call").await;
        second(&rig);
        rig.kill();
        rig.start().await.unwrap();
        let events = client.until("agent.final_answer").await;
        assert!(events.iter().any(|event| event["metadata"]["code"] == "turn_restarted"), "{events:?}");
        assert_eq!(events.last().unwrap()["content"], "1, 2 messages");
        // Who was away learns it from the first event of the second attempt.
        let mut late = rig.client().await;
        late.send(json!({"event":"user.reconnect","session_id":session,"last_seq":3})).await;
        let replayed = late.until("agent.final_answer").await;
        let marked: Vec<_> =
            replayed.iter().filter(|event| event["metadata"]["turn_restarted"] == true).collect();
        assert_eq!((marked.len(), &marked[0]["seq"]), (1, &json!(4)), "{replayed:?}");
    });
}

#[test]
fn exported_state_comes_back_in_the_next_process() {
    let hooks = "
    def export_state(self): return {'count': self.count}
    async def import_state(self, state): self.count = state['count']
";
    with_agent(&COUNTS.replace("extra = 0", hooks), async |mut rig| {
        let mut client = rig.client().await;
        let session = session(&mut client).await;
        assert_eq!(client.ask(&session, "hi").await, "2, 2 messages");
        rig.kill();
        rig.start().await.unwrap();
        assert_eq!(client.ask(&session, "hi").await, "3, 4 messages", "and no notice of a loss");
    });
}

#[test]
fn a_session_without_a_connection_goes_on() {
    with_agent(COUNTS, async |mut rig| {
        let mut client = rig.client().await;
        let session = session(&mut client).await;
        client.say(&session, "think").await;
        client.expect("agent.thinking").await;
        drop(client);
        while rig.host.sessions() != (0, 1) {
            tokio::task::yield_now().await;
        }
        assert_eq!(rig.table.places(), 1, "a turn that runs takes a place");
        second(&rig);
        rig.kill();
        rig.start().await.unwrap();
        while rig.table.places() != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let mut client = rig.client().await;
        client.send(json!({"event":"user.reconnect","session_id":session,"last_seq":3})).await;
        client.expect("agent.state_restored").await;
        let answer = client.until("agent.final_answer").await.pop().unwrap();
        assert_eq!(answer["content"], "1, 2 messages");
        assert_eq!(rig.host.sessions(), (1, 0));
    });
}

#[test]
fn term_and_a_closed_socket_end_the_worker() {
    with_agent(crate::conversation::ECHO, async |mut rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.ask(&session, "a").await;
        let pid = rustix::process::Pid::from_raw(rig.worker_pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(rig.worker_exit().await.code(), Some(0));
        rig.start().await.unwrap();
        rig.host.worker_lost();
        assert_eq!(rig.worker_exit().await.code(), Some(0), "our end is closed");
    });
}
