//! An agent that dies at every start: it is tried again, later and later, and then it is an error that says why.

use crate::fleet::{
    Count, cpu_seconds, fake, instance, is_soak, manager, number, register, rounds, wait_for_instance,
    wait_for_state,
};
use anyhow::{Context, Result};
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Writes the time of each start into the file `starts`, and is healthy as soon as there is a file `healthy`.
fn unsteady() -> String {
    let fake = fake();
    format!(
        "date +%s%N >> starts; [ -e healthy ] && exec {fake}; for i in $(seq 30); do echo \"line $i\"; done; \
         echo 'no key' >&2; exit 7"
    )
}

/// Times between the starts, seconds.
fn gaps(folder: &Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(folder.join("starts"))?;
    let starts: Vec<f64> = text.lines().map(|line| Ok(line.parse::<f64>()? / 1e9)).collect::<Result<_>>()?;
    Ok(starts.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

#[tokio::test]
async fn delays_grow_and_then_it_is_an_error_until_start() -> Result<()> {
    let manager = manager()?;
    let settings = ["--set", "restart_delay=0.1", "--set", "max_restart_count=4"];
    register(&manager, "unsteady", &settings, &["sh", "-c", &unsteady()]).await?;
    let start = manager.cli(&["start", "unsteady"]).await?;
    assert_eq!(start.status, 1, "{start}");
    assert!(start.stderr.contains("exit code 7"), "{start}");

    let failed = wait_for_state(&manager, "unsteady", "error").await;
    assert_eq!(failed["last_exit"]["cause"]["code"], 7, "{failed:#}");
    assert_eq!(failed["error_message"], "exit code 7; gave up after 4 restarts in a row");
    assert_eq!(failed["restart_count"], 4);
    assert_eq!(failed["pid"], serde_json::Value::Null);
    let lines: Vec<&str> =
        failed["last_lines"].as_array().unwrap().iter().filter_map(|line| line.as_str()).collect();
    assert_eq!(lines.len(), 20, "{lines:?}");
    assert!(lines.contains(&"no key") && lines.contains(&"line 30"), "{lines:?}");
    // Tried again by itself each five minutes.
    let next: Timestamp = failed["next_try"].as_str().context("no next_try")?.parse()?;
    let seconds =
        next.as_second() - failed["last_exit"]["at"].as_str().unwrap().parse::<Timestamp>()?.as_second();
    assert!((290..=310).contains(&seconds), "{failed:#}");
    let text = manager.ok(&["status", "unsteady"]).await?;
    for word in ["exit code 7", "no key", "next try", "gave up after 4 restarts"] {
        assert!(text.stdout.contains(word), "{word}: {text}");
    }

    // Doubled each time, ±25 %; a start comes later than that on a busy machine, never earlier.
    let gaps = gaps(&manager.work_dir())?;
    assert_eq!(gaps.len(), 4);
    for (gap, expected) in gaps.iter().zip([0.1, 0.2, 0.4, 0.8]) {
        assert!(*gap >= expected * 0.75, "{gaps:?}");
    }

    // `start` begins anew: four tries again.
    let again = manager.cli(&["start", "unsteady"]).await?;
    assert_eq!(again.status, 1, "{again}");
    let failed = wait_for_instance(&manager, "unsteady", "a second error", |instance| {
        instance["status"] == "error" && instance["restart_count"] == 4
    })
    .await;
    assert_ne!(failed["last_exit"], serde_json::Value::Null);
    std::fs::write(manager.work_dir().join("healthy"), "")?;
    manager.ok(&["start", "unsteady"]).await?;
    let well = instance(&manager, "unsteady").await?;
    assert_eq!((&well["status"], &well["restart_count"]), (&"running".into(), &0.into()), "{well:#}");
    assert_eq!(
        (&well["error_message"], &well["next_try"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    Ok(())
}

#[tokio::test]
async fn without_restarts_the_first_end_is_the_last() -> Result<()> {
    let manager = manager()?;
    register(&manager, "once", &["--no-auto-restart"], &["sh", "-c", &unsteady()]).await?;
    let start = manager.cli(&["start", "once"]).await?;
    assert_eq!(start.status, 1, "{start}");
    let failed = wait_for_state(&manager, "once", "error").await;
    assert_eq!((&failed["restart_count"], &failed["next_try"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(gaps(&manager.work_dir())?.len(), 0);
    Ok(())
}

/// What fails again and again must not cost what works its processor.
#[tokio::test]
async fn a_fleet_of_them_costs_little() -> Result<()> {
    let manager = manager()?;
    let server = manager.up().await?;
    let services = rounds(5, 50);
    let fake = fake();
    for number in 0..services {
        let name = format!("crash-{number}");
        let settings = ["--set", "restart_delay=1", "--set", "max_restart_count=1000"];
        register(&manager, &name, &settings, &[&fake, "--crash-on-start", "3"]).await?;
        // Told at once: `start` would wait for a success that never comes.
        let address = server.address("api")?;
        let target = format!("/api/v1/services/{name}/start?wait=false");
        let answer = myagent_testkit::http::request(address, "POST", &target, None).await?;
        assert!(answer.status < 300, "{answer:?}");
    }
    // The manager's children are the runners, theirs the agents; each is counted when it has ended. The delays have doubled
    // a few times by then.
    for number in 0..services {
        let restarts = if is_soak() { 5 } else { 2 };
        wait_for_instance(&manager, &format!("crash-{number}"), "restarts", |instance| {
            instance["restart_count"].as_u64() >= Some(restarts)
        })
        .await;
    }
    let before = cpu_seconds(server.pid(), Count::AndEnded)?;
    let started = Instant::now();
    // Not a wait for something to happen: this is the time over which is measured.
    sleep(Duration::from_secs(if is_soak() { 60 } else { 4 })).await;
    let percent =
        (cpu_seconds(server.pid(), Count::AndEnded)? - before) / started.elapsed().as_secs_f64() * 100.0;
    // The budget is 5 % of a core for fifty.
    let bound = if is_soak() { 5.0 } else { 25.0 };
    assert!(percent < bound, "{services} services that crash cost {percent:.1} % of a core");
    let first = instance(&manager, "crash-0").await?;
    assert!(number(&first["restart_count"])? >= 2, "{first:#}");
    Ok(())
}
