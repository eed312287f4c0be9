//! No client reaches an agent before it is ready, and one that never is becomes an error that says so.

use crate::fleet::{PATIENCE, fake, instance, is_soak, manager, register, wait_for_state};
use anyhow::Result;
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, http, wait_for};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout};

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
    assert!(began.elapsed() >= pause(), "{ready}: served {:?} after the start", began.elapsed());
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

/// Answers 503 until it has warmed up.
const WARMING_UP: &str = r#"
import http.server, os, time
start = time.monotonic()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        warm = time.monotonic() - start > float(os.environ["PAUSE"])
        self.send_response(200 if warm else 503)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[tokio::test]
async fn by_an_http_answer() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let pause_text = format!("PAUSE={}", pause().as_secs_f64());
    let options = ["--set", "ready=http:/healthz", "--env", &pause_text];
    register(&manager, "late", &options, &["python3", "-c", WARMING_UP]).await?;
    let began = Instant::now();
    manager.ok(&["start", "late"]).await?;
    assert!(began.elapsed() >= pause(), "{:?}", began.elapsed());
    assert_eq!(instance(&manager, "late").await?["status"], "running");
    let answer = http::request(server.address("proxy")?, "GET", "/s/late/", None).await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn one_that_never_listens_is_an_error() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let fake = fake();
    for (name, ready) in [("ws", "ws"), ("tcp", "tcp"), ("http", "http:/"), ("log", "log:never")] {
        let options = ["--set", "start_timeout=1", "--set", "stop_grace=0.2", "--set", &format!("ready={ready}")];
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
        "--set", "health_check_interval=0.2", "--set", "health_check_timeout=0.2", "--set", "restart_delay=0.1",
        "--set", "stop_grace=0.5",
    ];
    register(&manager, "hangs", &options, &[&fake(), "--hang-after-ready"]).await?;
    start(&server, "hangs").await?;
    let mut was_unhealthy = false;
    wait_for(PATIENCE, "unhealthy, and then restarted", async || {
        let events = manager.json(&["events", "--service", "hangs", "-n", "200"]).await.ok()?;
        let kinds: Vec<&str> = events.as_array()?.iter().filter_map(|event| event["kind"].as_str()).collect();
        was_unhealthy |= kinds.contains(&"instance.unhealthy");
        (was_unhealthy && kinds.contains(&"instance.restarting")).then_some(())
    })
    .await;
    let restarted = timeout(PATIENCE, async {
        loop {
            let now = instance(&manager, "hangs").await?;
            if now["restart_count"].as_u64() >= Some(1) {
                return anyhow::Ok(now);
            }
        }
    });
    restarted.await??;
    Ok(())
}
