//! What tests of every crate need and no product code may: a manager with a data directory of its own, an agent that can
//! misbehave in every way, clients, a clock, waiting for a condition.
//!
//! Nothing here decides anything about the product. Functions that wait have a deadline and say what they waited for; what
//! was started is ended when its guard is dropped, and nothing else is ever touched.

pub mod chaos;
pub mod client;
pub mod clock;
pub mod fake_agent;
pub mod http;
pub mod manager;
pub mod processes;
pub mod stand_in;
pub mod tls;
pub mod vanish;
pub mod wait;

pub use chaos::{Chaos, Trouble};
pub use client::{EventClient, Resuming};
pub use clock::ManualClock;
pub use manager::TestManager;
pub use stand_in::StandIn;
pub use wait::wait_for;
