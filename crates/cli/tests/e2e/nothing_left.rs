//! Nothing is left behind: whatever descendants an agent has, and however it ends, none of them outlives it and its port is
//! free.

use crate::fleet::{PATIENCE, Process, fake, instance, number, register, rounds, wait_for_instance};
use anyhow::{Context, Result};
use myagent_testkit::fake_agent::DESCENDANTS;
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, wait_for};
use rustix::process::Signal;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Starts the fake agent, so that everything descends from the worker.
const AGENT_FILE: &str = r#"
import os, subprocess
subprocess.Popen([os.environ["FAKE"], "--spawn-tree", os.environ["TREE"]], env={**os.environ, "PORT": "0"})

class Agent:
    def run(self, message):
        return message

agent = Agent()
"#;

/// The descendants of one start, by the way each was started.
type Family = Vec<(&'static str, Process)>;

/// Waits for all descendants of one start, and forgets their files, so that the next start writes its own.
async fn descendants(tree: &Path) -> Family {
    let mut found = Vec::new();
    for name in DESCENDANTS {
        let file = tree.join(name);
        let process = wait_for(PATIENCE, name, async || {
            let pid = std::fs::read_to_string(&file).ok()?;
            Process::of(pid.parse().ok()?).ok()
        });
        found.push((name, process.await));
        std::fs::remove_file(&file).unwrap();
    }
    found
}

async fn wait_until_gone(processes: &[(&'static str, Process)], why: &str) {
    for (name, process) in processes {
        let what = format!("the end of {name} ({}) after {why}", process.pid);
        wait_for(PATIENCE, &what, async || (!process.is_alive()).then_some(())).await;
    }
}

fn assert_gone(processes: &[(&'static str, Process)], why: &str) {
    let alive: Vec<_> = processes.iter().filter(|(_, process)| process.is_alive()).collect();
    assert!(alive.is_empty(), "alive after {why}: {alive:?}");
}

struct Story {
    server: Server,
    manager: TestManager,
    tree: PathBuf,
    name: &'static str,
}

impl Story {
    /// A service with descendants, registered and not started.
    async fn new(environment: &[(&str, &str)], is_file: bool) -> Result<Self> {
        let mut manager = crate::fleet::manager()?;
        for (name, value) in environment {
            manager.set_env(name, value);
        }
        let server = manager.up().await?;
        let tree = manager.work_dir().join("tree");
        let (fake, folder) = (fake(), tree.display().to_string());
        let settings =
            ["--set", "restart_delay=0.1", "--set", "stop_grace=0.3", "--set", "max_restart_count=1000"];
        if is_file {
            std::fs::write(manager.work_dir().join("parent_agent.py"), AGENT_FILE)?;
            let (fake, folder) = (format!("FAKE={fake}"), format!("TREE={folder}"));
            let words = ["register", "parent", "parent_agent.py", "--env", &fake, "--env", &folder];
            manager.ok(&[&words[..], &settings].concat()).await?;
        } else {
            register(&manager, "parent", &settings, &[&fake, "--spawn-tree", &folder]).await?;
        }
        Ok(Self { server, manager, tree, name: "parent" })
    }

    async fn start(&self) -> Result<Family> {
        self.manager.ok(&["start", self.name]).await?;
        Ok(descendants(&self.tree).await)
    }

    /// Stops, and then all of these are gone and the port can be had at once.
    async fn stop(&self, processes: &[(&'static str, Process)]) -> Result<()> {
        let before = instance(&self.manager, self.name).await?;
        let port = u16::try_from(number(&before["port"])?)?;
        let own = [("agent", number(&before["pid"])?), ("runner", number(&before["runner_pid"])?)];
        let own: Vec<_> =
            own.into_iter().map(|(name, pid)| Ok((name, Process::of(pid)?))).collect::<Result<_>>()?;
        self.manager.ok(&["stop", self.name]).await?;
        assert_gone(processes, "stop");
        assert_gone(&own[..1], "stop");
        // The runner has said all it knows and is on its way out.
        wait_until_gone(&own[1..], "stop").await;
        TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} after stop"))?;
        Ok(())
    }

    /// The process of this kind, `pid` or `runner_pid`.
    async fn process(&self, kind: &str) -> Result<Process> {
        Process::of(number(&instance(&self.manager, self.name).await?[kind])?)
    }

    /// Waits until it runs in another process than this.
    async fn wait_for_next(&self, kind: &str, before: Process) {
        wait_for_instance(&self.manager, self.name, "to run again", |instance| {
            instance["status"] == "running" && instance[kind].is_u64() && instance[kind] != before.pid
        })
        .await;
    }

    /// The delay doubles with each end; a restart by the user begins anew, and it leaves nothing either.
    async fn restart(&self, family: Family) -> Result<Family> {
        self.manager.ok(&["restart", self.name]).await?;
        assert_gone(&family, "restart");
        Ok(descendants(&self.tree).await)
    }

    /// Kills one process `times` times; each time all descendants of that start go, and it comes back.
    async fn killed(&self, kind: &str, times: usize) -> Result<()> {
        let mut family = self.start().await?;
        for round in 0..times {
            if round % 3 == 2 {
                family = self.restart(family).await?;
            }
            let victim = self.process(kind).await?;
            victim.kill();
            wait_until_gone(&family, &format!("kill -9 of {kind}")).await;
            self.wait_for_next(kind, victim).await;
            family = descendants(&self.tree).await;
        }
        self.stop(&family).await
    }
}

#[tokio::test]
async fn after_stop() -> Result<()> {
    let story = Story::new(&[], false).await?;
    for _ in 0..rounds(3, 50) {
        let family = story.start().await?;
        // A client that is there does not keep the port.
        let mut client = EventClient::connect(&story.server.ws_url("/s/parent")?).await?;
        client.create_session().await?;
        story.stop(&family).await?;
        assert_eq!(client.until_closed().await?.0, 1001);
    }
    Ok(())
}

#[tokio::test]
async fn after_the_agents_main_process_was_killed() -> Result<()> {
    Story::new(&[], false).await?.killed("pid", rounds(3, 50)).await
}

#[tokio::test]
async fn after_the_worker_of_an_agent_file_was_killed() -> Result<()> {
    Story::new(&[], true).await?.killed("pid", rounds(3, 50)).await
}

#[tokio::test]
async fn after_the_runner_was_killed() -> Result<()> {
    Story::new(&[], false).await?.killed("runner_pid", rounds(3, 50)).await?;
    Story::new(&[], true).await?.killed("runner_pid", rounds(1, 50)).await
}

#[tokio::test]
async fn after_the_manager_and_then_the_runner_were_killed() -> Result<()> {
    let mut story = Story::new(&[], false).await?;
    let mut family = story.start().await?;
    for round in 0..rounds(2, 50) {
        if round % 3 == 2 {
            family = story.restart(family).await?;
        }
        let runner = story.process("runner_pid").await?;
        story.server.signal(Signal::KILL);
        wait_for(PATIENCE, "the manager's end", async || story.server.try_wait().unwrap()).await;
        runner.kill();
        wait_for(PATIENCE, "the runner's end", async || (!runner.is_alive()).then_some(())).await;
        story.server = story.manager.up().await?;
        wait_until_gone(&family, "the next manager's start").await;
        story.wait_for_next("runner_pid", runner).await;
        family = descendants(&story.tree).await;
    }
    story.stop(&family).await
}

#[tokio::test]
async fn where_no_control_group_can_be_made() -> Result<()> {
    let story = Story::new(&[("MYAGENT_NO_CGROUP", "1")], false).await?;
    for _ in 0..rounds(2, 50) {
        let family = story.start().await?;
        story.stop(&family).await?;
    }
    story.killed("pid", rounds(2, 50)).await?;

    // What cannot be promised is said.
    let family = story.start().await?;
    let doctor = story.manager.cli(&["doctor"]).await?;
    assert!(doctor.stdout.contains("may survive"), "{doctor}");
    assert_eq!(instance(&story.manager, story.name).await?["ownership"], "subreaper");
    let text = story.manager.ok(&["status", story.name]).await?;
    assert!(text.stdout.contains("may survive"), "{text}");

    // A killed runner: what is fully detached may survive, everything else may not.
    let runner = story.process("runner_pid").await?;
    runner.kill();
    let (detached, others): (Vec<_>, Vec<_>) = family.into_iter().partition(|(name, _)| *name == "detached");
    wait_until_gone(&others, "kill -9 of the runner").await;
    story.wait_for_next("runner_pid", runner).await;
    let family = descendants(&story.tree).await;
    story.stop(&family).await?;
    detached[0].1.kill();
    Ok(())
}
