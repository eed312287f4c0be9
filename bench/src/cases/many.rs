//! Very many conversations at once: 30,000 with three instances of an agent file through one front door, and 9,000 with a
//! command agent through one relay. Messages come at a fixed rate and are numbered, so that one that is lost, doubled, or out of order is
//! noticed. No process may need more descriptors than 20,000, and the load comes from several.

use super::setup::quick_agent;
use super::{Bench, Many};
use crate::fleet::{self, Fleet, Instance};
use crate::load::many::{Outcome, Part};
use crate::procs;
use crate::report::{Budget, Report};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NAME: &str = "many";
/// Fewest processes that make the load, and most conversations of one.
const LOADS: usize = 3;
const OF_ONE_LOAD: usize = 10_000;
/// The address of the first of them, in its last byte.
const FIRST_SOURCE: u8 = 10;
/// From the order to begin until the beginning.
const HEAD_START: Duration = Duration::from_millis(100);
/// Reports have been told, buffers that are not used given back.
const SETTLE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_mins(1);

/// What is put under load.
struct Plan {
    source: Value,
    replicas: usize,
    conversations: usize,
    speaks_events: bool,
}

pub(super) async fn run_file(bench: &Bench, report: &mut Report) -> Result<()> {
    let source = fleet::file(&Bench::own_agent("count.py"));
    let plan = Plan { source, replicas: 3, conversations: 30_000, speaks_events: true };
    run(bench, report, plan).await
}

pub(super) async fn run_relayed(bench: &Bench, report: &mut Report) -> Result<()> {
    let plan = Plan { source: quick_agent()?, replicas: 1, conversations: 9000, speaks_events: false };
    run(bench, report, plan).await
}

async fn run(bench: &Bench, report: &mut Report, plan: Plan) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let instances = fleet.run(NAME, plan.source, json!({"replicas": plan.replicas})).await?;
    let processes = Processes::of(&fleet, &instances)?;
    let place = (fleet.proxy()?, format!("/s/{NAME}/"));
    let conversations = bench.many.conversations.unwrap_or(plan.conversations);
    // One has been through everything.
    let one = Many { conversations: Some(1), rate: 10, seconds: 1 };
    Crowd::open(&place, 1, plan.speaks_events, &one)?.talk()?;
    settled(&fleet, 0).await?;
    let fresh = processes.memory()?;

    let started = Instant::now();
    let crowd = Crowd::open(&place, conversations, plan.speaks_events, &bench.many)?;
    let opening = started.elapsed().as_secs_f64();
    settled(&fleet, crowd.open).await?;
    let (open, descriptors) = (processes.memory()?, processes.descriptors()?);
    let before = procs::everybody()?;
    let started = Instant::now();
    let (loads, count) = (crowd.pids(), crowd.open);
    let (mut outcome, ended) = crowd.talk()?;
    let (elapsed, after) = (started.elapsed().as_secs_f64(), procs::everybody()?);
    let talked = processes.memory()?;
    // All of them are there until now.
    let known = known(&fleet).await?;
    let started = Instant::now();
    drop(ended);
    known_is(&fleet, 0).await?;
    let leaving = started.elapsed().as_secs_f64();

    let mut line = |what: &str, value: f64, unit: &str, budget| report.line(what, &[value], unit, budget);
    line("conversations that were opened", count as f64, "", Budget::AtLeast(conversations as f64));
    line("… in", opening, "s", Budget::None);
    line("messages that were said", outcome.said as f64, "", Budget::None);
    line("messages that were answered", outcome.answered as f64, "", Budget::AtLeast(outcome.said as f64));
    line("lost", outcome.lost as f64, "", Budget::Never);
    line("reordered", outcome.reordered as f64, "", Budget::Never);
    line("doubled", outcome.doubled as f64, "", Budget::Never);
    line("conversations that failed", outcome.failed as f64, "", Budget::Never);
    line("conversations that the manager then knows", known as f64, "", Budget::AtLeast(count as f64));
    outcome.took.sort_unstable();
    for (what, share) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
        let at = ((outcome.took.len() as f64 * share) as usize).min(outcome.took.len().saturating_sub(1));
        let took = outcome.took.get(at).map_or(f64::NAN, |took| *took as f64 / 1000.0);
        line(&format!("from when a message is due to its answer, {what}"), took, "ms", Budget::None);
    }
    line("the load itself was late by at the most", outcome.late as f64 / 1000.0, "ms", Budget::None);
    line("all have left, and the manager knows, after", leaving, "s", Budget::None);
    for (number, (name, _)) in processes.groups.iter().enumerate() {
        let each = |now: &[f64]| (now[number] - fresh[number]) * 1024.0 / count as f64;
        line(&format!("{name}: private memory, fresh"), fresh[number], "MiB", Budget::None);
        line("    for each conversation, open", each(&open), "KiB", Budget::None);
        line("    for each conversation, afterwards", each(&talked), "KiB", Budget::None);
        line("    most descriptors of one", descriptors[number] as f64, "", Budget::None);
    }
    let used = |pids: &[u32]| pids.iter().map(|pid| used(*pid, &before, &after)).sum::<f64>() / elapsed;
    let mut rest = used(&after.keys().copied().collect::<Vec<_>>());
    for (name, pids) in processes.groups.iter().chain([&("load", loads)]) {
        line(&format!("{name}: processor"), used(pids) * 100.0, "% of a core", Budget::None);
        rest -= used(pids);
    }
    line("everybody else: processor", rest * 100.0, "% of a core", Budget::None);
    for reason in &outcome.reasons {
        report.note(&format!("  {reason}"));
    }
    Ok(())
}

