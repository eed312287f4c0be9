//! `myagent-bench load …`: one load against an address that is there already, for profilers and for servers of others.

use crate::load::{Connects, Exchange, Talk};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// How it is called.
pub(crate) const USAGE: &str = "myagent-bench load connect|ping|message[=TEXT] ADDRESS TARGET COUNT SECONDS";

/// Puts the load on and says what came of it.
pub(crate) fn run(arguments: &[String]) -> Result<String> {
    let [kind, address, target, count, seconds] = arguments else { bail!("usage: {USAGE}") };
    let address = address.parse().context(USAGE)?;
    let count = count.parse().context(USAGE)?;
    let duration = Duration::try_from_secs_f64(seconds.parse().context(USAGE)?)?;
    let measured = match kind.as_str() {
        "connect" => Connects { address, target, at_once: count }.run(duration)?,
        "ping" => Exchange::open(address, target, count, Talk::Ping)?.run(duration)?,
        kind => {
            let text = kind.strip_prefix("message").context(USAGE)?;
            let text = if text.is_empty() { "hello" } else { text.strip_prefix('=').context(USAGE)? };
            Exchange::open(address, target, count, Talk::Message(text))?.run(duration)?
        }
    };
    Ok(format!(
        "{:.0}/s, p50 {:.0} µs, p99 {:.0} µs, generator {:.2} of its core",
        measured.rate, measured.p50, measured.p99, measured.generator
    ))
}
