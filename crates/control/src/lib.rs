//! The control plane: what users want, what is observed, and what to do about the difference.
//!
//! One engine task ([`Engine::run`]) owns the state. Everything else talks to it through the cheap-clone [`Handle`]: a bounded
//! channel of commands with answers going in, a watch of views and a watch of routing snapshots coming out. The engine stores
//! what users want ([`myagent_store`]), asks [`myagent_core::reconcile`] what to do, and has [`myagent_supervisor`] do it.
//! Looking (`list`, `status`) reads the published views and never waits for the engine.
//!
//! The engine calls SQLite directly: a write takes some 50 µs (WAL, no fsync but at checkpoints), and clients do not depend
//! on the engine at all. Where to go: [`commands`] (one file each), [`fleet`] (services and instances in memory), [`views`]
//! and [`publish`] (what others see), [`check`] (what must be true on this machine), [`logs`] (reading log files).

mod check;
mod commands;
mod connections;
mod dry_run;
mod engine;
mod fleet;
mod handle;
mod history;
mod logs;
mod once;
mod publish;
mod recent;
mod rolling;
mod rules;
mod series;
mod strays;
mod sums;
mod unsaved;
mod views;
mod wall;

pub use connections::{Disconnect, Level, Notification};
pub use engine::{Config, Engine, SweepInterval};
pub use handle::{EventFilter, Handle, RestartMode, StopAll};
pub use once::{Made, Once};
