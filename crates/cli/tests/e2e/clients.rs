//! The example clients (`examples/client`) keep a conversation together whatever happens to the network, the manager and
//! the service, and tell the truth when it is lost.

use crate::fleet::{PATIENCE, Process, manager, number, rounds};
use anyhow::{Context, Result, ensure};
use myagent_testkit::manager::Server;
use myagent_testkit::{Chaos, TestManager, Trouble, wait_for};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Pieces of an answer.
const PIECES: u64 = 300;
/// Longest time for the unit tests of a client.
const UNIT_TESTS: Duration = Duration::from_mins(2);

/// Counts to the number in the message; a number after it is the pause between two, in seconds.
const COUNTING: &str = r#"
import asyncio

class Counting:
    retry_safe = True

    def __init__(self):
        self.asked = 0

    async def astream(self, message):
        self.asked += 1
        words = message.split()
        for number in range(int(words[0])):
            yield f"{number} "
            await asyncio.sleep(float(words[1]) if len(words) > 1 else 0)

    def export_state(self):
        return self.asked

    def import_state(self, asked):
        self.asked = asked

def create_agent():
    return Counting()
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Python,
    TypeScript,
}

impl Language {
    /// The folder of the client.
    fn folder(self) -> PathBuf {
        let name = if self == Self::Python { "python" } else { "typescript" };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/client").join(name)
    }

    /// Runs a program of the client's language in its folder.
    fn command(self) -> Result<Command> {
        let mut command = match self {
            Self::Python => Command::new(target()?.join("python/bin/python")),
            Self::TypeScript => {
                build(&self.folder())?;
                Command::new("node")
            }
        };
        // What is here is reached without a detour.
        command.current_dir(self.folder()).env("NO_PROXY", "*").env("no_proxy", "*");
        Ok(command)
    }

    /// The chat of the client, which prints each event as a line.
    fn chat(self, manager: &TestManager, words: &[&str]) -> Result<Chat> {
        let mut command = self.command()?;
        command.arg(if self == Self::Python { "chat.py" } else { "dist/chat.js" }).arg("--json").args(words);
        let printed = tempfile::Builder::new().prefix("chat-").tempfile_in(manager.work_dir())?;
        let stdout = printed.reopen()?;
        let child = command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{self:?} is missing; run: make setup"))?;
        Ok(Chat { child, printed })
    }
}

/// Where `scripts/setup.sh` puts the Python packages: beside `debug/myagent-manager`.
pub(crate) fn target() -> Result<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_myagent-manager"));
    Ok(program.ancestors().nth(2).context("no target folder")?.to_owned())
}

/// Compiles the TypeScript client if its sources are newer than what is there. Several tests may want to at once.
fn build(folder: &Path) -> Result<()> {
    let lock = File::create(folder.join("node_modules/.building"));
    let lock = lock.context("the packages of the TypeScript client are missing; run: make setup")?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let sources = ["src", "test", "."].map(|name| folder.join(name).read_dir());
    let sources = sources.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    let newest = sources.filter(|path| path.is_file()).filter_map(|path| modified(&path)).max();
    let stamp = folder.join("dist/.built");
    if modified(&stamp) >= newest {
        return Ok(());
    }
    let compiled = Command::new("node_modules/.bin/tsc").current_dir(folder).output()?;
    ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    File::create(stamp)?.set_modified(newest.unwrap_or(SystemTime::UNIX_EPOCH))?;
    Ok(())
}

/// A client in a process of its own. Dropping it ends it.
#[derive(Debug)]
struct Chat {
    child: Child,
    printed: tempfile::NamedTempFile,
}

impl Chat {
    /// What it has printed so far, whole lines only.
    fn events(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.printed.path())?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Waits until it has printed so many events.
    async fn wait_for(&self, count: usize) -> Result<()> {
        let what = format!("{count} events of the client");
        wait_for(PATIENCE, &what, async || (self.events().ok()?.len() >= count).then_some(())).await;
        Ok(())
    }

