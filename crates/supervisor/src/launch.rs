//! Starts a runner: port, specification, process, control connection.

use crate::Config;
use crate::attach;
use crate::environment;
use crate::instance::Wanted;
use crate::link::{Link, LinkError};
use crate::observed::RunnerRecord;
use crate::ports::{self, Lease, Ports};
use crate::process::{self, Watched};
use myagent_core::service::Source;
use myagent_core::wire::launch::{AgentLaunch, RunnerPaths, RunnerSpec};
use myagent_core::{StartId, paths};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a runner may take to open its control socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// What is told of a runner that did not live long enough to say something itself.
const ENDED: &str = "its runner ended at once; see runners.log";
/// The log of the runners themselves starts again above this size.
const MAX_RUNNER_LOG: u64 = 4 * 1024 * 1024;

/// A runner that is there.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) record: RunnerRecord,
    pub(crate) process: Watched,
    /// None: it speaks another protocol.
    pub(crate) link: Option<Link>,
    pub(crate) lease: Option<Lease>,
}

/// Starts one. The error is for people.
pub(crate) async fn launch(
    config: Config,
    ports: Ports,
    wanted: Wanted,
    last_port: Option<u16>,
) -> Result<Launched, String> {
    let lease = lease(&ports, &wanted, last_port)?;
    let port = lease.as_ref().map(Lease::port);
    let spec = specification(&config, &wanted, port)?;
    let started_at = config.clock.now();
    let exe = config.exe.clone();
    let (sender, log) = (spec.clone(), config.log_dir.join("runners.log"));
    let child = tokio::task::spawn_blocking(move || start(&exe, &sender, &log))
        .await
        .map_err(|error| format!("cannot start its runner: {error}"))?
        .map_err(|error| format!("cannot start its runner: {error}"))?;
    let pid = child.id();
    let start_time = process::start_time(pid);
    let mut process = Watched::child(child).map_err(|error| format!("cannot watch its runner: {error}"))?;
    let link = tokio::select! {
        link = connect(&spec.paths.control) => link.map_err(|error| error.to_string()),
        () = process.exited() => Err(ENDED.to_owned()),
    };
    let (start_time, link) = match (start_time, link) {
        (Some(start_time), Ok(link)) => (start_time, link),
        (_, link) => {
            process.signal(rustix::process::Signal::KILL);
            process.exited().await;
            // It may have begun to start its agent.
            let survivors = attach::clear(config.exe, config.runtime_dir, spec.paths.tree).await;
            if !survivors.is_empty() {
                tracing::error!(pid, ?survivors, "processes of a runner that failed could not be killed");
            }
            return Err(link.err().unwrap_or_else(|| ENDED.to_owned()));
        }
    };
    let record = RunnerRecord {
        start_id: spec.start_id,
        pid,
        start_time,
        control: spec.paths.control,
        takeover: spec.paths.takeover,
        tree: spec.paths.tree,
        port,
        started_at,
        ready_at: None,
        version: wanted.service.version,
    };
    Ok(Launched { record, process, link: Some(link), lease })
}

fn lease(ports: &Ports, wanted: &Wanted, last_port: Option<u16>) -> Result<Option<Lease>, String> {
    if matches!(wanted.service.source, Source::External { .. }) {
        return Ok(None);
    }
    let host = ports::address(&wanted.service.host);
    match wanted.service.port {
        Some(port) => ports.lease_fixed(host, port).map(Some),
        None => ports.lease(host, last_port).map(Some).map_err(|error| error.to_string()),
    }
}

fn specification(config: &Config, wanted: &Wanted, port: Option<u16>) -> Result<RunnerSpec, String> {
    let service = &wanted.service;
    let environment = environment::merge(own_environment(), service, &wanted.secrets)?;
    let path = environment.get("PATH").map(String::as_str);
    let agent = match &service.source {
        Source::File { path: file, python: named, worker } => {
            if !file.is_file() {
                return Err(format!(
                    "the agent file {} is gone; restore it or update the service",
                    file.display()
                ));
            }
            let python = match worker {
                Some(worker) if !worker.is_file() => {
                    return Err(format!(
                        "the worker {} is gone; restore it or update the service",
                        worker.display()
                    ));
                }
                Some(_) => PathBuf::new(),
                None => environment::python(file, named.as_deref(), path)?,
            };
            AgentLaunch::File { path: file.clone(), python, worker: worker.clone() }
        }
        Source::Command { argv, cwd, .. } => AgentLaunch::Command {
            argv: argv.iter().map(|arg| fill_in(arg, &service.host, port.unwrap_or(0))).collect(),
            cwd: cwd.clone().unwrap_or_else(|| PathBuf::from("/")),
            path: service.ws_path().to_owned(),
        },
        Source::External { url } => AgentLaunch::External { url: url.clone() },
    };
    let start_id = StartId((config.new_id)());
    Ok(RunnerSpec {
        service_id: service.service_id,
        service: service.name.clone(),
        index: wanted.index,
        start_id,
        agent,
        host: service.host.clone(),
        port: port.unwrap_or(0),
        config: service.config.clone(),
        environment,
        paths: RunnerPaths {
            control: config.runtime_dir.join(paths::socket_name(start_id, 'c')),
            takeover: config.runtime_dir.join(paths::socket_name(start_id, 't')),
            logs: config.log_dir.clone(),
            tree: config.tree_dir.join(format!("{start_id}.json")),
            journal: config.journal_dir.join(service.service_id.to_string()),
        },
    })
}

/// The manager's own environment, but for variables that are not text.
fn own_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn fill_in(arg: &str, host: &str, port: u16) -> String {
    arg.replace("{port}", &port.to_string()).replace("{host}", host)
}

fn start(exe: &std::path::Path, spec: &RunnerSpec, log: &std::path::Path) -> io::Result<Child> {
    let log = runner_log(log)?;
    let mut child = Command::new(exe)
        .arg0("myagent-manager")
        .arg("runner")
        .arg(format!("{}-{}", spec.service, spec.index))
        .current_dir("/")
        .env_remove("MYAGENT_START_ID")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let text = serde_json::to_vec(spec)?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&text));
    if let Err(error) = written {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(child)
}

fn runner_log(path: &std::path::Path) -> io::Result<File> {
    let too_large = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_RUNNER_LOG);
    if too_large {
        // Another start may have done it at the same moment; and no agent shall wait for a log.
        let _ = std::fs::rename(path, path.with_extension("log.1"));
    }
    OpenOptions::new().create(true).append(true).open(path)
}

async fn connect(control: &std::path::Path) -> Result<Link, LinkError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    loop {
        match Link::connect(control).await {
            Err(LinkError::Io { .. }) if Instant::now() < deadline => sleep(Duration::from_millis(5)).await,
            result => return result,
        }
    }
}
