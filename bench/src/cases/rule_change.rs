//! A rule is changed under a load of new connections: when the first one follows it, whether one still goes the old way after the
//! change was answered, and what those who are connected notice.

use super::Bench;
use super::setup::NAMES;
use crate::fleet::{self, Fleet};
use crate::load::{Asker, Exchange, Talk, Until, open_until};
use crate::report::{Budget, Report, median};
use anyhow::{Context, Result};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use tokio::time::Instant;

/// Changes in each round.
const CHANGES: usize = 50;
/// Clients that connect one time after the other, and conversations that are open all the while.
const CLIENTS: usize = 4;
const CONVERSATIONS: usize = 64;
/// From one change to the next: far longer than one may take.
const PAUSE: Duration = Duration::from_millis(50);
const RULE: &str = "bench";

/// A connection: when it was begun, when it had its answer, and by which service it was served; none: it was not.
struct Connected {
    begun: Instant,
    done: Instant,
    by: Option<usize>,
}

/// A change: when it was asked for, when it was answered, and to which service the rule then leads.
struct Changed {
    asked: Instant,
    answered: Instant,
    to: usize,
}

/// What came of a round.
#[derive(Default)]
struct Round {
    /// Of each change, ms.
    live: Vec<f64>,
    answered: Vec<f64>,
    stale: f64,
    failed: f64,
    cut: f64,
    connections: usize,
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    for name in NAMES {
        fleet.run(name, fleet::command()?, json!({})).await?;
    }
    let rule = json!({"name": RULE, "target_services": [NAMES[0]]});
    fleet.request("POST", "routing/rules", Some(&rule)).await?;
    let (proxy, api) = (fleet.proxy()?, fleet.api()?);
    let rounds = (0..bench.rounds).map(|_| round(proxy, api)).collect::<Result<Vec<_>>>()?;
    let all = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
    let longest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let what = "rule changed → first connection that follows it";
    report.line(&format!("{what}, p50"), &all(|round| median(&round.live)), "ms", Budget::AtMost(100.0));
    let worst: Vec<f64> = rounds.iter().map(|round| longest(&round.live)).collect();
    report.line(&format!("{what}, longest of {CHANGES}"), &worst, "ms", Budget::AtMost(100.0));
    report.line("rule changed → answered, p50", &all(|round| median(&round.answered)), "ms", Budget::None);
    report.line("begun after the answer, and went the old way", &all(|round| round.stale), "", Budget::Never);
    report.line("clients not served", &all(|round| round.failed), "", Budget::Never);
    report.line(
        &format!("of {CONVERSATIONS} conversations were cut"),
        &all(|round| round.cut),
        "",
        Budget::Never,
    );
    report.line("connections meanwhile", &all(|round| round.connections as f64), "", Budget::None);
    Ok(())
}

fn round(proxy: SocketAddr, api: SocketAddr) -> Result<Round> {
    let mut open = Exchange::open(proxy, "/", CONVERSATIONS, Talk::Message("hello"))?;
    let over = AtomicBool::new(false);
    let (connected, changed) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| connect(proxy, &over))).collect();
        let changed = change(api);
        over.store(true, Ordering::Relaxed);
        let connected = clients.into_iter().map(ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>();
        let connected = connected.map_err(|_| anyhow::anyhow!("a client panicked"))?;
        anyhow::Ok((connected.into_iter().flatten().collect::<Vec<Connected>>(), changed?))
    })?;
    let mut round = Round { connections: connected.len(), cut: open.broken() as f64, ..Round::default() };
    round.failed = connected.iter().filter(|connection| connection.by.is_none()).count() as f64;
    for window in changed.windows(2) {
        let [before, change] = window else { continue };
        // Those that were begun between two answers can be of one or the other side only.
        let mine = || connected.iter().filter(|connection| before.answered <= connection.begun);
        let follows = mine().filter(|connection| connection.by == Some(change.to));
        let first = follows.map(|connection| connection.done).filter(|done| *done > change.asked).min();
        let first = first.context("nobody followed a change")?;
        round.live.push(milliseconds(first - change.asked));
        round.answered.push(milliseconds(change.answered - change.asked));
    }
    for connection in &connected {
        let ruled = changed.iter().rev().find(|change| change.answered <= connection.begun);
        // If the next change was asked for meanwhile, either side is right.
        let is_alone = !changed
            .iter()
            .any(|change| connection.begun < change.answered && change.asked < connection.done);
        if let (Some(ruled), Some(by)) = (ruled, connection.by)
            && is_alone
            && by != ruled.to
        {
            round.stale += 1.0;
        }
    }
    Ok(round)
}

/// One client after the other, until it is over.
fn connect(proxy: SocketAddr, over: &AtomicBool) -> Vec<Connected> {
    let mut all = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let opened = open_until(proxy, "/", Until::Upgrade);
        let done = Instant::now();
        let service = opened.as_ref().ok().and_then(|opened| opened.header("x-myagent-service"));
        let by = NAMES.iter().position(|name| service == Some(name));
        all.push(Connected { begun, done, by });
    }
    all
}

/// Changes the rule again and again, to lead to the one service and to the other.
fn change(api: SocketAddr) -> Result<Vec<Changed>> {
    let target = format!("/api/v1/routing/rules/{RULE}");
    let mut asker = Asker::connect(api, &target)?;
    let mut all = Vec::new();
    // The first one begins a round in the same way each time, and is not timed.
    for number in 0..=CHANGES {
        let to = (number + 1) % NAMES.len();
        let asked = Instant::now();
        asker.patch(&target, &json!({"target_services": [NAMES[to]]}))?;
        all.push(Changed { asked, answered: Instant::now(), to });
        let next = Instant::now() + PAUSE;
        while Instant::now() < next {
            thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
    }
    Ok(all)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
