//! Turns that do not end after their cancel: nothing overlaps with them, and the worker is replaced when it can be.

use crate::rig::{Client, Rig, run};
use myagent_core::config::ServiceConfig;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Blocks its thread until a file is there, and counts for each session what overlaps.
const STUBBORN: &str = "
import os, time
class A:
    def __init__(self):
        self.running, self.count = 0, 0
    def run(self, text, ctx):
        self.running += 1
        self.count += 1
        if self.running > 1:
            ctx.emit('custom.overlap')
        if text.startswith('until '):
            ctx.emit('custom.begun', os.getpid())
            while not os.path.exists(text[6:]):
                time.sleep(0.005)
        self.running -= 1
        return '%s %d' % (text, self.count)
    async def on_event(self, event, ctx):
        ctx.emit('custom.event')
    def export_state(self):
        return self.count
    def import_state(self, state):
        self.count = state
def create_agent():
    return A()
";

/// Whatever is to happen has happened long before.
const SOON: Duration = Duration::from_secs(20);

async fn begun(client: &mut Client, session: &str, file: &str) -> Value {
    client.say(session, &format!("until {file}")).await;
    client.expect("custom.begun").await["content"].clone()
}

async fn cancel(client: &mut Client, session: &str) {
    client.send(json!({"event":"user.cancel","session_id":session})).await;
    client.expect("agent.interrupted").await;
}

fn touch(rig: &Rig, file: &str) {
    std::fs::write(rig.agent.with_file_name(file), "").unwrap();
}

/// With turns that count as stuck after so many seconds.
fn with_patience<F: Future<Output = ()>>(seconds: &'static str, test: impl FnOnce(Rig) -> F) {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        rig.write(STUBBORN);
        rig.environment.push(("MYAGENT_WORKER_STUCK_AFTER", seconds));
        rig.start().await.unwrap();
        test(rig).await;
    });
}

#[test]
fn the_next_turn_waits_for_the_thread_of_a_cancelled_one() {
    with_patience("60", async |rig| {
        let mut client = rig.client().await;
        let (session, other) = (client.session().await, client.session().await);
        begun(&mut client, &session, "first").await;
        cancel(&mut client, &session).await;
        // One that is cancelled while it waits does not let the one behind it pass.
        client.say(&session, "cancelled").await;
        cancel(&mut client, &session).await;
        client.say(&session, "second").await;
        // Longer than a worker waits anywhere else.
        let waits = timeout(Duration::from_millis(2500), client.next()).await;
        assert!(waits.is_err(), "{waits:?}");
        assert_eq!(client.ask(&other, "others do not wait").await, "others do not wait 1");
        touch(&rig, "first");
        assert_eq!(client.answer().await, "second 2");
        assert!(rig.host.is_ready());
    });
}

#[test]
fn a_quiet_worker_with_a_stuck_thread_is_replaced_and_nothing_is_lost() {
    with_patience("0.3", async |mut rig| {
        let mut client = rig.client().await;
        let (session, other) = (client.session().await, client.session().await);
        assert_eq!(client.ask(&session, "hello").await, "hello 1");
        begun(&mut client, &session, "never").await;
        cancel(&mut client, &session).await;
        client.say(&session, "waits for it").await;
        let host = rig.host.clone();
        assert!(timeout(SOON, host.worker_gone()).await.unwrap(), "it was given up");
        assert_eq!(
            rig.notice().await,
            ("thread_stuck".to_owned(), "1 cancelled turns still run after 0.3 s".to_owned())
        );
        assert_eq!(rig.notice().await.0, "worker_recycled");
        // Meanwhile nobody need know.
        assert!(rig.host.is_ready() && rig.host.worker_loop_ok());
        let mut late = rig.client().await;
        late.send(json!({"event":"user.create_session"})).await;
        assert_eq!(rig.worker_exit().await.code(), Some(0), "it ends by itself: our end is closed");
        rig.start().await.unwrap();
        // No notice, no error: as if it had been the same worker.
        assert_eq!(client.answer().await, "waits for it 2", "the state came along");
        assert_eq!(client.ask(&other, "hello").await, "hello 1");
        late.expect("agent.session_created").await;
        assert_eq!(client.ask(&session, "again").await, "again 3");
    });
}

#[test]
fn a_turn_that_runs_is_not_cut_and_the_worker_is_replaced_when_it_has_ended() {
    with_patience("0.5", async |mut rig| {
        let mut client = rig.client().await;
        let (stuck, busy) = (client.session().await, client.session().await);
        begun(&mut client, &busy, "done").await;
        begun(&mut client, &stuck, "never").await;
        cancel(&mut client, &stuck).await;
        assert_eq!(rig.notice().await.0, "thread_stuck");
        // New turns begin as before.
        let third = client.session().await;
        assert_eq!(client.ask(&third, "hello").await, "hello 1");
        touch(&rig, "done");
        assert_eq!(client.answer().await, "until done 1");
        assert!(timeout(SOON, rig.host.worker_gone()).await.unwrap());
        rig.start().await.unwrap();
        assert_eq!(client.ask(&busy, "hello").await, "hello 2");
    });
}

