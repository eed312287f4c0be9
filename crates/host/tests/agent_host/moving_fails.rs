//! Clients that are to be given away and are not taken: by nobody, by somebody who dies or hangs in the middle, or because their
//! agent could not go on.

use crate::moving::{AGENT, LONG_WINDOW, answer, ask, drained, moved, rigs, touch, two};
use crate::rig::{Client, LONG, run};
use myagent_core::config::ServiceConfig;
use myagent_core::wire::handover::{Down, Refusal, Up, decode, encode};
use myagent_handover::{Channel, Listener, Received};
use myagent_host::Drained;
use myagent_journal::{Journal, Owner};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(300);

async fn reconnect(client: &mut Client, session: &str, last_seq: u64) {
    client.send(json!({"event":"user.reconnect","session_id":session,"last_seq":last_seq})).await;
    client.expect("agent.state_restored").await;
    client.expect("system.notice").await;
}

#[test]
fn nobody_has_room_until_somebody_has() {
    run(async {
        let [first, second] = rigs(AGENT, ServiceConfig { max_sessions: 1, ..Default::default() }).await;
        let mut client = first.client().await;
        let session = client.session().await;
        let other = second.client().await;
        let draining = first.drain(LONG_WINDOW);
        // It is served where it is as long as that takes.
        for count in 1..4 {
            assert_eq!(ask(&mut client, &session, "a").await, answer(count, 2 * (count - 1), &first));
        }
        drop(other);
        assert_eq!(timeout(LONG, draining).await.unwrap().unwrap(), moved(1));
        assert_eq!(ask(&mut client, &session, "b").await, answer(4, 6, &second));
        // Of two who come at once one finds a place, and the other stays to the end.
        first.host.undrain();
        let mut third = second.replica(ServiceConfig::default(), 2).await;
        third.start().await.unwrap();
        let mut others = [third.client().await, third.client().await];
        let result = timeout(LONG, third.drain(SHORT)).await.unwrap().unwrap();
        assert_eq!(result, Drained { moved: 1, closed: 1, interrupted: 0 });
        assert_eq!((first.table.open_count(), second.table.open_count()), (1, 1));
        let [one, two] = &mut others;
        tokio::select! {
            closed = one.closed() => assert_eq!(closed.0, 1012),
            closed = two.closed() => assert_eq!(closed.0, 1012),
        }
    });
}

#[test]
fn without_a_sibling_clients_are_sent_away_in_a_quiet_moment() {
    run(async {
        let [first] = rigs(AGENT, ServiceConfig::default()).await;
        let (mut idle, mut busy) = (first.client().await, first.client().await);
        let (one, two) = (idle.session().await, busy.session().await);
        assert_eq!(ask(&mut idle, &one, "a").await, answer(1, 0, &first));
        busy.say(&two, "until go").await;
        busy.expect("agent.partial_answer").await;
        let draining = first.drain(LONG_WINDOW);
        assert_eq!(idle.closed().await, (1012, "service restart".to_owned()));
        touch(&first, "go");
        busy.until("agent.final_answer").await;
        assert_eq!(busy.closed().await.0, 1012);
        let expected = Drained { moved: 0, closed: 2, interrupted: 0 };
        assert_eq!(timeout(LONG, draining).await.unwrap().unwrap(), expected);
        // Their sessions are anybody's by then.
        let mut second = first.replica(ServiceConfig::default(), 1).await;
        second.start().await.unwrap();
        let mut back = second.client().await;
        reconnect(&mut back, &one, 3).await;
        assert_eq!(ask(&mut back, &one, "b").await, answer(2, 2, &second));
    });
}

#[test]
fn an_agent_that_would_know_nothing_elsewhere_is_not_moved() {
    // It takes no context and exports nothing.
    let forgets = "
class A:
    def __init__(self):
        self.count = 0
    async def arun(self, text):
        self.count += 1
        return str(self.count)
def create_agent():
    return A()
";
    run(async {
        let [first, second] = rigs(forgets, ServiceConfig::default()).await;
        let (mut talked, mut fresh, mut bare) =
            (first.client().await, first.client().await, first.client().await);
        let (one, two) = (talked.session().await, fresh.session().await);
        assert_eq!(talked.ask(&one, "a").await, "1");
        drained(&first, Drained { moved: 2, closed: 1, interrupted: 0 }).await;
        assert_eq!(talked.closed().await, (1012, "service restart".to_owned()));
        // Nothing was said yet: nothing is forgotten.
        assert_eq!(fresh.ask(&two, "a").await, "1");
        let three = bare.session().await;
        assert_eq!(bare.ask(&three, "a").await, "1");
        // It comes back at once, and is told.
        let mut back = second.client().await;
        reconnect(&mut back, &one, 2).await;
        back.say(&one, "b").await;
        assert_eq!(back.expect("system.notice").await["metadata"]["code"], "state_lost");
        assert_eq!(back.answer().await, "1");
    });
}

