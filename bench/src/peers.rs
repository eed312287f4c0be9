//! Proxies of others before the same agents, where they are installed: the usual way to one address for all clients.
//!
//! Their configurations are in `bench/peers`. In them `@listen@` and `@listen_port@` stand for where the peer listens,
//! `@folder@` for a folder of its own, and a line with `@agent@`, `@agent_port@` or `@number@` is there for each agent.

use crate::cases::Bench;
use crate::load::{self, Until};
use crate::procs;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(20);

/// One that could be compared with.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Where it is looked for; `*` stands for one folder; relative ones are in the folder of the peers.
    program: &'static str,
    /// Names and contents of its files; the first one is given to it.
    files: &'static [(&'static str, &'static str)],
    /// Its arguments; `@file@` is the first file.
    arguments: &'static [&'static str],
}

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../peers/", $name)))
    };
}

const HAPROXY: Kind = Kind {
    name: "HAProxy",
    program: "/usr/sbin/haproxy",
    files: &[file!("haproxy.cfg")],
    arguments: &["-db", "-f", "@file@"],
};
const NGINX: Kind = Kind {
    name: "nginx",
    program: "/usr/sbin/nginx",
    files: &[file!("nginx.conf")],
    arguments: &["-p", "@folder@", "-c", "@file@"],
};
const ENVOY: Kind = Kind {
    name: "Envoy",
    // The program in the package, without the script before it.
    program: "venv/lib/*/site-packages/envoy/_bin/envoy",
    files: &[file!("envoy.yaml")],
    arguments: &["--disable-hot-restart", "--concurrency", "@cores@", "--log-level", "off", "-c", "@file@"],
};
/// HAProxy with `splice`, which pays for large messages only.
pub(crate) const SPLICE: Kind =
    Kind { name: "HAProxy, splice", files: &[file!("haproxy-splice.cfg")], ..HAPROXY };
const CADDY: Kind = Kind {
    name: "Caddy",
    program: "/usr/bin/caddy",
    files: &[file!("Caddyfile")],
    arguments: &["run", "--config", "@file@", "--adapter", "caddyfile"],
};
const TRAEFIK: Kind = Kind {
    name: "Traefik",
    program: "venv/bin/traefik",
    files: &[file!("traefik.yml"), file!("traefik-routes.yml")],
    arguments: &["--configFile=@file@"],
};

/// A peer that runs until it is dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // TERM, so that a master takes its workers along.
        myagent_testkit::processes::send(self.process.id(), rustix::process::Signal::TERM);
        let end = Instant::now() + DEADLINE;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        // It has ended, or waits for its clients.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// All its processes.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        procs::family(self.process.id())
    }
}

/// Those that are hardly ever ahead. Where tokens come as fast as they go, they are: they read late and much.
pub(crate) const LATE: [&Kind; 2] = [&CADDY, &TRAEFIK];

/// Those that are installed and to be compared with, and these more.
pub(crate) fn installed(bench: &Bench, more: &[&'static Kind]) -> Vec<&'static Kind> {
    let late: &[&Kind] = if bench.all_peers { &LATE } else { &[] };
    let mut kinds = vec![&HAPROXY, &NGINX, &ENVOY];
    for kind in late.iter().chain(more) {
        if kinds.iter().all(|other| other.name != kind.name) {
            kinds.push(kind);
        }
    }
    kinds.retain(|kind| kind.program(bench).is_some());
    kinds
}

impl Kind {
    fn program(&self, bench: &Bench) -> Option<PathBuf> {
        let folder = bench.peers.as_deref().unwrap_or(Path::new("/nonexistent"));
        let path = folder.join(self.program);
        let Some((before, after)) = self.program.split_once("/*/") else {
            return path.exists().then_some(path);
        };
        let folders = fs::read_dir(folder.join(before)).ok()?;
        folders.flatten().map(|folder| folder.path().join(after)).find(|path| path.exists())
    }

    /// Starts it before these agents and waits until it serves.
    pub(crate) fn start(&self, bench: &Bench, agents: &[SocketAddr]) -> Result<Peer> {
        self.try_start(bench, agents).with_context(|| self.name.to_owned())
    }

    fn try_start(&self, bench: &Bench, agents: &[SocketAddr]) -> Result<Peer> {
        let folder = tempfile::Builder::new().prefix("myagent-bench-").tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let home = folder.path().display().to_string();
        for (name, text) in self.files {
            fs::write(folder.path().join(name), filled(text, address, agents, &home))?;
        }
        let cores = std::thread::available_parallelism()?.to_string();
        let file = format!("{home}/{}", self.files[0].0);
        let mut command = Command::new(self.program(bench).context("it is not installed")?);
        for argument in self.arguments {
            command
                .arg(argument.replace("@file@", &file).replace("@folder@", &home).replace("@cores@", &cores));
        }
        // Where it might leave something.
        command.env("HOME", &home).env("XDG_DATA_HOME", &home).env("XDG_CONFIG_HOME", &home);
        let said = folder.path().join("stderr");
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&said)?);
        let process = command.spawn()?;
        let mut peer = Peer { name: self.name, address, process, _folder: folder };
        let end = Instant::now() + DEADLINE;
        // Some listen before they know where to.
        while let Err(error) = load::open_until(address, "/", Until::Upgrade) {
            ensure!(peer.process.try_wait()?.is_none(), "it ended: {}", fs::read_to_string(&said)?);
            ensure!(Instant::now() < end, "it does not serve: {error:#}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(peer)
    }
}

/// A configuration with everything in its place.
fn filled(template: &str, listen: SocketAddr, agents: &[SocketAddr], folder: &str) -> String {
    let mut text = String::new();
    for line in template.lines() {
        if !["@agent@", "@agent_port@", "@number@"].iter().any(|word| line.contains(word)) {
            text.extend([line, "\n"]);
            continue;
        }
        for (number, agent) in agents.iter().enumerate() {
            let line = line.replace("@agent@", &agent.to_string());
            let line = line.replace("@agent_port@", &agent.port().to_string());
            text.extend([&line.replace("@number@", &number.to_string()), "\n"]);
        }
    }
    let text = text.replace("@listen@", &listen.to_string());
    text.replace("@listen_port@", &listen.port().to_string()).replace("@folder@", folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_agent() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let template =
            "bind @listen@ or @listen_port@ in @folder@\nserver a@number@ @agent@ @agent_port@\nend\n";
        assert_eq!(
            filled(template, address(1), &[address(2), address(3)], "/f"),
            "bind 127.0.0.1:1 or 1 in /f\nserver a0 127.0.0.1:2 2\nserver a1 127.0.0.1:3 3\nend\n"
        );
    }

    #[test]
    fn no_configuration_has_a_place_that_nobody_fills() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        for kind in [HAPROXY, SPLICE, NGINX, ENVOY, CADDY, TRAEFIK] {
            for (name, text) in kind.files {
                let text = filled(text, address, &[address], "/f");
                // Envoy has a key that begins so.
                assert!(!text.replace("\"@type\"", "").contains('@'), "{name}");
            }
        }
    }
}
