//! How long an agent file takes from `start` to ready; beside it what a bare Python interpreter takes to come and go.

use super::Bench;
use crate::fleet::{self, Fleet};
use crate::report::{Budget, Report};
use anyhow::{Result, ensure};
use serde_json::json;
use std::process::{Command, Stdio};
use tokio::time::Instant;

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let fleet = Fleet::up(bench).await?;
    fleet.register("file", fleet::file(&Bench::agent("echo_agent.py")), json!({})).await?;
    fleet.register("command", fleet::command()?, json!({})).await?;
    let (mut file, mut command, mut program, mut python) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        for (name, values) in [("file", &mut file), ("command", &mut command)] {
            let started = Instant::now();
            fleet.start(name).await?;
            values.push(started.elapsed().as_secs_f64() * 1000.0);
            fleet.stop(name).await?;
        }
        let started = Instant::now();
        fleet.manager.ok(&["start", "file"]).await?;
        program.push(started.elapsed().as_secs_f64() * 1000.0);
        fleet.stop("file").await?;
        let started = Instant::now();
        let status =
            Command::new("python3").args(["-c", "import asyncio, json"]).stdin(Stdio::null()).status()?;
        python.push(started.elapsed().as_secs_f64() * 1000.0);
        ensure!(status.success(), "python3: {status}");
    }
    report.line("agent file: start to ready, through the API", &file, "ms", Budget::None);
    report.line("agent file: `start`, whole process", &program, "ms", Budget::None);
    report.line("command agent: start to ready, through the API", &command, "ms", Budget::None);
    report.line("python3 -c 'import asyncio, json', whole process", &python, "ms", Budget::None);
    Ok(())
}
