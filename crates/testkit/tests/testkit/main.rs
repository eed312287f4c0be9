//! The tools themselves, against real processes and sockets.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod agent;
mod manager;
