//! Clients at the proxy talk to agents: an agent file, and programs that speak the protocol themselves.

use anyhow::{Context, Result, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, fake_agent};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Ten times what a user may wait for the end of a turn that was cancelled.
const CANCEL: Duration = Duration::from_secs(10);

/// An agent whose work blocks its thread until a file is there.
const BLOCKING: &str = r#"
import os, time

class Blocking:
    def stream(self, message):
        yield "begun "
        while message != "go" and not os.path.exists(message):
            time.sleep(0.01)
        yield "and "
        yield "done"

agent = Blocking()
"#;

fn agents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents")
}

/// A manager with one service named `talk` that runs.
async fn talking(source: &[&str]) -> Result<(TestManager, Server)> {
    let manager = TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))?;
    let server = manager.up().await?;
    manager.ok(&[&["register", "talk", "--auto-start"], source].concat()).await?;
    Ok((manager, server))
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// A whole turn: pieces that together are the final answer, nothing lost, doubled or out of order.
fn check_turn(events: &[Value]) -> Result<String> {
    let pieces = named(events, "agent.partial_answer");
    let finals = named(events, "agent.final_answer");
    ensure!(
        pieces.len() >= 3 && finals.len() == 1,
        "{} pieces, {} finals: {events:?}",
        pieces.len(),
        finals.len()
    );
    let whole: String = pieces.iter().filter_map(|event| event["content"].as_str()).collect();
    let answer = finals[0]["content"].as_str().context("the final answer has no text")?;
    ensure!(answer.trim() == whole.trim(), "the pieces are {whole:?} and the whole is {answer:?}");
    Ok(answer.to_owned())
}

/// Everything that a service must do for a client, whatever it is made of. `long` is a message whose answer takes long
/// enough to be cancelled.
async fn converse(server: &Server, message: &str, expected: &str, long: &str) -> Result<()> {
    let url = server.ws_url("/s/talk")?;
    let mut client = EventClient::connect(&url).await?;
    assert_eq!(client.headers["x-myagent-service"], "talk");
    assert_eq!(client.headers["x-myagent-instance"], "talk-0");
    assert_eq!(client.next_event().await?["event"], "system.connected");
    let session = client.create_session().await?;
    let answer = check_turn(&client.turn(&session, message).await?)?;
    assert!(answer.contains(expected), "{answer:?}");
    // A second turn goes on in the same session.
    check_turn(&client.turn(&session, message).await?)?;
    client.check_seq(&session, 1)?;

    // While one session is at its long answer, a second of the same connection and one of another are served.
    client.message(&session, long).await?;
    client.next_named("agent.partial_answer").await?;
    let second = client.create_session().await?;
    assert_ne!(second, session);
    check_turn(&client.turn(&second, message).await?)?;
    let mut other = EventClient::connect(&url).await?;
    let others = other.create_session().await?;
    check_turn(&other.turn(&others, message).await?)?;
    let so_far = client.received.iter().filter(|event| event["session_id"] == session.as_str());
    let finals = so_far.filter(|event| event["event"] == "agent.final_answer").count();
    assert_eq!(finals, 2, "the long answer was over before the others were served");

    let asked = Instant::now();
    let interrupted = timeout(CANCEL, client.cancel(&session)).await.context("not cancelled in time")??;
    assert_eq!(interrupted["session_id"], session.as_str(), "{:?}", asked.elapsed());
    // Nothing of the cancelled answer comes later, and the session goes on.
    let after = client.turn(&session, message).await?;
    assert!(check_turn(&after)?.contains(expected), "{after:?}");
    client.check_seq(&session, 1)?;
    client.check_seq(&second, 1)?;
    client.close().await?;
    other.close().await
}

#[tokio::test]
async fn with_an_agent_file() -> Result<()> {
    let weather = agents().join("weather_agent.py");
    let (_manager, server) = talking(&[weather.to_str().unwrap()]).await?;
    let all = "Amsterdam Berlin Cairo London New York Paris Sydney Tokyo ".repeat(20);
    converse(&server, "How is the weather in Paris?", "25", &all).await
}

