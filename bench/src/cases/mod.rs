//! The cases, in the order in which they run, and what they share.

mod agent_host;
mod api;
mod hand_over;
mod idle;
mod idle_sessions;
mod killed_agent;
mod list;
mod many;
mod reattach;
mod relay_connect;
mod relay_echo;
mod relay_idle;
mod relay_tokens;
mod routing;
mod rule_change;
mod runner_memory;
mod setup;
mod start;
mod ways;

use crate::report::Report;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::pin::Pin;

/// What every case gets.
pub(crate) struct Bench {
    /// Rounds of each measurement.
    pub(crate) rounds: usize,
    /// The program that is measured.
    pub(crate) manager: PathBuf,
    /// Where other supervisors are installed, for the comparison.
    pub(crate) peers: Option<PathBuf>,
    /// Also those proxies that cost more and are hardly ever ahead.
    pub(crate) all_peers: bool,
    pub(crate) many: Many,
}

/// How much of very many conversations.
pub(crate) struct Many {
    /// None: as many as the case promises.
    pub(crate) conversations: Option<usize>,
    /// Messages a second, of all together.
    pub(crate) rate: usize,
    pub(crate) seconds: usize,
}

impl Default for Many {
    fn default() -> Self {
        Self { conversations: None, rate: 2000, seconds: 60 }
    }
}

impl Bench {
    /// The program is looked for beside this one.
    pub(crate) fn new(rounds: usize, peers: Option<PathBuf>, all_peers: bool, many: Many) -> Result<Self> {
        let here = std::env::current_exe()?;
        let manager = here.parent().context("no folder")?.join("myagent-manager");
        ensure!(manager.exists(), "{} is missing: build myagent-cli in the same profile", manager.display());
        let peers = peers.map(|peers| peers.canonicalize().with_context(|| peers.display().to_string()));
        Ok(Self { rounds, manager, peers: peers.transpose()?, all_peers, many })
    }

    /// An agent that is made for a case.
    pub(crate) fn own_agent(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/agents")).join(name)
    }

    /// An example agent.
    pub(crate) fn agent(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../agents")).join(name)
    }
}

/// One measurement, or several that belong together.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What is measured, for `--help`.
    pub(crate) about: &'static str,
    pub(crate) run: Run,
}

type Run = for<'a> fn(&'a Bench, &'a mut Report) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

const fn case(name: &'static str, about: &'static str, run: Run) -> Case {
    Case { name, about, run }
}

/// All cases, in the order in which they run.
pub(crate) const CASES: &[Case] = &[
    case("list", "`myagent-manager list` of 100 services, beside supervisord and pm2", |bench, report| {
        Box::pin(list::run(bench, report))
    }),
    case("idle", "a manager with 500 registered services: memory, processor", |bench, report| {
        Box::pin(idle::run(bench, report))
    }),
    case("runner-memory", "what a runner holds, fresh and after conversations", |bench, report| {
        Box::pin(runner_memory::run(bench, report))
    }),
    case("killed-agent", "an agent is killed: who meets it, when it is back", |bench, report| {
        Box::pin(killed_agent::run(bench, report))
    }),
    case("start", "start to ready", |bench, report| Box::pin(start::run(bench, report))),
    case("reattach", "a manager is killed: the next one finds 50 instances", |bench, report| {
        Box::pin(reattach::run(bench, report))
    }),
    case("relay-echo", "messages to a command agent and back, beside other proxies", |bench, report| {
        Box::pin(relay_echo::run(bench, report))
    }),
    case("relay-rate", "the same, at a rate that leaves everybody room", |bench, report| {
        Box::pin(relay_echo::run_paced(bench, report))
    }),
    case("relay-tokens", "tokens of a command agent, beside other proxies", |bench, report| {
        Box::pin(relay_tokens::run(bench, report))
    }),
    case("relay-connect", "new connections to a command agent, beside other proxies", |bench, report| {
        Box::pin(relay_connect::run(bench, report))
    }),
    case(
        "relay-idle",
        "memory of idle connections to a command agent, beside other proxies",
        |bench, report| Box::pin(relay_idle::run(bench, report)),
    ),
    case(
        "hand-over",
        "an agent file through the front door ÷ direct, and beside other proxies",
        |bench, report| Box::pin(hand_over::run(bench, report)),
    ),
    case(
        "agent-host",
        "echo and tokens by an agent file ÷ a Python server on `websockets`",
        |bench, report| Box::pin(agent_host::run(bench, report)),
    ),
    case(
        "idle-sessions",
        "memory of 10,000 idle sessions, 9,000 of them without a client",
        |bench, report| Box::pin(idle_sessions::run(bench, report)),
    ),
    case(
        "many-conversations",
        "30,000 conversations with three instances of an agent file",
        |bench, report| Box::pin(many::run_file(bench, report)),
    ),
    case("many-relayed", "9,000 conversations with a command agent, through one relay", |bench, report| {
        Box::pin(many::run_relayed(bench, report))
    }),
    case("api", "the API: lists, one service, making rules, an event to 100 readers", |bench, report| {
        Box::pin(api::run(bench, report))
    }),
    case("routing", "one routing decision among 1,000 instances and 1,000 rules", |bench, report| {
        Box::pin(std::future::ready(routing::run(bench, report)))
    }),
    case(
        "rule-change",
        "a rule is changed under a load of new connections: when they follow it",
        |bench, report| Box::pin(rule_change::run(bench, report)),
    ),
];
