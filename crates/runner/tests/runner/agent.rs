//! How agents end, and what the runner says about it.

use crate::common::Setup;
use myagent_core::instance::ExitCause;
use myagent_core::wire::control::{Answer, Phase, Request};
use myagent_core::wire::launch::AgentLaunch;

fn cause_of(setup: Setup) -> (ExitCause, Vec<String>) {
    let rig = setup.start();
    let (exit, lines, survivors) = rig.connect().until_exited();
    assert_eq!(survivors, Vec::<u32>::new());
    (exit.cause, lines)
}

#[test]
fn exits_have_their_cause_and_the_last_lines() {
    let (cause, lines) =
        cause_of(Setup::script("for i in $(seq 30); do echo line $i; done; echo oh no >&2; exit 3"));
    assert_eq!(cause, ExitCause::Code { code: 3 });
    assert_eq!(lines.len(), 20);
    assert!(lines.contains(&"line 30".to_owned()) && lines.contains(&"oh no".to_owned()), "{lines:?}");
    assert_eq!(cause_of(Setup::script("kill -SEGV $$")).0, ExitCause::Signal { signal: 11 });
    assert_eq!(cause_of(Setup::script("exit 127")).0, ExitCause::Code { code: 127 });
}

#[test]
fn what_cannot_be_started_is_told_by_name() {
    let message = |setup| match cause_of(setup).0 {
        ExitCause::SpawnFailed { message } => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        message(Setup::argv(&["/nowhere/agent", "x"])),
        "cannot run /nowhere/agent: No such file or directory (os error 2)"
    );
    assert_eq!(message(Setup::argv(&["/etc"])), "cannot run /etc: Permission denied (os error 13)");
    let setup = Setup::new(|_| AgentLaunch::Command {
        argv: vec!["/bin/true".into()],
        cwd: "/nowhere".into(),
        path: "/".into(),
    });
    assert!(message(setup).contains("working directory /nowhere"), "the folder is named");
}

#[test]
fn the_environment_and_folder_are_those_of_the_spec() {
    let mut setup = Setup::script("env > env; pwd; ulimit -n; cat; kill -9 $$");
    setup.spec.environment.insert("GREETING".into(), "hello world".into());
    for ours in ["MYAGENT_START_ID", "MYAGENT_SERVICE", "PORT", "HOST"] {
        setup.spec.environment.insert(ours.into(), "forged".into());
    }
    let start_id = setup.spec.start_id;
    let rig = setup.start();
    let (_, lines, _) = rig.connect().until_exited();
    assert_eq!(lines[0], rig.folder.path().to_str().unwrap());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    assert_eq!(lines[1], limit.to_string());
    let environment = std::fs::read_to_string(rig.folder.path().join("env")).unwrap();
    for expected in [
        "GREETING=hello world".to_owned(),
        "PORT=1".to_owned(),
        "HOST=127.0.0.1".to_owned(),
        "MYAGENT_SERVICE=weather".to_owned(),
        "MYAGENT_INSTANCE=weather-0".to_owned(),
        "MYAGENT_INSTANCE_INDEX=0".to_owned(),
        format!("MYAGENT_START_ID={start_id}"),
    ] {
        assert!(environment.lines().any(|line| line == expected), "{expected} in {environment}");
    }
    assert!(!environment.contains("CARGO"), "only the spec's environment is passed on");
}

#[test]
fn an_external_service_is_up_at_once_and_has_no_process() {
    let rig = Setup::new(|_| AgentLaunch::External { url: "ws://127.0.0.1:1/".into() }).start();
    let mut manager = rig.connect();
    let status = manager.status();
    assert_eq!((status.phase, status.agent_pid), (Phase::Up, None));
    assert_eq!(manager.stop(None), (None, vec![]));
}

#[test]
fn a_line_of_output_makes_it_ready() {
    let rig = Setup::script("echo starting; echo 'listening on 8081'; sleep 300")
        .set("ready=log:listening on \\d+")
        .start();
    let mut manager = rig.connect();
    manager.until("the line", |status| status.ready_line_seen.then_some(()));
    assert!(matches!(manager.ask(Request::Dismiss), Answer::Failed { .. }));
    manager.stop(None);
}
