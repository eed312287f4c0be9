//! A new process takes over from the manager, and nobody notices: not those who talk, not those who come.

use crate::caller::Caller;
use crate::fleet::{PATIENCE, Process, manager, number, rounds, start_fake};
use anyhow::{Context, Result, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, http, wait_for};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// The manager that runs.
fn manager_of(manager: &TestManager) -> Result<Process> {
    let text = std::fs::read_to_string(manager.data_dir().join("manager.json"))?;
    let file: serde_json::Value = serde_json::from_str(&text)?;
    Process::of(number(&file["pid"])?)
}

/// Somebody who talks until told to stop; how many answers there were.
async fn talk(url: String, mut stop: watch::Receiver<bool>) -> Result<usize> {
    let mut client = EventClient::connect(&url).await?;
    let session = client.create_session().await?;
    let mut count = 0;
    while !*stop.borrow_and_update() {
        let answer = client.turn(&session, &format!("message {count}")).await?.pop().context("no answer")?;
        let right = format!("echo: message {count}");
        ensure!(answer["content"].as_str().is_some_and(|text| text.trim() == right), "{answer}");
        client.received.clear();
        count += 1;
    }
    client.close().await?;
    Ok(count)
}

/// Somebody who comes and goes at this pace; each must be served.
async fn come_and_go(
    server: std::net::SocketAddr,
    pace: Duration,
    mut stop: watch::Receiver<bool>,
) -> Result<usize> {
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let caller = Caller::new("/s/command/", &[]);
    let mut count = 0;
    while !*stop.borrow_and_update() {
        pace.tick().await;
        let instance = caller.goes_to(server).await?;
        ensure!(instance.starts_with("command-"), "it was told {instance}");
        count += 1;
    }
    Ok(count)
}

const ECHO: &str = r#"
class Agent:
    async def astream(self, message):
        yield "echo: "
        yield message

def create_agent():
    return Agent()
"#;

#[tokio::test]
async fn nobody_notices_an_upgrade() -> Result<()> {
    let manager = manager()?;
    let mut server = manager.up().await?;
    std::fs::write(manager.work_dir().join("agent.py"), ECHO)?;
    manager.ok(&["register", "file", "agent.py", "--replicas", "2", "--auto-start"]).await?;
    start_fake(&manager, "command", &["--replicas", "2"], &["--delay", "0.01"]).await?;
    let (stop, stopped) = watch::channel(false);
    let (mut talking, mut coming) = (JoinSet::new(), JoinSet::new());
    for client in 0..rounds(40, 1000) {
        let url = server.ws_url(if client % 2 == 0 { "/s/file/" } else { "/s/command/" })?;
        talking.spawn(talk(url, stopped.clone()));
    }
    for _ in 0..4 {
        // 200 a second, together.
        coming.spawn(come_and_go(server.address("proxy")?, Duration::from_millis(20), stopped.clone()));
    }
    let services = manager.json(&["list"]).await?;
    let runners = |list: &serde_json::Value| -> Vec<_> {
        let services = list.as_array().into_iter().flatten();
        services
            .flat_map(|one| one["instances"].as_array().cloned().unwrap_or_default())
            .map(|one| one["runner_pid"].clone())
            .collect()
    };
    let before = runners(&services);
    for _ in 0..rounds(3, 10) {
        let old = manager_of(&manager)?;
        let said = manager.json(&["upgrade"]).await?;
        let new = manager_of(&manager)?;
        assert_eq!(number(&said["pid"])?, new.pid);
        assert_ne!(old, new);
        // The command line talks to the new one at once, and it knows everything.
        assert_eq!(runners(&manager.json(&["list"]).await?), before);
        if old.pid != server.pid() {
            wait_for(PATIENCE, "the old one ends", async || (!old.is_alive()).then_some(())).await;
        }
        // Some talk and come under each of them.
        let api = server.address("api")?;
        assert_eq!(http::request(api, "GET", "/health", None).await?.status, 200);
    }
    assert_eq!(server.try_wait()?, None, "what was started in the foreground stays there");
    stop.send_replace(true);
    let (mut talks, mut visits) = (0, 0);
    while let Some(done) = talking.join_next().await {
        talks += done??;
    }
    while let Some(done) = coming.join_next().await {
        visits += done??;
    }
    assert!(talks > 200 && visits > 30, "{talks} answers, {visits} visits");
    // It ends as it always did.
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await?, 0);
    assert_eq!(manager.processes(), Vec::<u32>::new());
    Ok(())
}

