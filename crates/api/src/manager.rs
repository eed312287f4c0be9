//! What the API asks of the process around it. The binary implements this; here is only the shape.

use futures_util::future::BoxFuture;
use myagent_control::StopAll;
use myagent_core::Problem;
use myagent_core::diagnosis::Diagnosis;
use myagent_core::front_door::FrontDoorStats;
use myagent_core::process::ProcessStats;
use myagent_core::request::ListenRequest;
use myagent_core::routing::{ExplainRequest, Explanation};
use myagent_core::view::{InfoView, UpgradeView};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The manager process, as far as the API needs it.
pub trait Manager: Send + Sync + 'static {
    /// Who and where it is, and what it listens on.
    fn info(&self) -> InfoView;

    /// What the front door has counted.
    fn front_door(&self) -> FrontDoorStats;

    /// What the system knows of the process; none: it cannot be read.
    fn process(&self) -> Option<ProcessStats>;

    /// Opens a listener for as long as the guard of the answer lives.
    fn listen(&self, request: ListenRequest) -> BoxFuture<'_, Result<OpenListener, Problem>>;

    /// Who would get a client now, and why.
    fn explain(&self, request: ExplainRequest) -> BoxFuture<'_, Result<Explanation, Problem>>;

    /// Looks at the machine and the data directory, as `doctor` does.
    fn doctor(&self) -> BoxFuture<'_, Result<Diagnosis, Problem>>;

    /// Has a new process of this program take over: the listening sockets, the lock, the fleet. Answers when it has; then this
    /// one ends.
    fn upgrade(&self, program: PathBuf) -> BoxFuture<'_, Result<UpgradeView, Problem>>;

    /// What is logged: `info`, or a filter like `info,myagent_proxy=debug`.
    fn log_level(&self) -> String;

    /// Changes that, for as long as this process is the manager.
    fn set_log_level(&self, level: &str) -> Result<(), Problem>;

    /// Ends the manager; answers when everything is stopped (or let go of). The process exits after that.
    fn shut_down(&self, instances: StopAll, who: String) -> BoxFuture<'_, Result<(), Problem>>;
}

/// A listener that somebody asked for.
pub struct OpenListener {
    /// The address that it really listens on.
    pub address: SocketAddr,
    /// Dropping it closes the listener.
    pub guard: Box<dyn Send>,
}
