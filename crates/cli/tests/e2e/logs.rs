//! Output: read whatever comes, bounded on disk, found again merged, filtered and followed.

use crate::fleet::{PATIENCE, fake, instance, is_soak, manager, number, register, start_fake};
use anyhow::{Context, Result};
use jiff::Timestamp;
use myagent_testkit::{EventClient, TestManager, http, processes, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Sizes of the log files of an instance, bytes.
fn sizes(manager: &TestManager, instance: &str) -> Vec<u64> {
    let entries = std::fs::read_dir(manager.data_dir().join("logs")).unwrap().flatten();
    let ours =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{instance}.log")));
    // One that is rotated away meanwhile has no size.
    ours.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect()
}

async fn lines(manager: &TestManager, arguments: &[&str]) -> Result<Vec<Value>> {
    let output = manager.ok(&[&["--format", "json", "logs"], arguments].concat()).await?;
    Ok(output.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// A flood, its report, and how many lines were dropped by us.
async fn flood(manager: &TestManager, options: &[&str]) -> Result<(Value, u64)> {
    let report = manager.work_dir().join("report");
    let (file, seconds) = (report.display().to_string(), if is_soak() { "20" } else { "2" });
    start_fake(manager, "flood", options, &["--flood", "50", seconds, "--flood-report", &file]).await?;
    let report = wait_for(PATIENCE, "the end of the flood", async || {
        // Never more than allowed, also while it is written.
        assert!(sizes(manager, "flood-0").iter().all(|size| *size <= limit(options)));
        serde_json::from_str::<Value>(&std::fs::read_to_string(&report).ok()?).ok()
    });
    let report = report.await;
    // What was read before the last line is written before it; where lines are dropped, it may be one of them.
    wait_for(PATIENCE, "the last line, or that lines were dropped", async || {
        let last = lines(manager, &["flood", "--grep", "flood over", "-n", "1"]).await.ok()?;
        let status = manager.json(&["status", "flood"]).await.ok()?;
        let dropped = status["stats"]["log_lines_dropped"].as_u64()?;
        (!last.is_empty() || dropped > 0).then_some(())
    })
    .await;
    let mut told = 0;
    wait_for(PATIENCE, "the count of dropped lines", async || {
        let status = manager.json(&["status", "flood"]).await.ok()?;
        let now = status["stats"]["log_lines_dropped"].as_u64()?;
        (std::mem::replace(&mut told, now) == now).then_some(())
    })
    .await;
    Ok((report, told))
}

/// The largest size of a file in these options, bytes.
fn limit(options: &[&str]) -> u64 {
    let mb = options.iter().find_map(|option| option.strip_prefix("log_max_mb=")).unwrap();
    mb.parse::<u64>().unwrap() * 1024 * 1024
}

#[tokio::test]
async fn a_flood_blocks_nobody_and_fills_no_disk() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let (report, _) = flood(&manager, &["--set", "log_max_mb=1", "--set", "log_files=3"]).await?;
    let longest = report["longest_write_ms"].as_f64().unwrap();
    // 100 ms is the budget; a machine with other tests on it does not always let the writer run.
    let bound = if is_soak() { 100.0 } else { 500.0 };
    assert!(longest < bound, "a write took {longest:.0} ms");
    let sizes = sizes(&manager, "flood-0");
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() <= 3 * 1024 * 1024, "{sizes:?}");
    // It serves as if nothing had been.
    let mut client = EventClient::connect(&server.ws_url("/s/flood")?).await?;
    let session = client.create_session().await?;
    client.turn(&session, "still there?").await?;
    assert_eq!(instance(&manager, "flood").await?["restart_count"], 0);
    Ok(())
}

/// Every line that was printed is in the files, or is counted as dropped.
#[tokio::test]
async fn what_is_dropped_is_counted() -> Result<()> {
    let manager = manager()?;
    let (report, _) = flood(&manager, &["--set", "log_max_mb=1000", "--set", "log_files=2"]).await?;
    let printed = report["lines"].as_u64().unwrap();
    let mut last = (0, 0);
    let what = format!("{printed} lines, kept or counted");
    wait_for(PATIENCE, &what, async || {
        let text = std::fs::read_to_string(manager.data_dir().join("logs/flood-0.log")).ok()?;
        let kept = text.lines().filter(|line| line.contains(r#""line":"flood flood"#)).count() as u64;
        let status = manager.json(&["status", "flood"]).await.ok()?;
        let dropped = status["stats"]["log_lines_dropped"].as_u64()?;
        last = (kept, dropped);
        (kept + dropped == printed).then_some(())
    })
    .await;
    let (kept, dropped) = last;
    assert!(kept > 0);
    // 50 MB/s is more than is taken for long.
    assert!(dropped > 0, "{kept} kept of {printed}");
    let said = lines(&manager, &["flood", "--grep", "lines of output were dropped", "-n", "100000"]).await?;
    let said: u64 =
        said.iter().filter_map(|line| line["line"].as_str()?.split(' ').next()?.parse::<u64>().ok()).sum();
    assert!(said <= dropped, "{said} of {dropped}");
    Ok(())
}

/// Prints a line every few milliseconds: `<name> tick 1`…
const TICKS: &str = "i=1; while :; do echo \"$NAME tick $i\"; i=$((i+1)); sleep 0.03; done";

/// `logs -f` in the background, its output in a file.
struct Follower {
    child: Child,
    text: std::path::PathBuf,
}

impl Follower {
    fn start(manager: &TestManager, arguments: &[&str]) -> Result<Self> {
        let text = manager.work_dir().join("followed");
        let mut command = manager.command(&[&["--format", "json", "logs"], arguments].concat());
        let child = command.stdout(File::create(&text)?).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, text })
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.text).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn time(line: &Value) -> Timestamp {
    line["ts"].as_str().unwrap().parse().unwrap()
}

fn assert_sorted(lines: &[Value]) {
    for pair in lines.windows(2) {
        assert!(time(&pair[0]) <= time(&pair[1]), "{pair:?}");
    }
}

/// Number of a tick.
fn tick(line: &Value) -> u64 {
    line["line"].as_str().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap()
}

#[tokio::test]
async fn instances_are_merged_by_time_filtered_and_followed() -> Result<()> {
    let manager = manager()?;
    let _server = manager.up().await?;
    let options = ["--replicas", "3", "--set", "ready=log:tick 1", "--env", "NAME=x"];
    register(&manager, "ticks", &options, &["sh", "-c", TICKS]).await?;
    manager.ok(&["start", "ticks"]).await?;
    let past = wait_for(PATIENCE, "sixty lines", async || {
        let lines = lines(&manager, &["ticks", "-n", "100000"]).await.ok()?;
        (lines.len() >= 60).then_some(lines)
    })
    .await;
    assert_sorted(&past);
    for name in ["ticks-0", "ticks-1", "ticks-2"] {
        let numbers: Vec<u64> = past.iter().filter(|line| line["instance"] == name).map(tick).collect();
        assert!(numbers.len() > 5, "{name}: {numbers:?}");
        // From the first on, none twice, none left out.
        assert!(numbers.iter().zip(1..).all(|(found, expected)| *found == expected), "{name}: {numbers:?}");
    }
    assert_eq!(lines(&manager, &["ticks", "-n", "7"]).await?.len(), 7);

    let since = time(&past[past.len() / 2]);
    let text = since.to_string();
    let words = ["ticks", "--since", &text, "--grep", "tick [0-9]*5$", "-n", "100000"];
    let found = lines(&manager, &words).await?;
    assert_sorted(&found);
    assert!(
        !found.is_empty() && found.iter().all(|line| time(line) >= since && tick(line) % 10 == 5),
        "{found:?}"
    );

    let follower = Follower::start(&manager, &["ticks", "-f", "--since", &text, "--grep", "[05]$"])?;
    wait_for(PATIENCE, "thirty followed lines", async || (follower.lines().len() >= 30).then_some(())).await;
    let followed = follower.lines();
    for name in ["ticks-0", "ticks-1", "ticks-2"] {
        let numbers: Vec<u64> = followed.iter().filter(|line| line["instance"] == name).map(tick).collect();
        assert!(numbers.len() > 3, "{name}: {followed:?}");
        // Each matching line once, over the seam between what was and what comes.
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 5), "{name}: {numbers:?}");
    }
    assert!(followed.iter().all(|line| time(line) >= since), "{followed:?}");
    // It ends with Ctrl-C, as a success.
    let mut follower = follower;
    processes::send(follower.child.id(), Signal::INT);
    let ended = wait_for(PATIENCE, "its end", async || follower.child.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
    Ok(())
}

/// Prints what no program should print, and then serves.
fn garbage(done: &Path) -> String {
    format!(
        "printf 'no end'; sleep 0.3; printf ' of line\\n'; head -c 3000 /dev/urandom; echo; printf 'a\\0b\\033[31m\\r\\n'; \
         head -c 1000000 /dev/zero | tr '\\0' x; echo; printf '{{\"ts\":\"not ours\"}}\\n'; echo 'the last line'; \
         printf 'without a line feed'; touch {}; exec {}",
        done.display(),
        fake()
    )
}

#[tokio::test]
async fn garbage_partial_and_endless_lines_do_no_harm() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let done = manager.work_dir().join("done");
    register(&manager, "garbage", &[], &["sh", "-c", &garbage(&done)]).await?;
    manager.ok(&["start", "garbage"]).await?;
    let mut client = EventClient::connect(&server.ws_url("/s/garbage")?).await?;
    let session = client.create_session().await?;
    client.turn(&session, "hello").await?;
    let find = async |pattern: &str| lines(&manager, &["garbage", "--grep", pattern, "-n", "100000"]).await;
    let last = wait_for(PATIENCE, "the last line", async || find("the last line").await.ok()?.pop()).await;
    assert_eq!(last["line"], "the last line");
    // What waits for its end is shown meanwhile, as a prompt would be.
    let pieces = find("^(no end| of line|no end of line)$").await?;
    let whole: String = pieces.iter().filter_map(|line| line["line"].as_str()).collect();
    assert_eq!(whole, "no end of line");
    assert_eq!(find("not ours").await?[0]["line"], r#"{"ts":"not ours"}"#);
    // A line that is too long is cut or split; nothing of the rest is harmed by that.
    let long: usize = find("xxxx").await?.iter().map(|line| line["line"].as_str().unwrap().len()).sum();
    assert!(long >= 8 * 1024, "{long}");
    // In a table no line may reach for the terminal.
    let text = manager.ok(&["logs", "garbage"]).await?;
    assert!(text.stdout.contains("the last line"));
    let pid = number(&instance(&manager, "garbage").await?["pid"])?;
    processes::send(pid, Signal::KILL);
    let rest =
        wait_for(PATIENCE, "the last bytes", async || find("without a line feed").await.ok()?.pop()).await;
    assert_eq!(rest["line"], "without a line feed");
    drop(server);
    tokio::time::timeout(Duration::from_secs(30), manager.ok(&["status"]))
        .await
        .context("status hangs")?
        .ok();
    Ok(())
}

/// A disk that is full refuses what manager and runner have to say of themselves; that must cost no more than those lines.
#[tokio::test]
async fn logs_that_cannot_be_written_cost_only_the_logs() -> Result<()> {
    let manager = manager()?;
    let logs = manager.data_dir().join("logs");
    std::fs::create_dir_all(&logs)?;
    for log in [manager.data_dir().join("manager.log"), logs.join("runners.log")] {
        std::os::unix::fs::symlink("/dev/full", log)?;
    }
    start_fake(&manager, "a", &[], &[]).await?;
    // The runner has something to say: it cannot save its list.
    let trees = manager.data_dir().join("trees");
    std::fs::remove_dir_all(&trees)?;
    manager.ok(&["stop", "a"]).await?;
    std::fs::create_dir(&trees)?;
    manager.ok(&["start", "a"]).await?;
    let events = manager.ok(&["events"]).await?.stdout;
    assert!(events.contains("instance.stopped") && !events.contains("instance.runner_lost"), "{events}");
    assert!(events.matches("instance.running").count() == 2, "{events}");
    Ok(())
}

/// Prints what a program in trouble prints, and serves.
fn troubled(text: &str) -> String {
    format!("echo 'ERROR: {text}'; echo 'WARNING:root:careful'; echo fine; exec {}", fake())
}

#[tokio::test]
async fn all_services_are_searched_at_once_by_words_severity_and_time() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    for name in ["a", "b"] {
        register(&manager, name, &["--replicas", "2"], &["sh", "-c", &troubled(&format!("boom {name}"))])
            .await?;
        manager.ok(&["start", name]).await?;
    }
    let found = wait_for(PATIENCE, "the lines of four instances", async || {
        let found = lines(&manager, &["--all", "-e", "boom"]).await.ok()?;
        (found.len() == 4).then_some(found)
    })
    .await;
    assert_sorted(&found);
    assert!(found.iter().all(|line| line["level"] == "error"), "{found:?}");
    let of_a: Vec<_> = found.iter().filter(|line| line["service"] == "a").collect();
    assert!(of_a.len() == 2 && of_a.iter().all(|line| line["line"] == "ERROR: boom a"), "{found:?}");
    let severe = lines(&manager, &["a", "--level", "warn"]).await?;
    assert_eq!(severe.len(), 4, "{severe:?}");
    // Up to the first line, and no further.
    let first = lines(&manager, &["--all", "-n", "2000"]).await?;
    let until = time(&first[0]).to_string();
    let old = lines(&manager, &["--all", "--until", &until]).await?;
    assert!(!old.is_empty() && old.iter().all(|line| time(line) <= time(&first[0])), "{old:?}");
    let cut = manager.ok(&["logs", "--all", "-n", "1"]).await?;
    assert_eq!(cut.stdout.lines().count(), 1, "{cut}");
    assert!(cut.stderr.contains("go on with --until"), "{cut}");

    let api = server.address("api")?;
    let ask =
        async |query: &str| http::request(api, "GET", &format!("/api/v1/logs/search?{query}"), None).await;
    let some = ask("service=b,a&level=error&limit=3&stream=stdout").await?.json()?;
    assert_eq!((some["items"].as_array().map(Vec::len), &some["truncated"]), (Some(3), &Value::Bool(true)));
    assert!(some["reached"].is_string() && some["files"] == 4, "{some}");
    for (query, status, word) in
        [("q=(", 400, "\"q\""), ("level=loud", 400, "\"level\""), ("service=c", 404, "SERVICE_NOT_FOUND")]
    {
        let answer = ask(query).await?;
        assert!(answer.status == status && answer.body.contains(word), "{query}: {answer:?}");
    }
    let follow =
        http::request(api, "GET", &format!("/api/v1/services/a/logs?follow=true&until={until}"), None)
            .await?;
    assert_eq!(follow.status, 400);
    Ok(())
}

#[tokio::test]
async fn what_the_manager_logs_is_changed_while_it_runs() -> Result<()> {
    let mut manager = manager()?;
    manager.set_env("MYAGENT_LOG_FORMAT", "json");
    let server = manager.up().await?;
    assert_eq!(manager.ok(&["log-level"]).await?.stdout.trim(), "info");
    manager.ok(&["list"]).await?;
    let logs_requests = || server.said().contains(r#""message":"request""#);
    assert!(!logs_requests());
    manager.ok(&["log-level", "debug"]).await?;
    assert_eq!(manager.json(&["log-level"]).await?["level"], "debug");
    wait_for(PATIENCE, "a line about a request", async || logs_requests().then_some(())).await;
    let slip = manager.cli(&["log-level", "loud"]).await?;
    assert!(slip.status != 0 && slip.stderr.contains("level: \"loud\""), "{slip}");
    assert_eq!(manager.ok(&["log-level"]).await?.stdout.trim(), "debug");
    let others = http::request(server.address("api")?, "GET", "/api/v1/manager/log-level", None).await?;
    assert_eq!(others.status, 404);
    for line in server.said().lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        assert!(["ts", "level", "target", "message"].iter().all(|name| line[*name].is_string()), "{line}");
    }
    Ok(())
}