#[tokio::test]
async fn rules_and_counts_go_on() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "command", &[], &[]).await?;
    manager.ok(&["route", "add", "all", "--to", "command"]).await?;
    let mut client = EventClient::connect(&server.ws_url("/")?).await?;
    let session = client.create_session().await?;
    manager.ok(&["upgrade"]).await?;
    client.turn(&session, "hello").await?;
    let proxy = server.address("proxy")?;
    for _ in 0..4 {
        assert_eq!(Caller::new("/", &[]).goes_to(proxy).await?, "command-0");
    }
    let counted = async || {
        let rule = manager.json(&["route", "show", "all"]).await.ok()?;
        (rule["stats"]["connections"] == 5).then_some(())
    };
    wait_for(PATIENCE, "connections before and after", counted).await;
    // A rule that is made now holds for the same listener.
    manager
        .ok(&["route", "add", "none", "--priority", "1", "--when", "query.x exists", "--to", "gone"])
        .await?;
    let id = client.headers["x-myagent-connection-id"].clone();
    manager.ok(&["disconnect", &id]).await?;
    assert_eq!(client.until_closed().await?.0, 1000);
    Ok(())
}

/// Whether the manager is the one that it was and does its work.
async fn is_unharmed(manager: &TestManager, server: &mut Server, before: Process) -> Result<()> {
    ensure!(server.try_wait()?.is_none(), "it has ended: {}", server.said());
    ensure!(manager_of(manager)? == before, "another one is the manager");
    ensure!(Caller::new("/s/talk/", &[]).goes_to(server.address("proxy")?).await? == "talk-0");
    manager.ok(&["update", "talk", "--description", "still here"]).await.map(|_| ())
}

#[tokio::test]
async fn what_cannot_take_over_changes_nothing() -> Result<()> {
    let manager = manager()?;
    assert_eq!(manager.cli(&["upgrade"]).await?.status, 3, "there is none yet");
    let mut server = manager.up().await?;
    start_fake(&manager, "talk", &[], &[]).await?;
    let before = manager_of(&manager)?;
    let text = manager.work_dir().join("text");
    std::fs::write(&text, "no program")?;
    let script = manager.work_dir().join("script");
    std::fs::write(&script, "#!/bin/sh\nexec sleep 0\n")?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    for (program, part) in [
        ("/nowhere", "failed to find /nowhere"),
        (text.to_str().unwrap(), "is no program"),
        ("/bin/true", "the old one goes on"),
        (script.to_str().unwrap(), "the old one goes on"),
    ] {
        let said = manager.cli(&["upgrade", "--program", program]).await?;
        assert_eq!(said.status, 1, "{said}");
        assert!(said.stderr.contains(part), "{program}: {said}");
        is_unharmed(&manager, &mut server, before).await?;
    }
    // One that could, but finds the settings broken since.
    std::fs::write(manager.data_dir().join("config.toml"), "colour = 1")?;
    let said = manager.cli(&["upgrade"]).await?;
    assert!(said.status == 1 && said.stderr.contains("colour"), "{said}");
    std::fs::remove_file(manager.data_dir().join("config.toml"))?;
    is_unharmed(&manager, &mut server, before).await
}

/// A program that says it could take over, takes everything, and dies.
const LIAR: &str = r#"#!/usr/bin/env python3
import socket, json, sys
s = socket.socket(fileno=0)
s.setblocking(True)
s.recv(65536)
s.send(json.dumps({"type": "prepared", "version": "9"}).encode())
while json.loads(socket.recv_fds(s, 65536, 4)[0])["type"] != "go":
    pass
sys.exit(1)
"#;

