//! The manager is killed while everybody talks: no client notices, and the next manager finds everything as it is.

use crate::fleet::{
    PATIENCE, Process, fake, is_soak, manager, number, register, rounds, start_fake, wait_for_state,
};
use anyhow::{Context, Result, ensure};
use myagent_core::view::ServiceView;
use myagent_store::{SecretKey, Store};
use myagent_testkit::manager::Server;
use myagent_testkit::{EventClient, TestManager, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Words of an answer of the agent file.
const WORDS: usize = 100;
/// The budget is 3 s for fifty instances.
const ATTACH_BOUND: Duration = Duration::from_secs(15);

/// Counts slowly: two seconds for an answer.
const AGENT_FILE: &str = r#"
import asyncio

class Agent:
    async def astream(self, message):
        for number in range(100):
            yield f"{number} "
            await asyncio.sleep(0.02)

agent = Agent()
"#;

/// Says what it is told, in two pieces.
const ECHO: &str = r#"
class Agent:
    async def astream(self, message):
        yield "echo: "
        yield message

agent = Agent()
"#;

/// Prints a numbered line every few milliseconds, for ever.
const NUMBERS: &str = "i=1; while :; do echo \"number $i\"; i=$((i+1)); sleep 0.02; done";

/// One client and where it is in its conversation.
struct Talk {
    client: EventClient,
    session: String,
    text: String,
}

impl Talk {
    async fn begin(server: &Server, service: &str, number: usize) -> Result<Self> {
        let mut client = EventClient::connect(&server.ws_url(&format!("/s/{service}"))?).await?;
        let session = client.create_session().await?;
        Ok(Self { client, session, text: format!("a message of client {number}") })
    }

    /// Asks, and waits for the first piece of the answer.
    async fn ask(&mut self) -> Result<()> {
        self.client.message(&self.session, &self.text).await?;
        self.client.next_named("agent.partial_answer").await?;
        Ok(())
    }

    /// Receives the rest; all of it is there, once and in order.
    async fn finish(&mut self) -> Result<()> {
        self.client.until_final(&self.session).await?;
        self.client.check_seq(&self.session, 1)?;
        let of_turn = |event: &&Value| event["session_id"] == self.session.as_str();
        let asked: Vec<&Value> = self.client.received.iter().filter(of_turn).collect();
        let last = asked.iter().rposition(|event| event["event"] == "agent.final_answer").unwrap();
        let from =
            asked[..last].iter().rposition(|event| event["event"] == "agent.final_answer").unwrap_or(0);
        let partial = asked[from..last].iter().filter(|event| event["event"] == "agent.partial_answer");
        let pieces: String = partial.filter_map(|event| event["content"].as_str()).collect();
        assert_eq!(asked[last]["content"], pieces.as_str());
        let echo = format!("echo: {}", self.text);
        let count = (0..WORDS).fold(String::new(), |text, number| text + &format!("{number} "));
        assert!(pieces == echo || pieces == count, "{pieces}");
        Ok(())
    }
}

/// What must not change when a manager is replaced: instances with their processes, and restarts.
async fn identity(
    manager: &TestManager,
) -> Result<Vec<(String, Option<u32>, Option<u32>, Option<u16>, u32)>> {
    let list: Vec<ServiceView> = serde_json::from_value(manager.json(&["list"]).await?)?;
    let instances = list.into_iter().flat_map(|service| service.instances);
    Ok(instances.map(|one| (one.name, one.pid, one.runner_pid, one.port, one.restart_count)).collect())
}

/// Waits until a new manager shows all instances running and this many connections; how long that took.
async fn settled(manager: &TestManager, instances: usize, connections: usize) -> Result<Duration> {
    let started = Instant::now();
    let what = format!("{instances} instances running with {connections} connections");
    wait_for(ATTACH_BOUND, &what, async || {
        let fleet = manager.json(&["status"]).await.ok()?;
        let right = fleet["instances"]["running"] == instances && fleet["active_connections"] == connections;
        right.then_some(())
    })
    .await;
    Ok(started.elapsed())
}

#[tokio::test]
async fn in_the_middle_of_every_answer() -> Result<()> {
    let manager = manager()?;
    let mut server = manager.up().await?;
    std::fs::write(manager.work_dir().join("slow_agent.py"), AGENT_FILE)?;
    manager.ok(&["register", "slow", "slow_agent.py", "--replicas", "2"]).await?;
    register(&manager, "fake", &["--replicas", "2"], &[&fake(), "--delay", "0.5"]).await?;
    register(&manager, "numbers", &["--set", "ready=log:^number 1$"], &["sh", "-c", NUMBERS]).await?;
    manager.ok(&["start", "--all"]).await?;
    let before = identity(&manager).await?;
    assert_eq!(before.len(), 5);

    let clients = rounds(6, 40);
    let mut talks = Vec::new();
    for number in 0..clients {
        talks.push(Talk::begin(&server, ["slow", "fake"][number % 2], number).await?);
    }
    for _ in 0..rounds(5, 20) {
        futures_util::future::try_join_all(talks.iter_mut().map(Talk::ask)).await?;
        server.signal(Signal::KILL);
        assert_eq!(server.wait().await?, 128 + 9);
        futures_util::future::try_join_all(talks.iter_mut().map(Talk::finish)).await?;
        // Nobody started a manager meanwhile.
        assert_eq!(manager.cli(&["list"]).await?.status, 3);

        server = manager.up().await?;
        let took = settled(&manager, 5, clients).await?;
        if is_soak() {
            assert!(took < Duration::from_secs(3), "{took:?}");
        }
        assert_eq!(identity(&manager).await?, before);
    }
    // The next client comes through the new manager.
    let mut late = Talk::begin(&server, "slow", 0).await?;
    late.ask().await?;
    late.finish().await?;
    check_numbers(&manager).await
}

/// Answers that each of these clients has got.
type Answers = Vec<Arc<AtomicUsize>>;

/// Talks until told to stop; every answer must be the right one, and come.
async fn talk_on(
    mut client: EventClient,
    session: String,
    answers: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    while !*stop.borrow() {
        let text = format!("message {}", answers.load(Ordering::Relaxed));
        let answer = client.turn(&session, &text).await?.pop().context("no answer")?;
        ensure!(answer["content"].as_str().is_some_and(|content| content.trim() == format!("echo: {text}")));
        client.received.clear();
        answers.fetch_add(1, Ordering::Relaxed);
    }
    client.close().await
}

/// Waits until each client has had `more` answers from now on.
async fn all_go_on(answers: &Answers, more: usize, what: &str) {
    let wanted: Vec<_> = answers.iter().map(|count| count.load(Ordering::Relaxed) + more).collect();
    wait_for(PATIENCE, what, async || {
        let all = answers.iter().zip(&wanted).all(|(count, wanted)| count.load(Ordering::Relaxed) >= *wanted);
        all.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_who_talk_notice_nothing() -> Result<()> {
    let manager = manager()?;
    let mut server = manager.up().await?;
    std::fs::write(manager.work_dir().join("agent.py"), ECHO)?;
    manager.ok(&["register", "file", "agent.py", "--replicas", "2", "--auto-start"]).await?;
    start_fake(&manager, "command", &["--replicas", "2"], &["--delay", "0.01"]).await?;
    let before = identity(&manager).await?;
    let count = rounds(40, 1000);
    let (stop, stopped) = watch::channel(false);
    let (mut talking, mut answers) = (JoinSet::new(), Answers::new());
    for client in 0..count {
        let url = server.ws_url(if client % 2 == 0 { "/s/file/" } else { "/s/command/" })?;
        let mut client = EventClient::connect(&url).await?;
        let session = client.create_session().await?;
        answers.push(Arc::default());
        let mine = Arc::clone(answers.last().context("no client")?);
        talking.spawn(talk_on(client, session, mine, stopped.clone()));
    }
    all_go_on(&answers, 1, "everybody talks").await;
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds(3, 10) {
        server.signal(Signal::KILL);
        assert_eq!(server.wait().await?, 128 + 9);
        all_go_on(&answers, 2, "everybody goes on without a manager").await;
        // One who has ended has ended badly: nobody was told to stop.
        assert!(talking.try_join_next().is_none(), "a conversation was cut");
        server = manager.up().await?;
        slowest = slowest.max(settled(&manager, 4, count).await?);
        assert_eq!(identity(&manager).await?, before);
        all_go_on(&answers, 1, "everybody goes on under the next one").await;
    }
    stop.send_replace(true);
    while let Some(done) = talking.join_next().await {
        done??;
    }
    let sum: usize = answers.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    eprintln!("{count} clients, {sum} answers, slowest to know all again {slowest:?}");
    Ok(())
}

/// Every number that was printed is in the logs, once and in order.
async fn check_numbers(manager: &TestManager) -> Result<()> {
    manager.ok(&["stop", "numbers"]).await?;
    let logs = manager.ok(&["--format", "json", "logs", "numbers", "-n", "100000"]).await?;
    let lines: Vec<Value> = logs.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(lines.len() > 50, "{logs}");
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["line"], format!("number {}", at + 1));
    }
    Ok(())
}

/// While no manager ran, the runner died and its number was given to somebody else.
#[tokio::test]
async fn a_number_that_belongs_to_somebody_else_now() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    register(&manager, "fake", &["--set", "restart_delay=0.1"], &[&fake()]).await?;
    manager.ok(&["start", "fake"]).await?;
    let before = wait_for_state(&manager, "fake", "running").await;
    let (agent, runner) =
        (Process::of(number(&before["pid"])?)?, Process::of(number(&before["runner_pid"])?)?);
    drop(server);
    runner.kill();
    wait_for(PATIENCE, "the runner's end", async || (!runner.is_alive()).then_some(())).await;

    let mut stranger = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn()?;
    let key = SecretKey::load_or_create(&manager.data_dir())?;
    let store = Store::open(&manager.data_dir().join("myagent.db"), key)?;
    let mut stored = store.instances()?.pop().unwrap();
    assert_eq!(stored.runner_pid, Some(runner.pid));
    stored.runner_pid = Some(stranger.id());
    // The agent's number has a new owner, too.
    let list = std::fs::read_to_string(&stored.tree)?;
    assert!(list.contains(&agent.pid.to_string()), "{list}");
    std::fs::write(&stored.tree, list.replace(&agent.pid.to_string(), &stranger.id().to_string()))?;
    store.put_instance(&stored)?;
    drop(store);

    let server = manager.up().await?;
    let after = wait_for_state(&manager, "fake", "running").await;
    assert_ne!(after["runner_pid"], stranger.id());
    assert_ne!(after["pid"], before["pid"]);
    assert!(!agent.is_alive());
    manager.ok(&["stop", "fake"]).await?;
    assert!(stranger.try_wait()?.is_none(), "a process of somebody else was ended");
    stranger.kill()?;
    stranger.wait()?;
    drop(server);
    Ok(())
}

#[tokio::test]
async fn a_manager_whose_directory_was_removed_leaves_the_next_one_alone() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    // Its manager still writes there: a file may come back between the last one removed and the folder itself.
    wait_for(Duration::from_secs(10), "removing the directory", async || {
        std::fs::remove_dir_all(manager.data_dir()).ok()
    })
    .await;
    start_fake(&manager, "a", &[], &[]).await?;
    server.signal(Signal::TERM);
    assert_eq!(server.wait().await?, 0);
    assert_eq!(manager.json(&["status", "a"]).await?["status"], "running");
    manager.ok(&["shutdown"]).await?;
    Ok(())
}
