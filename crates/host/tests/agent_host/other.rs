//! A worker that is a program of its own: the example in `examples/worker`, which needs Node.

use crate::rig::{Rig, run};
use crate::slow::until_it_stalls;
use myagent_core::config::ServiceConfig;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/worker").join(name).canonicalize().unwrap()
}

/// With this agent in JavaScript.
fn with_script<F: Future<Output = ()>>(script: &str, test: impl FnOnce(Rig) -> F) {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        let agent = rig.agent.with_extension("mjs");
        std::fs::write(&agent, script).unwrap();
        rig.start_other(&example("worker.mjs"), &agent).await.unwrap();
        test(rig).await;
    });
}

#[test]
fn the_example_agent_converses() {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        let (worker, agent) = (example("worker.mjs"), example("echo_agent.mjs"));
        let ready = rig.start_other(&worker, &agent).await.unwrap();
        assert_eq!((ready.name.as_str(), ready.per_session, ready.context), ("echo_agent", true, true));
        assert_eq!((ready.pid, ready.python.as_str()), (rig.worker_pid(), ""));
        let mut client = rig.client().await;
        let created = client.create(json!({"prefix":"you:"})).await;
        assert_eq!(created["metadata"]["agent_name"], "echo");
        let session = created["session_id"].as_str().unwrap();
        // Separators that are none to us, and what has more than one unit in JavaScript.
        client.say(session, "häl\u{2028}lo 🎈").await;
        let events = client.until("agent.final_answer").await;
        let texts: Vec<_> = events.iter().map(|event| event["content"].as_str().unwrap()).collect();
        assert_eq!(texts, ["you:", " häl\u{2028}lo", " 🎈", "you: häl\u{2028}lo 🎈"]);
        assert_eq!(events[2]["metadata"]["total_length"], 13);
        let numbers: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [2, 3, 4, 5]);

        client.say(session, "/think").await;
        let events = client.until("agent.final_answer").await;
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        let thought = ["agent.thinking", "agent.tool_call", "agent.tool_result"];
        assert_eq!(names[..3], thought);
        assert_eq!(
            (&events[1]["step_id"], &events[1]["metadata"]["tool"]),
            (&json!("step_0_count"), &json!("count"))
        );

        client.say(session, "/confirm").await;
        let question = client.expect("agent.user_confirm").await;
        assert_eq!(question["metadata"]["options"], json!(["yes", "no"]));
        let step = &question["step_id"];
        client
            .send(json!({"event":"user.response","session_id":session,"step_id":step,"content":"yes"}))
            .await;
        assert_eq!(client.until("agent.final_answer").await.pop().unwrap()["content"], "you said yes");

        client.say(session, "/fail").await;
        let error = client.expect("agent.error").await;
        assert_eq!(
            (&error["metadata"]["code"], &error["content"]),
            (&json!("AGENT_FAILED"), &json!("Error: asked to fail"))
        );

        client.say(session, "/slow").await;
        client.expect("agent.partial_answer").await;
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.until("agent.interrupted").await;
        client.say(session, "/confirm").await;
        client.expect("agent.user_confirm").await;
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.expect("agent.interrupted").await;
        client.say(session, "on").await;
        assert_eq!(client.until("agent.final_answer").await.pop().unwrap()["content"], "you: on");
        client.send(json!({"event":"user.dance","session_id":session})).await;
        assert_eq!(client.expect("system.error").await["metadata"]["code"], "UNKNOWN_EVENT");

        rig.kill();
        rig.start_other(&worker, &agent).await.unwrap();
        client.say(session, "/history").await;
        let answer = client.until("agent.final_answer").await.pop().unwrap();
        assert!(answer["content"].as_str().unwrap().contains("assistant: you said yes\n"), "{answer}");
        rig.host.stop(1001, "stopped", Duration::ZERO).await;
        assert_eq!(rig.worker_exit().await.code(), Some(0), "it is told to end");
    });
}

#[test]
fn what_cannot_be_loaded_is_told() {
    for (script, expected) in [
        ("export const x = 1;", "Error: no agent in it: export agent or createAgent()"),
        ("export const agent = ;", "SyntaxError: "),
        ("throw new TypeError('no key');", "TypeError: no key"),
    ] {
        run(async {
            let mut rig = Rig::new(ServiceConfig::default()).await;
            let agent = rig.agent.with_extension("mjs");
            std::fs::write(&agent, script).unwrap();
            let error = rig.start_other(&example("worker.mjs"), &agent).await.unwrap_err().to_string();
            assert!(error.starts_with(expected), "{script}: {error}");
            assert_eq!(rig.worker_exit().await.code(), Some(1));
        });
    }
}

#[test]
fn functions_are_agents_too_and_no_turn_overlaps() {
    let script = "
        import { setTimeout as sleep } from 'node:timers/promises';
        let running = 0;
        export async function agent(message, ctx) {
            if (++running > 1) ctx.emit('custom.overlap');
            if (message === 'slow') { ctx.emit('custom.begun'); await sleep(500); }
            if (message === 'own') ctx.emit('agent.final_answer', 'mine');
            running--;
            return `${message} ${ctx.history.length}`;
        }";
    with_script(script, async |rig| {
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "slow").await;
        client.expect("custom.begun").await;
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.expect("agent.interrupted").await;
        assert_eq!(client.ask(&session, "next").await, "next 0");
        assert_eq!(client.ask(&session, "own").await, "mine");
        assert_eq!(client.ask(&session, "last").await, "last 4");
    });
}

const PIECES: u64 = 8 * 1024;

#[test]
fn a_client_that_does_not_read_stalls_only_itself() {
    let script = "
        let sent = 0;
        const piece = 'x'.repeat(4096);
        export const agent = { name: 'floods', async *stream(message, ctx) {
            if (message === 'count') { yield String(sent); return; }
            for (let number = 0; number < Number(message); number++) { sent += piece.length; yield piece; }
        } };";
    with_script(script, async |rig| {
        let mut slow = rig.client().await;
        let session = slow.session().await;
        slow.say(&session, &PIECES.to_string()).await;
        let known = until_it_stalls(&rig).await;
        assert!(known < PIECES * 4096 / 2, "{known} bytes were made for a client that does not read");
        for expected in 2..PIECES + 2 {
            assert_eq!(slow.next().await["seq"], Value::from(expected));
        }
        assert_eq!(slow.expect("agent.final_answer").await["seq"], PIECES + 2);
    });
}
