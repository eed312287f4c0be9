//! Clients that are given away with their sessions, socket and all, and notice nothing.

use crate::rig::{Client, LONG, Rig, run};
use myagent_core::config::ServiceConfig;
use myagent_core::wire::control::Connection;
use myagent_host::Drained;
use myagent_relay::codec::{Opcode, write_masked_frame};
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

/// Counts, waits for a file, streams, blocks, and remembers what it was asked.
pub(crate) const AGENT: &str = "
import asyncio, os, time
class A:
    def __init__(self):
        self.count = 0
    async def astream(self, text, ctx):
        self.count += 1
        words = str(text).split()
        if words[0] == 'until':
            yield 'begun'
            while not os.path.exists(words[1]):
                await asyncio.sleep(0.005)
        if words[0] == 'many':
            for number in range(int(words[1])):
                yield '%d ' % number + 'x' * int(words[2])
        if words[0] == 'block':
            yield 'begun'
            await asyncio.to_thread(self.block, words[1])
        if words[0] == 'shield':
            yield 'begun'
            while not os.path.exists(words[1]):
                try:
                    await asyncio.sleep(0.005)
                except asyncio.CancelledError:
                    pass
        yield '%d after %d in %d' % (self.count, len(ctx.history), os.getpid())
    async def on_event(self, event, ctx):
        ctx.emit('custom.event', event.get('content'))
    def export_state(self):
        return self.count
    def import_state(self, state):
        self.count = state
def create_agent():
    return A()
";

pub(crate) const LONG_WINDOW: Duration = Duration::from_mins(1);

pub(crate) async fn rigs<const N: usize>(source: &str, config: ServiceConfig) -> [Rig; N] {
    let first = Rig::new(config.clone()).await;
    first.write(source);
    let mut all = vec![first];
    for index in 1..N {
        let next = all[0].replica(config.clone(), u32::try_from(index).unwrap()).await;
        all.push(next);
    }
    for rig in &mut all {
        rig.start().await.unwrap();
    }
    all.try_into().unwrap_or_else(|_| panic!("{N} rigs"))
}

pub(crate) async fn two() -> [Rig; 2] {
    rigs(AGENT, ServiceConfig::default()).await
}

pub(crate) fn answer(count: u32, history: u32, rig: &Rig) -> String {
    format!("{count} after {history} in {}", rig.worker_pid())
}

/// The last piece of an answer, and the numbers of all events up to it.
async fn hear(client: &mut Client) -> (String, Vec<u64>) {
    let all = client.until("agent.final_answer").await;
    let numbers = all.iter().filter_map(|event| event["seq"].as_u64()).collect();
    let partial = all.iter().rfind(|event| event["event"] == "agent.partial_answer").unwrap();
    (partial["content"].as_str().unwrap().to_owned(), numbers)
}

pub(crate) async fn ask(client: &mut Client, session: &str, text: &str) -> String {
    client.say(session, text).await;
    hear(client).await.0
}

pub(crate) fn touch(rig: &Rig, file: &str) {
    std::fs::write(rig.agent.with_file_name(file), "").unwrap();
}

/// It is over as soon as it can be, and this came of it.
pub(crate) async fn drained(rig: &Rig, expected: Drained) {
    let began = Instant::now();
    assert_eq!(timeout(LONG, rig.drain(LONG_WINDOW)).await.unwrap().unwrap(), expected);
    assert!(began.elapsed() < LONG_WINDOW / 4, "{:?}", began.elapsed());
}

pub(crate) fn moved(count: u32) -> Drained {
    Drained { moved: count, ..Drained::default() }
}

