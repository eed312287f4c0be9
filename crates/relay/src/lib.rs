//! One conversation's path: what stands between a client's socket and its agent once the front door has given it away.
//!
//! * [`client`]: a client's socket as taken over, and the way to give it back.
//! * [`codec`]: WebSocket frames for an endpoint that we serve ourselves (the agent host).
//! * [`handshake`]: the server's side of the opening handshake.
//! * [`table`]: a runner's connections, their counters and closed records.
//! * [`relay`]: the transparent relay to a command agent or an external service; [`scanner`] follows its frames,
//!   [`upstream`] and [`myagent_core::http`] make its handshake.
//!
//! Everything here lives on one thread: no lock, no `Send`. It runs in a `LocalRuntime` (or a `LocalSet`).

pub mod client;
pub mod codec;
mod conversation;
mod flow;
pub mod handshake;
mod heartbeat;
pub mod relay;
pub mod scanner;
pub mod table;
pub mod upstream;

pub use client::{Client, GivenBack};
pub use conversation::Conversation;
pub use relay::Relay;
pub use table::{Entry, Table};
