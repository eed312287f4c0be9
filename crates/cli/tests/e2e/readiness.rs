//! No client reaches an agent before it is ready, and one that never is becomes an error that says so.

use crate::fleet::{PATIENCE, fake, is_soak, manager, register, wait_for_instance, wait_for_state};
use anyhow::Result;
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, http, wait_for};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How long an agent takes to be ready.
fn pause() -> Duration {
    Duration::from_secs(if is_soak() { 5 } else { 1 })
}

/// Starts without waiting.
async fn start(server: &Server, name: &str) -> Result<()> {
    let target = format!("/api/v1/services/{name}/start?wait=false");
    let answer = http::request(server.address("api")?, "POST", &target, None).await?;
    assert!(answer.status < 300, "{answer:?}");
    Ok(())
}

/// Registers an agent that is ready after [`pause`], starts it, and has a client come at once: it waits, and is served.
async fn early_client(ready: &str, command: &[&str]) -> Result<(TestManager, Server)> {
    let manager = manager()?;
    let server = manager.up().await?;
    register(&manager, "late", &["--set", &format!("ready={ready}")], command).await?;
    let began = Instant::now();
    start(&server, "late").await?;
    let mut client = EventClient::connect(&server.ws_url("/s/late")?).await?;
    let took = began.elapsed();
    let first = client.next_event().await?;
    assert_eq!(first["event"], "system.connected", "{ready}: {first}");
    assert!(took >= pause(), "{ready}: served {took:?} after the start");
    let session = client.create_session().await?;
    client.turn(&session, "hello").await?;
    let instance = wait_for_state(&manager, "late", "running").await;
    assert_eq!(instance["restart_count"], 0);
    assert!(instance["ready_at"].is_string());
    Ok((manager, server))
}

fn listens_late() -> [String; 3] {
    [fake(), "--listen-after".to_owned(), pause().as_secs_f64().to_string()]
}

#[tokio::test]
async fn by_a_websocket() -> Result<()> {
    let command = listens_late();
    let command = command.each_ref().map(String::as_str);
    early_client("ws", &command).await?;
    early_client("ws:/some/path", &command).await?;
    Ok(())
}

#[tokio::test]
async fn by_an_open_port() -> Result<()> {
    let command = listens_late();
    early_client("tcp", &command.each_ref().map(String::as_str)).await?;
    Ok(())
}

/// It listens at once, and says much later that it is ready.
#[tokio::test]
async fn by_a_line_of_output() -> Result<()> {
    let script = format!("{} & sleep {}; echo now I am ready to serve; wait", fake(), pause().as_secs_f64());
    let (manager, server) = early_client("log:ready to .erve", &["sh", "-c", &script]).await?;
    // Ready as well for a manager that was not there when it was said.
    drop(server);
    let server = manager.up().await?;
    wait_for_state(&manager, "late", "running").await;
    EventClient::connect(&server.ws_url("/s/late")?).await?;
    Ok(())
}

/// It listens at once, and says in plain HTTP that it is not ready yet.
#[tokio::test]
async fn by_an_http_answer() -> Result<()> {
    let (fake, pause) = (fake(), pause().as_secs_f64().to_string());
    early_client("http:/healthz", &[&fake, "--warm-up", &pause]).await?;
    Ok(())
}

#[tokio::test]
async fn one_that_never_listens_is_an_error() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let fake = fake();
    for (name, ready) in [("ws", "ws"), ("tcp", "tcp"), ("http", "http:/"), ("log", "log:never")] {
        let options =
            ["--set", "start_timeout=1", "--set", "stop_grace=0.2", "--set", &format!("ready={ready}")];
        register(&manager, name, &options, &[&fake, "--never-listen"]).await?;
        start(&server, name).await?;
    }
    // A client that waits is told as soon as there is nothing to wait for.
    let mut client = EventClient::connect(&server.ws_url("/s/ws")?).await?;
    let told = client.next_event().await?;
    assert_eq!(
        (&told["event"], &told["metadata"]["code"]),
        (&"system.error".into(), &"ROUTING_FAILED".into()),
        "{told}"
    );
    assert_eq!(client.until_closed().await?.0, 1013);
    for name in ["ws", "tcp", "http", "log"] {
        let failed = wait_for_state(&manager, name, "error").await;
        let cause = failed["error_message"].as_str().unwrap();
        assert!(cause.contains("not ready within start_timeout=1 s"), "{name}: {cause}");
        assert_eq!(failed["pid"], Value::Null);
        // It can be told from an agent that crashed.
        let text = manager.ok(&["status", name]).await?;
        assert!(text.stdout.contains("start_timeout"), "{text}");
    }
    let again = manager.cli(&["start", "ws"]).await?;
    assert_eq!(again.status, 1, "{again}");
    assert!(again.stderr.contains("start_timeout=1"), "{again}");
    Ok(())
}

/// It took a handshake or two and hangs since then.
#[tokio::test]
async fn one_that_answers_once_and_hangs_is_restarted() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let options = [
        "--set",
        "health_check_interval=0.2",
        "--set",
        "health_check_timeout=0.2",
        "--set",
        "restart_delay=0.1",
        "--set",
        "stop_grace=0.5",
    ];
    register(&manager, "hangs", &options, &[&fake(), "--hang-after-ready"]).await?;
    start(&server, "hangs").await?;
    wait_for(PATIENCE, "unhealthy, and then restarted", async || {
        let events =
            manager.json(&["events", "--service", "hangs", "--kind", "instance.", "-n", "200"]).await.ok()?;
        let kinds: Vec<&str> = events.as_array()?.iter().filter_map(|event| event["kind"].as_str()).collect();
        (kinds.contains(&"instance.unhealthy") && kinds.contains(&"instance.restarting")).then_some(())
    })
    .await;
    wait_for_instance(&manager, "hangs", "a restart", |instance| instance["restart_count"] != 0).await;
    Ok(())
}
