//! What several stories need: a manager, fake agents registered in it, and looks at what `status` says.

use anyhow::{Context, Result, ensure};
use myagent_testkit::{EventClient, TestManager, fake_agent, processes, wait_for};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long anything may take that has no bound of its own.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A manager that is not started yet.
pub(crate) fn manager() -> Result<TestManager> {
    TestManager::new(env!("CARGO_BIN_EXE_myagent-manager"))
}

/// `small`, or `big` where the tests are run for endurance.
pub(crate) fn rounds(small: usize, big: usize) -> usize {
    if is_soak() { big } else { small }
}

/// Whether the tests are run for endurance.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("MYAGENT_SOAK").is_some_and(|value| value == "1")
}

/// Path of the fake agent.
pub(crate) fn fake() -> String {
    fake_agent::path().display().to_string()
}

/// Registers a command agent. `options` are words of `register`, `command` is what is run.
pub(crate) async fn register(
    manager: &TestManager,
    name: &str,
    options: &[&str],
    command: &[&str],
) -> Result<()> {
    manager.ok(&[&["register", name][..], options, &["--"], command].concat()).await?;
    Ok(())
}

/// Registers and starts a fake agent that is given these words.
pub(crate) async fn start_fake(
    manager: &TestManager,
    name: &str,
    options: &[&str],
    words: &[&str],
) -> Result<()> {
    let fake = fake();
    register(manager, name, options, &[&[fake.as_str()], words].concat()).await?;
    manager.ok(&["start", name]).await?;
    Ok(())
}

/// The only instance of a service.
pub(crate) async fn instance(manager: &TestManager, name: &str) -> Result<Value> {
    let status = manager.json(&["status", name]).await?;
    Ok(status["instances"][0].clone())
}

/// Waits until `status` shows what is looked for in the only instance; returns the instance.
pub(crate) async fn wait_for_instance(
    manager: &TestManager,
    name: &str,
    what: &str,
    mut right: impl FnMut(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let what = format!("{name}: {what}");
    wait_for(PATIENCE, &what, async || {
        last = instance(manager, name).await.ok()?;
        right(&last).then(|| last.clone())
    })
    .await
}

/// Waits for a state of the only instance.
pub(crate) async fn wait_for_state(manager: &TestManager, name: &str, state: &str) -> Value {
    wait_for_instance(manager, name, state, |instance| instance["status"] == state).await
}

/// A number in an answer, as PID, port or count.
pub(crate) fn number(value: &Value) -> Result<u32> {
    let number = value.as_u64().with_context(|| format!("{value} is no number"))?;
    Ok(u32::try_from(number)?)
}

/// A process, told from a later one with the same number by the time of its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    start: u64,
}

impl Process {
    /// The one that has this number now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let start = myagent_supervisor::start_time(pid).with_context(|| format!("process {pid} is gone"))?;
        Ok(Self { pid, start })
    }

    /// Whether it lives.
    pub(crate) fn is_alive(self) -> bool {
        processes::is_alive(self.pid) && myagent_supervisor::start_time(self.pid) == Some(self.start)
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(self) {
        if self.is_alive() {
            processes::send(self.pid, rustix::process::Signal::KILL);
        }
    }
}

/// Whose processor time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// That of the process.
    Itself,
    /// Also that of its children that have ended, and of theirs.
    AndEnded,
}

/// Processor time, seconds.
pub(crate) fn cpu_seconds(pid: u32, count: Count) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let last = if count == Count::Itself { 13 } else { 15 };
    let ticks = fields.get(11..last).context("not a stat line")?.iter().map(|field| field.parse::<u64>());
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Memory that a process shares with nobody, bytes.
pub(crate) fn private_memory(pid: u32) -> Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kilobytes = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kilobytes.sum::<u64>() * 1024)
}

/// Somebody who asks again and again until told to stop, at this pace, while something else goes on: how long each answer took.
/// `turn` has the next question and its only right answer.
pub(crate) async fn bystander(
    url: String,
    pace: Duration,
    turn: fn(usize) -> (String, String),
    mut stop: watch::Receiver<bool>,
) -> Result<Vec<Duration>> {
    let mut client = EventClient::connect(&url).await?;
    let session = client.create_session().await?;
    let mut took = Vec::new();
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow_and_update() {
        pace.tick().await;
        let (question, right) = turn(took.len());
        let asked = Instant::now();
        let answer = client.turn(&session, &question).await?.pop().context("no answer")?;
        ensure!(answer["content"] == right, "{answer}");
        took.push(asked.elapsed());
    }
    client.check_seq(&session, 1)?;
    client.close().await?;
    Ok(took)
}