#[test]
fn an_idle_client_goes_on_elsewhere_and_notices_nothing() {
    run(async {
        let [first, second] = two().await;
        let mut client = first.client().await;
        let session = client.session().await;
        let mut bare = first.client().await;
        assert_eq!(ask(&mut client, &session, "a").await, answer(1, 0, &first));
        let before = first.table.report(true).open;
        drained(&first, moved(2)).await;
        assert_eq!((first.host.sessions(), second.host.sessions()), ((0, 0), (1, 0)));
        // Number, state, history and connection go on; nothing comes in between.
        client.say(&session, "b").await;
        let partial = client.expect("agent.partial_answer").await;
        assert_eq!((&partial["seq"], &partial["content"]), (&json!(4), &json!(answer(2, 2, &second))));
        assert_eq!(partial["connection_id"], client.connection.as_str());
        client.expect("agent.final_answer").await;
        // What only the agent knows is asked of it at once, also with nothing else before it.
        let other = bare.session().await;
        bare.send(json!({"event":"user.custom","session_id":other,"content":7})).await;
        assert_eq!(bare.expect("custom.event").await["content"], 7);

        let closed = first.table.report(true).closed;
        assert!(closed.iter().all(|record| record.moved && record.code == 1012), "{closed:?}");
        let after = second.table.report(true).open;
        for connection in &after {
            let id = connection.connection_id;
            let same = before.iter().find(|before| before.connection_id == id).unwrap();
            assert_eq!((connection.moves, connection.connected_at), (1, same.connected_at));
            assert!(connection.messages_in > same.messages_in && connection.messages_out > same.messages_out);
        }
        // It is a new session's first word in its new place that the session was made for.
        assert_eq!(first.host.stats().snapshot().completed + second.host.stats().snapshot().completed, 0);
        assert_eq!(second.host.stats().snapshot().adopted, 0);
    });
}

#[test]
fn who_wants_to_know_is_told_once_for_each_move() {
    run(async {
        let [first, second] = two().await;
        let mut client = Client::with_events(first.address).await;
        let session = client.session().await;
        drained(&first, moved(1)).await;
        let event = client.expect("service_switched").await;
        assert_eq!(event["connection_id"], client.connection.as_str());
        assert_eq!(event["metadata"], json!({"service": "test", "from": "test-0", "to": "test-1"}));
        assert_eq!(ask(&mut client, &session, "a").await, answer(1, 0, &second));
        first.host.undrain();
        drained(&second, moved(1)).await;
        assert_eq!(client.expect("service_switched").await["metadata"]["to"], "test-0");
        assert_eq!(ask(&mut client, &session, "b").await, answer(2, 2, &first));
        // A client that follows its session is told as well.
        let mut other = Client::with_events(second.address).await;
        other.send(json!({"event":"user.reconnect","session_id":session,"last_seq":1})).await;
        assert_eq!(other.expect("service_switched").await["metadata"]["from"], "test-1");
        other.expect("agent.state_restored").await;
    });
}

#[test]
fn sessions_come_in_their_order_and_without_those_that_were_lost() {
    run(async {
        let [first, second] = two().await;
        let (mut client, mut thief) = (first.client().await, first.client().await);
        let (one, two, three) = (client.session().await, client.session().await, client.session().await);
        thief.send(json!({"event":"user.reconnect","session_id":two,"last_seq":1})).await;
        thief.expect("agent.state_restored").await;
        thief.expect("system.notice").await;
        client.expect("system.notice").await;
        drained(&first, moved(2)).await;
        // A late word does not take it back.
        client.say(&two, "late").await;
        assert_eq!(client.expect("agent.error").await["metadata"]["code"], "SESSION_MOVED");
        for session in [&one, &three] {
            assert_eq!(ask(&mut client, session, "a").await, answer(1, 0, &second));
        }
        assert_eq!(ask(&mut thief, &two, "a").await, answer(1, 0, &second));
        // One session is meant without being named; of two none is.
        client.send(json!({"event":"user.message","content":"which"})).await;
        assert_eq!(client.expect("agent.error").await["metadata"]["code"], "SESSION_NOT_FOUND");
        thief.send(json!({"event":"user.message","content":"mine"})).await;
        assert_eq!(hear(&mut thief).await.0, answer(2, 2, &second));
    });
}

