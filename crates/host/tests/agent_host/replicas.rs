//! Two instances of a service: a client that comes to the wrong one is handed to the right one, socket and all.

use crate::rig::{Client, Rig, run};
use futures_util::SinkExt as _;
use myagent_core::config::ServiceConfig;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_websockets::Message;

const AGENT: &str = "
class A:
    def __init__(self):
        self.count = 0
    async def arun(self, text):
        self.count += 1
        return '%d: %d' % (self.count, len(text))
def create_agent():
    return A()
";

async fn two(config: ServiceConfig) -> (Rig, Rig) {
    let mut first = Rig::new(config.clone()).await;
    let mut second = first.replica(config, 1).await;
    first.write(AGENT);
    first.start().await.unwrap();
    second.start().await.unwrap();
    (first, second)
}

/// A session of the first instance, with a client that has left.
async fn left_behind(first: &Rig) -> String {
    let mut client = first.client().await;
    let session = client.session().await;
    assert_eq!(client.ask(&session, "abc").await, "1: 3");
    session
}

async fn reconnect(client: &mut Client, session: &str, last_seq: u64) {
    client.send(json!({"event":"user.reconnect","session_id":session,"last_seq":last_seq})).await;
}

#[test]
fn a_client_of_the_wrong_one_is_handed_over() {
    run(async {
        let (first, second) = two(ServiceConfig::default()).await;
        let session = left_behind(&first).await;
        let mut client = second.client().await;
        reconnect(&mut client, &session, 1).await;
        assert_eq!(client.expect("agent.state_restored").await["session_id"], session.as_str());
        let missed = client.expect("agent.final_answer").await;
        assert_eq!((&missed["seq"], &missed["content"]), (&json!(2), &json!("1: 3")));
        // The connection is the same one for everybody.
        assert_eq!(missed["connection_id"], client.connection.as_str());
        client.expect("system.notice").await;
        assert_eq!(client.ask(&session, "abcd").await, "2: 4");
        assert_eq!((first.table.open_count(), second.table.open_count()), (1, 0));
        assert_eq!((first.host.sessions(), second.host.sessions()), ((1, 0), (0, 0)));
        let closed = second.table.report(true).closed.remove(0);
        assert!(closed.reason.contains("test-0"), "{closed:?}");

        // Any frame does, also one that is far larger than a hand-over message, with more behind it.
        let mut client = second.client().await;
        let large = json!({"event":"user.message","session_id":session,"content":"x".repeat(900_000)});
        client.socket.feed(Message::text(large.to_string())).await.unwrap();
        let behind = json!({"event":"user.message","session_id":session,"content":"xx"});
        client.socket.feed(Message::text(behind.to_string())).await.unwrap();
        client.socket.flush().await.unwrap();
        assert_eq!(client.answer().await, "3: 900000");
        assert_eq!(client.answer().await, "4: 2");
    });
}

#[test]
fn who_has_another_session_keeps_its_connection() {
    run(async {
        let (first, second) = two(ServiceConfig::default()).await;
        let session = left_behind(&first).await;
        let mut client = second.client().await;
        let own = client.session().await;
        reconnect(&mut client, &session, 1).await;
        let told = client.expect("error.recovery_failed").await;
        assert_eq!(told["metadata"]["code"], "SESSION_ELSEWHERE");
        assert!(told["content"].as_str().unwrap().contains("another connection"), "{told}");
        assert_eq!(client.ask(&own, "a").await, "1: 1");
    });
}

#[test]
fn an_owner_that_hangs_gets_no_client() {
    run(async {
        let (first, second) = two(ServiceConfig::default()).await;
        let session = left_behind(&first).await;
        first.hang();
        let mut client = second.client().await;
        reconnect(&mut client, &session, 1).await;
        // What comes meanwhile waits, and is not lost.
        client.send(json!({"type":"ping"})).await;
        let told = client.expect("error.recovery_failed").await;
        assert_eq!(told["metadata"]["code"], "SESSION_UNAVAILABLE");
        assert!(told["metadata"]["retry_after_ms"].is_u64(), "{told}");
        assert_eq!(client.next().await, json!({"type":"pong"}));
        let own = client.session().await;
        assert_eq!(client.ask(&own, "a").await, "1: 1");
    });
}

#[test]
fn a_full_owner_takes_the_client_of_a_turn_that_has_its_place() {
    run(async {
        let (first, second) = two(ServiceConfig { max_sessions: 1, ..Default::default() }).await;
        let session = left_behind(&first).await;
        let other = first.client().await;
        let mut client = second.client().await;
        reconnect(&mut client, &session, 1).await;
        let told = client.expect("error.recovery_failed").await;
        assert!(told["content"].as_str().unwrap().contains("all places"), "{told}");
        drop(other);
        while first.table.open_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reconnect(&mut client, &session, 1).await;
        client.expect("agent.state_restored").await;
    });
}

#[test]
fn without_a_journal_a_session_lives_in_its_process_and_says_what_is_missing() {
    run(async {
        let config = ServiceConfig { journal_max_mb: 0, ..Default::default() };
        let (first, second) = two(config).await;
        let mut client = first.client().await;
        let created = client.create(json!({"a": 1})).await;
        let session = created["session_id"].as_str().unwrap().to_owned();
        assert_eq!(client.ask(&session, "abc").await, "1: 3");
        let mut again = first.client().await;
        reconnect(&mut again, &session, 1).await;
        let restored: Value = again.expect("agent.state_restored").await;
        assert_eq!(restored["metadata"]["last_seq"], 2);
        let gap = again.expect("system.notice").await;
        assert_eq!(gap["metadata"], json!({"code":"replay_gap","from_seq":2,"to_seq":2}));
        again.expect("system.notice").await;
        assert_eq!(again.ask(&session, "abcd").await, "2: 4");
        let mut elsewhere = second.client().await;
        reconnect(&mut elsewhere, &session, 1).await;
        assert_eq!(elsewhere.expect("error.recovery_failed").await["metadata"]["code"], "SESSION_NOT_FOUND");
    });
}

#[test]
fn a_session_that_cannot_be_restored_is_told_to_be_lost_and_holds_nobody_up() {
    for (journal_max_mb, code) in [(256, "SESSION_LOST"), (0, "SESSION_NOT_FOUND")] {
        run(async move {
            let config = ServiceConfig { journal_max_mb, max_detached_sessions: 0, ..Default::default() };
            let (first, _second) = two(config).await;
            let session = left_behind(&first).await;
            while first.host.sessions() != (0, 0) {
                tokio::task::yield_now().await;
            }
            // Its records are gone from the disk, and what is newer has taken their place in memory.
            first.damage_journals();
            let mut other = first.client().await;
            let noise = other.session().await;
            for _ in 0..20 {
                other.ask(&noise, &"x".repeat(10_000)).await;
            }
            let mut client = first.client().await;
            reconnect(&mut client, &session, 1).await;
            let told = client.expect("error.recovery_failed").await;
            assert_eq!(told["metadata"]["code"], code, "{told}");
            assert_eq!(other.ask(&noise, "abcd").await, "21: 4");
        });
    }
}
