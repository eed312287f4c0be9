//! The example agents do what the documentation says.

use crate::rig::{Client, LONG, Rig, run};
use myagent_core::config::ServiceConfig;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../agents").join(name).canonicalize().unwrap()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn the_weather_agent_streams() {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        assert_eq!(rig.start_file(&example("weather_agent.py")).await.unwrap().name, "weather");
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "How is the weather in Paris and Tokyo?").await;
        let events = client.until("agent.final_answer").await;
        let names = names(&events);
        assert_eq!(names[0], "agent.thinking");
        assert_eq!(names.iter().filter(|name| **name == "agent.tool_call").count(), 2);
        assert_eq!(names.iter().filter(|name| **name == "agent.tool_result").count(), 2);
        assert!(names.iter().filter(|name| **name == "agent.partial_answer").count() >= 5, "{names:?}");
        let answer = events.last().unwrap()["content"].as_str().unwrap();
        assert!(answer.contains("Paris") && answer.contains("Tokyo"), "{answer}");
        client.say(&session, "hello").await;
        let events = client.until("agent.final_answer").await;
        assert!(
            events.last().unwrap()["content"].as_str().unwrap().contains("Paris"),
            "it says which cities it knows"
        );
    });
}

#[test]
fn the_echo_agent_shows_every_feature() {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        assert_eq!(rig.start_file(&example("echo_agent.py")).await.unwrap().name, "echo");
        let mut client = rig.client().await;
        let session = client.session().await;
        client.say(&session, "hello world").await;
        let events = client.until("agent.final_answer").await;
        assert_eq!(events.last().unwrap()["content"], "echo: hello world");
        client.say(&session, "/confirm").await;
        let question = client.until("agent.user_confirm").await.pop().unwrap();
        client.send(json!({"event":"user.response","session_id":session,"step_id":question["step_id"],"content":"yes"})).await;
        let answer = client.until("agent.final_answer").await.pop().unwrap();
        assert!(answer["content"].as_str().unwrap().contains("yes"), "{answer}");
        client.say(&session, "/count").await;
        let before = client.until("agent.final_answer").await.pop().unwrap();
        client.send(json!({"event":"user.ping_agent","session_id":session})).await;
        client.until("echo.pong").await;
        client.say(&session, "/slow").await;
        client.expect("agent.partial_answer").await;
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.until("agent.interrupted").await;
        rig.kill();
        rig.start_file(&example("echo_agent.py")).await.unwrap();
        client.say(&session, "/count").await;
        let after = client.until("agent.final_answer").await.pop().unwrap();
        assert_ne!(before["content"], after["content"]);
        assert!(after["content"].as_str().unwrap().starts_with("4 "), "the state came along: {after}");
    });
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_counter_server_speaks_the_protocol_in_node() {
    run(async {
        let mut child = Command::new("node")
            .arg(example("counter_server.mjs"))
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let _killed = Killed(child);
        let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        let mut client = Client::connect(([127, 0, 0, 1], port).into()).await;
        let session = client.session().await;
        client.say(&session, "4").await;
        let events = client.until("agent.final_answer").await;
        assert_eq!(events.len(), 5, "{events:?}");
        assert!(events[..4].iter().all(|event| event["event"] == "agent.partial_answer"));
        client.say(&session, &"1000 ".repeat(50_000)).await;
        client.expect("agent.partial_answer").await;
        client.send(json!({"event":"user.cancel","session_id":session})).await;
        client.until("agent.interrupted").await;
        client.say(&session, "").await;
        client.expect("agent.error").await;
        client.send_text("nonsense").await;
        client.expect("system.error").await;
        client.send(json!({"type":"ping"})).await;
        assert_eq!(client.next().await, json!({"type":"pong"}));
        client.say(&session, "3").await;
        let events = client.until("agent.final_answer").await;
        let last = events.last().unwrap();
        assert!(last["seq"].as_u64().unwrap() > 5);
        futures_util::SinkExt::close(&mut client.socket).await.unwrap();
        tokio::time::timeout(LONG, async {
            while futures_util::StreamExt::next(&mut client.socket).await.is_some() {}
        })
        .await
        .unwrap();
    });
}
