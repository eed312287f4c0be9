//! A choice of the cases that `make conformance` runs all of: what a server does with each of them, it does behind the relay,
//! with and without compression.

use crate::clients::target;
use crate::fleet::{fake, instance, manager, register};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Frames and lengths, control frames and fragments, reserved bits and opcodes, UTF-8, close codes, big messages.
const PLAIN: &[&str] = &[
    "1.1.*", "1.2.2", "1.2.8", "2.*", "3.1", "3.4", "3.7", "4.1.1", "4.2.3", "5.1", "5.3", "5.6", "5.8",
    "5.9", "5.12", "5.15", "5.18", "5.19", "6.2.3", "6.3.1", "6.6.1", "6.12.5", "7.1.1", "7.1.5", "7.3.1",
    "7.3.2", "7.3.4", "7.3.6", "7.5.1", "7.7.1", "7.7.13", "7.9.1", "7.9.9", "7.13.1", "9.1.1", "9.2.1",
    "9.5.1", "10.1.1",
];
/// Compressed: small and large messages, each way of negotiating, and what must work beside it.
const DEFLATE: &[&str] = &[
    "1.1.2", "2.5", "3.2", "5.3", "5.15", "6.3.1", "7.3.6", "7.9.1", "12.1.1", "12.1.7", "12.2.3", "12.3.5",
    "12.5.2", "13.1.2", "13.2.3", "13.3.4", "13.4.5", "13.5.6", "13.6.2", "13.7.1",
];

/// Behaviour of a server in each of these cases, and how it closed.
type Results = BTreeMap<String, (String, String)>;

async fn run(address: &str, cases: &[&str], reports: &Path) -> Result<Results> {
    let mut command = Command::new(target()?.join("python/bin/kosoku"));
    command.args(["-m", "fuzzingclient", "-p", "4", "-o"]).arg(reports).arg(address);
    for case in cases {
        command.args(["-i", case]);
    }
    // Its exit code says whether a case failed: that is compared below.
    let done =
        tokio::task::spawn_blocking(move || command.output()).await?.context("kosoku: run make setup")?;
    let index = std::fs::read(reports.join("index.json"))
        .with_context(|| format!("no report: {}", String::from_utf8_lossy(&done.stderr)))?;
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(&index)?;
    let results = index.into_values().next().context("an empty report")?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(results
        .into_iter()
        .map(|(case, result)| (case, (word(&result["behavior"]), word(&result["behaviorClose"]))))
        .collect())
}

/// Runs cases against a server, directly and through the manager whose only service it is.
async fn compare(command: &[&str], cases: &[&str], least: usize) -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    register(&manager, "echo", &["--auto-start"], command).await?;
    let instance = instance(&manager, "echo").await?;
    let address = format!("{}:{}", instance["host"].as_str().context("no host")?, instance["port"]);
    let direct = run(&address, cases, &manager.work_dir().join("direct")).await?;
    let through =
        run(&server.address("proxy")?.to_string(), cases, &manager.work_dir().join("through")).await?;
    ensure!(direct.len() >= least, "only {} cases were run", direct.len());
    // The server is a good one: else it would prove nothing.
    let good =
        direct.values().filter(|(behavior, _)| behavior == "OK" || behavior == "INFORMATIONAL").count();
    ensure!(good >= least, "only {good} of {} cases are good directly: {direct:?}", direct.len());
    let differing: Vec<_> = direct
        .iter()
        .filter(|(case, result)| through.get(*case) != Some(*result))
        .map(|(case, result)| format!("{case}: directly {result:?}, through us {:?}", through.get(case)))
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
    Ok(())
}

#[tokio::test]
async fn frames_pass_as_the_cases_want_them() -> Result<()> {
    compare(&[&fake(), "--echo"], PLAIN, 55).await
}

#[tokio::test]
async fn compressed_frames_pass_as_the_cases_want_them() -> Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/conformance/echo.mjs");
    compare(&["node", script], DEFLATE, 18).await
}
