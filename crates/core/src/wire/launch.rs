//! What a runner is told at its start: one JSON document on its standard input, so that no secret is in its arguments,
//! its environment or a file.

use crate::config::ServiceConfig;
use crate::ids::{ServiceId, StartId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that a runner needs; it asks the manager for nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerSpec {
    /// The service's id.
    pub service_id: ServiceId,
    /// The service's name.
    pub service: String,
    /// Which copy.
    pub index: u32,
    /// This start; also the tag in the environment of the whole tree.
    pub start_id: StartId,
    /// What to run.
    pub agent: AgentLaunch,
    /// Address that the agent listens on (and that we probe).
    pub host: String,
    /// Its port; for an external service 0.
    pub port: u16,
    /// The service's settings.
    pub config: ServiceConfig,
    /// The whole environment of the agent, already merged.
    pub environment: BTreeMap<String, String>,
    /// Where the runner's files are.
    pub paths: RunnerPaths,
}

/// What to start, with every path absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum AgentLaunch {
    /// Serve this agent file with a worker.
    File {
        /// The agent file; the worker runs in its folder.
        path: PathBuf,
        /// The interpreter that runs the embedded worker; empty if that is not wanted.
        #[serde(default)]
        python: PathBuf,
        /// A worker of its own, started with the agent file as its argument; none: the embedded one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<PathBuf>,
    },
    /// Run a program.
    Command {
        /// Program and arguments, placeholders replaced.
        argv: Vec<String>,
        /// Working directory.
        cwd: PathBuf,
        /// Path of its WebSocket.
        path: String,
    },
    /// Relay to an endpoint.
    External {
        /// `ws://…`
        url: String,
    },
}

/// The runner's files. The folder of the sockets is private (0700).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerPaths {
    /// Stream socket for the manager.
    pub control: PathBuf,
    /// SEQPACKET socket for the proxy (and other runners).
    pub takeover: PathBuf,
    /// Folder for `<instance>.log`, `<instance>.log.1`…
    pub logs: PathBuf,
    /// Where the list of the tree's processes is kept, for whoever has to clear up after a killed runner.
    pub tree: PathBuf,
    /// Folder for the journals of the service.
    pub journal: PathBuf,
}
