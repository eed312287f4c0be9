//! The agent's output: nothing that it writes makes it wait, and nothing that it writes grows without a bound.

use crate::common::{Setup, wait_for};
use myagent_core::wire::control::{Answer, Request, RunnerEvent};

#[test]
fn a_flood_never_makes_the_agent_wait() {
    // 50 MB/s for 5 s; the longest write is noted.
    let flood = r"
import os, time
line = b'x' * 99 + b'\n'
chunk = line * 500
longest, sent, start = 0.0, 0, time.monotonic()
while sent < 250_000_000:
    behind = start + sent / 50e6 - time.monotonic()
    if behind > 0: time.sleep(behind)
    before = time.monotonic()
    view = memoryview(chunk)
    while view: view = view[os.write(1, view):]
    longest = max(longest, time.monotonic() - before)
    sent += len(chunk)
os.write(2, b'the last words\n')
open('longest', 'w').write(str(longest))
open('took', 'w').write(str(time.monotonic() - start))
";
    let rig = Setup::python(flood).set("log_max_mb=1").set("log_files=3").start();
    let mut manager = rig.connect();
    let (_, lines, _) = manager.until_exited();
    let number = |name: &str| -> f64 {
        std::fs::read_to_string(rig.folder.path().join(name)).unwrap().parse().unwrap()
    };
    assert!(number("longest") < 0.5, "a write took {} s", number("longest"));
    assert!(number("took") < 25.0, "the flood took {} s instead of 5", number("took"));
    assert!(lines.contains(&"the last words".to_owned()), "{lines:?}");
    manager.until_event("a notice", |event| {
        matches!(event, RunnerEvent::Notice { kind, .. } if kind == "log_dropped").then_some(())
    });
    let Answer::Report(report) = manager.ask(Request::FullReport) else { panic!() };
    assert!(report.totals.log_lines_dropped > 0);
    assert!(report.usage.runner_private_bytes < 20 << 20, "{report:?}");
    manager.ask(Request::Dismiss);
    let mut rig = rig;
    rig.wait();
    let files: Vec<u64> = std::fs::read_dir(&rig.spec.paths.logs)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert!(files.len() <= 3 && files.iter().all(|size| *size <= 1 << 20), "{files:?}");
    assert!(!rig.log_lines().is_empty());
}

#[test]
fn any_bytes_become_lines() {
    let script =
        r"printf 'a\377b\n'; head -c 1000000 /dev/zero | tr '\0' y; echo; printf 'no end'; sleep 300";
    let mut rig = Setup::script(script).start();
    let mut manager = rig.connect();
    // A line without its end is shown too, after a moment.
    let lines = wait_for("three lines", || match manager.ask(Request::Logs { tail: 10 }) {
        Answer::Lines { lines } if lines.len() == 3 => Some(lines),
        _ => None,
    });
    assert_eq!(lines[0], "a\u{fffd}b");
    assert!(lines[1].starts_with("yyy") && lines[1].ends_with("bytes cut]") && lines[1].len() < 70_000);
    assert_eq!(lines[2], "no end");
    manager.stop(None);
    rig.wait();
    let written: Vec<String> =
        rig.log_lines().iter().map(|line| line["line"].as_str().unwrap().to_owned()).collect();
    assert_eq!(written, lines);
    assert!(rig.log_lines().iter().all(|line| line["instance"] == "weather-0" && line["stream"] == "stdout"));
}