    /// Types a line.
    fn say(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.child.stdin.as_mut().context("it hears nothing")?, "{line}")?)
    }

    /// Types no more, and waits for its end: its exit code and all that it printed.
    async fn end(mut self) -> Result<(Option<i32>, Vec<Value>)> {
        drop(self.child.stdin.take());
        let child = &mut self.child;
        let status =
            wait_for(PATIENCE, "the end of the client", async || child.try_wait().ok().flatten()).await;
        Ok((status.code(), self.events()?))
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service named `count` behind a bad network.
struct Scene {
    manager: TestManager,
    server: Server,
    chaos: Chaos,
}

impl Scene {
    async fn start(seed: u64, options: &[&str]) -> Result<Self> {
        let manager = manager()?;
        std::fs::write(manager.work_dir().join("counting.py"), COUNTING)?;
        let server = manager.up().await?;
        manager.ok(&[&["register", "count", "counting.py", "--auto-start"], options].concat()).await?;
        let chaos = Chaos::start(server.address("proxy")?, seed).await?;
        Ok(Self { manager, server, chaos })
    }

    fn url(&self) -> String {
        format!("ws://{}/s/count", self.chaos.address)
    }

    /// Kills the manager, and starts another.
    async fn replace_manager(&mut self) -> Result<()> {
        self.server.signal(Signal::KILL);
        let end = async || self.server.try_wait().ok().flatten();
        wait_for(PATIENCE, "the end of the manager", end).await;
        self.server = self.manager.up().await?;
        self.chaos.retarget(self.server.address("proxy")?);
        Ok(())
    }

    async fn instances(&self) -> Result<Vec<Value>> {
        let status = self.manager.json(&["status", "count"]).await?;
        Ok(status["instances"].as_array().context("no instances")?.clone())
    }
}

/// Fails unless the numbered events are the second of a session and those after it, each once and in order. Returns the
/// last number.
fn check_numbers(events: &[Value]) -> Result<u64> {
    let mut last = 1;
    for event in events.iter().filter(|event| event.get("seq").is_some()) {
        last += 1;
        ensure!(event["seq"] == last, "expected {last} and got {event}");
    }
    Ok(last)
}

/// What the agent answers.
fn count_to(number: u64) -> String {
    (0..number).map(|number| number.to_string() + " ").collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// Two answers over a network that breaks every few thousand bytes, and the manager is killed in the first.
async fn nothing_is_lost(language: Language, replicas: &str, seed: u64) -> Result<()> {
    for round in 0..rounds(1, 5) as u64 {
        let lost = two_answers(language, replicas, seed + 1000 * round).await;
        lost.with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

async fn two_answers(language: Language, replicas: &str, seed: u64) -> Result<()> {
    let mut scene = Scene::start(seed, &["--replicas", replicas]).await?;
    // A hand-shake and what begins a connection is about 700 bytes, an event 300.
    scene.chaos.set(Trouble::Cuts(700..7000));
    let message = format!("{PIECES} 0.01");
    let chat = language.chat(&scene.manager, &[&scene.url(), &message, &message])?;
    chat.wait_for(100).await?;
    scene.replace_manager().await?;
    let (code, events) = chat.end().await?;
    assert_eq!(code, Some(0), "{:?}", events.last());
    assert_eq!(check_numbers(&events)?, 1 + 2 * (PIECES + 1));
    let finals = named(&events, "agent.final_answer");
    assert!(finals.iter().all(|event| event["content"] == count_to(PIECES)), "{finals:?}");
    let cuts = scene.chaos.cuts();
    assert!(cuts >= 10, "only {cuts} cuts");
    Ok(())
}

/// The runner of the conversation is killed in the middle of an answer, and then the service is restarted in another.
async fn service_dies(language: Language, seed: u64) -> Result<()> {
    let settings = ["--replicas", "2", "--set", "restart_delay=0.1"];
    let scene = Scene::start(seed, &settings).await?;
    let kept = scene.manager.work_dir().join("session.json");
    let state = kept.to_str().context("no text")?;
    let mut chat = language.chat(&scene.manager, &[&scene.url(), "--state", state])?;
    chat.say(&format!("{PIECES} 0.02"))?;
    chat.wait_for(20).await?;
    // Counters come each second; the answer takes six.
    let owner = async || {
        let instances = scene.instances().await.ok()?;
        instances.into_iter().find(|instance| instance["active_connections"] == 1)
    };
    let owner = wait_for(PATIENCE, "an instance with a client", owner).await;
    Process::of(number(&owner["runner_pid"])?)?.kill();
    // It is answered from the start, and the client knows.
    let what = "the end of the answer";
    wait_for(PATIENCE, what, async || {
        (!named(&chat.events().ok()?, "agent.final_answer").is_empty()).then_some(())
    })
    .await;
    let so_far = chat.events()?;
    check_numbers(&so_far)?;
    assert!(so_far.iter().any(|event| event["metadata"]["turn_restarted"] == true), "{so_far:?}");
    assert_eq!(named(&so_far, "agent.final_answer")[0]["content"], count_to(PIECES));

    chat.say("50 0.02")?;
    chat.wait_for(so_far.len() + 5).await?;
    scene.manager.ok(&["restart", "count"]).await?;
    chat.say("5")?;
    let (_, events) = chat.end().await?;
    check_numbers(&events)?;
    let last = events.last().context("no events")?;
    assert_eq!(last["content"], count_to(5), "{last}");
    // The session can be left, and found again.
    let kept: Value = serde_json::from_slice(&std::fs::read(&kept)?)?;
    assert_eq!(kept, json!({"session_id": last["session_id"], "last_seq": last["seq"]}));
    let (code, again) = language.chat(&scene.manager, &[&scene.url(), "--state", state, "7"])?.end().await?;
    let last = again.last().context("no events")?;
    assert_eq!(
        (code, &last["content"], &last["session_id"]),
        (Some(0), &json!(count_to(7)), &kept["session_id"])
    );
    Ok(())
}

/// A session that nobody came back to in time, and one that never was.
async fn lost_sessions_are_told(language: Language) -> Result<()> {
    let scene = Scene::start(1, &["--set", "session_timeout=1"]).await?;
    let mut chat = language.chat(&scene.manager, &[&scene.url()])?;
    chat.say("3")?;
    chat.wait_for(4).await?;
    let sessions = async |count: u64| {
        let instances = scene.instances().await.ok()?;
        instances.iter().all(|instance| instance["active_sessions"] == count).then_some(())
    };
    wait_for(PATIENCE, "the session in the status", async || sessions(1).await).await;
    scene.chaos.set(Trouble::Refused);
    scene.chaos.cut_all();
    wait_for(PATIENCE, "the end of the session", async || sessions(0).await).await;
    scene.chaos.set(Trouble::None);
    chat.say("3")?;
    let (code, events) = chat.end().await?;
    let told = |events: &[Value]| events.last().map(|event| event["metadata"]["code"].clone());
    assert_eq!((code, told(&events)), (Some(3), Some(json!("SESSION_NOT_FOUND"))), "{events:?}");

    let state = scene.manager.work_dir().join("never.json");
    std::fs::write(&state, r#"{"session_id": "0199d3a0-0000-7000-8000-000000000000", "last_seq": 3}"#)?;
    let state = state.to_str().context("no text")?;
    let (code, events) = language.chat(&scene.manager, &[&scene.url(), "--state", state, "3"])?.end().await?;
    assert_eq!((code, told(&events)), (Some(3), Some(json!("SESSION_NOT_FOUND"))), "{events:?}");
    Ok(())
}

/// A message that the network swallows is told to the user, or sent again if that was asked for; never both, never twice.
async fn lost_messages_are_known(language: Language) -> Result<()> {
    let scene = Scene::start(1, &[]).await?;
    for resend in ["never", "unreceived"] {
        let mut chat = language.chat(&scene.manager, &[&scene.url(), "--resend", resend])?;
        chat.say("3")?;
        chat.wait_for(4).await?;
        let before = scene.chaos.lost();
        scene.chaos.set(Trouble::Deaf);
        // An acknowledgement may be lost as well: the message is known by its size.
        chat.say(&format!("5{:1000}", ""))?;
        let lost = async || (scene.chaos.lost() >= before + 1000).then_some(());
        wait_for(PATIENCE, "the loss of the message", lost).await;
        scene.chaos.set(Trouble::None);
        scene.chaos.cut_all();
        chat.wait_for(5).await?;
        chat.say("2")?;
        let (code, events) = chat.end().await?;
        check_numbers(&events)?;
        let unknown = events.iter().filter(|event| event["metadata"]["code"] == "MESSAGE_UNKNOWN").count();
        let finals = named(&events, "agent.final_answer");
        let answers: Vec<_> = finals.iter().map(|event| event["content"].clone()).collect();
        if resend == "never" {
            assert_eq!((code, unknown), (Some(1), 1), "{events:?}");
            assert_eq!(answers, [count_to(3), count_to(2)]);
        } else {
            assert_eq!((code, unknown), (Some(0), 0), "{events:?}");
            assert_eq!(answers, [count_to(3), count_to(5), count_to(2)]);
        }
    }
    Ok(())
}

/// The tests that a client has in its own language.
async fn unit_tests(language: Language, arguments: &[&str]) -> Result<()> {
    let mut command = language.command()?;
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("{language:?} is missing; run: make setup"))?;
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = timeout(UNIT_TESTS, ended).await.context("the tests do not end")???;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn what_the_python_client_decides() -> Result<()> {
    unit_tests(Language::Python, &["-X", "dev", "-m", "unittest", "discover"]).await
}

#[tokio::test]
async fn what_the_typescript_client_decides() -> Result<()> {
    let tests = ["dist/test/decisions.test.js", "dist/test/session.test.js"];
    let options = ["--experimental-websocket", "--test"];
    unit_tests(Language::TypeScript, &[&options[..], &tests].concat()).await
}

#[tokio::test]
async fn the_python_client_loses_nothing() -> Result<()> {
    nothing_is_lost(Language::Python, "1", 11).await
}

#[tokio::test]
async fn the_typescript_client_loses_nothing() -> Result<()> {
    nothing_is_lost(Language::TypeScript, "1", 12).await
}

#[tokio::test]
async fn the_python_client_loses_nothing_between_two_replicas() -> Result<()> {
    nothing_is_lost(Language::Python, "2", 21).await
}

#[tokio::test]
async fn the_typescript_client_loses_nothing_between_two_replicas() -> Result<()> {
    nothing_is_lost(Language::TypeScript, "2", 22).await
}

#[tokio::test]
async fn the_python_client_survives_its_service() -> Result<()> {
    service_dies(Language::Python, 31).await
}

#[tokio::test]
async fn the_typescript_client_survives_its_service() -> Result<()> {
    service_dies(Language::TypeScript, 32).await
}

#[tokio::test]
async fn the_python_client_tells_that_a_session_is_lost() -> Result<()> {
    lost_sessions_are_told(Language::Python).await
}

#[tokio::test]
async fn the_typescript_client_tells_that_a_session_is_lost() -> Result<()> {
    lost_sessions_are_told(Language::TypeScript).await
}

#[tokio::test]
async fn the_python_client_knows_whether_a_message_arrived() -> Result<()> {
    lost_messages_are_known(Language::Python).await
}

#[tokio::test]
async fn the_typescript_client_knows_whether_a_message_arrived() -> Result<()> {
    lost_messages_are_known(Language::TypeScript).await
}
