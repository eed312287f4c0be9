//! The agent host: serves an agent file inside a runner's process.
//!
//! It speaks the event protocol with clients over WebSocket and lines of JSON with one Python worker over a private
//! socket pair (`docs/design/worker-protocol.md`). The host owns the sessions, their turns, numbers and logs; the worker
//! owns the agent. It starts no process and listens on no port by itself: the runner hands it sockets.
//!
//! * `host`: what all parts share, and [`Host`], the handle of the runner.
//! * `connection`: one client's socket; `client_event`, `clients`: what it says and what is done about it.
//! * `session`: one conversation's decisions; `roster`: all of them, in memory and in the journal.
//! * `replay`: what a client that comes back has missed; `search`: a session that another runner has, or left behind.
//! * `drain`, `moving`: clients that go to another runner because this one is to end, and that come from one; `neighbour`:
//!   what is said to it.
//! * `link`, `line`: the worker's socket and what goes over it; `turns`: what the worker says, and its death.
//! * `recycle`: a worker with turns that do not end, and the fresh one in its place.
//! * `stats`: what became of sessions and turns, in numbers.
//! * `listen`: clients that come to the agent's own port.
//!
//! **One thread.** Everything lives in a `LocalSet`. A wake-up changes what it has to, appends to the buffers of clients
//! and worker, and writes them at its end, once.

mod client_event;
mod clients;
mod connection;
mod drain;
mod event;
mod host;
mod line;
mod link;
mod listen;
mod moving;
mod neighbour;
mod recycle;
mod replay;
mod roster;
mod search;
mod session;
mod stats;
mod text;
mod turns;

pub use host::{Host, HostConfig};
pub use line::WorkerReady;
pub use link::LoadError;
pub use myagent_core::wire::control::Drained;
pub use stats::SessionStats;

use std::ffi::OsString;
use std::path::Path;

/// Reads a frame as a client's is read; the words in which a bad one is refused. For the fuzzer (`fuzz/`).
#[doc(hidden)]
pub fn read_client_event(frame: &[u8]) -> Result<(), String> {
    client_event::ClientEvent::parse(frame).map(drop).map_err(|error| format!("{}: {error}", error.code()))
}

/// The main module of the worker; it comes to the worker over its socket, after the modules that it uses.
pub const WORKER_SOURCE: &str = include_str!("worker.py");

/// Reads the worker's modules from its socket and runs the last one. Short, because it stands in the process list; but a
/// Python that is too old for them, also a 2.7, must get as far as saying so.
const BOOTSTRAP: &str = "\
import json,os,socket,sys,types
if sys.version_info<(3,9):
 e='the worker needs Python 3.9 or newer, and this is '+sys.version.split()[0]
 os.write(int(os.environ['MYAGENT_WORKER_FD']),(json.dumps(dict(type='load_failed',message=e))+'\\n').encode());sys.exit(e)
s=socket.socket(fileno=int(os.environ['MYAGENT_WORKER_FD']));s.setblocking(True);f=s.makefile('rb')
for n,c in json.loads(f.readline() or b'[]'):
 m=sys.modules[n]=types.ModuleType(n);exec(compile(c,n+'.py','exec'),m.__dict__)
m.main(s)";

/// The program and arguments of a worker. Its environment needs `MYAGENT_WORKER_FD`, the number of its inherited end of
/// the stream socket pair, and `MYAGENT_AGENT_FILE`, the absolute path of the agent file.
pub fn worker_argv(python: &Path) -> Vec<OsString> {
    vec![python.into(), "-u".into(), "-c".into(), BOOTSTRAP.into()]
}
