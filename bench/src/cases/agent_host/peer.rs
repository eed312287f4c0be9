//! The plain Python server, `bench/peers/websockets_server.py`: the library's defaults, but no compression, which we do not
//! have either; asyncio's own loop.

use anyhow::{Context, Result};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The interpreter that has the library, if there is one among the peers.
pub(in crate::cases) fn python(peers: &Path) -> Option<PathBuf> {
    let python = peers.join("venv/bin/python");
    let mut probe = Command::new(&python);
    probe.args(["-c", "import websockets.asyncio.server"]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().ok()?.success().then_some(python)
}

/// One that runs until it is dropped.
pub(in crate::cases) struct Peer {
    pub(in crate::cases) address: SocketAddr,
    process: Child,
}

impl Peer {
    pub(in crate::cases) fn start(python: &Path, agent: &Path) -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/websockets_server.py");
        let mut command = Command::new(python);
        // Clients that leave with a reset would fill its log.
        command.arg(script).arg(agent).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().context("websockets server")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let mut peer = Self { address: ([127, 0, 0, 1], 0).into(), process };
        let port: u16 = line.trim().parse().context("the websockets server did not start")?;
        peer.address.set_port(port);
        Ok(peer)
    }

    pub(in crate::cases) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has ended, or ends now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
