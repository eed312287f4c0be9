//! Instances that are found again, driven through a runner that the test plays itself: a real process to watch, a real
//! control socket, and lines that the test chooses. Starting real runners is in the stories of the binary.
#![expect(clippy::unwrap_used, reason = "a test that fails shall say where")]

mod access;
mod attach;
mod drain;
mod fake_runner;
mod health;