#[tokio::test]
async fn with_an_agent_that_shows_everything() -> Result<()> {
    let echo = agents().join("echo_agent.py");
    let (_manager, server) = talking(&[echo.to_str().unwrap()]).await?;
    converse(&server, "hello to everybody", "echo: hello to everybody", "/slow").await?;

    let mut client = EventClient::connect(&server.ws_url("/s/talk")?).await?;
    let session = client.create_session().await?;
    let thought = client.turn(&session, "/think").await?;
    for name in ["agent.thinking", "agent.tool_call", "agent.tool_result"] {
        assert_eq!(named(&thought, name).len(), 1, "{thought:?}");
    }
    // An agent that fails fails one turn.
    client.message(&session, "/fail").await?;
    let error = client.next_named("agent.error").await?;
    assert!(error["content"].as_str().unwrap().contains("asked to fail"), "{error}");
    check_turn(&client.turn(&session, "and now").await?)?;
    client.check_seq(&session, 1)?;
    client.close().await
}

#[tokio::test]
async fn an_agent_that_blocks_its_thread_blocks_nobody_else() -> Result<()> {
    let manager = TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))?;
    let server = manager.up().await?;
    std::fs::write(manager.work_dir().join("blocking.py"), BLOCKING)?;
    manager.ok(&["register", "talk", "blocking.py", "--auto-start"]).await?;
    let url = server.ws_url("/s/talk")?;
    let mut waiting = EventClient::connect(&url).await?;
    let blocked = waiting.create_session().await?;
    let file = manager.work_dir().join("go");
    waiting.message(&blocked, file.to_str().unwrap()).await?;
    waiting.next_named("agent.partial_answer").await?;

    let mut other = EventClient::connect(&url).await?;
    let session = other.create_session().await?;
    check_turn(&other.turn(&session, "go").await?)?;
    std::fs::write(file, "")?;
    waiting.until_final(&blocked).await?;
    check_turn(&waiting.received)?;
    other.close().await?;
    waiting.close().await
}

#[tokio::test]
async fn with_a_command() -> Result<()> {
    let agent = fake_agent::path();
    let (_manager, server) = talking(&["--", agent.to_str().unwrap(), "--delay", "0.3"]).await?;
    // Its answers have three pieces whatever the message is: each is long enough to be overtaken.
    let url = server.ws_url("/s/talk")?;
    let mut client = EventClient::connect(&url).await?;
    assert_eq!(client.headers["x-myagent-instance"], "talk-0");
    let session = client.create_session().await?;
    let answer = check_turn(&client.turn(&session, "hello there").await?)?;
    assert_eq!(answer, "echo: hello there");
    client.message(&session, "never mind").await?;
    client.next_named("agent.partial_answer").await?;
    let mut other = EventClient::connect(&url).await?;
    let others = other.create_session().await?;
    let interrupted = timeout(CANCEL, client.cancel(&session)).await.context("not cancelled in time")??;
    assert_eq!(interrupted["session_id"], session.as_str());
    check_turn(&other.turn(&others, "and me?").await?)?;
    check_turn(&client.turn(&session, "again").await?)?;
    client.check_seq(&session, 1)?;
    client.close().await?;
    other.close().await
}

#[tokio::test]
async fn with_a_program_of_another_language() -> Result<()> {
    let script = agents().join("counter_server.mjs");
    let has_node = std::process::Command::new("node").arg("--version").output().is_ok();
    if !has_node && std::env::var_os("CI").is_none() {
        // There is nothing to test on a machine without it; the one that decides has it.
        return Ok(());
    }
    let (_manager, server) = talking(&["--", "node", script.to_str().unwrap()]).await?;
    converse(&server, "4", "1, 2, 3, 4", "1000").await
}
