//! Other supervisors, where `bench/run.sh` installed them, with as many programs as we have services.

use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One that runs until it is dropped.
pub(super) struct Peer {
    pub(super) name: &'static str,
    program: PathBuf,
    status: Vec<String>,
    end: Vec<String>,
    home: PathBuf,
}

impl Peer {
    /// Its command that lists all programs.
    pub(super) fn status(&self) -> Command {
        self.command(&self.status)
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("PM2_HOME", &self.home).stdin(Stdio::null());
        command
    }

    fn quietly(&self, arguments: &[String]) -> Result<()> {
        let mut command = self.command(arguments);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = self.quietly(&self.end);
    }
}

/// Those that are installed in the folder.
pub(super) fn start(folder: &Path, programs: usize) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    if folder.join("venv/bin/supervisord").exists() {
        peers.push(supervisor(folder, programs).context("supervisord")?);
    }
    if folder.join("node_modules/.bin/pm2").exists() {
        peers.push(pm2(folder, programs).context("pm2")?);
    }
    Ok(peers)
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

/// Its programs are stopped, as our services are.
fn supervisor(folder: &Path, programs: usize) -> Result<Peer> {
    let home = folder.join("supervisor");
    fs::create_dir_all(&home)?;
    let socket = home.join("supervisor.sock");
    let mut config = format!(
        "[unix_http_server]\nfile={0}\n[supervisord]\nlogfile={1}/log\npidfile={1}/pid\nchildlogdir={1}\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [supervisorctl]\nserverurl=unix://{0}\n",
        socket.display(),
        home.display()
    );
    for number in 0..programs {
        writeln!(config, "[program:agent-{number:03}]\ncommand=/bin/sleep 100000\nautostart=false")?;
    }
    let path = home.join("supervisord.conf");
    fs::write(&path, config)?;
    let path = path.display().to_string();
    let status = Command::new(folder.join("venv/bin/supervisord")).args(["-c", &path]).status()?;
    ensure!(status.success(), "supervisord: {status}");
    Ok(Peer {
        name: "supervisorctl status",
        program: folder.join("venv/bin/supervisorctl"),
        status: strings(&["-c", &path, "status"]),
        end: strings(&["-c", &path, "shutdown"]),
        home,
    })
}

/// It knows only what it has started, so its programs run.
fn pm2(folder: &Path, programs: usize) -> Result<Peer> {
    let home = folder.join("pm2-home");
    fs::create_dir_all(&home)?;
    let apps: Vec<_> = (0..programs)
        .map(|number| {
            serde_json::json!({"name": format!("agent-{number:03}"), "script": "/bin/sleep", "args": "100000",
                "interpreter": "none"})
        })
        .collect();
    let path = home.join("ecosystem.json");
    fs::write(&path, serde_json::json!({"apps": apps}).to_string())?;
    let program = folder.join("node_modules/.bin/pm2");
    let peer = Peer { name: "pm2 list", program, status: strings(&["list"]), end: strings(&["kill"]), home };
    peer.quietly(&strings(&["start", &path.display().to_string()]))?;
    Ok(peer)
}