#[tokio::test]
async fn a_new_one_that_dies_in_the_middle_costs_nothing_either() -> Result<()> {
    let manager = manager()?;
    let mut server = manager.up().await?;
    start_fake(&manager, "talk", &["--replicas", "2"], &["--delay", "0.01"]).await?;
    let (stop, stopped) = watch::channel(false);
    let mut talking = JoinSet::new();
    for _ in 0..10 {
        talking.spawn(talk(server.ws_url("/s/talk/")?, stopped.clone()));
    }
    let program = manager.work_dir().join("liar");
    std::fs::write(&program, LIAR)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    for _ in 0..2 {
        // The old process is the manager still, after a moment; it could not answer.
        let said = manager.cli(&["upgrade", "--program", program.to_str().unwrap()]).await?;
        assert_eq!(said.status, 1, "{said}");
        wait_for(PATIENCE, "a manager", async || manager.json(&["list"]).await.ok()).await;
        assert_eq!(manager_of(&manager)?.pid, server.pid());
        let proxy = server.address("proxy")?;
        let visits = async || {
            Caller::new("/s/talk/", &[])
                .goes_to(proxy)
                .await
                .ok()
                .filter(|instance| instance.starts_with("talk-"))
        };
        wait_for(PATIENCE, "clients are served", visits).await;
    }
    stop.send_replace(true);
    while let Some(done) = talking.join_next().await {
        assert!(done?? > 0);
    }
    // And one that can still may.
    manager.ok(&["upgrade"]).await?;
    assert_ne!(manager_of(&manager)?.pid, server.pid());
    assert_eq!(server.try_wait()?, None);
    Ok(())
}

#[tokio::test]
async fn a_manager_in_the_background_and_its_guests() -> Result<()> {
    let manager = manager()?;
    start_fake(&manager, "talk", &[], &[]).await?;
    let mut guest = manager.serve(&["proxy", "--port", "0"], &["proxy"]).await?;
    let proxy = guest.address("proxy")?;
    for _ in 0..2 {
        let before = manager_of(&manager)?;
        manager.ok(&["upgrade"]).await?;
        wait_for(PATIENCE, "the old one ends", async || (!before.is_alive()).then_some(())).await;
        assert_eq!(Caller::new("/s/talk/", &[]).goes_to(proxy).await?, "talk-0");
        let listeners = async || {
            let status = manager.ok(&["status"]).await.ok()?;
            status.stdout.contains(&format!("proxy {proxy}")).then_some(())
        };
        wait_for(PATIENCE, "the listener goes on", listeners).await;
        assert_eq!(guest.try_wait()?, None, "{}", guest.said());
    }
    // The listener still is the guest's.
    guest.signal(Signal::INT);
    assert_eq!(guest.wait().await?, 0);
    let is_closed = async || TcpStream::connect(proxy).await.is_err().then_some(());
    wait_for(PATIENCE, "the listener closes", is_closed).await;
    // A guest that died meanwhile leaves none behind.
    let guest = manager.serve(&["proxy", "--port", "0"], &["proxy"]).await?;
    let proxy = guest.address("proxy")?;
    guest.signal(Signal::STOP);
    manager.ok(&["upgrade"]).await?;
    drop(guest);
    let is_closed = async || TcpStream::connect(proxy).await.is_err().then_some(());
    wait_for(PATIENCE, "nobody comes for the listener", is_closed).await;
    Ok(())
}

#[tokio::test]
async fn the_end_of_the_new_one_is_that_of_what_was_started() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    start_fake(&manager, "talk", &[], &[]).await?;
    manager.ok(&["upgrade"]).await?;
    manager_of(&manager)?.kill();
    assert_eq!(server.wait().await?, 1, "whoever started it starts it again");
    let server = manager.up().await?;
    assert_eq!(Caller::new("/s/talk/", &[]).goes_to(server.address("proxy")?).await?, "talk-0");
    manager.ok(&["upgrade"]).await?;
    manager.ok(&["upgrade"]).await?;
    manager.ok(&["shutdown"]).await?;
    assert_eq!(server.wait().await?, 0);
    Ok(())
}