/// Processor seconds between two readings.
fn used(pid: u32, before: &HashMap<u32, Duration>, after: &HashMap<u32, Duration>) -> f64 {
    let at = |times: &HashMap<u32, Duration>| times.get(&pid).copied().unwrap_or_default();
    at(after).saturating_sub(at(before)).as_secs_f64()
}

/// Who is in the path, by what they are.
struct Processes {
    groups: Vec<(&'static str, Vec<u32>)>,
}

impl Processes {
    fn of(fleet: &Fleet, instances: &[Instance]) -> Result<Self> {
        let all = |pid: fn(&Instance) -> u32| instances.iter().map(pid).collect::<Vec<u32>>();
        Ok(Self {
            groups: vec![
                ("manager", vec![fleet.server()?.pid()]),
                ("runners", all(|instance| instance.runner_pid)),
                ("agents", all(|instance| instance.pid)),
            ],
        })
    }

    /// Of each group together, MiB that are nobody else's.
    fn memory(&self) -> Result<Vec<f64>> {
        let sum = |pids: &[u32]| pids.iter().map(|pid| procs::private_mib(*pid)).sum();
        self.groups.iter().map(|(_, pids)| sum(pids)).collect()
    }

    /// Of each group the most that one has.
    fn descriptors(&self) -> Result<Vec<usize>> {
        let most = |pids: &[u32]| {
            let each = pids.iter().map(|pid| procs::descriptors(*pid)).collect::<Result<Vec<_>>>()?;
            Ok(each.into_iter().max().unwrap_or_default())
        };
        self.groups.iter().map(|(_, pids)| most(pids)).collect()
    }
}

/// How many connections the manager knows.
async fn known(fleet: &Fleet) -> Result<usize> {
    let total = fleet.request("GET", "connections?limit=1", None).await?["total"].as_u64();
    Ok(total.context("a list without a total")? as usize)
}

async fn known_is(fleet: &Fleet, expected: usize) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        let known = known(fleet).await?;
        if known == expected {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the manager knows of {known} connections, not of {expected}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the manager knows of so many connections, and then until nothing moves any more.
async fn settled(fleet: &Fleet, connections: usize) -> Result<()> {
    known_is(fleet, connections).await?;
    sleep(SETTLE).await;
    Ok(())
}

/// The processes that make the load, with all their conversations open.
struct Crowd {
    loads: Vec<Load>,
    open: usize,
}

/// One of them; its end is the end of its conversations.
struct Load {
    child: Child,
    orders: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Crowd {
    fn open(
        (address, target): &(SocketAddr, String),
        conversations: usize,
        speaks_events: bool,
        many: &Many,
    ) -> Result<Self> {
        let count = LOADS.max(conversations.div_ceil(OF_ONE_LOAD)).min(conversations);
        let (messages, rate) = (many.rate * many.seconds, many.rate as f64);
        let share = |all: usize, number: usize| all / count + usize::from(number < all % count);
        let part = |number: usize| Part {
            address: *address,
            target: target.clone(),
            source: Ipv4Addr::new(127, 0, 0, FIRST_SOURCE + number as u8),
            conversations: share(conversations, number),
            speaks_events,
            messages: share(messages, number),
            offset: Duration::from_secs_f64(number as f64 / rate),
            every: Duration::from_secs_f64(count as f64 / rate),
        };
        let mut loads = (0..count).map(|number| Load::start(&part(number))).collect::<Result<Vec<_>>>()?;
        let mut open = 0;
        for load in &mut loads {
            open += load.line()?.trim().parse::<usize>()?;
        }
        Ok(Self { loads, open })
    }

    fn pids(&self) -> Vec<u32> {
        self.loads.iter().map(|load| load.child.id()).collect()
    }

    /// Lets all begin at once, and waits for what came of it. They stay for as long as what is returned.
    fn talk(mut self) -> Result<(Outcome, Vec<Load>)> {
        let begin = (procs::monotonic() + HEAD_START).as_nanos();
        for load in &mut self.loads {
            writeln!(load.orders.as_mut().context("no stdin")?, "{begin}")?;
        }
        let mut all = Outcome::default();
        for load in &mut self.loads {
            all.add(Outcome::read(&load.line()?)?);
        }
        Ok((all, self.loads))
    }
}

impl Load {
    fn start(part: &Part) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("many-load").arg(part.text()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        let said = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, orders, said })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let count = self.said.read_line(&mut line)?;
        ensure!(count > 0 && !line.starts_with("failed"), "a process of the load ended: {line}");
        Ok(line)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It ends when nobody can tell it anything; one that does not is ended when the whole run is.
        let _ = self.child.wait();
    }
}
