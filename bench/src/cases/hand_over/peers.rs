//! HAProxy and nginx before the agent's own port, where they are installed: the usual way to one address for all clients.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(10);

/// A proxy that runs until it is dropped.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    process: Child,
    _folder: TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // TERM, so that a master takes its workers along.
        myagent_testkit::processes::send(self.process.id(), rustix::process::Signal::TERM);
        // Then it is gone, or was not there.
        let _ = self.process.wait();
    }
}

/// Those that are installed.
pub(super) fn start(agent: SocketAddr) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for (name, program) in [("through HAProxy", "/usr/sbin/haproxy"), ("through nginx", "/usr/sbin/nginx")] {
        if Path::new(program).exists() {
            peers.push(peer(name, program, agent).with_context(|| program.to_owned())?);
        }
    }
    Ok(peers)
}

fn peer(name: &'static str, program: &str, agent: SocketAddr) -> Result<Peer> {
    let folder = tempfile::Builder::new().prefix("myagent-bench-").tempdir()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let path = folder.path().join("conf");
    let mut command = Command::new(program);
    if program.ends_with("haproxy") {
        fs::write(&path, haproxy(address, agent))?;
        command.arg("-f").arg(&path);
    } else {
        fs::write(&path, nginx(address, agent, folder.path()))?;
        command.arg("-p").arg(folder.path()).arg("-c").arg(&path);
    }
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peer = Peer { name, address, process, _folder: folder };
    let end = Instant::now() + DEADLINE;
    while TcpStream::connect(address).is_err() {
        ensure!(peer.process.try_wait()?.is_none(), "it ended");
        ensure!(Instant::now() < end, "it does not listen");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(peer)
}

fn haproxy(address: SocketAddr, agent: SocketAddr) -> String {
    format!(
        "global\n maxconn 4000\ndefaults\n mode http\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n \
         timeout tunnel 1h\nfrontend front\n bind {address}\n default_backend agents\nbackend agents\n server a {agent}\n"
    )
}

fn nginx(address: SocketAddr, agent: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\nworker_processes auto;\npid {folder}/pid;\nerror_log /dev/null;\nevents {{ worker_connections 4000; }}\n\
         http {{\n access_log off;\n client_body_temp_path {folder}/a;\n proxy_temp_path {folder}/b;\n \
         fastcgi_temp_path {folder}/c;\n uwsgi_temp_path {folder}/d;\n scgi_temp_path {folder}/e;\n \
         server {{ listen {address} reuseport; location / {{ proxy_pass http://{agent}; proxy_http_version 1.1; \
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $host; \
         proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_read_timeout 1h; }} }}\n}}\n"
    )
}
