//! `myagent-bench load …`: one load against an address that is there already, for profilers and for servers of others.

use crate::load::{Connects, Echo, Exchange, Measured, Pace, Place, Streams, Talk, Until};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// How it is called.
pub(crate) const USAGE: &str = "myagent-bench load KIND ADDRESS TARGET COUNT SECONDS
  KIND, of agents that speak events:  connect|ping|message[=TEXT]
        of quick agents:              upgrade|echo=BYTES|paced=MESSAGES-A-SECOND|tokens=MILLISECONDS|flat";

/// Puts the load on and says what came of it.
pub(crate) fn run(arguments: &[String]) -> Result<String> {
    let [kind, address, target, count, seconds] = arguments else { bail!("usage: {USAGE}") };
    let places = [Place::new(address.parse().context(USAGE)?, target)];
    let count = count.parse().context(USAGE)?;
    let duration = Duration::try_from_secs_f64(seconds.parse().context(USAGE)?)?;
    let measured = measure(kind, &places, count, duration)?;
    Ok(format!(
        "{:.0}/s, {} in all, p50 {:.1} µs, p99 {:.1} µs, generator {:.2} of its core",
        measured.rate, measured.count, measured.p50, measured.p99, measured.generator
    ))
}

fn measure(kind: &str, places: &[Place], count: usize, duration: Duration) -> Result<Measured> {
    let (kind, value) = kind.split_once('=').map_or((kind, None), |(kind, value)| (kind, Some(value)));
    let number = || value.unwrap_or_default().parse::<f64>().context(USAGE);
    let talk = |talk| Exchange::open(places[0].address, &places[0].target, count, talk);
    match kind {
        "connect" => Connects { places, at_once: count, until: Until::Greeting }.run(duration),
        "upgrade" => Connects { places, at_once: count, until: Until::Upgrade }.run(duration),
        "ping" => talk(Talk::Ping)?.run(duration),
        "message" => talk(Talk::Message(value.unwrap_or("hello")))?.run(duration),
        "echo" => Echo::open(places, count, number()? as usize)?.run(duration),
        "paced" => Echo::open(places, count, 64)?.paced(number()?, duration),
        "tokens" => {
            let every = Duration::try_from_secs_f64(number()? / 1000.0)?;
            Streams::open(places, count, Pace::Each(every))?.run(duration)
        }
        "flat" => Streams::open(places, count, Pace::Flat)?.run(duration),
        _ => bail!("usage: {USAGE}"),
    }
}
