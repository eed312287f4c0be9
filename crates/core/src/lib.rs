//! Types and decisions of MyAgent Manager, and nothing else.
//!
//! **Invariant: no I/O.** No runtime, clock, random numbers, files or sockets: time ([`Tick`], [`jiff::Timestamp`]) and
//! random numbers are arguments, so that every decision can be tested with a table in microseconds.
//!
//! Where to go: what a user wants is in [`service`] and [`config`]; the life of an instance in [`lifecycle`], with
//! [`restart`], [`health`] and [`ports`] beside it; what to do next in [`reconcile`]; who gets a client in [`routing`],
//! and who has one in [`connections`];
//! what `doctor` finds in [`diagnosis`]; what nobody may be shown in [`secrets`]; what agents print, and how severe it is, in [`logs`];
//! what manager, runner and proxy say to each other in [`wire`], and what client and agent do over HTTP in [`http`].

pub mod clients;
pub mod clock;
pub mod config;
pub mod connections;
pub mod diagnosis;
pub mod drain;
pub mod error;
pub mod event;
pub mod front_door;
pub mod health;
pub mod http;
pub mod ids;
pub mod instance;
pub mod lifecycle;
pub mod logs;
mod omit;
pub mod origin;
pub mod overview;
pub mod paths;
pub mod ports;
pub mod probe;
pub mod process;
pub mod recent;
pub mod reconcile;
pub mod request;
pub mod restart;
pub mod routing;
pub mod secrets;
pub mod series;
pub mod service;
pub mod settings;
pub mod spread;
pub mod suggest;
pub mod update;
pub mod view;
pub mod wire;

pub use clock::{Clock, Tick};
pub use error::{Code, FieldError, Problem};
pub use ids::{ConnectionId, InstanceKey, RuleId, ServiceId, StartId};
