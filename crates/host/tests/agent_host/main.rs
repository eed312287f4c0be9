//! The agent host with a real Python worker and real WebSocket clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bounds;
mod contract;
mod conversation;
mod examples;
mod front;
mod load;
mod lost;
mod moving;
mod moving_fails;
mod numbers;
mod other;
mod recycle;
mod replicas;
mod rig;
mod slow;
mod turns;
