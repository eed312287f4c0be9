//! A client that does not read.

use crate::rig::{Rig, with_agent};
use serde_json::json;
use std::time::Duration;

const FLOODS: &str = "
sent = 0
PIECE = 'x' * 4096
class Async:
    async def astream(self, text, ctx):
        global sent
        if text == 'count':
            yield str(sent)
            return
        for number in range(int(text)):
            sent += len(PIECE)
            yield PIECE
class Sync:
    def stream(self, text, ctx):
        global sent
        for number in range(int(text)):
            sent += len(PIECE)
            yield PIECE
class Emits:
    async def arun(self, text, ctx):
        global sent
        for number in range(int(text)):
            sent += len(PIECE)
            await ctx.emit('custom.piece', PIECE)
class Careless:
    async def arun(self, text, ctx):
        for number in range(int(text)):
            ctx.emit('custom.piece', PIECE)
def create_agent(params):
    return globals()[params.get('kind', 'Async')]()
";

const BLOCKS: &str = "
import os, time
class Blocks:
    async def astream(self, text):
        for name in text.split():
            yield name
            for _ in range(1000):
                time.sleep(0.01)
                if os.path.exists(name):
                    break
agent = Blocks()
";

#[test]
fn pieces_leave_an_agent_that_blocks_between_them() {
    with_agent(BLOCKS, async |rig| {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, &names.join(" ")).await;
        for name in names {
            let piece = client.until("agent.partial_answer").await.pop().unwrap();
            assert_eq!(piece["content"], name.as_str());
            std::fs::write(name, "").unwrap();
        }
        client.until("agent.final_answer").await;
    });
}

const PIECES: u64 = 8 * 1024;

/// Waits until the agent makes no more for a client that does not read; how much it has made.
pub(crate) async fn until_it_stalls(rig: &Rig) -> u64 {
    let mut other = rig.client().await;
    let asking = other.session().await;
    let (mut known, mut same) = (0, 0);
    while same < 20 {
        other.say(&asking, "count").await;
        let answer = other.until("agent.final_answer").await.pop().unwrap();
        let count: u64 = answer["content"].as_str().unwrap().parse().unwrap();
        same = if count == known && count > 0 { same + 1 } else { 0 };
        known = count;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    known
}

#[test]
fn it_stalls_only_itself_and_misses_nothing() {
    for kind in ["Async", "Sync", "Emits"] {
        with_agent(FLOODS, async |rig| {
            let mut slow = rig.client().await;
            let created = slow.create(json!({"kind":kind})).await;
            let session = created["session_id"].as_str().unwrap();
            slow.say(session, &PIECES.to_string()).await;

            let known = until_it_stalls(&rig).await;
            assert!(
                known < PIECES * 4096 / 2,
                "{kind}: {known} bytes were made for a client that does not read"
            );

            for expected in 2..PIECES + 2 {
                assert_eq!(slow.next().await["seq"], expected);
            }
            assert_eq!(slow.expect("agent.final_answer").await["seq"], PIECES + 2);
        });
    }
}

#[test]
fn who_takes_a_session_does_not_wait_for_the_one_that_had_it() {
    with_agent(FLOODS, async |rig| {
        let mut deaf = rig.client().await;
        let session = deaf.session().await;
        deaf.say(&session, &PIECES.to_string()).await;
        until_it_stalls(&rig).await;
        let mut second = rig.client().await;
        let answered = async {
            second.say(&session, "count").await;
            second.until("agent.final_answer").await;
            second.until("agent.final_answer").await
        };
        // The deaf one is dropped after half a minute; nobody waits for that.
        let answer = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap();
        assert_eq!(answer.last().unwrap()["content"], (PIECES * 4096).to_string());
    });
}

#[test]
fn emitting_without_waiting_has_a_bound() {
    with_agent(FLOODS, async |rig| {
        let mut slow = rig.client().await;
        let created = slow.create(json!({"kind":"Careless"})).await;
        let session = created["session_id"].as_str().unwrap();
        slow.say(session, &PIECES.to_string()).await;
        let events = slow.until("agent.error").await;
        let error = events.last().unwrap();
        assert!(
            error["content"].as_str().unwrap().starts_with("BufferError: the client does not read"),
            "{error}"
        );
        let numbers = events.iter().map(|event| event["seq"].as_u64().unwrap());
        assert!(numbers.zip(2..).all(|(seq, expected)| seq == expected));
        slow.say(session, "3").await;
        slow.until("agent.final_answer").await;
    });
}

#[test]
fn a_slow_client_can_cancel() {
    with_agent(FLOODS, async |rig| {
        let mut slow = rig.client().await;
        let session = slow.session().await;
        slow.say(&session, "1000000").await;
        slow.expect("agent.partial_answer").await;
        slow.send(json!({"event":"user.cancel","session_id":session})).await;
        slow.until("agent.interrupted").await;
        slow.say(&session, "2").await;
        let events = slow.until("agent.final_answer").await;
        assert_eq!(events.len(), 3, "two pieces and the whole");
    });
}
