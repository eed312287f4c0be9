//! What one client may have of everything, so that there is enough for the others.

use crate::conversation::ECHO;
use crate::rig::with_agent;
use serde_json::json;

#[test]
fn a_connection_has_a_hundred_sessions_wherever_they_come_from() {
    with_agent(ECHO, async |rig| {
        let (mut one, mut two) = (rig.client().await, rig.client().await);
        for _ in 0..100 {
            let id = one.session().await;
            two.send(json!({"event":"user.reconnect","session_id":id})).await;
            two.until("system.notice").await;
            one.expect("system.notice").await;
        }
        let id = one.session().await;
        let code = "TOO_MANY_SESSIONS";
        for (event, kind) in [
            ("user.create_session", "system.error"),
            ("user.message", "agent.error"),
            ("user.reconnect", "error.recovery_failed"),
        ] {
            two.send(json!({"event":event,"session_id":id,"content":"x"})).await;
            assert_eq!(two.expect(kind).await["metadata"]["code"], code);
        }
        assert_eq!(one.ask(&id, "mine").await, "echo: mine");
    });
}

#[test]
fn threads_of_async_agents_are_as_many_as_those_of_others() {
    let source = "
import asyncio, threading
all = threading.Barrier(64)
class A:
    async def arun(self, text):
        await asyncio.to_thread(all.wait, 60)
        return text
agent = A()
";
    with_agent(source, async |rig| {
        let mut client = rig.client().await;
        let mut sessions = Vec::new();
        for _ in 0..64 {
            sessions.push(client.session().await);
        }
        for session in &sessions {
            client.say(session, "together").await;
        }
        for _ in &sessions {
            assert_eq!(client.answer().await, "together");
        }
    });
}

#[test]
fn an_error_is_no_echo_of_its_cause() {
    with_agent(ECHO, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        let long = "x".repeat(100_000);
        for event in [
            json!({"event":long}),
            json!({"event":"user.message","session_id":long}),
            json!({"event":"user.reconnect","session_id":long}),
            json!({"event":"user.response","session_id":session,"step_id":long}),
            json!({"event":"user.cancel","last_seq":long}),
        ] {
            client.send(event.clone()).await;
            let told = client.next().await.to_string();
            assert!(told.contains("error") && told.len() < 2000, "{event}: {told}");
        }
    });
}

#[test]
fn an_exception_with_half_a_character_is_told_in_words() {
    let source = "
class A:
    async def arun(self, text):
        raise ValueError('bad ' + text)
agent = A()
";
    with_agent(source, async |rig| {
        let mut client = rig.client().await;
        client.session().await;
        client.send_text(r#"{"event":"user.message","content":"\ud83d!"}"#).await;
        assert_eq!(client.expect("agent.error").await["content"], "ValueError: bad ?!");
    });
}