#[test]
fn without_a_journal_nothing_moves_but_who_has_said_nothing() {
    run(async {
        let config = ServiceConfig { journal_max_mb: 0, ..Default::default() };
        let [first, _second] = rigs(AGENT, config).await;
        let (mut client, _bare) = (first.client().await, first.client().await);
        client.session().await;
        // It has no place where others could be found either.
        drained(&first, Drained { moved: 0, closed: 2, interrupted: 0 }).await;
        assert_eq!(client.closed().await.0, 1012);
    });
}

/// What something that is no good does with a client.
enum Fault {
    /// Ends its end when the client has come.
    Dies,
    /// Adopts the session, and then ends.
    DiesAsOwner,
    /// Is not willing any more.
    Refuses,
    /// Says nothing.
    Hangs,
}

/// Says that it takes a client, and then does not.
async fn take_badly(journal: Option<Journal>, listener: Listener, fault: Fault) -> Option<Channel> {
    let (mut message, mut reply) = (Vec::new(), Vec::new());
    loop {
        let channel = listener.accept().await.unwrap();
        // Whoever has a client for it may find that it is not idle any more, and come again.
        while let Some(Received { descriptor }) = channel.recv(&mut message).await.unwrap() {
            match decode::<Down>(&message).unwrap().0 {
                Down::Ask(ask) => {
                    assert!(ask.bring);
                    encode(&mut reply, &Up::Willing { places: Some(0) }, &[]).unwrap();
                    channel.send(&reply, None).await.unwrap();
                }
                Down::Moved(moved) => {
                    drop(descriptor.unwrap());
                    match fault {
                        Fault::Dies => return None,
                        Fault::Hangs => {
                            drop(journal);
                            return Some(channel);
                        }
                        Fault::Refuses => {
                            let detail = "not any more".to_owned();
                            encode(&mut reply, &Up::Unwilling { reason: Refusal::Full, detail }, &[])
                                .unwrap();
                            channel.send(&reply, None).await.unwrap();
                            return Some(channel);
                        }
                        Fault::DiesAsOwner => {
                            let journal = journal.unwrap();
                            let key = moved.brings.unwrap()[0].id;
                            let Owner::Dead(estate) = journal.locate(key) else { panic!("not released") };
                            journal.adopt(estate.fetch().unwrap()).unwrap();
                            return None;
                        }
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The client is still the first one's, whatever the other one did, and goes on there.
fn comes_back_from(fault: Fault) {
    run(async {
        let [first] = rigs(AGENT, ServiceConfig::default()).await;
        let mut client = first.client().await;
        let (session, other) = (client.session().await, client.session().await);
        assert_eq!(ask(&mut client, &session, "a").await, answer(1, 0, &first));
        let (journal, listener) = first.stranger();
        let bad = tokio::task::spawn_local(take_badly(Some(journal), listener, fault));
        let draining = first.drain(LONG_WINDOW);
        let _kept = timeout(LONG, bad).await.unwrap().unwrap();
        // Numbers, history and state are as they were.
        client.say(&session, "b").await;
        let partial = client.expect("agent.partial_answer").await;
        assert_eq!((&partial["seq"], &partial["content"]), (&json!(4), &json!(answer(2, 2, &first))));
        client.expect("agent.final_answer").await;
        assert_eq!(ask(&mut client, &other, "a").await, answer(1, 0, &first));
        // Another one takes it.
        let mut second = first.replica(ServiceConfig::default(), 1).await;
        second.start().await.unwrap();
        assert_eq!(timeout(LONG, draining).await.unwrap().unwrap(), moved(1));
        assert_eq!(ask(&mut client, &session, "c").await, answer(3, 4, &second));
        assert_eq!(ask(&mut client, &other, "b").await, answer(2, 2, &second));
    });
}

#[test]
fn one_that_dies_with_the_client_in_its_hands_has_not_had_it() {
    comes_back_from(Fault::Dies);
}

#[test]
fn one_that_dies_after_it_has_adopted_leaves_the_session_to_its_client() {
    comes_back_from(Fault::DiesAsOwner);
}

#[test]
fn one_that_is_not_willing_any_more_has_not_touched_it() {
    comes_back_from(Fault::Refuses);
}

#[test]
fn a_client_of_one_that_hangs_is_cut_off_and_finds_its_session() {
    run(async {
        let [first] = rigs(AGENT, ServiceConfig::default()).await;
        let mut client = first.client().await;
        let session = client.session().await;
        assert_eq!(ask(&mut client, &session, "a").await, answer(1, 0, &first));
        let (journal, listener) = first.stranger();
        let bad = tokio::task::spawn_local(take_badly(Some(journal), listener, Fault::Hangs));
        let draining = first.drain(LONG_WINDOW);
        // It might wake up and go on: so the client must not go on here.
        client.ended().await;
        let _kept = timeout(LONG, bad).await.unwrap().unwrap();
        assert_eq!(timeout(LONG, draining).await.unwrap().unwrap(), Drained::default());
        let closed = first.table.report(true).closed;
        assert_eq!((closed[0].code, closed[0].moved), (1006, false), "{closed:?}");
        let mut second = first.replica(ServiceConfig::default(), 1).await;
        second.start().await.unwrap();
        let mut back = second.client().await;
        reconnect(&mut back, &session, 3).await;
        assert_eq!(ask(&mut back, &session, "b").await, answer(2, 2, &second));
    });
}

#[test]
fn one_that_does_not_answer_holds_nobody_up() {
    run(async {
        let [first, second, third] = rigs(AGENT, ServiceConfig::default()).await;
        second.hang();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = first.client().await;
            let session = client.session().await;
            clients.push((client, session));
        }
        drained(&first, moved(20)).await;
        for (client, session) in &mut clients {
            assert_eq!(ask(client, session, "a").await, answer(1, 0, &third));
        }
        assert_eq!(third.table.open_count(), 20);
    });
}

#[test]
fn those_that_have_fewest_get_most() {
    run(async {
        let [first, second, third] = rigs(AGENT, ServiceConfig::default()).await;
        let mut kept = Vec::new();
        for _ in 0..30 {
            kept.push(first.client().await);
        }
        for _ in 0..10 {
            kept.push(second.client().await);
        }
        drained(&first, moved(30)).await;
        let (two, three) = (second.table.open_count(), third.table.open_count());
        assert!(two + three == 40 && two.abs_diff(three) <= 4, "{two} and {three}");
    });
}

#[test]
fn a_drain_that_is_taken_back_leaves_everything_as_it_was() {
    run(async {
        let [first, second] = two().await;
        second.hang();
        let mut client = first.client().await;
        let session = client.session().await;
        let draining = first.drain(LONG_WINDOW);
        assert_eq!(ask(&mut client, &session, "a").await, answer(1, 0, &first));
        first.host.undrain();
        assert_eq!(timeout(LONG, draining).await.unwrap().unwrap(), Drained::default());
        assert_eq!(ask(&mut client, &session, "b").await, answer(2, 2, &first));
        let mut late = first.client().await;
        late.session().await;
        // Also after it was over.
        assert_eq!(first.drain(SHORT).await.unwrap().closed, 2);
        first.host.undrain();
        let mut again = first.client().await;
        reconnect(&mut again, &session, 5).await;
        assert_eq!(ask(&mut again, &session, "c").await, answer(3, 4, &first));
    });
}

#[test]
fn what_cannot_be_released_stays_and_goes_on() {
    run(async {
        let [first, second] = two().await;
        let mut client = first.client().await;
        let session = client.session().await;
        assert_eq!(ask(&mut client, &session, "a").await, answer(1, 0, &first));
        // A folder stands where the link would be replaced, as on a disk that takes nothing.
        let owners = first.agent.with_file_name("journal").join("owners");
        let link = owners.join(&session);
        let target = std::fs::read_link(&link).unwrap();
        std::fs::remove_file(&link).unwrap();
        std::fs::create_dir_all(link.join("x")).unwrap();
        let draining = first.drain(LONG_WINDOW);
        for count in 2..4 {
            assert_eq!(ask(&mut client, &session, "b").await, answer(count, 2 * (count - 1), &first));
        }
        assert_eq!(second.table.open_count(), 0);
        std::fs::remove_dir_all(&link).unwrap();
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert_eq!(timeout(LONG, draining).await.unwrap().unwrap(), moved(1));
        assert_eq!(ask(&mut client, &session, "c").await, answer(4, 6, &second));
    });
}
