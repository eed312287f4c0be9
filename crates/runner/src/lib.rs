//! The process that owns one instance: the agent's process tree, its output, and the conversations of its clients.
//!
//! It is the same program as the manager, started with a hidden subcommand, and it outlives a manager that is killed. The
//! manager decides; a runner does what it was told at its start and what it is asked on its control socket.
//!
//! * Entry points: [`run`] (the runner itself), [`exec_agent`] (the step in the new process before it becomes the agent),
//!   [`clear_tree`] (what to do when a runner died).
//! * `main_loop` sets everything up; `runner` has the state and where each event goes; `agent`, `drain`, `stop`,
//!   `requests` and `usage` are the handlers by subject.
//! * `tree` owns the processes, with `cgroup`, `procfs`, `signal`, `reap`, `spawn` and `tree_file` below it.
//! * `logs` reads the output, `log_lines` makes lines of it, `log_writer` writes them on a thread of its own.
//! * `control` and `takeover` are the two sockets; `backend` is who serves the clients that come by the latter.

mod agent;
mod backend;
mod cgroup;
mod cgroup_mounts;
mod clear;
mod control;
mod drain;
mod event;
mod exec_agent;
mod line_reader;
mod log_lines;
mod log_writer;
mod logs;
mod main_loop;
mod procfs;
mod random;
mod reap;
mod requests;
mod runner;
mod signal;
mod spawn;
mod stop;
mod takeover;
mod tree;
mod tree_file;
mod usage;

pub use clear::{ClearError, clear_tree};
pub use exec_agent::exec_agent;
pub use main_loop::run;
