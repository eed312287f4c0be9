//! What the host counts of sessions and turns.

use crate::rig::{Client, Rig, with_agent, with_config};
use myagent_core::config::ServiceConfig;
use myagent_core::wire::sessions::SessionTotals;
use serde_json::json;
use std::time::Duration;

const MANY_ENDS: &str = "
import asyncio
class A:
    async def astream(self, text, ctx):
        ctx.emit('agent.thinking', 'hm')
        if text == 'fail':
            raise ValueError('asked to fail')
        yield 'so '
        if text == 'forever':
            await asyncio.sleep(1000)
        yield 'it is'
def create_agent():
    return A()
";

async fn begin_for_ever(client: &mut Client, session: &str) {
    client.say(session, "forever").await;
    client.until("agent.partial_answer").await;
}

#[test]
fn each_turn_is_counted_by_its_end() {
    with_agent(MANY_ENDS, async |mut rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "hi").await;
        client.until("agent.final_answer").await;
        client.say(&session, "fail").await;
        client.until("agent.error").await;
        begin_for_ever(&mut client, &session).await;
        client.say(&session, "waits behind it").await;
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.until("agent.interrupted").await;
        client.until("agent.final_answer").await;
        // Nothing is left to be cancelled, and so nothing is counted.
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.until("agent.interrupted").await;
        begin_for_ever(&mut client, &session).await;
        rig.kill();
        client.until("agent.error").await;
        // Without a worker a message waits, and is cancelled where it waits.
        client.say(&session, "hi").await;
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.until("agent.interrupted").await;
        rig.start().await.unwrap();
        begin_for_ever(&mut client, &session).await;
        rig.host.stop(1001, "stopped", Duration::ZERO).await;

        let turns = rig.host.stats().snapshot().turns;
        assert_eq!((turns.accepted, turns.completed, turns.cancelled, turns.failed), (7, 2, 2, 3));
        assert_eq!((turns.agent_error, turns.worker_lost, turns.interrupted), (1, 1, 1));
        // The one that failed had only thought, and the one that was cancelled while it waited had not even begun.
        assert_eq!((turns.first_response.count, turns.duration.count), (5, 2));
    });
}

/// Waits until the numbers are right.
async fn until(rig: &Rig, right: impl Fn(&SessionTotals) -> bool) -> SessionTotals {
    for _ in 0..3000 {
        let totals = rig.host.stats().snapshot();
        if right(&totals) {
            return totals;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", rig.host.stats().snapshot());
}

#[test]
fn a_session_ends_as_its_last_turn_did() {
    let config = ServiceConfig { session_timeout: 1.0, ..Default::default() };
    with_config(MANY_ENDS, config, async |rig| {
        let mut client = rig.client().await;
        let (good, bad) = (client.session().await, client.session().await);
        for (session, text, end) in [
            (&good, "fail", "agent.error"),
            (&good, "hi", "agent.final_answer"),
            (&bad, "hi", "agent.final_answer"),
            (&bad, "fail", "agent.error"),
        ] {
            client.say(session, text).await;
            client.until(end).await;
        }
        assert_eq!(rig.host.stats().detached(), 0);
        assert_eq!(rig.table.report(true).active_sessions, 2);
        drop(client);
        until(&rig, |_| rig.host.stats().detached() == 2).await;
        rig.clock.advance(Duration::from_secs(2));
        let totals = until(&rig, |totals| totals.expired == 2).await;
        assert_eq!((totals.completed, totals.failed, totals.evicted), (1, 1, 0));
        assert_eq!((totals.duration.count, totals.turns.failed), (2, 2));
        assert_eq!((rig.table.report(true).active_sessions, rig.host.stats().detached()), (0, 0));
    });
}

#[test]
fn who_makes_room_has_ended_and_who_comes_back_has_not() {
    let config = ServiceConfig { max_detached_sessions: 1, ..Default::default() };
    with_config(MANY_ENDS, config, async |rig| {
        let mut client = rig.client().await;
        let (_first, second) = (client.session().await, client.session().await);
        client.say(&second, "hi").await;
        client.until("agent.final_answer").await;
        drop(client);
        let totals = until(&rig, |totals| totals.evicted == 1).await;
        assert_eq!((totals.completed, totals.failed, rig.host.stats().detached()), (1, 0, 1));
        let mut client = rig.client().await;
        client.send(json!({"event":"user.reconnect","session_id":second,"last_seq":0})).await;
        client.until("agent.state_restored").await;
        let totals = until(&rig, |totals| totals.resumed == 1).await;
        assert_eq!((totals.completed, rig.host.stats().detached()), (1, 0));
        let report = rig.table.report(true);
        assert_eq!((report.active_sessions, report.totals.sessions), (1, 2));
    });
}

#[test]
fn a_session_that_could_not_be_created_has_failed() {
    let agent = "
calls = []
class A:
    def run(self, text):
        return text
def create_agent():
    calls.append(1)
    if len(calls) > 1:
        raise ValueError('no more')
    return A()
";
    with_agent(agent, async |rig| {
        let mut client = rig.client().await;
        client.session().await;
        client.send(json!({"event":"user.create_session"})).await;
        assert_eq!(client.expect("agent.error").await["metadata"]["code"], "SESSION_FAILED");
        let totals = rig.host.stats().snapshot();
        assert_eq!((totals.completed, totals.failed, totals.turns.accepted), (0, 1, 0));
    });
}
