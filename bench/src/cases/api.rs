//! The API: lists of 100 and of 1,000 services, one service, making rules, and an event to a hundred readers. Kept connections.

use super::Bench;
use crate::fleet::{self, Fleet};
use crate::load::{self, Measured};
use crate::report::{Budget, Report, median};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

const ROUND: Duration = Duration::from_secs(2);
/// What the prototype did with a list of 100: the budget is twenty times that.
const PROTOTYPE_RATE: f64 = 339.0;
/// Readers of the stream of events, and events in a round.
const READERS: usize = 100;
const EVENTS: usize = 200;
/// Rules that are made, and removed, in a round.
const RULES: usize = 500;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    let api = fleet.api()?;
    for number in 0..100 {
        fleet.register(&format!("agent-{number:03}"), fleet::command()?, json!({})).await?;
    }
    for at_once in [1, 16] {
        let what = format!("list of 100 services × {at_once}");
        let budget = if at_once == 1 { Budget::None } else { Budget::AtLeast(20.0 * PROTOTYPE_RATE) };
        requests(bench, report, api, &what, "/api/v1/services?limit=100", at_once, budget)?;
    }
    requests(bench, report, api, "one service × 16", "/api/v1/services/agent-050", 16, Budget::None)?;
    rules(bench, report, api)?;
    events(bench, report, api)?;
    for number in 100..1000 {
        fleet.register(&format!("agent-{number:03}"), fleet::command()?, json!({})).await?;
    }
    for at_once in [1, 16] {
        let what = format!("list of 1,000 services × {at_once}");
        requests(bench, report, api, &what, "/api/v1/services?limit=1000", at_once, Budget::None)?;
    }
    Ok(())
}

/// Asks for the same, so many times at once.
fn requests(
    bench: &Bench,
    report: &mut Report,
    api: SocketAddr,
    what: &str,
    target: &str,
    at_once: usize,
    budget: Budget,
) -> Result<()> {
    let rounds = (0..bench.rounds).map(|_| load::requests(api, target, at_once, ROUND));
    let rounds = rounds.collect::<Result<Vec<_>>>()?;
    let all = |value: fn(&Measured) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
    report.line(what, &all(|round| round.rate), "/s", budget);
    report.line(&format!("{what}: p50"), &all(|round| round.p50 / 1000.0), "ms", Budget::None);
    report.line(&format!("{what}: p99"), &all(|round| round.p99 / 1000.0), "ms", Budget::None);
    Ok(())
}

/// A kept connection for requests with bodies.
struct Kept {
    stream: BufReader<TcpStream>,
    api: SocketAddr,
}

impl Kept {
    fn open(api: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(api)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), api })
    }

    /// One request; how long it took.
    fn ask(&mut self, method: &str, path: &str, body: &str, status: &str) -> Result<Duration> {
        let begin = Instant::now();
        let request = format!(
            "{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.api,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length, mut head) = (String::new(), 0, String::new());
        while line != "\r\n" {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the server closed a kept connection");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
            head.push_str(&line);
        }
        ensure!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {head}");
        self.stream.read_exact(&mut vec![0; length])?;
        Ok(begin.elapsed())
    }
}

/// Makes rules, one after the other, and removes them.
fn rules(bench: &Bench, report: &mut Report, api: SocketAddr) -> Result<()> {
    let (mut rates, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let mut kept = Kept::open(api)?;
        let (mut took, begin) = (Vec::new(), Instant::now());
        for number in 0..RULES {
            let rule = json!({
                "name": format!("rule-{number}"), "target_tags": ["none"],
                "conditions": [{"field": "user_agent", "operator": "contains", "value": "Mobile"}],
            });
            took.push(kept.ask("POST", "routing/rules", &rule.to_string(), "201")?.as_secs_f64() * 1000.0);
        }
        rates.push(RULES as f64 / begin.elapsed().as_secs_f64());
        took.sort_by(f64::total_cmp);
        p50.push(median(&took));
        p99.push(took[took.len() * 99 / 100]);
        for number in 0..RULES {
            kept.ask("DELETE", &format!("routing/rules/rule-{number}"), "", "204")?;
        }
    }
    report.line("a rule is made", &rates, "/s", Budget::None);
    report.line("a rule is made: p50", &p50, "ms", Budget::None);
    report.line("a rule is made: p99", &p99, "ms", Budget::None);
    Ok(())
}

/// Changes a service and waits until every reader of the stream of events has the event.
fn events(bench: &Bench, report: &mut Report, api: SocketAddr) -> Result<()> {
    let (mut p50, mut p99, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let (seen, arrivals) = mpsc::channel();
        let threads: Vec<_> = (0..READERS)
            .map(|_| {
                let (seen, mut stream) = (seen.clone(), TcpStream::connect(api)?);
                let request = format!(
                    "GET /api/v1/events?service=agent-000 HTTP/1.1\r\nHost: {api}\r\nAccept: text/event-stream\r\n\r\n"
                );
                stream.write_all(request.as_bytes())?;
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    ensure!(stream.read_line(&mut line)? > 0, "no stream of events");
                }
                Ok(thread::spawn(move || -> Result<()> {
                    let (mut line, mut count) = (String::new(), 0);
                    while count < EVENTS {
                        line.clear();
                        ensure!(stream.read_line(&mut line)? > 0, "the stream of events ended");
                        if line.starts_with("id: ") {
                            count += 1;
                            seen.send(Instant::now())?;
                        }
                    }
                    Ok(())
                }))
            })
            .collect::<Result<_>>()?;
        let mut kept = Kept::open(api)?;
        let (mut took, begin) = (Vec::new(), Instant::now());
        for number in 0..EVENTS {
            let body = json!({"description": format!("{round}-{number}")}).to_string();
            let asked = Instant::now();
            kept.ask("PATCH", "services/agent-000", &body, "200")?;
            for _ in 0..READERS {
                let arrived =
                    arrivals.recv_timeout(Duration::from_secs(30)).context("an event did not come")?;
                took.push((arrived - asked).as_secs_f64() * 1000.0);
            }
        }
        rates.push((EVENTS * READERS) as f64 / begin.elapsed().as_secs_f64());
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a reader failed"))??;
        }
        took.sort_by(f64::total_cmp);
        p50.push(median(&took));
        p99.push(took[took.len() * 99 / 100]);
    }
    let what = format!("a change → its event at {READERS} readers");
    report.line(&format!("{what}, p50"), &p50, "ms", Budget::None);
    report.line(&format!("{what}, p99"), &p99, "ms", Budget::None);
    report.line(&format!("events to {READERS} readers, one after the other"), &rates, "/s", Budget::None);
    Ok(())
}
