//! An agent file in another language: the example in `examples/worker`, run by the worker that is registered with it.

use anyhow::{Context, Result};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, processes, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// Whatever is to happen has happened long before.
const LONG: Duration = Duration::from_secs(30);

/// A manager, and worker and agent in its working directory, so that relative names are the caller's.
async fn scene() -> Result<(TestManager, Server)> {
    let manager = TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))?;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/worker");
    for name in ["worker.mjs", "echo_agent.mjs"] {
        fs::copy(format!("{examples}/{name}"), manager.work_dir().join(name))?;
    }
    let server = manager.up().await?;
    Ok((manager, server))
}

async fn worker_pid(manager: &TestManager) -> Result<u32> {
    let status = manager.json(&["status", "echo"]).await?;
    let pid = status["instances"][0]["pid"].as_u64().with_context(|| format!("no pid: {status}"))?;
    Ok(pid.try_into()?)
}

fn last(events: &[Value]) -> &str {
    events.last().and_then(|event| event["content"].as_str()).unwrap_or_default()
}

#[tokio::test]
async fn it_is_served_like_any_agent_file() -> Result<()> {
    let (manager, server) = scene().await?;
    let register = ["register", "echo", "echo_agent.mjs", "--worker", "./worker.mjs", "--auto-start"];
    manager.ok(&register).await?;
    let status = manager.json(&["status", "echo"]).await?;
    let work = manager.work_dir().canonicalize()?;
    let at = |name: &str| json!(work.join(name));
    assert_eq!(
        status["source"],
        json!({"kind":"file","path":at("echo_agent.mjs"),"worker":at("worker.mjs")})
    );
    assert_eq!((&status["agent_type"], &status["status"]), (&json!("file"), &json!("running")));
    let shown = manager.ok(&["status", "echo"]).await?.stdout;
    assert!(shown.contains("echo_agent.mjs with the worker "), "{shown}");

    let mut client = EventClient::connect(&server.ws_url("/s/echo")?).await?;
    let session = client.create_session().await?;
    let answer = client.turn(&session, "good day").await?;
    assert_eq!((answer.len(), last(&answer)), (4, "echo: good day"), "{answer:?}");
    assert_eq!(last(&client.turn(&session, "/think").await?), "thought");

    client.message(&session, "/slow").await?;
    client.next_named("agent.partial_answer").await?;
    client.cancel(&session).await?;
    assert_eq!(last(&client.turn(&session, "still there").await?), "echo: still there");

    // In the middle of an answer: its client is told, on a socket that stays open.
    client.message(&session, "/slow").await?;
    client.next_named("agent.partial_answer").await?;
    let first = worker_pid(&manager).await?;
    processes::send(first, Signal::KILL);
    let lost = client.next_named("agent.error").await?;
    assert_eq!(lost["metadata"]["code"], "WORKER_LOST", "{lost}");
    let history = client.turn(&session, "/history").await?;
    assert!(last(&history).contains("user: good day\nassistant: echo: good day\n"), "{history:?}");
    client.check_seq(&session, 1)?;
    let second = wait_for(LONG, "the next worker", async || worker_pid(&manager).await.ok()).await;
    assert_ne!(first, second);

    manager.ok(&["stop", "echo"]).await?;
    let gone = wait_for(LONG, "the end of the worker", async || {
        (!manager.processes().contains(&second)).then_some(())
    });
    gone.await;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_it_is_told() -> Result<()> {
    let (manager, _server) = scene().await?;
    let work = manager.work_dir();
    fs::write(work.join("broken.mjs"), "export const agent = ;")?;
    let failed = manager
        .cli(&["register", "broken", "broken.mjs", "--worker", "./worker.mjs", "--auto-start"])
        .await?;
    assert!(failed.status == 1 && failed.stderr.contains("SyntaxError"), "{failed}");
    // A program that does not speak the protocol.
    fs::write(work.join("mute"), "#!/bin/sh\nexit 3\n")?;
    fs::set_permissions(work.join("mute"), fs::metadata(work.join("worker.mjs"))?.permissions())?;
    let failed =
        manager.cli(&["register", "mute", "echo_agent.mjs", "--worker", "./mute", "--auto-start"]).await?;
    assert!(failed.status == 1 && failed.stderr.contains("exit code 3"), "{failed}");

    // A fault is mended by an update of that part alone, and one that goes away is told by its name.
    manager.ok(&["update", "mute", "--worker", "./worker.mjs"]).await?;
    manager.ok(&["start", "mute"]).await?;
    manager.ok(&["stop", "mute"]).await?;
    fs::remove_file(work.join("worker.mjs"))?;
    let failed = manager.cli(&["start", "mute"]).await?;
    assert!(failed.stderr.contains("worker.mjs is gone; restore it or update the service"), "{failed}");
    let failed = manager.cli(&["update", "mute", "--python", "python3"]).await?;
    assert!(failed.status == 2 && failed.stderr.contains("echo_agent.mjs is not a Python file"), "{failed}");
    Ok(())
}