#[test]
fn a_continuous_load_does_not_postpone_it_for_ever() {
    with_patience("0.5", async |mut rig| {
        let mut client = rig.client().await;
        let (stuck, one, two) = (client.session().await, client.session().await, client.session().await);
        begun(&mut client, &stuck, "never").await;
        begun(&mut client, &one, "one").await;
        cancel(&mut client, &stuck).await;
        assert_eq!(rig.notice().await.0, "thread_stuck");
        // There is always one that runs, until new ones have to wait: after ten times the limit, looked for each 5 s.
        let start = Instant::now();
        let held = loop {
            client.say(&two, "until two").await;
            match timeout(Duration::from_millis(1500), client.next()).await {
                Ok(event) => assert_eq!(event["event"], "custom.begun"),
                Err(_) => break true,
            }
            touch(&rig, "two");
            client.answer().await;
            std::fs::remove_file(rig.agent.with_file_name("two")).unwrap();
            if start.elapsed() > SOON {
                break false;
            }
        };
        assert!(held, "turns were given to it all the time");
        touch(&rig, "one");
        touch(&rig, "two");
        let answer = client.next().await;
        if answer["event"] == "agent.final_answer" {
            assert_eq!(answer["content"], "until one 1");
        } else {
            // On a slow machine its time may be over before.
            assert_eq!(answer["metadata"]["code"], "INTERRUPTED_BY_RESTART", "{answer}");
        }
        assert!(timeout(SOON, rig.host.worker_gone()).await.unwrap());
        rig.start().await.unwrap();
        client.until("custom.begun").await;
        assert!(client.answer().await.starts_with("until two "), "it has waited for the next worker");
    });
}

#[test]
fn what_does_not_end_in_time_is_told_that_it_was_interrupted() {
    with_patience("0.1", async |rig| {
        let mut client = rig.client().await;
        let (stuck, busy) = (client.session().await, client.session().await);
        begun(&mut client, &busy, "never").await;
        begun(&mut client, &stuck, "never").await;
        cancel(&mut client, &stuck).await;
        let error = timeout(SOON, client.expect("agent.error")).await.unwrap();
        assert_eq!(error["metadata"]["code"], "INTERRUPTED_BY_RESTART");
        assert!(rig.host.is_ready());
    });
}

#[test]
fn with_half_of_the_threads_stuck_nobody_waits_for_a_quiet_moment() {
    with_patience("3", async |mut rig| {
        let mut client = rig.client().await;
        let (busy, waiting) = (client.session().await, client.session().await);
        begun(&mut client, &busy, "done").await;
        let mut sessions = Vec::new();
        for _ in 0..64 {
            sessions.push(client.session().await);
            client.say(sessions.last().unwrap(), "until never").await;
            if sessions.len() < 64 {
                client.expect("custom.begun").await;
            }
        }
        for session in &sessions {
            cancel(&mut client, session).await;
        }
        // All threads are taken: this one waits for one, and begins in the next worker.
        client.say(&waiting, "waits").await;
        assert_eq!(rig.notice().await.0, "thread_stuck");
        touch(&rig, "done");
        assert_eq!(client.answer().await, "until done 1", "what runs is waited for");
        assert!(timeout(SOON, rig.host.worker_gone()).await.unwrap());
        rig.start().await.unwrap();
        assert_eq!(client.answer().await, "waits 1");
    });
}

#[test]
fn a_thread_that_ends_after_all_is_forgotten() {
    with_patience("0.3", async |mut rig| {
        let mut client = rig.client().await;
        let (stuck, busy) = (client.session().await, client.session().await);
        begun(&mut client, &busy, "done").await;
        begun(&mut client, &stuck, "late").await;
        cancel(&mut client, &stuck).await;
        assert_eq!(rig.notice().await.0, "thread_stuck");
        touch(&rig, "late");
        client.say(&stuck, "next").await;
        assert_eq!(client.answer().await, "next 2");
        touch(&rig, "done");
        assert_eq!(client.answer().await, "until done 1");
        assert_eq!(client.ask(&busy, "the same worker").await, "the same worker 2");
        let gone = timeout(Duration::from_secs(6), rig.host.worker_gone()).await;
        assert!(gone.is_err(), "there was no reason to give it up any more");
        assert_eq!(client.ask(&busy, "still").await, "still 3");
    });
}
