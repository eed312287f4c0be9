//! Agents, the manager before them, and the peers before the same agents: the ways between which a client could choose.

use super::Bench;
use super::ways::{Figure, Way, against_best};
use crate::fleet::{self, Fleet, Instance};
use crate::load::Place;
use crate::peers::{self, Kind, Peer};
use crate::report::{Budget, Report};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Names of services; a runner works on one core, so that two services can use two.
pub(super) const NAMES: [&str; 2] = ["one", "two"];
pub(super) const OURS: &str = "ours";
const RUNNERS: &str = "runners";

/// What runs for a case.
pub(super) struct Setup {
    pub(super) fleet: Fleet,
    /// One of each service.
    pub(super) instances: Vec<Instance>,
    peers: Vec<Peer>,
    /// Its agents are files: runners serve them, whichever way clients come.
    hosted: bool,
}

/// A command agent: this program as the quick agent.
pub(super) fn quick_agent() -> Result<Value> {
    let program = std::env::current_exe()?;
    Ok(json!({"kind": "command", "argv": [program, "quick-agent"], "cwd": "/"}))
}

/// "one service" or "two services".
pub(super) fn services(count: usize) -> &'static str {
    if count == 1 { "one service" } else { "two services" }
}

impl Setup {
    /// So many services of quick agents, and the peers that are installed, with `more`.
    pub(super) async fn quick(bench: &Bench, services: usize, more: &[&'static Kind]) -> Result<Self> {
        Self::of(bench, services, &quick_agent()?, more, false).await
    }

    /// So many services of an agent file.
    pub(super) async fn file(bench: &Bench, services: usize) -> Result<Self> {
        Self::of(bench, services, &fleet::file(&Bench::agent("echo_agent.py")), &[], true).await
    }

    async fn of(
        bench: &Bench,
        services: usize,
        source: &Value,
        more: &[&'static Kind],
        hosted: bool,
    ) -> Result<Self> {
        let fleet = Fleet::up(bench).await?;
        let mut instances = Vec::new();
        for name in &NAMES[..services] {
            let instance = fleet.run(name, source.clone(), json!({})).await?.pop();
            instances.push(instance.context("no instance")?);
        }
        let agents: Vec<SocketAddr> = instances.iter().map(Instance::address).collect();
        let peers = peers::installed(bench, more).into_iter().map(|kind| kind.start(bench, &agents));
        let peers = peers.collect::<Result<_>>()?;
        Ok(Self { fleet, instances, peers, hosted })
    }

    /// Directly to the agents.
    pub(super) fn direct(&self) -> Way {
        let places = self.instances.iter().map(|instance| Place::new(instance.address(), "/"));
        self.ending(Way::new("direct", places.collect()))
    }

    /// Through the front door.
    pub(super) fn ours(&self) -> Result<Way> {
        let proxy = self.fleet.proxy()?;
        let places =
            self.instances.iter().zip(NAMES).map(|(_, name)| Place::new(proxy, format!("/s/{name}/")));
        let way = Way::new(OURS, places.collect()).through("manager", vec![self.fleet.server()?.pid()]);
        let way = if self.hosted { way } else { way.through(RUNNERS, self.runners()) };
        Ok(self.ending(way))
    }

    /// All ways: direct, ours, the peers.
    pub(super) fn ways(&self) -> Result<Vec<Way>> {
        let mut ways = vec![self.direct(), self.ours()?];
        for peer in &self.peers {
            let way = Way::new(peer.name, vec![Place::new(peer.address, "/")]);
            ways.push(self.ending(way.through(peer.name, peer.pids()?)));
        }
        Ok(ways)
    }

    /// With what every way ends in: the agents, and before those that are files their runners.
    fn ending(&self, way: Way) -> Way {
        let way = if self.hosted { way.through(RUNNERS, self.runners()) } else { way };
        way.agents(self.instances.iter().map(|instance| instance.pid).collect())
    }

    fn runners(&self) -> Vec<u32> {
        self.instances.iter().map(|instance| instance.runner_pid).collect()
    }
}

/// What came of the ways of [`Setup::ways`]: a line for each, then ours ÷ the best of the peers.
pub(super) fn tell(report: &mut Report, what: &str, unit: &str, ways: &[Way], promises: &[(Figure, Budget)]) {
    for way in ways {
        way.line(report, what, 1.0, unit);
    }
    if let [_, ours, peers @ ..] = ways {
        against_best(report, what, ours, &peers.iter().collect::<Vec<_>>(), promises);
    }
}
