//! Real runners, driven over their sockets as a manager and a proxy would.

mod agent;
#[cfg(test)]
mod common;
mod control;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod file;
mod output;
#[cfg(test)]
mod takeover;
mod tree;