#[test]
fn a_turn_is_waited_for_and_messages_behind_it_come_along() {
    run(async {
        let [first, second] = two().await;
        let (mut client, mut quick) = (first.client().await, first.client().await);
        let (session, beside) = (client.session().await, client.session().await);
        let other = quick.session().await;
        client.say(&session, "until go").await;
        client.expect("agent.partial_answer").await;
        let draining = first.drain(LONG_WINDOW);
        // A client that has nothing under way need not wait for it.
        while first.table.open_count() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(ask(&mut quick, &other, "a").await, answer(1, 0, &second));
        // The others go with the turn, because they are of one connection.
        client.say(&session, "next").await;
        client.say(&session, "last").await;
        client.say(&beside, "beside").await;
        touch(&first, "go");
        let mut heard = Vec::new();
        while heard.len() < 4 {
            let event = client.next().await;
            if event["event"] == "agent.partial_answer" {
                heard.push(event["content"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(heard.remove(0), answer(1, 0, &first));
        heard.sort_unstable();
        let mut expected = [answer(1, 0, &second), answer(2, 2, &second), answer(3, 4, &second)];
        expected.sort_unstable();
        assert_eq!(heard, expected);
        assert_eq!(draining.await.unwrap(), moved(2));
    });
}

#[test]
fn a_turn_beyond_the_window_is_interrupted_and_its_client_moves_all_the_same() {
    run(async {
        let [first, second] = two().await;
        let mut client = first.client().await;
        let session = client.session().await;
        client.say(&session, "until never").await;
        client.expect("agent.partial_answer").await;
        client.say(&session, "behind").await;
        let result = first.drain(Duration::from_millis(200)).await.unwrap();
        assert_eq!(result, Drained { moved: 1, interrupted: 1, closed: 0 });
        let error = client.expect("agent.error").await;
        assert_eq!(
            (&error["metadata"]["code"], &error["seq"]),
            (&json!("INTERRUPTED_BY_RESTART"), &json!(3))
        );
        // Nothing of an interrupted turn is kept, in history or state.
        assert_eq!(hear(&mut client).await, (answer(1, 0, &second), vec![4, 5]));
    });
}

#[test]
fn a_cancelled_turn_that_goes_on_keeps_its_session_where_it_is() {
    run(async {
        let [first, second] = two().await;
        let (mut client, mut second_client) = (first.client().await, first.client().await);
        let (session, other) = (client.session().await, second_client.session().await);
        for (client, session, file) in [(&mut client, &session, "one"), (&mut second_client, &other, "two")] {
            client.say(session, &format!("shield {file}")).await;
            client.expect("agent.partial_answer").await;
            client.send(json!({"event":"user.cancel","session_id":session})).await;
            client.expect("agent.interrupted").await;
        }
        let draining = first.drain(Duration::from_secs(2));
        // Its messages are not held up by that for long. (The next turn waits for the cancelled one in the worker.)
        client.say(&session, "a").await;
        touch(&first, "one");
        let heard = hear(&mut client).await.0;
        assert!([answer(2, 0, &first), answer(1, 0, &second)].contains(&heard), "{heard}");
        // The other one never ends: two turns of it would overlap, so its client is sent away, and it cannot be had.
        assert_eq!(second_client.closed().await, (1012, "service restart".to_owned()));
        assert_eq!(draining.await.unwrap(), Drained { moved: 1, closed: 1, interrupted: 0 });
        let mut back = second.client().await;
        back.send(json!({"event":"user.reconnect","session_id":other,"last_seq":1})).await;
        let told = back.expect("error.recovery_failed").await;
        assert_eq!(told["metadata"]["code"], "SESSION_UNAVAILABLE", "{told}");
        touch(&first, "two");
        let restored = async {
            loop {
                back.send(json!({"event":"user.reconnect","session_id":other,"last_seq":1})).await;
                if back.next().await["event"] == "agent.state_restored" {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, restored).await.unwrap();
        assert_eq!(second.host.sessions().0, 2);
    });
}

/// The frames of a client's message in this many fragments.
fn fragments(text: &str, count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let size = text.len().div_ceil(count);
    let parts: Vec<_> = text.as_bytes().chunks(size).collect();
    for (index, part) in parts.iter().enumerate() {
        let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
        let start = out.len();
        write_masked_frame(&mut out, opcode, part, [1, 2, 3, u8::try_from(index).unwrap()]);
        if index + 1 < parts.len() {
            out[start] &= 0x7f;
        }
    }
    out
}

#[test]
fn a_message_that_has_come_in_part_goes_on_where_it_is_whole() {
    run(async {
        let [first, second] = two().await;
        let text = "ä".repeat(200_000);
        let mut expected = Vec::new();
        let message = |session: &str| {
            let text = json!({"event":"user.message","session_id":session,"content":text}).to_string();
            fragments(&text, 3)
        };
        // Cut in the header of a frame, in its payload, in a character, between two fragments, and one byte before the end.
        for cut in [1_usize, 5, 9, 1001, 1002, 133_400, 266_700, usize::MAX] {
            let mut client = first.client().await;
            let session = client.session().await;
            let bytes = message(&session);
            let (begin, rest) = bytes.split_at(cut.min(bytes.len() - 1));
            let mut raw = client.raw();
            // What has come with a message that was answered has been read.
            let mut out = fragments("{\"type\":\"ping\"}", 1);
            out.extend_from_slice(begin);
            raw.write_all(&out).await.unwrap();
            assert_eq!(client.next().await, json!({"type":"pong"}));
            expected.push((client, session, rest.to_vec(), raw));
        }
        drained(&first, moved(u32::try_from(expected.len()).unwrap())).await;
        for (client, session, rest, raw) in &mut expected {
            raw.write_all(rest).await.unwrap();
            assert_eq!(hear(client).await.0, answer(1, 0, &second));
            assert_eq!(ask(client, session, "b").await, answer(2, 2, &second));
        }
    });
}

#[test]
fn who_does_not_read_gets_it_all_later_once_and_in_order() {
    run(async {
        let [first, second] = two().await;
        let mut client = first.client().await;
        let session = client.session().await;
        // 16 MB, far more than sockets take; the agent is stopped by its credit in the middle.
        client.say(&session, "many 4000 4000").await;
        let mut late = first.client().await;
        let other = late.session().await;
        assert_eq!(ask(&mut late, &other, "a").await, answer(1, 0, &first));
        let result = timeout(LONG, first.drain(Duration::from_millis(300))).await.unwrap().unwrap();
        assert_eq!(result, Drained { moved: 2, interrupted: 1, closed: 0 });
        assert_eq!((first.table.open_count(), second.table.open_count()), (0, 2));
        let all = client.until("agent.error").await;
        let numbers: Vec<u64> = all.iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(numbers, (2..2 + numbers.len() as u64).collect::<Vec<_>>());
        for (index, event) in all[..all.len() - 1].iter().enumerate() {
            let text = event["content"].as_str().unwrap();
            assert_eq!(text.split_once(' ').unwrap().0, index.to_string());
        }
        assert_eq!(ask(&mut client, &session, "b").await, answer(1, 0, &second));
    });
}

#[test]
fn a_replay_goes_on_where_it_stood() {
    run(async {
        let [first, second] = two().await;
        let mut client = first.client().await;
        let sessions = [client.session().await, client.session().await];
        let mut said = 0;
        for session in &sessions {
            client.say(session, "many 450 4000").await;
            said = client.until("agent.final_answer").await.len();
        }
        // It begins anew in both, and takes nothing of the megabytes that it gets: more than sockets take.
        let mut again = first.client().await;
        for session in &sessions {
            again.send(json!({"event":"user.reconnect","session_id":session,"last_seq":1})).await;
        }
        let id = again.connection.clone();
        let is_its = |connection: &Connection| connection.connection_id.to_string() == id;
        while first.table.report(true).open.iter().any(|one| is_its(one) && one.messages_in < 2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drained(&first, moved(2)).await;
        let closed = first.table.report(true).closed;
        let record = closed.iter().find(|record| is_its(&record.connection)).unwrap();
        assert!(record.connection.messages_out < 2 * said as u64, "{record:?}");
        let mut seen = [1, 1];
        let mut done = Vec::new();
        while done.len() < 2 {
            let event = again.next().await;
            let of = sessions.iter().position(|session| event["session_id"] == session.as_str()).unwrap();
            if event["metadata"]["code"] == "replay" {
                done.push(event["metadata"].clone());
            } else if event["event"] != "agent.state_restored" {
                seen[of] += 1;
                assert_eq!(event["seq"], seen[of]);
            }
        }
        assert_eq!(seen, [1 + said, 1 + said]);
        assert_eq!(done, vec![json!({"code":"replay","replayed":said}); 2]);
        // The answers were longer than all of the history may be.
        assert_eq!(ask(&mut again, &sessions[0], "b").await, answer(2, 0, &second));
        client.expect("system.notice").await;
    });
}

#[test]
fn whoever_wants_a_session_of_a_drained_instance_gets_it() {
    run(async {
        let [first, second] = two().await;
        let (mut idle, mut busy) = (first.client().await, first.client().await);
        let (one, two) = (idle.session().await, busy.session().await);
        assert_eq!(ask(&mut idle, &one, "a").await, answer(1, 0, &first));
        busy.say(&two, "until go").await;
        busy.expect("agent.partial_answer").await;
        drop((idle, busy));
        while first.table.open_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // A turn without a client is waited for, too.
        let draining = first.drain(LONG_WINDOW);
        let mut back = second.client().await;
        back.send(json!({"event":"user.reconnect","session_id":one,"last_seq":3})).await;
        assert_eq!(back.expect("agent.state_restored").await["metadata"]["last_seq"], 3);
        back.expect("system.notice").await;
        assert_eq!(ask(&mut back, &one, "b").await, answer(2, 2, &second));
        // One of which something runs is where it is: its client goes there, hears the rest, and comes back with it.
        let mut other = second.client().await;
        other.send(json!({"event":"user.reconnect","session_id":two,"last_seq":2})).await;
        assert_eq!(other.expect("agent.state_restored").await["metadata"]["running"], true);
        other.expect("system.notice").await;
        touch(&first, "go");
        assert_eq!(hear(&mut other).await.0, answer(1, 0, &first));
        assert_eq!(draining.await.unwrap(), moved(1));
        assert_eq!(ask(&mut other, &two, "b").await, answer(2, 2, &second));
    });
}

#[test]
fn a_session_that_another_client_wants_leaves_the_connection_that_had_it() {
    run(async {
        let [first, second] = two().await;
        let mut client = first.client().await;
        let (one, two) = (client.session().await, client.session().await);
        client.say(&two, "until go").await;
        client.expect("agent.partial_answer").await;
        let draining = first.drain(LONG_WINDOW);
        let mut thief = second.client().await;
        thief.send(json!({"event":"user.reconnect","session_id":one,"last_seq":1})).await;
        thief.expect("agent.state_restored").await;
        thief.expect("system.notice").await;
        assert_eq!(client.expect("system.notice").await["metadata"]["code"], "session_moved");
        touch(&first, "go");
        assert_eq!(hear(&mut client).await.0, answer(1, 0, &first));
        assert_eq!(draining.await.unwrap(), moved(1));
        client.say(&one, "late").await;
        assert_eq!(client.expect("agent.error").await["metadata"]["code"], "SESSION_MOVED");
        assert_eq!(ask(&mut client, &two, "b").await, answer(2, 2, &second));
        assert_eq!(ask(&mut thief, &one, "a").await, answer(1, 0, &second));
    });
}

#[test]
fn clients_that_never_stop_talking_are_moved_to_and_fro() {
    run(async {
        let [first, second] = two().await;
        let stop = std::rc::Rc::new(std::cell::Cell::new(false));
        let mut talks = Vec::new();
        for number in 0..8_usize {
            let mut client = first.client().await;
            let stop = std::rc::Rc::clone(&stop);
            talks.push(tokio::task::spawn_local(async move {
                let session = client.session().await;
                let (mut seq, mut count) = (1, 0);
                while !stop.get() {
                    // Several at once, so that there is always one that waits; some stream.
                    for _ in 0..3 {
                        client.say(&session, ["a", "many 50 10"][number % 2]).await;
                    }
                    for _ in 0..3 {
                        let (text, numbers) = hear(&mut client).await;
                        for found in numbers {
                            assert_eq!(found, seq + 1, "{number}");
                            seq = found;
                        }
                        count += 1;
                        let expected = format!("{count} after {} in ", 2 * (count - 1).min(100));
                        assert!(text.starts_with(&expected), "{number}: {text}, expected {expected}");
                    }
                }
                count
            }));
        }
        let mut total = 0;
        for round in 0..10 {
            let (from, to) = if round % 2 == 0 { (&first, &second) } else { (&second, &first) };
            to.host.undrain();
            let result = timeout(LONG, from.drain(LONG_WINDOW)).await.unwrap().unwrap();
            assert_eq!((result.closed, result.interrupted), (0, 0), "round {round}");
            total += result.moved;
        }
        stop.set(true);
        let mut answers = 0;
        for talk in talks {
            answers += timeout(LONG, talk).await.unwrap().unwrap();
        }
        assert!(total >= 80 && answers > 80, "{total} moves, {answers} answers");
    });
}
