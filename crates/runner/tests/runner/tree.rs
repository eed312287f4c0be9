//! The whole process tree is owned: whatever an agent starts, and however it hides, is gone when it is stopped, when it
//! ends, and when its runner was killed and somebody cleared up.

use crate::common::{Rig, Setup, is_alive, kill, wait_for};
use myagent_core::instance::ExitCause;
use myagent_core::wire::control::{Answer, Request};
use rustix::process::Signal;

/// Five descendants, each hiding better than the one before, and the main process. Each writes its number.
const FAMILY: &str = r#"
note='echo $$ >> pids; exec sleep 300'
sh -c "$note" &
sh -c "trap '' TERM; $note" &
setsid sh -c "$note" &
sh -c "sh -c '$note' &" 
sh -c "setsid env -i sh -c '$note' &"
eval "$note"
"#;

/// What is switched off: nothing, control groups of version 2, all.
const HOLDS: [&str; 3] = ["", "v2", "1"];

fn all_gone(pids: &[u32]) -> bool {
    pids.iter().all(|pid| !is_alive(*pid))
}

fn assert_nothing_is_left(rig: &Rig) {
    for path in [&rig.spec.paths.tree, &rig.spec.paths.control, &rig.spec.paths.takeover] {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(groups(rig), Vec::<std::path::PathBuf>::new());
}

fn groups(rig: &Rig) -> Vec<std::path::PathBuf> {
    let name = format!("myagent-{}", rig.spec.start_id);
    let mut found = Vec::new();
    let mut open = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy() == name {
                    found.push(entry.path());
                }
                open.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_stop_ends_everything() {
    for off in HOLDS {
        let mut rig = Setup::script(FAMILY).without_groups(off).start();
        let mut manager = rig.connect();
        let pids = rig.pids(6);
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        let ownership = manager.status().ownership;
        assert_eq!(ownership == "subreaper", groups(&rig).is_empty(), "{ownership}");
        assert!(off != "1" || ownership == "subreaper");
        assert!(off != "v2" || ownership != "cgroup-v2");
        let (exit, survivors) = manager.stop(None);
        assert_eq!(survivors, Vec::<u32>::new());
        assert_eq!(exit.unwrap().cause, ExitCause::Signal { signal: 15 });
        assert!(all_gone(&pids));
        assert_eq!(rig.wait(), 0);
        assert_nothing_is_left(&rig);
    }
}

#[test]
fn the_end_of_the_main_process_ends_the_rest() {
    for off in HOLDS {
        let mut rig = Setup::script(FAMILY).without_groups(off).start();
        let mut manager = rig.connect();
        let pids = rig.pids(6);
        let main = manager.until_up();
        kill(main, Signal::KILL);
        let (exit, _, survivors) = manager.until_exited();
        assert_eq!((exit.cause, survivors), (ExitCause::Signal { signal: 9 }, vec![]));
        assert!(all_gone(&pids));
        assert_eq!(manager.status().agent_pid, None);
        assert_eq!(manager.ask(Request::Dismiss), Answer::Done);
        assert_eq!(rig.wait(), 0);
        assert_nothing_is_left(&rig);
    }
}

#[test]
fn a_killed_runner_takes_the_main_process_with_it_and_the_rest_is_cleared() {
    for off in HOLDS {
        let mut rig = Setup::script(FAMILY).without_groups(off).start();
        let mut manager = rig.connect();
        let main = manager.until_up();
        let pids = rig.pids(6);
        let (cleared, message) = rig.clear_tree();
        assert!(!cleared && message.contains("alive"), "{message}");
        if off == "1" {
            // The one that hides from the tag as well is only in the list, which follows the tree once in a while.
            wait_for("the list of processes", || {
                let text = std::fs::read_to_string(&rig.spec.paths.tree).ok()?;
                pids.iter().all(|pid| text.contains(&format!("\"pid\":{pid},"))).then_some(())
            });
        }
        kill(rig.pid(), Signal::KILL);
        rig.wait();
        wait_for("the main process's end", || (!is_alive(main)).then_some(()));
        assert!(pids.iter().any(|pid| is_alive(*pid)));
        assert_eq!(rig.clear_tree(), (true, "[]".to_owned()));
        assert!(all_gone(&pids));
        assert!(!rig.spec.paths.tree.exists());
        assert!(groups(&rig).is_empty());
    }
}

#[test]
fn forking_without_end_loses_against_a_stop() {
    for off in HOLDS {
        let script = "f() { while :; do sh -c 'sleep 300 & sleep 0.05' & sleep 0.02; done; }; f & f & f & echo up; wait";
        let mut rig = Setup::script(script).without_groups(off).start();
        let mut manager = rig.connect();
        wait_for("output", || {
            (manager.ask(Request::Logs { tail: 1 }) != Answer::Lines { lines: vec![] }).then_some(())
        });
        let (_, survivors) = manager.stop(Some(0.0));
        assert_eq!(survivors, Vec::<u32>::new());
        rig.wait();
        assert_nothing_is_left(&rig);
    }
}

#[test]
fn a_polite_agent_gets_its_grace() {
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let mut rig = Setup::script(script).set("stop_grace=30").start();
    let mut manager = rig.connect();
    wait_for("output", || {
        (manager.ask(Request::Logs { tail: 1 }) != Answer::Lines { lines: vec![] }).then_some(())
    });
    let (exit, _) = manager.stop(None);
    assert_eq!(exit.unwrap().cause, ExitCause::Code { code: 7 });
    rig.wait();
    assert!(rig.log_lines().iter().any(|line| line["line"] == "bye"));
}

#[test]
fn a_second_stop_may_be_less_patient_and_a_signal_is_a_stop() {
    let mut rig =
        Setup::script("trap '' TERM; echo up; while :; do sleep 0.1; done").set("stop_grace=600").start();
    let mut manager = rig.connect();
    wait_for("output", || {
        (manager.ask(Request::Logs { tail: 1 }) != Answer::Lines { lines: vec![] }).then_some(())
    });
    kill(rig.pid(), Signal::TERM);
    manager.until("stopping", |status| {
        matches!(status.phase, myagent_core::wire::control::Phase::Stopping).then_some(())
    });
    let (exit, survivors) = manager.stop(Some(0.1));
    assert_eq!((exit.unwrap().cause, survivors), (ExitCause::Signal { signal: 9 }, vec![]));
    rig.wait();
}

#[test]
fn a_tree_past_its_memory_limit_is_killed_and_the_cause_is_told() {
    // The eater is a child: the limit is of the whole tree.
    let eater = "import subprocess,sys; subprocess.run([sys.executable,'-c','x=bytearray(200<<20)\\nimport time; time.sleep(300)']); import time; time.sleep(300)";
    for off in HOLDS {
        let rig = Setup::python(eater).set("memory_limit_mb=64").without_groups(off).start();
        let mut manager = rig.connect();
        let (exit, _, survivors) = manager.until_exited();
        assert_eq!((exit.cause, survivors), (ExitCause::Oom { limit_mb: 64 }, vec![]), "{off}");
    }
}

#[test]
fn the_soft_limit_is_told_once() {
    let eater = "x=bytearray(100<<20)\nimport time; time.sleep(300)";
    let rig = Setup::python(eater).set("memory_limit_mb=120").without_groups("1").start();
    let mut manager = rig.connect();
    let message = manager.until_event("a notice", |event| match event {
        myagent_core::wire::control::RunnerEvent::Notice { kind, message } if kind == "soft_memory_limit" => {
            Some(message.clone())
        }
        _ => None,
    });
    assert!(message.contains("of its 120 MiB"), "{message}");
    let Answer::Report(report) = manager.ask(Request::FullReport) else { panic!() };
    assert!(report.usage.memory_bytes > 90 << 20 && report.usage.processes >= 1, "{report:?}");
    assert!(report.usage.runner_private_bytes > 0 && report.usage.runner_private_bytes < 40 << 20);
}
